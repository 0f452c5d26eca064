"""Several seeds, and several comparisons."""

import math

import numpy as np

from fer_utils.errors import InputError


def over_seeds(differences, confidence: float = 0.95) -> dict:
    """What the differences of several seeds say together: a seed fixes first weights, order and augmentation.

    Args:
        differences: (S,) b − a, one a seed.
        confidence: of the interval, 0–1.

    Returns:
        dict: `mean`; `sd` (standard deviation over seeds); `low`, `high` (mean ± t · sd / √S with S − 1 degrees of
        freedom) and `p_value` (paired t-test), all three NaN with one seed; `seeds`; `same_sign`, how many seeds have
        the sign of the mean (0 where the mean is 0). Signs alone allow no p-value
        below 2^(1 − S), 0.25 with three seeds.

    Raises:
        InputError: for no difference, one that is NaN (a missing seed is to be seen, not left out) or a confidence
            outside 0–1.

    >>> found = over_seeds([0.01, 0.02, 0.03])
    >>> {name: round(value, 3) for name, value in found.items()}
    {'mean': 0.02, 'sd': 0.01, 'low': -0.005, 'high': 0.045, 'p_value': 0.074, 'seeds': 3, 'same_sign': 3}
    """
    differences = np.asarray(differences, dtype=float)
    broken = int(np.sum(~np.isfinite(differences)))
    if differences.ndim != 1 or len(differences) == 0 or broken:
        found = f"{broken} of {len(differences)} that are none" if broken else f"shape {differences.shape}"
        raise InputError(f"expected the differences of one or more seeds, found {found}")
    if not 0 < confidence < 1:
        raise InputError(f"expected a confidence between 0 and 1, found {confidence!r}")
    mean, n = float(differences.mean()), len(differences)
    sd = float(differences.std(ddof=1)) if n > 1 else math.nan
    half = p_value = math.nan
    if n > 1:
        from scipy.stats import t

        error = sd / math.sqrt(n)
        half = float(t.ppf(0.5 + confidence / 2, n - 1)) * error
        p_value = float(2 * t.sf(abs(mean) / error, n - 1)) if error > 0 else float(mean == 0)
    same = int(np.sum(differences * mean > 0))
    low, high = mean - half, mean + half
    return {"mean": mean, "sd": sd, "low": low, "high": high, "p_value": p_value, "seeds": n, "same_sign": same}


def holm(p_values) -> np.ndarray:
    """P-values adjusted for their number by Holm's step-down rule: below α, at most α that any of them is wrong.

    The k-th smallest of m is multiplied by m − k + 1, and none is below a smaller one's (Holm 1979).

    Args:
        p_values: (M,) 0–1; NaN is no comparison: it stays NaN and is not counted.

    Returns:
        (M,) float64, in the same order.

    Raises:
        InputError: for values outside 0–1.

    >>> holm([0.01, 0.04, 0.03]).round(3).tolist()
    [0.03, 0.06, 0.06]
    """
    p_values = np.asarray(p_values, dtype=float)
    wrong = int(np.sum((p_values < 0) | (p_values > 1)))
    if p_values.ndim != 1 or wrong:
        found = f"{wrong} of {len(p_values)} outside" if wrong else f"shape {p_values.shape}"
        raise InputError(f"expected a list of p-values 0–1, found {found}")
    adjusted = np.full(len(p_values), np.nan)
    known = np.flatnonzero(~np.isnan(p_values))
    order = known[np.argsort(p_values[known], kind="stable")]
    stepped = np.maximum.accumulate(p_values[order] * np.arange(len(order), 0, -1))
    adjusted[order] = np.minimum(stepped, 1)
    return adjusted
