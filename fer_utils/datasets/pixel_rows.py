"""FER2013's own form: a CSV whose rows hold a label, a usage and 48 × 48 grey values as text."""

import functools
import os
from typing import NamedTuple

import numpy as np

from fer_utils.core import InputError

SIDE = 48
COLUMNS = ("emotion", "pixels", "Usage")


class _Index(NamedTuple):
    places: dict[str, int]  # column, in small letters → its place in a row
    starts: list[int]  # where each row begins, in bytes
    rows: list[int]  # its number in the file, from 1
    emotions: list[str]
    usages: list[str]


def bad_row(path, row: int, expected: str, found: str) -> InputError:
    """The error about one row of a file, for the caller to raise."""
    return InputError(f"{path} row {row}: expected {expected}, found {found}; mend that row")


class PixelRows:
    """The rows of a file like `fer2013.csv`, from 0; their pixels are read when asked for.

    Columns go by their names; spaces around them, a byte-order mark, CRLF and blank lines do not
    matter. A file is scanned once, however many objects are made, and again when it has changed.

    Attributes:
        emotions, usages: of each row, as the file has them.
        rows: the number of each row in the file, from 1.

    Raises:
        InputError: for no such file, an absent column, no rows, or a row with other fields.
    """

    def __init__(self, path: str | os.PathLike):
        self.path = os.fspath(path)
        if not os.path.isfile(self.path):
            raise InputError(
                f"expected FER2013's images in {self.path}, found no such file; restore it"
            )
        state = os.stat(self.path)
        self._index = _scan(self.path, state.st_mtime_ns, state.st_ctime_ns, state.st_size)
        self.emotions, self.usages = self._index.emotions, self._index.usages
        self.rows = self._index.rows

    def __len__(self) -> int:
        return len(self.rows)

    def load(self, image: int) -> np.ndarray:
        """The face of row `image`, from 0: uint8 (48, 48, 3), grey; `InputError` if it has none."""
        if not 0 <= image < len(self):
            raise InputError(
                f"expected images 0 to {len(self) - 1} in {self.path}, found none numbered {image}"
            )
        with open(self.path, "rb") as file:  # a shared one would not survive threads and forks
            file.seek(self._index.starts[image])
            text = _split(file.readline())[self._index.places["pixels"]]
        foreign = text.translate(None, b"0123456789 \t")
        values = np.array([]) if foreign else np.fromstring(text, dtype=np.int64, sep=" ")
        if len(values) != SIDE**2 or values.min() < 0 or values.max() > 255:
            expected = f"{SIDE**2} pixels, whole numbers from 0 to 255"
            found = f"{len(text.split())} beginning {_text(text[:20])!r}"
            raise bad_row(self.path, self.rows[image], expected, found)
        return np.repeat(values.astype(np.uint8).reshape(SIDE, SIDE, 1), 3, axis=2)


@functools.lru_cache(maxsize=4)
def _scan(path: str, *changed: int) -> _Index:
    """All but the pixels; times of change and size tell a changed file."""
    index, begin = None, 0
    with open(path, "rb") as file:
        for row, line in enumerate(file, start=1):
            start, begin = begin, begin + len(line)
            fields = _split(line)
            if not any(fields):
                continue
            if index is None:
                index = _Index(_places(path, fields), [], [], [], [])
                continue
            if len(fields) != len(index.places):
                expected = f"{len(index.places)} fields ({', '.join(index.places)})"
                found = f"{len(fields)} fields beginning {_text(fields[0][:40])!r}"
                raise bad_row(path, row, expected, found)
            index.starts.append(start)
            index.rows.append(row)
            index.emotions.append(_text(fields[index.places["emotion"]]))
            index.usages.append(_text(fields[index.places["usage"]]))
    if index is None or not index.rows:
        raise InputError(
            f"expected rows of {', '.join(COLUMNS)} in {path}, found none; restore it"
        )
    return index


def _places(path: str, header: list[bytes]) -> dict[str, int]:
    names = [_text(field) for field in header]
    places = {name.casefold(): place for place, name in enumerate(names)}
    absent = [name for name in COLUMNS if name.casefold() not in places]
    if absent:
        raise InputError(
            f"expected the columns {', '.join(COLUMNS)} in {path}, found none named "
            f"{', '.join(absent)} but {', '.join(names)[:80]!r}; take fer2013.csv or "
            "icml_face_data.csv, which have labels and splits"
        )
    return places


def _split(line: bytes) -> list[bytes]:
    """Fields of a row. No field holds a comma, and the csv module is 20 times slower here."""
    line = line.removeprefix(b"\xef\xbb\xbf")
    return [field.strip(b' "\t\r\n') for field in line.split(b",")]


def _text(field: bytes) -> str:
    return field.decode(errors="replace")
