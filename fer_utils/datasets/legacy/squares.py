"""Any manifest's images as squares of one size, many at a time: what a pack is made of."""

import contextlib
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
from PIL import Image

from fer_utils.datasets.legacy.boxes import BOX_COLUMNS, cut_box, is_usable
from fer_utils.datasets.legacy.images import image_opener
from fer_utils.datasets.synthetic import draw_manifest


def is_drawn(manifest: pd.DataFrame) -> bool:
    """Whether a manifest's images come from the generator of drawn faces."""
    return manifest.attrs.get("dataset") == "synthetic"


@contextlib.contextmanager
def decoding(manifest: pd.DataFrame, size: int) -> Iterator[Callable[[int, int], tuple[np.ndarray, int]]]:
    """Yield a function of begin and end of a range of rows.

    It returns their images, uint8 (N, size, size, 3): drawn at that size, or decoded by several threads, cut to their
    boxes if the manifest is `with_margin`, and made square by `to_square`; and how many boxes were not on their image.
    """
    if is_drawn(manifest):
        yield lambda start, stop: (draw_manifest(manifest.iloc[start:stop], size=size), 0)
        return
    square = _square_opener(manifest, size)
    with ThreadPoolExecutor(min(16, os.cpu_count() or 1)) as pool:  # decoders let go of the interpreter's lock

        def decode(start: int, stop: int) -> tuple[np.ndarray, int]:
            squares, whole = zip(*pool.map(square, range(start, stop)), strict=True)
            return np.stack(squares), sum(whole)

        yield decode


def _square_opener(manifest: pd.DataFrame, size: int) -> Callable[[int], tuple[np.ndarray, bool]]:
    load, names, margin = image_opener(manifest), manifest["image"].tolist(), manifest.attrs.get("box_margin")
    if margin is None:
        return lambda row: (to_square(load(names[row]), size), False)
    boxes = manifest[[*BOX_COLUMNS]].to_numpy()

    def square(row: int) -> tuple[np.ndarray, bool]:
        pixels, box = load(names[row]), boxes[row]
        return to_square(cut_box(pixels, box, margin), size), not is_usable(pixels.shape[1], pixels.shape[0], box)

    return square


def to_square(pixels: np.ndarray, size: int) -> np.ndarray:
    """The shorter side resized to `size` (bilinear, antialiased), and the centre: uint8 (H, W, 3) → (size, size, 3).

    Example:
        >>> to_square(np.zeros((60, 50, 3), dtype=np.uint8), 10).shape
        (10, 10, 3)
    """
    height, width = pixels.shape[:2]
    side = min(height, width)
    left, top = (width - side) / 2, (height - side) / 2
    box = (left, top, left + side, top + side)
    return np.asarray(Image.fromarray(pixels).resize((size, size), Image.Resampling.BILINEAR, box=box))
