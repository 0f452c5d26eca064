"""The paper's six metrics, by scikit-learn and krippendorff."""

import numpy as np

from fer_utils.errors import InputError, check_choice
from fer_utils.expressions import EXPRESSIONS, NUM_CLASSES
from fer_utils.metrics.checks import check_scores
from fer_utils.metrics.confusion import count_confusion


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
    targets, probabilities = check_scores(targets, probabilities)
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
