"""FER2013: one CSV of labels and pixels, as Kaggle and the ICML 2013 challenge give it."""

import os
from pathlib import Path

import pandas as pd

from fer_utils.core import InputError, check_choice, to_labels
from fer_utils.datasets.folders import no_dataset
from fer_utils.datasets.lists import ON_BAD_IMAGE, check_rows, to_manifest, to_numbers
from fer_utils.datasets.pixel_rows import pixel_rows

FILES = ("fer2013.csv", "icml_face_data.csv")
USAGES = {"Training": "train", "PublicTest": "validation", "PrivateTest": "test"}


def read_fer2013(root, check_images: bool = True, on_bad_image: str = "raise") -> pd.DataFrame:
    """FER2013: 28,709 training, 3,589 validation (`PublicTest`) and 3,589 test images.

    Nothing shows contempt. An entry of `image` is the row in the CSV, from 0, as FER+ counts them;
    pixels are read from there.

    Args:
        root: the folder of `fer2013.csv` or `icml_face_data.csv`, or the one above `fer2013/`.

    Returns:
        Manifest in the order of the rows; ``attrs["pixels"]`` names the CSV in `root`.
    """
    # Not torchvision's reader: it makes one test split of the two, takes two exact files alone,
    # and imports torch.
    check_choice("on_bad_image", on_bad_image, ON_BAD_IMAGE)
    path = _find_file(Path(root))
    faces = pixel_rows(path)
    emotions = pd.Series(faces.emotions, index=faces.rows, dtype=object)
    expected = "an emotion, a whole number from 0 to 6"
    codes = pd.Series(to_numbers(emotions, path, expected))
    check_rows(codes.isin(range(7)).to_numpy(), emotions, path, expected)
    usages = pd.Series(faces.usages, index=faces.rows, dtype=object)
    check_rows(usages.isin(USAGES).to_numpy(), usages, path, f"the usage {', '.join(USAGES)}")

    table = pd.DataFrame({"image": range(len(faces)), "label": to_labels(codes, "fer2013")})
    table["split"] = usages.map(USAGES).to_numpy()
    table.attrs = {"dataset": "fer2013", "root": str(path.parent.resolve()), "pixels": path.name}
    return to_manifest(table, {}, check_images, on_bad_image)


def _find_file(root: Path) -> Path:
    for path in (folder / name for folder in (root, root / "fer2013") for name in FILES):
        if os.path.isfile(path):
            return path
    expected = f"FER2013 ({' or '.join(FILES)})"
    if os.path.isfile(root / "test.csv"):
        raise InputError(f"expected {expected} at {root}, found Kaggle's test.csv without labels")
    raise no_dataset(expected, root, "fer2013")
