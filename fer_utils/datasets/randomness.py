"""Random numbers that depend on a name and an index alone, never on what was drawn before or beside them."""

import zlib

import numpy as np

_GOLDEN, _MIX1, _MIX2 = (np.uint64(c) for c in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))


def _mix(state: np.ndarray) -> np.ndarray:
    """Steele, Lea & Flood's splitmix64 finaliser: uint64 in, well scrambled uint64 out."""
    state = (state ^ (state >> np.uint64(30))) * _MIX1
    state = (state ^ (state >> np.uint64(27))) * _MIX2
    return state ^ (state >> np.uint64(31))


class Draws:
    """Named random numbers for a set of items: each a pure function of (seed, stream, item's index, name).

    Args:
        seed: int ≥ 0.
        stream: what is drawn for, e.g. "subject"; streams are independent of one another.
        indices: (N,) int ≥ 0.

    >>> both, second = Draws(0, "image", [3, 8]), Draws(0, "image", [8])
    >>> bool(both.uniform("yaw")[1] == second.uniform("yaw")[0])
    True
    """

    def __init__(self, seed: int, stream: str, indices):
        start = _mix(np.array([seed], dtype=np.uint64) * _GOLDEN + np.uint64(zlib.crc32(stream.encode())))
        self._state = _mix(start + (np.asarray(indices).astype(np.uint64) + np.uint64(1)) * _GOLDEN)  # (N,)

    def bits(self, name: str) -> np.ndarray:
        """(N,) uint64."""
        return _mix(self._state + np.array([zlib.crc32(name.encode())], dtype=np.uint64) * _GOLDEN)

    def uniform(self, name: str, low: float = 0.0, high: float = 1.0) -> np.ndarray:
        """(N,) float64 in [low, high)."""
        return low + (high - low) * ((self.bits(name) >> np.uint64(11)) * 2.0**-53)

    def normal(self, name: str, scale: float = 1.0) -> np.ndarray:
        """(N,) float64, bell-shaped with standard deviation `scale`, never beyond 3.5 of them (a sum of four)."""
        return sum(self.uniform(f"{name}/{k}", -1.0, 1.0) for k in range(4)) * (scale * 0.75**0.5)

    def chance(self, name: str, probability) -> np.ndarray:
        """(N,) bool, true with the probability given (a number or one an item)."""
        return self.uniform(name) < probability

    def choice(self, name: str, weights) -> np.ndarray:
        """(N,) int: an index into `weights` (K,), drawn in proportion to them; or each row of (N, K) for its item."""
        edges = np.cumsum(np.atleast_2d(np.asarray(weights, dtype=np.float64)), axis=-1)
        return (self.uniform(name)[:, None] * edges[:, -1:] >= edges[:, :-1]).sum(-1)
