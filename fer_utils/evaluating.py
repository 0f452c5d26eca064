"""One finished run, looked into: its predictions, the images behind them, and the choice of those worth looking at."""

from typing import NamedTuple

import numpy as np
import pandas as pd

from fer_utils import datasets, metrics
from fer_utils.datasets.images import row_opener
from fer_utils.errors import InputError, check_choice
from fer_utils.expressions import EXPRESSIONS, NUM_CLASSES
from fer_utils.model_card import check_finished
from fer_utils.runs import Run, located

PROBABILITIES = [f"p_{name}" for name in EXPRESSIONS]
ANY = "any"  # of the expressions
MACRO = ("macro_recall", "f1", "auc_pr", "auc", "kappa_ovr", "alpha_ovr")  # count every class alike
UNEQUAL = 2


class Plane(NamedTuple):
    """An embedding laid out in a plane, see `project`."""

    points: np.ndarray  # (M, 2)
    centers: np.ndarray | None  # (8, 2)
    rows: np.ndarray  # (M,) which of the features are shown, ascending


def read_predictions(run: Run) -> pd.DataFrame:
    """A finished run's predictions, a row an evaluated image.

    Args:
        run: a finished run of expressions.

    Returns:
        DataFrame: `image`, `label` (0–7), `p_neutral` … `p_contempt`, `predicted` (0–7, the most probable) and
        `confidence` (its probability).

    Raises:
        InputError: for an unknown run (the nearest is named), an unfinished one, or one of identities.

    >>> read_predictions(Run("explore", "frist", root="nowhere"))
    Traceback (most recent call last):
    fer_utils.errors.InputError: expected a finished run, found no run explore/frist and no other that has finished; ...
    """
    check_finished(run)
    if run.resolved.target != "label":
        raise InputError(
            f"expected a run of expressions, found {run.study}/{run.name}, which tells people apart; "
            "02_pretrain_identity shows it"
        )
    table = pd.read_parquet(run.require("predictions.parquet"))
    probabilities = table[PROBABILITIES].to_numpy()
    return table.assign(predicted=probabilities.argmax(axis=1), confidence=probabilities.max(axis=1))


def score_table(predictions: pd.DataFrame, resamples: int = 2000, seed: int = 0) -> pd.DataFrame:
    """Every metric with its bootstrap interval; on an unequal test set those that count every class alike come first.

    Args:
        predictions: from `read_predictions`.
        resamples, seed: as in `metrics.bootstrap`.

    Returns:
        DataFrame indexed by the metric's name: `value`, `low`, `high`.

    >>> columns = dict(zip(PROBABILITIES, np.eye(8), strict=True))
    >>> score_table(pd.DataFrame({"label": range(8), **columns}), resamples=9).index[:2].tolist()
    ['Accuracy', 'F1']
    """
    labels = predictions["label"].to_numpy()
    table = metrics.bootstrap(labels, predictions[PROBABILITIES].to_numpy(), resamples, seed=seed)
    first = MACRO if _inequality(labels) else ()
    order = [*first, *(name for name in table.index if name not in first)]
    return table.loc[order].rename(metrics.METRICS)


def say_inequality(labels) -> str:
    """How unequal a test set is, which classes have few images, and what that means for the metrics.

    >>> say_inequality([0] * 40 + [1] * 4)[:60]
    'Unequal: neutral has 40 images, happy 4. Macro figures, whic'
    """
    equal = f"The largest class has less than {UNEQUAL} times the images of the smallest."
    return f"{_inequality(labels) or equal} {metrics.small_classes(labels)}".strip()


def _inequality(labels) -> str:
    """A sentence where the largest class has `UNEQUAL` times the images of the smallest that has any; else empty."""
    counts = np.bincount(labels, minlength=NUM_CLASSES)
    most, least = counts.argmax(), np.where(counts > 0, counts, counts.max()).argmin()
    if counts[most] < UNEQUAL * counts[least]:
        return ""
    return (
        f"Unequal: {EXPRESSIONS[most]} has {counts[most]:,} images, {EXPRESSIONS[least]} {counts[least]:,}. Macro "
        "figures, which count every class alike, come first."
    )


def image_rows(run: Run, data: str = "") -> pd.DataFrame:
    """The manifest's rows of the images that a run was evaluated on, in the order of its predictions.

    Args:
        run: a finished run of expressions.
        data: the dataset's folder; "" is where it was at the run. Drawn faces need none.

    Returns:
        rows that `load_faces` takes.

    Raises:
        InputError: where the images are not there.
    """
    params, manifest = run.resolved, datasets.read_manifest(run.require("manifest.parquet"))
    rows = manifest[manifest["split"] == params.evaluation].reset_index(drop=True)
    rows.attrs = dict(manifest.attrs)
    if params.dataset == "synthetic":
        return rows
    if data:
        now = datasets.read_dataset(params.dataset, located(data, run.root), check_images=False)
        rows.attrs["root"] = now.attrs["root"]
    try:
        row_opener(rows)(0)
    except InputError as error:
        raise InputError(
            f"expected the images of {run.study}/{run.name} in the folder of {params.dataset} that it saw, found none "
            f"there ({str(error).split(';')[0]}); give data=… to see them"
        ) from None
    return rows


def load_faces(run: Run, rows: pd.DataFrame) -> np.ndarray:
    """Images at the size that the network's own crop is taken from, to look at.

    Args:
        run: the run.
        rows: any rows of `image_rows`, their attrs kept.

    Returns:
        (N, S, S, 3) uint8, S a seventh above the run's `image_size`.
    """
    return datasets.load_images(rows, round(run.resolved.image_size * 256 / 224))


def choose(
    predictions: pd.DataFrame, true: str = ANY, predicted: str = ANY, confidence=(0.0, 1.0), wrong: bool = False
) -> np.ndarray:
    """Which images lie in a cell, a row or a column of the confusion matrix, the most confident first.

    Args:
        predictions: from `read_predictions`.
        true, predicted: an expression, or "any".
        confidence: lowest and highest probability of the predicted class, both included.
        wrong: mistakes alone.

    Returns:
        (M,) positions in `predictions`.

    Raises:
        InputError: for an unknown expression.

    >>> columns = {"label": [0, 0, 1], "predicted": [1, 1, 1], "confidence": [0.6, 0.9, 0.8]}
    >>> choose(pd.DataFrame(columns), true="neutral", predicted="happy").tolist()
    [1, 0]
    """
    low, high = confidence
    found = predictions["confidence"].between(low, high).to_numpy()
    for column, name in (("label", true), ("predicted", predicted)):
        check_choice("expression", name, (ANY, *EXPRESSIONS))
        if name != ANY:
            found = found & (predictions[column] == EXPRESSIONS.index(name)).to_numpy()
    if wrong:
        found = found & (predictions["label"] != predictions["predicted"]).to_numpy()
    order = np.argsort(-predictions["confidence"].to_numpy(), kind="stable")
    return order[found[order]]


def captions(predictions: pd.DataFrame) -> list[str]:
    """What to write beneath an image: true and predicted expression, confidence.

    >>> captions(pd.DataFrame({"label": [0, 4], "predicted": [0, 3], "confidence": [0.6, 0.975]}))
    ['neutral\\n60 %', 'fear →\\nsurprise 98 %']
    """
    lines = []
    for label, predicted, confidence in predictions[["label", "predicted", "confidence"]].itertuples(index=False):
        found = "" if predicted == label else f" →\n{EXPRESSIONS[predicted]}"
        lines.append(f"{EXPRESSIONS[label]}{found}{' ' if found else chr(10)}{100 * confidence:.0f} %")
    return lines


def class_distances(features, labels) -> pd.DataFrame:
    """How tight each class is in the embedding, and how far it lies from the others.

    Args:
        features: (N, D).
        labels: (N,) 0–7.

    Returns:
        DataFrame (8, 8), rows and columns the expressions, in the embedding's units: off the diagonal the distance
        between two class means, on it the mean distance of a class's features to their own mean; NaN for a class
        without images.

    >>> class_distances([[0.0], [2.0], [5.0]], [0, 0, 7]).loc[["neutral", "contempt"], ["neutral", "contempt"]].values
    array([[1., 4.],
           [4., 0.]])
    """
    features, labels = _check_features(features, labels)
    means = np.full((NUM_CLASSES, features.shape[1]), np.nan)
    within = np.full(NUM_CLASSES, np.nan)
    for label in np.unique(labels):
        own = features[labels == label]
        means[label] = own.mean(axis=0)
        within[label] = np.linalg.norm(own - means[label], axis=1).mean()
    distances = np.linalg.norm(means[:, None] - means, axis=-1)
    np.fill_diagonal(distances, within)
    return pd.DataFrame(distances, EXPRESSIONS, EXPRESSIONS)


def nearest_classes(distances: pd.DataFrame) -> pd.DataFrame:
    """Each class's spread beside its distance to the nearest other class.

    Args:
        distances: from `class_distances`.

    Returns:
        DataFrame indexed by expression: `within`, `nearest` (an expression), `distance` (of the two means) and
        `within / distance`, which compares runs: it says nothing of how well a single one tells classes apart, for in
        hundreds of dimensions a spread above the distance lies mostly across it. Classes without images are left out.

    >>> nearest_classes(class_distances([[0.0], [2.0], [5.0]], [0, 0, 7])).drop(columns="nearest").values.tolist()
    [[1.0, 4.0, 0.25], [0.0, 4.0, 0.0]]
    """
    present = distances.dropna(how="all").dropna(how="all", axis=1)
    apart = present.where(~np.eye(len(present), dtype=bool), np.inf)
    table = pd.DataFrame({"within": np.diag(present), "nearest": apart.idxmin(axis=1), "distance": apart.min(axis=1)})
    return table.assign(**{"within / distance": table["within"] / table["distance"]})


def project(features, labels, centers=None, most: int = 2000, seed: int = 0) -> Plane:
    """Lay an embedding out in a plane by t-SNE, the class centres among it.

    t-SNE keeps neighbours together; distances between clusters, and their sizes, mean nothing. It has no formula for
    further points, so the centres are part of what is laid out.

    Args:
        features: (N, D).
        labels: (N,) 0–7.
        centers: (8, D) or None.
        most: images laid out at most. Where there are more, each class keeps up to an equal number, so that rare
            classes stay whole.
        seed: of the choice and of t-SNE.

    Raises:
        InputError: for features and labels of different lengths, fewer than four features, or values that are not
            finite.

    >>> plane = project(np.eye(16), np.arange(16) % 8, centers=np.zeros((8, 16)))
    >>> plane.points.shape, plane.centers.shape, len(plane.rows)
    ((16, 2), (8, 2), 16)
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    features, labels = _check_features(features, labels)
    if len(features) < 4:
        raise InputError(f"expected at least 4 features to lay out, found {len(features)}; evaluate more images")
    rows = _even_rows(labels, most, seed)
    shown = features[rows] if centers is None else np.concatenate([features[rows], np.asarray(centers, float)])
    if not np.ptp(shown, axis=0).any():  # collapsed to a point
        points = np.zeros((len(shown), 2))
    else:
        shown = PCA(min(50, *shown.shape), random_state=seed).fit_transform(shown)  # the rest is noise, and costs time
        # After 500 steps of the usual 1,000 the layout is within 3 % of its final divergence.
        layout = TSNE(2, perplexity=min(30, (len(shown) - 1) / 3), max_iter=500, random_state=seed)
        points = layout.fit_transform(shown.astype(np.float32))
    return Plane(points[: len(rows)], None if centers is None else points[len(rows) :], rows)


def _even_rows(labels: np.ndarray, most: int, seed: int) -> np.ndarray:
    """Up to `most` positions, ascending: of each class all, or as many of each as fit."""
    counts = np.bincount(labels)
    cap = max(cap for cap in range(counts.max() + 1) if np.minimum(counts, cap).sum() <= most)
    shuffled = np.random.default_rng(seed).permutation(len(labels))
    return np.sort(np.concatenate([shuffled[labels[shuffled] == label][:cap] for label in range(len(counts))]))


def _check_features(features, labels) -> tuple[np.ndarray, np.ndarray]:
    features, labels = np.asarray(features, dtype=float), np.asarray(labels)
    if features.ndim != 2 or len(features) != len(labels):
        raise InputError(f"expected features (N, D) and a label each, found {features.shape} and {len(labels)} labels")
    broken = ~np.isfinite(features).all(axis=1)
    if broken.any():
        raise InputError(f"expected finite features, found NaN or infinity in {broken.sum()} of {len(features)} rows")
    return features, labels
