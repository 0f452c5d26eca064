"""Packing: every image of a manifest decoded once, into one file that training maps into memory.

A pack is `<name>.npy`, uint8 (N, S, S, C), with the manifest that it was made of beside it as `<name>.parquet`. While
it is made it is called `<name>.npy.partial`, and `<name>.npy.progress.json` says how far it is.
"""

import contextlib
import fcntl
import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from fer_utils.datasets.boxes import BOX_COLUMNS, with_margin
from fer_utils.datasets.images import image_opener
from fer_utils.datasets.manifest import check_manifest, read_manifest, write_manifest
from fer_utils.datasets.squares import decoding, is_drawn
from fer_utils.datasets.synthetic import draw_manifest
from fer_utils.errors import InputError
from fer_utils.files import replaced

_FORMAT = 1  # raised whenever the same images would be packed into other bytes
_CHUNK = 256  # images decoded between two writes, and lost at most when the packing is killed


def pack(manifest: pd.DataFrame, size: int, path: str | os.PathLike, margin: float | None = None) -> pd.DataFrame:
    """Decode every image of a manifest once, into one memory-mappable file.

    An image is cut to its face box if `margin` is given (or the manifest comes from `with_margin`), its shorter side
    resized to `size` (bilinear, antialiased) and its centre cropped to a square; drawn faces are drawn at that size.
    If all images are grey, one channel is stored, and repeated when an image is read.

    A pack that is there already is used if it is made of the same images: the same names, sizes and times of change of
    the files, boxes, `size` and `margin`, whatever their order, labels and splits; else it is made anew. A killed
    packing goes on where it was, and a pack has its final name only when it is whole. Only one process packs at a time.

    Args:
        manifest: any manifest.
        size: side of the packed images, in pixels.
        path: the pack, ``….npy``; its folder is made.
        margin: cut the images to their face boxes, grown by this share of them at each end (`crop_box`); None does not.

    Returns:
        The manifest, to be used like any other: with the column `packed` (each image's row in the pack), and in
        ``attrs["pack"]`` its `path`, `size`, `channels`, `fingerprint`, `margin`, and `whole_images`, the number of
        images kept whole because their box is not on them.

    Raises:
        InputError: for a bad argument, an absent or unreadable image, or a full disk.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> manifest = pd.DataFrame({"image": ["grey.png"], "label": [5], "split": ["train"]})
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Image.new("L", (8, 6), 7).save(f"{folder}/grey.png")
        ...     manifest.attrs = {"dataset": "folder", "root": folder}
        ...     packed = pack(manifest, 4, f"{folder}/pack.npy")
        ...     np.load(f"{folder}/pack.npy", mmap_mode="r").shape
        (1, 4, 4, 1)
        >>> packed["packed"].tolist(), packed.attrs["pack"]["channels"]
        ([0], 1)
    """
    path = Path(path)
    if path.suffix != ".npy":
        raise InputError(f"expected a pack's name to end in .npy, found {path.name!r}; call it {path.stem}.npy")
    source, places = _source(manifest, size, margin)
    return _pack(manifest, source, places, size, path.absolute(), _fingerprint(source, size))


def pack_into(manifest: pd.DataFrame, size: int, folder: str | os.PathLike) -> pd.DataFrame:
    """`pack` as ``<folder>/<fingerprint>/images.npy``, so that packs of other images lie side by side."""
    source, places = _source(manifest, size, None)
    fingerprint = _fingerprint(source, size)
    path = Path(folder).absolute() / fingerprint / "images.npy"
    return _pack(manifest, source, places, size, path, fingerprint)


def _source(manifest: pd.DataFrame, size: int, margin: float | None) -> tuple[pd.DataFrame, np.ndarray]:
    """The rows in the order of the pack, which labels and splits do not change; and each row's place in it."""
    check_manifest(manifest)
    if size < 1:
        raise InputError(f"expected a size of at least 1 pixel, found {size}; 256 suits a network that sees 224")
    source = manifest.drop(columns="packed", errors="ignore").reset_index(drop=True)
    former = source.attrs.pop("pack", {"margin": None})
    margin = former["margin"] if margin is None else margin
    source = source if margin is None else with_margin(source, margin)
    source = source.sort_values(_identifying(source), kind="stable")
    places = np.empty(len(source), dtype=np.int64)
    places[source.index] = np.arange(len(source))
    return source, places


def _identifying(manifest: pd.DataFrame) -> list[str]:
    """The columns that decide a row's pixels."""
    if is_drawn(manifest):
        return ["image", *(name for name in manifest.columns if name not in ("image", "label", "split"))]
    return ["image", *(BOX_COLUMNS if "box_margin" in manifest.attrs else ())]


def _fingerprint(source: pd.DataFrame, size: int) -> str:
    """Of all that decides the pack's bytes; the files count by size and time of change, which costs a look-up each."""
    attrs = source.attrs
    digest = hashlib.blake2b(json.dumps([_FORMAT, int(size), attrs.get("box_margin")]).encode(), digest_size=16)
    digest.update(source[_identifying(source)].to_csv(index=False).encode())
    if is_drawn(source):
        digest.update(draw_manifest(source.iloc[:1], size).tobytes())  # speaks for the generator and its attrs
    else:
        image_opener(source)  # raises where the attrs do not say where the images are
        for name in [attrs["pixels"]] if "pixels" in attrs else source["image"]:
            file = os.path.join(attrs["root"], name)
            try:
                state = os.stat(file)
            except OSError as error:
                raise InputError(
                    f"expected an image at {file}, found no such file; restore it or drop its row"
                ) from error
            digest.update(f"{state.st_size} {state.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def _pack(manifest, source, places, size: int, path: Path, fingerprint: str) -> pd.DataFrame:
    try:
        with _alone(path):
            found = _found(path, fingerprint)
            if found is None:
                found = _make(source, size, path, fingerprint)
    except OSError as error:
        needed = len(source) * 3 * size**2 / 2**30
        raise InputError(
            f"expected room for up to {needed:.2f} GiB of packed images in {path.parent}, found: {error.strerror}; "
            "make room and run it again, it goes on from there"
        ) from error
    return _packed(manifest, places, {**found, "path": str(path)})


def _packed(manifest: pd.DataFrame, places: np.ndarray, about: dict) -> pd.DataFrame:
    manifest = manifest.assign(packed=places)
    manifest.attrs.pop("box_margin", None)  # the packed images are cut already
    manifest.attrs["pack"] = about
    return manifest


@contextlib.contextmanager
def _alone(path: Path):
    """Keep other processes from the pack; the lock ends with the process, however it ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path.with_name(f"{path.name}.lock"), "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"waiting for another process that is making the pack {path}")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _found(path: Path, fingerprint: str) -> dict | None:
    """What is known of a whole pack of that fingerprint; None if there is none."""
    beside = path.with_suffix(".parquet")
    if not (path.is_file() and beside.is_file()):
        return None
    with contextlib.suppress(InputError):
        about = read_manifest(beside).attrs.get("pack", {})
        if about.get("fingerprint") == fingerprint:
            return about
    print(f"packing anew: {path} was made of other images, or in another size")
    return None


def _make(source: pd.DataFrame, size: int, path: Path, fingerprint: str) -> dict:
    partial, progress = (path.with_name(f"{path.name}.{ending}") for ending in ("partial", "progress.json"))
    state = {"fingerprint": fingerprint, "channels": 1, "done": 0, "whole_images": 0}
    if partial.is_file() and progress.is_file():
        former = json.loads(progress.read_text())
        state = former if former["fingerprint"] == fingerprint else state
    if not _fill(source, size, partial, progress, state):
        state |= {"channels": 3, "done": 0, "whole_images": 0}
        _fill(source, size, partial, progress, state)
    about = {name: state[name] for name in ("fingerprint", "channels", "whole_images")}
    about |= {"path": str(path), "size": int(size), "margin": source.attrs.get("box_margin")}
    path.unlink(missing_ok=True)  # a former pack must not be taken for what is now written beside it
    write_manifest(_packed(source, np.arange(len(source)), about), path.with_suffix(".parquet"))
    os.replace(partial, path)
    progress.unlink()
    return about


def _fill(source: pd.DataFrame, size: int, partial: Path, progress: Path, state: dict) -> bool:
    """Append what `state` says is missing; False, at the first image with colours, if one channel was to do.

    The file is written, not memory-mapped: a full disk is an error in the one case and kills the process in the other.
    """
    channels = state["channels"]
    shape = (len(source), size, size, channels)
    with (
        open(partial, "r+b" if state["done"] else "w+b") as file,
        tqdm(total=len(source), initial=state["done"], desc="packing", disable=None, delay=1, leave=False) as bar,
        decoding(source, size) as decode,
    ):
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
        file.seek(state["done"] * size**2 * channels, os.SEEK_CUR)
        file.truncate()  # what was written after the last note of progress
        for start in range(state["done"], len(source), _CHUNK):
            pixels, whole = decode(start, min(start + _CHUNK, len(source)))
            if channels == 1:
                if (pixels != pixels[..., :1]).any():
                    return False
                pixels = pixels[..., :1]
            file.write(pixels.tobytes())
            file.flush()
            state["done"] += len(pixels)
            state["whole_images"] += whole
            with replaced(progress) as temporary:
                temporary.write_text(json.dumps(state))
            bar.update(len(pixels))
    return True
