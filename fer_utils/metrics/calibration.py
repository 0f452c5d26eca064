"""Is a probability of 70 % right in 70 % of the cases?"""

import numpy as np
import pandas as pd

from fer_utils.errors import InputError
from fer_utils.metrics.checks import check_scores
from fer_utils.metrics.intervals import wilson_interval

BINS = 15


def bins_of(confidence: np.ndarray, bins: int = BINS) -> np.ndarray:
    """Index 0 … bins − 1 of the bin ((i / bins, (i + 1) / bins]) of each confidence 0–1."""
    return np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)


def reliability(targets, probabilities, bins: int = BINS) -> pd.DataFrame:
    """How often the most probable class is right, by how probable it was (Guo et al. 2017).

    Args:
        targets: (N,) true labels 0–7.
        probabilities: (N, 8), rows summing to 1.
        bins: bins of equal width of the confidence, the highest probability of an image.

    Returns:
        DataFrame, a row a bin: `left`, `right` (its edges), `confidence` (mean of its images), `accuracy` (their share
        predicted right) with its 95 % Wilson interval `low`, `high`, and `count`; NaN where no image falls. With eight
        classes the confidence is at least 1/8, so that the first bins are empty. `calibration_error` is the table's
        summary.

    Raises:
        InputError: as `evaluate`, or for fewer than one bin.

    >>> targets = [0, 1, 2, 3]
    >>> table = reliability(targets, 0.72 * np.eye(8)[[0, 1, 2, 0]] + 0.035, bins=4)
    >>> table[["confidence", "accuracy", "count"]].iloc[3].round(3).tolist()
    [0.755, 0.75, 4.0]
    """
    targets, probabilities = check_scores(targets, probabilities)
    if bins < 1:
        raise InputError(f"expected at least 1 bin, found {bins}")
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == targets
    index = bins_of(confidence, bins)
    count, hits = np.bincount(index, minlength=bins), np.bincount(index, right, minlength=bins)
    known = np.where(count > 0, count, np.nan)
    low, high = wilson_interval(hits, count)
    return pd.DataFrame({
        "left": np.arange(bins) / bins,
        "right": np.arange(1, bins + 1) / bins,
        "confidence": np.bincount(index, confidence, minlength=bins) / known,
        "accuracy": hits / known,
        "low": low,
        "high": high,
        "count": count,
    })  # fmt: skip


def calibration_error(table: pd.DataFrame) -> float:
    """Expected calibration error: mean distance of accuracy and confidence, every bin counting by its images.

    Args:
        table: what `reliability` returns.

    >>> calibration_error(pd.DataFrame({"confidence": [0.5, 0.9], "accuracy": [0.6, 0.6], "count": [2, 1]}))
    0.16666666666666666
    """
    return float(((table["accuracy"] - table["confidence"]).abs() * table["count"]).sum() / table["count"].sum())
