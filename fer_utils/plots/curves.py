"""Figure 5: learning curves."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from fer_utils.errors import check_choice
from fer_utils.paper import LOSSES, MODELS
from fer_utils.plots.captions import of_base, say_what_ran
from fer_utils.plots.style import LOSS_COLORS, LOSS_MARKERS, PAGE_WIDTH, marker_size, new_figure, style

PANELS = {
    "train_loss": "training loss",
    "validation_loss": "validation loss",
    "validation_accuracy": "validation accuracy (%)",
}
# Losses of different terms differ by orders of magnitude (center loss grows with the embedding's width).
LOG_RATIO = 8


def plot_learning_curves(history: pd.DataFrame, runs: pd.DataFrame, value: str, ax: Axes) -> Axes:
    """One line a model: mean over its seeds with a band from minimum to maximum; dashed when trained from scratch.

    Args:
        history: `history.csv` of the runs.
        runs: rows of `runs.csv` to show.
        value: `train_loss`, `validation_loss` or `validation_accuracy` (drawn in per cent).
        ax: where to draw. The axis is logarithmic where the values span more than a factor of 8.

    Raises:
        InputError: for another `value`.

    >>> runs = pd.DataFrame({"run": ["a"], "model": [10]})
    >>> history = pd.DataFrame({"run": "a", "epoch": [1, 2], "validation_accuracy": [0.25, 0.5]})
    >>> ax = plot_learning_curves(history, runs, "validation_accuracy", new_figure().subplots())
    >>> ax.lines[0].get_ydata().tolist()
    [25.0, 50.0]
    """
    check_choice("value", value, PANELS)
    scale = 100 if value == "validation_accuracy" else 1
    for number, own in runs.groupby("model"):
        model = MODELS[number]
        by_epoch = history[history["run"].isin(own["run"])].groupby("epoch")[value]
        summary = (
            scale * by_epoch.agg(["mean", "min", "max"])[by_epoch.size() == len(own)]
        )  # epochs that all seeds have
        color, step = LOSS_COLORS[model.loss], max(1, len(summary) // 5)
        first = (
            list(LOSSES).index(model.loss) * step // len(LOSSES)
        )  # so that markers of different lines do not coincide
        ax.plot(
            summary.index,
            summary["mean"],
            color=color,
            linestyle="-" if model.pretrained else (0, (3, 1.5)),
            marker=LOSS_MARKERS[model.loss],
            markersize=marker_size(model.loss, 3.2),
            markerfacecolor=color if model.pretrained else "white",
            markeredgewidth=0.8,
            markevery=(first, step),
            linewidth=1.5 if model.loss == "weighted_cluster" else 1.0,
            label=f"model {number}",
        )
        if len(own) > 1:
            ax.fill_between(summary.index, summary["min"], summary["max"], color=color, alpha=0.15, linewidth=0)
    drawn = [y for line in ax.lines for y in line.get_ydata() if y > 0]
    if drawn and max(drawn) / min(drawn) > LOG_RATIO and scale == 1:
        ax.set_yscale("log")
    ax.set_xlabel("epoch")
    ax.set_ylabel(PANELS[value])
    ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    return ax


@style()
def figure_learning_curves(history: pd.DataFrame, runs: pd.DataFrame, base: str) -> Figure:
    """Figure 5 for all models of one base: (a) training loss, (b) validation loss, (c) validation accuracy.

    Args:
        history: a study's `history.csv`.
        runs: its `runs.csv`.
        base: `se_resnet50` or `resnet50`, the paper's. Models of it without a run are named above the panels.

    Raises:
        InputError: for another base, or one that was not run.

    >>> runs = pd.DataFrame({"run": ["a"], "model": [10], "architecture": ["se_resnet14"], "image_size": 48})
    >>> history = pd.DataFrame({"run": "a", "epoch": [1, 2], **dict.fromkeys(PANELS, [0.25, 0.5])})
    >>> [ax.get_title("left") for ax in figure_learning_curves(history, runs, "se_resnet50").axes]
    ['(a)', '(b)', '(c)']
    """
    own = of_base(runs, base)
    figure = new_figure(PAGE_WIDTH, 2.75)
    for letter, value, ax in zip("abc", PANELS, figure.subplots(1, 3), strict=True):
        plot_learning_curves(history, own, value, ax)
        ax.set_title(f"({letter})", loc="left")
    figure.legend(handles=_legend(), loc="outside lower center", ncols=4, columnspacing=1.2)
    figure.suptitle(say_what_ran(own, base), fontsize=7, x=0.01, ha="left")
    return figure


def _legend() -> list[Line2D]:
    losses = [
        Line2D([], [], color=color, marker=LOSS_MARKERS[loss], markersize=marker_size(loss, 3.2), label=LOSSES[loss])
        for loss, color in LOSS_COLORS.items()
    ]
    blank = Line2D([], [], linestyle="none", label=" ")  # a column of its own for the two line styles
    solid = Line2D([], [], color="black", marker="o", markersize=3.2, label="pre-trained")
    dashed = Line2D([], [], color="black", marker="o", markersize=3.2, markerfacecolor="white", linestyle=(0, (3, 1.5)))
    dashed.set_label("from scratch")
    return [*losses, blank, solid, dashed]
