"""Two runs, or two sets of seeds, on the same images."""

from statistics import NormalDist

import numpy as np
import pandas as pd

from fer_utils.errors import InputError
from fer_utils.expressions import EXPRESSIONS, NUM_CLASSES
from fer_utils.metrics.checks import check_labels, check_lengths
from fer_utils.metrics.resampling import check_bootstrap, collected, draw_weights, percentiles
from fer_utils.metrics.weighted import METRICS, WeightedMetrics


def mcnemar(targets, predictions_a, predictions_b) -> dict:
    """McNemar's exact test: are two runs equally often right on the same images?

    Args:
        targets, predictions_a, predictions_b: (N,) integers 0–7, in the same order of images.

    Returns:
        dict with `b` (images that only run a has right), `c` (only run b) and the two-sided `p_value`, 1 where they
        never differ.

    Raises:
        InputError: for mismatched lengths, empty input or labels outside 0–7.

    >>> mcnemar([0] * 10, [0] * 10, [0] * 4 + [1] * 6)
    {'b': 6, 'c': 0, 'p_value': 0.03125}
    """
    from scipy.stats import binomtest

    targets = check_labels(targets, "targets")
    a, b = check_labels(predictions_a, "predictions_a"), check_labels(predictions_b, "predictions_b")
    check_lengths(targets=targets, predictions_a=a, predictions_b=b)
    only_a = int(np.sum((a == targets) & (b != targets)))
    only_b = int(np.sum((a != targets) & (b == targets)))
    p_value = binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1.0
    return {"b": only_a, "c": only_b, "p_value": float(p_value)}


def compare_paired(
    targets, probabilities_a, probabilities_b, resamples: int = 2000, seed: int = 0, metrics=tuple(METRICS)
) -> pd.DataFrame:
    """Every metric of two runs on the same images, and the difference with a paired bootstrap interval.

    Images are drawn with replacement within their class, the same for both runs, so that what is hard or easy for both
    cancels. With several seeds of each, a metric is the mean over seeds, and all are drawn alike. The interval is that
    of the images: other seeds are in `over_seeds`.

    Args:
        targets: (N,) true labels 0–7.
        probabilities_a, probabilities_b: (N, 8), rows summing to 1, images in the same order; or (S, N, 8), S seeds.
        resamples: bootstrap samples.
        seed: of the resampling.
        metrics: which of `METRICS`.

    Returns:
        DataFrame indexed by metric: `a`, `b`, `difference` (b − a), its 95 % percentile interval `low`,
        `high`, a two-sided `p_value`, not corrected for the number of metrics, and `test`, where it is from: "McNemar",
        exact, for the accuracy of one run each, else "bootstrap": twice the smaller share of samples on either side of
        0, at least 2 / (resamples + 1). NaN where a metric is undefined.

    Raises:
        InputError: as `evaluate`, for unequal numbers of seeds, an unknown metric, or fewer than 1 resample.

    >>> targets = np.repeat(np.arange(8), 5)
    >>> right, wrong = np.eye(8)[targets], np.eye(8)[np.where(np.arange(40) % 5, targets, 0)]
    >>> compare_paired(targets, wrong, right).loc["accuracy", ["a", "b", "p_value"]].tolist()
    [0.825, 1.0, 0.015625]
    """
    check_bootstrap(resamples, 0.95)
    both = [stacked(part) for part in (probabilities_a, probabilities_b)]
    if len(both[0]) != len(both[1]):
        raise InputError(f"expected as many seeds of both, found {len(both[0])} and {len(both[1])}")
    sides = [[WeightedMetrics(targets, part, metrics) for part in side] for side in both]
    targets = np.asarray(targets)

    def differ(weights) -> tuple[dict, dict]:
        a, b = ([scores(weights) for scores in side] for side in sides)
        return tuple({name: np.mean([part[name] for part in side], axis=0) for name in side[0]} for side in (a, b))

    a, b = differ(np.ones((len(targets), 1)))
    samples = collected(
        {name: drawn_b[name] - drawn_a[name] for name in drawn_a}
        for drawn_a, drawn_b in map(differ, draw_weights(targets, resamples, seed))
    )
    rows = {}
    for name, sample in samples.items():
        p_value, test = two_sided(sample), "bootstrap"
        if name == "accuracy" and len(both[0]) == 1:
            guesses = (side[0].argmax(axis=1) for side in both)
            p_value, test = mcnemar(targets, *guesses)["p_value"], "McNemar"
        rows[name] = {
            "a": a[name][0], "b": b[name][0], "difference": b[name][0] - a[name][0], **percentiles(sample),
            "p_value": p_value, "test": test,
        }  # fmt: skip
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("metric")


def compare_recalls(targets, predictions_a, predictions_b) -> pd.DataFrame:
    """For whom is run b better? Recall class by class on the same images.

    The interval is Bonett and Price's (2012) for a difference of paired shares: Wald's with one more image on either
    side, which keeps its level in classes of 15 images and has a width where the two runs never differ.

    Args:
        targets: (N,) true labels 0–7.
        predictions_a, predictions_b: (N,) predicted labels of the two runs.

    Returns:
        DataFrame indexed by the class's name: `support`, `a`, `b` (recalls), `difference` (b − a), its 95 % interval
        `low`, `high`, `only_a`, `only_b` (images that one run alone has right) and the exact McNemar `p_value`, not
        corrected for eight classes. NaN for a class without images.

    Raises:
        InputError: for labels outside 0–7 or unequal lengths.

    >>> table = compare_recalls([5] * 16, [0] * 16, [5] * 5 + [0] * 11)
    >>> table.loc["disgust", ["difference", "low", "high", "p_value"]].round(3).tolist()
    [0.312, 0.02, 0.536, 0.062]
    """
    targets = check_labels(targets, "targets")
    a, b = check_labels(predictions_a, "predictions_a"), check_labels(predictions_b, "predictions_b")
    check_lengths(targets=targets, predictions_a=a, predictions_b=b)
    z, rows = NormalDist().inv_cdf(0.975), []
    for label in range(NUM_CLASSES):
        own = targets == label
        n = int(own.sum())
        row = {"support": n, **dict.fromkeys(("a", "b", "difference", "low", "high"), np.nan), "only_a": 0, "only_b": 0}
        row["p_value"] = np.nan
        if n:
            test = mcnemar(targets[own], a[own], b[own])
            lost, won = (test["b"] + 1) / (n + 2), (test["c"] + 1) / (n + 2)
            half = z * np.sqrt((lost + won - (won - lost) ** 2) / (n + 2))
            recalls = [float(np.mean(part[own] == label)) for part in (a, b)]
            row |= {"a": recalls[0], "b": recalls[1], "difference": recalls[1] - recalls[0]}
            row |= {"low": max(-1.0, won - lost - half), "high": min(1.0, won - lost + half)}
            row |= {"only_a": test["b"], "only_b": test["c"], "p_value": test["p_value"]}
        rows.append(row)
    return pd.DataFrame(rows, index=pd.Index(EXPRESSIONS, name="expression"))


def macro_recall_difference(targets, predictions_a, predictions_b, resamples: int = 2000, seed: int = 0) -> dict:
    """How much higher b's macro recall is than a's on the same images, with a 95 % paired bootstrap interval.

    What `compare_paired` says of `macro_recall`, in milliseconds and from predicted labels alone: an image counts only
    by what it changes, so that a class's bootstrap is one multinomial draw over the few values that occur.

    Args:
        targets: (N,) true labels 0–7.
        predictions_a, predictions_b: (N,) predicted labels of the two runs, or (S, N) of S seeds each, whose mean
            counts.
        resamples: bootstrap samples.
        seed: of the resampling.

    Returns:
        dict: `difference`, `low`, `high` (fractions, b − a, over the classes that occur) and the two-sided bootstrap
        `p_value`.

    Raises:
        InputError: for labels outside 0–7 or unequal lengths.

    >>> macro_recall_difference([0, 0, 1, 1], [0, 1, 0, 0], [0, 0, 1, 1])["difference"]
    0.75
    """
    targets = check_labels(targets, "targets")
    sides = []
    for name, side in (("predictions_a", predictions_a), ("predictions_b", predictions_b)):
        side = [check_labels(part, name) for part in np.atleast_2d(np.asarray(side))]
        for part in side:
            check_lengths(**{"targets": targets, name: part})
        sides.append(np.stack(side))
    if len(sides[0]) != len(sides[1]):
        raise InputError(f"expected as many seeds of both, found {len(sides[0])} and {len(sides[1])}")
    a, b = sides
    change = (b == targets).sum(axis=0) - (a == targets).sum(axis=0)  # (N,) of −S … S
    random, differences = np.random.default_rng(seed), []
    for label in np.unique(targets):
        values, counts = np.unique(change[targets == label], return_counts=True)
        own = counts.sum()
        drawn = random.multinomial(own, counts / own, size=resamples)
        differences.append((values @ counts / own, drawn @ values / own))
    mean, sample = (np.mean(part, axis=0) / len(a) for part in zip(*differences, strict=True))
    return {"difference": float(mean), **percentiles(sample), "p_value": two_sided(sample)}


def two_sided(sample: np.ndarray) -> float:
    """P-value of "no difference" from a bootstrap distribution of it: the level at which its interval reaches 0."""
    if np.isnan(sample).any():
        return float("nan")
    beyond = min(np.sum(sample <= 0), np.sum(sample >= 0))
    return float(min(1.0, 2 * (beyond + 1) / (len(sample) + 1)))


def stacked(probabilities) -> np.ndarray:
    """(S, N, 8) from one run's (N, 8) or several seeds'."""
    probabilities = np.asarray(probabilities)
    return probabilities[None] if probabilities.ndim != 3 else probabilities
