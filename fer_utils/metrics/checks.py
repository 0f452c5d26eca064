"""What every metric asks of labels and probabilities."""

import numpy as np
import pandas as pd

from fer_utils.errors import InputError
from fer_utils.expressions import NUM_CLASSES

ROW_SUM_TOLERANCE = 1e-3


def check_scores(targets, probabilities) -> tuple[np.ndarray, np.ndarray]:
    targets = check_labels(targets, "targets")
    probabilities = np.asarray(probabilities, dtype=float)
    if probabilities.ndim != 2 or probabilities.shape[1] != NUM_CLASSES:
        raise InputError(f"expected probabilities of shape (N, 8), found {probabilities.shape}")
    check_lengths(targets=targets, probabilities=probabilities)
    rows = len(probabilities)
    broken = ~np.isfinite(probabilities).all(axis=1)
    if broken.any():
        raise InputError(f"expected finite probabilities, found NaN or infinity in {broken.sum()} of {rows} rows")
    sums = probabilities.sum(axis=1)
    wrong = (np.abs(sums - 1) > ROW_SUM_TOLERANCE) | (probabilities < 0).any(axis=1)
    if wrong.any():
        example = np.flatnonzero(wrong)[0]
        raise InputError(
            f"expected probabilities ≥ 0 whose rows sum to 1, found {wrong.sum()} of {rows} rows that do not "
            f"(row {example} sums to {sums[example]:.4g}); pass the softmax of the logits"
        )
    return targets, probabilities


def check_labels(labels, what: str) -> np.ndarray:
    labels = np.asarray(labels)
    if labels.ndim != 1 or len(labels) == 0:
        raise InputError(f"expected {what} of shape (N,) with N ≥ 1, found shape {labels.shape}")
    if labels.dtype.kind not in "iu":
        raise InputError(f"expected integer {what}, found dtype {labels.dtype}")
    outside = (labels < 0) | (labels >= NUM_CLASSES)
    if outside.any():
        found = ", ".join(map(str, np.unique(labels[outside])[:5]))
        raise InputError(f"expected {what} 0–7, found {outside.sum()} of {len(labels)} outside: {found}")
    return labels.astype(np.int64)


def check_lengths(**arrays) -> None:
    if len({len(array) for array in arrays.values()}) > 1:
        found = ", ".join(f"{len(array)} {name}" for name, array in arrays.items())
        raise InputError(f"expected equally many of each, found {found}")


def check_same_images(first: pd.Series, second: pd.Series, names: str) -> None:
    """Raise `InputError` unless two runs were tested on the same images with the same labels.

    Args:
        first, second: labels indexed by image, in any order, every image once.
        names: the two, for the message.

    >>> check_same_images(pd.Series([0, 1], ["x", "y"]), pd.Series([2, 0], ["y", "x"]), "a and b")
    Traceback (most recent call last):
    fer_utils.errors.InputError: expected the same labels for a and b, found 1 of 2 images labelled otherwise, y first
    """
    common = first.index.intersection(second.index)
    if not len(common) == len(first) == len(second):
        raise InputError(
            f"expected the same test images for {names}, found {len(first):,} and {len(second):,} of which "
            f"{len(common):,} are common; only runs on the same images can be paired"
        )
    other = first.index[first.to_numpy() != second.loc[first.index].to_numpy()]
    if len(other):
        raise InputError(
            f"expected the same labels for {names}, found {len(other):,} of {len(first):,} images labelled otherwise, "
            f"{other[0]} first"
        )
