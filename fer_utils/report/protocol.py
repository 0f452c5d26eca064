"""What has to stand beside a study's numbers: how they were made, what is missing, what failed."""

import numpy as np
import pandas as pd

from fer_utils.core import LABELS, NUM_CLASSES, RARE, paper
from fer_utils.report.cases import Case
from fer_utils.report.page import percent
from fer_utils.report.verdict import free_case

KEPT = {"last": "last epoch", "f1": "best epoch by validation F1"}
KEPT["accuracy"] = "best epoch by validation accuracy"


def say_protocol(results, cases: list[Case]) -> list[str]:
    """Lines on a `studies.RunSet`: images, seeds, size, looks at the test split, what is amiss."""
    about, runs = results.about, results.runs
    counts = np.bincount(cases[0].labels, minlength=NUM_CLASSES)
    rare = " and ".join(f"{counts[LABELS[name]]:,} of {name}" for name in RARE)
    images = f"{np.count_nonzero(counts)} classes, {counts.sum():,} images scored, {rare}."
    if (runs["protocol"] == "k_fold").any():
        images += f" {runs['folds'].iloc[0]:.0f}-fold cross-validation: each once a seed."
    kept = " and ".join(KEPT[name] for name in runs["selection"].unique())
    looks = f"once for each of {len(runs)} runs"
    if about.get("test_looks"):
        looks += f", and {about['test_looks']} times before the recipe was final"
    if (runs["evaluation"] == "validation").all():
        looks = "never: all is scored on validation images"
    seeds = f"Seeds {', '.join(map(str, about['seeds']))}, {kept}. Values are means over seeds;"
    lines = [
        about["note"],
        images,
        f"{seeds} intervals are 95 %, over images, duplicates together.",
    ]
    lines += [_reduced(runs), f"The test split was looked at {looks}."]
    lines += [f"{what}: {', '.join(names)}." for what, names in _amiss(about, runs, cases) if names]
    return [line for line in lines if line]


def _amiss(about: dict, runs: pd.DataFrame, cases: list[Case]):
    if "diverged_in" in runs:
        yield "Diverged in training", runs.loc[runs["diverged_in"].notna(), "run"].tolist()
    yield "Embedding collapsed", runs.loc[runs["collapsed"].astype(bool), "run"].tolist()
    there = set(runs["model"] if "model" in runs else runs["variant"])
    planned = about.get("models") or about.get("variants", [])
    yield "Planned, and not there", [str(name) for name in planned if name not in there]
    without = [f"{case.panel} {case.name}".strip() for case in cases if not case.taus]
    yield "Without other validation images, so out of post-hoc rows", without
    free = free_case(cases)
    bound = [] if free is None else [run for run, tau in free.taus.items() if tau.bound]
    yield "The τ of validation is at its bound", bound


def _reduced(runs: pd.DataFrame) -> str:
    """What is smaller than in the paper; "" for a study of its size."""
    kinds, size = runs.drop_duplicates(["dataset", "image_size", "architecture"]), 224
    if all(kinds["dataset"] == "affectnet") and all(kinds["image_size"] == size):
        return ""
    columns = ["dataset", "train_images", "image_size", "architecture"]
    ours = [
        f"{a}, {n:,} training images, {px} px, {b}" for a, n, px, b in kinds[columns].to_numpy()
    ]
    theirs = f"AffectNet's ({sum(paper.TRAINING_COUNTS):,} training images, {size} px)"
    return (
        f"Reduced: {'; '.join(ours)}. Published values are {theirs}, another task: compare the "
        "order of the losses, not the numbers."
    )


def say_calibration(cases: list[Case]) -> str:
    """What temperature scaling does to the first softmax; "" where there is none to scale."""
    case = free_case(cases)
    if case is None or not case.taus:
        return ""
    cooled = case.log_p / case.by_image["temperature"]
    both = [case.score(log_p, ("ece",), resamples=1) for log_p in (None, cooled)]
    before, after = (percent(found.loc["ece", "value"]) for found in both)
    return (
        "Temperature scaling, fitted on validation, takes softmax's expected calibration error "
        f"from {before} to {after} points and changes no prediction."
    )
