"""A study's page, `figures/<study>/README.md`, gathered as its tables and figures are made."""

import re
from dataclasses import dataclass
from pathlib import Path

import jinja2
import pandas as pd
from matplotlib.figure import Figure

from fer_utils.core import atomic_write
from fer_utils.report import style

MINUS = "\N{MINUS SIGN}"
TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
    undefined=jinja2.StrictUndefined,
)


def percent(value: float, digits: int = 1, signed: bool = False) -> str:
    """A fraction in per cent or points, "–" where there is none."""
    text = f"{100 * value:{'+' if signed else ''}.{digits}f}"
    return "–" if pd.isna(value) else text.replace("-", MINUS)


def format_interval(value: float, low: float, high: float, digits=1, signed=False) -> str:
    """A fraction with its interval, in per cent or points: "50.0 [41.2, 58.8]"."""
    text, *ends = (percent(number, digits, signed) for number in (value, low, high))
    return f"{text} [{', '.join(ends)}]" if ends[0] != "–" else text


def to_markdown(table: pd.DataFrame) -> str:
    """A table as GitHub Markdown; cells as `str` gives them, columns of numbers on the right."""
    cells = [["–" if pd.isna(cell) else str(cell) for cell in row] for row in table.to_numpy()]
    columns = ["".join(row[k] for row in cells) for k in range(len(table.columns))]
    rule = ["---" if any(map(str.isalpha, column)) else "---:" for column in columns]
    lines = [list(table.columns), rule, *cells]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


@dataclass(frozen=True)
class Part:
    """A table or figure, as the page and a notebook show it."""

    title: str
    caption: str
    table: str = ""  # Markdown
    picture: Path | None = None
    folded: bool = False  # the page shows the title alone until it is clicked

    def _ipython_display_(self) -> None:
        from IPython.display import Image, Markdown, display  # here: nothing else needs it

        display(Markdown(f"**{self.title}**\n\n{self.table}"))
        if self.picture:
            display(Image(self.picture, retina=True))
        display(Markdown(self.caption))


class StudyPage:
    """Writes `folder`: figures as PNG and in one PDF, tables as CSV, and the page of them all."""

    def __init__(self, folder: Path | str, title: str):
        self.folder, self.title = Path(folder), title
        self.verdict, self.protocol = "", []  # the sentence under the title, lines at the end
        self.learned, self.figures = "", []  # what the notebook concludes
        self.sections: dict[str, list[Part]] = {"": []}

    def section(self, heading: str) -> None:
        """Begin a section: what is added from here on stands in it."""
        self.sections[heading] = []

    def add_figure(self, name: str, figure: Figure, title: str, caption: str = "") -> Part:
        """Write a figure and return it as a notebook shows it."""
        self.figures.append(figure)
        name = re.sub(r"\W+", "_", name.strip())
        (picture,) = style.save_figure(figure, self.folder / name, ["png"])
        return self._add(Part(title, caption, picture=picture))

    def add_table(self, name, table, title, caption="", numbers=None, folded=True) -> Part:
        """Write a table's `numbers` (default: as printed) as CSV; return what a notebook shows."""
        with atomic_write(self.folder / f"{name}.csv") as temporary:
            numbers = table if numbers is None else numbers
            numbers.to_csv(temporary, index=False, lineterminator="\n")
        caption = f"{caption} Numbers: [{name}.csv]({name}.csv).".strip()
        return self._add(Part(title, caption, to_markdown(table), folded=folded))

    def _add(self, part: Part) -> Part:
        self.sections[list(self.sections)[-1]].append(part)
        return part

    def write(self) -> Path:
        """Write the page of all that was added, in order, and `figures.pdf` for print."""
        style.save_pages(self.figures, self.folder / "figures.pdf")
        path = self.folder / "README.md"
        with atomic_write(path) as temporary:
            temporary.write_text(
                TEMPLATES.get_template("study.md.j2").render(page=self), encoding="utf-8"
            )
        return path
