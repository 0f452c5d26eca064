"""FER2013's own form: one large CSV whose rows hold a label, a usage and 48 × 48 grey values as text."""

import functools
import os
from typing import NamedTuple

import numpy as np

from fer_utils.datasets.legacy.csv_rows import bad_row
from fer_utils.core import InputError

SIDE = 48
COLUMNS = ("emotion", "pixels", "Usage")
_DIGITS = b"0123456789 \t"


class _Index(NamedTuple):
    places: dict[str, int]  # column (in small letters) → its place in a row
    starts: np.ndarray  # (N,) where each row begins, in bytes
    rows: np.ndarray  # (N,) its number in the file, from 1
    emotions: list[str]
    usages: list[str]


class PixelRows:
    """The rows of `fer2013.csv` or `icml_face_data.csv`, numbered from 0; pixels are read when asked for.

    Columns are found by their names, spaces around them, a byte-order mark, CRLF and blank lines do not matter.

    Args:
        path: the file. It is scanned once for where its rows begin, however many objects are made.

    Attributes:
        path: as given.
        emotions, usages: list of N str, as they stand in the file.
        rows: int array (N,), the number of each row in the file, from 1.

    Raises:
        InputError: for an absent file or column, no rows, or a row with more or fewer fields than the header.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with open(f"{folder}/fer2013.csv", "w") as file:
        ...         _ = file.write("emotion,pixels,Usage\\n3," + " ".join(["7"] * 2304) + ",Training\\n")
        ...     faces = PixelRows(f"{folder}/fer2013.csv")
        ...     faces.emotions, faces.usages, faces.load(0).shape
        (['3'], ['Training'], (48, 48, 3))
    """

    def __init__(self, path: str | os.PathLike):
        self.path = os.fspath(path)
        if not os.path.isfile(self.path):
            raise InputError(f"expected FER2013's images in {self.path}, found no such file; restore it")
        state = os.stat(self.path)
        self._index = _scan(self.path, state.st_mtime_ns, state.st_size)
        self.rows, self.emotions, self.usages = self._index.rows, self._index.emotions, self._index.usages

    def __len__(self) -> int:
        return len(self.rows)

    def load(self, image: int) -> np.ndarray:
        """The face of row `image` (from 0): uint8 array (48, 48, 3), grey in three channels.

        Raises:
            InputError: where the row does not hold 48 × 48 whole numbers from 0 to 255, or is not in the file.
        """
        if not 0 <= image < len(self):
            raise InputError(f"expected images 0 to {len(self) - 1} in {self.path}, found none numbered {image}")
        with open(self.path, "rb") as file:  # anew at each call: a shared one would not survive threads and forks
            file.seek(self._index.starts[image])
            text = _split(file.readline())[self._index.places["pixels"]]
        values = np.fromstring(text, dtype=np.int64, sep=" ") if not text.translate(None, _DIGITS) else np.array([])
        if values.shape != (SIDE**2,) or values.min() < 0 or values.max() > 255:
            raise bad_row(
                self.path,
                self.rows[image],
                f"{SIDE**2} pixels, whole numbers from 0 to 255",
                f"{len(text.split())} beginning {text[:20].decode(errors='replace')!r}",
            )
        return np.repeat(values.astype(np.uint8).reshape(SIDE, SIDE, 1), 3, axis=2)


@functools.lru_cache(maxsize=4)
def _scan(path: str, changed: int, size: int) -> _Index:
    """Where the rows begin and all but their pixels; the time of change and the size tell a changed file."""
    places, starts, rows, emotions, usages = None, [], [], [], []
    begin = 0
    with open(path, "rb") as file:
        for row, line in enumerate(file, start=1):
            start, begin = begin, begin + len(line)
            fields = _split(line)
            if not any(fields):
                continue
            if places is None:
                places = _places(path, fields)
                continue
            if len(fields) != len(places):
                found = f"{len(fields)} fields beginning {fields[0][:40].decode(errors='replace')!r}"
                raise bad_row(path, row, f"{len(places)} fields ({', '.join(places)})", found)
            starts.append(start)
            rows.append(row)
            emotions.append(fields[places["emotion"]].decode(errors="replace"))
            usages.append(fields[places["usage"]].decode(errors="replace"))
    if not rows:
        raise InputError(f"expected rows of {', '.join(COLUMNS)} in {path}, found none; restore it")
    return _Index(places, np.array(starts), np.array(rows), emotions, usages)


def _places(path: str, header: list[bytes]) -> dict[str, int]:
    names = [field.decode(errors="replace") for field in header]
    places = {name.casefold(): place for place, name in enumerate(names)}
    absent = [name for name in COLUMNS if name.casefold() not in places]
    if absent:
        raise InputError(
            f"expected the columns {', '.join(COLUMNS)} in {path}, found none named {', '.join(absent)} but "
            f"{', '.join(names)[:80]!r}; take fer2013.csv or icml_face_data.csv, which have labels and splits"
        )
    return places


def _split(line: bytes) -> list[bytes]:
    """Fields of a row; none holds a comma, so the csv module, 20 times slower on such long ones, is not needed."""
    return [field.strip(b' "\t\r\n') for field in line.removeprefix(b"\xef\xbb\xbf").split(b",")]
