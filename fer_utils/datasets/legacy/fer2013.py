"""FER2013: one CSV of labels and pixels, as Kaggle and the ICML 2013 challenge give it."""

import os
from pathlib import Path

import pandas as pd

from fer_utils.datasets.legacy.checking import ON_BAD_IMAGE, to_manifest
from fer_utils.datasets.legacy.csv_rows import check_rows, to_numbers
from fer_utils.datasets.legacy.pixel_rows import PixelRows
from fer_utils.datasets.legacy.recognition import found_instead
from fer_utils.core import InputError, check_choice
from fer_utils.core import to_labels

FILES = ("fer2013.csv", "icml_face_data.csv")
USAGES = {"Training": "train", "PublicTest": "validation", "PrivateTest": "test"}
_CODES = range(7)


def read_fer2013(root, check_images: bool = True, on_bad_image: str = "raise") -> pd.DataFrame:
    """Read FER2013 to a manifest: 28,709 training, 3,589 validation (`PublicTest`) and 3,589 test images.

    Nothing shows contempt: class 7 has no image. An entry of `image` is the row in the CSV, from 0, where
    `fer_utils.datasets.load_images` and `FaceDataset` read the pixels; nothing is unpacked. FER+ counts rows the same.

    Args:
        root: the folder of `fer2013.csv` or `icml_face_data.csv` (the first is taken), or the folder above `fer2013/`.
        check_images: read every row's pixels; False reads labels and usages alone.
        on_bad_image: ``"raise"`` an error for a row whose pixels cannot be read, or ``"skip"`` it.

    Returns:
        Manifest in the order of the rows. In its attrs, `pixels` (the name of the CSV in `root`) and, if
        `check_images`, `bad_images`.

    Raises:
        InputError: if `root` is another dataset or holds only Kaggle's `train.csv` and `test.csv`; for a missing
            column, a label that is no number from 0 to 6, an unknown usage, or a row whose pixels cannot be read.

    Example:
        >>> read_fer2013("nowhere")
        Traceback (most recent call last):
        fer_utils.errors.InputError: expected FER2013 (fer2013.csv or icml_face_data.csv) at nowhere, found no such \
folder; check the path
    """
    # Not through torchvision.datasets.FER2013: it wants a folder called fer2013, accepts two exact files by their MD5
    # alone, makes one test split of the two, imports torch and keeps every pixel as a Python number on the way.
    check_choice("on_bad_image", on_bad_image, ON_BAD_IMAGE)
    path = _find_file(Path(root))
    faces = PixelRows(path)
    emotions = pd.Series(faces.emotions, index=faces.rows, dtype=object)
    expected = f"an emotion, a whole number from {_CODES[0]} to {_CODES[-1]}"
    codes = to_numbers(emotions, path, expected)
    check_rows(pd.Series(codes).isin(_CODES).to_numpy(), emotions, path, expected)
    usages = pd.Series(faces.usages, index=faces.rows, dtype=object)
    check_rows(usages.isin(USAGES).to_numpy(), usages, path, f"the usage {', '.join(USAGES)}")

    splits = usages.map(USAGES).to_numpy()
    table = pd.DataFrame({"image": range(len(faces)), "label": to_labels(codes, "fer2013"), "split": splits})
    table.attrs = {"dataset": "fer2013", "root": str(path.parent.resolve()), "pixels": path.name}
    return to_manifest(table, {}, check_images, on_bad_image)


def _find_file(root: Path) -> Path:
    for path in (folder / name for folder in (root, root / "fer2013") for name in FILES):
        if os.path.isfile(path):
            return path
    found = found_instead(root, "fer2013")
    if os.path.isfile(root / "test.csv"):
        found = "Kaggle's test.csv, which has no labels; take fer2013.csv or icml_face_data.csv, which have all"
    raise InputError(f"expected FER2013 ({' or '.join(FILES)}) at {root}, found {found}")
