"""How good is it on my data? Any source of predictions, scored on any dataset the readers know."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from fer_utils import datasets, metrics
from fer_utils.core import (
    EXPRESSIONS,
    LOG_PROBABILITIES,
    NUM_CLASSES,
    PROBABILITIES,
    InputError,
    Run,
    check_choice,
    find_label,
    project_root,
    resolve_path,
)
from fer_utils.interactive.classifier import FaceClassifier, find_run, load_classifier
from fer_utils.interactive.detector import crop_face, find_faces

CROPS = ("given", "detected")
TABLES = (".csv", ".parquet")
PREDICTED = ("predicted", "prediction", "class", "expression")  # names of a column of classes
SHOWN = ("accuracy", "macro_recall", "f1", "kappa", "alpha", "auc_pr", "auc", "ece")
BY_CLASS_ALONE = SHOWN[:5]
ANY = "any"  # of the expressions
AT_ONCE = 64  # images in memory


@dataclass
class Evaluation:
    """Predictions of one source on one dataset.

    Attributes:
        name: of the source.
        table: a row an image: `image`, `label` (0–7), `p_neutral` … `p_contempt`, `predicted` (0–7)
            and `confidence`; `attrs["classes_only"]`: the source gave classes, no probabilities.
        rows: the manifest's rows of these images; None where nobody said where they are.
        notes: what is to be said about them.
        classifier: what answered; None of a file of predictions, and of a run's own.
        run: the run whose own predictions these are, or None.
    """

    name: str
    table: pd.DataFrame
    rows: pd.DataFrame | None
    notes: list[str]
    classifier: FaceClassifier | None = None
    run: Run | None = None


def evaluate(source: str, dataset="", data="", crops="given", root=None) -> Evaluation:
    """Predictions of a source: its own, or on another dataset.

    Args:
        source: what `load_classifier` takes, or a file of predictions (see `read_predictions`).
        dataset, data: a dataset's name and folder, as `datasets.read_dataset` takes them; its test
            split is used, or all of it where it has none. Without: a run's own test images, the
            images a file names with their labels, else drawn faces.
        crops: "given": images as they are, cut where the dataset has face boxes; "detected": the
            largest face that the detector finds, or all of an image where it finds none.
        root: the checkout; default: the one around the working directory.

    Raises:
        InputError: in one sentence, for whatever cannot be used.
    """
    check_choice("crops", crops, CROPS)
    root = Path(root) if root else project_root()
    of_file = Path(source).suffix in TABLES
    if not dataset and not of_file and source != "recogniser" and not source.endswith(".onnx"):
        return _of_run(find_run(source, root))
    rows = None
    if dataset or not of_file:
        rows = _read_rows(dataset or "synthetic", data and resolve_path(data, root))
    if of_file:
        table = read_predictions(resolve_path(source, root))
        table = _complete(table) if rows is None else join_labels(table, rows)
        return Evaluation(source, table, rows, [])
    classifier = load_classifier(source, root)
    table, notes = predict(classifier, rows, crops)
    return Evaluation(classifier.name, table, rows, notes, classifier)


def predict(classifier: FaceClassifier, rows: pd.DataFrame, crops: str = "given"):
    """The table of `Evaluation` for rows of a manifest, in memory for a batch; and notes."""
    boxes, whole, found = datasets.BOX_COLUMNS[0] in rows, 0, [np.zeros((0, NUM_CLASSES))]
    if crops == "given" and boxes:
        rows = datasets.with_margin(rows, classifier.margin)
    for start in tqdm(range(0, len(rows), AT_ONCE), unit="batch", disable=None, leave=False):
        images = datasets.load_images(rows.iloc[start : start + AT_ONCE])
        if crops == "detected":
            faces = [find_faces(image) for image in images]
            whole += sum(not len(each) for each in faces)
            images = [_largest(*pair, classifier) for pair in zip(images, faces, strict=True)]
        found.append(classifier.classify(images))
    table = pd.DataFrame(np.concatenate(found), columns=PROBABILITIES)
    table.insert(0, "image", rows["image"].astype(str).to_numpy())
    table.insert(1, "label", rows["label"].to_numpy())
    notes = [f"no face found in {whole:,} of {len(rows):,} images: taken whole"] if whole else []
    return _complete(table), notes


def read_predictions(path: Path | str) -> pd.DataFrame:
    """Predictions of any model.

    Args:
        path: CSV or Parquet: `image` (or `file` and `face`); eight probabilities, in columns named
            by the expressions (`p_` or `log_p_` before them, or nothing; one that is absent counts
            as 0), or a class in one of `PREDICTED`; `label`, where the labels are not a dataset's.
            Classes and labels are names, or 0–7 in the paper's order. Faces without a label are
            left out of a table of faces.

    Returns:
        DataFrame: `image`, `label` (where there is one), `p_neutral` … `p_contempt`.

    Raises:
        InputError: for another file, repeated images, unknown classes, or probabilities that are
            negative, not finite or do not sum to 1.
    """
    try:
        table = pd.read_parquet(path) if Path(path).suffix == ".parquet" else pd.read_csv(path)
    except Exception as error:  # a stranger's bytes
        raise InputError(
            f"expected predictions (CSV or Parquet) at {path}, found none ({str(error)[:80]})"
        ) from None
    if "image" not in table and {"file", "face"} <= set(table):
        table = table[table["face"] > 0].dropna(subset="label")
        table["image"] = table["file"].astype(str) + "#" + table["face"].astype(str)
    if "image" not in table or not len(table):
        raise InputError(f"expected rows with a column 'image' in {path}, found {list(table)}")
    found = pd.DataFrame({"image": table["image"].astype(str)}).reset_index(drop=True)
    twice = found["image"].duplicated()
    if twice.any():
        raise InputError(
            f"expected each image once in {path}, found {twice.sum():,} repeated rows, first "
            f"{found['image'][twice.idxmax()]!r}"
        )
    if "label" in table:
        found["label"] = _labels(table["label"], path)
    found[list(PROBABILITIES)], found.attrs["classes_only"] = _probabilities(table, path)
    return found


def join_labels(predictions: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """Predictions in the order of a manifest's rows, with its labels; all must be there.

    Images are matched by their path in the dataset or, where no path is, by the file's name.
    """
    names = rows["image"].astype(str)
    if not predictions["image"].isin(names).any():
        names = names.map(lambda name: Path(name).name)
        short = predictions["image"].map(lambda name: Path(name).name)
        predictions = predictions.assign(image=short).drop_duplicates("image")
    absent = ~names.isin(predictions["image"])
    if absent.any():
        raise InputError(
            f"expected predictions of all {len(names):,} images, found none of "
            f"{absent.sum():,}, first {names[absent].iloc[0]!r}; predict these too"
        )
    table = predictions.set_index("image").loc[names].reset_index()
    return _complete(table.assign(label=rows["label"].to_numpy()))


def score(table: pd.DataFrame, resamples: int = 2000, seed: int = 0) -> pd.DataFrame:
    """Every metric with its 95 % interval; where classes are absent, both ways.

    Returns:
        DataFrame indexed by `answers` ("all eight", and "among the 7 that occur" where a class has
        no image and probabilities are known) and metric: `value`, `low`, `high`.
    """
    labels, p = table["label"].to_numpy(), table[list(PROBABILITIES)].to_numpy()
    only, classes = table.attrs.get("classes_only", False), len(np.unique(labels))
    ways = {"all eight": p}
    if classes < NUM_CLASSES and not only:
        ways[f"among the {classes} that occur"] = metrics.restrict_answers(labels, p)
    chosen = BY_CLASS_ALONE if only else SHOWN
    scores = {
        way: metrics.bootstrap(labels, values, chosen, resamples=resamples, seed=seed)
        for way, values in ways.items()
    }
    return pd.concat(scores, names=["answers"]).rename(index=metrics.METRICS)


def compare(a: pd.DataFrame, b: pd.DataFrame, resamples: int = 2000, seed: int = 0):
    """Two tables of predictions on the images that both have: `metrics.compare_paired` and verdict.

    Returns:
        DataFrame indexed by metric: `a`, `b`, `difference`, `low`, `high`, `p_value`, `p_holm`,
        `verdict` (of b against a); `attrs["images"]`: how many images.
    """
    both = a.merge(b, on="image", suffixes=("_a", "_b"))
    if not len(both) or (both["label_a"] != both["label_b"]).any():
        what = "none" if not len(both) else "some under other labels"
        raise InputError(f"expected two tables with the same labelled images, found {what}")
    sides = [both[[f"{name}_{side}" for name in PROBABILITIES]].to_numpy() for side in "ab"]
    only = any(table.attrs.get("classes_only") for table in (a, b))
    chosen, draws = BY_CLASS_ALONE if only else SHOWN, {"resamples": resamples, "seed": seed}
    found = metrics.compare_paired(both["label_a"].to_numpy(), *sides, chosen, **draws)
    found = found.drop(columns="by_seed").assign(p_holm=metrics.holm(found["p_value"]))
    found["verdict"] = [metrics.verdict(row) for row in found.to_dict("records")]
    found.attrs["images"] = len(both)
    return found.rename(index=metrics.METRICS)


def choose(table: pd.DataFrame, true=ANY, predicted=ANY, confidence=(0.0, 1.0), wrong=False):
    """Positions (M,) of the images in a cell, row or column of the confusion matrix.

    Args:
        table: of an `Evaluation`.
        true, predicted: an expression, or "any".
        confidence: lowest and highest, both included.
        wrong: mistakes alone.

    Returns:
        The most confident first.
    """
    found = table["confidence"].between(*confidence).to_numpy()
    for column, name in (("label", true), ("predicted", predicted)):
        check_choice("expression", name, (ANY, *EXPRESSIONS))
        if name != ANY:
            found &= (table[column] == EXPRESSIONS.index(name)).to_numpy()
    if wrong:
        found &= (table["label"] != table["predicted"]).to_numpy()
    order = np.argsort(-table["confidence"].to_numpy(), kind="stable")
    return order[found[order]]


def captions(table: pd.DataFrame) -> list[str]:
    """Beneath an image: its label, what was predicted if that is another, and the confidence."""
    lines = []
    for label, predicted, confidence in table[["label", "predicted", "confidence"]].to_numpy():
        names, percent = [EXPRESSIONS[int(one)] for one in (label, predicted)], 100 * confidence
        second = f"{percent:.0f} %" if names[0] == names[1] else f"→ {names[1]} {percent:.0f} %"
        lines.append(f"{names[0]}\n{second}")
    return lines


def class_distances(features, labels) -> np.ndarray:
    """(8, 8) distances between class means; on the diagonal the mean distance to the own mean."""
    means = np.full((NUM_CLASSES, features.shape[1]), np.nan)
    for label in np.unique(labels):
        means[label] = features[labels == label].mean(axis=0)
    distances = np.linalg.norm(means[:, None] - means, axis=-1)
    within = np.linalg.norm(features - means[labels], axis=1)
    for label in np.unique(labels):
        distances[label, label] = within[labels == label].mean()
    return distances


def project(features, labels, most: int = 2000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Features laid out in a plane by t-SNE, which keeps neighbours together and no distances.

    Returns:
        points (M, 2), and which features they are (M,): of each class as many as fit `most` evenly.
    """
    from sklearn.decomposition import PCA  # here: they take a second
    from sklearn.manifold import TSNE

    order = np.random.default_rng(seed).permutation(len(labels))
    rank = pd.Series(labels[order]).groupby(labels[order]).cumcount()  # within its class
    kept = np.sort(order[np.argsort(rank, kind="stable")[:most]])
    few = PCA(min(50, len(kept), features.shape[1]), random_state=seed).fit_transform(
        features[kept]
    )
    layout = TSNE(2, perplexity=min(30, (len(kept) - 1) / 3), max_iter=500, random_state=seed)
    return layout.fit_transform(few.astype(np.float32)), kept


def _of_run(run: Run) -> Evaluation:
    split = run.params.evaluation
    table = pd.read_parquet(run.require("predictions.parquet"))
    table = table[table["split"] == split].reset_index(drop=True)
    p = np.exp(table[list(LOG_PROBABILITIES)].to_numpy(float))
    table[list(PROBABILITIES)] = p / p.sum(axis=1, keepdims=True)
    manifest, notes = datasets.read_manifest(run.require("manifest.parquet")), []
    rows = manifest[manifest["split"] == split].reset_index(drop=True)
    rows.attrs = manifest.attrs
    try:
        datasets.load_images(rows.iloc[:1])
    except InputError as error:
        notes = [f"images of {run.study}/{run.name} cannot be shown: {error}"]
    table = _complete(table[["image", "label", *PROBABILITIES]])
    return Evaluation(f"{run.study}/{run.name}", table, None if notes else rows, notes, run=run)


def _read_rows(dataset: str, data) -> pd.DataFrame:
    if dataset != "synthetic" and not data:
        raise InputError(f"dataset {dataset!r} needs its folder: give data=…")
    options = {"train": 64, "validation": 8, "test": 400} if dataset == "synthetic" else {}
    manifest = datasets.read_dataset(dataset, data or None, **options)
    split = "test" if (manifest["split"] == "test").any() else None
    rows = (manifest if split is None else manifest[manifest["split"] == split]).reset_index(
        drop=True
    )
    rows.attrs = manifest.attrs
    return rows


def _largest(image: np.ndarray, faces: np.ndarray, classifier: FaceClassifier) -> np.ndarray:
    if not len(faces):
        return image
    face = faces[faces[:, 2:4].prod(axis=1).argmax()]
    return crop_face(image, face, classifier.margin, classifier.align)


def _complete(table: pd.DataFrame) -> pd.DataFrame:
    if "label" not in table:
        raise InputError("expected a column 'label' in the predictions, or a dataset that has them")
    p = table[list(PROBABILITIES)].to_numpy()
    return table.assign(predicted=p.argmax(axis=1), confidence=p.max(axis=1))


def _labels(values: Iterable, path) -> list[int]:
    numbers = {str(number): number for number in range(NUM_CLASSES)}
    found = []
    for value in values:
        label = numbers.get(str(value).removesuffix(".0"), find_label(str(value)))
        if label is None:
            raise InputError(
                f"unknown class {value!r} in {path}; expected {', '.join(EXPRESSIONS)}, or 0–7"
            )
        found.append(label)
    return found


def _probabilities(table: pd.DataFrame, path) -> tuple[np.ndarray, bool]:
    """(N, 8), and whether they stand for classes alone."""
    columns = {}
    for name in table:
        label = find_label(str(name).removeprefix("log_").removeprefix("p_"))
        if label is not None:
            columns[name] = label
    if not columns:
        given = [name for name in PREDICTED if name in table]
        if not given:
            raise InputError(
                f"expected eight columns of probabilities in {path}, or one of "
                f"{', '.join(PREDICTED)}; found {', '.join(map(str, table))}"
            )
        return np.eye(NUM_CLASSES)[_labels(table[given[0]], path)], True
    p = np.zeros((len(table), NUM_CLASSES))
    values = table[list(columns)].apply(pd.to_numeric, errors="coerce").to_numpy(float)
    if all(str(name).startswith("log_") for name in columns):
        values = np.exp(values)
    p[:, list(columns.values())] = values
    sums = p.sum(axis=1)
    wrong = ~((p >= 0).all(axis=1) & (np.abs(sums - 1) < 0.01))
    if wrong.any():
        row = int(wrong.argmax())
        raise InputError(
            f"expected probabilities that sum to 1 in {path}, found {wrong.sum():,} rows that do "
            f"not: row {row + 1} sums to {sums[row]:.4g}; apply softmax"
        )
    return p / sums[:, None], False
