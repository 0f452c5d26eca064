"""The manifest: one DataFrame per dataset, a row an image. Readers return it, all else takes it.

Columns: `image` (path below ``attrs["root"]``, or a number), `label` (0–7 as in `EXPRESSIONS`; −1
throughout a dataset of people), `split` (`SPLITS`); where the source has them `subject`, `box_x`,
`box_y`, `box_width`, `box_height`, `votes_neutral` … `votes_contempt`; and `fingerprint`, of the
pixels, where the reader opened the images. ``attrs`` can be written as JSON: where the images are,
and how the manifest came about.
"""

import json
from pathlib import Path

import numpy as np
import pandas as pd

from fer_utils.core import EXPRESSIONS, NUM_CLASSES, InputError, atomic_write, check_choice

SPLITS = ("train", "validation", "test")
REQUIRED_COLUMNS = ("image", "label", "split")
VOTE_COLUMNS = tuple(f"votes_{name}" for name in EXPRESSIONS)


def check_manifest(manifest: pd.DataFrame) -> pd.DataFrame:
    """Return `manifest` itself if it can be used.

    Raises:
        InputError: for no DataFrame, an absent column, no rows, a label that is not 0 to 7 (or −1
            in every row, with a `subject`), or an unknown split; rows are counted from 0.
    """
    if not isinstance(manifest, pd.DataFrame):
        raise InputError(f"expected a manifest, a DataFrame, found {type(manifest).__name__}")
    missing = [column for column in REQUIRED_COLUMNS if column not in manifest]
    if missing:
        columns = ", ".join(REQUIRED_COLUMNS)
        raise InputError(f"expected the columns {columns}, found none named {', '.join(missing)}")
    if manifest.empty:
        raise InputError("expected a manifest with rows, found none; check what it was filtered by")
    labels = pd.to_numeric(manifest["label"], errors="coerce")
    people_only = "subject" in manifest and (labels == -1).all()
    known = labels.isin(range(NUM_CLASSES)) | people_only
    _check_rows(manifest, "label", known, "a label from 0 to 7")
    _check_rows(manifest, "split", manifest["split"].isin(SPLITS), "the split " + ", ".join(SPLITS))
    return manifest


def _check_rows(manifest: pd.DataFrame, column: str, good, expected: str) -> None:
    if not np.all(good):
        row = int(np.argmin(good))
        image, found = (str(manifest[name].iloc[row]) for name in ("image", column))
        raise InputError(
            f"manifest row {row} (image {image!r}): expected {expected}, found {found!r}; "
            "map it (fer_utils.core.to_labels) or drop the row"
        )


def class_counts(manifest: pd.DataFrame, split: str = "train") -> np.ndarray:
    """Images of each class in one split: int64 (8,).

    >>> rows = {"image": range(4), "label": [0, 1, 1, 7], "split": ["train"] * 3 + ["test"]}
    >>> class_counts(pd.DataFrame(rows)).tolist()
    [1, 2, 0, 0, 0, 0, 0, 0]
    """
    check_choice("split", split, SPLITS)
    check_manifest(manifest)
    labels = manifest["label"][(manifest["split"] == split) & (manifest["label"] >= 0)]
    return np.bincount(labels.astype(np.int64), minlength=NUM_CLASSES)


def count_table(manifest: pd.DataFrame) -> pd.DataFrame:
    """Columns `split`, `expression` and `images`, a row each split and class."""
    return pd.DataFrame(
        {"split": split, "expression": name, "images": count}
        for split in SPLITS
        for name, count in zip(EXPRESSIONS, class_counts(manifest, split), strict=True)
    )


def vote_shares(manifest: pd.DataFrame) -> np.ndarray:
    """Soft targets: float32 (N, 8), an image's votes for the expressions divided by their sum.

    Votes count as they stand in the manifest: single ones are the reader's business, as of
    `read_ferplus` with ``label_rule="probability"``. Without a vote all weight is on the label.

    Raises:
        InputError: without the columns `VOTE_COLUMNS`, or for votes that are absent or negative.
    """
    absent = [column for column in VOTE_COLUMNS if column not in manifest]
    if absent:
        raise InputError(f"expected votes in the manifest, found no {absent[0]}; FER+ has them")
    votes = manifest[[*VOTE_COLUMNS]].to_numpy(float, na_value=np.nan)  # (N, 8)
    good = (np.isfinite(votes) & (votes >= 0)).all(axis=1)
    _check_rows(manifest.assign(votes=votes.tolist()), "votes", good, "votes of 0 or more")
    totals = votes.sum(axis=1, keepdims=True)  # (N, 1)
    labels = np.eye(NUM_CLASSES)[manifest["label"].to_numpy(np.int64)]
    return np.where(totals > 0, votes / np.maximum(totals, 1e-9), labels).astype(np.float32)


def sample_rows(manifest: pd.DataFrame, split: str, per_class: int, seed: int) -> pd.DataFrame:
    """Up to `per_class` random rows of each class of a split, class by class, for looking at."""
    check_choice("split", split, SPLITS)
    shuffled = manifest[manifest["split"] == split].sample(frac=1, random_state=seed)
    rows = shuffled.groupby("label").head(per_class)
    return rows.sort_values("label", kind="stable", ignore_index=True)


def sample_people(
    manifest: pd.DataFrame, people: int = 5, per_person: int = 8, seed: int = 0
) -> pd.DataFrame:
    """Random rows of random people, person by person; those with images enough go first."""
    rows = manifest.sample(frac=1, random_state=seed).groupby("subject").head(per_person)
    sizes = rows["subject"].value_counts(sort=False).sort_values(ascending=False, kind="stable")
    rows = rows[rows["subject"].isin(sizes.index[:people])]
    return rows.sort_values("subject", kind="stable", ignore_index=True)


def write_manifest(manifest: pd.DataFrame, path: str | Path) -> None:
    """Write a manifest with its attrs as Parquet, whole or not at all.

    Raises:
        InputError: for an unusable manifest.
        TypeError: for attrs that JSON cannot hold.
    """
    check_manifest(manifest)
    json.dumps(manifest.attrs)  # pyarrow would only warn, and write the rows without them
    with atomic_write(path) as temporary:
        manifest.to_parquet(temporary, engine="pyarrow", index=False)


def read_manifest(path: str | Path) -> pd.DataFrame:
    """Read what `write_manifest` wrote; `InputError` if there is no manifest at `path`."""
    if not Path(path).is_file():
        raise InputError(f"expected a manifest at {path}, found no such file; check the path")
    try:
        manifest = pd.read_parquet(path, engine="pyarrow")
    except (OSError, ValueError) as error:  # pyarrow's errors are ValueErrors
        reason = str(error).splitlines()[0]
        found = f"something else ({reason}); write it anew"
        raise InputError(f"expected a Parquet file at {path}, found {found}") from error
    return check_manifest(manifest)
