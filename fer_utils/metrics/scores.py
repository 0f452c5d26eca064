"""How good are probabilities? The paper's six metrics, and what else is said of a set of faces.

The paper calls its metrics "binary-class", yet its twenty kappas equal (accuracy − 1/8) / (7/8), as
multi-class kappa does on a balanced test. So kappa and alpha are multi-class here; F1, AUC and
AUC-PR are means over the classes, each against the rest.
"""

from statistics import NormalDist

import numpy as np
import pandas as pd
from scipy.sparse import csr_array

from fer_utils.core import EXPRESSIONS, NUM_CLASSES, InputError, check_choice, paper, require

MAIN = (*paper.METRICS, "macro_recall")
OTHERS = {"macro_recall": "Macro recall", "ece": "Calibration error", "brier": "Brier score"}
RECALLS = {f"recall_{name}": f"Recall of {name}" for name in EXPRESSIONS}
METRICS = paper.METRICS | OTHERS | RECALLS
Z = NormalDist().inv_cdf(0.975)
BINS = 15  # of confidence


def evaluate(targets, probabilities, absent="exclude", balanced=False) -> dict[str, float]:
    """The six metrics of Tables 5 and 6, and macro recall.

    Args:
        targets: (N,) true labels, integers 0–7.
        probabilities: (N, 8), rows summing to 1; the first of a tie is the prediction.
        absent: of a class without true images. "exclude": means run over the others, but to answer
            with it is an error; "restrict": nobody may, see `restrict_answers`; "raise" refuses.
        balanced: weight the images to equal shares of the classes; accuracy then is macro recall.

    `auc_pr` is average precision, which does not interpolate (Davis & Goadrich 2006). NaN: AUC with
    a single true class; kappa, alpha where nothing else is predicted either.
    """
    check_choice("absent", absent, ("exclude", "restrict", "raise"))
    targets, probabilities = check_scores(targets, probabilities)
    missing = np.delete(EXPRESSIONS, np.unique(targets))
    complete = absent != "raise" or not len(missing)
    require(complete, "images of all classes", f"none of {', '.join(missing)}; exclude them")
    if absent == "restrict":
        probabilities = restrict_answers(targets, probabilities)
    scores = weighted_scores(targets, probabilities, np.ones((len(targets), 1)), MAIN, balanced)
    return {name: float(values[0]) for name, values in scores.items()}


def restrict_answers(targets, probabilities) -> np.ndarray:
    """Probabilities among the classes that have true images, those of the others shared out."""
    allowed = np.isin(np.arange(NUM_CLASSES), targets) * (np.asarray(probabilities) + 1e-12)
    return allowed / allowed.sum(axis=-1, keepdims=True)


def confusion_matrix(targets, predictions) -> np.ndarray:
    """(8, 8) int64 counts of images, rows true, columns predicted; both (N,) integers 0–7."""
    targets = check_labels(targets)
    predictions = check_labels(predictions, "predictions", len(targets))
    cells = np.bincount(targets * NUM_CLASSES + predictions, minlength=NUM_CLASSES**2)
    return cells.reshape(NUM_CLASSES, NUM_CLASSES)


def recall_per_class(confusion) -> np.ndarray:
    """Share of each class's images predicted right, NaN for one without: Figure 6's diagonal."""
    return _ratio(np.diagonal(confusion), np.sum(confusion, axis=1))


def per_class(targets, probabilities) -> pd.DataFrame:
    """Every class against the rest.

    By expression: `support` (true images), `predicted` (images taken for it), `precision`, `recall`
    with its 95 % Wilson interval `low`, `high`, `f1`, `auc`, `auc_pr`; NaN where undefined, as all
    of a class without images.
    """
    targets, probabilities = check_scores(targets, probabilities)
    confusion = confusion_matrix(targets, probabilities.argmax(axis=1))
    hits, support, predicted = np.diagonal(confusion), confusion.sum(axis=1), confusion.sum(axis=0)
    index = pd.Index(EXPRESSIONS, name="expression")
    table = pd.DataFrame({"support": support, "predicted": predicted}, index)
    table["precision"], table["recall"] = _ratio(hits, predicted), _ratio(hits, support)
    table["low"], table["high"] = wilson_interval(hits, support)
    table["f1"] = _ratio(2 * hits, support + predicted)
    table[["auc", "auc_pr"]] = _areas(targets, probabilities, np.ones((len(targets), 1)))[..., 0].T
    table.loc[support == 0, "precision":] = np.nan
    return table


def reliability(targets, probabilities, bins=BINS) -> pd.DataFrame:
    """How often the most probable class is right, by how probable it was (Guo et al. 2017).

    A row a bin of equal width: `left`, `right` (edges; the right one belongs to it), mean
    `confidence`, `accuracy` with its 95 % Wilson interval `low`, `high`, and `count`.
    """
    targets, probabilities = check_scores(targets, probabilities)
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == targets
    index, left = _bin(confidence, bins), np.arange(bins) / bins
    count, hits, sums = (np.bincount(index, x, bins) for x in (None, right, confidence))
    table = pd.DataFrame({"left": left, "right": left + 1 / bins})
    table["confidence"], table["accuracy"] = _ratio(sums, count), _ratio(hits, count)
    table["low"], table["high"] = wilson_interval(hits, count)
    return table.assign(count=count)


def calibration_error(table: pd.DataFrame) -> float:
    """Expected calibration error: mean |accuracy − confidence| of `reliability`, by images."""
    gaps = (table["accuracy"] - table["confidence"]).abs()
    return float((gaps * table["count"]).sum() / table["count"].sum())


def wilson_interval(successes, n):
    """Wilson's interval of a share, for instance of a recall, of n trials; NaN where n = 0.

    Numbers or arrays, 0 ≤ successes ≤ n; `successes` need not be whole (a mean over seeds).

    >>> np.round(wilson_interval(2428, 4000), 4).tolist()  # the paper's model 10
    [0.5918, 0.622]
    """
    successes, n = np.broadcast_arrays(np.asarray(successes, float), np.asarray(n, float))
    wrong = ~((successes >= 0) & (successes <= n))
    require(not wrong.any(), "0 ≤ successes ≤ n", f"{wrong.sum()} of {wrong.size} outside")
    trials = np.where(n > 0, n, np.nan)
    share, scale = successes / trials, 1 + Z**2 / trials
    center = (share + Z**2 / (2 * trials)) / scale
    half = Z / scale * np.sqrt(share * (1 - share) / trials + Z**2 / (4 * trials**2))
    # A share of 0 or 1 is its own bound, exactly.
    low, high = np.where(share == 0, 0, center - half), np.where(share == 1, 1, center + half)
    return (float(low), float(high)) if low.ndim == 0 else (low, high)


def weighted_scores(targets, probabilities, weights, metrics, balanced=False) -> dict:
    """Metrics (R,) of one run under R weightings (N, R) of its images, whole copies or not.

    Every class that occurs must keep some weight.
    """
    if balanced:  # equal shares of the classes; the sum stays
        sums = np.eye(NUM_CLASSES)[targets].T @ weights  # (8, R)
        weights = weights * _ratio(weights.sum(axis=0) / len(np.unique(targets)), sums)[targets]
    guesses, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    cells = np.eye(NUM_CLASSES**2)[targets * NUM_CLASSES + guesses].T @ weights
    cells = cells.reshape(NUM_CLASSES, NUM_CLASSES, -1)  # (true, predicted, R)
    hits, rows, columns = np.einsum("kkr->kr", cells), cells.sum(axis=1), cells.sum(axis=0)
    total, pooled, present = rows.sum(axis=0), rows + columns, np.unique(targets)
    accuracy, recalls = hits.sum(axis=0) / total, _ratio(hits, rows)
    chance = (rows * columns).sum(axis=0) / total**2
    # Alpha's chance is that of the 2 N pooled ratings, drawn without replacement.
    pooled_chance = (pooled * (pooled - 1)).sum(axis=0) / (2 * total * (2 * total - 1))
    found = dict(zip(RECALLS, recalls, strict=True)) | {
        "accuracy": accuracy,
        "f1": (2 * hits[present] / pooled[present]).mean(axis=0),
        "kappa": _ratio(accuracy - chance, 1 - chance),
        "alpha": _ratio(accuracy - pooled_chance, 1 - pooled_chance),
        "macro_recall": recalls[present].mean(axis=0),
    }
    if "ece" in metrics:
        excess = ((guesses == targets) - confidence)[:, None] * np.eye(BINS)[_bin(confidence, BINS)]
        found["ece"] = np.abs(excess.T @ weights).sum(axis=0) / total
    if "brier" in metrics:
        squares = ((probabilities - np.eye(NUM_CLASSES)[targets]) ** 2).sum(axis=1)
        found["brier"] = squares @ weights / total
    if not {"auc", "auc_pr"}.isdisjoint(metrics):
        areas = _areas(targets, probabilities, weights)
        found["auc"], found["auc_pr"] = areas[:, present].mean(axis=1)
    return {name: found[name] for name in metrics}


def check_scores(targets, probabilities, seeds=False) -> tuple[np.ndarray, np.ndarray]:
    """Labels (N,) and probabilities (N, 8), with `seeds` also (S, N, 8), as int64 and float64."""
    targets, probabilities = check_labels(targets), np.asarray(probabilities, dtype=float)
    expected, axes = (len(targets), NUM_CLASSES), (2, 3) if seeds else (2,)
    fits = probabilities.shape[-2:] == expected and probabilities.ndim in axes
    require(fits, f"probabilities of {expected}", probabilities.shape)
    sums = probabilities.sum(axis=-1)
    wrong = ~((np.abs(sums - 1) <= 1e-3) & (probabilities >= 0).all(axis=-1))
    if wrong.any():
        found = f"{wrong.sum()} of {wrong.size} that do not (one sums to {sums[wrong][0]:.4g})"
        raise InputError(f"expected rows of probabilities that sum to 1, found {found}")
    return targets, probabilities


def check_labels(labels, what="targets", images=None) -> np.ndarray:
    """Labels 0–7 as int64 (N,); `images`, the N that is expected."""
    labels = np.asarray(labels)
    fits = labels.ndim == 1 and labels.dtype.kind in "iu" and len(labels)
    found = f"{labels.dtype} of shape {labels.shape}"
    require(fits, f"integer {what} of shape (N,), N ≥ 1", found)
    require(images in (None, len(labels)), f"{images} {what}", len(labels))
    outside = labels[(labels < 0) | (labels >= NUM_CLASSES)]
    if len(outside):
        raise InputError(f"expected {what} 0–7, found {len(outside)} outside, {outside[0]} first")
    return labels.astype(np.int64)


def _areas(targets, probabilities, weights) -> np.ndarray:
    """AUC and average precision of each class against the rest (2, 8, R); NaN without images."""
    areas = np.full((2, NUM_CLASSES, weights.shape[1]), np.nan)
    for label in np.unique(targets):
        positive, order = targets == label, np.argsort(-probabilities[:, label], kind="stable")
        ties = np.cumsum(np.diff(probabilities[order, label], prepend=2) != 0) - 1
        # Only the positives' places count: neighbouring ties without any are one segment.
        holds = np.bincount(ties, positive[order]) > 0
        segments = (np.cumsum(holds | np.append(True, holds[:-1])) - 1)[ties]
        sum_up = csr_array((np.ones(len(order)), (segments, order)))
        ranked, found = sum_up @ weights, sum_up @ (weights * positive[:, None])  # (segments, R)
        taken, hits = ranked.cumsum(axis=0), found.cumsum(axis=0)
        false = taken - hits
        above = false - (ranked - found) / 2  # ties count half
        areas[0, label] = 1 - _ratio((found * above).sum(axis=0), hits[-1] * false[-1])
        precision = hits / np.where(taken > 0, taken, 1)
        areas[1, label] = (found * precision).sum(axis=0) / hits[-1]
    return areas


def _bin(confidence, bins) -> np.ndarray:
    return np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)


def _ratio(numerator, denominator) -> np.ndarray:
    """NaN where nothing is divided by."""
    return numerator / np.where(np.equal(denominator, 0), np.nan, denominator)
