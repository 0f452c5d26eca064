"""The model card of a finished run: what it is, how it was made, what it can and cannot do."""

from pathlib import Path

import numpy as np
import pandas as pd

from fer_utils import datasets, metrics
from fer_utils.core import EXPRESSIONS, Run, atomic_write, paper
from fer_utils.report.cases import NAMES
from fer_utils.report.page import format_interval, percent, render, to_markdown

FEW = 50  # images of a class: with 50, a recall of a half is known to ± 13 points


def model_card(run: Run) -> str:
    """The card of a finished run as Markdown; every number comes from the run's own files.

    Raises:
        InputError: for a run that has not finished.
    """
    measured, params = run.read_json("metrics.json"), run.params
    manifest = datasets.read_manifest(run.require("manifest.parquet"))
    people, drawn = params.target == "subject", params.dataset == "synthetic"
    split = "validation" if people else params.evaluation
    scores, recalls = _of_people(measured) if people else _of_expressions(measured)
    return render(
        "model_card.md.j2",
        name=f"{run.study}/{run.name}",
        classes=EXPRESSIONS,
        people=people,
        drawn=drawn,
        noise=percent(manifest.attrs.get("label_noise", 0)),
        built=run.read_json("architecture.json"),
        made=run.read_json("environment.json"),
        params=params,
        measured=measured,
        split=split,
        images=f"{(manifest['split'] == split).sum():,}",
        loss=NAMES[params.loss],
        dataset="drawn faces (synthetic)" if drawn else params.dataset,
        counts=to_markdown(_counts(manifest, people)),
        scores=scores,
        recalls=recalls,
    )


def write_model_card(run: Run, folder: Path | str | None = None) -> Path:
    """Write `MODEL_CARD.md` to `folder`, by default `export/` of the run."""
    path, text = Path(folder or run.path("export")) / "MODEL_CARD.md", model_card(run)
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path


def _counts(manifest: pd.DataFrame, people: bool) -> pd.DataFrame:
    if people:
        found = manifest.groupby("split", sort=False)["subject"].agg(
            Images="size", People="nunique"
        )
        return found.rename_axis("Split").reset_index()
    found = datasets.count_table(manifest).pivot(
        index="expression", columns="split", values="images"
    )
    return found.reindex(EXPRESSIONS).rename_axis("Images", axis=0).reset_index()


def _of_expressions(measured: dict) -> tuple[str, str]:
    names = [*paper.METRICS, "macro_recall"]
    scores = [(metrics.METRICS[name], percent(measured[name])) for name in names]
    confusion = np.array(measured["confusion"])
    images, right = confusion.sum(axis=1), np.diagonal(confusion)
    low, high = metrics.wilson_interval(right, images)
    rows = []
    for label, name in enumerate(EXPRESSIONS):
        recall = format_interval(measured[f"recall_{name}"], low[label], high[label])
        few = " (few: hardly known)" if images[label] < FEW else ""
        rows.append((name, recall, f"{images[label]:,}{few}"))
    columns = ["Class", "Recall, 95 % Wilson interval", "Images"]
    tables = pd.DataFrame(scores, columns=["Metric", "Value"]), pd.DataFrame(rows, columns=columns)
    return tuple(map(to_markdown, tables))


def _of_people(measured: dict) -> tuple[str, str]:
    """Identification, and verification of people who were held out of training."""
    shown = ["validation_accuracy", *(name for name in measured if "verification" in name)]
    rows = [(name.replace("_", " "), f"{measured[name]:.4g}") for name in shown]
    return to_markdown(pd.DataFrame(rows, columns=["Figure", "Value"])), ""
