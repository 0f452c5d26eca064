"""What a comparison shows, in one sentence that is never stronger than its numbers."""

import math

from fer_utils.errors import InputError
from fer_utils.expressions import EXPRESSIONS, NUM_CLASSES
from fer_utils.metrics.classes import FEW, listed
from fer_utils.metrics.weighted import METRICS

LEVEL = 0.05
MINUS = "\N{MINUS SIGN}"
LOWER_IS_BETTER = ("ece", "brier")
OVER_CLASSES = ("f1", "auc_pr", "auc", "macro_recall", "kappa_ovr", "alpha_ovr")  # a small class counts as a large one
TITLES = METRICS | {f"recall_{name}": f"Recall of {name}" for name in EXPRESSIONS}


def verdict(
    found, seeds=None, *, a="a", b="b", metric="macro_recall", comparisons=1, planned=None, supports=None
) -> str:
    """Is b better than a? One sentence from the numbers.

    Three strengths, none of which is reached by one number alone:

    - "is better than": several seeds, all of one sign; the interval over images and the t interval over seeds both
      without 0; the p-value, adjusted for the number of comparisons, below 0.05; no planned seed missing; no class of
      few images in the mean.
    - "did better than … here": the same of the images, but one seed of each, or a seed missing, or a mean over classes
      of which some have few images, whose own uncertainty a bootstrap understates.
    - "is not told from noise against": anything else. It is not "as good as".

    Args:
        found: mapping with `difference` (b − a), `low`, `high` (interval over images) and `p_value`, adjusted by `holm`
            where there are several comparisons: a row of `compare_paired`, `compare_recalls` or
            `macro_recall_difference`.
        seeds: what `over_seeds` makes of the differences seed by seed; None for one seed.
        a, b: names of the two sides.
        metric: key of `METRICS`, or `recall_<expression>`.
        comparisons: how many comparisons the p-value is adjusted for.
        planned: seeds that there should be; default: as many as there are.
        supports: (8,) test images of each class.

    Raises:
        InputError: for an unknown metric, supports of another length, or fewer than one comparison.

    >>> found = {"difference": 0.014, "low": -0.004, "high": 0.036, "p_value": 0.11}
    >>> print(verdict(found, a="weighted softmax", b="weighted cluster"))
    Macro recall: weighted cluster is not told from noise against weighted softmax (+1.4 points, 95 % interval −0.4 to \
+3.6, one seed): the interval holds 0, p = 0.11.
    """
    if metric not in TITLES:
        raise InputError(f"expected a metric of {', '.join(TITLES)}; found {metric!r}")
    if supports is not None and len(supports) != NUM_CLASSES:
        raise InputError(f"expected the supports of {NUM_CLASSES} classes, found {len(supports)}")
    if comparisons < 1:
        raise InputError(f"expected at least 1 comparison, found {comparisons}")
    difference, low, high, p_value = (float(found[name]) for name in ("difference", "low", "high", "p_value"))
    if math.isnan(difference):
        return f"{TITLES[metric]}: nothing can be said of {b} against {a}: no pair of runs gives a number."
    number = seeds["seeds"] if seeds else 1
    planned = planned or number
    doubts = _doubts(difference, low, high, p_value, seeds, comparisons)
    few = _few(metric, supports)
    better = (difference < 0) == (metric in LOWER_IS_BETTER)
    told = "better" if better else "worse"
    if doubts:
        claim = f"{b} is not told from noise against {a}"
    elif number == 1 or number < planned or few:
        claim = f"{b} did {told} than {a} here"
    else:
        claim = f"{b} is {told} than {a}"
    parts = [f"{amount(difference, metric)}, 95 % interval {amount(low, metric, '')} to {amount(high, metric, '')}"]
    parts.append(
        f"{number} of {planned} seeds" if number < planned else f"{number} seeds" if number > 1 else "one seed"
    )
    if doubts:
        reasons = doubts
    else:
        reasons = [_corrected(p_value, comparisons)]
        reasons += [f"all {number} seeds of that sign"] if number > 1 else ["another seed may differ"]
    return f"{TITLES[metric]}: {claim} ({', '.join(parts)}): {', '.join([*reasons, *few])}."


def _doubts(difference, low, high, p_value, seeds, comparisons: int) -> list[str]:
    """Every reason not to tell the difference from noise."""
    doubts = []
    if difference == 0:
        doubts.append("there is no difference")
    if not (low > 0 or high < 0):
        doubts.append("the interval holds 0")
    if seeds and seeds["seeds"] > 1:
        if seeds["same_sign"] < seeds["seeds"]:
            doubts.append(f"{seeds['same_sign']} of {seeds['seeds']} seeds have its sign")
        if not (seeds["low"] > 0 or seeds["high"] < 0):
            doubts.append("the t interval over seeds holds 0")
    if not p_value < LEVEL:
        doubts.append(_corrected(p_value, comparisons))
    return doubts


def _corrected(p_value: float, comparisons: int) -> str:
    if math.isnan(p_value):
        return "no p-value"
    shown = p_text(p_value)
    text = f"p {shown}" if shown[0] == "<" else f"p = {shown}"
    return text if comparisons == 1 else f"{text} after Holm's correction for {comparisons} comparisons"


def _few(metric: str, supports) -> list[str]:
    """The classes whose few images carry the metric."""
    if supports is None:
        return []
    own = [f"{n} of {name}" for name, n in zip(EXPRESSIONS, supports, strict=True) if 0 < n < FEW]
    if metric in OVER_CLASSES and own:
        return [f"and it rests on few images ({listed(own)})"]
    name = metric.removeprefix("recall_")
    n = supports[EXPRESSIONS.index(name)] if name in EXPRESSIONS else FEW
    return [f"and it rests on {n} images"] if n < FEW else []


def amount(value: float, metric: str, unit: str = " points", signed: bool = True) -> str:
    """A metric or a difference as it is printed: in per cent or points, Brier's score as it is.

    >>> amount(-0.014, "macro_recall"), amount(0.5, "macro_recall", "", signed=False), amount(0.014, "brier")
    ('−1.4 points', '50.0', '+0.014')
    """
    if math.isnan(value):
        return "–"
    sign = "+" if signed else ""
    text = f"{value:{sign}.3f}" if metric == "brier" else f"{100 * value:{sign}.1f}{unit}"
    return text.replace("-", MINUS)


def p_text(p_value: float) -> str:
    """A p-value with the digits that matter.

    >>> p_text(0.93), p_text(0.0314), p_text(0.0001)
    ('0.93', '0.031', '< 0.001')
    """
    if math.isnan(p_value):
        return "–"
    return "< 0.001" if p_value < 0.001 else f"{p_value:.2f}" if p_value >= 0.0995 else f"{p_value:.3f}"
