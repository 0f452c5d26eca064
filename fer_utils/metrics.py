"""The paper's six metrics on the eight expressions, intervals, and the paired comparison of two runs.

The paper says that all metrics but accuracy are "calculated in a binary-class manner". Its own numbers say otherwise:
all twenty published kappas equal (accuracy − 1/8) / (7/8), which is the multi-class kappa on a balanced test set. So
here accuracy, kappa and alpha are multi-class, and F1, AUC and AUC-PR are one-vs-rest averages over the classes.

scikit-learn and scipy are imported where they are used: they take a second to load, and tables and figures, which need
only the intervals, go without.
"""

from statistics import NormalDist

import numpy as np

from fer_utils.errors import InputError, check_choice
from fer_utils.expressions import EXPRESSIONS, NUM_CLASSES

ROW_SUM_TOLERANCE = 1e-3


def evaluate(targets, probabilities, absent: str = "exclude") -> dict:
    """The six metrics of Tables 5 and 6 and the confusion matrix of Figure 6.

    Args:
        targets: (N,) true labels, integers 0–7.
        probabilities: (N, 8) predicted probabilities, finite, ≥ 0, rows summing to 1 within 1e-3. The prediction is the
            most probable class, the first one of a tie.
        absent: what to do about a class without a single true image. Its recall, AUC and AUC-PR are undefined, so with
            `"exclude"` the averages of F1, AUC and AUC-PR run over the classes that are present; `"raise"` refuses.

    Returns:
        dict with floats 0–1 (kappa and alpha may be negative):

        - `accuracy`: share of images predicted right.
        - `f1`: mean of the classes' F1; 0 for a class that is present but never predicted.
        - `kappa`: Cohen's kappa of truth and prediction.
        - `alpha`: Krippendorff's alpha, nominal, truth and prediction being the two raters.
        - `auc_pr`: mean of the classes' average precision Σ (R_n − R_{n−1}) P_n. The paper does not say which estimate
          it uses; this one does not interpolate linearly between operating points, which would be too optimistic
          (Davis & Goadrich 2006, the paper's own reference for AUC-PR).
        - `auc`: mean of the classes' area under the ROC curve.

        and `confusion`, an (8, 8) int64 array, rows true, columns predicted. With a single true class AUC is NaN; where
        every prediction is that class too, so are kappa and alpha: agreement by chance is then complete.

    Raises:
        InputError: for empty input, mismatched lengths, labels outside 0–7, probabilities that are none, an unknown
            `absent`, or an absent class under `"raise"`.

    >>> import numpy as np
    >>> targets = np.repeat(np.arange(8), 2)
    >>> probabilities = np.eye(8)[targets]
    >>> probabilities[0] = np.eye(8)[7]  # one of two neutral faces taken for contempt
    >>> scores = evaluate(targets, probabilities)
    >>> round(scores["accuracy"], 4), round(scores["kappa"], 4), scores["confusion"][0].tolist()
    (0.9375, 0.9286, [1, 0, 0, 0, 0, 0, 0, 1])
    """
    import krippendorff
    from sklearn.metrics import average_precision_score, cohen_kappa_score, f1_score, roc_auc_score

    check_choice("absent", absent, ("exclude", "raise"))
    targets, probabilities = _check(targets, probabilities)
    predictions = probabilities.argmax(axis=1)
    supports = np.bincount(targets, minlength=NUM_CLASSES)
    present = np.flatnonzero(supports)
    if absent == "raise" and len(present) < NUM_CLASSES:
        names = ", ".join(np.array(EXPRESSIONS)[supports == 0])
        raise InputError(f'expected images of all 8 classes, found none of {names}; absent="exclude" leaves them out')

    ranked = [c for c in present if supports[c] < len(targets)]  # an ROC curve needs images of other classes too
    aucs = [roc_auc_score(targets == c, probabilities[:, c]) for c in ranked]
    precisions = [average_precision_score(targets == c, probabilities[:, c]) for c in present]
    kappa = alpha = float("nan")
    if len(np.union1d(targets, predictions)) > 1:
        kappa = cohen_kappa_score(targets, predictions)
        alpha = krippendorff.alpha(np.stack([targets, predictions]), level_of_measurement="nominal")
    return {
        "accuracy": float(np.mean(targets == predictions)),
        "f1": float(f1_score(targets, predictions, labels=present, average="macro", zero_division=0.0)),
        "kappa": float(kappa),
        "alpha": float(alpha),
        "auc_pr": float(np.mean(precisions)),
        "auc": float(np.mean(aucs)) if aucs else float("nan"),
        "confusion": count_confusion(targets, predictions),
    }


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
    targets, predictions = _check_labels(targets, "targets"), _check_labels(predictions, "predictions")
    _check_lengths(targets=targets, predictions=predictions)
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


def wilson_interval(successes, n, confidence: float = 0.95):
    """Wilson's score interval of a share, for instance of an accuracy or a recall on `n` images.

    Args:
        successes: number or array, 0 ≤ successes ≤ n; need not be whole (a mean over seeds times `n`).
        n: number or array of trials.
        confidence: 0–1, exclusive.

    Returns:
        (low, high), floats or arrays of the broadcast shape, within 0–1; NaN where n = 0.

    Raises:
        InputError: for successes outside 0–n or a confidence outside 0–1.

    >>> low, high = wilson_interval(2428, 4000)  # the paper's model 10
    >>> round(low, 4), round(high, 4)
    (0.5918, 0.622)
    """
    if not 0 < confidence < 1:
        raise InputError(f"expected a confidence between 0 and 1, found {confidence!r}")
    successes, n = np.broadcast_arrays(np.asarray(successes, dtype=float), np.asarray(n, dtype=float))
    wrong = (successes < 0) | (successes > n) | np.isnan(successes) | np.isnan(n)
    if wrong.any():
        raise InputError(f"expected 0 ≤ successes ≤ n, found {int(wrong.sum())} of {wrong.size} values outside")
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    trials = np.where(n > 0, n, np.nan)
    share = successes / trials
    center = (share + z**2 / (2 * trials)) / (1 + z**2 / trials)
    half = z / (1 + z**2 / trials) * np.sqrt(share * (1 - share) / trials + z**2 / (4 * trials**2))
    # Rounding alone could leave 0–1 at a share of 0 or 1, where the bound is exactly 0 or 1.
    low, high = np.clip(center - half, 0, 1), np.clip(center + half, 0, 1)
    low, high = np.where(successes == 0, trials * 0, low), np.where(successes == n, trials * 0 + 1, high)
    return (float(low), float(high)) if low.ndim == 0 else (low, high)


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

    targets = _check_labels(targets, "targets")
    a, b = _check_labels(predictions_a, "predictions_a"), _check_labels(predictions_b, "predictions_b")
    _check_lengths(targets=targets, predictions_a=a, predictions_b=b)
    only_a = int(np.sum((a == targets) & (b != targets)))
    only_b = int(np.sum((a != targets) & (b == targets)))
    p_value = binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1.0
    return {"b": only_a, "c": only_b, "p_value": float(p_value)}


def macro_recall_difference(targets, predictions_a, predictions_b, resamples: int = 2000, seed: int = 0) -> dict:
    """How much higher run b's macro recall is than run a's on the same images, with a 95 % paired bootstrap interval.

    Images are drawn anew within their class, both runs' predictions together, so that what the runs share cancels and
    a class keeps its number of images.

    Args:
        targets: (N,) true labels 0–7.
        predictions_a, predictions_b: (N,) predicted labels of the two runs.
        resamples: bootstrap samples.
        seed: of the resampling.

    Returns:
        dict: `difference`, `low`, `high` (fractions, b − a, over the classes that occur).

    Raises:
        InputError: for labels outside 0–7 or unequal lengths.

    >>> macro_recall_difference([0, 0, 1, 1], [0, 1, 0, 0], [0, 0, 1, 1])["difference"]
    0.75
    """
    targets = _check_labels(targets, "targets")
    predictions_a = _check_labels(predictions_a, "predictions_a")
    predictions_b = _check_labels(predictions_b, "predictions_b")
    _check_lengths(targets=targets, predictions_a=predictions_a, predictions_b=predictions_b)
    change = (predictions_b == targets).astype(int) - (predictions_a == targets)  # (N,) of −1, 0, 1
    random, differences = np.random.default_rng(seed), []
    for label in np.unique(targets):
        own = change[targets == label]
        shares = np.bincount(own + 1, minlength=3) / len(own)
        lost, _, won = random.multinomial(len(own), shares, size=resamples).T
        differences.append((own.mean(), (won - lost) / len(own)))
    mean, resampled = (np.mean(part, axis=0) for part in zip(*differences, strict=True))
    low, high = np.quantile(resampled, [0.025, 0.975])
    return {"difference": float(mean), "low": float(low), "high": float(high)}


def _check(targets, probabilities) -> tuple[np.ndarray, np.ndarray]:
    targets = _check_labels(targets, "targets")
    probabilities = np.asarray(probabilities, dtype=float)
    if probabilities.ndim != 2 or probabilities.shape[1] != NUM_CLASSES:
        raise InputError(f"expected probabilities of shape (N, 8), found {probabilities.shape}")
    _check_lengths(targets=targets, probabilities=probabilities)
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


def _check_labels(labels, what: str) -> np.ndarray:
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


def _check_lengths(**arrays) -> None:
    if len({len(array) for array in arrays.values()}) > 1:
        found = ", ".join(f"{len(array)} {name}" for name, array in arrays.items())
        raise InputError(f"expected equally many of each, found {found}")
