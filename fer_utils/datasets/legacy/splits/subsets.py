"""Parts of splits, and parts of training held out for one's own question."""

import numpy as np
import pandas as pd

from fer_utils.datasets.legacy.manifest import SPLITS, class_counts
from fer_utils.core import InputError, check_choice
from fer_utils.core import NUM_CLASSES
from fer_utils.datasets.legacy.splits.attrs import with_attrs

MIN_PER_CLASS = 8


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
    return with_attrs(manifest[keep], manifest, subsamples=subsamples)


def without(manifest: pd.DataFrame, split: str) -> pd.DataFrame:
    """The manifest without one of its splits.

    >>> without(pd.DataFrame({"image": [0, 1], "split": ["train", "test"]}), "test")["split"].tolist()
    ['train']
    """
    rest = manifest[manifest["split"] != split].reset_index(drop=True)
    rest.attrs = manifest.attrs
    return rest


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
    return with_attrs(rows, manifest)


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
    return with_attrs(rows.assign(split=rows["split"].mask(held_out, "test")), manifest)


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
