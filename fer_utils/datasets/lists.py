"""What the readers share: rows of label files, numbers and names checked, images listed and opened.

Rows are counted from 1 as an editor shows them, header and blank lines included.
"""

import contextlib
import csv
import hashlib
import itertools
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextvars import ContextVar
from pathlib import Path

import numpy as np
import pandas as pd
import PIL

from fer_utils.core import InputError, atomic_write
from fer_utils.datasets.images import fingerprint, image_opener, in_threads
from fer_utils.datasets.manifest import check_manifest
from fer_utils.datasets.pixel_rows import bad_row

ON_BAD_IMAGE = ("raise", "skip")
IMAGE_ENDINGS = frozenset((".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"))
_NAMED = 100  # bad images whose names the attrs keep
_CACHE: ContextVar[Path | None] = ContextVar("remembered_checks", default=None)


def csv_rows(path: str | os.PathLike) -> Iterator[tuple[int, list[str]]]:
    """Rows of a comma-separated file that are not blank, with their numbers.

    A byte-order mark and CRLF do not matter. Bytes that are no UTF-8 become a name that is absent
    or a malformed field, either of which is reported as such.
    """
    with open(path, encoding="utf-8-sig", errors="replace", newline="") as file:
        rows = csv.reader(file, skipinitialspace=True)
        for row in itertools.count(1):
            before = rows.line_num
            try:
                fields = next(rows, None)
            except csv.Error as error:
                found = f"text that cannot be split ({error})"
                raise bad_row(path, row, "fields between commas", found) from None
            if rows.line_num > before + 1:  # an open quotation mark swallows what follows
                found = "a quotation that goes on over lines"
                raise bad_row(path, row, "fields on one line", found)
            if fields is None:
                return
            fields = [field.strip() for field in fields]
            if any(fields):
                yield row, fields


def read_columns(path, wanted: Sequence[str], headerless: Sequence[str]) -> pd.DataFrame:
    """Columns of a comma-separated file: texts, indexed by the row numbers.

    Args:
        wanted: names of the columns, in any case.
        headerless: all columns in order, for a file whose first row holds none of the names.
    """
    first_row, first = next(csv_rows(path), (0, []))
    names = [name.casefold() for name in first]
    has_header = any(name.casefold() in names for name in headerless)
    if not has_header and len(first) >= len(headerless):
        names = [name.casefold() for name in headerless]
    absent = [name for name in wanted if name.casefold() not in names]
    if first and absent:
        found = f"none named {', '.join(absent)} but {', '.join(first)[:200]!r}"
        raise InputError(
            f"expected the columns {', '.join(wanted)} in {path}, found {found}; add these"
        )
    places = [names.index(name.casefold()) for name in wanted if first]
    rows = {}
    for row, fields in csv_rows(path):
        if row > first_row or not has_header:
            fields += [""] * (len(first) - len(fields))
            rows[row] = [fields[place] for place in places]
    if not rows:
        raise InputError(f"expected rows of {', '.join(wanted)} in {path}, found none; restore it")
    return pd.DataFrame([*rows.values()], index=[*rows], columns=list(wanted))


def to_numbers(values: pd.Series, path, expected: str) -> np.ndarray:
    """Texts, indexed by their row numbers, as float64; what is no finite number is refused."""
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
    odd = names.str.contains("[\x00-\x1f\x7f\x85\u2028\u2029]").to_numpy(dtype=bool)
    check_rows(~odd, names, path, "the name of an image on one line")


def check_once(names: pd.Series, path) -> None:
    """Raise if a name, of a Series indexed by row numbers, stands twice."""
    twice = names.duplicated().to_numpy()
    if twice.any():
        name, row = names.iloc[twice.argmax()], names.index[twice.argmax()]
        first = names.index[(names == name).to_numpy().argmax()]
        found = f"{name!r} in row {first} as well (and {twice.sum() - 1} more such rows)"
        raise bad_row(path, row, "every image once", found)


def list_images(root: str | os.PathLike) -> list[str]:
    """Paths of all image files below `root`, relative to it with forward slashes, sorted.

    Links to folders are followed, each real folder once, so that loops end. What begins with a dot
    is hidden, as are `__MACOSX` folders. Endings count in any case.
    """
    found, seen = [], set()
    for folder, subfolders, files in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:
            subfolders.clear()
            continue
        seen.add(real)
        shown = [n for n in subfolders if not n.startswith(".") and n != "__MACOSX"]
        subfolders[:] = sorted(shown)
        below = Path(folder).relative_to(root)
        for name in files:
            if not name.startswith(".") and Path(name).suffix.lower() in IMAGE_ENDINGS:
                found.append((below / name).as_posix())
    return sorted(found)


def to_manifest(table, lists: Mapping, check_images: bool, on_bad_image: str) -> pd.DataFrame:
    """A reader's table as a manifest, its images opened (`open_images`) if `check_images`."""
    if check_images:
        table = open_images(table, lists, on_bad_image)
    return check_manifest(table.drop(columns="row", errors="ignore").reset_index(drop=True))


def open_images(table, lists: Mapping, on_bad_image: str, remedy="restore them") -> pd.DataFrame:
    """Open every image of a reader's table; `InputError` names the first bad one and its row.

    Args:
        table: of a manifest, with attrs; `row` is where each image stands in its list.
        lists: split → path of the list that names its images; empty where the folder lists them.
        remedy: what to do about absent images.

    Returns:
        The rows of good images with `fingerprint`, and ``attrs["bad_images"]``: `count`, `names`.
    """
    names = table["image"].tolist()
    paths = [os.path.join(table.attrs["root"], str(name)) for name in names]
    of_files = "pixels" not in table.attrs
    absent = np.array([of_files and not os.path.exists(path) for path in paths])
    if on_bad_image == "raise" and absent.any():
        place = int(absent.argmax())
        where = _where(table, place, lists, " ({} row {})")
        raise InputError(
            f"expected every image that is listed, found {absent.sum()} absent, the first "
            f"{paths[place]}{where}; {remedy}, or leave them out with on_bad_image='skip'"
        )
    load = image_opener(table)

    def attempt(place: int) -> str | InputError:
        try:
            return fingerprint(load(names[place]))
        except InputError as error:
            return error

    cache = _cache_file(table.attrs["root"]) if of_files else None
    states = [_state(path) if cache else "" for path in paths]  # now: a later change is noticed
    known = _recall(cache)
    hashes = np.array([*map(known.get, states), None], dtype=object)[:-1]
    todo = np.flatnonzero(~absent & ~hashes.astype(bool)).tolist()
    with contextlib.closing(in_threads(attempt, todo)) as results:
        for place, result in zip(todo, results, strict=True):
            if not isinstance(result, InputError):
                hashes[place] = result
            elif on_bad_image == "raise":
                row = _where(table, place, lists, "{} row {}: ")
                raise InputError(f"{row}{result}") from result

    good = hashes.astype(bool)
    found = {state: value for state, value in zip(states, hashes, strict=True) if state and value}
    if found.keys() - known.keys():
        with atomic_write(cache) as temporary:
            temporary.write_text(json.dumps(known | found))
    if not good.any():
        found = f"{len(good)} listed and none of them readable; check the folder"
        raise InputError(f"expected images at {table.attrs['root']}, found {found}")
    bad = table["image"][~good].tolist()
    table = table[good].assign(fingerprint=hashes[good])
    table.attrs |= {"bad_images": {"count": len(bad), "names": bad[:_NAMED]}}
    return table


def _where(table: pd.DataFrame, place: int, lists: Mapping, form: str) -> str:
    """Path and row of the list that names an image, in `form`; nothing without lists."""
    return form.format(lists[table["split"].iloc[place]], table["row"].iloc[place]) if lists else ""


@contextlib.contextmanager
def remembered_checks(folder: str | os.PathLike) -> Iterator[None]:
    """Within it, readers keep fingerprints in `folder`, and do not decode unchanged files again.

    A damaged cache is as good as none; bad images are looked at again each time.
    """
    token = _CACHE.set(Path(folder))
    try:
        yield
    finally:
        _CACHE.reset(token)


def _cache_file(root: str) -> Path | None:
    name = hashlib.blake2b(os.path.abspath(root).encode(), digest_size=12).hexdigest()
    return _CACHE.get() and _CACHE.get() / f"{name}.json"


def _recall(cache: Path | None) -> dict[str, str]:
    """State of a file → fingerprint."""
    with contextlib.suppress(OSError, ValueError):
        return dict(json.loads(cache.read_text())) if cache else {}
    return {}


def _state(path: str) -> str:
    """What tells that a file has changed, or may be decoded otherwise; empty without a file.

    A copy that keeps size and time of change still has another inode or time of its status.
    """
    with contextlib.suppress(OSError, ValueError):
        file = os.stat(path)
        times = f"{file.st_mtime_ns} {file.st_ctime_ns}"
        return f"{path} {file.st_size} {times} {file.st_ino} Pillow {PIL.__version__}"
    return ""
