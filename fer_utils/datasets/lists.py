"""What the readers share: rows of label files, numbers and names checked, images listed and opened.

Rows are counted from 1 as an editor shows them, header and blank lines included.
"""

import contextlib
import csv
import hashlib
import itertools
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
_COLUMNS = ["image", "state", "fingerprint"]


def csv_rows(path: str | os.PathLike) -> Iterator[tuple[int, list[str]]]:
    """Rows of a comma-separated file that are not blank, with their numbers.

    A byte-order mark and CRLF do not matter. Bytes that are no UTF-8 become a name that is absent
    or a malformed field, either of which is reported as such.
    """
    with open(path, encoding="utf-8-sig", errors="replace", newline="") as file:
        rows = csv.reader(file, skipinitialspace=True)
        for row in itertools.count(1):
            try:
                fields = next(rows, None)
            except csv.Error as error:
                found = f"text that cannot be split ({error})"
                raise bad_row(path, row, "fields between commas", found) from None
            if fields is None:
                return
            fields = [field.strip() for field in fields]
            if any(fields):
                yield row, fields


def read_columns(path, wanted: Sequence[str], headerless: Sequence[str]) -> pd.DataFrame:
    """Columns of a large comma-separated file: texts, indexed by the row numbers.

    Args:
        wanted: names of the columns, compared without case and spaces around them.
        headerless: all columns in order, for a file whose first row holds none of the names.
    """
    first_row, first = next(csv_rows(path), (0, []))
    names = [name.casefold() for name in first]
    has_header = any(name.casefold() in names for name in headerless)
    if not first:
        raise _no_rows(path, wanted)
    if not has_header and len(first) >= len(headerless):
        names = [name.casefold() for name in headerless]
    absent = [name for name in wanted if name.casefold() not in names]
    if absent:
        raise InputError(
            f"expected the columns {', '.join(wanted)} in {path}, found none named "
            f"{', '.join(absent)} but {', '.join(first)[:200]!r}; rename or add what is missing"
        )
    places = [names.index(name.casefold()) for name in wanted]
    skipped = first_row if has_header else 0
    try:
        table = pd.read_csv(
            path,
            header=None,
            names=range(len(first)),
            usecols=places,
            skiprows=skipped,
            dtype=str,
            na_filter=False,
            index_col=False,
            skip_blank_lines=False,
            skipinitialspace=True,
            encoding="utf-8-sig",
            encoding_errors="replace",
        )
    except ValueError as error:  # pandas' ParserError and EmptyDataError among them
        reason = " ".join(str(error).split())
        raise InputError(
            f"expected rows of {', '.join(wanted)} in {path}, found text that cannot be read as "
            f"such ({reason}); mend or restore it"
        ) from None
    table = table[places].set_axis(list(wanted), axis=1)
    table.index += skipped + 1
    table = table[(table != "").any(axis=1)]
    if table.empty:
        raise _no_rows(path, wanted)
    return table


def _no_rows(path, wanted: Sequence[str]) -> InputError:
    return InputError(f"expected rows of {', '.join(wanted)} in {path}, found none; restore it")


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
        raise InputError(
            f"{path} row {row}: expected every image once, found {name!r} in row {first} as well "
            f"(and {twice.sum() - 1} more such rows); keep the right one"
        )


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


def to_manifest(
    table: pd.DataFrame, lists: Mapping, check_images: bool, on_bad_image: str
) -> pd.DataFrame:
    """A reader's table as a manifest, its images opened (`open_images`) if `check_images`."""
    if check_images:
        table = open_images(table, lists, on_bad_image)
    return check_manifest(table.drop(columns="row", errors="ignore").reset_index(drop=True))


def open_images(
    table: pd.DataFrame, lists: Mapping, on_bad_image: str, remedy: str = "restore them"
) -> pd.DataFrame:
    """Open every image of a reader's table.

    Args:
        table: of a manifest, with attrs; `row` is where each image stands in its list.
        lists: split → path of the list that names its images; empty where the folder lists them.
        on_bad_image: "raise" an error for an absent or undecodable image, or "skip" its row.
        remedy: what to do about absent images.

    Returns:
        The rows of good images with `fingerprint`, and ``attrs["bad_images"]``: `count`, `names`.

    Raises:
        InputError: naming the first bad image and its row; or if no image is good.
    """
    absent = _absent(table)
    if on_bad_image == "raise" and absent.any():
        place = int(absent.argmax())
        path = os.path.join(table.attrs["root"], table["image"].iloc[place])
        raise InputError(
            f"expected every image that is listed, found {absent.sum()} absent, the first {path}"
            f"{_where(table, place, lists, ' ({} row {})')}; {remedy}, or leave them out with "
            "on_bad_image='skip'"
        )
    load, names = image_opener(table), table["image"].tolist()

    def attempt(place: int) -> str | InputError:
        try:
            return fingerprint(load(names[place]))
        except InputError as error:
            return error

    cache = _cache_file(table)
    states = _states(table) if cache else []  # before decoding: a later change is noticed
    hashes = _recall(cache, names, states) if cache else np.full(len(table), None, dtype=object)
    todo = np.flatnonzero(~absent & ~hashes.astype(bool)).tolist()
    with contextlib.closing(in_threads(attempt, todo)) as results:
        for place, result in zip(todo, results, strict=True):
            if not isinstance(result, InputError):
                hashes[place] = result
            elif on_bad_image == "raise":
                row = _where(table, place, lists, "{} row {}: ")
                raise InputError(f"{row}{result}") from result

    good = hashes.astype(bool)
    if cache and good[todo].any():
        _remember(cache, names, states, hashes)
    if not good.any():
        raise InputError(
            f"expected readable images at {table.attrs['root']}, found {len(good)} listed and none "
            "of them readable; check that it is the folder of the images"
        )
    bad = table["image"][~good].tolist()
    table = table[good].assign(fingerprint=hashes[good])
    table.attrs |= {"bad_images": {"count": len(bad), "names": bad[:_NAMED]}}
    return table


def _absent(table: pd.DataFrame) -> np.ndarray:
    """Which images have no file: a listing a folder is quick on a network disk as well."""
    if "pixels" in table.attrs:
        return np.zeros(len(table), dtype=bool)
    root, listings, absent = table.attrs["root"], {}, []
    for image in table["image"].tolist():
        folder, _, name = image.rpartition("/")
        if folder not in listings:
            listings[folder] = set()
            with contextlib.suppress(OSError, ValueError):
                listings[folder] = {*os.listdir(os.path.join(root, folder))}
        # The look-up settles what a listing spells otherwise: upper and lower case, accents.
        there = name in listings[folder] or os.path.exists(os.path.join(root, image))
        absent.append(not there)
    return np.array(absent)


def _where(table: pd.DataFrame, place: int, lists: Mapping, form: str) -> str:
    """Path and row of the list that names an image, in `form`; nothing without lists."""
    return form.format(lists[table["split"].iloc[place]], table["row"].iloc[place]) if lists else ""


@contextlib.contextmanager
def remembered_checks(folder: str | os.PathLike) -> Iterator[None]:
    """Within it, readers keep fingerprints in `folder`, and do not decode unchanged files again.

    One Parquet file a dataset folder; a damaged one is as good as none. Bad images are looked at
    again each time.
    """
    token = _CACHE.set(Path(folder))
    try:
        yield
    finally:
        _CACHE.reset(token)


def _cache_file(table: pd.DataFrame) -> Path | None:
    """None where nothing is remembered, or the images are rows of one file."""
    if _CACHE.get() is None or "pixels" in table.attrs:
        return None
    root = os.path.abspath(table.attrs["root"])
    return _CACHE.get() / f"{hashlib.blake2b(root.encode(), digest_size=12).hexdigest()}.parquet"


def _states(table: pd.DataFrame) -> list[str]:
    """What tells that a file has changed, or may be decoded otherwise; empty without a file.

    A copy that keeps size and time of change still has another inode or time of its status.
    """
    states = []
    for image in table["image"].tolist():
        states.append("")
        with contextlib.suppress(OSError, ValueError):
            file = os.stat(os.path.join(table.attrs["root"], image))
            times = f"{file.st_mtime_ns} {file.st_ctime_ns}"
            states[-1] = f"{file.st_size} {times} {file.st_ino} Pillow {PIL.__version__}"
    return states


def _recall(cache: Path, names: list[str], states: list[str]) -> np.ndarray:
    """Fingerprints (N,) of unchanged files, None for others."""
    known = {}
    with contextlib.suppress(OSError, ValueError):  # pyarrow's errors are ValueErrors
        stored = pd.read_parquet(cache, columns=_COLUMNS)
        known = {tuple(row[:2]): row[2] for row in stored.itertuples(index=False, name=None)}
    found = [known.get(key) for key in zip(names, states, strict=True)]
    return np.array([*found, None], dtype=object)[:-1]


def _remember(cache: Path, names: list[str], states: list[str], hashes: np.ndarray) -> None:
    """Keep what is known of these images beside what is known of others in the same folder."""
    rows = [row for row in zip(names, states, hashes, strict=True) if row[1] and row[2]]
    found = pd.DataFrame(rows, columns=_COLUMNS)
    with contextlib.suppress(OSError, ValueError):
        stored = pd.read_parquet(cache, columns=_COLUMNS)
        found = pd.concat([found, stored]).drop_duplicates("image")
    with atomic_write(cache) as temporary:
        found.to_parquet(temporary, index=False)
