"""Rows of label files, checked; FER2013's hold the images too.

Tables of rows are indexed by where these stand, like "…/training.csv row 3": what an error names.
Rows are counted from 1 as an editor shows them, header and blank lines included.
"""

import csv
import functools
import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from fer_utils.core import InputError

PIXEL_COLUMNS = ("emotion", "pixels", "usage")
_SIDE = 48


def bad_row(where: str, expected: str, found: str) -> InputError:
    """The error about one row, for the caller to raise."""
    return InputError(f"{where}: expected {expected}, found {found}; mend it")


def csv_rows(path: str | os.PathLike) -> Iterator[tuple[str, list[str]]]:
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
    rows, wanted = csv_rows(path), wanted or columns
    where, first = next(rows, ("", []))
    header, known = ([name.casefold() for name in names] for names in (first, columns))
    if set(header).isdisjoint(known) and len(first) >= len(known):
        rows, header = itertools.chain([(where, first)], rows), known
    absent = [name for name in wanted if name.casefold() not in header]
    if first and absent:
        found = f"none named {', '.join(absent)} but {', '.join(first)[:200]!r}"
        raise InputError(f"expected the columns {', '.join(wanted)} in {path}, found {found}")
    places = [header.index(name.casefold()) for name in wanted if first]
    table = {}
    for where, fields in rows:
        fields += [""] * (len(header) - len(fields))
        table[where] = [fields[place] for place in places]
        if parse:
            table[where] = parse(where, *table[where])
    if not table:
        raise InputError(f"expected rows of {', '.join(wanted)} in {path}, found none; restore it")
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


class PixelRows(NamedTuple):
    """FER2013's own form: rows of an emotion, 48 × 48 grey values as text, and a usage."""

    path: str
    table: pd.DataFrame  # `emotion` and `usage`, as texts
    faces: list[np.ndarray | InputError]  # uint8 (48, 48), or what is wrong with it

    def load(self, image: int) -> np.ndarray:
        """The face of row `image`, from 0: uint8 (48, 48, 3), grey; `InputError` if it has none."""
        if not 0 <= image < len(self.faces):
            expected = f"images 0 to {len(self.faces) - 1} in {self.path}"
            raise InputError(f"expected {expected}, found none numbered {image}")
        face = self.faces[image]
        if isinstance(face, InputError):
            raise face
        return np.repeat(face[:, :, None], 3, axis=2)


def pixel_rows(path: str | os.PathLike) -> PixelRows:
    """The rows of a file like `fer2013.csv`, read once, and again when it has changed."""
    if not os.path.isfile(path):
        raise InputError(f"expected FER2013's images in {path}, found no such file; restore it")
    state = os.stat(path)
    return _read_pixels(os.fspath(path), state.st_mtime_ns, state.st_ctime_ns, state.st_size)


@functools.lru_cache(maxsize=2)
def _read_pixels(path: str, *changed: int) -> PixelRows:
    table = read_columns(path, PIXEL_COLUMNS, parse=_parse_face)
    return PixelRows(path, table, table.pop("pixels").tolist())


def _parse_face(where: str, emotion: str, text: str, usage: str) -> list:
    digits = text.isascii() and text.replace(" ", "").isdigit()
    values = np.fromstring(text, dtype=np.int64, sep=" ") if digits else np.array([-1])
    if len(values) == _SIDE**2 and values.min() >= 0 and values.max() <= 255:
        return [emotion, values.astype(np.uint8).reshape(_SIDE, _SIDE), usage]
    expected = f"{_SIDE**2} pixels, whole numbers from 0 to 255"
    found = f"{len(text.split())} beginning {text[:20]!r}"
    return [emotion, bad_row(where, expected, found), usage]
