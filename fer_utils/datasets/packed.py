"""Reading a pack: the one file that holds a manifest's images, decoded and of one size (`fer_utils.packing`)."""

import functools
import os
from collections.abc import Sequence

import numpy as np
import pandas as pd

from fer_utils.datasets import images
from fer_utils.errors import InputError


def open_pack(path: str | os.PathLike) -> np.ndarray:
    """The pixels of a pack, memory-mapped: read-only uint8 (N, S, S, C), where C is 1 if all of them are grey.

    Raises:
        InputError: if the file is absent or is no pack.

    Example:
        >>> open_pack("nowhere.npy")
        Traceback (most recent call last):
        fer_utils.errors.InputError: expected packed images at nowhere.npy, found no such file; pack the manifest again
    """
    try:
        state = os.stat(path)
    except OSError:
        raise InputError(f"expected packed images at {path}, found no such file; pack the manifest again") from None
    return _opened(os.fspath(path), state.st_mtime_ns, state.st_size)


@functools.lru_cache(maxsize=4)
def _opened(path: str, changed: int, size: int) -> np.ndarray:
    """Once a file and process; the time of change and the size tell one that was made anew."""
    try:
        pixels = np.load(path, mmap_mode="r").view(np.ndarray)  # whose rows are plain arrays too
    except (OSError, ValueError) as error:
        raise InputError(f"expected packed images at {path}, found another file; pack the manifest again") from error
    if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[3] not in (1, 3):
        raise InputError(
            f"expected packed images, uint8 (N, S, S, 1 or 3), at {path}, found {pixels.dtype} {pixels.shape}; "
            "pack the manifest again"
        )
    return pixels


class PackedImages(Sequence):
    """The images of a packed manifest, or of any rows of one: held in memory up to `images.MEMORY_LIMIT` bytes of them.

    ``packed[i]`` is the image of row i as everything else expects it: a writable uint8 array (S, S, 3). In memory or
    not, a copy for another process takes no more than is held here.

    Args:
        manifest: rows of a manifest from `fer_utils.packing.pack`.

    Attributes:
        in_memory: whether the images are held in memory; else they are read from the file when asked for.

    Raises:
        InputError: if the pack is absent, or another one than the manifest's.
    """

    def __init__(self, manifest: pd.DataFrame):
        self._path, self._rows = manifest.attrs["pack"]["path"], manifest["packed"].to_numpy()
        pixels = open_pack(self._path)
        if self._rows.max(initial=0) >= len(pixels):
            raise InputError(
                f"expected at least {self._rows.max() + 1} images in {self._path}, found {len(pixels)}; "
                "pack the manifest again"
            )
        self.in_memory = len(self._rows) * pixels[0].nbytes <= images.MEMORY_LIMIT
        self._kept = pixels[self._rows] if self.in_memory else None

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> np.ndarray:
        pixels = self.batch([index])[0]
        return np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels

    def batch(self, indices: Sequence[int]) -> np.ndarray:
        """Several images as they are packed, a copy: uint8 (B, S, S, C)."""
        return self._kept[indices] if self.in_memory else open_pack(self._path)[self._rows[indices]]
