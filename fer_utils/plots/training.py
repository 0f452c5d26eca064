"""A run as it trains: what 02 and 03 draw again after each epoch."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from fer_utils.expressions import COLORS, EXPRESSIONS
from fer_utils.plots.style import PAGE_WIDTH, new_figure, style

# Not told apart by colour alone.
MARKERS = dict(zip(EXPRESSIONS, "osD^v<>X", strict=True))
CURVES = {
    "loss": {"train_loss": "training", "validation_loss": "validation"},
    "validation (%)": {"validation_accuracy": "accuracy", "validation_f1": "macro F1"},
    "distance in the embedding": {
        "between_distance": "between class means",
        "within_distance": "within a class",
        "center_distance": "between centres",
        "center_offset": "centre to class mean",
    },
}


def plot_history(history: pd.DataFrame, label: str, ax: Axes) -> Axes:
    """Curves of one kind over the epochs.

    Args:
        history: a run's `history.csv`, or its first rows.
        label: of the y axis, and a key of `CURVES`: "loss", "validation (%)" or "distance in the embedding".
            Curves that the run does not have (a loss without centres) are left out.
        ax: where to draw.

    >>> history = pd.DataFrame({"epoch": [1, 2], "validation_accuracy": [0.25, 0.5]})
    >>> plot_history(history, "validation (%)", new_figure().subplots()).lines[0].get_ydata().tolist()
    [25.0, 50.0]
    """
    scale = 100 if label.endswith("(%)") else 1
    for (column, name), line in zip(CURVES[label].items(), ("-", "--", "-.", ":"), strict=False):
        if column in history and history[column].notna().any():
            ax.plot(history["epoch"], scale * history[column], line, marker="o", markersize=3, label=name)
    ax.set(xlabel="epoch", ylabel=label, ylim=(0, None))
    ax.legend()
    return ax


def plot_recalls(history: pd.DataFrame, ax: Axes) -> Axes:
    """Validation recall of each expression over the epochs; one without validation images has no line.

    Args:
        history: as in `plot_history`.
        ax: where to draw.

    >>> history = pd.DataFrame({"epoch": [1, 2], "validation_recall_sad": [0.25, 0.5]})
    >>> plot_recalls(history, new_figure().subplots()).get_legend_handles_labels()[1]
    ['sad']
    """
    for name in EXPRESSIONS:
        recall = 100 * history.get(f"validation_recall_{name}", pd.Series(np.nan, history.index))
        if recall.notna().any():
            ax.plot(history["epoch"], recall, color=COLORS[name], marker=MARKERS[name], markersize=3.5, label=name)
    ax.set(xlabel="epoch", ylabel="validation recall (%)", ylim=(-3, 103))
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return ax


@style()
def figure_training(history: pd.DataFrame, epochs: int, title: str = "") -> Figure:
    """Losses, validation scores, recall of each expression, and distances in the embedding of one run.

    Args:
        history: the run's `history.csv` so far; without recalls (people, or a run older than that column) the panel
            for them is left out.
        epochs: how many there will be: the axis stays the same while they come in.
        title: above the panels.

    >>> columns = ["train_loss", "validation_loss", "validation_accuracy", "validation_f1", "between_distance"]
    >>> figure = figure_training(pd.DataFrame({"epoch": [1, 2], **dict.fromkeys(columns, [0.25, 0.5])}), epochs=6)
    >>> [ax.get_ylabel() for ax in figure.axes]
    ['loss', 'validation (%)', 'distance in the embedding']
    """
    recalls = any(name.startswith("validation_recall_") for name in history)
    rows, columns = (2, 2) if recalls else (1, 3)
    figure = new_figure(PAGE_WIDTH, 2.3 * rows)
    panels = figure.subplots(rows, columns).flat
    for label in CURVES:
        plot_history(history, label, next(panels))
    if recalls:
        plot_recalls(history, next(panels))
    for ax in figure.axes:
        ax.set_xlim(0.8, epochs + 0.2)
        ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    figure.suptitle(title, fontsize=8, x=0.01, ha="left")
    return figure
