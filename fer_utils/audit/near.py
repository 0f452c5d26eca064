"""Near-duplicates: the same picture scaled, recompressed, brightened, shifted by a little, or mirrored.

Two steps. A 64-bit perceptual hash of each face finds candidates: every hash is compared with every other, in tiles
that fit the cache, so that memory grows with N alone, and time, though with N², by three nanoseconds a pair. Then the
candidates' pixels are compared, since aligned faces resemble each other and a hash alone takes some strangers for the
same picture. An index of 16-bit bands would be quicker, but finds for certain only what differs in at most three bits,
and most near-duplicates of FER+ differ in more (see `MAX_BITS`).

The hash is our own: libraries for it (`imagehash`) hash one image at a time in Python and know no mirror image.
"""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
from scipy.fft import dct
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

# Chosen on FER+, where every pair of its 33,870 different pictures was compared by pixels as well. Of the 1,646 pairs
# that correlate by 0.95 or more, 12 bits find 99.6 %, among 88,732 candidates; 3 bits would find 38 %, 16 bits bring
# 1.8 million candidates. Looked at, pairs from 0.94 on show one picture twice, or two frames of a series, while below
# 0.92 strangers begin to appear.
MAX_BITS = 12
MIN_CORRELATION = 0.95

_FREQUENCIES = 8
_PART = 4096  # thumbnails that are floating-point numbers at a time
_ROWS, _COLUMNS = 128, 4096  # of a tile of hash pairs: 4 MB


def perceptual_hashes(thumbnails: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """64-bit perceptual hashes of faces and of their mirror images.

    The bits are the signs of the 8 × 8 lowest frequencies of the face's cosine transform, the mean level's bit being 0:
    they do not change with brightness and contrast. A mirror image has the signs of the odd horizontal ones reversed.

    Args:
        thumbnails: uint8 (N, 32, 32), see `fer_utils.audit.images.measure_images`.

    Returns:
        two uint64 arrays (N,).

    Example:
        >>> thumbnails = np.random.default_rng(0).integers(0, 256, (5, 32, 32), dtype=np.uint8)
        >>> hashes, mirrored = perceptual_hashes(thumbnails)
        >>> (perceptual_hashes(thumbnails[:, :, ::-1])[0] == mirrored).all()
        np.True_
    """
    basis = dct(np.eye(thumbnails.shape[1], dtype=np.float32), axis=0, norm="ortho")[:_FREQUENCIES]  # (8, 32)
    parts = np.array_split(thumbnails, 1 + len(thumbnails) // _PART)
    spectra = np.concatenate([basis @ part @ basis.T for part in parts])  # (N, 8, 8)
    spectra[:, 0, 0] = 0
    reversal = np.where(np.arange(_FREQUENCIES) % 2, -1, 1)
    return _pack(spectra > 0), _pack(spectra * reversal > 0)


def find_near_pairs(thumbnails: np.ndarray, workers: int | None = None) -> pd.DataFrame:
    """All pairs of faces that show the same picture, upright or mirrored.

    Args:
        thumbnails: uint8 (N, 32, 32). Constant ones have no pairs.
        workers: threads; None takes one a core.

    Returns:
        DataFrame, a row a pair, sorted: `first` < `second` (positions), `bits` (in which the hashes differ, at most
        `MAX_BITS`), `correlation` (of the pixels, at least `MIN_CORRELATION`), `mirrored`.

    Example:
        >>> thumbnails = np.random.default_rng(0).integers(0, 256, (3, 32, 32), dtype=np.uint8)
        >>> thumbnails[2] = thumbnails[0][:, ::-1] // 2 + 50
        >>> find_near_pairs(thumbnails)[["first", "second", "mirrored"]].values.tolist()
        [[0, 2, True]]
    """
    hashes, flipped = perceptual_hashes(thumbnails)

    def search(start: int) -> list[pd.DataFrame]:
        found = []
        for mirrored, others in ((False, hashes), (True, flipped)):
            for first, second, bits in _close(hashes, others, start):
                images = thumbnails[second, :, ::-1] if mirrored else thumbnails[second]
                correlation = (_standardised(thumbnails[first]) * _standardised(images)).sum(axis=(1, 2))
                same = correlation >= MIN_CORRELATION
                if same.any():
                    pair = {"first": first, "second": second, "bits": bits, "correlation": correlation}
                    found.append(pd.DataFrame(pair | {"mirrored": mirrored})[same])
        return found

    with ThreadPoolExecutor(workers or os.cpu_count()) as pool:
        blocks = pool.map(search, range(0, len(thumbnails), _ROWS))
        found = [pair for block in blocks for pair in block]
    columns = {"first": int, "second": int, "bits": int, "correlation": float, "mirrored": bool}
    pairs = pd.concat(found, ignore_index=True) if found else pd.DataFrame(columns=list(columns))
    # A symmetric face matches upright and mirrored: the better match counts.
    pairs = pairs.astype(columns).sort_values(["first", "second", "correlation"], ascending=[True, True, False])
    return pairs.drop_duplicates(["first", "second"], ignore_index=True)


def group_numbers(first, second, count: int) -> np.ndarray:
    """Number the groups that pairs connect.

    Args:
        first, second: positions 0 … count−1, a pair each.
        count: how many there are.

    Returns:
        int64 array (count,), the same number within a group, from 0 in order of appearance; −1 without a partner.

    Example:
        >>> group_numbers([4, 1], [2, 4], 5).tolist()
        [-1, 0, 0, -1, 0]
    """
    edges = coo_array((np.ones(len(first), bool), (np.asarray(first, int), np.asarray(second, int))), (count, count))
    _, component = connected_components(edges, directed=False)
    in_group = np.bincount(component, minlength=count)[component] > 1
    numbers = np.full(count, -1, np.int64)
    numbers[in_group] = pd.factorize(component[in_group])[0]
    return numbers


def _pack(bits: np.ndarray) -> np.ndarray:
    """bool (N, 8, 8) → uint64 (N,)."""
    return np.packbits(bits.reshape(-1, 64), axis=1).view(np.uint64)[:, 0]


def _close(hashes: np.ndarray, others: np.ndarray, start: int) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Positions of the pairs, first < second, from a block of rows on whose hashes differ in few enough bits."""
    rows = hashes[start : start + _ROWS, None]
    # The same memory for every tile: to ask for it anew would take four times as long as the comparison.
    differing, bits = np.empty((len(rows), _COLUMNS), np.uint64), np.empty((len(rows), _COLUMNS), np.uint8)
    for column in range(start, len(others), _COLUMNS):
        columns = others[column : column + _COLUMNS]
        width = len(columns)
        np.bitwise_xor(rows, columns, out=differing[:, :width])
        np.bitwise_count(differing[:, :width], out=bits[:, :width])
        close = bits[:, :width] <= MAX_BITS
        first, second = np.divmod(np.flatnonzero(close), width)  # ten times as fast as np.nonzero of two dimensions
        later = first + start < second + column
        if later.any():
            first, second = first[later], second[later]
            yield first + start, second + column, bits[first, second]


def _standardised(thumbnails: np.ndarray) -> np.ndarray:
    """float32 of the same shape, each of mean 0 and length 1, so that a product is a correlation; 0 where constant."""
    pixels = thumbnails - thumbnails.mean(axis=(1, 2), keepdims=True, dtype=np.float32)
    length = np.sqrt(np.square(pixels).sum(axis=(1, 2), keepdims=True))
    return np.divide(pixels, length, out=np.zeros_like(pixels), where=length > 0)
