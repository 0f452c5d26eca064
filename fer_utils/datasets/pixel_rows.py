"""FER2013's own form: a CSV whose rows hold a label, a usage and 48 × 48 grey values as text."""

import functools
import os

import numpy as np

from fer_utils.core import InputError

SIDE = 48
COLUMNS = ("emotion", "pixels", "Usage")


def bad_row(path, row: int, expected: str, found: str) -> InputError:
    """The error about one row of a file, for the caller to raise."""
    return InputError(f"{path} row {row}: expected {expected}, found {found}; mend that row")


def pixel_rows(path: str | os.PathLike) -> "PixelRows":
    """The rows of a file like `fer2013.csv`, scanned once, and again when it has changed."""
    if not os.path.isfile(path):
        raise InputError(f"expected FER2013's images in {path}, found no such file; restore it")
    state = os.stat(path)
    return _scanned(os.fspath(path), state.st_mtime_ns, state.st_ctime_ns, state.st_size)


class PixelRows:
    """The rows of a file like `fer2013.csv`, from 0; their pixels are read when asked for.

    Columns go by their names; spaces around them, a byte-order mark, CRLF and blank lines do not
    matter. `emotions` and `usages` are as in the file, `rows` are numbers in it, from 1.

    Raises:
        InputError: for an absent column, no rows, or a row with more or fewer fields.
    """

    def __init__(self, path: str):
        self.path, self._places, begin = path, {}, 0
        self._starts, self.rows, self.emotions, self.usages = [], [], [], []
        with open(path, "rb") as file:
            for row, line in enumerate(file, start=1):
                start, begin = begin, begin + len(line)
                fields = _split(line)
                if any(fields) and not self._places:
                    self._places = _places(path, fields)
                elif any(fields):
                    self._add(row, start, fields)
        if not self.rows:
            raise InputError(
                f"expected rows of {', '.join(COLUMNS)} in {path}, found none; restore it"
            )

    def _add(self, row: int, start: int, fields: list[bytes]) -> None:
        if len(fields) != len(self._places):
            expected = f"{len(self._places)} fields ({', '.join(self._places)})"
            found = f"{len(fields)} fields beginning {_text(fields[0][:40])!r}"
            raise bad_row(self.path, row, expected, found)
        self._starts.append(start)
        self.rows.append(row)
        self.emotions.append(_text(fields[self._places["emotion"]]))
        self.usages.append(_text(fields[self._places["usage"]]))

    def __len__(self) -> int:
        return len(self.rows)

    def load(self, image: int) -> np.ndarray:
        """The face of row `image`, from 0: uint8 (48, 48, 3), grey; `InputError` if it has none."""
        if not 0 <= image < len(self):
            raise InputError(
                f"expected images 0 to {len(self) - 1} in {self.path}, found none numbered {image}"
            )
        with open(self.path, "rb") as file:  # a shared one would not survive threads and forks
            file.seek(self._starts[image])
            text = _split(file.readline())[self._places["pixels"]]
        foreign = text.translate(None, b"0123456789 \t")
        values = np.array([]) if foreign else np.fromstring(text, dtype=np.int64, sep=" ")
        if len(values) != SIDE**2 or values.min() < 0 or values.max() > 255:
            expected = f"{SIDE**2} pixels, whole numbers from 0 to 255"
            found = f"{len(text.split())} beginning {_text(text[:20])!r}"
            raise bad_row(self.path, self.rows[image], expected, found)
        return np.repeat(values.astype(np.uint8).reshape(SIDE, SIDE, 1), 3, axis=2)


@functools.lru_cache(maxsize=4)
def _scanned(path: str, *changed: int) -> PixelRows:
    return PixelRows(path)


def _places(path: str, header: list[bytes]) -> dict[str, int]:
    names = [_text(field) for field in header]
    places = {name.casefold(): place for place, name in enumerate(names)}
    absent = [name for name in COLUMNS if name.casefold() not in places]
    if absent:
        found = f"none named {', '.join(absent)} but {', '.join(names)[:80]!r}"
        raise InputError(f"expected the columns {', '.join(COLUMNS)} in {path}, found {found}")
    return places


def _split(line: bytes) -> list[bytes]:
    """Fields of a row. No field holds a comma, and the csv module is 20 times slower here."""
    line = line.removeprefix(b"\xef\xbb\xbf")
    return [field.strip(b' "\t\r\n') for field in line.split(b",")]


def _text(field: bytes) -> str:
    return field.decode(errors="replace")
