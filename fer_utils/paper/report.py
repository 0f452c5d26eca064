"""A study's tables and figures, gathered as they are drawn: `figures/<study>/` and the page that shows them."""

import json
from pathlib import Path

import pandas as pd

from fer_utils.errors import InputError
from fer_utils.files import replaced
from fer_utils.paper.tables import write_table


class Report:
    """Reads `results/<study>/`, writes `figures/<study>/`.

    Args:
        root: the study's checkout.
        study: folder under `results/`.

    Attributes:
        about: `study.json`: title, note, models, seeds, dataset.
        runs, history, predictions, counts: the tables of the same names.
        architectures: `architecture.json`.
        folder: where everything is written.

    Raises:
        InputError: where the study has no results, or not all of them.
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
        self.runs = pd.read_csv(results / "runs.csv", dtype={"setting": str})  # empty where a study has none
        self.history = pd.read_csv(results / "history.csv")
        self.counts = pd.read_csv(results / "counts.csv")
        self.predictions = pd.read_parquet(results / "predictions.parquet")
        self.architectures = json.loads((results / "architecture.json").read_text(encoding="utf-8"))
        self._sections: list[str] = []

    def add_table(self, name: str, table: pd.DataFrame, title: str, printed: pd.DataFrame) -> pd.DataFrame:
        """Write a table as Markdown, CSV and LaTeX; returns it as printed."""
        write_table(table, self.folder / name, title=title, note=self.about["note"], printed=printed)
        self._sections.append((self.folder / f"{name}.md").read_text(encoding="utf-8"))
        return printed

    def add_figure(self, name: str, figure, caption: str):
        """Write a figure as PDF and PNG; returns it."""
        from fer_utils.plots import save_figure

        save_figure(figure, self.folder / name)
        self._sections.append(f"![{caption}]({name}.png)\n\n**{name.split('_')[0].capitalize()}.** {caption}\n")
        return figure

    def write_readme(self) -> Path:
        """Write the page of all that was added, in order; returns its path."""
        about = self.about
        seeds = f"{len(about['seeds'])} seed{'s' if len(about['seeds']) > 1 else ''}"
        head = f"# {about['title']}\n\n{about['note']}\n\n"
        if about["models"]:
            head += f"Models {', '.join(map(str, sorted(about['models'])))}; {seeds}; "
            head += f"{self.runs['test_images'].iloc[0]:,} test images; best epoch chosen on validation.\n"
        else:
            split = " and ".join(self.runs["evaluation"].unique())
            head += f"{len(about['variants'])} variants; {seeds}; evaluated on the {split} split; best epoch chosen on "
            head += "validation.\n"
        path = self.folder / "README.md"
        with replaced(path) as temporary:
            temporary.write_text("\n".join([head, *self._sections]), encoding="utf-8")
        return path
