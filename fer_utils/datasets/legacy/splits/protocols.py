"""Protocols: how the images of a dataset are divided into training, validation and test, and written down.

Each draws from the images sorted by name, so that the same seed gives the same split whatever the order of the rows.
Where the manifest has a `subject`, nobody's images are divided (a row without a subject is a person of its own).
``attrs["protocol"]`` of the result says which protocol, with what parameters, how many images of each class every split
got, and whether the splits share nobody (`subject_disjoint`; None where nobody is known).

Identical and similar pictures are not kept together: remove them from training afterwards (`remove_training_leaks`,
`remove_near_leaks`).
"""

import numpy as np
import pandas as pd

from fer_utils.datasets.legacy.manifest import SPLITS, check_manifest, class_counts
from fer_utils.core import InputError
from fer_utils.core import EXPRESSIONS, NUM_CLASSES
from fer_utils.datasets.legacy.splits.attrs import with_attrs


def paper_protocol(manifest: pd.DataFrame, seed: int, per_class: int = 500) -> pd.DataFrame:
    """The paper's: validation and test of equally many random images per class, all others for training (Table 3).

    The dataset's training and validation images are merged, then drawn from. A test split of its own is left out
    (`test_left_out` says how many images): it is for `official`.

    With subjects, whole people are drawn, those of the rarest classes first, each to the split to whose missing images
    they come closest, so `per_class` is met as nearly as people allow; see the counts.

    Args:
        manifest: a manifest.
        seed: draws the images.
        per_class: images of each class in validation, and as many in test. A class that the dataset lacks stays absent.

    Returns:
        A new manifest, rows in the former order, with a RangeIndex.

    Raises:
        InputError: if a class has not more images than validation and test take, there are no labels, or no division
            of people leaves every class in every split.

    Example:
        >>> parts = ["train"] * 18 + ["validation"] * 2
        >>> manifest = pd.DataFrame({"image": range(20), "label": [0, 7] * 10, "split": parts})
        >>> split = paper_protocol(manifest, seed=0, per_class=2)
        >>> split.attrs["protocol"]["counts"]["train"]
        [6, 0, 0, 0, 0, 0, 0, 6]
    """
    manifest = check_manifest(manifest).reset_index(drop=True)
    if not (isinstance(per_class, (int, np.integer)) and per_class >= 1):
        raise InputError(
            f"expected a whole number of images per class, 1 or more, found {per_class!r}; the paper's is 500"
        )
    rows = manifest[manifest["split"] != "test"]
    counts = _labelled_counts(rows)
    short = np.flatnonzero((counts > 0) & (counts <= 2 * per_class))
    if len(short):
        found = ", ".join(f"{counts[label]:,} of {EXPRESSIONS[label]}" for label in short)
        raise InputError(
            f"expected more than {2 * per_class:,} images of each class ({per_class:,} for validation, as many for "
            f"test, the rest for training), found {found}; ask for fewer per_class"
        )
    quota = np.where(counts > 0, per_class, 0)
    splits = _draw(rows, {"test": quota, "validation": quota}, seed)
    details = {"per_class": int(per_class), "test_left_out": len(manifest) - len(rows)}
    return _record(_with_all_classes(rows.assign(split=splits)), "paper", seed=int(seed), **details)


def official(manifest: pd.DataFrame, seed: int = 0, validation: float = 0.1) -> pd.DataFrame:
    """The dataset's own split, completed where it has but two parts.

    All three parts: unchanged. No test (AffectNet, whose test labels are unpublished): its validation images become the
    test, which is how results on it are reported. Then, or where there is no validation (RAF-DB), a share of every
    class of the training images becomes validation: nothing is ever selected on what is reported.

    Args:
        manifest: a manifest.
        seed: draws the validation images, where they are drawn.
        validation: share of the training images of each class to draw, between 0 and 1.

    Returns:
        A new manifest, rows in the former order, with a RangeIndex; `drawn` of ``attrs["protocol"]`` says which split
        was drawn (None: nothing was).

    Raises:
        InputError: if there is no training split, or nothing else; for a share outside 0–1, or one that leaves a split
            without images.

    Example:
        >>> parts = ["train"] * 20 + ["validation"] * 10
        >>> manifest = pd.DataFrame({"image": range(30), "label": [0, 7] * 15, "split": parts})
        >>> official(manifest)["split"].value_counts().to_dict()
        {'train': 18, 'test': 10, 'validation': 2}
    """
    manifest = check_manifest(manifest).reset_index(drop=True)
    if not 0 < validation < 1:
        raise InputError(f"expected a share for validation between 0 and 1, found {validation!r}; 0.1 takes a tenth")
    present = [split for split in SPLITS if (manifest["split"] == split).any()]
    if "train" not in present or len(present) == 1:
        raise InputError(
            f"expected a manifest with a train split and validation or test, found {', '.join(present)} alone; "
            "use paper_protocol or k_fold, which divide the images themselves"
        )
    splits, drawn = manifest["split"], None
    if len(present) < len(SPLITS):
        splits, drawn = splits.replace("validation", "test"), "validation"
        training = manifest[splits == "train"]
        counts = _labelled_counts(training)
        quota = np.minimum(np.maximum(np.rint(validation * counts), 1), np.maximum(counts - 1, 0)).astype(int)
        splits = _draw(training, {"validation": quota}, seed).reindex(manifest.index).fillna(splits)
        for split in ("train", "validation"):
            if not (splits == split).any():
                raise InputError(
                    f"expected training images enough to draw a validation split from, found {len(training)} that "
                    f"would leave {split} empty; take another share or a larger dataset"
                )
    details = {"seed": int(seed), "validation": validation} if drawn else {}
    return _record(manifest.assign(split=splits), "official", drawn=drawn, **details)


def k_fold(manifest: pd.DataFrame, k: int, seed: int) -> list[pd.DataFrame]:
    """Stratified k-fold cross-validation over all images, whatever their split: each is tested exactly once.

    Fold i tests on part i, validates on part i + 1 (modulo k) and trains on the rest. Every class is spread evenly over
    the parts, as evenly as whole people allow where subjects are known.

    Args:
        manifest: a manifest.
        k: number of parts, 3 or more.
        seed: divides the images.

    Returns:
        list of k manifests, each with the rows of `manifest` in their order and a RangeIndex; `fold` (from 0) in
        ``attrs["protocol"]``.

    Raises:
        InputError: for another k, without labels, or if a class has fewer images, or the dataset fewer people, than k.

    Example:
        >>> manifest = pd.DataFrame({"image": range(12), "label": [0, 7] * 6, "split": "train"})
        >>> [int((fold["split"] == "test").sum()) for fold in k_fold(manifest, 3, seed=0)]
        [4, 4, 4]
    """
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    manifest = check_manifest(manifest).reset_index(drop=True)
    counts = _labelled_counts(manifest)
    people = _people(manifest)
    most = int(min(counts[counts > 0].min(), people.nunique() if people is not None else len(manifest)))
    if not (isinstance(k, (int, np.integer)) and 3 <= k <= most):
        fewest = "people" if people is not None and people.nunique() == most else "images of the smallest class"
        raise InputError(
            f"expected a whole number of folds, at least 3 (test, validation and training each need one) and at most "
            f"{most} (the {fewest}), found {k!r}; choose another k"
        )
    rows = _sorted(manifest)
    folding = StratifiedKFold if people is None else StratifiedGroupKFold
    divide = folding(int(k), shuffle=True, random_state=seed).split
    groups = None if people is None else people[rows.index]
    part = pd.Series(0, index=manifest.index)
    for number, (_, tested) in enumerate(divide(rows, rows["label"], groups)):
        part[rows.index[tested]] = number
    folds = []
    for number in range(k):
        splits = np.select([part == number, part == (number + 1) % k], ["test", "validation"], "train")
        fold = _with_all_classes(manifest.assign(split=splits))
        folds.append(_record(fold, "k_fold", k=int(k), fold=number, seed=int(seed)))
    return folds


def _labelled_counts(rows: pd.DataFrame) -> np.ndarray:
    """Images of each class over all splits."""
    labels = rows["label"].to_numpy()
    if not (labels >= 0).any():
        raise InputError("expected images with expressions to divide, found none; hold_out_subjects divides people")
    return np.bincount(labels[labels >= 0], minlength=NUM_CLASSES)


def _sorted(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.sort_values(["image", "label"], kind="stable")


def _people(rows: pd.DataFrame) -> pd.Series | None:
    """A number for each person, None where nobody is known; a row without a subject is a person of its own."""
    if "subject" not in rows or rows["subject"].isna().all():
        return None
    names = _sorted(rows)["subject"]
    numbers = pd.Series(pd.factorize(names)[0], index=names.index)
    unknown = np.flatnonzero(numbers < 0)
    numbers.iloc[unknown] = numbers.max() + 1 + np.arange(len(unknown))
    return numbers.reindex(rows.index)


def _draw(rows: pd.DataFrame, quotas: dict[str, np.ndarray], seed: int) -> pd.Series:
    """Split of each row: `quotas` images of each class to the splits named, the rest to train."""
    splits = pd.Series("train", index=rows.index)
    people = _people(rows)
    if people is None:
        ordered = _sorted(rows)
        for label in range(NUM_CLASSES):
            own = ordered.index[ordered["label"] == label]
            shuffled, start = own[np.random.default_rng([seed, label]).permutation(len(own))], 0
            for split, quota in quotas.items():
                splits[shuffled[start : start + quota[label]]] = split
                start += quota[label]
    else:
        held = pd.crosstab(people, rows["label"]).reindex(columns=range(NUM_CLASSES), fill_value=0)
        splits = people.map(_draw_people(held, quotas, seed))
    return splits


def _draw_people(held: pd.DataFrame, quotas: dict[str, np.ndarray], seed: int) -> dict[int, str]:
    """Split of each person, given the images that everyone has of each class, a row a person."""
    images, totals = held.to_numpy(), held.sum().to_numpy()
    rarest = np.where(images > 0, totals, totals.sum()).min(axis=1)
    order = np.lexsort((np.random.default_rng(seed).permutation(len(images)), rarest))
    missing = {split: quota.astype(int) for split, quota in quotas.items()}
    splits = np.full(len(images), "train", dtype=object)
    for person in order:
        gains = {split: (np.abs(left) - np.abs(left - images[person])).sum() for split, left in missing.items()}
        best = max(gains, key=gains.get)
        if gains[best] > 0:
            splits[person] = best
            missing[best] = missing[best] - images[person]
    return dict(zip(held.index, splits, strict=True))


def _with_all_classes(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows, unless drawing whole people has left a class out of a split."""
    counts = {split: class_counts(rows, split) for split in SPLITS}
    for split, own in counts.items():
        absent = np.flatnonzero((sum(counts.values()) > 0) & (own == 0))
        if len(absent):
            names = ", ".join(EXPRESSIONS[label] for label in absent)
            raise InputError(
                f"expected people enough for every class in every split, found none with {names} left for {split}; "
                "take fewer images or folds, or another seed"
            )
    return rows


def _record(rows: pd.DataFrame, name: str, **details) -> pd.DataFrame:
    people = _people(rows)
    disjoint = None if people is None else bool((rows["split"].groupby(people).nunique() == 1).all())
    counts = {split: class_counts(rows, split).tolist() for split in SPLITS}
    return with_attrs(rows, rows, protocol={"name": name, **details, "subject_disjoint": disjoint, "counts": counts})
