"""A table as Markdown, CSV and LaTeX."""

from pathlib import Path

import pandas as pd

from fer_utils.files import replaced

# pdfLaTeX knows no U+2212, and the rest has a meaning of its own there.
_LATEX = str.maketrans(
    {
        "&": r"\&",
        "%": r"\%",
        "$": r"\$",
        "#": r"\#",
        "_": r"\_",
        "{": r"\{",
        "}": r"\}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "\\": r"\textbackslash{}",
        "−": "$-$",
        "–": "--",
        "×": r"$\times$",
        "±": r"$\pm$",
        "≥": r"$\geq$",
        "≤": r"$\leq$",
        "λ": r"$\lambda$",
        "α": r"$\alpha$",
    }
)


def to_markdown(table: pd.DataFrame, title: str = "", note: str = "") -> str:
    """A table as GitHub Markdown; columns of numbers stand on the right.

    Args:
        table: cells are shown as `str` gives them; NaN and None as "–".
        title: bold line above.
        note: paragraph below.

    >>> import pandas as pd
    >>> print(to_markdown(pd.DataFrame({"Loss": ["softmax"], "Accuracy": ["50.65"]}), "Table 5", "AffectNet."))
    **Table 5**
    <BLANKLINE>
    | Loss | Accuracy |
    | --- | ---: |
    | softmax | 50.65 |
    <BLANKLINE>
    AffectNet.
    <BLANKLINE>
    """
    cells = [[cell.replace("|", r"\|") for cell in row] for row in [_names(table), *_cells(table)]]
    rule = ["---:" if right else "---" for right in _right(table)]
    lines = [f"| {' | '.join(row)} |" for row in (cells[0], rule, *cells[1:])]
    parts = [f"**{title}**\n" if title else "", "\n".join(lines) + "\n", f"{note}\n" if note else ""]
    return "\n".join(part for part in parts if part)


def to_latex(table: pd.DataFrame, title: str = "", note: str = "") -> str:
    r"""A table as LaTeX, for `\usepackage{booktabs}`.

    Args:
        table, title, note: as in `to_markdown`; title and note make the caption.

    >>> import pandas as pd
    >>> print(to_latex(pd.DataFrame({"Loss": ["softmax"], "Accuracy": ["−0.50"]})))
    \begin{table}
    \begin{tabular}{lr}
    \toprule
    Loss & Accuracy \\
    \midrule
    softmax & $-$0.50 \\
    \bottomrule
    \end{tabular}
    \end{table}
    <BLANKLINE>
    """
    rows = [" & ".join(cell.translate(_LATEX) for cell in row) + r" \\" for row in [_names(table), *_cells(table)]]
    caption = ". ".join(text.rstrip(".").translate(_LATEX) for text in (title, note) if text)
    lines = [
        r"\begin{table}",
        *([rf"\caption{{{caption}.}}"] if caption else []),
        rf"\begin{{tabular}}{{{''.join('r' if right else 'l' for right in _right(table))}}}",
        r"\toprule",
        rows[0],
        r"\midrule",
        *rows[1:],
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def write_table(
    table: pd.DataFrame, path, title: str = "", note: str = "", printed: pd.DataFrame | None = None
) -> list[Path]:
    """Write `<path>.csv`, `<path>.md` and `<path>.tex`, each complete or not at all.

    Args:
        table: the numbers, for the CSV.
        path: file name without suffix; its folder is made.
        title, note: for Markdown and LaTeX.
        printed: the table as Markdown and LaTeX show it, for instance from `printed_table`; default `table`.

    Returns:
        The three paths.

    >>> import pandas as pd, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     [path.name for path in write_table(pd.DataFrame({"a": [1]}), f"{folder}/table5")]
    ['table5.csv', 'table5.md', 'table5.tex']
    """
    printed = table if printed is None else printed
    texts = {
        ".csv": table.to_csv(index=False, lineterminator="\n"),
        ".md": to_markdown(printed, title, note),
        ".tex": to_latex(printed, title, note),
    }
    paths = []
    for suffix, text in texts.items():
        final = Path(f"{path}{suffix}")
        with replaced(final) as unfinished:
            unfinished.write_text(text, encoding="utf-8", newline="\n")
        paths.append(final)
    return paths


def _names(table: pd.DataFrame) -> list[str]:
    return [str(name) for name in table.columns]


def _cells(table: pd.DataFrame) -> list[list[str]]:
    return [["–" if pd.isna(cell) else str(cell) for cell in row] for row in table.itertuples(index=False)]


def _right(table: pd.DataFrame) -> list[bool]:
    """Whether a column's cells all begin like numbers, or are empty."""
    columns = zip(*_cells(table), strict=True)
    return [all(cell[:1] in "−+-–0123456789" for cell in column) for column in columns]
