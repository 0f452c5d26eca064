"""Face boxes: the part of an image that a network is shown, where the dataset says where the face is."""

import math

import numpy as np
import pandas as pd

from fer_utils.core import InputError

BOX_COLUMNS = ("box_x", "box_y", "box_width", "box_height")


def crop_box(width: int, height: int, box, margin: float) -> tuple[int, int, int, int]:
    """The square around a face box that is cut from an image.

    Its side is the box's longer one, grown by `margin` of it at both ends, so that nothing of the face is lost when the
    result is made square later on. Where it overhangs the image it is moved inside, and only where it is larger than
    the image is it cut. A box that `is_usable` refuses gives the whole image.

    Args:
        width, height: of the image, in pixels.
        box: x, y, width and height, in pixels; may lie partly outside.
        margin: as a fraction of the box's longer side, 0 or more.

    Returns:
        left, top, right, bottom: whole pixels inside the image, the last two exclusive.

    Example:
        >>> crop_box(100, 80, (10, 30, 20, 20), margin=0.25)
        (5, 25, 35, 55)
        >>> crop_box(100, 80, (-10, 30, 20, 30), margin=0)
        (0, 30, 30, 60)
    """
    if not is_usable(width, height, box):
        return 0, 0, width, height
    x, y, box_width, box_height = box
    side = max(box_width, box_height) * (1 + 2 * margin)
    left, right = _inside(x + box_width / 2, side, width)
    top, bottom = _inside(y + box_height / 2, side, height)
    return left, top, right, bottom


def is_usable(width: int, height: int, box) -> bool:
    """Whether a box has a size, and at least a part of it lies on the image.

    Example:
        >>> is_usable(100, 80, (90, 0, 50, 50)), is_usable(100, 80, (100, 0, 50, 50)), is_usable(100, 80, (0, 0, 0, 9))
        (True, False, False)
    """
    x, y, box_width, box_height = box
    finite = all(map(math.isfinite, box))
    return finite and box_width > 0 < box_height and -box_width < x < width and -box_height < y < height


def cut_box(pixels: np.ndarray, box, margin: float) -> np.ndarray:
    """The part of an image (H, W, 3) that `crop_box` names, a view.

    Example:
        >>> cut_box(np.zeros((80, 100, 3)), (10, 30, 20, 20), margin=0.25).shape
        (30, 30, 3)
    """
    left, top, right, bottom = crop_box(pixels.shape[1], pixels.shape[0], box, margin)
    return pixels[top:bottom, left:right]


def with_margin(manifest: pd.DataFrame, margin: float) -> pd.DataFrame:
    """A copy of a manifest whose images are served cut to their face boxes, see `crop_box`.

    Args:
        manifest: with the columns `BOX_COLUMNS`.
        margin: as a fraction of the box's longer side, 0 or more; kept in ``attrs["box_margin"]``.

    Raises:
        InputError: for a manifest without boxes, or a margin below 0.

    Example:
        >>> manifest = pd.DataFrame({"image": ["a.jpg"], "box_x": 1, "box_y": 1, "box_width": 8, "box_height": 9})
        >>> with_margin(manifest, 0.1).attrs
        {'box_margin': 0.1}
    """
    absent = [name for name in BOX_COLUMNS if name not in manifest]
    if absent:
        raise InputError(
            f"expected a manifest with face boxes ({', '.join(BOX_COLUMNS)}) to cut images by, found no {absent[0]}; "
            "leave box_margin out for whole images"
        )
    if not margin >= 0:
        raise InputError(
            f"expected a box margin of at least 0, found {margin}; 0.1 adds a tenth of the box at each end"
        )
    manifest = manifest.copy()
    manifest.attrs["box_margin"] = float(margin)
    return manifest


def _inside(centre: float, side: float, length: int) -> tuple[int, int]:
    """Begin and end of a stretch of `side` pixels around `centre`, moved into 0 … length."""
    side = min(max(round(side), 1), length)
    start = min(max(round(centre - side / 2), 0), length - side)
    return start, start + side
