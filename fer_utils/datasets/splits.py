"""How a dataset's images are divided into training, validation and test.

Protocols draw from the images sorted by name: a seed gives the same split whatever the order of the
rows. Nobody's images (`subject`) are divided. ``attrs["protocol"]`` of the result says how. What is
too small to be divided so is an `InputError`.
"""

import numpy as np
import pandas as pd

from fer_utils.core import EXPRESSIONS, NUM_CLASSES, check_choice, require
from fer_utils.datasets.duplicates import connect, count_duplicates, find_groups
from fer_utils.datasets.manifest import SPLITS, check_manifest, class_counts
from fer_utils.datasets.synthetic import apportion

MIN_PER_CLASS = 8  # images that `subsample` leaves of a class, if there are so many


def paper_protocol(manifest: pd.DataFrame, seed: int, per_class: int = 500) -> pd.DataFrame:
    """The paper's: validation and test of equally many random images per class (Table 3).

    They are drawn from the dataset's training and validation images; all others train. A test
    split of its own is left out (`test_left_out` images): it is for `official`. With people of
    several images `per_class` is met as nearly as they allow.
    """
    manifest = check_manifest(manifest)
    some = isinstance(per_class, (int, np.integer)) and per_class >= 1
    require(some, "1 or more images per class", f"{per_class!r}; take 500")
    rows = manifest[manifest["split"] != "test"].reset_index(drop=True)
    counts = _label_counts(rows)
    short = np.flatnonzero((counts > 0) & (counts <= 2 * per_class))
    expected = f"more than {2 * per_class:,} images of each class, for validation and test"
    found = ", ".join(f"{counts[label]:,} of {EXPRESSIONS[label]}" for label in short)
    require(not len(short), expected, f"{found}; ask for fewer per_class")
    quota = np.where(counts > 0, per_class, 0)
    quotas = {"test": quota, "validation": quota, "train": counts - 2 * quota}
    rows["split"], left_out = _deal(rows, quotas, (seed,)), len(manifest) - len(rows)
    details = {"per_class": int(per_class), "test_left_out": left_out}
    return _protocol(rows, "paper", seed=int(seed), **details)


def official(manifest: pd.DataFrame, seed: int = 0, validation: float = 0.1) -> pd.DataFrame:
    """The dataset's own split, completed where it has but two parts.

    Without a test (AffectNet) its validation images become the test, as in all results on it. Then,
    or without a validation (RAF-DB), a share of every class of the training images becomes that.
    """
    manifest = check_manifest(manifest).reset_index(drop=True)
    require(0 < validation < 1, "a share for validation between 0 and 1", repr(validation))
    present = sorted(set(manifest["split"]), key=SPLITS.index)
    found = f"{', '.join(present)} alone; use paper_protocol or k_fold, which divide all images"
    divided = "train" in present and len(present) > 1
    require(divided, "a train split and validation or test", found)
    if len(present) == len(SPLITS):
        return _protocol(manifest, "official", drawn=None)
    manifest["split"] = manifest["split"].replace("validation", "test")
    _draw_validation(manifest, validation, (seed,))
    details = {"seed": int(seed), "validation": validation}
    return _protocol(manifest, "official", drawn="validation", **details)


def k_fold(
    manifest: pd.DataFrame, k: int, seed: int, validation: str = "next", groups=None
) -> list[pd.DataFrame]:
    """Stratified k-fold cross-validation over all images, whatever their split.

    Fold i tests on part i: each image is tested exactly once. Every class is spread over the parts
    as evenly as whole people and groups of duplicates, exact and near, allow.

    Validation is part i + 1 modulo k ("next"), or a tenth of every class of what is left ("inner").
    `groups`, numbers (N,) of what belongs together, −1 alone, become `duplicate_group`; None
    searches for duplicates.
    """
    check_choice("validation", validation, ("next", "inner"))
    manifest = check_manifest(manifest).reset_index(drop=True)
    counts = _label_counts(manifest)
    manifest["duplicate_group"] = find_groups(manifest)["group"] if groups is None else groups
    wholes = pd.Series(_wholes(manifest)).groupby(manifest["label"]).nunique()
    has = f"so many images, people or groups of duplicates {EXPRESSIONS[wholes.idxmin()]} has"
    fits = isinstance(k, (int, np.integer)) and 3 <= k <= wholes.min()
    require(fits, f"3 to {wholes.min()} folds ({has})", f"{k!r}; choose another k")
    labels = np.repeat(np.arange(NUM_CLASSES), counts)  # as if dealt in turn, class by class
    quotas = {part: np.bincount(labels[part::k], minlength=NUM_CLASSES) for part in range(k)}
    parts, folds = _deal(manifest, quotas, (seed,)), []
    for number in range(k):
        fold = manifest.assign(split="train")
        fold.loc[parts == number, "split"] = "test"
        if validation == "next":
            fold.loc[parts == (number + 1) % k, "split"] = "validation"
        else:
            _draw_validation(fold, 0.1, (seed, number))
        details = {"k": int(k), "fold": number, "seed": int(seed), "validation": validation}
        folds.append(_protocol(fold, "k_fold", **details))
    return folds


def remove_training_leaks(manifest: pd.DataFrame, near: bool = False) -> pd.DataFrame:
    """Remove from training every image that also stands in validation or test; never touch those.

    Rows with the label −1 (dropped by a label rule) are compared, but not counted: `leaks_removed`
    of the result's attrs is what training really loses; `duplicates` are `count_duplicates`. With
    `near` whole groups of near-duplicates go too (`find_groups`): then `near_leaks_removed`, and
    the column `duplicate_group`.
    """
    groups, splits = find_groups(manifest, near), manifest["split"].to_numpy()
    training = splits == "train"
    exact, leaked = (
        (training & (own >= 0) & own.isin(own[~training])).to_numpy() for _, own in groups.items()
    )
    labelled = (manifest["label"] >= 0).to_numpy()
    about = {"leaks_removed": int((exact & labelled).sum())}
    about["duplicates"] = count_duplicates(groups["exact"], splits)
    if near:
        about["near_leaks_removed"] = int((leaked & ~exact & labelled).sum())
        manifest = manifest.assign(duplicate_group=groups["group"].to_numpy())
    return _with_attrs(manifest[~leaked], **about)


def subsample(manifest: pd.DataFrame, split: str, images: int, seed: int) -> pd.DataFrame:
    """Keep a class-preserving subset of one split; the others stay whole.

    Classes keep their proportions, except that none falls below `MIN_PER_CLASS` images, or below
    all it has, or, in a very small subset, below an equal share. For one seed the images of a class
    in a small subset are among those in a larger one.
    """
    counts = class_counts(manifest, split)
    present, available = int((counts > 0).sum()), int(counts.sum())
    least = max(present, 1)
    expected = f"{least} (one of each class) to {available} (all there are) images of the split"
    require(least <= images <= available, f"{expected} {split!r}", images)
    own, labels = (manifest["split"] == split).to_numpy(), manifest["label"].to_numpy()
    quotas = apportion(images, counts, np.minimum(counts, min(MIN_PER_CLASS, images // present)))
    keep = ~own
    for label, quota in enumerate(quotas):
        rows = np.flatnonzero(own & (labels == label))
        keep[np.random.default_rng([seed, label]).permutation(rows)[:quota]] = True
    done = manifest.attrs.get("subsamples", {}) | {split: {"images": int(images), "seed": seed}}
    return _with_attrs(manifest[keep], subsamples=done)


def without(manifest: pd.DataFrame, split: str) -> pd.DataFrame:
    """The manifest without one of its splits."""
    return _with_attrs(manifest[manifest["split"] != split])


def hold_out_within_subjects(manifest: pd.DataFrame, fraction: float, seed: int) -> pd.DataFrame:
    """Turn a share of each training subject's images into validation: known people.

    The share is rounded, and never all. Its own validation rows are dropped: their people are
    others. Test rows stay, for verification.
    """
    rows, training = _rows_of_people(manifest, without_split="validation")
    people = training.sample(frac=1, random_state=seed).groupby("subject")["image"]
    images = people.transform("size")
    held_out = people.cumcount() < (fraction * images).round().clip(upper=images - 1)
    rows.loc[held_out.index[held_out], "split"] = "validation"
    return rows


def hold_out_subjects(manifest: pd.DataFrame, fraction: float, seed: int) -> pd.DataFrame:
    """Turn a share of the training people, with all their images, into test: unknown people.

    The share is drawn of people with one image and of those with more, at least two of the latter,
    to be verified. The manifest's own test rows are dropped.
    """
    rows, training = _rows_of_people(manifest, without_split="test")
    require(0 < fraction < 1, "a share of the people between 0 and 1", repr(fraction))
    sizes = training["subject"].value_counts().sort_index()
    several, single = sizes.index[sizes > 1], sizes.index[sizes == 1]
    people = []
    for group, least in ((several, 2), (single, 0)):
        number = max(round(fraction * len(group)), least)
        people += np.random.default_rng([seed, least]).permutation(group)[:number].tolist()
    enough = len(several) > 1 and len(sizes) - len(people) > 1
    expected = "two people with two images or more to hold out, and two others to train on"
    found = f"{len(sizes)} people, {len(several)} of them with several; hold out none"
    require(enough, expected, found)
    rows.loc[training.index[training["subject"].isin(people)], "split"] = "test"
    return rows


def _rows_of_people(manifest: pd.DataFrame, without_split: str) -> tuple[pd.DataFrame, ...]:
    columns = f"the columns {', '.join(manifest)}"
    require("subject" in manifest, "a manifest with subjects", columns)
    rows = without(manifest, without_split)
    return rows, rows[rows["split"] == "train"]


def _with_attrs(rows: pd.DataFrame, **attrs) -> pd.DataFrame:
    rows = rows.reset_index(drop=True)
    rows.attrs |= attrs
    return rows


def _protocol(rows: pd.DataFrame, name: str, **details) -> pd.DataFrame:
    counts = np.array([class_counts(rows, split) for split in SPLITS])
    absent = (counts.sum(axis=0) > 0) & (counts == 0)
    if name == "official":  # lacks what its authors left out
        absent &= counts.sum(axis=1, keepdims=True) == 0
    lacking = [
        f"{EXPRESSIONS[label]} left for {SPLITS[split]}" for split, label in np.argwhere(absent)
    ]
    found = f"none with {', '.join(lacking)}; take fewer images or folds"
    require(not lacking, "images, people or groups enough for every split", found)
    return _with_attrs(rows, protocol={"name": name, **details})


def _label_counts(rows: pd.DataFrame) -> np.ndarray:  # (8,)
    labels = rows["label"].to_numpy()
    require((labels >= 0).any(), "images with expressions", "none; use hold_out_subjects")
    return np.bincount(labels[labels >= 0], minlength=NUM_CLASSES)


def _draw_validation(rows: pd.DataFrame, share: float, seed: tuple) -> None:
    training = rows[rows["split"] == "train"]
    counts = _label_counts(training)
    quota = np.rint(share * counts).clip(1, (counts - 1).clip(0)).astype(int)
    rows.update(_deal(training, {"validation": quota, "train": counts - quota}, seed))


def _wholes(rows: pd.DataFrame) -> np.ndarray:
    """Number (N,) of what is not to be divided: a person, a group of duplicates, or an image."""
    first, second = [], []
    for column in {"subject", "duplicate_group"} & set(rows):
        known = np.flatnonzero(rows[column].notna() & (rows[column] != -1))
        codes = pd.factorize(rows[column].iloc[known])[0]
        heads = np.unique(codes, return_index=True)[1]
        first += known.tolist()
        second += known[heads[codes]].tolist()
    return connect(first, second, len(rows))


def _deal(rows: pd.DataFrame, quotas: dict, seed: tuple) -> pd.Series:
    """The part of each row: `quotas` are the images of each class, (8,), that every part gets.

    Whole people and groups go first, those of the rarest classes before others, each to the part
    that misses most of its images; single images then fill up the quotas.
    """
    rows = rows.sort_values(["image", "label"], kind="stable")
    labels, wholes = rows["label"].to_numpy(), _wholes(rows)
    missing = {part: quota.copy() for part, quota in quotas.items()}
    held = np.zeros((wholes.max() + 1, NUM_CLASSES), dtype=int)  # images of each whole and class
    np.add.at(held, (wholes, labels), 1)
    several = np.flatnonzero(held.sum(axis=1) > 1)
    rarest = np.where(held > 0, held.sum(axis=0), len(rows)).min(axis=1)[several]
    shuffled = np.random.default_rng(list(seed)).permutation(len(several))
    dealt = np.empty(len(held), dtype=object)
    for whole in several[np.lexsort((shuffled, rarest))]:
        own = held[whole]
        gains = {  # by how much the squares of what is missing shrink, in shares of the quota
            part: (own * (2 * left - own) / np.maximum(quotas[part], 1)).sum()
            for part, left in missing.items()
        }
        dealt[whole] = max(gains, key=gains.get)
        missing[dealt[whole]] -= own
    parts = dealt[wholes]
    single = np.flatnonzero(~np.isin(wholes, several))
    for label in range(NUM_CLASSES):
        own = np.random.default_rng([*seed, label]).permutation(single[labels[single] == label])
        for part, left in missing.items():
            filled, own = np.split(own, [max(left[label], 0)])
            parts[filled] = part
    return pd.Series(parts, index=rows.index, name="split").sort_index()
