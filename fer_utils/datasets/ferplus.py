"""FER2013's images, and FER+'s labels for them: votes of ten taggers, and rules to count these.

FER+ has two label files, which disagree on 1,601 images. `label.csv` stands in each PNG folder; a
row of `fer2013new.csv` is a row of FER2013's own CSV.
"""

import os
import re
from pathlib import Path

import numpy as np
import pandas as pd

from fer_utils.core import EXPRESSIONS, NUM_CLASSES, check_choice, raster, require, to_labels
from fer_utils.datasets.duplicates import count_duplicates
from fer_utils.datasets.folders import no_dataset
from fer_utils.datasets.images import open_images, pixel_rows, to_manifest
from fer_utils.datasets.manifest import check_names, check_rows, read_columns, to_numbers
from fer_utils.datasets.splits import remove_training_leaks

FER2013_FILES = ("fer2013.csv", "icml_face_data.csv")
USAGES = {"Training": "train", "PublicTest": "validation", "PrivateTest": "test"}
FOLDERS = {"train": "FER2013Train", "validation": "FER2013Valid", "test": "FER2013Test"}
LABEL_FILES = ("label.csv", "fer2013new.csv")
LABEL_RULES = ("majority", "argmax", "probability")
# The order of the vote columns in both files, which is not the paper's.
VOTES = (
    *("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt"),
    *("unknown", "NF"),  # NF: no face
)
_LABELS = np.array(to_labels(VOTES, "ferplus"))  # −1 for the last two
_VOTE_COLUMNS = [f"votes_{EXPRESSIONS[label]}" for label in _LABELS[:NUM_CLASSES]]
_BOX = r"^\(" + ",".join([r"\s*(-?\d{1,9})\s*"] * 4) + r"\)$"


def read_fer2013(root, check_images: bool = True, on_bad_image: str = "raise") -> pd.DataFrame:
    """FER2013: 28,709 training, 3,589 validation (`PublicTest`) and 3,589 test images.

    Nothing shows contempt. An entry of `image` is the row in the CSV, from 0, as FER+ counts them.
    `root` is the folder of `fer2013.csv` or `icml_face_data.csv`, or the one above `fer2013/`.
    """
    root = Path(root)
    files = [folder / name for folder in (root, root / "fer2013") for name in FER2013_FILES]
    path = next(filter(os.path.isfile, files), None)
    if path is None:
        expected = f"FER2013 ({' or '.join(FER2013_FILES)})"
        labelled = not os.path.isfile(root / "test.csv")
        require(labelled, f"{expected} at {root}", "Kaggle's test.csv without labels")
        raise no_dataset(expected, root, "fer2013")
    rows, _ = pixel_rows(path)
    labels = to_labels(to_numbers(rows["emotion"], "an emotion", 0, 6), "fer2013")
    table = pd.DataFrame({"image": range(len(rows)), "label": labels})
    table["split"] = _splits(rows["usage"]).to_numpy()
    table.attrs = {"dataset": "fer2013", "root": str(path.parent.resolve()), "pixels": path.name}
    return to_manifest(table, check_images, on_bad_image)


def _splits(usages: pd.Series) -> pd.Series:
    check_rows(usages.isin(USAGES), usages, f"the usage {', '.join(USAGES)}")
    return usages.map(USAGES)


def majority_labels(votes: np.ndarray) -> np.ndarray:
    """FER+'s majority rule on int (N, 10) votes: labels (N,), −1 where an image is dropped.

    Single votes count as none; a class needs more than half of the rest, with "unknown" and "NF".

    >>> majority_labels(np.array([[0, 0, 6, 2, 1, 1, 0, 0, 0, 0], [5, 5] + [0] * 8])).tolist()
    [3, -1]
    """
    counted = np.where(votes == 1, 0, votes)
    clear = 2 * counted.max(axis=1) > counted.sum(axis=1)
    return np.where(clear, _LABELS[counted.argmax(axis=1)], -1)


def argmax_labels(votes: np.ndarray) -> np.ndarray:
    """The class of most votes, the first of `VOTES` among equals; −1 for the last two, or none."""
    return np.where(votes.any(axis=1), _LABELS[votes.argmax(axis=1)], -1)


def probability_votes(votes: np.ndarray) -> np.ndarray:
    """FER+'s rule for distributions: of int (N, 10) votes those that count, else 0.

    Single votes count as none. Of the rest, classes are taken from the most voted down (equals
    together) until they hold three quarters or are three; "unknown" or "NF" on the way ends it.
    An image is dropped, all 0, if they then hold no more than half, or are more than three.

    >>> probability_votes(np.array([[0, 4, 0, 3, 2, 1, 0, 0, 0, 0]]))[0].tolist()  # 7 of 9
    [0, 4, 0, 3, 0, 0, 0, 0, 0, 0]
    """
    counted = np.where(votes == 1, 0, votes)
    total = counted.sum(axis=1)
    taken, going = np.zeros_like(counted), total > 0
    for _ in range(3):
        going &= (4 * taken.sum(axis=1) < 3 * total) & ((taken > 0).sum(axis=1) < 3)
        left = np.where(going[:, None], counted - taken, 0)  # (N, 10)
        highest = (left > 0) & (left == left.max(axis=1, keepdims=True))
        taken[:, :NUM_CLASSES] += np.where(highest, left, 0)[:, :NUM_CLASSES]
        going &= ~highest[:, NUM_CLASSES:].any(axis=1)
    kept = (2 * taken.sum(axis=1) > total) & ((taken > 0).sum(axis=1) <= 3)
    return np.where(kept[:, None], taken, 0)


def read_ferplus(
    root,
    check_images: bool = True,
    remove_leaks: bool | None = None,
    label_file: str | None = None,
    label_rule: str = "majority",
    on_bad_image: str = "raise",
) -> pd.DataFrame:
    """FER+, labelled by the taggers' votes, free of exact leaks.

    288 test images stand in train too, 279 validation images in train and 44 test images in
    validation. Training loses every image whose pixels stand in the others, whether or not the
    label rule keeps its twin: 607 that the majority rule labels. The others stay as they are.

    Args:
        root: the folder of `data/`, or `data/` itself; or of `fer2013new.csv` and `fer2013.csv`.
        remove_leaks: needs every image opened; None does so if `check_images`.
        label_file: one of `LABEL_FILES`; None takes the first that is there. `fer2013new.csv` joins
            PNG folders by name: rows without one (173) are left out, three images stand twice.
        label_rule: "majority" (`majority_labels`), "argmax" (`argmax_labels`), or "probability"
            (`probability_votes`): then only these votes stay in `votes_*`, and the most decide.

    Returns:
        Manifest with votes and, from `label.csv`, boxes. In its attrs `label_file`, `label_rule`,
        `leaks_removed` (None if no image was opened) and, if any was, `duplicates`.
    """
    check_choice("label_file", label_file, (None, *LABEL_FILES))
    check_choice("label_rule", label_rule, LABEL_RULES)
    table = _read_lists(Path(root), label_file)
    votes = np.column_stack([table.pop(name) for name in VOTES]).astype(np.int64)  # (N, 10)
    if label_rule == "probability":
        votes = probability_votes(votes)
    labels = majority_labels(votes) if label_rule == "majority" else argmax_labels(votes)
    table.insert(1, "label", labels)
    table[_VOTE_COLUMNS] = votes[:, :NUM_CLASSES]
    table.attrs |= {"dataset": "ferplus", "label_rule": label_rule, "leaks_removed": None}
    remove_leaks = check_images if remove_leaks is None else remove_leaks
    if check_images or remove_leaks:
        script = "FER+'s generate_training_data.py writes them from fer2013.csv"
        table = open_images(table, on_bad_image, f"restore them ({script})")
    if remove_leaks:
        table = remove_training_leaks(table)
    elif check_images:
        duplicates = count_duplicates(table["fingerprint"], table["split"])
        table.attrs |= {"leaks_removed": 0, "duplicates": duplicates}
    table = table[table["label"] >= 0]
    for split in FOLDERS:
        found = "none with votes enough for an expression; check its list"
        require((table["split"] == split).any(), f"usable {split} images at {root}", found)
    return table.reset_index(drop=True).infer_objects()


def _read_lists(root: Path, label_file: str | None) -> pd.DataFrame:
    label, new = LABEL_FILES
    folders = [data / name for data in (root / "data", root) for name in FOLDERS.values()]
    folder = next(filter(os.path.isdir, folders), None)
    data = folder.parent if folder else None
    votes = next(filter(os.path.isfile, (root / new, root.parent / new)), None)
    expected = f"FER+ (data/{', data/'.join(FOLDERS.values())}, a {label} in each)"
    if data is None and votes is None:
        raise no_dataset(expected, root, "ferplus")
    lists = {split: (data or root / "data") / name / label for split, name in FOLDERS.items()}
    if label_file is None:
        label_file = new if votes and not any(map(os.path.isfile, lists.values())) else label
    require(label_file == label or votes, f"{new} at {root}", "none; put FER+'s there")
    if label_file == new:
        table = _read_new(votes, root, data)
    else:
        for path in lists.values():
            require(os.path.isfile(path), f"{expected} at {root}", f"no {path}; restore it")
        table = pd.concat([_read_label(path, split) for split, path in lists.items()])
        table.attrs = {"root": str(data.resolve())}
    table.attrs["label_file"] = label_file
    return table


def _read_label(path: Path, split: str) -> pd.DataFrame:
    texts = read_columns(path, ("image", "box", *VOTES))
    check_names(texts["image"])
    table = pd.DataFrame({"image": f"{FOLDERS[split]}/" + texts["image"], "split": split})
    boxes = texts["box"].str.extract(_BOX, flags=re.ASCII)
    check_rows(boxes.notna().all(axis=1), texts["box"], "a box '(x, y, width, height)'")
    table[[*raster.BOX_COLUMNS]] = boxes.astype(np.int64)
    return table.assign(**_votes(texts))


def _votes(texts: pd.DataFrame) -> dict[str, np.ndarray]:
    return {name: to_numbers(texts[name], f"votes for {name!r}", 0, 9999) for name in VOTES}


def _read_new(path: Path, root: Path, data: Path | None) -> pd.DataFrame:
    """`fer2013new.csv`, joined to the PNG folders of `data` by name, or by row to FER2013's CSV."""
    texts = read_columns(path, ("usage", "image name", *VOTES))
    names, splits = texts["image name"], _splits(texts["usage"])
    table = pd.DataFrame({"image": range(len(texts)), "split": splits, **_votes(texts)})
    if data is None:
        pixels = _find_pixels(path, root, texts["usage"])
        table.attrs = {"root": str(pixels.parent.resolve()), "pixels": pixels.name}
        return table
    table["image"] = splits.map(FOLDERS) + "/" + names
    table.attrs = {"root": str(data.resolve()), "rows_without_image": int((names == "").sum())}
    check_names(names[names != ""], once=False)
    return table[names != ""]


def _find_pixels(votes: Path, root: Path, usages: pd.Series) -> Path:
    """FER2013's CSV, once its rows are known to be those of the votes."""
    # Not icml_face_data.csv: FER+ was made from fer2013.csv, and nothing but the order joins rows.
    files = [root / "fer2013.csv", root / "fer2013" / "fer2013.csv"]
    path = next(filter(os.path.isfile, files), None)
    found = f"neither data/{FOLDERS['train']} nor FER2013's fer2013.csv beside it"
    require(path, f"the images of {votes} at {root}", found)
    own = pixel_rows(path)[0]["usage"]
    rows = f"the {len(usages)} rows of {votes} in {path}"
    require(len(own) == len(usages), rows, len(own))
    check_rows(own.to_numpy() == usages.to_numpy(), own, f"the usage in the same row of {votes}")
    return path
