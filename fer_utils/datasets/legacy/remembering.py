"""What earlier checks found of files that have not changed since, so that a study of many runs decodes them once."""

import contextlib
import hashlib
import os
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path

import numpy as np
import pandas as pd

from fer_utils.core import atomic_write as replaced

_FOLDER: ContextVar[Path | None] = ContextVar("remembered_checks", default=None)
_COLUMNS = ["image", "size", "changed", "fingerprint"]


@contextlib.contextmanager
def remembered_checks(folder: str | os.PathLike) -> Iterator[None]:
    """Within it, readers take the fingerprints of unchanged files from `folder`, and leave there what they compute.

    A file is unchanged if its path, size and time of change (nanoseconds) are. One Parquet file a dataset folder; a
    damaged one is as good as none. Bad images are not remembered: they are looked at again.

    Args:
        folder: made when there is something to remember.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder, remembered_checks(folder):
    ...     recall(pd.DataFrame({"image": ["new.png"]})).tolist()
    [None]
    """
    token = _FOLDER.set(Path(folder))
    try:
        yield
    finally:
        _FOLDER.reset(token)


def recall(table: pd.DataFrame) -> np.ndarray:
    """Fingerprints of the rows' images, None where none is remembered or the file has changed; (N,) objects."""
    unknown = np.full(len(table), None, dtype=object)
    path = _store(table)
    if path is None or not path.is_file():
        return unknown
    try:
        stored = pd.read_parquet(path, columns=_COLUMNS)
    except (OSError, ValueError):  # pyarrow's own errors are ValueErrors
        return unknown
    stored = {row[:3]: row[3] for row in stored.itertuples(index=False, name=None)}
    return np.array([*map(stored.get, _stamps(table)), None], dtype=object)[:-1]


def remember(table: pd.DataFrame, fingerprints: np.ndarray) -> None:
    """Keep what is known of the rows' images beside what is known of others in the same dataset folder."""
    path = _store(table)
    known = fingerprints.astype(bool)
    if path is None or not known.any():
        return
    rows = [(*stamp, value) for stamp, value in zip(_stamps(table), fingerprints, strict=True) if value]
    found = pd.DataFrame(rows, columns=_COLUMNS)
    with contextlib.suppress(OSError, ValueError):
        found = pd.concat([found, pd.read_parquet(path, columns=_COLUMNS)]).drop_duplicates("image")
    with replaced(path) as unfinished:
        found.to_parquet(unfinished, index=False)


def _store(table: pd.DataFrame) -> Path | None:
    """The file for a table's dataset folder; None where nothing is remembered, or images are rows of one file."""
    folder = _FOLDER.get()
    if folder is None or "pixels" in table.attrs or "root" not in table.attrs:
        return None
    root = os.path.abspath(table.attrs["root"])
    return folder / f"{hashlib.blake2b(root.encode(), digest_size=12).hexdigest()}.parquet"


def _stamps(table: pd.DataFrame) -> Iterator[tuple[str, int, int]]:
    """Each row's path, size and time of change; −1 where there is no such file."""
    for image in table["image"].tolist():
        try:
            found = os.stat(os.path.join(table.attrs["root"], image))
        except (OSError, ValueError):
            yield image, -1, -1
        else:
            yield image, found.st_size, found.st_mtime_ns
