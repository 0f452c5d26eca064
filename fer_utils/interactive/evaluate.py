"""How good is it on my data? Any source of predictions, scored on any dataset the readers know."""

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
PREDICTED = ("predicted", "prediction", "class", "expression")  # names of a column of classes
SHOWN = ("accuracy", "macro_recall", "f1", "kappa", "alpha", "auc_pr", "auc", "ece")
BY_CLASS_ALONE = SHOWN[:5]
ANY = "any"  # of the expressions
DRAWN = {"train": 64, "validation": 8, "test": 400}  # faces, where nobody named a dataset
AT_ONCE = 64  # images in memory


@dataclass
class Evaluation:
    """Predictions of one source on one dataset.

    Attributes:
        name: of the source.
        table: a row an image: `image`, `label` (0–7), `p_neutral` … `p_contempt`, `predicted` (0–7)
            and `confidence`; `attrs["classes_only"]`: the source gave classes, no probabilities.
        rows: the manifest's rows of these images; None where they cannot be shown.
        notes: sentences, what is to be said about them.
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
    """Predictions of a source: its own, or on a dataset.

    Args:
        source: what `load_classifier` takes, or a file of predictions (see `read_predictions`).
        dataset, data: a dataset's name and folder, as `datasets.read_dataset` takes them; its test
            split is used, or all of it where it has none. Without them: a run's own test images, a
            file's own labels, else drawn faces.
        crops: "given": images as they are, cut where the dataset has face boxes; "detected": the
            largest face that the detector finds, or all of an image where it finds none.

    Raises:
        InputError: in one sentence, for whatever cannot be used.
    """
    check_choice("crops", crops, CROPS)
    root = Path(root) if root else project_root()
    suffix = Path(source).suffix
    if not dataset and suffix not in (".csv", ".parquet", ".onnx") and source != "recogniser":
        return _of_run(find_run(source, root))
    if suffix in (".csv", ".parquet"):
        table = read_predictions(resolve_path(source, root))
        rows = _read_rows(dataset, data, root) if dataset else None
        return Evaluation(source, join_labels(table, rows), rows, [])
    classifier = load_classifier(source, root)
    rows = _read_rows(dataset or "synthetic", data, root)
    table, notes = predict(classifier, rows, crops)
    return Evaluation(classifier.name, table, rows, notes, classifier)


def predict(classifier, rows: pd.DataFrame, crops="given") -> tuple[pd.DataFrame, list[str]]:
    """`table` and `notes` of an `Evaluation` for rows of a manifest; in memory for a batch."""
    found, whole = [], 0
    if crops == "given" and datasets.BOX_COLUMNS[0] in rows:
        rows = datasets.with_margin(rows, classifier.margin)
    for start in tqdm(range(0, len(rows), AT_ONCE), unit="batch", disable=None, leave=False):
        images = list(datasets.load_images(rows.iloc[start : start + AT_ONCE]))
        for place, image in enumerate(images if crops == "detected" else ()):
            faces = find_faces(image)
            whole += not len(faces)
            for face in faces[np.argsort(faces[:, 2:4].prod(axis=1))][-1:]:  # the largest
                images[place] = crop_face(image, face, classifier.margin, classifier.align)
        found.append(classifier.classify(images))
    table = pd.DataFrame(np.concatenate(found), columns=PROBABILITIES)
    table.insert(0, "image", rows["image"].astype(str).to_numpy())
    notes = [f"no face found in {whole:,} of {len(rows):,} images: taken whole"] if whole else []
    return _complete(table, rows["label"].to_numpy()), notes


def read_predictions(path: Path | str) -> pd.DataFrame:
    """Predictions of any model, from CSV or Parquet.

    Columns: `image` (or `file` and `face`, as in a table of faces); probabilities, named by the
    expressions, with `p_` or `log_p_` before them or nothing (an absent one counts as 0), or a
    class in one of `PREDICTED`; `label`, where a dataset does not give it (rows without one are
    left out). Classes are names, or 0–7 in the paper's order.

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
            f"expected predictions at {path}, found none ({str(error)[:80]})"
        ) from None
    if "image" not in table and {"file", "face"} <= set(table):
        table["image"] = table["file"].astype(str) + "#" + table["face"].astype(str)
    if "label" in table:
        table = table.dropna(subset="label").reset_index(drop=True)
    if "image" not in table or not len(table):
        raise InputError(f"expected rows with a column 'image' in {path}, found {list(table)}")
    found = pd.DataFrame({"image": table["image"].astype(str)})
    twice = found["image"].duplicated()
    if twice.any():
        first = found["image"][twice.idxmax()]
        raise InputError(
            f"expected each image once in {path}, found {twice.sum():,} repeated, first {first!r}"
        )
    if "label" in table:
        found["label"] = _labels(table["label"], path)
    found[list(PROBABILITIES)], found.attrs["classes_only"] = _probabilities(table, path)
    return found


def join_labels(predictions: pd.DataFrame, rows: pd.DataFrame | None) -> pd.DataFrame:
    """Predictions in the order of a manifest's rows, with its labels; or with their own.

    Images are matched by their path in the dataset or, where no path is, by the file's name.
    """
    if rows is None:
        if "label" not in predictions:
            raise InputError("expected a column 'label', found none; add it or name the dataset")
        return _complete(predictions, predictions["label"].to_numpy())
    names = rows["image"].astype(str)
    if not predictions["image"].isin(names).any():
        names = names.map(lambda name: Path(name).name)
        predictions = predictions.assign(image=[Path(name).name for name in predictions["image"]])
    absent = ~names.isin(predictions["image"])
    if absent.any():
        raise InputError(
            f"expected predictions of all {len(names):,} images, found none of "
            f"{absent.sum():,}, first {names[absent].iloc[0]!r}; predict these too"
        )
    ordered = predictions.drop_duplicates("image").set_index("image").loc[names].reset_index()
    return _complete(ordered, rows["label"].to_numpy())


def score(table: pd.DataFrame, **draws) -> pd.DataFrame:
    """Every metric with its 95 % interval; where classes are absent, both ways.

    Args:
        table: of an `Evaluation`.
        draws: `resamples`, `seed`, as `metrics.bootstrap`.

    Returns:
        DataFrame indexed by `answers` ("all eight", and "among the 7 that occur" where a class has
        no image and probabilities are known) and metric: `value`, `low`, `high`.
    """
    labels, p = table["label"].to_numpy(), table[list(PROBABILITIES)].to_numpy()
    only, occur = table.attrs.get("classes_only"), len(np.unique(labels))
    ways = {"all eight": p}
    if occur < NUM_CLASSES and not only:
        ways[f"among the {occur} that occur"] = metrics.restrict_answers(labels, p)
    chosen = BY_CLASS_ALONE if only else SHOWN
    found = {way: metrics.bootstrap(labels, p, chosen, **draws) for way, p in ways.items()}
    return pd.concat(found, names=["answers"]).rename(index=metrics.METRICS)


def compare(a: pd.DataFrame, b: pd.DataFrame, **draws) -> pd.DataFrame:
    """Two tables of predictions on the images that both have (`attrs["images"]`, their number).

    Returns:
        `metrics.compare_paired` of b against a, with `p_holm` and `verdict`.
    """
    both = a.merge(b, on="image", suffixes=("_a", "_b"))
    if not len(both) or (both["label_a"] != both["label_b"]).any():
        what = "images with other labels" if len(both) else "none"
        raise InputError(f"expected the same labelled images in both tables, found {what}")
    sides = [both[[f"{name}_{side}" for name in PROBABILITIES]].to_numpy() for side in "ab"]
    chosen = BY_CLASS_ALONE if any(t.attrs.get("classes_only") for t in (a, b)) else SHOWN
    found = metrics.compare_paired(both["label_a"].to_numpy(), *sides, chosen, **draws)
    found = found.drop(columns="by_seed").assign(p_holm=metrics.holm(found["p_value"]))
    found["verdict"] = [metrics.verdict(row) for row in found.to_dict("records")]
    found.attrs["images"] = len(both)
    return found.rename(index=metrics.METRICS)


def choose(table: pd.DataFrame, true=ANY, predicted=ANY, confidence=(0, 1), wrong=False):
    """Positions (M,) of the images in a cell, row or column of the confusion matrix, surest first.

    Args:
        table: of an `Evaluation`.
        true, predicted: an expression, or "any".
        confidence: lowest and highest, both included.
        wrong: mistakes alone.
    """
    found = table["confidence"].between(*confidence)
    for column, name in (("label", true), ("predicted", predicted)):
        check_choice("expression", name, (ANY, *EXPRESSIONS))
        if name != ANY:
            found &= table[column] == EXPRESSIONS.index(name)
    if wrong:
        found &= table["label"] != table["predicted"]
    order = np.argsort(-table["confidence"].to_numpy(), kind="stable")
    return order[found.to_numpy()[order]]


def captions(table: pd.DataFrame) -> list[str]:
    """To write beneath images: the label; what was predicted, if that is another; how sure."""
    lines = []
    for label, predicted, confidence in table[["label", "predicted", "confidence"]].values:
        other = "" if label == predicted else f"→ {EXPRESSIONS[int(predicted)]} "
        lines.append(f"{EXPRESSIONS[int(label)]}\n{other}{100 * confidence:.0f} %")
    return lines


def _of_run(run: Run) -> Evaluation:
    name, split, notes = f"{run.study}/{run.name}", run.params.evaluation, []
    table = pd.read_parquet(run.require("predictions.parquet"))
    table = table[table["split"] == split].reset_index(drop=True)
    p = np.exp(table[list(LOG_PROBABILITIES)].to_numpy(float))
    table[list(PROBABILITIES)] = p / p.sum(axis=1, keepdims=True)
    manifest = datasets.read_manifest(run.require("manifest.parquet"))
    rows = _of_split(manifest, split)
    try:
        datasets.load_images(rows.iloc[:1])
    except InputError as error:
        rows, notes = None, [f"the images of {name} cannot be shown: {error}"]
    return Evaluation(name, _complete(table, table["label"].to_numpy()), rows, notes, run=run)


def _read_rows(dataset: str, data: str, root: Path) -> pd.DataFrame:
    if dataset == "synthetic":
        return _of_split(datasets.read_dataset(dataset, None, **DRAWN), "test")
    if not data:
        raise InputError(f"dataset {dataset!r} needs its folder: give data=…")
    manifest = datasets.read_dataset(dataset, resolve_path(data, root))
    return _of_split(manifest, "test") if "test" in set(manifest["split"]) else manifest


def _of_split(manifest: pd.DataFrame, split: str) -> pd.DataFrame:
    rows = manifest[manifest["split"] == split].reset_index(drop=True)
    rows.attrs = manifest.attrs
    return rows


def _complete(table: pd.DataFrame, labels) -> pd.DataFrame:
    p = table[list(PROBABILITIES)].to_numpy()
    return table.assign(label=labels, predicted=p.argmax(axis=1), confidence=p.max(axis=1))


def _labels(values, path) -> list[int]:
    numbers = {str(number): number for number in range(NUM_CLASSES)}
    texts = [str(value).removesuffix(".0") for value in values]
    found = [numbers.get(text, find_label(text)) for text in texts]
    if None in found:
        raise InputError(
            f"unknown class {texts[found.index(None)]!r} in {path}; expected one of "
            f"{', '.join(EXPRESSIONS)}, or 0–7"
        )
    return found


def _probabilities(table: pd.DataFrame, path) -> tuple[np.ndarray, bool]:
    """(N, 8), and whether they stand for classes alone."""
    names = {name: str(name).removeprefix("log_").removeprefix("p_") for name in table}
    columns = {
        name: find_label(short) for name, short in names.items() if find_label(short) is not None
    }
    given = [name for name in PREDICTED if name in table]
    if not columns and not given:
        raise InputError(
            f"expected columns of probabilities in {path} (p_neutral, …), or a class in one of "
            f"{', '.join(PREDICTED)}; found {', '.join(map(str, table))}"
        )
    if not columns:
        return np.eye(NUM_CLASSES)[_labels(table[given[0]], path)], True
    values = table[list(columns)].apply(pd.to_numeric, errors="coerce").to_numpy(float)
    p = np.zeros((len(table), NUM_CLASSES))
    logs = all(str(name).startswith("log_") for name in columns)
    p[:, list(columns.values())] = np.exp(values) if logs else values
    sums = p.sum(axis=1)
    right = (p >= 0).all(axis=1) & (np.abs(sums - 1) < 0.01)
    if not right.all():
        raise InputError(
            f"expected probabilities that sum to 1 in {path}, found {(~right).sum():,} rows that "
            f"do not, row {right.argmin() + 1} sums to {sums[right.argmin()]:.4g}; apply softmax"
        )
    return p / sums[:, None], False
