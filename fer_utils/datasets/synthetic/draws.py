"""Random numbers that depend on a name and an index alone, and shares in whole numbers."""

import zlib

import numpy as np

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX1, _MIX2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


def _mix(state: np.ndarray) -> np.ndarray:
    """Steele, Lea & Flood's splitmix64 finaliser: uint64 in, well scrambled uint64 out."""
    state = (state ^ (state >> np.uint64(30))) * _MIX1
    state = (state ^ (state >> np.uint64(27))) * _MIX2
    return state ^ (state >> np.uint64(31))


class Draws:
    """Named random numbers for items (N,): pure functions of (seed, stream, item's index, name).

    A stream is what is drawn for, e.g. "subject"; streams are independent of one another.

    >>> both, second = Draws(0, "image", [3, 8]), Draws(0, "image", [8])
    >>> bool(both.uniform("yaw")[1] == second.uniform("yaw")[0])
    True
    """

    def __init__(self, seed: int, stream: str, indices):
        start = np.array([seed], dtype=np.uint64) * _GOLDEN + np.uint64(zlib.crc32(stream.encode()))
        places = np.asarray(indices).astype(np.uint64) + np.uint64(1)
        self._state = _mix(_mix(start) + places * _GOLDEN)  # (N,)

    def bits(self, name: str) -> np.ndarray:
        """(N,) uint64."""
        return _mix(self._state + np.array([zlib.crc32(name.encode())], dtype=np.uint64) * _GOLDEN)

    def uniform(self, name: str, low: float = 0.0, high: float = 1.0) -> np.ndarray:
        """(N,) float64 in [low, high)."""
        return low + (high - low) * ((self.bits(name) >> np.uint64(11)) * 2.0**-53)

    def normal(self, name: str, scale: float = 1.0) -> np.ndarray:
        """(N,) float64 of standard deviation `scale`: a sum of four, never beyond 3.5 scales."""
        return sum(self.uniform(f"{name}/{k}", -1.0, 1.0) for k in range(4)) * (scale * 0.75**0.5)

    def chance(self, name: str, probability) -> np.ndarray:
        """(N,) bool, true with the probability given (a number, or one an item)."""
        return self.uniform(name) < probability

    def choice(self, name: str, weights) -> np.ndarray:
        """(N,) int: a place in `weights` (K,), or in the item's row of (N, K), in proportion."""
        edges = np.cumsum(np.atleast_2d(np.asarray(weights, dtype=np.float64)), axis=-1)
        return (self.uniform(name)[:, None] * edges[:, -1:] >= edges[:, :-1]).sum(-1)


def apportion(total: int, shares, floors) -> np.ndarray:
    """`total` in whole parts in proportion to `shares` (K,), by largest remainders.

    No part falls below its floor, (K,) or one for all; floors add up to `total` at most.

    >>> apportion(100, [960, 20, 20], 8).tolist()
    [84, 8, 8]
    """
    shares = np.asarray(shares, dtype=np.int64)
    parts = np.array(np.broadcast_to(floors, shares.shape), dtype=np.int64)
    free = shares > 0
    while True:
        left, whole = total - parts[~free].sum(), shares[free].sum()
        low = free & (shares * left < parts * whole)
        if not low.any():
            break
        free &= ~low  # the rest have less to share, which may push one more below its floor
    parts[free], remainders = np.divmod(shares[free] * left, max(whole, 1))
    largest = np.flatnonzero(free)[np.argsort(-remainders, kind="stable")]
    parts[largest[: total - parts.sum()]] += 1
    return parts
