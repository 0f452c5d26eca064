"""How good is it on my data? Any source of predictions, scored on any dataset the readers know."""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from fer_utils import core, datasets, metrics
from fer_utils.core import EXPRESSIONS, NUM_CLASSES, PROBABILITIES, InputError, find_label, raster
from fer_utils.interactive.classifier import RECOGNISER, FaceClassifier, find_run, load_classifier
from fer_utils.interactive.detector import crop_face, find_faces

CROPS = ("given", "detected")
TABLES = (".csv", ".parquet")
PREDICTED = ("predicted", "prediction", "class", "expression")  # names of a column of classes
BY_CLASS_ALONE = ("accuracy", "macro_recall", "f1", "kappa", "alpha")
SHOWN = (*BY_CLASS_ALONE, "auc_pr", "auc", "ece")
ANY = "any"  # of the expressions
DRAWN = {"train": 64, "validation": 8, "test": 400}  # faces, where nobody named a dataset
AT_ONCE = 64  # images in memory


@dataclass
class Evaluation:
    """Predictions of one source on one dataset."""

    name: str
    # A row an image: `image`, `label` (0–7), `p_neutral` … `p_contempt`, `predicted` (0–7) and
    # `confidence`, 1 throughout where the source gave classes alone.
    table: pd.DataFrame
    rows: pd.DataFrame | None  # of the manifest; None where the images cannot be shown
    notes: list[str]  # sentences, what is to be said about them
    classifier: FaceClassifier | None = None  # None of a file, and of a run's own predictions


def evaluate(source: str, dataset="", data="", crops="given", root=None) -> Evaluation:
    """Predictions of a source: its own, or on a dataset; `InputError` for what cannot be used.

    Args:
        source: what `load_classifier` takes, or a file of predictions (see `read_predictions`).
        dataset, data: a dataset's name (default: what the folder holds) and folder; its test split
            is used, or all of it where it has none. Without them: a run's own test images, a file's
            own labels, else drawn faces.
        crops: "given": images as they are, cut where the dataset has face boxes; "detected": the
            largest face that the detector finds, or all of an image where it finds none.
    """
    core.check_choice("crops", crops, CROPS)
    root, suffix = Path(root) if root else core.project_root(), Path(source).suffix
    dataset = dataset or ("auto" if data else "")
    if suffix in TABLES:
        rows = _read_rows(dataset, data, root) if dataset else None
        table = join_labels(read_predictions(core.resolve_path(source, root)), rows)
        return Evaluation(source, table, rows, [])
    if not dataset and suffix != ".onnx" and source != RECOGNISER:
        return _of_run(source, root)
    classifier = load_classifier(source, root)
    rows = _read_rows(dataset or "synthetic", data, root)
    table, notes = predict(classifier, rows, crops)
    return Evaluation(classifier.name, table, rows, notes, classifier)


def predict(classifier, rows: pd.DataFrame, crops="given") -> tuple[pd.DataFrame, list[str]]:
    """`table` and `notes` of an `Evaluation` for rows of a manifest; in memory for a batch."""
    found, whole = [], 0
    if crops == "given" and raster.BOX_COLUMNS[0] in rows:
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
    notes = [rows.attrs["note"]] if "note" in rows.attrs else []
    if whole:
        notes.append(f"no face found in {whole:,} of {len(rows):,} images: taken whole")
    return _complete(table, rows["label"]), notes


def read_predictions(path: Path | str, split: str = "") -> pd.DataFrame:
    """Predictions of any model, from CSV or Parquet.

    Columns: `image` (or `file` and `face`, as in a table of faces); probabilities, named by the
    expressions, with `p_` or `log_p_` before them or nothing (an absent one counts as 0), or a
    class in one of `PREDICTED`; `label`, where a dataset does not give it (rows without one are
    left out). Classes are names, or 0–7 in the paper's order. With `split`, the rows of this one.
    """
    try:
        table = pd.read_parquet(path) if Path(path).suffix == ".parquet" else pd.read_csv(path)
    except Exception as error:  # a stranger's bytes
        what = core.one_line(error, 80)
        raise InputError(f"expected predictions at {path}, found none ({what})") from None
    if "image" not in table and {"file", "face"} <= set(table):
        table["image"] = table["file"].astype(str) + "#" + table["face"].astype(str)
    table = table[table["split"] == split] if split else table
    table = table.dropna(subset="label") if "label" in table else table
    if "image" not in table or not len(table):
        raise InputError(f"expected rows with a column 'image' in {path}, found {list(table)}")
    found = table[["image"]].astype(str).reset_index(drop=True)
    if again := _again(found["image"]):
        what = f"found {len(again):,} repeated, first {again[0]!r}"
        raise InputError(f"expected each image once in {path}, {what}")
    if "label" in table:
        found["label"] = _labels(table["label"], path)
    found[[*PROBABILITIES]] = _probabilities(table, path)
    return found


def join_labels(predictions: pd.DataFrame, rows: pd.DataFrame | None) -> pd.DataFrame:
    """Predictions in the order of a manifest's rows, with its labels; or with their own.

    Images are matched by their path in the dataset or, where no path is, by the file's name.
    """
    if rows is None:
        if "label" not in predictions:
            raise InputError("expected a column 'label', found none; add it or name the dataset")
        return _complete(predictions, predictions["label"])
    names = rows["image"].astype(str)
    if not predictions["image"].isin(names).any():
        names = names.map(lambda name: Path(name).name)
        predictions = predictions.assign(image=[Path(name).name for name in predictions["image"]])
        if again := [*_again(names), *_again(predictions["image"])]:
            what = f"found names that stand for several, first {again[0]!r}"
            raise InputError(f"expected paths of images in the dataset, {what}")
    absent = names[~names.isin(predictions["image"])]
    if len(absent):
        raise InputError(
            f"expected predictions of all {len(names):,} images, found none of {len(absent):,}, "
            f"first {absent.iloc[0]!r}; predict these too"
        )
    ordered = predictions.set_index("image").loc[names].reset_index()
    return _complete(ordered, rows["label"])


def score(table: pd.DataFrame, **draws) -> pd.DataFrame:
    """Every metric of an `Evaluation`'s table: `value`, and its 95 % interval `low`, `high`.

    Indexed by `answers` ("all eight"; where classes have no image and probabilities are known also
    "among the 7 that occur") and metric. `draws` are those of `metrics.bootstrap`.
    """
    labels, p = table["label"].to_numpy(), table[[*PROBABILITIES]].to_numpy()
    chosen, occur = _metrics(table), len(np.unique(labels))
    ways = {"all eight": p}
    if occur < NUM_CLASSES and chosen == SHOWN:
        ways[f"among the {occur} that occur"] = metrics.restrict_answers(labels, p)
    found = {way: metrics.bootstrap(labels, p, chosen, **draws) for way, p in ways.items()}
    return pd.concat(found, names=["answers"]).rename(index=metrics.METRICS)


def compare(a: pd.DataFrame, b: pd.DataFrame, **draws) -> pd.DataFrame:
    """`metrics.compare_paired` of table b against a, with `p_holm` and `verdict`.

    On the images that both have; `attrs["images"]` is their number.
    """
    both = a.merge(b, on="image", suffixes=("_a", "_b"))
    if not len(both) or (both["label_a"] != both["label_b"]).any():
        what = "images with other labels" if len(both) else "none"
        raise InputError(f"expected the same labelled images in both tables, found {what}")
    sides = [both[[f"{name}_{side}" for name in PROBABILITIES]].to_numpy() for side in "ab"]
    labels, chosen = both["label_a"].to_numpy(), min(_metrics(a), _metrics(b), key=len)
    found = metrics.compare_paired(labels, *sides, chosen, **draws)
    found = found.drop(columns="by_seed").assign(p_holm=metrics.holm(found["p_value"]))
    found["verdict"] = [metrics.verdict(row) for row in found.to_dict("records")]
    found.attrs["images"] = len(both)
    return found.rename(index=metrics.METRICS)


def choose(table: pd.DataFrame, true=ANY, predicted=ANY, confidence=(0, 1), wrong=False):
    """Positions (M,) of the images in a cell, row or column of the confusion matrix, surest first.

    `true` and `predicted` are an expression or "any", `confidence` the lowest and highest.
    """
    found = table["confidence"].between(*confidence)
    for column, name in (("label", true), ("predicted", predicted)):
        core.check_choice("expression", name, (ANY, *EXPRESSIONS))
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


def _of_run(source: str, root: Path) -> Evaluation:
    run = find_run(source, root)
    name, split, notes = f"{run.study}/{run.name}", run.params.evaluation, []
    rows = _of_split(datasets.read_manifest(run.require("manifest.parquet")), split)
    table = join_labels(read_predictions(run.require("predictions.parquet"), split), rows)
    try:
        datasets.load_images(rows.iloc[:1])
    except InputError as error:
        rows, notes = None, [f"the images of {name} cannot be shown: {error}"]
    return Evaluation(name, table, rows, notes)


def _read_rows(dataset: str, data: str, root: Path) -> pd.DataFrame:
    if dataset == "synthetic":
        return _of_split(datasets.read_dataset(dataset, None, **DRAWN), "test")
    manifest = datasets.read_dataset(dataset, data and core.resolve_path(data, root))
    return _of_split(manifest, "test") if "test" in set(manifest["split"]) else manifest


def _of_split(manifest: pd.DataFrame, split: str) -> pd.DataFrame:
    return manifest[manifest["split"] == split].reset_index(drop=True)


def _again(names: pd.Series) -> list[str]:
    return names[names.duplicated()].tolist()


def _complete(table: pd.DataFrame, labels) -> pd.DataFrame:
    p = table[list(PROBABILITIES)].to_numpy()
    labels = np.asarray(labels)
    return table.assign(label=labels, predicted=p.argmax(axis=1), confidence=p.max(axis=1))


def _metrics(table: pd.DataFrame) -> tuple[str, ...]:
    return BY_CLASS_ALONE if (table["confidence"] == 1).all() else SHOWN


def _labels(values, path) -> list[int]:
    numbers = {str(number): number for number in range(NUM_CLASSES)}
    texts = [str(value).removesuffix(".0") for value in values]
    found = [numbers.get(text, find_label(text)) for text in texts]
    if None in found:
        what = f"unknown class {texts[found.index(None)]!r} in {path}"
        raise InputError(f"{what}; expected one of {', '.join(EXPRESSIONS)}, or 0–7")
    return found


def _probabilities(table: pd.DataFrame, path) -> np.ndarray:
    """(N, 8), with a 1 where only a class is given."""
    named = {column: find_label(re.sub("^(log_)?p_", "", str(column))) for column in table}
    named = {column: label for column, label in named.items() if label is not None}
    for column in () if named else PREDICTED:
        if column in table:
            return np.eye(NUM_CLASSES)[_labels(table[column], path)]
    if not named:
        raise InputError(
            f"expected columns of probabilities in {path} (p_neutral, …), or a class in one of "
            f"{', '.join(PREDICTED)}; found {', '.join(map(str, table))}"
        )
    values = table[[*named]].apply(pd.to_numeric, errors="coerce").to_numpy(float)
    logs = all(str(column).startswith("log_") for column in named)
    p = np.zeros((len(table), NUM_CLASSES))
    p[:, [*named.values()]] = np.exp(values) if logs else values
    sums = p.sum(axis=1)
    wrong = (p < 0).any(axis=1) | ~(np.abs(sums - 1) < 0.01)
    if wrong.any():
        what = f"{wrong.sum():,} rows that do not, the first to {sums[wrong.argmax()]:.4g}"
        raise InputError(
            f"expected probabilities that sum to 1 in {path}, found {what}; apply softmax"
        )
    return p / sums[:, None]
