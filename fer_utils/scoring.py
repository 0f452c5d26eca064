"""From predictions to all that `metrics.json` says of them."""

import numpy as np

from fer_utils import metrics
from fer_utils.expressions import EXPRESSIONS


def score(labels: np.ndarray, probabilities: np.ndarray) -> dict:
    """The paper's six metrics, the recall of each class, and the confusion matrix as lists.

    Args:
        labels: (N,), integers 0–7.
        probabilities: (N, 8), see `metrics.evaluate`.

    >>> scores = score(np.arange(8), np.eye(8))
    >>> scores["accuracy"], scores["macro_recall"], scores["recall_contempt"]
    (1.0, 1.0, 1.0)
    """
    results = metrics.evaluate(labels, probabilities)
    confusion = results.pop("confusion")
    recalls = metrics.recall_per_class(confusion)
    return {
        **results,
        "macro_recall": metrics.macro_recall(confusion),
        **{f"recall_{name}": float(recall) for name, recall in zip(EXPRESSIONS, recalls, strict=True)},
        "confusion": np.asarray(confusion).tolist(),
    }
