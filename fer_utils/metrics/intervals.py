"""How sure is a number, or a difference of two? Intervals of 95 %, the bootstrap, paired tests."""

import numpy as np
import pandas as pd
from scipy.special import stdtr, stdtrit

from fer_utils.core import check_choice, require
from fer_utils.metrics.scores import MAIN, METRICS, check_scores, weighted_scores

OF_PROBABILITIES = {"auc", "auc_pr", "ece", "brier"}  # the others need the predicted class alone
LEVEL = 0.05
BLOCK = 2**22  # weights in memory at once


def bootstrap(targets, probabilities, metrics=MAIN, balanced=False, **draws) -> pd.DataFrame:
    """Metrics with 95 % percentile intervals of a bootstrap over images, stratified by class.

    The interval is that of other images, not of other seeds. Of a class of few images it is too
    narrow: where none of 16 is right, none is in any sample (see `wilson_interval`).

    Args:
        targets: (N,) true labels 0–7.
        probabilities: (N, 8), or (S, N, 8) of S seeds: in every sample a metric is their mean.
        metrics: of `METRICS`; AUC and AUC-PR take most of the time.
        balanced: as `evaluate`, in every sample.
        draws: `groups`, `resamples` and `seed` of `draw_weights`.
    """
    rows = {}
    for name, values in _resampled(targets, probabilities, metrics, balanced, **draws).items():
        mean = values.mean(axis=0)
        rows[name] = {"value": mean[0]} | describe_sample(mean[1:])
    table = pd.DataFrame.from_dict(rows, orient="index").rename_axis("metric")
    return table[["value", "low", "high"]]


def compare_paired(targets, a, b, metrics=MAIN, balanced=False, **draws) -> pd.DataFrame:
    """Metrics of two methods on the same images, and the difference with its bootstrap interval.

    `a` and `b` are probabilities (N, 8), or (S, N, 8) of S seeds each; all else as of `bootstrap`.

    Returns:
        DataFrame indexed by metric: `a`, `b`, `difference` (b − a), its 95 % interval `low`,
        `high` (of other images), a two-sided `p_value` (at least 2 / (resamples + 1)), and
        `by_seed`, the (S,) differences, for `seed_interval`.
    """
    sides = [np.reshape(check_scores(targets, x, True)[1], (-1, len(targets), 8)) for x in (a, b)]
    seeds = len(sides[0])
    require(seeds == len(sides[1]), "as many seeds of both", f"{seeds} and {len(sides[1])}")
    found, rows = _resampled(targets, np.concatenate(sides), metrics, balanced, **draws), {}
    for name, values in found.items():
        a, b = values[:seeds], values[seeds:]  # (S, 1 + resamples)
        apart = (b - a).mean(axis=0)
        row = {"a": a[:, 0].mean(), "b": b[:, 0].mean(), "difference": apart[0]}
        rows[name] = row | describe_sample(apart[1:]) | {"by_seed": (b - a)[:, 0]}
    return pd.DataFrame(list(rows.values()), pd.Index(rows, name="metric"))


def _resampled(targets, runs, metrics, balanced=False, **draws) -> dict:
    """Metrics of runs (S, N, 8), (S, 1 + resamples) each: as they are, then in each resample."""
    for name in metrics:
        check_choice("metric", name, METRICS)
    targets, runs = check_scores(targets, runs, seeds=True)
    runs = runs.reshape(-1, *runs.shape[-2:])
    kinds = np.arange(len(targets))
    if OF_PROBABILITIES.isdisjoint(metrics):
        kinds = find_kinds([targets, *runs.argmax(axis=2)])
    kept, blocks = draw_weights(targets, kinds, **draws)
    targets, runs = targets[kept], runs[:, kept]
    found = [[weighted_scores(targets, run, w, metrics, balanced) for run in runs] for w in blocks]
    return {name: np.hstack([[run[name] for run in block] for block in found]) for name in metrics}


def describe_sample(sample) -> dict:
    """Of a bootstrap distribution: its middle 95 %, `low` to `high`, and the two-sided `p_value`.

    The p-value, of no difference, is the level at which the interval reaches 0.
    """
    low, high = np.quantile(sample, [0.025, 0.975]).tolist()
    beyond = min(np.sum(sample <= 0), np.sum(sample >= 0))
    p_value = np.nan if np.isnan(low) else min(1.0, 2 * float(beyond + 1) / (len(sample) + 1))
    return {"low": low, "high": high, "p_value": p_value}


def seed_interval(values) -> dict:
    """`low`, `high` and `p_value` (of a mean of 0) of values of (S,) seeds, by Student's t.

    They say what other seeds do, mostly of differences; NaN with one seed or where a value is.
    """
    values = np.asarray(values, dtype=float)
    require(values.ndim == 1 and len(values), "values of seeds", f"shape {values.shape}")
    mean, others = float(values.mean()), len(values) - 1
    error = float(values.std(ddof=1)) / np.sqrt(others + 1) if others else np.nan
    half = float(stdtrit(max(others, 1), 0.975) * error)
    p_value = 2 * float(stdtr(others, -abs(mean) / error)) if error else float(mean == 0)
    return {"low": mean - half, "high": mean + half, "p_value": p_value}


def holm(p_values) -> np.ndarray:
    """P-values (M,) adjusted for their number by Holm's step-down rule; NaN is not counted.

    >>> holm([0.01, 0.04, 0.03]).round(3).tolist()
    [0.03, 0.06, 0.06]
    """
    p_values = np.asarray(p_values, dtype=float)
    good = p_values.ndim == 1 and not ((p_values < 0) | (p_values > 1)).any()
    require(good, "a list of p-values 0–1", p_values.tolist())
    order = np.argsort(p_values, kind="stable")[: np.sum(~np.isnan(p_values))]  # NaN come last
    adjusted = np.full(len(p_values), np.nan)
    stepped = p_values[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(stepped), 1)
    return adjusted


def verdict(found) -> str:
    """Is b "higher" than a, "lower", or is the difference "not significant"?

    `found` holds `low`, `high` (interval of b − a) and `p_holm`, or else `p_value`; with
    `seeds_low`, `seeds_high` (over seeds) these must be on the same side of 0 too.
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
        kinds: (N,) integers; images of a kind have one label and count alike in what is measured.
        groups: (N,) integers; images of a group (duplicates, say) are drawn together, those of a
            negative one alone. None: all alone.

    Returns:
        (M,) images to keep, and blocks (M, r) of their weights: first, with r = 1, those that stand
        for the N images as they are, then `resamples` columns in all.
    """
    images = np.arange(len(targets))
    groups = images if groups is None else np.asarray(groups)
    found = f"{resamples} resamples, groups of shape {groups.shape}"
    good = resamples >= 1 and groups.shape == images.shape
    require(good, f"≥ 1 resample and groups of {len(images)} images", found)
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
