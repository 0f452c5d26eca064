"""The interval of a share."""

from statistics import NormalDist

import numpy as np

from fer_utils.errors import InputError


def wilson_interval(successes, n, confidence: float = 0.95):
    """Wilson's score interval of a share, for instance of an accuracy or a recall on `n` images.

    Args:
        successes: number or array, 0 ≤ successes ≤ n; need not be whole (a mean over seeds times `n`).
        n: number or array of trials.
        confidence: 0–1, exclusive.

    Returns:
        (low, high), floats or arrays of the broadcast shape, within 0–1; NaN where n = 0.

    Raises:
        InputError: for successes outside 0–n or a confidence outside 0–1.

    >>> low, high = wilson_interval(2428, 4000)  # the paper's model 10
    >>> round(low, 4), round(high, 4)
    (0.5918, 0.622)
    """
    if not 0 < confidence < 1:
        raise InputError(f"expected a confidence between 0 and 1, found {confidence!r}")
    successes, n = np.broadcast_arrays(np.asarray(successes, dtype=float), np.asarray(n, dtype=float))
    wrong = (successes < 0) | (successes > n) | np.isnan(successes) | np.isnan(n)
    if wrong.any():
        raise InputError(f"expected 0 ≤ successes ≤ n, found {int(wrong.sum())} of {wrong.size} values outside")
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    trials = np.where(n > 0, n, np.nan)
    share = successes / trials
    center = (share + z**2 / (2 * trials)) / (1 + z**2 / trials)
    half = z / (1 + z**2 / trials) * np.sqrt(share * (1 - share) / trials + z**2 / (4 * trials**2))
    # Rounding alone could leave 0–1 at a share of 0 or 1, where the bound is exactly 0 or 1.
    low, high = np.clip(center - half, 0, 1), np.clip(center + half, 0, 1)
    low, high = np.where(successes == 0, trials * 0, low), np.where(successes == n, trials * 0 + 1, high)
    return (float(low), float(high)) if low.ndim == 0 else (low, high)
