"""Accuracy against recall of the rare classes: what a loss pays for whom."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from fer_utils.paper import BASES, LOSSES, MODELS, RECALLS
from fer_utils.plots.rare import RARE
from fer_utils.plots.style import COLUMN_WIDTH, LOSS_COLORS, LOSS_MARKERS, PAGE_WIDTH, marker_size, new_figure, style

PUBLISHED = "#000000"


def plot_tradeoff(runs: pd.DataFrame, ax: Axes) -> Axes:
    """A point a model at the mean of its seeds, and a thin line to each seed; hollow when trained from scratch.

    The paper's, where its text gives recalls, are crosses joined by an arrow from softmax to weighted cluster.

    Args:
        runs: rows of `runs.csv` of one base, with `accuracy`, `recall_contempt` and `recall_disgust` as fractions.
        ax: where to draw.

    >>> run = {"model": 10, "accuracy": 0.6, "recall_contempt": 0.5, "recall_disgust": 0.3}
    >>> plot_tradeoff(pd.DataFrame([run]), new_figure().subplots()).lines[0].get_xydata().tolist()
    [[40.0, 60.0]]
    """
    for number, own in runs.groupby("model"):
        model = MODELS[number]
        color, loss = LOSS_COLORS[model.loss], model.loss
        points = 100 * np.column_stack([own[[f"recall_{name}" for name in RARE]].mean(axis=1), own["accuracy"]])
        x, y = points.mean(axis=0)
        ax.plot(
            x, y, color=color, marker=LOSS_MARKERS[loss], markersize=marker_size(loss, 5.5), linestyle="none", zorder=4,
            markerfacecolor=color if model.pretrained else "white",
        )  # fmt: skip
        for x_seed, y_seed in points if len(points) > 1 else ():
            ax.plot([x, x_seed], [y, y_seed], color=color, linewidth=0.7, zorder=3)
    published = [
        (100 * np.mean(list(RECALLS[number].values())), 100 * MODELS[number].accuracy)
        for number in RECALLS
        if MODELS[number].base == MODELS[runs["model"].iloc[0]].base
    ]
    ax.plot(*zip(*published, strict=True), "x", color=PUBLISHED, markersize=5, linestyle="none", zorder=2)
    arrow = {"arrowstyle": "->", "color": PUBLISHED, "linewidth": 0.7, "shrinkA": 5, "shrinkB": 5, "linestyle": ":"}
    ax.annotate("", published[1], published[0], arrowprops=arrow)
    ax.set(xlabel="mean recall of contempt and disgust (%)", ylabel="accuracy (%)")
    ax.grid(True, axis="both")
    return ax


@style()
def figure_tradeoff(runs: pd.DataFrame) -> Figure:
    """Accuracy against recall of the rare classes, a panel a base.

    Args:
        runs: a study's `runs.csv`.

    >>> run = {"model": 10, "accuracy": 0.6, "recall_contempt": 0.5, "recall_disgust": 0.3}
    >>> figure_tradeoff(pd.DataFrame([run])).axes[0].get_title("left")
    '(a) SE-ResNet-50'
    """
    of_run = runs["model"].map(lambda number: MODELS[number].base)
    panels = {name: runs[of_run == base] for base, name in BASES.items() if (of_run == base).any()}
    figure = new_figure(PAGE_WIDTH if len(panels) == 2 else 1.3 * COLUMN_WIDTH, 3.1)
    axes = figure.subplots(1, len(panels), sharex=True, sharey=True, squeeze=False)[0]
    for letter, (name, own), ax in zip("ab", panels.items(), axes, strict=False):
        plot_tradeoff(own, ax)
        ax.set_title(f"({letter}) {name}", loc="left")
        ax.label_outer()
    handles = [
        Line2D([], [], color=color, marker=LOSS_MARKERS[loss], markersize=marker_size(loss), linestyle="none")
        for loss, color in LOSS_COLORS.items()
    ]
    hollow = Line2D([], [], color="black", marker="o", markerfacecolor="white", linestyle="none")
    published = Line2D([], [], color=PUBLISHED, marker="x", linestyle="none")
    names = [*LOSSES.values(), "hollow: from scratch", "published, pre-trained: softmax to cluster"]
    figure.legend(
        [*handles, hollow, published], names, loc="outside lower center", ncols=3 if len(panels) == 2 else 2,
        columnspacing=1.0, handlelength=1,
    )  # fmt: skip
    return figure
