"""The audit of a dataset: what its images, splits, labels and taggers are worth, before anything is trained.

`audit(manifest)` looks at everything once; `report(audit, path)` writes one page about it. Nothing is changed: leaks
are removed by `fer_utils.splits.remove_training_leaks` and `remove_near_leaks`, from training alone.
"""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from fer_utils.audit.agreement import measure_agreement, votes_by_label
from fer_utils.audit.checks import check_table, relation_key
from fer_utils.audit.images import measure_images, unlisted_images
from fer_utils.audit.report import report
from fer_utils.audit.twins import RELATIONS, find_near, group_twins
from fer_utils.audit.weights import class_table, effective_images
from fer_utils.datasets.manifest import check_manifest, count_table

__all__ = ["Audit", "audit", "report"]


@dataclass(frozen=True)
class Audit:
    """What `audit` found.

    Attributes:
        table: a row a check: `check`, `count`, `share`, `all_files`, `examples`, `action`
            (`fer_utils.audit.checks.check_table`).
        counts: images of each split and class (`fer_utils.datasets.count_table`).
        images: a row an image, the manifest's first, in its order: measures and flags
            (`fer_utils.audit.images.measure_images`), `listed`, and `group`, the number of the group that it makes with
            its exact and near duplicates, −1 without any.
        near: a row a pair of near-duplicates: `first`, `second` (entries of `images["image"]`), `first_split`,
            `second_split`, `bits`, `correlation`, `mirrored`. Given to `fer_utils.splits.remove_near_leaks`.
        agreement: of the taggers (`fer_utils.audit.agreement.measure_agreement`); None without votes.
        votes: (8, 8) votes by label (`fer_utils.audit.agreement.votes_by_label`); None without votes.
        classes: a row a class: training images and weights, brightness and contrast
            (`fer_utils.audit.weights.class_table`).
        mean_faces: float (8, 64, 64), NaN for a class without images. They show what the faces of a class share, and,
            where a class has few images, real faces: for looking at, not for publishing.
        about: the manifest's attrs: where it came from, what was removed on the way.
    """

    table: pd.DataFrame
    counts: pd.DataFrame
    images: pd.DataFrame = field(repr=False)
    near: pd.DataFrame = field(repr=False)
    agreement: dict | None
    votes: np.ndarray | None = field(repr=False)
    classes: pd.DataFrame
    mean_faces: np.ndarray = field(repr=False)
    about: dict

    @property
    def duplicates(self) -> pd.DataFrame:
        """Twins in numbers: `images` (split), `twins_in` (split), `exact` and `near`, the manifest's, and both over all
        files."""
        rows = []
        for one, other in RELATIONS:
            row = {"images": one, "twins_in": other}
            for kind in ("exact", "near"):
                found = self.table.loc[relation_key(kind, one, other)]
                row |= {kind: found["count"], f"{kind}_all_files": found["all_files"]}
            rows.append(row)
        return pd.DataFrame(rows)

    @property
    def weights(self) -> pd.DataFrame:
        """Training images and weights of the classes: `expression`, `images`, `weight` (Eq. 6)."""
        return self.classes[["expression", "images", "weight"]]

    @property
    def effective_images(self) -> float:
        """How many equally weighted training images would say as much as the weighted ones."""
        return effective_images(self.classes["images"])


def audit(manifest: pd.DataFrame, near: bool = True, unlisted: bool = True, workers: int | None = None) -> Audit:
    """Look at every image of a manifest once, and at its splits, labels and votes.

    Unreadable and absent images are counted; none stops the audit. An image that the label rule dropped, or that was
    removed as a leak, still stands in the dataset's folder: with `unlisted` it takes part in the search for twins, and
    the table's `all_files` counts it, while `count` is about the manifest alone. Over all files, FER+ has 288 test
    images in train, whatever the rule.

    Args:
        manifest: a manifest.
        near: search for near-duplicates too. The time grows with the square of the number of images.
        unlisted: look at image files that the manifest does not list, where their folder says which split they belong
            to (`fer_utils.audit.images.unlisted_images`).
        workers: threads; None takes one a core.

    Returns:
        An `Audit`.

    Raises:
        InputError: for an unusable manifest, or one that does not say where its images are.

    Example:
        >>> from fer_utils import datasets
        >>> found = audit(datasets.read_synthetic(train=64, validation=8, test=8, proportions="balanced"))
        >>> found.table.loc["unreadable", "count"], found.effective_images
        (np.int64(0), 64.0)
    """
    check_manifest(manifest)
    others = unlisted_images(manifest) if unlisted else []
    rows = pd.concat([manifest, others], ignore_index=True) if len(others) else manifest
    rows.attrs = manifest.attrs
    images, thumbnails, mean_faces = measure_images(rows, workers)
    pairs = find_near(images, thumbnails, workers) if near else find_near(images.iloc[:0], thumbnails[:0])
    images = images.assign(listed=np.arange(len(images)) < len(manifest), group=group_twins(images, pairs))
    agreement = measure_agreement(manifest)
    return Audit(
        table=check_table(images, pairs, len(manifest)),
        counts=count_table(manifest),
        images=images,
        near=_named(pairs, images),
        agreement=agreement,
        votes=None if agreement is None else votes_by_label(manifest),
        classes=class_table(manifest, images.iloc[: len(manifest)]),
        mean_faces=mean_faces,
        about=dict(manifest.attrs),
    )


def _named(pairs: pd.DataFrame, images: pd.DataFrame) -> pd.DataFrame:
    """Pairs of rows as pairs of images."""
    names = {}
    for side in ("first", "second"):
        own = images.iloc[pairs[side]]
        names |= {side: own["image"].to_numpy(), f"{side}_split": own["split"].to_numpy()}
    columns = ["first", "second", "first_split", "second_split", "bits", "correlation", "mirrored"]
    return pairs.assign(**names)[columns]
