"""Two methods on the same images: is one better, or is it noise?"""

import numpy as np
import pandas as pd

from fer_utils.core import InputError, check_choice
from fer_utils.metrics.intervals import describe_sample
from fer_utils.metrics.scores import MAIN, METRICS, check_scores, resampled_scores

LEVEL = 0.05


def compare_paired(targets, a, b, metrics=MAIN, balanced=False, **draws) -> pd.DataFrame:
    """Metrics of two methods on the same images, and the difference with its bootstrap interval.

    What is hard or easy for both cancels. Of several seeds a metric is the mean in every sample:
    the interval is that of other images, and `by_seed` beside it shows what another seed does.

    Args:
        a, b: probabilities (N, 8), or (S, N, 8) of S seeds each.
        targets, metrics, balanced, draws: as `bootstrap`.

    Returns:
        DataFrame indexed by metric: `a`, `b`, `difference` (b − a), its 95 % interval `low`,
        `high`, a two-sided `p_value` (at least 2 / (resamples + 1)), and `by_seed`, the (S,)
        differences, for `seed_interval`.
    """
    sides = [np.reshape(check_scores(targets, x, True)[1], (-1, len(targets), 8)) for x in (a, b)]
    seeds = len(sides[0])
    if seeds != len(sides[1]):
        raise InputError(f"expected as many seeds of both, found {seeds} and {len(sides[1])}")
    found, rows = resampled_scores(targets, np.concatenate(sides), metrics, balanced, **draws), []
    for name, values in found.items():
        a, b = values[:seeds], values[seeds:]  # (S, 1 + resamples)
        apart = (b - a).mean(axis=0)
        row = {"metric": name, "a": a[:, 0].mean(), "b": b[:, 0].mean(), "difference": apart[0]}
        rows.append(row | describe_sample(apart[1:]) | {"by_seed": (b - a)[:, 0]})
    return pd.DataFrame(rows).set_index("metric")


def holm(p_values) -> np.ndarray:
    """P-values (M,) adjusted for their number by Holm's step-down rule; NaN is not counted.

    >>> holm([0.01, 0.04, 0.03]).round(3).tolist()
    [0.03, 0.06, 0.06]
    """
    p_values = np.asarray(p_values, dtype=float)
    if p_values.ndim != 1 or ((p_values < 0) | (p_values > 1)).any():
        raise InputError(f"expected a list of p-values 0–1, found {p_values.tolist()}")
    order = np.argsort(p_values, kind="stable")[: np.sum(~np.isnan(p_values))]  # NaN come last
    adjusted = np.full(len(p_values), np.nan)
    stepped = p_values[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(stepped), 1)
    return adjusted


def verdict(found) -> str:
    """Is b "higher" than a, "lower", or is the difference "not significant"?

    Args:
        found: mapping of `low`, `high` (interval of b − a) and `p_holm`, or else `p_value`;
            with `seeds_low`, `seeds_high` (over seeds) these must be on the same side of 0 too.
    """
    seeds = [found.get(name, np.nan) for name in ("seeds_low", "seeds_high")]
    ends = [found["low"], found["high"], *(end for end in seeds if not np.isnan(end))]
    sure = found.get("p_holm", found["p_value"]) < LEVEL
    state = "higher" if min(ends) > 0 else "lower" if max(ends) < 0 else ""
    return state if sure and state else "not significant"


def describe_verdict(found, a="a", b="b", metric="macro_recall") -> str:
    """The verdict in words; `found` also has `difference`, as a row of `compare_paired`.

    >>> row = {"difference": 0.014, "low": -0.004, "high": 0.036, "p_value": 0.11}
    >>> describe_verdict(row, "softmax", "weighted").partition("(")[0]
    'Macro recall of weighted against softmax: not significant '
    """
    check_choice("metric", metric, METRICS)
    shift, low, high = (f"{100 * found[name]:+.1f}" for name in ("difference", "low", "high"))
    p = f"p = {found.get('p_holm', found['p_value']):.3f}".replace("= 0.000", "< 0.001")
    numbers = f"{shift} points, 95 % interval {low} to {high}, {p}".replace("-", "−")
    return f"{METRICS[metric]} of {b} against {a}: {verdict(found)} ({numbers})."
