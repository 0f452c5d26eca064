"""Pages in Markdown: a study's, `figures/<study>/README.md`, and a run's model card."""

import re
from dataclasses import dataclass
from pathlib import Path

import jinja2
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from fer_utils import datasets, metrics
from fer_utils.core import EXPRESSIONS, RARE, Run, atomic_write, paper
from fer_utils.report import style

NAMES = paper.LOSSES | paper.BASELINES
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


def _write(path: Path, template: str, **values) -> Path:
    with atomic_write(path) as temporary:
        text = TEMPLATES.get_template(template).render(**values)
        temporary.write_text(text, encoding="utf-8")
    return path


@dataclass(frozen=True)
class Part:
    """A table or figure, as the page and a notebook show it."""

    title: str
    caption: str
    table: str = ""  # Markdown
    picture: Path | None = None
    folded: bool = True  # the page shows the title alone until it is clicked

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

    def add_figure(self, name, figure: Figure, title, caption="", folded=True, dpi=style.DPI):
        """Write a figure and return it as a notebook shows it."""
        self.figures.append(figure)
        name = re.sub(r"\W+", "_", name.strip())
        picture = style.save_figure(figure, self.folder / f"{name}.png", dpi)
        return self._add(Part(title, caption, picture=picture, folded=folded))

    def add_table(self, name, table, title, caption="", numbers=None, folded=True) -> Part:
        """Write a table's `numbers` (default: as printed) as CSV; return what a notebook shows."""
        with atomic_write(self.folder / f"{name}.csv") as temporary:
            numbers = table if numbers is None else numbers
            numbers.to_csv(temporary, index=False, lineterminator="\n", float_format="%.6g")
        caption = f"{caption} Numbers: [{name}.csv]({name}.csv).".strip()
        return self._add(Part(title, caption, to_markdown(table), folded=folded))

    def _add(self, part: Part) -> Part:
        self.sections[list(self.sections)[-1]].append(part)
        return part

    def write(self) -> Path:
        """Write the page of all that was added, in order, and `figures.pdf` for print."""
        style.save_pages(self.figures, self.folder / "figures.pdf")
        return _write(self.folder / "README.md", "study.md.j2", page=self)


def read_verdict(folder: Path) -> str:
    """The sentence under the title of a `StudyPage` that was written."""
    return (folder / "README.md").read_text(encoding="utf-8").split("\n\n")[1]


def write_model_card(run: Run) -> Path:
    """Write `export/MODEL_CARD.md` of a finished run; every number is from the run's own files."""
    measured, params = run.read_json("metrics.json"), run.params
    manifest = datasets.read_manifest(run.require("manifest.parquet"))
    people, drawn = params.target == "subject", params.dataset == "synthetic"
    split = "validation" if people else params.evaluation
    return _write(
        run.path("export") / "MODEL_CARD.md",
        "model_card.md.j2",
        name=f"{run.study}/{run.name}",
        classes=EXPRESSIONS,
        people=people,
        drawn=drawn,
        noise=manifest.attrs.get("label_noise"),  # drawn faces alone have it
        built=run.read_json("architecture.json"),
        made=run.read_json("environment.json"),
        params=params,
        measured=measured,
        split=split,
        images=f"{(manifest['split'] == split).sum():,}",
        loss=NAMES[params.loss],
        dataset="drawn faces (synthetic)" if drawn else params.dataset,
        counts=to_markdown(_counts(manifest, people)),
        scores=_scores(measured),
        recalls=[] if people else _recalls(measured),
    )


def _counts(manifest: pd.DataFrame, people: bool) -> pd.DataFrame:
    if people:
        found = manifest.groupby("split", sort=False)["subject"]
        return found.agg(images="size", people="nunique").reset_index()
    table = pd.crosstab(manifest["label"], manifest["split"])[manifest["split"].unique()]
    return table.rename(index=dict(enumerate(EXPRESSIONS))).rename_axis("class").reset_index()


def _scores(measured: dict) -> dict[str, float]:
    """The six metrics; or identification, and verification of people held out of training."""
    names = [*paper.METRICS, "macro_recall", *(name for name in measured if "verification" in name)]
    names = [name for name in ("validation_accuracy", *names) if name in measured]
    return {metrics.METRICS.get(name, name.replace("_", " ")): measured[name] for name in names}


def _recalls(measured: dict) -> list[tuple]:
    """Of each class: name, images, and recall with its 95 % Wilson interval."""
    confusion = np.array(measured["confusion"])
    images, right = confusion.sum(axis=1), np.diagonal(confusion)
    columns = images, right / np.maximum(images, 1), *metrics.wilson_interval(right, images)
    rows = zip(EXPRESSIONS, *columns, strict=True)
    return [(name, n, format_interval(*recall)) for name, n, *recall in rows]


def say_protocol(results, cases: list) -> list[str]:
    """Lines on a `studies.RunSet`: images, seeds, size, looks at the test split, what is amiss."""
    runs, first = results.runs, cases[0]
    kinds = runs.drop_duplicates(["dataset", "image_size", "architecture"])
    text = TEMPLATES.get_template("protocol.md.j2").render(
        about=results.about,
        counts=dict(zip(EXPRESSIONS, np.bincount(first.labels, minlength=8).tolist(), strict=True)),
        rare=RARE,
        folds=int(first.runs["folds"].max()) if (first.runs["protocol"] == "k_fold").any() else 0,
        selections=runs["selection"].unique().tolist(),
        kinds=kinds.to_dict("records"),
        published=sum(paper.TRAINING_COUNTS),
        tested=(runs["evaluation"] != "validation").any(),
        runs=len(runs),
        amiss=_amiss(results, cases),
    )
    return [line for line in text.splitlines() if line]


def _amiss(results, cases: list) -> dict[str, list]:
    about, runs = results.about, results.runs
    planned = about.get("models") or about.get("variants", [])
    there = set(runs["model"] if "model" in runs else runs["variant"])
    fitted = [
        (f"{what} of {run}", value)
        for case in cases
        for what, values in (("τ", case.taus), ("temperature", case.temperatures))
        for run, value in values.items()
        if case.loss == "softmax"
    ]
    return {
        "Diverged in training": runs["run"][runs["diverged_in"] > 0],
        "Embedding collapsed": runs["run"][runs["collapsed"].astype(bool)],
        "Planned, and not there": [name for name in planned if name not in there],
        "Without other validation images, so out of post-hoc rows": [
            f"{case.panel}: {case.name}".strip(": ") for case in cases if not case.taus
        ],
        "At the end of what was searched on validation": [
            name for name, value in fitted if value.bound
        ],
    }
