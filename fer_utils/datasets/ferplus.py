"""FER+: votes of ten taggers, the rules that make labels of them, and the lists that hold them.

The two label files disagree on 1,601 images. `label.csv` stands in each PNG folder; a row of
`fer2013new.csv` is a row of FER2013's own CSV.
"""

import os
import re
from pathlib import Path

import numpy as np
import pandas as pd

from fer_utils.core import EXPRESSIONS, NUM_CLASSES, InputError, check_choice, to_labels
from fer_utils.datasets.duplicates import count_duplicates
from fer_utils.datasets.fer2013 import USAGES
from fer_utils.datasets.folders import no_dataset
from fer_utils.datasets.images import BOX_COLUMNS
from fer_utils.datasets.lists import (
    ON_BAD_IMAGE,
    check_names,
    check_once,
    check_rows,
    csv_rows,
    open_images,
    read_columns,
    to_numbers,
)
from fer_utils.datasets.pixel_rows import bad_row, pixel_rows
from fer_utils.datasets.splits import remove_training_leaks

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
_BOX = re.compile(r"\(\s*(-?\d{1,9})\s*,\s*(-?\d{1,9})\s*,\s*(\d{1,9})\s*,\s*(\d{1,9})\s*\)", re.A)
_COUNT = re.compile(r"\d{1,4}", re.A)
_ROW = f"name, box '(x, y, width, height)', {len(VOTES)} vote counts"
_EXPECTED = f"a FER+ folder (data/{', data/'.join(FOLDERS.values())}, a label.csv in each)"
_REMEDY = "restore them (FER+'s generate_training_data.py writes them from fer2013.csv)"


def majority_labels(votes: np.ndarray) -> np.ndarray:
    """FER+'s majority rule on int (N, 10) votes: labels (N,), −1 where an image is dropped.

    Single votes count as none; a class needs more than half of the rest, with "unknown" and "NF".

    >>> majority_labels(np.array([[0, 0, 6, 2, 1, 1, 0, 0, 0, 0], [5, 5] + [0] * 8])).tolist()
    [3, -1]
    """
    counted = _without_singles(votes)
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
    counted = _without_singles(votes)
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


def _without_singles(votes: np.ndarray) -> np.ndarray:
    return np.where(votes == 1, 0, votes)


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
    validation. Training loses every image whose pixels stand in validation or test, whether or not
    the label rule keeps its twin: 607 that the majority rule labels. Those two stay as they are.

    Args:
        root: the folder of `data/`, or `data/` itself; or of `fer2013new.csv` and `fer2013.csv`.
        remove_leaks: needs every image opened; None does so if `check_images`.
        label_file: one of `LABEL_FILES`; None takes the first that is there. `fer2013new.csv` joins
            PNG folders by name: rows without one (173) are left out, three images stand twice.
        label_rule: "majority" (`majority_labels`), "argmax" (`argmax_labels`), or "probability"
            (`probability_votes`): then only these votes stay in `votes_*`, and the most decide.

    Returns:
        Manifest with `votes_neutral` … `votes_contempt` and, from `label.csv`, boxes. In its attrs
        `label_file`, `label_rule`, `leaks_removed` (None if no image was opened) and, if any was,
        `duplicates` (`count_duplicates` of all listed images).
    """
    check_choice("label_file", label_file, (None, *LABEL_FILES))
    check_choice("label_rule", label_rule, LABEL_RULES)
    check_choice("on_bad_image", on_bad_image, ON_BAD_IMAGE)
    table, lists = _read_lists(Path(root), label_file)
    votes = table[list(VOTES)].to_numpy()
    if label_rule == "probability":
        votes = probability_votes(votes)
    table["label"] = majority_labels(votes) if label_rule == "majority" else argmax_labels(votes)
    table = table.drop(columns=list(VOTES))
    table[_VOTE_COLUMNS] = votes[:, :NUM_CLASSES]
    table.attrs |= {"label_rule": label_rule, "leaks_removed": None}
    remove_leaks = check_images if remove_leaks is None else remove_leaks
    if check_images or remove_leaks:
        table = open_images(table, lists, on_bad_image, _REMEDY)
    if remove_leaks:
        table = remove_training_leaks(table)
    elif check_images:
        duplicates = count_duplicates(table["fingerprint"], table["split"])
        table.attrs |= {"leaks_removed": 0, "duplicates": duplicates}
    table = table[table["label"] >= 0].drop(columns="row").reset_index(drop=True)
    for split, path in lists.items():
        if not (table["split"] == split).any():
            found = "none with votes enough for an expression; check that file"
            raise InputError(f"expected usable {split} images in {path}, found {found}")
    return table


def _read_lists(root: Path, label_file: str | None) -> tuple[pd.DataFrame, dict[str, Path]]:
    """All listed images with their votes, and the list of each split."""
    label, new = LABEL_FILES
    places = [root / "data", root]
    data = next((data for data in places if any(map(os.path.isdir, _folders(data)))), None)
    files = [root / new, root.parent / new]
    votes = next(filter(os.path.isfile, files), None)
    if data is None and votes is None:
        raise no_dataset(_EXPECTED, root, "ferplus")
    if label_file is None:
        listed = data and any(os.path.isfile(folder / label) for folder in _folders(data))
        label_file = new if votes and not listed else label
    if label_file == new:
        if votes is None:
            raise InputError(f"expected {new} at {root}, found none; put FER+'s there")
        table, lists = _read_new(votes, root, data), dict.fromkeys(FOLDERS, votes)
    else:
        data = data or root / "data"
        lists = {split: data / folder / label for split, folder in FOLDERS.items()}
        for path in lists.values():
            if not os.path.isfile(path):
                there = os.path.isdir(path.parent)
                absent = path if there else f"folder {path.parent.name} in {data}"
                raise InputError(f"expected {_EXPECTED} at {root}, found no {absent}; restore it")
        tables = [_read_label(path, split) for split, path in lists.items()]
        table = pd.concat(tables, ignore_index=True)
        table.attrs = {"dataset": "ferplus", "root": str(data.resolve())}
    table.attrs["label_file"] = label_file
    return table, lists


def _folders(data: Path) -> list[Path]:
    return [data / folder for folder in FOLDERS.values()]


def _read_label(path: Path, split: str) -> pd.DataFrame:
    rows, names, numbers = [], [], []
    for row, fields in csv_rows(path):
        box = _BOX.fullmatch(fields[1]) if len(fields) == 2 + len(VOTES) else None
        if box is None or not all(map(_COUNT.fullmatch, fields[2:])):
            raise bad_row(path, row, _ROW, repr(",".join(fields)[:80]))
        rows.append(row)
        names.append(fields[0])
        numbers.append([int(number) for number in (*box.groups(), *fields[2:])])
    if not names:
        raise InputError(f"expected rows of {_ROW} in {path}, found none; restore it from FER+")
    listed = pd.Series(names, index=rows, dtype=object)
    check_names(listed, path)
    check_once(listed, path)
    images = [f"{FOLDERS[split]}/{name}" for name in names]
    table = pd.DataFrame({"image": images, "label": -1, "split": split, "row": rows})
    table[[*BOX_COLUMNS, *VOTES]] = np.array(numbers)
    return table


def _read_new(path: Path, root: Path, data: Path | None) -> pd.DataFrame:
    """`fer2013new.csv`, joined to the PNG folders of `data` by name, or by row to FER2013's CSV."""
    columns = ("Usage", "Image name", *VOTES)
    text = read_columns(path, columns, headerless=columns)
    usages, names = text["Usage"].str.strip(), text["Image name"].str.strip()
    check_rows(usages.isin(USAGES).to_numpy(), usages, path, f"the usage {', '.join(USAGES)}")
    splits = usages.map(USAGES)
    table = pd.DataFrame({"image": names, "label": -1, "split": splits, "row": text.index})
    for name in VOTES:
        expected = f"a count of votes for {name!r}"
        counts = to_numbers(text[name], path, expected)
        whole = (counts >= 0) & (counts < 10_000) & (counts == np.floor(counts))
        check_rows(whole, text[name], path, expected)
        table[name] = counts.astype(np.int64)
    if data is None:
        table["image"] = range(len(table))
        table.attrs = _join_rows(path, root, usages)
        return table.reset_index(drop=True)
    table = table[names != ""].reset_index(drop=True)
    check_names(table.set_index("row")["image"], path)
    table["image"] = table["split"].map(FOLDERS) + "/" + table["image"]
    left_out = int((names == "").sum())
    table.attrs = {"dataset": "ferplus", "root": str(data.resolve())}
    table.attrs["rows_without_image"] = left_out
    return table


def _join_rows(path: Path, root: Path, usages: pd.Series) -> dict:
    """Where FER2013's CSV is, once its rows are known to be those of the votes."""
    # Not icml_face_data.csv: FER+ was made from fer2013.csv, and nothing but the order joins rows.
    files = [root / "fer2013.csv", root / "fer2013" / "fer2013.csv"]
    pixels = next(filter(os.path.isfile, files), None)
    if pixels is None:
        found = f"neither data/{FOLDERS['train']} nor FER2013's fer2013.csv beside it"
        raise InputError(f"expected the images of {path} at {root}, found {found}")
    faces = pixel_rows(pixels)
    pairs = zip(faces.rows, faces.usages, usages, strict=False)
    other = next((row for row, own, usage in pairs if own != usage), None)
    if len(faces) != len(usages) or other is not None:
        same_length = len(faces) == len(usages)
        found = f"another usage in row {other}" if same_length else f"{len(faces)} rows"
        raise InputError(f"expected the {len(usages)} rows of {path} in {pixels}, found {found}")
    return {"dataset": "ferplus", "root": str(pixels.parent.resolve()), "pixels": pixels.name}
