"""The manifest, one DataFrame per dataset, a row an image; and the rows of label files before it.

Readers return a manifest, all else takes it. Columns: `image` (path below ``attrs["root"]``, or a
number), `label` (0–7 as in `EXPRESSIONS`; −1 throughout a dataset of people), `split` (`SPLITS`);
where the source has them `subject`, `box_x`, `box_y`, `box_width`, `box_height`, `votes_neutral` …
`votes_contempt`; and `fingerprint`, of the pixels, where the reader opened the images. ``attrs``
can be written as JSON: where the images are, and how the manifest came about.
"""

import csv
import itertools
import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from fer_utils.core import EXPRESSIONS, NUM_CLASSES, InputError, atomic_write, check_choice, require

SPLITS = ("train", "validation", "test")
VOTE_COLUMNS = tuple(f"votes_{name}" for name in EXPRESSIONS)


def check_manifest(manifest: pd.DataFrame) -> pd.DataFrame:
    """Return `manifest` itself if it can be used, with rows, labels and splits as above."""
    is_table = isinstance(manifest, pd.DataFrame)
    require(is_table, "a manifest, a DataFrame", type(manifest).__name__)
    missing = [name for name in ("image", "label", "split") if name not in manifest]
    found = f"none named {', '.join(missing)}"
    require(not missing, "the columns image, label, split", found)
    require(len(manifest), "a manifest with rows", "none; check what it was filtered by")
    labels = pd.to_numeric(manifest["label"], errors="coerce")
    people_only = "subject" in manifest and (labels == -1).all()
    known = labels.isin(range(NUM_CLASSES)) | people_only
    _check_column(manifest, "label", known, "a label from 0 to 7")
    known = manifest["split"].isin(SPLITS)
    _check_column(manifest, "split", known, f"the split {', '.join(SPLITS)}")
    return manifest


def _check_column(manifest: pd.DataFrame, column: str, good, expected: str) -> None:
    if not np.all(good):
        row = int(np.argmin(good))
        image, value = (str(manifest[name].iloc[row]) for name in ("image", column))
        found = f"{value!r}; map it (fer_utils.core.to_labels) or drop the row"
        where = f"manifest row {row} (image {image!r})"
        raise InputError(f"{where}: expected {expected}, found {found}")


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

    Votes count as they stand in the manifest; without one all weight is on the label.
    """
    for name in VOTE_COLUMNS:
        require(name in manifest, "votes in the manifest", f"no {name}; FER+ has them")
    votes = manifest[[*VOTE_COLUMNS]].to_numpy(float, na_value=np.nan)  # (N, 8)
    good = (np.isfinite(votes) & (votes >= 0)).all(axis=1)
    _check_column(manifest.assign(votes=votes.tolist()), "votes", good, "votes of 0 or more")
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
    """Write a manifest with its attrs as Parquet; `TypeError` where JSON cannot hold these."""
    check_manifest(manifest)
    json.dumps(manifest.attrs)  # pyarrow would only warn, and write the rows without them
    with atomic_write(path) as temporary:
        manifest.to_parquet(temporary, engine="pyarrow", index=False)


def read_manifest(path: str | Path) -> pd.DataFrame:
    """Read what `write_manifest` wrote; `InputError` if there is no manifest at `path`."""
    require(Path(path).is_file(), f"a manifest at {path}", "no such file; check the path")
    try:
        manifest = pd.read_parquet(path, engine="pyarrow")
    except (OSError, ValueError) as error:  # pyarrow's errors are ValueErrors
        found = f"something else ({str(error).splitlines()[0]}); write it anew"
        raise InputError(f"expected a Parquet file at {path}, found {found}") from error
    return check_manifest(manifest)


# Rows of label files. Tables of them are indexed by where these stand, like "…/training.csv row 3":
# what an error names. They are counted from 1 as an editor shows them, blank lines included.


def bad_row(where: str, expected: str, found: str) -> InputError:
    """The error about one row, for the caller to raise."""
    return InputError(f"{where}: expected {expected}, found {found}; mend it")


def _csv_rows(path: str | os.PathLike) -> Iterator[tuple[str, list[str]]]:
    """Where each row stands that is not blank, and its fields.

    Each line is split alone: an open quotation mark is refused, and swallows no rows. Bytes that
    are no UTF-8 become an absent name or a malformed field, and are reported as such.
    """
    with open(path, encoding="utf-8-sig", errors="replace") as file:
        for row, line in enumerate(file, start=1):
            where, fields = f"{path} row {row}", line.split(",")  # much faster than the csv module
            try:
                if '"' in line:
                    fields = next(csv.reader([line.strip()], skipinitialspace=True, strict=True))
            except csv.Error as error:
                found = f"text that cannot be split ({error})"
                raise bad_row(where, "fields on one line, between commas", found) from None
            fields = [field.strip() for field in fields]
            if any(fields):
                yield where, fields


def read_columns(
    path: str | os.PathLike,
    columns: Sequence[str],
    wanted: Sequence[str] | None = None,
    parse: Callable | None = None,
) -> pd.DataFrame:
    """Columns of a comma-separated file, as texts.

    Args:
        columns: names, in any case; in their order, should the first row hold none of them.
        wanted: those to be read; None reads all.
        parse: what makes other fields of where a row stands and its texts, as it is read.
    """
    rows, wanted = _csv_rows(path), wanted or columns
    where, first = next(rows, ("", []))
    header, known = ([name.casefold() for name in names] for names in (first, columns))
    if set(header).isdisjoint(known) and len(first) >= len(known):
        rows, header = itertools.chain([(where, first)], rows), known
    absent = [name for name in wanted if name.casefold() not in header]
    found = f"none named {', '.join(absent)} but {', '.join(first)[:200]!r}"
    require(not (first and absent), f"the columns {', '.join(wanted)} in {path}", found)
    places = [header.index(name.casefold()) for name in wanted if first]
    table = {}
    for where, fields in rows:
        fields += [""] * (len(header) - len(fields))
        texts = [fields[place] for place in places]
        table[where] = parse(where, *texts) if parse else texts
    require(table, f"rows of {', '.join(wanted)} in {path}", "none; restore it")
    return pd.DataFrame.from_dict(table, orient="index", columns=list(wanted))


def check_rows(good: Sequence[bool], values: pd.Series, expected: str) -> None:
    """Raise for the first value of a column that is not good."""
    if not np.all(good):
        place = int(np.argmin(good))
        value = str(values.iloc[place])[:80]
        raise bad_row(values.index[place], expected, repr(value) if value else "nothing")


def to_numbers(texts: pd.Series, what: str, low: int, high: int, whole: bool = True) -> np.ndarray:
    """A column of texts as float64; all but numbers from `low` to `high` is refused."""
    numbers = pd.to_numeric(texts, errors="coerce").to_numpy(dtype=float, na_value=np.nan)
    good = (numbers >= low) & (numbers <= high) & ((numbers == np.rint(numbers)) | (not whole))
    kind = "whole number" if whole else "number"
    check_rows(good, texts, f"{what}, a {kind} from {low} to {high}")
    return numbers


def check_names(names: pd.Series, once: bool = True) -> None:
    """Raise unless every entry of a column can name an image and, if `once`, stands but once."""
    good = names.str.fullmatch("[^\x00-\x1f\x7f\x85\u2028\u2029]+")
    check_rows(good.to_numpy(dtype=bool), names, "the name of an image")
    again = names[names.duplicated()]
    if once and len(again):
        first = names.index[names == again.iloc[0]][0]
        found = f"{again.iloc[0]!r} in {first} as well (and {len(again) - 1} more such rows)"
        raise bad_row(again.index[0], "every image once", found)
