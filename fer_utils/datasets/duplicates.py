"""Duplicates, exact and near, and the audit of a dataset: its splits, its labels, its votes."""

from dataclasses import dataclass

import krippendorff
import numpy as np
import pandas as pd
from PIL import Image
from scipy.fft import dct
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from fer_utils.core import EXPRESSIONS, NUM_CLASSES, raster
from fer_utils.datasets.images import each_image, hash_images, memory_of, with_margin
from fer_utils.datasets.manifest import SPLITS, VOTE_COLUMNS, class_counts, vote_shares

# On FER+, pairs from 0.94 on show one picture twice, or two frames of a series; strangers begin to
# appear below 0.92.
MIN_CORRELATION = 0.95
_SIDE = 32  # pixels at which faces are compared
_BASIS = dct(np.eye(_SIDE, dtype=np.float32), axis=0, norm="ortho")[:8]  # (8, 32)
_PART, _BLOCK = 4096, 512  # faces standardised, and rows of bounds computed, at a time
# (split whose images are counted, split in which a duplicate of theirs stands), leaks first.
LEAKS = (("test", "train"), ("validation", "train"), ("test", "validation"))
RELATIONS = (*LEAKS, *zip(SPLITS, SPLITS, strict=True))


def connect(first, second, count: int) -> np.ndarray:
    """Number (count,) of the group that each of `count` things is in, where pairs connect them."""
    edges = (np.ones(len(first), dtype=bool), (np.asarray(first, int), np.asarray(second, int)))
    return connected_components(coo_array(edges, shape=(count, count)), directed=False)[1]


def near_pairs(thumbnails: np.ndarray) -> np.ndarray:
    """Pairs (P, 2) of places, first < second, of faces that show the same, upright or mirrored.

    Faces, uint8 (N, 32, 32), show the same if they correlate by `MIN_CORRELATION`. A correlation is
    at most low·low' + rest·rest' (Cauchy–Schwarz), where `low` are the 8 × 8 lowest frequencies of
    a standardised face and `rest` is the length of all others: of every pair this bound is
    computed, and of the few that pass the pixels are compared. None is missed.
    """
    starts = range(0, max(len(thumbnails), 1), _PART)
    spectra = np.concatenate([_spectra(thumbnails[start : start + _PART]) for start in starts])
    found = [np.empty((0, 2), int)]
    for step in (1, -1):  # upright; mirrored, where odd horizontal frequencies change their sign
        others = spectra * np.float32([*np.tile(float(step) ** np.arange(8), 8), 1])
        for start in range(0, len(spectra), _BLOCK):
            bounds = spectra[start : start + _BLOCK] @ others[start:].T
            places = np.flatnonzero(bounds >= MIN_CORRELATION - 1e-5)
            pairs = start + np.column_stack(np.divmod(places, bounds.shape[1]))
            pairs = pairs[pairs[:, 0] < pairs[:, 1]]
            first, second = thumbnails[pairs.T]
            correlation = _standardised(first) * _standardised(second)[:, :, ::step]
            found.append(pairs[correlation.sum(axis=(1, 2)) >= MIN_CORRELATION])
    return np.unique(np.concatenate(found), axis=0)


def _spectra(thumbnails: np.ndarray) -> np.ndarray:
    """(N, 65) float32: the lowest frequencies of standardised faces, and the length of the rest."""
    faces = _standardised(thumbnails)
    low = (_BASIS @ faces @ _BASIS.T).reshape(len(faces), 64)
    rest = np.square(faces).sum(axis=(1, 2)) - np.square(low).sum(axis=1)
    return np.column_stack([low, np.sqrt(np.maximum(rest, 0))])


def _standardised(thumbnails: np.ndarray) -> np.ndarray:
    """float32, each of mean 0 and length 1: a product is a correlation; 0 where constant."""
    faces = thumbnails - thumbnails.mean(axis=(1, 2), keepdims=True, dtype=np.float32)
    length = np.sqrt(np.square(faces).sum(axis=(1, 2), keepdims=True))
    return np.divide(faces, length, out=np.zeros_like(faces), where=length > 0)


def find_groups(manifest: pd.DataFrame, near: bool = True) -> pd.DataFrame:
    """Which images belong together.

    Of a manifest, or a table on its way to one. With `near`, images are opened to find those that
    are scaled, recompressed, brightened or mirrored; else only where there is no `fingerprint`.

    Returns:
        DataFrame, a row an image: the number of its group of equal pixels (`exact`), and of exact
        and near duplicates together (`group`); −1 alone, as all drawn faces are, however alike.
    """
    if manifest.attrs.get("dataset") == "synthetic":
        return pd.DataFrame({"exact": -1, "group": -1}, index=range(len(manifest)))
    if "fingerprint" not in manifest:
        manifest = manifest.assign(fingerprint=hash_images(manifest))
    pictures = np.flatnonzero(~manifest["fingerprint"].duplicated())  # each one's first copy
    exact = pictures[pd.factorize(manifest["fingerprint"])[0]]
    pairs = pictures[_remembered_pairs(manifest.iloc[pictures])] if near else np.empty((0, 2), int)
    first, second = np.concatenate([np.column_stack([range(len(exact)), exact]), pairs]).T
    groups = pd.DataFrame({"exact": exact, "group": connect(first, second, len(exact))})
    shared = {name: own.where(own.duplicated(keep=False)) for name, own in groups.items()}
    return pd.DataFrame({name: pd.factorize(own)[0] for name, own in shared.items()})


def group_held_out(manifest: pd.DataFrame) -> pd.DataFrame:
    """A manifest with the `duplicate_group` of validation and test images, for their intervals.

    Those of training are not searched (−1). A manifest that has its groups already keeps them.
    """
    if "duplicate_group" in manifest:
        return manifest
    held_out, groups = manifest["split"] != "train", pd.Series(-1, index=manifest.index)
    groups[held_out] = find_groups(manifest[held_out])["group"].to_numpy()
    return manifest.assign(duplicate_group=groups)


def _remembered_pairs(pictures: pd.DataFrame) -> np.ndarray:
    columns = [name for name in ("fingerprint", *raster.BOX_COLUMNS) if name in pictures]
    rule = f"near {MIN_CORRELATION} {_SIDE} {pictures.attrs.get('box_margin')}\n"
    about = rule + pictures[columns].to_csv(index=False)
    with memory_of(about) as known:
        if "pairs" not in known:
            known["pairs"] = near_pairs(_thumbnails(pictures)).tolist()
    return np.array(known["pairs"], dtype=int).reshape(-1, 2)


def _thumbnails(manifest: pd.DataFrame) -> np.ndarray:
    """Grey (N, 32, 32) of what every image's face box cuts out."""
    if set(raster.BOX_COLUMNS) <= set(manifest) and "box_margin" not in manifest.attrs:
        manifest = with_margin(manifest, 0)

    def shrink(pixels: np.ndarray) -> np.ndarray:
        grey = Image.fromarray(pixels).convert("L")
        return np.asarray(grey.resize((_SIDE, _SIDE), Image.Resampling.BILINEAR))

    found = list(each_image(manifest, shrink))
    return np.array(found, dtype=np.uint8).reshape(-1, _SIDE, _SIDE)


def _doubled(marks, splits: np.ndarray, one: str, other: str) -> np.ndarray:
    """Which images of split `one` have another image of their mark in split `other`."""
    marks, there = pd.Series(marks), pd.Series(splits == other)
    members = there.groupby(marks).transform("sum")
    return (splits == one) & (marks != -1) & (members > there)


def count_duplicates(marks, splits) -> dict[str, int]:
    """Images that stand in another split as well: with an equal mark, other than −1.

    >>> count_duplicates(["a", "b", "a", "b"], ["train", "train", "test", "validation"])
    {'test_in_train': 1, 'validation_in_train': 1, 'test_in_validation': 0}
    """
    marks, splits = np.asarray(marks, dtype=object), np.asarray(splits, dtype=object)
    return {
        f"{one}_in_{other}": int(_doubled(marks, splits, one, other).sum()) for one, other in LEAKS
    }


@dataclass(frozen=True)
class Audit:
    """What `audit` found."""

    # A row a relation: of the split `images`, how many have a duplicate in the split
    # `duplicates_in`, `exact`, or `near` and none exact; images with one of another label.
    duplicates: pd.DataFrame
    other_label: dict[str, int]
    classes: pd.DataFrame  # `expression`, training `images`, `weight` (Eq. 6; 0 if absent)
    effective_images: float  # Kish's (Σ w)² / Σ w²: as many equally weighted ones say as much
    agreement: dict | None  # of the annotators (`measure_agreement`); None without votes
    votes: np.ndarray | None  # (8, 8) shares of votes of each label's images, summed


def audit(manifest: pd.DataFrame, near: bool = True) -> Audit:
    """Look for duplicates across and within splits, and at labels and votes; changes nothing.

    Near-duplicates of FER+'s 35,710 images take half a minute, growing with the square of N.
    """
    counts = class_counts(manifest)
    groups = find_groups(manifest, near).to_numpy().T  # exact, and near as well
    labels, splits = manifest["label"].to_numpy(), manifest["split"].to_numpy(dtype=object)
    rows = []
    for one, other in RELATIONS:
        same, close = (_doubled(own, splits, one, other) for own in groups)
        rows.append((one, other, same.sum(), (close & ~same).sum()))
    kinds = (pd.Series(labels).groupby(own).transform("nunique") for own in groups)
    same, close = ((own >= 0) & (kind > 1) for own, kind in zip(groups, kinds, strict=True))
    present = counts[counts > 0]
    weights = np.where(counts > 0, present.min(initial=counts.max()) / np.maximum(counts, 1), 0.0)
    voted = set(VOTE_COLUMNS) <= set(manifest)
    return Audit(
        duplicates=pd.DataFrame(rows, columns=["images", "duplicates_in", "exact", "near"]),
        other_label={"exact": int(same.sum()), "near": int((close & ~same).sum())},
        classes=pd.DataFrame({"expression": EXPRESSIONS, "images": counts, "weight": weights}),
        effective_images=len(present) ** 2 / (1 / present).sum() if len(present) else np.nan,
        agreement=measure_agreement(manifest) if voted else None,
        votes=np.eye(NUM_CLASSES)[labels].T @ vote_shares(manifest) if voted else None,
    )


def measure_agreement(manifest: pd.DataFrame) -> dict | None:
    """How far annotators agree, where two or more voted for one of the eight expressions.

    `images`, mean `votes`, Krippendorff's nominal `alpha`, the chance that two annotators agree
    (`pairwise`), and the mean share of an image's `favourite`: about what the best possible model
    reaches against one more annotator. None where no image has two votes.
    """
    votes = manifest[[*VOTE_COLUMNS]].fillna(0).to_numpy(dtype=int)  # (N, 8)
    votes = votes[votes.sum(axis=1) >= 2]
    if not len(votes):
        return None
    totals = votes.sum(axis=1)
    alpha = np.nan  # undefined where all votes are for one class
    if votes.any(axis=0).sum() > 1:
        alpha = krippendorff.alpha(value_counts=votes, level_of_measurement="nominal")
    return {
        "images": len(votes),
        "votes": float(totals.mean()),
        "alpha": float(alpha),
        "pairwise": float(((votes * (votes - 1)).sum(axis=1) / (totals * (totals - 1))).mean()),
        "favourite": float((votes.max(axis=1) / totals).mean()),
    }
