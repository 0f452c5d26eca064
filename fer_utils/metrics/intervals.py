"""How sure is a number? Intervals of 95 %, and the draws of the bootstrap."""

from statistics import NormalDist

import numpy as np
from scipy.special import stdtr, stdtrit

from fer_utils.core import InputError

Z = NormalDist().inv_cdf(0.975)
BLOCK = 2**22  # weights in memory at once


def wilson_interval(successes, n):
    """Wilson's interval of a share, for instance of a recall; NaN where n = 0.

    Args:
        successes: number or array, 0 ≤ successes ≤ n; need not be whole (a mean over seeds).
        n: number or array of trials.

    >>> np.round(wilson_interval(2428, 4000), 4).tolist()  # the paper's model 10
    [0.5918, 0.622]
    """
    successes, n = np.broadcast_arrays(np.asarray(successes, float), np.asarray(n, float))
    wrong = ~((successes >= 0) & (successes <= n))
    if wrong.any():
        raise InputError(f"expected 0 ≤ successes ≤ n, found {wrong.sum()} of {wrong.size} outside")
    trials = np.where(n > 0, n, np.nan)
    share, scale = successes / trials, 1 + Z**2 / trials
    center = (share + Z**2 / (2 * trials)) / scale
    half = Z / scale * np.sqrt(share * (1 - share) / trials + Z**2 / (4 * trials**2))
    # A share of 0 or 1 is its own bound, exactly.
    low, high = np.where(share == 0, 0, center - half), np.where(share == 1, 1, center + half)
    return (float(low), float(high)) if low.ndim == 0 else (low, high)


def seed_interval(values) -> dict:
    """What values of (S,) seeds, mostly differences, say of other seeds: Student's t.

    Returns:
        dict: `low`, `high` and `p_value` (of a mean of 0); NaN with one seed or where a value is.
    """
    values = np.asarray(values, dtype=float)
    if values.ndim != 1 or len(values) == 0:
        raise InputError(f"expected values of one or more seeds, found shape {values.shape}")
    mean, others = float(values.mean()), len(values) - 1
    error = float(values.std(ddof=1)) / np.sqrt(others + 1) if others else np.nan
    half = float(stdtrit(max(others, 1), 0.975) * error)
    p_value = 2 * float(stdtr(others, -abs(mean) / error)) if error else float(mean == 0)
    return {"low": mean - half, "high": mean + half, "p_value": p_value}


def describe_sample(sample) -> dict:
    """Of a bootstrap distribution: its middle 95 %, `low` to `high`, and the two-sided `p_value`.

    The p-value, of no difference, is the level at which the interval reaches 0.
    """
    low, high = np.quantile(sample, [0.025, 0.975]).tolist()
    beyond = min(np.sum(sample <= 0), np.sum(sample >= 0))
    p_value = np.nan if np.isnan(low) else min(1.0, 2 * float(beyond + 1) / (len(sample) + 1))
    return {"low": low, "high": high, "p_value": p_value}


def find_kinds(columns) -> np.ndarray:
    """Number the kinds (N,) of images: those of a kind agree in all `columns` (K, N), 0–7."""
    rows = np.ascontiguousarray(np.transpose(columns).astype(np.int8))
    whole = rows.view(np.dtype((np.void, rows.shape[1]))).ravel()
    return np.unique(whole, return_inverse=True)[1]


def draw_weights(targets, kinds, groups=None, resamples=2000, seed=0):
    """Bootstrap samples as weights: how often each image was drawn.

    Groups are drawn with replacement within strata: those that show the same classes. So no class
    is ever lost, and where no group has two images each class keeps its number. Single images of
    one kind are interchangeable: one of them carries the weight of all, which saves most work.

    Args:
        targets: (N,) labels 0–7.
        kinds: (N,) integers; images of a kind have one label and count alike in what is measured.
        groups: (N,) integers; images of a group (duplicates, say) are drawn together, those of a
            negative one alone. None: all alone.

    Returns:
        (M,) images to keep, and blocks (M, r) of their weights: first, with r = 1, those that stand
        for the N images as they are, then `resamples` columns in all.
    """
    images = np.arange(len(targets))
    groups = images if groups is None else np.asarray(groups)
    if resamples < 1 or groups.shape != images.shape:
        found = f"{resamples} resamples, groups of shape {groups.shape}"
        raise InputError(f"expected ≥ 1 resample and groups of {len(images)} images, found {found}")
    groups = np.where(groups < 0, -1 - images, groups)
    _, group_of, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    classes = np.zeros(len(sizes), int)  # of each group, a bit each
    np.bitwise_or.at(classes, group_of, 1 << targets)
    kind = np.arange(len(sizes)) + np.max(kinds) + 1  # a group of several images is like no other
    alone = sizes[group_of] == 1
    kind[group_of[alone]] = kinds[alone]
    _, examples, copies = np.unique(kind, return_index=True, return_counts=True)
    row_of = np.full(len(sizes), -1)
    row_of[examples] = np.arange(len(examples))
    kept = np.flatnonzero(row_of[group_of] >= 0)
    rows, strata = row_of[group_of[kept]], classes[examples]

    def blocks():
        yield copies[rows, None].astype(float)
        random, most = np.random.default_rng(seed), max(1, BLOCK // len(kept))
        for start in range(0, resamples, most):
            drawn = np.empty((len(copies), min(most, resamples - start)))
            for stratum in np.unique(strata):
                own = strata == stratum
                total = copies[own].sum()
                drawn[own] = random.multinomial(total, copies[own] / total, drawn.shape[1]).T
            yield drawn[rows]

    return kept, blocks()
