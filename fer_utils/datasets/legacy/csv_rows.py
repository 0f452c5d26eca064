"""What the readers of label files share: rows as text, numbers and names checked, and errors that name file and row.

Rows are counted from 1, as an editor shows them, the header and blank lines included.
"""

import csv
import itertools
import os
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from fer_utils.core import InputError


def bad_row(path, row: int, expected: str, found: str) -> InputError:
    """The error about one row of a file, for the caller to raise."""
    return InputError(f"{path} row {row}: expected {expected}, found {found}; mend that row")


def csv_rows(path: str | os.PathLike) -> Iterator[tuple[int, list[str]]]:
    """Rows of a comma-separated file that are not blank, with their numbers; a byte-order mark and CRLF do not matter.

    Bytes that are no UTF-8 become a name that is absent or a malformed field, either of which is reported as such.

    Raises:
        InputError: where the text cannot be split into fields.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with open(f"{folder}/list.csv", "w") as file:
        ...         _ = file.write('name, box\\n\\na.png, "1, 2"\\n')
        ...     list(csv_rows(f"{folder}/list.csv"))
        [(1, ['name', 'box']), (3, ['a.png', '1, 2'])]
    """
    with open(path, encoding="utf-8-sig", errors="replace", newline="") as file:
        rows = csv.reader(file, skipinitialspace=True)
        for row in itertools.count(1):
            try:
                fields = next(rows, None)
            except csv.Error as error:
                raise bad_row(path, row, "fields between commas", f"text that cannot be split ({error})") from None
            if fields is None:
                return
            fields = [field.strip() for field in fields]
            if any(fields):
                yield row, fields


def read_columns(path: str | os.PathLike, wanted: Sequence[str], headerless: Sequence[str]) -> pd.DataFrame:
    """Some columns of a large comma-separated file, by their names where it has a header.

    Args:
        path: the file.
        wanted: the columns to read. Names are compared without spaces around them and in any case.
        headerless: all columns in order, for a file whose first row holds none of the names.

    Returns:
        DataFrame of str, a column each of `wanted`, indexed by the row numbers; blank rows are left out.

    Raises:
        InputError: for no rows, an absent column or text that cannot be split into fields.
    """
    nothing = InputError(f"expected rows of {', '.join(wanted)} in {path}, found none; restore it")
    first_row, first = next(csv_rows(path), (0, []))
    if not first:
        raise nothing
    names = [name.casefold() for name in first]
    has_header = any(name.casefold() in names for name in headerless)
    if not has_header and len(first) >= len(headerless):
        names = [name.casefold() for name in headerless]
    absent = [name for name in wanted if name.casefold() not in names]
    if absent:
        raise InputError(
            f"expected the columns {', '.join(wanted)} in {path}, found none named {', '.join(absent)} but "
            f"{', '.join(first)[:200]!r}; rename or add what is missing"
        )
    places = [names.index(name.casefold()) for name in wanted]
    skipped = first_row if has_header else 0
    try:
        table = pd.read_csv(
            path, header=None, names=range(len(first)), usecols=places, skiprows=skipped,
            dtype=str, na_filter=False, index_col=False, skip_blank_lines=False, skipinitialspace=True,
            encoding="utf-8-sig", encoding_errors="replace",
        )  # fmt: skip
    except ValueError as error:  # pandas' ParserError and EmptyDataError among them
        raise InputError(
            f"expected rows of {', '.join(wanted)} in {path}, found text that cannot be read as such "
            f"({' '.join(str(error).split())}); mend or restore it"
        ) from None
    table = table[places].set_axis(list(wanted), axis=1)
    table.index += skipped + 1
    table = table[(table != "").any(axis=1)]
    if table.empty:
        raise nothing
    return table


def to_numbers(values: pd.Series, path, expected: str) -> np.ndarray:
    """Texts, indexed by their row numbers, as float64; refuses what is no finite number."""
    numbers = pd.to_numeric(values, errors="coerce").to_numpy(dtype=float, na_value=np.nan)
    check_rows(np.isfinite(numbers), values, path, expected)
    return numbers


def check_rows(good: np.ndarray, values: pd.Series, path, expected: str) -> None:
    """Raise for the first value, of a Series indexed by row numbers, that is not good."""
    if not good.all():
        place = int(np.argmin(good))
        found = repr(str(values.iloc[place])[:80]) if values.iloc[place] != "" else "nothing"
        raise bad_row(path, values.index[place], expected, found)


def check_names(names: pd.Series, path) -> None:
    """Raise unless every entry, of a Series indexed by row numbers, can name an image."""
    check_rows((names != "").to_numpy(), names, path, "the name of an image")
    one_line = ~names.str.contains("[\x00-\x1f\x7f\x85\u2028\u2029]").to_numpy(dtype=bool)
    check_rows(one_line, names, path, "the name of an image on one line")


def check_once(names: pd.Series, path) -> None:
    """Raise if a name, of a Series indexed by row numbers, stands twice."""
    twice = names.duplicated().to_numpy()
    if twice.any():
        name, row = names.iloc[twice.argmax()], names.index[twice.argmax()]
        first = names.index[(names == name).to_numpy().argmax()]
        raise InputError(
            f"{path} row {row}: expected every image once, found {name!r} in row {first} as well "
            f"(and {twice.sum() - 1} more such rows); keep the right one"
        )
