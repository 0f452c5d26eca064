"""How good are probabilities? The paper's six metrics, and what else is said of a set of faces.

The paper calls its metrics "binary-class", yet its twenty kappas equal (accuracy − 1/8) / (7/8), as
multi-class kappa does on a balanced test. So kappa and alpha are multi-class here; F1, AUC and
AUC-PR are means over the classes, each against the rest. All are computed once, for many weightings
of the images at a time (`weighted_scores`); the tests check them against scikit-learn's.
"""

import numpy as np
import pandas as pd
from scipy.sparse import csr_array

from fer_utils.core import EXPRESSIONS, NUM_CLASSES, InputError, check_choice, paper
from fer_utils.metrics.intervals import describe_sample, draw_weights, find_kinds, wilson_interval

MAIN = (*paper.METRICS, "macro_recall")
OTHERS = {"macro_recall": "Macro recall", "ece": "Calibration error", "brier": "Brier score"}
RECALLS = {f"recall_{name}": f"Recall of {name}" for name in EXPRESSIONS}
METRICS = paper.METRICS | OTHERS | RECALLS
OF_PROBABILITIES = {"auc", "auc_pr", "ece", "brier"}  # the others need the predicted class alone
BINS = 15  # of confidence


def evaluate(targets, probabilities, absent="exclude", balanced=False) -> dict[str, float]:
    """The six metrics of Tables 5 and 6, and macro recall.

    Args:
        targets: (N,) true labels, integers 0–7.
        probabilities: (N, 8), rows summing to 1; the first of a tie is the prediction.
        absent: what a class without true images means. "exclude": means run over the other classes,
            but to answer with it is an error; "restrict": nobody may, see `restrict_answers`;
            "raise" refuses.
        balanced: weight the images to equal shares of the classes, as on the paper's test of 500 a
            class; accuracy then is macro recall.

    Returns:
        dict. `auc_pr` is average precision, which does not interpolate (Davis & Goadrich 2006).
        NaN: AUC with a single true class; kappa, alpha where nothing else is predicted either.
    """
    check_choice("absent", absent, ("exclude", "restrict", "raise"))
    targets, probabilities = check_scores(targets, probabilities)
    missing = np.delete(EXPRESSIONS, np.unique(targets))
    if absent == "raise" and len(missing):
        names = ", ".join(missing)
        raise InputError(f"expected images of all classes, found none of {names}; exclude them")
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

    Returns:
        DataFrame indexed by expression: `support` (true images), `predicted` (images taken for it),
        `precision`, `recall` with its 95 % Wilson interval `low`, `high`, `f1`, `auc`, `auc_pr`;
        NaN where undefined, as all of a class without images.
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

    Returns:
        DataFrame, a row a bin of equal width: `left`, `right` (edges; the right one belongs to it),
        mean `confidence`, `accuracy` with its 95 % Wilson interval `low`, `high`, and `count`.
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


def bootstrap(targets, probabilities, metrics=MAIN, balanced=False, **draws) -> pd.DataFrame:
    """Metrics with 95 % percentile intervals of a bootstrap over images, stratified by class.

    The interval is that of other images, not of other seeds. Of a class of few images it is too
    narrow: where none of 16 is right, none is in any sample (see `wilson_interval`).

    Args:
        targets: (N,) true labels 0–7.
        probabilities: (N, 8), or (S, N, 8) of S seeds: a metric is the mean of the seeds', in every
            sample of images.
        metrics: of `METRICS`; AUC and AUC-PR take most of the time.
        balanced: as `evaluate`, in every sample.
        draws: `groups` (N,), integers: images of a group are drawn together, of a negative one
            alone; `resamples`, 2000; `seed`, 0.

    Returns:
        DataFrame indexed by metric: `value`, `low`, `high`; NaN where undefined.
    """
    rows = {}
    scores = resampled_scores(targets, probabilities, metrics, balanced, **draws)
    for name, values in scores.items():
        mean = values.mean(axis=0)
        rows[name] = {"value": mean[0]} | describe_sample(mean[1:])
    table = pd.DataFrame.from_dict(rows, orient="index").rename_axis("metric")
    return table[["value", "low", "high"]]


def resampled_scores(targets, runs, metrics, balanced=False, **draws) -> dict:
    """Metrics of runs (S, N, 8), (S, 1 + resamples) each: as they are, then in each resample."""
    for name in metrics:
        check_choice("metric", name, METRICS)
    targets, runs = check_scores(targets, runs, seeds=True)
    runs = runs.reshape(-1, len(targets), NUM_CLASSES)
    kinds = np.arange(len(targets))
    if OF_PROBABILITIES.isdisjoint(metrics):
        kinds = find_kinds([targets, *runs.argmax(axis=2)])
    kept, blocks = draw_weights(targets, kinds, **draws)
    targets, runs = targets[kept], runs[:, kept]
    found = [[weighted_scores(targets, run, w, metrics, balanced) for run in runs] for w in blocks]
    return {
        name: np.concatenate([[run[name] for run in block] for block in found], axis=1)
        for name in metrics
    }


def weighted_scores(targets, probabilities, weights, metrics, balanced=False) -> dict:
    """Metrics (R,) of one run under R weightings (N, R) of its images, whole copies or not.

    Every class that occurs must keep some weight.
    """
    weights = _balance(targets, weights) if balanced else weights
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
    if probabilities.shape[-2:] != expected or probabilities.ndim not in axes:
        raise InputError(f"expected probabilities of {expected}, found {probabilities.shape}")
    sums = probabilities.sum(axis=-1)
    wrong = ~((np.abs(sums - 1) <= 1e-3) & (probabilities >= 0).all(axis=-1))
    if wrong.any():
        found = f"{wrong.sum()} of {wrong.size} that do not (one sums to {sums[wrong][0]:.4g})"
        raise InputError(f"expected rows of probabilities that sum to 1, found {found}")
    return targets, probabilities


def check_labels(labels, what="targets", images=None) -> np.ndarray:
    """Labels 0–7 as int64 (N,); `images`, the N that is expected."""
    labels = np.asarray(labels)
    if labels.ndim != 1 or labels.dtype.kind not in "iu" or len(labels) == 0:
        found = f"{labels.dtype} of shape {labels.shape}"
        raise InputError(f"expected integer {what} of shape (N,), N ≥ 1, found {found}")
    if images is not None and len(labels) != images:
        raise InputError(f"expected {images} {what}, found {len(labels)}")
    outside = labels[(labels < 0) | (labels >= NUM_CLASSES)]
    if len(outside):
        raise InputError(f"expected {what} 0–7, found {len(outside)} outside, {outside[0]} first")
    return labels.astype(np.int64)


def _balance(targets, weights) -> np.ndarray:
    """Weights (N, R) scaled to equal shares of the classes; their sum stays."""
    sums = np.eye(NUM_CLASSES)[targets].T @ weights  # (8, R)
    return weights * _ratio(weights.sum(axis=0) / len(np.unique(targets)), sums)[targets]


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
    """Number of each confidence's bin, (i / bins, (i + 1) / bins]."""
    return np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)


def _ratio(numerator, denominator) -> np.ndarray:
    """NaN where nothing is divided by."""
    return numerator / np.where(np.equal(denominator, 0), np.nan, denominator)
