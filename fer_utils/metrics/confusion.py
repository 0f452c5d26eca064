"""Confusion matrices, and recall from them."""

import numpy as np

from fer_utils.errors import InputError
from fer_utils.expressions import NUM_CLASSES
from fer_utils.metrics.checks import check_labels, check_lengths


def count_confusion(targets, predictions) -> np.ndarray:
    """Count images by true and predicted class.

    Args:
        targets, predictions: (N,) integers 0–7.

    Returns:
        (8, 8) int64, rows true, columns predicted.

    Raises:
        InputError: for mismatched lengths or labels outside 0–7.

    >>> count_confusion([0, 1, 1], [0, 1, 7])[1].tolist()
    [0, 1, 0, 0, 0, 0, 0, 1]
    """
    targets, predictions = check_labels(targets, "targets"), check_labels(predictions, "predictions")
    check_lengths(targets=targets, predictions=predictions)
    cells = np.bincount(targets * NUM_CLASSES + predictions, minlength=NUM_CLASSES**2)
    return cells.reshape(NUM_CLASSES, NUM_CLASSES).astype(np.int64)


def confusion_rows(confusion) -> np.ndarray:
    """Each row of a confusion matrix as shares of the class's images.

    Args:
        confusion: (K, K) counts, rows true.

    Returns:
        (K, K) float64; rows sum to 1, a row without images is NaN.

    >>> confusion_rows([[3, 1], [0, 0]]).tolist()
    [[0.75, 0.25], [nan, nan]]
    """
    confusion = np.asarray(confusion, dtype=float)
    supports = confusion.sum(axis=1, keepdims=True)  # (K, 1)
    return np.divide(confusion, supports, out=np.full_like(confusion, np.nan), where=supports > 0)


def recall_per_class(confusion) -> np.ndarray:
    """Share of each class's images predicted right: the diagonal of Figure 6.

    Args:
        confusion: (K, K) counts, rows true.

    Returns:
        (K,) float64, NaN for a class without images.

    >>> recall_per_class([[3, 1], [2, 2]]).tolist()
    [0.75, 0.5]
    """
    return np.diagonal(confusion_rows(confusion)).copy()


def macro_recall(confusion) -> float:
    """Mean recall over the classes that have images; equals the accuracy on a balanced test set.

    Args:
        confusion: (K, K) counts, rows true.

    Raises:
        InputError: if no class has images.

    >>> macro_recall([[3, 1], [2, 2]])
    0.625
    """
    recalls = recall_per_class(confusion)
    if np.isnan(recalls).all():
        raise InputError("expected a confusion matrix with images, found 0 images")
    return float(np.nanmean(recalls))
