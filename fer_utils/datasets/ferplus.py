"""FER+ in its own layout: ``data/FER2013{Train,Valid,Test}/`` PNG files and a `label.csv` of votes each."""

import csv
import os
import re
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd

from fer_utils.datasets.images import hash_images
from fer_utils.errors import InputError
from fer_utils.expressions import EXPRESSIONS, to_labels
from fer_utils.splits import count_duplicates, remove_training_leaks

FOLDERS = {"train": "FER2013Train", "validation": "FER2013Valid", "test": "FER2013Test"}
# The order of the vote columns in `label.csv`, which is not the paper's.
VOTES = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt", "unknown", "NF")
_BOX = re.compile(r"\s*\(\s*(-?\d+)\s*,\s*(-?\d+)\s*,\s*(\d+)\s*,\s*(\d+)\s*\)\s*")
_COUNT = re.compile(r"\s*\d{1,4}\s*")
_ROW = f"name, box '(x, y, width, height)', {len(VOTES)} vote counts"
_EXPECTED = f"a FER+ folder (data/{', data/'.join(FOLDERS.values())}, a label.csv in each)"


def read_ferplus(root, check_images: bool = True, remove_leaks: bool | None = None) -> pd.DataFrame:
    """Read FER+ to a manifest, labelled by the taggers' majority, free of exact leaks.

    *Majority rule* (FER+'s own): single votes count as none; the image is kept if one class then has more than half of
    all votes left, those for "unknown" and "NF" (no face) included, and that class is one of the eight. Ties are
    therefore never kept.

    *Leaks*: every training image whose decoded pixels also stand in the validation or test folder is removed, whether
    or not the majority rule keeps its twin; validation and test stay as they are. In FER+, 288 of all test images stand
    in train, 279 validation images in train and 44 test images in validation; training loses 607 labelled images.

    Args:
        root: the folder that holds `data/`, or `data/` itself.
        check_images: open every listed image, usable or not; False reads the lists alone, even without the images.
        remove_leaks: remove training leaks, for which every image is opened too; None does so if `check_images`.

    Returns:
        Manifest (splits in the order train, validation, test, rows as in `label.csv`) with `box_x`, `box_y`,
        `box_width`, `box_height` and `votes_neutral` … `votes_contempt`. In its attrs, `leaks_removed` (0 where leaks
        stay, None where no image was opened) and `duplicates` (`fer_utils.splits.count_duplicates` over all listed
        images; absent where none was opened).

    Raises:
        InputError: if `root` is absent, empty, an archive or another dataset; for a missing `label.csv`, a malformed
            row, a name listed twice, an absent or unreadable image, or a split without a single usable row.

    Example:
        >>> read_ferplus("nowhere")
        Traceback (most recent call last):
        fer_utils.errors.InputError: expected a FER+ folder (data/FER2013Train, data/FER2013Valid, data/FER2013Test, \
a label.csv in each) at nowhere, found no such folder; check the path
    """
    data = _find_data(Path(root))
    table = pd.concat([_read_labels(data, split) for split in FOLDERS], ignore_index=True)
    table.attrs = {"dataset": "ferplus", "root": str(data.resolve()), "leaks_removed": None}
    if remove_leaks is None:
        remove_leaks = check_images
    if check_images or remove_leaks:
        _check_present(data, table)
        hashes = hash_images(table)
        if remove_leaks:
            table = remove_training_leaks(table, hashes)
        else:
            table.attrs |= {"leaks_removed": 0, "duplicates": count_duplicates(hashes, table["split"])}

    manifest = table[table["label"] >= 0].reset_index(drop=True)
    for split, folder in FOLDERS.items():
        if not (manifest["split"] == split).any():
            raise InputError(
                f"expected usable images in {data / folder}, found none with a majority of votes for an expression"
                f"{' that is not also in validation or test' if split == 'train' and remove_leaks else ''}; "
                "check its label.csv"
            )
    return manifest


def majority_labels(votes: np.ndarray) -> np.ndarray:
    """Label of each row of votes by FER+'s majority rule (see `read_ferplus`).

    Args:
        votes: int array (N, 10), columns in the order of `VOTES`.

    Returns:
        int64 array (N,), 0–7 in the order of `EXPRESSIONS`, −1 where the rule drops the image.

    Example:
        >>> majority_labels(np.array([[0, 0, 6, 2, 1, 1, 0, 0, 0, 0], [5, 5, 0, 0, 0, 0, 0, 0, 0, 0]])).tolist()
        [3, -1]
    """
    counted = np.where(votes == 1, 0, votes)  # (N, 10)
    winners = counted.argmax(axis=1)
    labels = np.array(to_labels(VOTES, "ferplus"))[winners]
    return np.where(2 * counted.max(axis=1) > counted.sum(axis=1), labels, -1)


def _find_data(root: Path) -> Path:
    """The folder that holds the three split folders, or one line on what was found instead."""
    for data in (root / "data", root):
        if any((data / folder).is_dir() for folder in FOLDERS.values()):
            break
    else:
        raise InputError(f"expected {_EXPECTED} at {root}, found {_describe(root)}")
    for folder in FOLDERS.values():
        if not (data / folder / "label.csv").is_file():
            absent = f"label.csv in {data / folder}" if (data / folder).is_dir() else f"folder {folder} in {data}"
            raise InputError(f"expected {_EXPECTED} at {root}, found no {absent}; restore it from FER+")
    return data


def _describe(root: Path) -> str:
    """What stands at `root` instead of FER+, and what to do about it."""
    if not root.exists():
        return "no such folder; check the path"
    if root.is_file():
        archive = zipfile.is_zipfile(root) or tarfile.is_tarfile(root)
        return "an archive; unpack it and give the folder" if archive else "a file; give the folder"
    names = {entry.name for entry in root.iterdir()}
    if not names:
        return "an empty folder; put FER+ there or check the path"
    for data in sorted([*root.glob(f"*/data/{FOLDERS['train']}"), *root.glob(f"*/{FOLDERS['train']}")]):
        return f"it one level deeper; give {data.parent}"
    if {"Manually_Annotated_Images", "training.csv", "train_set", "val_set"} & names:
        return "what looks like AffectNet; give FER+'s folder, or name the right dataset"
    if "EmoLabel" in names or (root / "Image" / "aligned").is_dir():
        return "what looks like RAF-DB; give FER+'s folder, or name the right dataset"
    if {"fer2013.csv", "icml_face_data.csv"} & names:
        return "FER2013's csv file; FER+'s generate_training_data.py writes its images to the folder expected"
    folders = {entry.name.lower() for entry in [*root.glob("*"), *root.glob("*/*")] if entry.is_dir()}
    if len(folders & {*EXPRESSIONS, *VOTES}) > 1:
        return "what looks like a folder of class folders; give FER+'s folder, or name the right dataset"
    return f"{', '.join(sorted(names)[:3])}{', …' if len(names) > 3 else ''}; check the path"


def _read_labels(data: Path, split: str) -> pd.DataFrame:
    """One `label.csv` to a table like a manifest, with the label −1 for a row that the majority rule drops."""
    path = data / FOLDERS[split] / "label.csv"
    names, boxes, votes = [], [], []
    # Bytes that are no UTF-8 become a name that is absent or a malformed row, either of which is reported as such.
    with open(path, encoding="utf-8-sig", errors="replace", newline="") as file:
        for row, fields in enumerate(csv.reader(file), start=1):
            if not fields:
                continue
            box = _BOX.fullmatch(fields[1]) if len(fields) == 2 + len(VOTES) else None
            if box is None or not fields[0].strip() or not all(map(_COUNT.fullmatch, fields[2:])):
                raise InputError(f"{path} row {row}: expected {_ROW}, found {','.join(fields)[:80]!r}; mend that row")
            names.append(fields[0].strip())
            boxes.append([int(number) for number in box.groups()])
            votes.append([int(field) for field in fields[2:]])
    if not names:
        raise InputError(f"expected rows of {_ROW} in {path}, found none; restore it from FER+")
    twice = pd.Series(names).duplicated().to_numpy()
    if twice.any():
        raise InputError(
            f"{path}: expected every image once, found {names[twice.argmax()]!r} twice "
            f"(and {twice.sum() - 1} more such rows); keep the right one"
        )

    votes = pd.DataFrame(votes, columns=to_labels(VOTES, "ferplus"))
    table = pd.DataFrame({"image": [f"{FOLDERS[split]}/{name}" for name in names]})
    table["label"], table["split"] = majority_labels(votes.to_numpy()), split
    table[["box_x", "box_y", "box_width", "box_height"]] = np.array(boxes)
    for label, expression in enumerate(EXPRESSIONS):
        table[f"votes_{expression}"] = votes[label]
    return table


def _check_present(data: Path, table: pd.DataFrame) -> None:
    """One listing per folder instead of one look-up per image: quick on a network disk as well."""
    present = {f"{folder}/{name}" for folder in FOLDERS.values() for name in os.listdir(data / folder)}
    absent = [image for image in table["image"] if image not in present]
    if absent:
        raise InputError(
            f"expected every image that label.csv lists, found {len(absent)} absent, the first {data / absent[0]}; "
            "restore them (FER+'s generate_training_data.py writes them from fer2013.csv)"
        )
