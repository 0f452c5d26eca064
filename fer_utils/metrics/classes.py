"""Class by class, and what too few images of a class mean."""

import numpy as np
import pandas as pd

from fer_utils.errors import InputError, check_choice
from fer_utils.expressions import EXPRESSIONS, NUM_CLASSES
from fer_utils.metrics.checks import check_labels, check_scores
from fer_utils.metrics.confusion import count_confusion
from fer_utils.metrics.intervals import wilson_interval
from fer_utils.metrics.weighted import areas_of

FEW = 30  # below it the 95 % interval of a recall is ± 18 points wide


def per_class(targets, probabilities, absent: str = "nan") -> pd.DataFrame:
    """Precision, recall, F1 and areas of every class against the rest.

    Args:
        targets: (N,) true labels 0–7.
        probabilities: (N, 8), rows summing to 1.
        absent: what to do about a class without a single true image: `"nan"` keeps its row, all NaN but the support;
            `"raise"` refuses.

    Returns:
        DataFrame indexed by the class's name: `support` (true images), `predicted` (images taken for it), `precision`,
        `recall` with its 95 % Wilson interval `low`, `high`, `f1`, `auc`, `auc_pr`. NaN besides: the precision of a
        class that is never predicted, and AUC where there is no image of another class.

    Raises:
        InputError: as `evaluate`.

    >>> targets = np.repeat(np.arange(7), 2)  # no contempt
    >>> table = per_class(targets, np.eye(8)[np.where(targets == 6, 0, targets)])
    >>> table.loc[["neutral", "anger", "contempt"], ["support", "precision", "recall", "f1"]].values.tolist()
    [[2.0, 0.5, 1.0, 0.6666666666666666], [2.0, nan, 0.0, 0.0], [0.0, nan, nan, nan]]
    """
    check_choice("absent", absent, ("nan", "raise"))
    targets, probabilities = check_scores(targets, probabilities)
    confusion = count_confusion(targets, probabilities.argmax(axis=1))
    support, predicted, hits = confusion.sum(axis=1), confusion.sum(axis=0), np.diagonal(confusion)
    if absent == "raise" and not support.all():
        names = ", ".join(np.array(EXPRESSIONS)[support == 0])
        raise InputError(
            f'expected images of all 8 classes, found none of {names}; absent="nan" leaves their rows empty'
        )
    images, guesses = np.where(support > 0, support, np.nan), np.where(predicted > 0, predicted, np.nan)
    low, high = wilson_interval(hits, support)
    areas = [areas_of(targets == label, probabilities[:, label]) for label in range(NUM_CLASSES)]
    return pd.DataFrame(
        {
            "support": support,
            "predicted": predicted,
            "precision": np.where(support > 0, hits / guesses, np.nan),
            "recall": hits / images,
            "low": low,
            "high": high,
            "f1": 2 * hits / (images + predicted),
            "auc": [area[0] for area in areas],
            "auc_pr": [area[1] for area in areas],
        },
        index=pd.Index(EXPRESSIONS, name="expression"),
    )


def small_classes(targets, below: int = FEW) -> str:
    """A sentence that names the classes with too few test images to say much of; empty where there are none.

    Args:
        targets: (N,) true labels 0–7.
        below: a class with fewer images is named.

    Raises:
        InputError: for labels outside 0–7 or an empty list.

    >>> small_classes([0] * 40 + [5] * 16 + [7])
    'Of 57 test images only 16 show disgust and 1 contempt, and none happy, sad, surprise, fear or anger.'
    """
    targets = check_labels(targets, "targets")
    supports = np.bincount(targets, minlength=NUM_CLASSES)
    few = [(name, n) for name, n in zip(EXPRESSIONS, supports, strict=True) if 0 < n < below]
    none = [name for name, n in zip(EXPRESSIONS, supports, strict=True) if n == 0]
    parts = []
    if few:
        (name, n), *others = few
        parts.append(f"only {listed([f'{n} show {name}', *(f'{n} {name}' for name, n in others)])}")
    if none:
        parts.append(f"none {'' if few else 'show '}{listed(none, 'or')}")
    return f"Of {len(targets):,} test images {', and '.join(parts)}." if parts else ""


def listed(names, last: str = "and") -> str:
    """Words as a list in a sentence.

    >>> listed(["a", "b", "c"]), listed(["a"])
    ('a, b and c', 'a')
    """
    *others, final = names
    return f"{', '.join(others)} {last} {final}" if others else final
