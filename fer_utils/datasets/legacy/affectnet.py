"""AffectNet in either of its releases: lists of images with boxes (CSV), or cropped faces with annotations (npy)."""

import os
from pathlib import Path

import numpy as np
import pandas as pd

from fer_utils.datasets.legacy.affectnet_npy import FOLDERS, read_annotations
from fer_utils.datasets.legacy.checking import ON_BAD_IMAGE, to_manifest
from fer_utils.datasets.legacy.csv_rows import check_names, check_once, check_rows, read_columns, to_numbers
from fer_utils.datasets.legacy.recognition import found_instead
from fer_utils.core import InputError, check_choice
from fer_utils.core import to_labels

LISTS = {"train": "training.csv", "validation": "validation.csv"}
IMAGES = "Manually_Annotated_Images"
NO_EXPRESSION = {8: "none", 9: "uncertain", 10: "no face"}
_PATH = "subDirectory_filePath"
_BOX = ("face_x", "face_y", "face_width", "face_height")
_AFFECT = ("valence", "arousal")
_COLUMNS = (_PATH, *_BOX, "facial_landmarks", "expression", *_AFFECT)
_WANTED = tuple(name for name in _COLUMNS if name != "facial_landmarks")
_CODE = "an expression, a whole number from 0 to 10"


def read_affectnet(root, check_images: bool = True, on_bad_image: str = "raise") -> pd.DataFrame:
    """Read AffectNet's manually annotated images to a manifest; which release it is, the content tells.

    Images whose expression is 8 (none), 9 (uncertain) or 10 (no face) are left out. The training list is the split
    `train`, the validation list `validation`. There is no test split: AffectNet never published one, and results on
    AffectNet are results on its validation list; the paper draws its own splits from both lists
    (`fer_utils.splits`).

    Args:
        root: the folder of `training.csv` and `validation.csv` (or above `Manually_Annotated_file_lists/`), with the
            images below it, or of `train_set/` and `val_set/`.
        check_images: open every listed image; False reads the lists alone, even without the images.
        on_bad_image: ``"raise"`` an error for an absent or undecodable image, or ``"skip"`` its row.

    Returns:
        Manifest in the order of the lists, with `valence` and `arousal` (−1 … 1; NaN where none was given) and, of the
        CSV release, `box_x`, `box_y`, `box_width`, `box_height` as the list has them, outside the image or not. In its
        attrs, `release` (``"csv"`` or ``"npy"``), `dropped` (images left out by expression) and, if `check_images`,
        `bad_images`.

    Raises:
        InputError: if `root` is another dataset; for a missing list or column, an expression that is no number from 0
            to 10, a number that is none, an image listed twice, absent or unreadable, or one without annotation.

    Example:
        >>> read_affectnet("nowhere")
        Traceback (most recent call last):
        fer_utils.errors.InputError: expected AffectNet (training.csv and validation.csv, or train_set and val_set) at \
nowhere, found no such folder; check the path
    """
    check_choice("on_bad_image", on_bad_image, ON_BAD_IMAGE)
    root = Path(root)
    folder = next((root / name for name in ("", "Manually_Annotated_file_lists") if _has_list(root / name)), None)
    if folder is not None:
        table, lists = _read_csv_release(root, folder)
    elif any(os.path.isdir(root / name) for name in FOLDERS.values()):
        table, lists = read_annotations(root, _CODE), {}
    else:
        raise InputError(
            f"expected AffectNet ({' and '.join(LISTS.values())}, or {' and '.join(FOLDERS.values())}) at {root}, "
            f"found {found_instead(root, 'affectnet')}"
        )
    codes = table.pop("expression")
    table["label"] = to_labels(codes.tolist(), "affectnet")
    table.attrs["dropped"] = {name: int((codes == code).sum()) for code, name in NO_EXPRESSION.items()}
    table = table[table["label"] >= 0]
    if table.empty:
        raise InputError(f"expected images with an expression in AffectNet at {root}, found none; restore its lists")
    boxes = [name for name in table if name.startswith("box_")]
    if boxes and (table[boxes] % 1 == 0).all(axis=None):
        table = table.astype(dict.fromkeys(boxes, np.int64))
    table = table.assign(**{name: table[name].replace(-2, np.nan) for name in _AFFECT})
    return to_manifest(table, lists, check_images, on_bad_image)


def _has_list(folder: Path) -> bool:
    return any(os.path.isfile(folder / name) for name in LISTS.values())


def _read_csv_release(root: Path, folder: Path) -> tuple[pd.DataFrame, dict[str, Path]]:
    lists = {split: folder / name for split, name in LISTS.items()}
    for path in lists.values():
        if not os.path.isfile(path):
            raise InputError(f"expected {' and '.join(LISTS.values())} in {folder}, found no {path.name}; restore it")
    tables = [_read_list(path, split) for split, path in lists.items()]
    table = pd.concat(tables, ignore_index=True)
    expressive = table[table["expression"] < min(NO_EXPRESSION)]
    twice = expressive[expressive["image"].duplicated()]
    if len(twice):
        split, row, image = twice[["split", "row", "image"]].iloc[0]
        raise InputError(
            f"{lists[split]} row {row}: expected every image in one list, found {image!r} in {LISTS['train']} as well "
            f"(and {len(twice) - 1} more such rows); keep the right one"
        )
    images = _find_images(root, table["image"].iloc[:20].tolist())
    table.attrs = {"dataset": "affectnet", "release": "csv", "root": str(images.resolve())}
    return table, lists


def _read_list(path: Path, split: str) -> pd.DataFrame:
    text = read_columns(path, _WANTED, headerless=_COLUMNS)
    codes = to_numbers(text["expression"], path, _CODE)
    check_rows(np.isin(codes, range(11)), text["expression"], path, _CODE)
    expressive = codes < min(NO_EXPRESSION)
    names = text[_PATH].str.strip()
    check_names(names, path)
    check_once(names[expressive], path)
    table = pd.DataFrame({"image": names, "label": -1, "split": split, "row": text.index, "expression": codes})
    for name in (*_BOX, *_AFFECT):
        # Only where they count: some copies have no numbers in the rows without an expression.
        texts, expected = text.loc[expressive, name], f"a number in {name}"
        numbers = to_numbers(texts, path, expected)
        check_rows(np.abs(numbers) < 1e9, texts, path, expected)
        table.loc[expressive, name.replace("face_", "box_")] = numbers
    return table


def _find_images(root: Path, images: list[str]) -> Path:
    """The folder below `root` in which any of these images stands; where the images are not there, its usual name."""
    folders = [root / IMAGES, *sorted(root.glob("Manually_Annotated*")), *sorted(root.glob("Manually_Annotated*/*"))]
    return next((f for f in (*folders, root) if any(os.path.exists(f / image) for image in images)), folders[0])
