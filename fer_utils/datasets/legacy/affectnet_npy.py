"""AffectNet's npy release: cropped faces, and beside them a little `.npy` file for each number about each face."""

import io
import os
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from fer_utils.datasets.legacy.listing import IMAGE_ENDINGS
from fer_utils.core import InputError

FOLDERS = {"train": "train_set", "validation": "val_set"}
_EXPRESSION, _AFFECT = "_exp.npy", {"valence": "_val.npy", "arousal": "_aro.npy"}
_dtypes: dict[bytes, np.dtype] = {}  # by a file's header: there are few, and NumPy takes 50 µs to read one


def read_annotations(root: Path, expected: str) -> pd.DataFrame:
    """All faces with their numbers: a table like a manifest, with `expression` (0–10), `valence` and `arousal`.

    Args:
        root: the folder that holds `train_set/` and `val_set/`.
        expected: what an expression is, for the error about one that is none.

    Raises:
        InputError: for a missing folder, no annotation, an image without one, two images of one number, or a file that
            does not hold one number.
    """
    tables = [_read_split(root / folder, split, expected) for split, folder in FOLDERS.items()]
    table = pd.concat(tables, ignore_index=True)
    table.attrs = {"dataset": "affectnet", "release": "npy", "root": str(root.resolve())}
    return table


def _read_split(folder: Path, split: str, expected: str) -> pd.DataFrame:
    annotations, images = folder / "annotations", _list_faces(folder / "images")
    if not os.path.isdir(annotations):
        raise InputError(f"expected AffectNet's annotations in {annotations}, found no such folder; restore it")
    listed = {*os.listdir(annotations)}
    names = [file.removesuffix(_EXPRESSION) for file in listed if file.endswith(_EXPRESSION)]
    names.sort(key=lambda name: (len(name), name))  # 9 before 10
    if not names:
        raise InputError(f"expected files N{_EXPRESSION} in {annotations}, found none; restore them")
    unlabelled = images.keys() - {*names}
    if unlabelled:
        name = min(unlabelled)
        raise InputError(
            f"expected a label of every image, found no {annotations / name}{_EXPRESSION} for {images[name]} "
            f"(and {len(unlabelled) - 1} more such images); restore it or take the image away"
        )
    codes, affect = [], {name: [] for name in _AFFECT}
    for name in tqdm(names, desc=f"{folder.name} annotations", disable=None, delay=1, leave=False):
        codes.append(_read_number(annotations, name + _EXPRESSION, expected))
        if codes[-1] not in range(11):
            path = annotations / f"{name}{_EXPRESSION}"
            raise InputError(f"{path}: expected {expected}, found {codes[-1]}; mend that file")
        for column, ending in _AFFECT.items():
            file = name + ending
            affect[column].append(_read_number(annotations, file, "a number") if file in listed else np.nan)
    paths = [f"{folder.name}/images/{images.get(name, f'{name}.jpg')}" for name in names]
    return pd.DataFrame({"image": paths, "label": -1, "split": split, "expression": codes} | affect)


def _list_faces(folder: Path) -> dict[str, str]:
    """Number → file name of every image; nothing where the images are not there."""
    faces = {}
    for file in sorted(os.listdir(folder)) if os.path.isdir(folder) else ():
        name, ending = os.path.splitext(file)
        if ending.lower() in IMAGE_ENDINGS and not file.startswith("."):
            if name in faces:
                raise InputError(
                    f"expected one image a number in {folder}, found {faces[name]} and {file}; keep the right one"
                )
            faces[name] = file
    return faces


def _read_number(folder: Path, file: str, expected: str) -> float:
    """The one number in a `.npy` file, whatever its type and shape."""
    path = f"{folder}{os.sep}{file}"
    try:
        with open(path, "rb", buffering=0) as opened:
            data = opened.read()
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
        raise InputError(f"{path}: expected {expected}, found a file without it ({reason}); restore it") from error
