"""Duplicates across splits, and training free of them. Validation and test are never touched; no image is opened."""

import numpy as np
import pandas as pd

from fer_utils.datasets.legacy.manifest import SPLITS
from fer_utils.core import InputError
from fer_utils.datasets.legacy.splits.attrs import with_attrs


def count_duplicates(hashes, splits) -> dict[str, int]:
    """Count the images that stand, pixel for pixel, in another split as well.

    Args:
        hashes: sequence of N pixel hashes (`fer_utils.datasets.images.hash_images`), equal where the pixels are equal.
        splits: sequence of N split names, aligned with `hashes`.

    Returns:
        dict with `test_in_train`, `validation_in_train` and `test_in_validation`: how many images of the first split
        have at least one twin in the second. Every image counts, so two equal test images with a twin count twice.

    Raises:
        InputError: if the two sequences differ in length.

    Example:
        >>> count_duplicates(["a", "b", "a", "b", "c"], ["train", "train", "test", "validation", "test"])
        {'test_in_train': 1, 'validation_in_train': 1, 'test_in_validation': 0}
    """
    hashes, splits = _aligned(hashes, splits)
    held = {name: hashes[splits == name] for name in SPLITS}
    pairs = (("test", "train"), ("validation", "train"), ("test", "validation"))
    return {f"{one}_in_{other}": int(np.isin(held[one], held[other]).sum()) for one, other in pairs}


def find_training_leaks(hashes, splits) -> np.ndarray:
    """Find the training images whose pixels also stand in validation or test.

    Args:
        hashes: sequence of N pixel hashes.
        splits: sequence of N split names, aligned with `hashes`.

    Returns:
        bool array (N,), True for a training image with a twin in validation or test.

    Raises:
        InputError: if the two sequences differ in length.

    Example:
        >>> find_training_leaks(["a", "a", "b", "b"], ["train", "test", "train", "train"]).tolist()
        [True, False, False, False]
    """
    hashes, splits = _aligned(hashes, splits)
    return (splits == "train") & np.isin(hashes, hashes[np.isin(splits, ("validation", "test"))])


def remove_training_leaks(manifest: pd.DataFrame, hashes) -> pd.DataFrame:
    """Remove from training every image whose pixels also stand in validation or test; never touch those two.

    Rows with the label −1 (listed by the dataset, but dropped by its label rule) take part in the comparison: an image
    that stands in the test folder is no training image, whatever the taggers said of it. They are not counted as
    removed, so that `leaks_removed` is the number of images that training really loses.

    Args:
        manifest: a manifest, or a table on its way to one.
        hashes: pixel hash of each row.

    Returns:
        A new manifest with a RangeIndex; in its attrs `leaks_removed` (int) and `duplicates` (`count_duplicates`).

    Raises:
        InputError: if there is not one hash for each row.

    Example:
        >>> import pandas as pd
        >>> manifest = pd.DataFrame({"image": list("abc"), "label": [0, 0, 1], "split": ["train", "train", "test"]})
        >>> clean = remove_training_leaks(manifest, ["x", "y", "y"])
        >>> clean["image"].tolist(), clean.attrs["leaks_removed"]
        (['a', 'c'], 1)
    """
    splits = manifest["split"]
    leaked = find_training_leaks(hashes, splits)
    return with_attrs(
        manifest[~leaked],
        manifest,
        leaks_removed=int((leaked & (manifest["label"] >= 0).to_numpy()).sum()),
        duplicates=count_duplicates(hashes, splits),
    )


def remove_near_leaks(manifest: pd.DataFrame, pairs: pd.DataFrame) -> pd.DataFrame:
    """Remove from training every near-duplicate of a validation or test image; never touch those two.

    Args:
        manifest: a manifest. Its own splits count, whatever they were when the pairs were found; for images that it
            does not list (dropped by a label rule), those noted with the pairs.
        pairs: near-duplicates, `fer_utils.audit.Audit.near`: `first`, `second` (entries of the column `image`),
            `first_split`, `second_split`.

    Returns:
        A new manifest with a RangeIndex; `near_leaks_removed` (int) in its attrs.

    Raises:
        InputError: if `pairs` lacks a column.

    Example:
        >>> import pandas as pd
        >>> manifest = pd.DataFrame({"image": list("abc"), "label": 0, "split": ["train", "train", "test"]})
        >>> pair = {"first": ["b"], "second": ["c"], "first_split": ["train"], "second_split": ["test"]}
        >>> remove_near_leaks(manifest, pd.DataFrame(pair))["image"].tolist()
        ['a', 'c']
    """
    columns = ["first", "second", "first_split", "second_split"]
    if not set(columns) <= set(pairs):
        raise InputError(
            f"expected pairs with the columns {', '.join(columns)}, found {', '.join(map(str, pairs))}; "
            "take those of fer_utils.audit.audit(manifest).near"
        )
    current = manifest.drop_duplicates("image").set_index("image")["split"]
    leaked = set()
    for one, other in (("first", "second"), ("second", "first")):
        splits = pairs[other].map(current).fillna(pairs[f"{other}_split"])
        leaked |= {*pairs[one][splits.isin(("validation", "test"))]}
    removed = (manifest["split"] == "train") & manifest["image"].isin(leaked)
    return with_attrs(manifest[~removed], manifest, near_leaks_removed=int(removed.sum()))


def _aligned(hashes, splits) -> tuple[np.ndarray, np.ndarray]:
    hashes, splits = np.asarray(hashes), np.asarray(splits, dtype=object)
    if len(hashes) != len(splits):
        raise InputError(
            f"expected one pixel hash for each of {len(splits)} rows, found {len(hashes)}; hash the same manifest"
        )
    return pd.factorize(hashes)[0], splits  # numbers, which np.isin sorts; texts it would compare one with all
