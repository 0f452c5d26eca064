"""A study's tables and figures, gathered as they are drawn: `figures/<study>/` and the page that shows them."""

import json
from pathlib import Path

import pandas as pd

from fer_utils.errors import InputError
from fer_utils.files import replaced
from fer_utils.paper.protocol import check_paper_models, say_diverged, say_protocol, say_reduced, split_diverged
from fer_utils.paper.tables import to_markdown, write_table
from fer_utils.paper.values import BASES, MODELS


class Report:
    """Reads `results/<study>/`, writes `figures/<study>/`.

    Args:
        root: the study's checkout.
        study: folder under `results/`.

    Attributes:
        about: `study.json`: title, note, models, seeds, dataset.
        runs, history, predictions, counts: the tables of the same names; `runs` without those in `diverged`.
        diverged: rows of `runs.csv` whose training diverged before there was anything to evaluate.
        architectures: `architecture.json`.
        folder: where everything is written.

    Raises:
        InputError: where the study has no results, or not all of them, or where a run has no predictions.
    """

    def __init__(self, root: Path, study: str):
        results = Path(root) / "results" / study
        needed = ("study.json", "runs.csv", "history.csv", "predictions.parquet", "counts.csv", "architecture.json")
        missing = [name for name in needed if not (results / name).is_file()]
        if missing:
            raise InputError(
                f"expected {', '.join(needed)} in results/{study}/, {missing[0]} is missing; "
                f"compute the study first: make study STUDY={study}"
            )
        self.folder = Path(root) / "figures" / study
        self.about = json.loads((results / "study.json").read_text(encoding="utf-8"))
        runs = pd.read_csv(results / "runs.csv", dtype={"setting": str})  # empty where a study has none
        self.runs, self.diverged = split_diverged(runs)
        self.history = pd.read_csv(results / "history.csv")
        self.counts = pd.read_csv(results / "counts.csv")
        self.predictions = pd.read_parquet(results / "predictions.parquet")
        self.architectures = json.loads((results / "architecture.json").read_text(encoding="utf-8"))
        self._sections: list[str] = []
        without = self.runs.loc[~self.runs["run"].isin(self.predictions["run"].unique()), "run"]
        if len(without):
            raise InputError(
                f"expected predictions of every run in results/{study}/, found none of {', '.join(without)}; "
                f"collect the study again: make study STUDY={study}"
            )

    def bases(self) -> list[str]:
        """The paper's bases that the study ran, in the paper's order.

        Raises:
            InputError: where the study has no models of the paper.
        """
        check_paper_models(self.about)
        ran = {MODELS[number].base for number in self.runs["model"]}
        return [base for base in BASES if base in ran]

    def add_table(
        self, name: str, table: pd.DataFrame, title: str, printed: pd.DataFrame, note: str | None = None
    ) -> pd.DataFrame:
        """Write a table as Markdown, CSV and LaTeX; returns it as printed.

        Args:
            name: of the three files.
            table: the numbers, for the CSV.
            title: bold line above.
            printed: what Markdown and LaTeX show.
            note: paragraph below; default the study's own note.
        """
        note = self.about["note"] if note is None else note
        write_table(table, self.folder / name, title=title, note=note, printed=printed)
        self._sections.append(to_markdown(printed, title, note))
        return printed

    def add_figure(self, name: str, figure, caption: str, alt: str = "", published=False, results=True):
        """Write a figure as PDF and PNG; returns it.

        Args:
            name: of the two files; its first part, `fig05`, is its number.
            figure: the figure.
            caption: what it is.
            alt: what is seen, for those who do not see it; default the caption.
            published: whether it shows published values, beside which it must say that the study is smaller.
            results: whether it shows results of the study; of the paper's models, images, seeds and protocol are added.
        """
        from fer_utils.plots import save_figure

        save_figure(figure, self.folder / name)
        words = [caption]
        if self.about["models"]:
            words += [self.protocol] if results else []
            words += [self.reduced] if published else []
        number = name.split("_")[0].removeprefix("fig").lstrip("0")
        text = " ".join(filter(None, words))
        self._sections.append(f"![{alt or caption}]({name}.png)\n\n**Fig. {number}.** {text}\n")
        return figure

    @property
    def protocol(self) -> str:
        """Of a study of the paper's models: images, seeds, how the epoch was chosen, what is missing or diverged."""
        return say_protocol(self.runs, self.about["models"], self.about["seeds"], self.diverged)

    @property
    def reduced(self) -> str:
        """The line that stands beside published values; empty where the study is of the paper's size."""
        return say_reduced(self.runs)

    def write_readme(self, verdict: str = "") -> Path:
        """Write the page of all that was added, in order; returns its path.

        Args:
            verdict: what follows from the numbers, as Markdown, to stand on top.
        """
        about = self.about
        head = "\n\n".join(filter(None, [f"# {about['title']}", verdict, about["note"]])) + "\n\n"
        if about["models"]:
            head += f"Models {', '.join(map(str, sorted(about['models'])))}; "
            head += f"{self.protocol}\n"
        else:
            seeds = f"{len(about['seeds'])} seed{'s' if len(about['seeds']) > 1 else ''}"
            split = " and ".join(self.runs["evaluation"].unique())
            head += f"{len(about['variants'])} variants; {seeds}; evaluated on the {split} split; best epoch chosen on "
            head += f"validation.{say_diverged(self.diverged)}\n"
        path = self.folder / "README.md"
        with replaced(path) as temporary:
            temporary.write_text("\n".join([head, *self._sections]), encoding="utf-8")
        return path
