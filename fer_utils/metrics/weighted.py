"""All metrics of a run at once, for any number of weightings of its images.

A bootstrap sample is a whole number of copies of every image: a weight. What a metric needs of the weights are sums
over fixed groups of images (a cell of the confusion matrix, a stretch of a class's ranking, a bin of confidence), so
one sparse matrix, made once, turns thousands of samples into everything. A sample's copies of an image are tied, as
repeated rows are for scikit-learn.
"""

import numpy as np

from fer_utils.errors import check_choice
from fer_utils.expressions import NUM_CLASSES
from fer_utils.metrics.calibration import BINS, bins_of
from fer_utils.metrics.checks import check_scores

METRICS = {
    "accuracy": "Accuracy",
    "f1": "F1",
    "kappa": "Kappa",
    "alpha": "Alpha",
    "auc_pr": "AUC-PR",
    "auc": "AUC",
    "macro_recall": "Macro recall",
    "top2": "Top-2 accuracy",
    "ece": "Calibration error",
    "brier": "Brier score",
    "kappa_ovr": "Kappa, one-vs-rest",
    "alpha_ovr": "Alpha, one-vs-rest",
}


class WeightedMetrics:
    """The metrics of one run as a function of its images' weights.

    Args:
        targets: (N,) true labels 0–7.
        probabilities: (N, 8), rows summing to 1.
        metrics: which of `METRICS`; without AUC and AUC-PR, which need rankings, it takes a third of the time.

    Raises:
        InputError: as `evaluate`, or for an unknown metric.

    >>> metrics = WeightedMetrics([0, 1], [[1.0] + [0.0] * 7] * 2)
    >>> metrics(np.array([[1, 3], [1, 1]]))["accuracy"].tolist()  # both images once; three copies of the first
    [0.5, 0.75]
    """

    def __init__(self, targets, probabilities, metrics=tuple(METRICS)):
        from scipy import sparse

        for name in metrics:
            check_choice("metric", name, METRICS)
        self.metrics, self.areas = tuple(metrics), not {"auc", "auc_pr"}.isdisjoint(metrics)
        targets, probabilities = check_scores(targets, probabilities)
        self.images = len(targets)
        self.present = np.flatnonzero(np.bincount(targets, minlength=NUM_CLASSES))
        images = np.arange(self.images)
        predictions, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
        own = probabilities[images, targets][:, None]
        before = (probabilities > own) | ((probabilities == own) & (np.arange(NUM_CLASSES) < targets[:, None]))
        squares = ((probabilities - np.eye(NUM_CLASSES)[targets]) ** 2).sum(axis=1)
        groups = {
            "cells": (targets * NUM_CLASSES + predictions, images, np.ones(self.images), NUM_CLASSES**2),
            "gaps": (bins_of(confidence), images, (predictions == targets) - confidence, BINS),
            "top2": (np.zeros(self.images, int), images, before.sum(axis=1) < 2, 1),
            "brier": (np.zeros(self.images, int), images, squares, 1),
        }
        for label in self.present if self.areas else ():
            positive = targets == label
            segments, count = _segments(probabilities[:, label], positive)
            groups["ranked", label] = (segments, images, np.ones(self.images), count)
            groups["found", label] = (segments[positive], images[positive], np.ones(positive.sum()), count)
        self.parts, end = {}, 0
        for name, (*_, count) in groups.items():
            self.parts[name], end = slice(end, end + count), end + count
        rows = np.concatenate([group + self.parts[name].start for name, (group, *_) in groups.items()])
        columns, values = (np.concatenate([part[n] for part in groups.values()]) for n in (1, 2))
        self.sums = sparse.csr_array((values, (rows, columns)), shape=(end, self.images))
        self.sums_single = self.sums.astype(np.float32)  # whole numbers stay exact, and it takes half the time

    def __call__(self, weights) -> dict:
        """The metrics under each weighting.

        Args:
            weights: (N, R) ≥ 0, every class that occurs keeping some. In float32 sums of whole numbers are exact, and
                the metrics right to six digits; in float64 to fifteen.

        Returns:
            dict: (R,) float64 for each of `metrics`.
        """
        sums = (self.sums_single if weights.dtype == np.float32 else self.sums) @ weights
        sums = {name: sums[part].astype(float) for name, part in self.parts.items()}
        cells = sums["cells"].reshape(NUM_CLASSES, NUM_CLASSES, -1)  # (true, predicted, R)
        hits, rows, columns = np.einsum("kkr->kr", cells), cells.sum(axis=1), cells.sum(axis=0)  # (8, R)
        total, own = rows.sum(axis=0), self.present
        kappa, alpha = _agreement(hits.sum(axis=0), rows, columns)
        both = hits + (total - rows - columns + hits)
        kappas, alphas = _agreement(both[own], *(np.stack([n, total - n])[:, own] for n in (rows, columns)))
        found = {
            "accuracy": hits.sum(axis=0) / total,
            "f1": np.mean(2 * hits[own] / (rows + columns)[own], axis=0),
            "kappa": kappa,
            "alpha": alpha,
            "macro_recall": np.mean(hits[own] / rows[own], axis=0),
            "top2": sums["top2"][0] / total,
            "ece": np.abs(sums["gaps"]).sum(axis=0) / total,
            "brier": sums["brier"][0] / total,
            "kappa_ovr": kappas.mean(axis=0),
            "alpha_ovr": alphas.mean(axis=0),
        }
        if self.areas:
            areas = [_areas(sums["ranked", label], sums["found", label]) for label in own]
            found["auc"], found["auc_pr"] = np.mean(areas, axis=0)
        return {name: found[name] for name in self.metrics}


def summarise(targets, probabilities, metrics=tuple(METRICS)) -> dict:
    """All metrics of a run, without scikit-learn.

    Args:
        targets: (N,) true labels, integers 0–7.
        probabilities: (N, 8) predicted probabilities, finite, ≥ 0, rows summing to 1 within 1e-3.
        metrics: which of `METRICS`.

    Returns:
        dict of floats in the order of `metrics`. `accuracy`, `f1`, `kappa`, `alpha`, `auc_pr`, `auc` are those of
        `evaluate`, kappa and alpha multi-class as the paper's numbers are. Besides:

        - `macro_recall`: mean recall of the classes, also called balanced accuracy.
        - `top2`: share of images whose class is among the two most probable.
        - `ece`: expected calibration error over 15 bins of confidence, see `reliability`; lower is better.
        - `brier`: Brier's score, mean over images of Σ_c (p_c − y_c)², 0–2; lower is better.
        - `kappa_ovr`, `alpha_ovr`: mean over the classes of kappa and alpha of "this class or not".

        Means over classes run over those that have images. What is undefined is NaN, as in `evaluate`.

    Raises:
        InputError: as `evaluate`.

    >>> import numpy as np
    >>> targets = np.repeat(np.arange(8), 2)
    >>> scores = summarise(targets, 0.72 * np.eye(8)[targets] + 0.035)
    >>> scores["macro_recall"], round(scores["ece"], 3), round(scores["brier"], 4)
    (1.0, 0.245, 0.0686)
    """
    scores = WeightedMetrics(targets, probabilities, metrics)
    return {name: float(value[0]) for name, value in scores(np.ones((scores.images, 1))).items()}


def areas_of(positive: np.ndarray, scores: np.ndarray) -> tuple[float, float]:
    """AUC and average precision of one class against the rest; NaN where an area needs images that are not there."""
    if not positive.any():
        return np.nan, np.nan
    segments, _ = _segments(scores, positive)
    auc, auc_pr = _areas(*(np.bincount(segments, weights=part)[:, None] for part in (positive | True, positive)))
    return float(auc[0]), float(auc_pr[0])


def _segments(scores: np.ndarray, positive: np.ndarray) -> tuple[np.ndarray, int]:
    """Cut a ranking where it matters: (N,) rank of each image's segment, highest scores first, and their number.

    Images of one score share a segment. So do neighbours in the ranking none of which is positive: only the
    positives' places count.
    """
    order = np.argsort(-scores, kind="stable")
    starts = np.concatenate([[True], np.diff(scores[order]) != 0])
    ties = np.cumsum(starts) - 1
    holds = np.bincount(ties, weights=positive[order]) > 0  # whether a group of ties has a positive
    matters = holds | np.concatenate([[True], holds[:-1]])
    segments = np.empty(len(scores), int)
    segments[order] = np.cumsum(starts & matters[ties]) - 1
    return segments, int(segments.max()) + 1


def _areas(ranked: np.ndarray, found: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """AUC and average precision from the weight of all images and of the positives in each segment, (S, R)."""
    taken, hits = ranked.cumsum(axis=0), found.cumsum(axis=0)
    false = taken - hits
    above = false - (ranked - found) / 2  # ties count half
    auc = 1 - _ratio((found * above).sum(axis=0), hits[-1] * false[-1])
    precision = hits / np.maximum(taken, 1)  # nothing taken yet: nothing found either
    return auc, (found * precision).sum(axis=0) / hits[-1]


def _agreement(agreeing: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cohen's kappa and Krippendorff's nominal alpha; the categories are the first axis of `rows` and `columns`."""
    total = rows.sum(axis=0)
    chance = (rows * columns).sum(axis=0) / total**2
    pooled = rows + columns  # alpha: chance from the 2 N pooled ratings, without replacement
    disagreement = 1 - (pooled * (pooled - 1)).sum(axis=0) / (2 * total * (2 * total - 1))
    observed = agreeing / total
    return _ratio(observed - chance, 1 - chance), 1 - _ratio(1 - observed, disagreement)


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    return np.divide(numerator, denominator, out=np.full_like(numerator, np.nan), where=denominator != 0)
