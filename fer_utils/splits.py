"""Hold-outs, exact duplicates across splits and training leaks. Works on manifests; opens no image."""

import copy

import numpy as np
import pandas as pd

from fer_utils.datasets.manifest import SPLITS, class_counts
from fer_utils.errors import InputError, check_choice
from fer_utils.expressions import NUM_CLASSES

MIN_PER_CLASS = 8


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
    return _with_attrs(
        manifest[~leaked],
        manifest,
        leaks_removed=int((leaked & (manifest["label"] >= 0).to_numpy()).sum()),
        duplicates=count_duplicates(hashes, splits),
    )


def subsample(manifest: pd.DataFrame, split: str, images: int, seed: int) -> pd.DataFrame:
    """Keep a class-preserving subset of one split; the others stay whole.

    Classes keep their proportions (largest remainder), except that none falls below `MIN_PER_CLASS` images, or below
    all it has, or, for a very small subset, below an equal share. For one seed each class is drawn from the same
    shuffled list, so the images of a class in a small subset are among those in a larger one.

    Args:
        manifest: a manifest.
        split: the split to thin out, one of `SPLITS`.
        images: how many images it shall keep, from the number of its classes to all it has.
        seed: draws the images; the same seed gives the same subset.

    Returns:
        A new manifest, rows in the former order, with a RangeIndex, and `attrs["subsamples"][split]` set.

    Raises:
        InputError: for an unknown split, fewer images than classes, or more than the split has.

    Example:
        >>> import pandas as pd
        >>> manifest = pd.DataFrame({"image": range(1010), "label": [1] * 1000 + [7] * 10, "split": "train"})
        >>> subset = subsample(manifest, "train", 108, seed=0)
        >>> subset["label"].value_counts().to_dict()
        {1: 100, 7: 8}
    """
    check_choice("split", split, SPLITS)
    counts = class_counts(manifest, split)
    present, available = int((counts > 0).sum()), int(counts.sum())
    if not max(present, 1) <= images <= available:
        raise InputError(
            f"expected a subset of {max(present, 1)} (an image of each class) to {available} (all there are) images of "
            f"the split {split!r}, found {images}; ask for a number in that range"
        )
    rows_in_split = (manifest["split"] == split).to_numpy()
    labels = manifest["label"].to_numpy()
    keep = ~rows_in_split
    for label, quota in enumerate(_quotas(counts, images)):
        rows = np.flatnonzero(rows_in_split & (labels == label))
        keep[np.random.default_rng([seed, label]).permutation(rows)[:quota]] = True
    subsamples = {**manifest.attrs.get("subsamples", {}), split: {"images": int(images), "seed": int(seed)}}
    return _with_attrs(manifest[keep], manifest, subsamples=subsamples)


def hold_out_within_subjects(manifest: pd.DataFrame, fraction: float, seed: int) -> pd.DataFrame:
    """Turn a share of every training subject's images into the validation split, for identification of known people.

    The manifest's own validation rows are dropped: their people are others. So are those of the test split, which stays
    for verification (`hold_out_subjects` makes one).

    Args:
        manifest: a manifest with `subject`.
        fraction: share of each subject's images, 0 to 1; rounded, and never all of them.
        seed: draws the images.

    Returns:
        A new manifest of the former training rows and the test rows. A subject with one image keeps it in training.

    Raises:
        InputError: without a `subject` column.

    Example:
        >>> import pandas as pd
        >>> manifest = pd.DataFrame({"image": range(20), "label": 0, "split": "train", "subject": [1] * 10 + [2] * 10})
        >>> hold_out_within_subjects(manifest, 0.1, seed=0).groupby(["subject", "split"]).size().tolist()
        [9, 1, 9, 1]
    """
    _check_subjects(manifest)
    rows = manifest[manifest["split"] != "validation"]
    shuffled = rows[rows["split"] == "train"].sample(frac=1, random_state=seed).groupby("subject")["image"]
    place, images = shuffled.cumcount(), shuffled.transform("size")
    held_out = place < (fraction * images).round().clip(upper=images - 1)
    rows = rows.assign(split=rows["split"].mask(held_out.reindex(rows.index, fill_value=False), "validation"))
    return _with_attrs(rows, manifest)


def hold_out_subjects(manifest: pd.DataFrame, fraction: float, seed: int) -> pd.DataFrame:
    """Turn a share of the training people, with all their images, into the test split, for verification of strangers.

    The share is drawn of the people with one image and of those with more, so that both splits keep the mixture; of the
    latter at least two are held out, without whom there is no pair to verify. The manifest's own test rows are dropped.

    Args:
        manifest: a manifest with `subject`.
        fraction: share of the people, between 0 and 1; rounded.
        seed: draws the people.

    Returns:
        A new manifest, rows in the former order: nobody of the test split is in training.

    Raises:
        InputError: without a `subject` column, for another fraction, with fewer than two people of two images or more,
            or if fewer than two people were left to train on.

    Example:
        >>> import pandas as pd
        >>> people = list("abcdefghij")
        >>> manifest = pd.DataFrame({"image": range(20), "label": -1, "split": "train", "subject": people * 2})
        >>> hold_out_subjects(manifest, 0.2, seed=0).groupby("split")["subject"].nunique().to_dict()
        {'test': 2, 'train': 8}
    """
    _check_subjects(manifest)
    if not 0 < fraction < 1:
        raise InputError(f"expected a share of the people between 0 and 1, found {fraction!r}; 0.1 holds out a tenth")
    rows = manifest[manifest["split"] != "test"]
    sizes = rows.loc[rows["split"] == "train", "subject"].value_counts().sort_index()
    several, single = sizes.index[sizes > 1], sizes.index[sizes == 1]
    people = []
    for group, least in ((several, 2), (single, 0)):
        number = max(round(fraction * len(group)), least)
        people += np.random.default_rng([seed, least]).permutation(group)[:number].tolist()
    if len(several) < 2 or len(sizes) - len(people) < 2:
        raise InputError(
            f"expected people enough to hold out two with two images or more and to train on two others, found "
            f"{len(sizes)}, {len(several)} of them with two images or more; take a larger dataset or hold out none"
        )
    held_out = (rows["split"] == "train") & rows["subject"].isin(people)
    return _with_attrs(rows.assign(split=rows["split"].mask(held_out, "test")), manifest)


def _check_subjects(manifest: pd.DataFrame) -> None:
    if "subject" not in manifest:
        raise InputError(
            f"expected a manifest with subjects, found the columns {', '.join(manifest)}; identities need a dataset "
            "that knows its people"
        )


def _quotas(counts: np.ndarray, images: int) -> list[int]:
    """How many images of each class a subset holds: largest remainder, with a floor; exact integer arithmetic."""
    counts = [int(count) for count in counts]
    share = images // sum(count > 0 for count in counts)
    floors = [min(count, MIN_PER_CLASS, share) for count in counts]
    # Raising a class to its floor leaves less for the rest, which may push another one below its own: hence the loop.
    free = set(range(NUM_CLASSES))
    while True:
        left = images - sum(floors[label] for label in range(NUM_CLASSES) if label not in free)
        total = sum(counts[label] for label in free)
        low = {label for label in free if counts[label] * left < floors[label] * total}
        if not low:
            break
        free -= low
    quotas = [counts[label] * left // total if label in free else floors[label] for label in range(NUM_CLASSES)]
    by_remainder = sorted(free, key=lambda label: (-(counts[label] * left % total), label))
    for label in by_remainder[: images - sum(quotas)]:
        quotas[label] += 1
    return quotas


def _aligned(hashes, splits) -> tuple[np.ndarray, np.ndarray]:
    hashes, splits = np.asarray(hashes), np.asarray(splits, dtype=object)
    if len(hashes) != len(splits):
        raise InputError(
            f"expected one pixel hash for each of {len(splits)} rows, found {len(hashes)}; hash the same manifest"
        )
    return hashes, splits


def _with_attrs(rows: pd.DataFrame, source: pd.DataFrame, **attrs) -> pd.DataFrame:
    """`rows` with a fresh index and `source`'s attrs, extended; deep copies, for pandas shares attrs between frames."""
    rows = rows.reset_index(drop=True)
    rows.attrs = {**copy.deepcopy(source.attrs), **attrs}
    return rows


def without(manifest: pd.DataFrame, split: str) -> pd.DataFrame:
    """The manifest without one of its splits.

    >>> without(pd.DataFrame({"image": [0, 1], "split": ["train", "test"]}), "test")["split"].tolist()
    ['train']
    """
    rest = manifest[manifest["split"] != split].reset_index(drop=True)
    rest.attrs = manifest.attrs
    return rest
