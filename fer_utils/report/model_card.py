"""The model card of a finished run: what it is, how it was made, what it can and cannot do."""

from pathlib import Path

import numpy as np
import pandas as pd

from fer_utils import datasets, metrics
from fer_utils.core import EXPRESSIONS, Run, atomic_write, paper
from fer_utils.report.cases import NAMES
from fer_utils.report.page import TEMPLATES, format_interval, to_markdown

FEW = 50  # images of a class: with 50, a recall of a half is known to ± 13 points


def model_card(run: Run) -> str:
    """The card of a finished run as Markdown; every number comes from the run's own files."""
    measured, params = run.read_json("metrics.json"), run.params
    manifest = datasets.read_manifest(run.require("manifest.parquet"))
    people, drawn = params.target == "subject", params.dataset == "synthetic"
    split = "validation" if people else params.evaluation
    return TEMPLATES.get_template("model_card.md.j2").render(
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
        scores=to_markdown(_scores(measured)),
        recalls="" if people else to_markdown(_recalls(measured)),
    )


def write_model_card(run: Run, folder: Path | str | None = None) -> Path:
    """Write `MODEL_CARD.md` to `folder`, by default `export/` of the run."""
    path, text = Path(folder or run.path("export")) / "MODEL_CARD.md", model_card(run)
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path


def _counts(manifest: pd.DataFrame, people: bool) -> pd.DataFrame:
    if people:
        found = manifest.groupby("split", sort=False)["subject"]
        return found.agg(images="size", people="nunique").reset_index()
    table = pd.crosstab(manifest["label"], manifest["split"])[manifest["split"].unique()]
    return table.rename(index=dict(enumerate(EXPRESSIONS))).rename_axis("class").reset_index()


def _scores(measured: dict) -> pd.DataFrame:
    """The six metrics; or identification, and verification of people held out of training."""
    names = [*paper.METRICS, "macro_recall", *(name for name in measured if "verification" in name)]
    names = [name for name in ("validation_accuracy", *names) if name in measured]
    titles = [metrics.METRICS.get(name, name.replace("_", " ")) for name in names]
    return pd.DataFrame({"Metric": titles, "Value": [f"{measured[name]:.4g}" for name in names]})


def _recalls(measured: dict) -> pd.DataFrame:
    confusion = np.array(measured["confusion"])
    images, right = confusion.sum(axis=1), np.diagonal(confusion)
    rows = []
    for name, n, *ends in zip(EXPRESSIONS, images, *metrics.wilson_interval(right, images)):  # noqa: B905
        few = " (few: hardly known)" if n < FEW else ""
        rows.append((name, format_interval(measured[f"recall_{name}"], *ends), f"{n:,}{few}"))
    return pd.DataFrame(rows, columns=["Class", "Recall (%), 95 % Wilson interval", "Images"])
