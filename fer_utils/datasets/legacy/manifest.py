"""The manifest: one pandas DataFrame per dataset, a row an image. Every reader returns one, everything else takes one.

Columns `image` (path relative to ``attrs["root"]``, or an integer for drawn faces), `label` (0–7, the order of
`fer_utils.expressions.EXPRESSIONS`; −1 throughout a dataset of people, whose expressions nobody noted), `split` (one of
`SPLITS`), and where the source has them `subject`, `box_x`, `box_y`, `box_width`, `box_height` and `votes_neutral` …
`votes_contempt`; where the reader opened the images, `fingerprint` (of the decoded pixels: equal where these are).
``manifest.attrs`` is a JSON-serialisable dict that says where the images are and how the manifest came about.
"""

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd

from fer_utils.core import InputError, check_choice
from fer_utils.core import EXPRESSIONS, NUM_CLASSES
from fer_utils.core import atomic_write as replaced

SPLITS = ("train", "validation", "test")
REQUIRED_COLUMNS = ("image", "label", "split")


def check_manifest(manifest: pd.DataFrame) -> pd.DataFrame:
    """Return `manifest` unchanged if it is a usable manifest.

    Args:
        manifest: DataFrame with at least the columns of `REQUIRED_COLUMNS`.

    Returns:
        The same object.

    Raises:
        InputError: for something that is no DataFrame, a missing column, no rows, a label that is not a whole number
            from 0 to 7 (or −1 in every row, with a `subject`) or a split name not in `SPLITS` (the first such row is
            named, counted from 0).

    Example:
        >>> import pandas as pd
        >>> check_manifest(pd.DataFrame({"image": ["a.png"], "label": [8], "split": ["train"]}))
        Traceback (most recent call last):
        fer_utils.errors.InputError: manifest row 0 (image 'a.png'): expected a label from 0 to 7, found 8; map the \
dataset's own codes with fer_utils.expressions.to_labels and drop what is no expression
    """
    if not isinstance(manifest, pd.DataFrame):
        raise InputError(
            f"expected a manifest (a pandas DataFrame), found {type(manifest).__name__}; a reader makes one"
        )
    missing = [column for column in REQUIRED_COLUMNS if column not in manifest.columns]
    if missing:
        raise InputError(
            f"expected a manifest with the columns {', '.join(REQUIRED_COLUMNS)}, found none named "
            f"{', '.join(missing)}; rename or add what is missing"
        )
    if len(manifest) == 0:
        raise InputError("expected a manifest with at least one row, found none; check what it was filtered by")

    labels = pd.to_numeric(manifest["label"], errors="coerce").to_numpy(dtype=float, na_value=np.nan)
    people_only = "subject" in manifest and (labels == -1).all()
    row = _first(~np.isin(labels, np.arange(NUM_CLASSES)))
    if row is not None and not people_only:
        raise InputError(
            f"{_name(manifest, row)}: expected a label from 0 to {NUM_CLASSES - 1}, found "
            f"{manifest['label'].iloc[row]}; map the dataset's own codes with fer_utils.expressions.to_labels and "
            "drop what is no expression"
        )
    row = _first(~manifest["split"].isin(SPLITS).to_numpy())
    if row is not None:
        raise InputError(
            f"{_name(manifest, row)}: expected the split {', '.join(SPLITS[:-1])} or {SPLITS[-1]}, found "
            f"{manifest['split'].iloc[row]!r}; rename it"
        )
    return manifest


def class_counts(manifest: pd.DataFrame, split: str = "train") -> np.ndarray:
    """Number of images of each class in one split.

    Args:
        manifest: a manifest.
        split: one of `SPLITS`.

    Returns:
        int64 array (8,), in the order of `fer_utils.expressions.EXPRESSIONS`; 0 for a class that is absent.

    Raises:
        InputError: for an unknown split name or an unusable manifest.

    Example:
        >>> import pandas as pd
        >>> manifest = pd.DataFrame({"image": range(4), "label": [0, 1, 1, 7], "split": ["train"] * 3 + ["test"]})
        >>> class_counts(manifest).tolist()
        [1, 2, 0, 0, 0, 0, 0, 0]
    """
    check_choice("split", split, SPLITS)
    check_manifest(manifest)
    labels = manifest["label"].to_numpy()[(manifest["split"] == split).to_numpy()]
    return np.bincount(labels[labels >= 0].astype(np.int64), minlength=NUM_CLASSES).astype(np.int64)


def count_table(manifest: pd.DataFrame) -> pd.DataFrame:
    """Images of each class and split, as `counts.csv` holds them.

    Returns:
        DataFrame with the columns `split`, `expression` and `images`, a row each split and class.

    Example:
        >>> manifest = pd.DataFrame({"image": range(3), "label": [0, 0, 7], "split": "train"})
        >>> count_table(manifest).query("images > 0").values.tolist()
        [['train', 'neutral', 2], ['train', 'contempt', 1]]
    """
    return pd.DataFrame(
        {"split": split, "expression": name, "images": count}
        for split in SPLITS
        for name, count in zip(EXPRESSIONS, class_counts(manifest, split), strict=True)
    )


def sample_rows(manifest: pd.DataFrame, split: str, per_class: int, seed: int) -> pd.DataFrame:
    """Up to `per_class` random rows of each class of a split, class by class, for looking at.

    Example:
        >>> manifest = pd.DataFrame({"image": range(4), "label": [7, 0, 0, 0], "split": "train"})
        >>> sample_rows(manifest, "train", per_class=2, seed=0)["label"].tolist()
        [0, 0, 7]
    """
    check_choice("split", split, SPLITS)
    shuffled = manifest[manifest["split"] == split].sample(frac=1, random_state=seed)
    rows = shuffled.groupby("label").head(per_class).sort_values("label", kind="stable").reset_index(drop=True)
    rows.attrs = manifest.attrs
    return rows


def write_manifest(manifest: pd.DataFrame, path: str | os.PathLike) -> None:
    """Write a manifest with its attrs to a parquet file; an interrupted write leaves the former file as it was.

    Args:
        manifest: a manifest with JSON-serialisable attrs.
        path: file to write; its folder is made.

    Raises:
        InputError: for an unusable manifest.
        TypeError: for attrs that JSON cannot hold.

    Example:
        >>> import pandas as pd, tempfile
        >>> manifest = pd.DataFrame({"image": ["a.png"], "label": [3], "split": ["test"]})
        >>> manifest.attrs = {"dataset": "folder", "root": "/faces"}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_manifest(manifest, f"{folder}/manifest.parquet")
        ...     read_manifest(f"{folder}/manifest.parquet").attrs
        {'dataset': 'folder', 'root': '/faces'}
    """
    path = Path(path)
    check_manifest(manifest)
    json.dumps(manifest.attrs)  # raises where pyarrow would warn and write the rows without their attrs
    with replaced(path) as temporary:
        manifest.to_parquet(temporary, engine="pyarrow", index=False)


def read_manifest(path: str | os.PathLike) -> pd.DataFrame:
    """Read what `write_manifest` wrote, attrs included.

    Args:
        path: a parquet file.

    Returns:
        The manifest, with a RangeIndex.

    Raises:
        InputError: if the file is absent, is no parquet file or holds no manifest.

    Example:
        >>> read_manifest("nowhere.parquet")
        Traceback (most recent call last):
        fer_utils.errors.InputError: expected a manifest at nowhere.parquet, found no such file; check the path
    """
    if not Path(path).is_file():
        raise InputError(f"expected a manifest at {path}, found no such file; check the path")
    try:
        manifest = pd.read_parquet(path, engine="pyarrow")
    except (OSError, ValueError) as error:  # pyarrow's ArrowInvalid is a ValueError
        reason = str(error).splitlines()[0]
        raise InputError(
            f"expected a parquet file at {path}, found something else ({reason}); write it anew"
        ) from error
    return check_manifest(manifest)


def _first(wrong: np.ndarray) -> int | None:
    """Position of the first True, None where there is none."""
    return int(wrong.argmax()) if wrong.any() else None


def _name(manifest: pd.DataFrame, row: int) -> str:
    image = manifest["image"].iloc[row]
    return f"manifest row {row} (image {image if isinstance(image, (int, np.integer)) else repr(str(image))})"
