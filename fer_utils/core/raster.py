"""One way to an image's pixels: decoded, cut to the face, made square.

Not loaded with `core`, since it needs numpy and Pillow; and it needs no more than these.
"""

import math
import os
import warnings

import numpy as np
from PIL import Image, ImageOps

from fer_utils.core.base import InputError, one_line

BOX_COLUMNS = ("box_x", "box_y", "box_width", "box_height")
ENDINGS = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "WEBP", "GIF")  # of Pillow's others, EPS runs a program
MAX_PIXELS = 50_000_000
# Too large pictures are refused with an error: no warning besides. For the whole program, because
# threads that set and reset warnings would do so to each other.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


def open_image(path: str | os.PathLike) -> np.ndarray:
    """Decode one image file to uint8 (H, W, 3), RGB; every image passes through here.

    Turned as its EXIF says; grey is repeated; of 16 bits the upper 8 are kept, rounded; what is
    transparent becomes black; of an animation the first frame. `InputError` for no file, one of
    none of the `FORMATS`, above `MAX_PIXELS`, or damaged.
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
        found = f"one that cannot be decoded ({one_line(error)}); copy it anew or drop its row"
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


def to_square(pixels: np.ndarray, side: int) -> np.ndarray:
    """The shorter side resized to `side` (bilinear, antialiased), and the centre of the other.

    >>> to_square(np.zeros((60, 50, 3), dtype=np.uint8), 10).shape
    (10, 10, 3)
    """
    height, width = pixels.shape[:2]
    shorter = min(height, width)
    left, top = (width - shorter) / 2, (height - shorter) / 2
    box = (left, top, left + shorter, top + shorter)
    image = Image.fromarray(pixels)
    return np.asarray(image.resize((side, side), Image.Resampling.BILINEAR, box=box))


def crop_box(width: int, height: int, box, margin: float) -> tuple[int, int, int, int]:
    """The square around a face box that is cut from an image of `width` × `height` pixels.

    Its side is the box's longer one, and `margin` of that more at both ends. It is moved inside the
    image, and cut only where it is larger. A box (x, y, width, height) without a size, or wholly
    outside, gives the whole image.

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
