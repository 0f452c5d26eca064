"""The images behind a manifest: one way to decode, to cut to the face, to make square."""

import contextlib
import hashlib
import math
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
from PIL import Image, ImageOps
from tqdm import tqdm

from fer_utils.core import InputError
from fer_utils.datasets.pixel_rows import pixel_rows
from fer_utils.datasets.synthetic import draw_manifest

BOX_COLUMNS = ("box_x", "box_y", "box_width", "box_height")
FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "WEBP", "GIF")  # of Pillow's others, EPS runs a program
MAX_PIXELS = 50_000_000
_BATCH = 64  # images a task of a thread: so handing it over takes no time
_DRAWN = 1024  # faces drawn between two steps of the progress bar
# Too large pictures are refused with an error: no warning besides. For the whole program, because
# threads that set and reset warnings would do so to each other.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


def open_image(path: str | os.PathLike) -> np.ndarray:
    """Decode one image file to uint8 (H, W, 3), RGB; every image passes through here.

    Turned as its EXIF says; grey is repeated; of 16 bits the upper 8 are kept, rounded; what is
    transparent becomes black; of an animation the first frame.

    Raises:
        InputError: for no file, one of none of the `FORMATS`, above `MAX_PIXELS`, or damaged.
    """
    try:
        with Image.open(path, formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                size, most = f"{image.width} × {image.height}", MAX_PIXELS // 10**6
                raise ValueError(f"{size} pixels, expected {most} million at most")
            return np.array(_to_rgb(ImageOps.exif_transpose(image)))
    except FileNotFoundError:
        raise InputError(f"expected an image at {path}, found no such file; restore it") from None
    except Exception as error:  # Pillow's decoders raise whatever a stranger's bytes lead them to
        reason = " ".join(str(error).split()) or type(error).__name__
        found = f"one that cannot be decoded ({reason}); copy it anew or drop its row"
        raise InputError(f"expected a readable image at {path}, found {found}") from error


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16-bit grey; older Pillows open it as 32-bit integers
        wide = np.clip(np.asarray(image, dtype=np.float64), 0, 65535)
        image = Image.fromarray(np.rint(wide / 257).astype(np.uint8))
    elif image.mode == "F":
        raise ValueError("floating-point pixels, whose range is unknown")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "black"), image)
    return image.convert("RGB")


def image_opener(manifest: pd.DataFrame) -> Callable[[object], np.ndarray]:
    """The function from an entry of the column `image` to its pixels; not for drawn faces.

    Images are files below ``attrs["root"]`` or, if ``attrs["pixels"]`` names one, rows of a file.
    """
    root = manifest.attrs.get("root")
    if root is None:
        raise InputError(
            "expected attrs['root'], where the images are, found none; some pandas operations drop "
            "the attrs: copy them from the reader's manifest"
        )
    if "pixels" in manifest.attrs:
        return pixel_rows(os.path.join(root, manifest.attrs["pixels"])).load
    return lambda name: open_image(os.path.join(root, name))


def in_threads(function: Callable, things: Sequence, title: str = "images") -> Iterator:
    """`function` of each thing in order; several threads, for decoders release Python's lock."""
    batches = [things[start : start + _BATCH] for start in range(0, len(things), _BATCH)]

    def work(batch: Sequence) -> list:
        return [function(thing) for thing in batch]

    bar = tqdm(total=len(things), desc=title, disable=None, delay=1, leave=False)
    pool = ThreadPoolExecutor(min(16, os.cpu_count() or 1))
    with bar, pool, contextlib.closing(pool.map(work, batches)) as results:  # closed, it stops
        for found in results:
            bar.update(len(found))
            yield from found


def _each(manifest: pd.DataFrame, change: Callable) -> Iterator:
    """`change` of each image of files, cut to its box if the manifest is `with_margin`."""
    load, names = image_opener(manifest), manifest["image"].tolist()
    margin = manifest.attrs.get("box_margin")
    boxes = None if margin is None else manifest[[*BOX_COLUMNS]].to_numpy()

    def one(row: int):
        pixels = load(names[row])
        return change(pixels if boxes is None else cut_box(pixels, boxes[row], margin))

    return in_threads(one, range(len(names)))


def _draw(manifest: pd.DataFrame, size: int | None) -> np.ndarray:
    starts = range(0, max(len(manifest), 1), _DRAWN)
    bar = tqdm(starts, desc="faces", disable=None, delay=1, leave=False)
    return np.concatenate([draw_manifest(manifest.iloc[s : s + _DRAWN], size) for s in bar])


def _is_drawn(manifest: pd.DataFrame) -> bool:
    return manifest.attrs.get("dataset") == "synthetic"


def load_images(manifest: pd.DataFrame, size: int | None = None) -> np.ndarray | list[np.ndarray]:
    """The images of a manifest, or of rows of one, in its order.

    Args:
        size: side to which each is resized (bilinear, antialiased); None leaves sizes alone.

    Returns:
        uint8 (N, H, W, 3) or, where sizes differ, a list of N arrays (H, W, 3).
    """
    if _is_drawn(manifest):
        return _draw(manifest, size)

    def resize(pixels: np.ndarray) -> np.ndarray:
        resample = Image.Resampling.BILINEAR
        return np.array(Image.fromarray(pixels).resize((size, size), resample)) if size else pixels

    images = list(_each(manifest, resize))
    return np.stack(images) if len({image.shape for image in images}) == 1 else images


def load_squares(manifest: pd.DataFrame, side: int) -> np.ndarray:
    """The images as a network takes them: uint8 (N, side, side, C), C = 1 where all are grey."""
    if _is_drawn(manifest):
        squares = _draw(manifest, side)
    else:
        squares = np.empty((len(manifest), side, side, 3), dtype=np.uint8)
        for row, square in enumerate(_each(manifest, lambda pixels: to_square(pixels, side))):
            squares[row] = square
    grey = all((square == square[..., :1]).all() for square in squares)
    return squares[..., :1].copy() if grey else squares


def to_square(pixels: np.ndarray, side: int) -> np.ndarray:
    """The shorter side resized to `side` (bilinear, antialiased), and the centre of the other.

    >>> to_square(np.zeros((60, 50, 3), dtype=np.uint8), 10).shape
    (10, 10, 3)
    """
    height, width = pixels.shape[:2]
    shorter = min(height, width)
    left, top = (width - shorter) / 2, (height - shorter) / 2
    box = (left, top, left + shorter, top + shorter)
    resized = Image.fromarray(pixels).resize((side, side), Image.Resampling.BILINEAR, box=box)
    return np.asarray(resized)


def fingerprint(pixels: np.ndarray) -> str:
    """128-bit BLAKE2 of pixels and size: equal exactly where the images are, pixel for pixel."""
    return hashlib.blake2b(
        str(pixels.shape).encode() + pixels.tobytes(), digest_size=16
    ).hexdigest()


def hash_images(manifest: pd.DataFrame) -> list[str]:
    """The `fingerprint` of each image."""
    if _is_drawn(manifest):
        return [fingerprint(pixels) for pixels in _draw(manifest, None)]
    return list(_each(manifest, fingerprint))


def crop_box(width: int, height: int, box, margin: float) -> tuple[int, int, int, int]:
    """The square around a face box that is cut from an image of `width` × `height` pixels.

    Its side is the box's longer one, and `margin` of that more at both ends. Where it overhangs the
    image it is moved inside; only where it is larger is it cut. A box (x, y, width, height) without
    a size, or wholly outside, gives the whole image.

    >>> crop_box(100, 80, (10, 30, 20, 20), margin=0.25)  # left, top, right, bottom
    (5, 25, 35, 55)
    >>> crop_box(100, 80, (-10, 30, 20, 30), margin=0)
    (0, 30, 30, 60)
    """
    x, y, box_width, box_height = box
    on_it = -box_width < x < width and -box_height < y < height
    if not (on_it and box_width > 0 < box_height and all(map(math.isfinite, box))):
        return 0, 0, width, height
    side = max(box_width, box_height) * (1 + 2 * margin)
    left, right = _inside(x + box_width / 2, side, width)
    top, bottom = _inside(y + box_height / 2, side, height)
    return left, top, right, bottom


def _inside(centre: float, side: float, length: int) -> tuple[int, int]:
    """Begin and end of `side` pixels around `centre`, moved into 0 … length."""
    side = min(max(round(side), 1), length)
    start = min(max(round(centre - side / 2), 0), length - side)
    return start, start + side


def cut_box(pixels: np.ndarray, box, margin: float) -> np.ndarray:
    """The part of an image (H, W, C) that `crop_box` names, a view."""
    left, top, right, bottom = crop_box(pixels.shape[1], pixels.shape[0], box, margin)
    return pixels[top:bottom, left:right]


def with_margin(manifest: pd.DataFrame, margin: float) -> pd.DataFrame:
    """A copy of a manifest whose images are served cut to their face boxes (`crop_box`)."""
    absent = [name for name in BOX_COLUMNS if name not in manifest]
    if absent:
        raise InputError(f"expected face boxes, found no {absent[0]}; leave box_margin out")
    if not margin >= 0:
        raise InputError(f"expected a box margin of at least 0, found {margin}; 0.1 is a tenth")
    manifest = manifest.copy()
    manifest.attrs["box_margin"] = float(margin)
    return manifest
