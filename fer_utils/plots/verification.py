"""Verification of people never seen: ROC curve and similarities."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fer_utils.plots.style import PAGE_WIDTH, new_figure, style
from fer_utils.verification import best_threshold, roc_curve

SAME, DIFFERENT, BASELINE = "#0072B2", "#D55E00", "#8C8C8C"
# A good network's curve leaves no corner free.
BELOW = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.2), "ncols": 2}


def plot_roc(similarities, same, ax: Axes, baseline=None) -> Axes:
    """True against false accept rate, the latter on a logarithmic axis that begins at one false accept.

    Args:
        similarities: (P,).
        same: (P,) bool, True for a pair of one person.
        ax: where to draw. The point is the threshold with the most right answers.
        baseline: (P,) similarities that need no network, of the same pairs; None draws none.

    Raises:
        InputError: as `fer_utils.verification.roc_curve`.

    >>> ax = plot_roc([0.9, 0.2, 0.5, 0.1], [True, True, False, False], new_figure().subplots())
    >>> ax.lines[-2].get_label()
    'network, area 0.750'
    """
    lowest = 1 / np.sum(~np.asarray(same, dtype=bool))
    chance = np.geomspace(lowest, 1, 50)
    ax.plot(chance, 100 * chance, ":", color=BASELINE, linewidth=0.9, label="chance")
    curves = {"grey pixels": (baseline, BASELINE, "--"), "network": (similarities, SAME, "-")}
    for name, (values, color, line) in curves.items():
        if values is not None:
            far, tar, thresholds = roc_curve(values, same)
            label = f"{name}, area {np.trapezoid(tar, far):.3f}"
            ax.step(far, 100 * tar, line, where="post", color=color, label=label)
    chosen = np.flatnonzero(thresholds >= best_threshold(similarities, same))[-1]
    point = f"best threshold, {100 * tar[chosen]:.1f} % at {100 * far[chosen]:.1f} %"
    ax.plot(max(far[chosen], lowest), 100 * tar[chosen], "o", color=SAME, label=point)
    ax.set_xscale("log")
    ax.set(xlim=(lowest, 1), ylim=(-2, 102))
    ax.set(xlabel="false accept rate, of pairs of two people", ylabel="true accept rate (%)")
    ax.legend(**BELOW)
    return ax


def plot_similarities(similarities, same, ax: Axes) -> Axes:
    """Histograms of the similarities of pairs of one person and of two, and the best threshold.

    Args:
        similarities: (P,).
        same: (P,) bool, True for a pair of one person.
        ax: where to draw.

    >>> ax = plot_similarities([0.9, 0.2, 0.5, 0.1], [True, True, False, False], new_figure().subplots())
    >>> ax.get_xlabel()
    'cosine of the two embeddings'
    """
    similarities, same = np.asarray(similarities), np.asarray(same, dtype=bool)
    bins = np.linspace(similarities.min(), similarities.max(), 41)
    for name, kind, color, line in (("two people", ~same, DIFFERENT, "--"), ("one person", same, SAME, "-")):
        weights = np.full(kind.sum(), 100 / kind.sum())
        ax.hist(similarities[kind], bins, weights=weights, color=color, alpha=0.25)
        ax.hist(similarities[kind], bins, weights=weights, color=color, histtype="step", linestyle=line, label=name)
    threshold = best_threshold(similarities, same)
    ax.axvline(threshold, color="black", linewidth=0.8, linestyle=":", label=f"best threshold, {threshold:.2f}")
    ax.set(xlabel="cosine of the two embeddings", ylabel="pairs of the kind (%)")
    ax.legend(**BELOW)
    return ax


@style()
def figure_verification(similarities, same, baseline=None) -> Figure:
    """ROC curve (a) and similarities (b) of pairs of people never seen.

    Args:
        similarities, same, baseline: as in `plot_roc`.

    >>> figure = figure_verification([0.9, 0.2, 0.5, 0.1], [True, True, False, False])
    >>> [ax.get_title("left") for ax in figure.axes]
    ['(a)', '(b)']
    """
    figure = new_figure(PAGE_WIDTH, 3)
    left, right = figure.subplots(1, 2)
    plot_roc(similarities, same, left, baseline)
    plot_similarities(similarities, same, right)
    left.set_title("(a)", loc="left")
    right.set_title("(b)", loc="left")
    return figure
