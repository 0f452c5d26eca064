"""Runs as `results/<study>/` holds them, picked by name and checked to be whole."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from fer_utils.errors import InputError, check_choice
from fer_utils.expressions import EXPRESSIONS
from fer_utils.metrics.checks import check_same_images, check_scores
from fer_utils.paper.protocol import split_diverged
from fer_utils.studies import run_name

PROBABILITIES = [f"p_{name}" for name in EXPRESSIONS]
# What tells one population of drawn faces from another; real images are told by their names.
_DRAWN_BY = ("difficulty", "subjects", "data_seed")


@dataclass(frozen=True)
class Side:
    """One side of a comparison: runs of one study.

    Attributes:
        name: as the user gave it: STUDY, STUDY/RUN, or STUDY/CASE, a run's name without its seed.
        study: the study in it.
        runs: rows of `runs.csv` indexed by run, with `case` (the run's name without its seed).
        planned: run → (case, seed) of all runs that the study's file plans on this side, finished or not.
        predictions: run → its rows of `predictions.parquet` indexed by image.
    """

    name: str
    study: str
    runs: pd.DataFrame
    planned: dict
    predictions: dict

    @property
    def cases(self) -> list[str]:
        """Models, or settings with their variants, in the study's order."""
        return list(dict.fromkeys(case for case, _ in self.planned.values()))


def read_side(name: str, root: Path) -> Side:
    """Read one side of a comparison from `results/` alone.

    Args:
        name: STUDY, STUDY/RUN or STUDY/CASE.
        root: the checkout.

    Raises:
        InputError: for an unknown study or run, results or a run that are not complete, or other classes.
    """
    study, _, part = name.rstrip("/").partition("/")
    check_choice("study under results/:", study, sorted(path.parent.name for path in root.glob("results/*/runs.csv")))
    folder = root / "results" / study
    for needed in ("study.json", "predictions.parquet"):
        if not (folder / needed).is_file():
            raise InputError(
                f"expected {needed} in results/{study}/, found none; write it: python -m fer_utils collect {study}"
            )
    runs = pd.read_csv(folder / "runs.csv")
    predictions = pd.read_parquet(folder / "predictions.parquet")
    _check_classes(study, predictions)
    runs, _ = split_diverged(runs)
    runs = runs.assign(case=runs["run"].str.rpartition("-seed")[0]).set_index("run")
    planned = _planned(json.loads((folder / "study.json").read_text(encoding="utf-8")), runs)
    if part:
        cases = dict.fromkeys(case for case, _ in planned.values())
        check_choice(f"run of results/{study}/:", part, planned if "-seed" in part else cases)
        planned = {run: key for run, key in planned.items() if part in (run, key[0])}
    runs = runs[runs.index.isin(planned)]
    if runs.empty:
        raise InputError(f"expected finished runs in {name}, found none of {', '.join(planned)}; finish them first")
    by_run = dict(list(predictions.groupby("run")))
    chosen = {
        run: _whole(study, row, by_run.get(run)) for run, row in zip(runs.index, runs.to_dict("records"), strict=True)
    }
    return Side(name.rstrip("/"), study, runs, planned, chosen)


def on_same_images(a: Side, run_a: str, b: Side, run_b: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels and both runs' probabilities on the same images in the same order.

    Args:
        a, b: the sides.
        run_a, run_b: their runs.

    Returns:
        targets (N,), probabilities (N, 8) of a and of b.

    Raises:
        InputError: where the test sets differ in images or labels, or were drawn differently.
    """
    first, second = a.predictions[run_a], b.predictions[run_b]
    names = f"{a.study}/{run_a} and {b.study}/{run_b}"
    row_a, row_b = a.runs.loc[run_a], b.runs.loc[run_b]
    drawn = _DRAWN_BY if row_a.get("dataset") == row_b.get("dataset") == "synthetic" else ()
    for column in ("dataset", *drawn):
        found = row_a.get(column), row_b.get(column)
        if found[0] != found[1]:
            raise InputError(f"expected one test set for {names}, found {column} {found[0]} and {found[1]}")
    check_same_images(first["label"], second["label"], names)
    second = second.loc[first.index]
    return first["label"].to_numpy(), first[PROBABILITIES].to_numpy(), second[PROBABILITIES].to_numpy()


def _planned(about: dict, runs: pd.DataFrame) -> dict:
    """Run → (case, seed), planned or, should the study's file have changed since, there all the same."""
    if about["models"]:
        cases = [(number,) for number in about["models"]]
    else:
        cases = [(setting, variant) for setting in about["settings"] or [""] for variant in about["variants"]]
    keys = {run_name(*case, seed): seed for case in cases for seed in about["seeds"]} | runs["seed"].to_dict()
    return {run: (run.rpartition("-seed")[0], seed) for run, seed in keys.items()}


def _check_classes(study: str, predictions: pd.DataFrame) -> None:
    found = [column for column in predictions if column.startswith("p_")]
    if set(found) != set(PROBABILITIES) or not {"run", "image", "label"} <= set(predictions):
        raise InputError(
            f"expected columns run, image, label, {', '.join(PROBABILITIES)} in results/{study}/predictions.parquet, "
            f"found {', '.join(predictions)}; runs with other classes cannot be compared"
        )


def _whole(study: str, row: dict, predictions: pd.DataFrame | None) -> pd.DataFrame:
    """A run's predictions indexed by image, once it is sure that all are there."""
    run = f"{study}/{row['case']}-seed{row['seed']}"
    images = row["validation_images" if row.get("evaluation") == "validation" else "test_images"]
    found = 0 if predictions is None else len(predictions)
    if found != images or not found:
        raise InputError(f"run {run} is incomplete: expected predictions of {images:,} images, found {found:,}")
    twice = int(predictions["image"].duplicated().sum())
    if twice:
        raise InputError(f"run {run}: expected every image once, found {twice:,} of {found:,} again")
    try:
        check_scores(predictions["label"].to_numpy(), predictions[PROBABILITIES].to_numpy())
    except InputError as error:
        raise InputError(f"run {run}: {error}") from None
    return predictions.set_index("image").sort_index()
