"""AffectNet in either release: lists of images with boxes (CSV), or cropped faces (npy)."""

import functools
import io
import os
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from fer_utils.core import InputError, one_line, raster, require, to_labels
from fer_utils.datasets.folders import no_dataset
from fer_utils.datasets.images import is_image, to_manifest
from fer_utils.datasets.manifest import check_names, read_columns, to_numbers

LISTS = {"train": "training.csv", "validation": "validation.csv"}
FOLDERS = {"train": "train_set", "validation": "val_set"}
NO_EXPRESSION = {8: "none", 9: "uncertain", 10: "no face"}
_PATH = "subDirectory_filePath"
_BOX = ("face_x", "face_y", "face_width", "face_height")
_AFFECT = {"valence": "_val.npy", "arousal": "_aro.npy"}
_COLUMNS = (_PATH, *_BOX, "facial_landmarks", "expression", *_AFFECT)


def read_affectnet(root, check_images: bool = True, on_bad_image: str = "raise") -> pd.DataFrame:
    """AffectNet's manually annotated images; which release it is, the content tells.

    Images of the expressions 8 to 10 (`NO_EXPRESSION`) are left out. There are no test labels to be
    had: results on AffectNet are on its validation images, as `official` makes them the test.

    Args:
        root: the folder of `training.csv` and `validation.csv` (or above
            `Manually_Annotated_file_lists/`) with the images, or of `train_set/` and `val_set/`.

    Returns:
        Manifest with `valence` and `arousal` (−1 … 1, NaN if not given) and, of the CSV release,
        the boxes as listed, outside the image or not. In its attrs `release` ("csv" or "npy") and
        `dropped`, images left out by expression.
    """
    root = Path(root)
    folders = [root, root / "Manually_Annotated_file_lists"]
    files = [folder / name for folder in folders for name in LISTS.values()]
    lists = next(filter(os.path.isfile, files), None)
    if lists is not None:
        table, release = _read_csv(lists.parent), "csv"
        images = _find_images(root, table["image"].iloc[:20].tolist())
    elif any(os.path.isdir(root / name) for name in FOLDERS.values()):
        tables = [_read_npy(root / name, split) for split, name in FOLDERS.items()]
        table, release, images = pd.concat(tables, ignore_index=True), "npy", root
    else:
        names = f"{' and '.join(LISTS.values())}, or {' and '.join(FOLDERS.values())}"
        raise no_dataset(f"AffectNet ({names})", root, "affectnet")
    codes = table.pop("expression")
    table.insert(1, "label", to_labels(codes, "affectnet"))
    table = table[table["label"] >= 0]
    require(len(table), f"images with an expression at {root}", "none; restore them")
    boxes = [name for name in raster.BOX_COLUMNS if name in table]
    if boxes and (table[boxes] % 1 == 0).all(axis=None):
        table = table.astype(dict.fromkeys(boxes, np.int64))
    table = table.assign(**{name: table[name].replace(-2, np.nan) for name in _AFFECT})
    dropped = {name: int((codes == code).sum()) for code, name in NO_EXPRESSION.items()}
    table.attrs = {"dataset": "affectnet", "root": str(images.resolve())}
    table.attrs |= {"release": release, "dropped": dropped}
    return to_manifest(table, check_images, on_bad_image)


def _read_csv(folder: Path) -> pd.DataFrame:
    wanted, texts = [name for name in _COLUMNS if name != "facial_landmarks"], []
    for split, name in LISTS.items():
        both, there = " and ".join(LISTS.values()), os.path.isfile(folder / name)
        require(there, f"{both} in {folder}", f"no {name}; restore it")
        texts.append(read_columns(folder / name, _COLUMNS, wanted).assign(split=split))
    text = pd.concat(texts)
    codes = to_numbers(text["expression"], "an expression", 0, 10)
    expressive = codes < min(NO_EXPRESSION)  # some copies have no numbers in the other rows
    check_names(text[_PATH], once=False)
    check_names(text.loc[expressive, _PATH])
    table = pd.DataFrame({"image": text[_PATH], "split": text["split"], "expression": codes})
    for name in (*_BOX, *_AFFECT):
        numbers = to_numbers(text.loc[expressive, name], name, -(10**6), 10**6, whole=False)
        table.loc[expressive, name.replace("face_", "box_")] = numbers
    return table


def _find_images(root: Path, images: list[str]) -> Path:
    usual = root / "Manually_Annotated_Images"
    globs = (root.glob("Manually_Annotated*"), root.glob("Manually_Annotated*/*"))
    for folder in (usual, *(folder for found in globs for folder in sorted(found)), root):
        if any(os.path.exists(folder / image) for image in images):
            return folder
    return usual


def _read_npy(folder: Path, split: str) -> pd.DataFrame:
    annotations, images = folder / "annotations", _list_faces(folder / "images")
    require(os.path.isdir(annotations), f"a folder {annotations}", "none; restore it")
    files = [file for file in os.listdir(annotations) if file.endswith("_exp.npy")]
    names = [file.removesuffix("_exp.npy") for file in files]
    names.sort(key=lambda name: (len(name), name))  # 9 before 10
    require(names, f"files N_exp.npy in {annotations}", "none; restore them")
    unlabelled = sorted(images.keys() - {*names})
    if unlabelled:
        first, more = unlabelled[0], f"(and {len(unlabelled) - 1} more)"
        found = f"no {annotations / first}_exp.npy for {images[first]} {more}"
        raise InputError(f"expected a label of every image, found {found}")
    columns = {}
    for column, ending in {"expression": "_exp.npy", **_AFFECT}.items():
        bar = tqdm(names, desc=f"{folder.name} {column}", disable=None, delay=1, leave=False)
        columns[column] = [_read_number(f"{annotations}/{name}{ending}", column) for name in bar]
    codes = pd.Series(columns["expression"], [f"{annotations / name}_exp.npy" for name in names])
    to_numbers(codes, "an expression", 0, 10)
    paths = [f"{folder.name}/images/{images.get(name, f'{name}.jpg')}" for name in names]
    return pd.DataFrame({"image": paths, "split": split, **columns})


def _list_faces(folder: Path) -> dict[str, str]:
    faces = {}
    for file in filter(is_image, sorted(os.listdir(folder)) if os.path.isdir(folder) else ()):
        name = os.path.splitext(file)[0]
        found = f"{faces.get(name)} and {file}; keep the right one"
        require(name not in faces, f"one image a number in {folder}", found)
        faces[name] = file
    return faces


def _read_number(path: str, what: str) -> float:
    """The one number in a `.npy` file, whatever its type and shape; NaN where there is no file."""
    try:
        with open(path, "rb", buffering=0) as file:
            return _parse_number(file.read())
    except FileNotFoundError:
        return np.nan
    except Exception as error:  # NumPy raises whatever a stranger's bytes lead it to
        found = f"a file without it ({one_line(error, 120)}); restore it"
        raise InputError(f"{path}: expected the {what}, one number, found {found}") from error


@functools.lru_cache(maxsize=1 << 16)  # most of 875,000 files hold the same few numbers
def _parse_number(data: bytes) -> float:
    with warnings.catch_warnings(action="ignore"):  # of files that Python 2 wrote
        return float(np.load(io.BytesIO(data), allow_pickle=False).item())
