"""FER+'s two label files: `label.csv` in each PNG folder, and `fer2013new.csv`, a row each row of FER2013."""

import os
import re
from pathlib import Path

import numpy as np
import pandas as pd

from fer_utils.datasets.legacy.csv_rows import bad_row, check_names, check_once, check_rows, csv_rows, read_columns, to_numbers
from fer_utils.datasets.legacy.fer2013 import USAGES
from fer_utils.datasets.legacy.ferplus_votes import VOTES
from fer_utils.datasets.legacy.pixel_rows import PixelRows
from fer_utils.datasets.legacy.recognition import found_instead
from fer_utils.core import InputError

FOLDERS = {"train": "FER2013Train", "validation": "FER2013Valid", "test": "FER2013Test"}
LABEL_FILES = ("label.csv", "fer2013new.csv")
_BOX = re.compile(r"\(\s*(-?\d{1,9})\s*,\s*(-?\d{1,9})\s*,\s*(\d{1,9})\s*,\s*(\d{1,9})\s*\)", re.ASCII)
_COUNT = re.compile(r"\d{1,4}", re.ASCII)
_ROW = f"name, box '(x, y, width, height)', {len(VOTES)} vote counts"
_EXPECTED = f"a FER+ folder (data/{', data/'.join(FOLDERS.values())}, a label.csv in each)"


def read_lists(root: Path, label_file: str | None) -> tuple[pd.DataFrame, dict[str, Path]]:
    """All listed images with their votes: a table with the columns of `VOTES`, and the list of each split."""
    label, new = LABEL_FILES
    data = next((data for data in (root / "data", root) if any(map(os.path.isdir, _folders(data)))), None)
    votes = next((folder / new for folder in (root, root.parent) if os.path.isfile(folder / new)), None)
    if data is None and votes is None:
        raise InputError(f"expected {_EXPECTED} at {root}, found {found_instead(root, 'ferplus')}")
    if label_file is None:
        listed = data is not None and any(os.path.isfile(folder / label) for folder in _folders(data))
        label_file = new if votes is not None and not listed else label

    if label_file == new:
        if votes is None:
            raise InputError(f"expected {new} at {root}, found none; put FER+'s there or take label_file={label!r}")
        table, lists = _read_new(votes, root, data), dict.fromkeys(FOLDERS, votes)
    else:
        for folder in _folders(data or root / "data"):
            if not os.path.isfile(folder / label):
                absent = f"{label} in {folder}" if os.path.isdir(folder) else f"folder {folder.name} in {folder.parent}"
                raise InputError(f"expected {_EXPECTED} at {root}, found no {absent}; restore it from FER+")
        lists = {split: data / folder / label for split, folder in FOLDERS.items()}
        table = pd.concat([_read_label(path, split) for split, path in lists.items()], ignore_index=True)
        table.attrs = {"dataset": "ferplus", "root": str(data.resolve())}
    table.attrs["label_file"] = label_file
    return table, lists


def _folders(data: Path) -> list[Path]:
    return [data / folder for folder in FOLDERS.values()]


def _read_label(path: Path, split: str) -> pd.DataFrame:
    rows, names, boxes, votes = [], [], [], []
    for row, fields in csv_rows(path):
        box = _BOX.fullmatch(fields[1]) if len(fields) == 2 + len(VOTES) else None
        if box is None or not all(map(_COUNT.fullmatch, fields[2:])):
            raise bad_row(path, row, _ROW, repr(",".join(fields)[:80]))
        rows.append(row)
        names.append(fields[0])
        boxes.append([int(number) for number in box.groups()])
        votes.append([int(field) for field in fields[2:]])
    if not names:
        raise InputError(f"expected rows of {_ROW} in {path}, found none; restore it from FER+")
    listed = pd.Series(names, index=rows, dtype=object)
    check_names(listed, path)
    check_once(listed, path)
    table = pd.DataFrame({"image": [f"{FOLDERS[split]}/{name}" for name in names], "label": -1, "split": split})
    table["row"] = rows
    table[["box_x", "box_y", "box_width", "box_height"]] = np.array(boxes)
    table[list(VOTES)] = np.array(votes)
    return table


def _read_new(path: Path, root: Path, data: Path | None) -> pd.DataFrame:
    """`fer2013new.csv`, joined to the PNG folders of `data` by name or, where it is None, to FER2013's CSV by row."""
    columns = ("Usage", "Image name", *VOTES)
    text = read_columns(path, columns, headerless=columns)
    usages, names = text["Usage"].str.strip(), text["Image name"].str.strip()
    check_rows(usages.isin(USAGES).to_numpy(), usages, path, f"the usage {', '.join(USAGES)}")
    votes = {}
    for name in VOTES:
        expected = f"a count of votes for {name!r}"
        counts = to_numbers(text[name], path, expected)
        check_rows((counts >= 0) & (counts < 10_000) & (counts == np.floor(counts)), text[name], path, expected)
        votes[name] = counts.astype(np.int64)
    table = pd.DataFrame({"image": names, "label": -1, "split": usages.map(USAGES), "row": text.index} | votes)
    if data is None:
        table["image"] = range(len(table))
        table.attrs = _attrs_of_rows(path, root, usages)
        return table.reset_index(drop=True)
    table = table[names != ""].reset_index(drop=True)
    check_names(table.set_index("row")["image"], path)
    table["image"] = table["split"].map(FOLDERS) + "/" + table["image"]
    table.attrs = {"dataset": "ferplus", "root": str(data.resolve()), "rows_without_image": int((names == "").sum())}
    return table


def _attrs_of_rows(path: Path, root: Path, usages: pd.Series) -> dict:
    """Where FER2013's CSV is, once its rows are known to be those of the votes."""
    # icml_face_data.csv does not serve: FER+ was made from fer2013.csv, and rows tell nothing else by which to join.
    pixels = next((file for file in (root / "fer2013.csv", root / "fer2013" / "fer2013.csv") if file.is_file()), None)
    if pixels is None:
        raise InputError(
            f"expected the images of {path} at {root}, found neither data/{FOLDERS['train']} nor fer2013.csv; put "
            "FER2013's fer2013.csv beside it"
        )
    faces = PixelRows(pixels)
    same = len(faces) == len(usages) and np.array(faces.usages) == usages.to_numpy(dtype=object)
    if not np.all(same):
        alike = len(faces) == len(usages)
        found = f"another usage in row {faces.rows[np.argmin(same)]}" if alike else f"{len(faces)} rows"
        raise InputError(f"expected the {len(usages)} rows of {path} in {pixels}, found {found}; restore both files")
    return {"dataset": "ferplus", "root": str(pixels.parent.resolve()), "pixels": pixels.name}
