"""Which images have a twin, exact or near, in which split, and whose label differs."""

import numpy as np
import pandas as pd

from fer_utils.audit.near import find_near_pairs, group_numbers
from fer_utils.datasets.manifest import SPLITS

# (split whose images are counted, split in which a twin of theirs stands), leaks first.
RELATIONS = (
    ("test", "train"),
    ("validation", "train"),
    ("test", "validation"),
    *((split, split) for split in SPLITS),
)


def find_near(images: pd.DataFrame, thumbnails: np.ndarray, workers: int | None = None) -> pd.DataFrame:
    """Near pairs among all images: found among the different pictures, then given to every copy of each.

    Args:
        images: `fer_utils.audit.images.measure_images`' table.
        thumbnails: uint8 (N, 32, 32), its second result.
        workers: threads; None takes one a core.

    Returns:
        DataFrame, a row a pair: the rows `first` < `second` of `images`, and `bits`, `correlation` and `mirrored` of
        `find_near_pairs`. Exact duplicates are no near pair; constant images have none.
    """
    usable = images[~images["unreadable"] & ~images["constant"]]
    picture = pd.Series(pd.factorize(usable["hash"])[0], index=usable.index)
    pairs = find_near_pairs(thumbnails[picture.drop_duplicates().index], workers)
    copies = picture[picture.isin(pairs[["first", "second"]].to_numpy().ravel())]
    copies = pd.DataFrame({"row": copies.index, "picture": copies.to_numpy()})
    for side in ("first", "second"):
        pairs = pairs.merge(copies.rename(columns={"row": f"{side}_row", "picture": side}), on=side)
    rows = np.sort(pairs[["first_row", "second_row"]].to_numpy(dtype=int), axis=1)  # (P, 2)
    pairs = pairs.assign(first=rows[:, 0], second=rows[:, 1])
    return pairs[["first", "second", "bits", "correlation", "mirrored"]].sort_values(
        ["first", "second"], ignore_index=True
    )


def twin_flags(images: pd.DataFrame, pairs: pd.DataFrame) -> tuple[dict, dict]:
    """For each split, which images have an exact twin there, and which only a near one.

    Args:
        images: a table with `hash` (empty where unreadable) and `split`.
        pairs: rows of `images` that are near pairs, `first` and `second`, by position.

    Returns:
        two dicts, split → bool array (N,). An image is no twin of itself, and one with an exact twin in a split is not
        counted as near there.

    Example:
        >>> images = pd.DataFrame({"hash": ["a", "b", "a"], "split": ["train", "train", "test"]})
        >>> exact, near = twin_flags(images, pd.DataFrame({"first": [1], "second": [2]}))
        >>> exact["train"].tolist(), near["train"].tolist(), near["test"].tolist()
        ([False, False, True], [False, False, False], [False, True, False])
    """
    hashes, splits = images["hash"], images["split"].to_numpy()
    exact, near = {}, {}
    for split in SPLITS:
        there = splits == split
        copies = hashes.map(hashes[there].value_counts()).fillna(0).to_numpy() - there  # others, not the image itself
        exact[split] = (copies > 0) & (hashes != "").to_numpy()
        close = np.zeros(len(images), bool)
        for one, other in (("first", "second"), ("second", "first")):
            close[pairs[one][there[pairs[other]]]] = True
        near[split] = close & ~exact[split]
    return exact, near


def group_twins(images: pd.DataFrame, pairs: pd.DataFrame) -> np.ndarray:
    """Number the groups that exact and near duplicates make together.

    Args:
        images, pairs: as in `twin_flags`.

    Returns:
        int64 array (N,), −1 for an image without a twin.

    Example:
        >>> images = pd.DataFrame({"hash": ["a", "b", "a", "c", "", ""]})
        >>> group_twins(images, pd.DataFrame({"first": [1], "second": [2]})).tolist()
        [0, 0, 0, -1, -1, -1]
    """
    rows = pd.Series(range(len(images)))
    heads = rows.groupby(images["hash"].to_numpy()).transform("first")  # the first copy stands for the picture
    readable = (images["hash"] != "").to_numpy()
    return group_numbers([*rows[readable], *pairs["first"]], [*heads[readable], *pairs["second"]], len(images))
