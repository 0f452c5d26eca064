"""The images behind a manifest, in files or rows of FER2013's CSV: opened, checked, loaded, cut."""

import contextlib
import functools
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from pathlib import Path

import numpy as np
import pandas as pd
import PIL
from PIL import Image
from tqdm import tqdm

from fer_utils.core import InputError, atomic_write, check_choice, raster, require
from fer_utils.datasets.manifest import bad_row, check_manifest, read_columns
from fer_utils.datasets.synthetic import draw_manifest

_NAMED = 100  # bad images whose names the attrs keep
_BATCH = 64  # images a task of a thread: so handing it over takes no time
_DRAWN = 1024  # faces drawn between two steps of the progress bar
_SIDE = 48  # of FER2013's faces
_MEMORY: ContextVar[Path | None] = ContextVar("remembered_checks", default=None)


def is_image(name: str) -> bool:
    """Whether a file's name is that of an image: by its ending, in any case, and not hidden."""
    return os.path.splitext(name)[1].lower() in raster.ENDINGS and not name.startswith(".")


def list_images(root: str | os.PathLike) -> list[str]:
    """Paths of all image files below `root`, relative to it with forward slashes, sorted.

    Links to folders are followed, each real folder once. `.…` and `__MACOSX` folders are hidden.
    """
    found, seen = [], set()
    for folder, subfolders, files in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:
            subfolders.clear()
            continue
        seen.add(real)
        subfolders[:] = sorted(n for n in subfolders if n[0] != "." and n != "__MACOSX")
        below = Path(folder).relative_to(root)
        found += [(below / name).as_posix() for name in files if is_image(name)]
    return sorted(found)


def pixel_rows(path: str | os.PathLike) -> tuple[pd.DataFrame, list[np.ndarray | InputError]]:
    """`emotion` and `usage`, as texts, of `fer2013.csv`; and faces, (48, 48), or what is wrong.

    It is read once, and again when it has changed.
    """
    require(os.path.isfile(path), f"FER2013's images in {path}", "no such file; restore it")
    return _read_pixels(os.fspath(path), _state(path))


@functools.lru_cache(maxsize=2)
def _read_pixels(path: str, state: str) -> tuple[pd.DataFrame, list]:
    table = read_columns(path, ("emotion", "pixels", "usage"), parse=_parse_face)
    return table, table.pop("pixels").tolist()


def _parse_face(where: str, emotion: str, text: str, usage: str) -> list:
    digits = text.isascii() and text.replace(" ", "").isdigit()
    values = np.fromstring(text, dtype=np.int64, sep=" ") if digits else np.array([-1])
    if len(values) == _SIDE**2 and values.min() >= 0 and values.max() <= 255:
        return [emotion, values.astype(np.uint8).reshape(_SIDE, _SIDE), usage]
    expected = f"{_SIDE**2} pixels, whole numbers from 0 to 255"
    found = f"{len(text.split())} beginning {text[:20]!r}"
    return [emotion, bad_row(where, expected, found), usage]


def image_opener(manifest: pd.DataFrame) -> Callable[[object], np.ndarray]:
    """The function from an entry of the column `image` to its pixels; not for drawn faces.

    Images are files below ``attrs["root"]`` or, if ``attrs["pixels"]`` names one, rows of a file.
    """
    root = manifest.attrs.get("root")
    found = "none, as some operations of pandas leave it; copy attrs from the reader's manifest"
    require(root is not None, "attrs['root'], where the images are", found)
    if "pixels" not in manifest.attrs:
        return lambda name: raster.open_image(os.path.join(root, name))
    path = os.path.join(root, manifest.attrs["pixels"])
    _, faces = pixel_rows(path)

    def load(row: int) -> np.ndarray:
        expected = f"images 0 to {len(faces) - 1} in {path}"
        require(0 <= row < len(faces), expected, f"none numbered {row}")
        if isinstance(faces[row], InputError):
            raise faces[row]
        return np.repeat(faces[row][:, :, None], 3, axis=2)

    return load


def _in_threads(function: Callable, things: Sequence) -> Iterator:
    """`function` of each thing in order; several threads, for decoders release Python's lock."""
    batches = [things[start : start + _BATCH] for start in range(0, len(things), _BATCH)]
    bar = tqdm(total=len(things), desc="images", disable=None, delay=1, leave=False)
    pool = ThreadPoolExecutor(min(16, os.cpu_count() or 1))
    results = pool.map(lambda batch: list(map(function, batch)), batches)
    with bar, pool, contextlib.closing(results):  # closed, it stops
        for found in results:
            bar.update(len(found))
            yield from found


def fingerprint(pixels: np.ndarray) -> str:
    """128-bit BLAKE2 of pixels and size: equal exactly where the images are, pixel for pixel."""
    data = str(pixels.shape).encode() + pixels.tobytes()
    return hashlib.blake2b(data, digest_size=16).hexdigest()


# What the readers share


def to_manifest(table: pd.DataFrame, check_images: bool, on_bad_image: str) -> pd.DataFrame:
    """A reader's table as a manifest, its images opened (`open_images`) if `check_images`."""
    if check_images:
        table = open_images(table, on_bad_image)
    return check_manifest(table.reset_index(drop=True).infer_objects())


def open_images(table: pd.DataFrame, on_bad_image: str, remedy="restore them") -> pd.DataFrame:
    """Open every image of a reader's table; `InputError` names the first bad one and its row.

    Its index says where each image stands in a list, if any; `remedy`, what to do about absent
    ones. Returns the good rows with `fingerprint`, and ``attrs["bad_images"]``: `count`, `names`.
    """
    check_choice("on_bad_image", on_bad_image, ("raise", "skip"))
    root, names, load = table.attrs["root"], table["image"].tolist(), image_opener(table)
    listed = not isinstance(table.index, pd.RangeIndex)
    if "pixels" in table.attrs:
        file = _state(os.path.join(root, table.attrs["pixels"]))
        states = [f"{file} row {name}" for name in names]
    else:
        states = [_state(os.path.join(root, name)) for name in names]
    absent = [place for place, state in enumerate(states) if not state]
    if absent and on_bad_image == "raise":
        where = f" ({table.index[absent[0]]})" if listed else ""
        found = f"{len(absent)} absent, the first {os.path.join(root, names[absent[0]])}{where}"
        what = f"{remedy}, or leave them out with on_bad_image='skip'"
        raise InputError(f"expected every image that is listed, found {found}; {what}")

    def attempt(place: int) -> str | None:
        try:
            return fingerprint(load(names[place]))
        except InputError as error:
            if on_bad_image == "skip":
                return None
            where = f"{table.index[place]}: " if listed else ""
            raise InputError(f"{where}{error}") from error

    with memory_of(os.path.abspath(root)) as known:
        todo = [place for place, state in enumerate(states) if state and state not in known]
        for place, found in zip(todo, _in_threads(attempt, todo), strict=True):
            if found:
                known[states[place]] = found
    prints = pd.Series([known.get(state) for state in states], index=table.index, dtype=object)
    bad = table["image"][prints.isna()].tolist()
    found = f"{len(bad)} listed and none of them readable; check the folder"
    require(len(bad) < len(table), f"images at {root}", found)
    table = table.assign(fingerprint=prints)[prints.notna()]
    table.attrs["bad_images"] = {"count": len(bad), "names": bad[:_NAMED]}
    return table


def _state(path: str | os.PathLike) -> str:
    """What tells that a file has changed, or may be decoded otherwise; empty without a file."""
    try:
        file = os.stat(path)
    except (OSError, ValueError):
        return ""
    # A copy that keeps size and time of change has another inode or time of its status.
    times = f"{file.st_mtime_ns} {file.st_ctime_ns}"
    return f"{path} {file.st_size} {times} {file.st_ino} Pillow {PIL.__version__}"


@contextlib.contextmanager
def remembered_checks(folder: str | os.PathLike) -> Iterator[None]:
    """Within it, fingerprints and near-duplicates are kept in `folder`, not searched for again.

    A damaged file there is as good as none; bad images are looked at again each time.
    """
    token = _MEMORY.set(Path(folder))
    try:
        yield
    finally:
        _MEMORY.reset(token)


@contextlib.contextmanager
def memory_of(about: str) -> Iterator[dict]:
    """What is known about something: a dict, kept as JSON if within `remembered_checks`."""
    folder, known = _MEMORY.get(), {}
    if folder is None:
        yield known
        return
    path = folder / f"{hashlib.blake2b(about.encode(), digest_size=12).hexdigest()}.json"
    with contextlib.suppress(OSError, ValueError, TypeError):
        known = dict(json.loads(path.read_text()))
    before = known.copy()
    yield known
    if known != before:
        with atomic_write(path) as temporary:
            temporary.write_text(json.dumps(known))


# What everyone else takes


def each_image(manifest: pd.DataFrame, change: Callable, size: int | None = None) -> Iterator:
    """`change` of each image, cut to its box if the manifest is `with_margin`.

    Faces are drawn in `size`; None: in their own.
    """
    if manifest.attrs.get("dataset") == "synthetic":
        starts = range(0, len(manifest), _DRAWN)
        for start in tqdm(starts, desc="faces", disable=None, delay=1, leave=False):
            yield from map(change, draw_manifest(manifest.iloc[start : start + _DRAWN], size))
        return
    load, names = image_opener(manifest), manifest["image"].tolist()
    margin = manifest.attrs.get("box_margin")
    boxes = None if margin is None else manifest[[*raster.BOX_COLUMNS]].to_numpy()

    def one(row: int):
        pixels = load(names[row])
        return change(pixels if boxes is None else raster.cut_box(pixels, boxes[row], margin))

    yield from _in_threads(one, range(len(names)))


def load_images(manifest: pd.DataFrame, size: int | None = None) -> np.ndarray | list[np.ndarray]:
    """Images of a manifest: uint8 (N, H, W, 3) or, where sizes differ, a list of (H, W, 3).

    `size` is the side to which each is resized (bilinear, antialiased); None leaves it alone.
    """

    def resize(pixels: np.ndarray) -> np.ndarray:
        resample = Image.Resampling.BILINEAR
        return np.array(Image.fromarray(pixels).resize((size, size), resample)) if size else pixels

    images = list(each_image(manifest, resize, size))
    return np.stack(images) if len({image.shape for image in images}) == 1 else images


def load_squares(manifest: pd.DataFrame, side: int) -> np.ndarray:
    """The images as a network takes them: uint8 (N, side, side, C), C = 1 where all are grey."""
    squares = np.empty((len(manifest), side, side, 3), dtype=np.uint8)
    each = each_image(manifest, lambda pixels: raster.to_square(pixels, side), side)
    for row, square in enumerate(each):
        squares[row] = square
    grey = all((square == square[..., :1]).all() for square in squares)
    return squares[..., :1].copy() if grey else squares


def hash_images(manifest: pd.DataFrame) -> list[str]:
    """The `fingerprint` of each image."""
    return list(each_image(manifest, fingerprint))


def with_margin(manifest: pd.DataFrame, margin: float) -> pd.DataFrame:
    """A copy of a manifest whose images are served cut to their face boxes (`raster.crop_box`)."""
    for name in raster.BOX_COLUMNS:
        require(name in manifest, "face boxes", f"no {name}; leave box_margin out")
    require(margin > -0.5, "a box margin above -0.5", f"{margin}; 0.1 adds a tenth at each end")
    manifest = manifest.copy()
    manifest.attrs["box_margin"] = float(margin)
    return manifest
