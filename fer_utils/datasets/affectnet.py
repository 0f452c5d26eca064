"""AffectNet in either release: lists of images with boxes (CSV), or cropped faces (npy)."""

import io
import os
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from fer_utils.core import InputError, check_choice, to_labels
from fer_utils.datasets.folders import no_dataset
from fer_utils.datasets.lists import (
    IMAGE_ENDINGS,
    ON_BAD_IMAGE,
    check_names,
    check_once,
    check_rows,
    read_columns,
    to_manifest,
    to_numbers,
)
from fer_utils.datasets.pixel_rows import bad_row

LISTS = {"train": "training.csv", "validation": "validation.csv"}
FOLDERS = {"train": "train_set", "validation": "val_set"}
NO_EXPRESSION = {8: "none", 9: "uncertain", 10: "no face"}
_PATH = "subDirectory_filePath"
_BOX = ("face_x", "face_y", "face_width", "face_height")
_AFFECT = {"valence": "_val.npy", "arousal": "_aro.npy"}
_COLUMNS = (_PATH, *_BOX, "facial_landmarks", "expression", *_AFFECT)
_CODE = "an expression, a whole number from 0 to 10"
_dtypes: dict[bytes, np.dtype] = {}  # by a file's header: few, and slow to read


def read_affectnet(root, check_images: bool = True, on_bad_image: str = "raise") -> pd.DataFrame:
    """AffectNet's manually annotated images; which release it is, the content tells.

    Images of the expressions 8 to 10 (`NO_EXPRESSION`) are left out. There are no test labels to be
    had: results on AffectNet are on its validation images, as `official` makes them the test.

    Args:
        root: the folder of `training.csv` and `validation.csv` (or above
            `Manually_Annotated_file_lists/`) with the images, or of `train_set/` and `val_set/`.

    Returns:
        Manifest in the order of the lists, with `valence` and `arousal` (−1 … 1, NaN if not given)
        and, of the CSV release, the boxes as listed, outside the image or not. In its attrs
        `release` ("csv" or "npy") and `dropped`, images left out by expression.
    """
    check_choice("on_bad_image", on_bad_image, ON_BAD_IMAGE)
    root = Path(root)
    folders = [root, root / "Manually_Annotated_file_lists"]
    folder = next((folder for folder in folders if _has(folder, LISTS, os.path.isfile)), None)
    if folder is not None:
        table, lists = _read_csv(root, folder)
    elif _has(root, FOLDERS, os.path.isdir):
        table, lists = _read_npy(root), {}
    else:
        names = f"{' and '.join(LISTS.values())}, or {' and '.join(FOLDERS.values())}"
        raise no_dataset(f"AffectNet ({names})", root, "affectnet")
    codes = table.pop("expression")
    table["label"] = to_labels(codes.tolist(), "affectnet")
    dropped = {name: int((codes == code).sum()) for code, name in NO_EXPRESSION.items()}
    table.attrs["dropped"] = dropped
    table = table[table["label"] >= 0]
    if table.empty:
        raise InputError(f"expected images with an expression at {root}, found none; restore them")
    boxes = [name for name in table if name.startswith("box_")]
    if boxes and (table[boxes] % 1 == 0).all(axis=None):
        table = table.astype(dict.fromkeys(boxes, np.int64))
    table = table.assign(**{name: table[name].replace(-2, np.nan) for name in _AFFECT})
    return to_manifest(table, lists, check_images, on_bad_image)


def _has(folder: Path, names: dict, kind) -> bool:
    return any(kind(folder / name) for name in names.values())


def _read_csv(root: Path, folder: Path) -> tuple[pd.DataFrame, dict[str, Path]]:
    lists = {split: folder / name for split, name in LISTS.items()}
    for path in lists.values():
        if not os.path.isfile(path):
            names = " and ".join(LISTS.values())
            raise InputError(f"expected {names} in {folder}, found no {path.name}; restore it")
    tables = [_read_list(path, split) for split, path in lists.items()]
    table = pd.concat(tables, ignore_index=True)
    expressive = table[table["expression"] < min(NO_EXPRESSION)]
    twice = expressive[expressive["image"].duplicated()]
    if len(twice):
        split, row, image = twice[["split", "row", "image"]].iloc[0]
        found = f"{image!r} in {LISTS['train']} as well (and {len(twice) - 1} more such rows)"
        raise bad_row(lists[split], row, "every image in one list", found)
    images = _find_images(root, table["image"].iloc[:20].tolist())
    table.attrs = {"dataset": "affectnet", "release": "csv", "root": str(images.resolve())}
    return table, lists


def _read_list(path: Path, split: str) -> pd.DataFrame:
    wanted = [name for name in _COLUMNS if name != "facial_landmarks"]
    text = read_columns(path, wanted, headerless=_COLUMNS)
    codes = to_numbers(text["expression"], path, _CODE)
    check_rows(np.isin(codes, range(11)), text["expression"], path, _CODE)
    expressive = codes < min(NO_EXPRESSION)
    names = text[_PATH].str.strip()
    check_names(names, path)
    check_once(names[expressive], path)
    table = pd.DataFrame({"image": names, "label": -1, "split": split, "row": text.index})
    table["expression"] = codes
    for name in (*_BOX, *_AFFECT):
        # Only where they count: some copies have no numbers in the rows without an expression.
        texts, expected = text.loc[expressive, name], f"a number in {name}"
        numbers = to_numbers(texts, path, expected)
        check_rows(np.abs(numbers) < 1e9, texts, path, expected)
        table.loc[expressive, name.replace("face_", "box_")] = numbers
    return table


def _find_images(root: Path, images: list[str]) -> Path:
    """The folder in which any of these images stands; its usual name if there is none."""
    folders = [root / "Manually_Annotated_Images"]
    for pattern in ("Manually_Annotated*", "Manually_Annotated*/*"):
        folders += sorted(root.glob(pattern))
    for folder in (*folders, root):
        if any(os.path.exists(folder / image) for image in images):
            return folder
    return folders[0]


def _read_npy(root: Path) -> pd.DataFrame:
    tables = [_read_split(root / folder, split) for split, folder in FOLDERS.items()]
    table = pd.concat(tables, ignore_index=True)
    table.attrs = {"dataset": "affectnet", "release": "npy", "root": str(root.resolve())}
    return table


def _read_split(folder: Path, split: str) -> pd.DataFrame:
    annotations, images = folder / "annotations", _list_faces(folder / "images")
    if not os.path.isdir(annotations):
        raise InputError(f"expected a folder {annotations}, found none; restore it")
    listed = {*os.listdir(annotations)}
    names = [file.removesuffix("_exp.npy") for file in listed if file.endswith("_exp.npy")]
    names.sort(key=lambda name: (len(name), name))  # 9 before 10
    if not names:
        raise InputError(f"expected files N_exp.npy in {annotations}, found none; restore them")
    unlabelled = images.keys() - {*names}
    if unlabelled:
        name = min(unlabelled)
        found = f"no {annotations / name}_exp.npy for {images[name]}"
        raise InputError(
            f"expected a label of every image, found {found} (and {len(unlabelled) - 1} more)"
        )
    codes, affect = [], {name: [] for name in _AFFECT}
    title = f"{folder.name} annotations"
    for name in tqdm(names, desc=title, disable=None, delay=1, leave=False):
        path = f"{annotations}{os.sep}{name}"
        codes.append(_read_number(f"{path}_exp.npy", _CODE))
        if codes[-1] not in range(11):
            raise InputError(f"{path}_exp.npy: expected {_CODE}, found {codes[-1]}; mend that file")
        for column, ending in _AFFECT.items():
            given = name + ending in listed
            affect[column].append(_read_number(path + ending, "a number") if given else np.nan)
    paths = [f"{folder.name}/images/{images.get(name, f'{name}.jpg')}" for name in names]
    return pd.DataFrame({"image": paths, "label": -1, "split": split, "expression": codes} | affect)


def _list_faces(folder: Path) -> dict[str, str]:
    """Number → file name of every image; nothing where the images are not there."""
    faces = {}
    for file in sorted(os.listdir(folder)) if os.path.isdir(folder) else ():
        name, ending = os.path.splitext(file)
        if ending.lower() in IMAGE_ENDINGS and not file.startswith("."):
            if name in faces:
                found = f"{faces[name]} and {file}; keep the right one"
                raise InputError(f"expected one image a number in {folder}, found {found}")
            faces[name] = file
    return faces


def _read_number(path: str, expected: str) -> float:
    """The one number in a `.npy` file, whatever its type and shape."""
    try:
        with open(path, "rb", buffering=0) as file:
            data = file.read()
        end = 10 + int.from_bytes(data[8:10], "little")  # of the header, in the format's version 1
        dtype = _dtypes.get(data[:end])
        if dtype is not None:
            return float(np.frombuffer(data, dtype, count=1, offset=end)[0])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of files that Python 2 wrote
            array = np.load(io.BytesIO(data), allow_pickle=False)
        number = float(array.item())
        if data[6] == 1:
            _dtypes[data[:end]] = array.dtype
        return number
    except Exception as error:  # NumPy raises whatever a stranger's bytes lead it to
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        found = f"a file without it ({reason}); restore it"
        raise InputError(f"{path}: expected {expected}, found {found}") from error
