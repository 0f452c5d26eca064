"""Figure 6: confusion matrices."""

import math

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fer_utils.errors import InputError
from fer_utils.expressions import EXPRESSIONS, NUM_CLASSES
from fer_utils.metrics import confusion_rows, count_confusion
from fer_utils.paper import LOSSES, MODELS, models_of
from fer_utils.plots.captions import count_seeds
from fer_utils.plots.style import PAGE_WIDTH, new_figure, style

FIGURE_6 = (6, 10, 16, 20)
PROBABILITIES = [f"p_{name}" for name in EXPRESSIONS]


def plot_confusion(confusion, ax: Axes, supports=None) -> Axes:
    """A confusion matrix, each row in per cent of its class.

    Args:
        confusion: (8, 8) counts, rows true.
        ax: where to draw.
        supports: (8,) images per class to print beside the names; default the rows' sums. With several seeds these are
            the test images, not the predictions.

    Raises:
        InputError: for another shape.

    >>> ax = plot_confusion(np.eye(8, dtype=int) * 5, new_figure().subplots())
    >>> ax.get_yticklabels()[7].get_text(), ax.texts[-1].get_text()
    ('contempt (5)', '100')
    """
    confusion = np.asarray(confusion)
    if confusion.shape != (NUM_CLASSES, NUM_CLASSES):
        raise InputError(f"expected an 8 × 8 confusion matrix, found shape {confusion.shape}")
    supports = confusion.sum(axis=1) if supports is None else supports
    percent = 100 * confusion_rows(confusion)
    ax.imshow(percent, cmap="Blues", vmin=0, vmax=100)
    for row, column in np.ndindex(percent.shape):
        value = percent[row, column]
        text = "–" if np.isnan(value) else f"{value:.0f}"
        weight = "bold" if row == column else "normal"
        color = "white" if value > 55 else "black"
        ax.text(column, row, text, ha="center", va="center", fontsize=6.5, color=color, weight=weight)
    ax.set_xticks(range(NUM_CLASSES), EXPRESSIONS, rotation=45, ha="right", rotation_mode="anchor")
    ax.set_yticks(
        range(NUM_CLASSES),
        [f"{name} ({n:,})" for name, n in zip(EXPRESSIONS, np.asarray(supports, dtype=int), strict=True)],
    )
    ax.tick_params(length=0)
    ax.set_xlabel("predicted (% of the row)")
    ax.set_ylabel("true (images)")
    ax.spines[:].set_visible(False)
    ax.grid(False)
    return ax


@style()
def figure_confusions(predictions: pd.DataFrame, runs: pd.DataFrame, models=None) -> Figure:
    """Figure 6 from a study's results; several seeds of a model are averaged.

    Args:
        predictions: `predictions.parquet`.
        runs: `runs.csv`.
        models: paper's model numbers; default those of 6, 10, 16, 20 whose base the study ran. A model without a run
            keeps its panel, with dashes.

    >>> runs = pd.DataFrame({"run": ["a"], "model": [10], "architecture": ["se_resnet14"], "seed": [0]})
    >>> predictions = pd.DataFrame(np.eye(8), columns=PROBABILITIES).assign(run="a", label=range(8))
    >>> [ax.get_title("left").split("\\n")[0] for ax in figure_confusions(predictions, runs).axes]
    ['(a) model 6: softmax', '(b) model 10: weighted cluster + weighted softmax']
    """
    models = [number for number in FIGURE_6 if number in models_of(runs)] if models is None else list(models)
    rows = math.ceil(len(models) / 2)
    figure = new_figure(PAGE_WIDTH, 3.45 * rows)
    axes = figure.subplots(rows, min(len(models), 2), squeeze=False).ravel()
    for letter, number, ax in zip("abcdefghijklmnopqrst", models, axes, strict=False):
        own = runs[runs["model"] == number]
        trained = "pre-trained" if MODELS[number].pretrained else "from scratch"
        if own.empty:
            confusion, supports, ran = np.zeros((NUM_CLASSES, NUM_CLASSES)), None, "not run"
        else:
            counted = predictions[predictions["run"].isin(own["run"])]
            confusion = count_confusion(counted["label"], counted[PROBABILITIES].to_numpy().argmax(axis=1))
            supports = confusion.sum(axis=1) // len(own)
            ran = f"{own['architecture'].iloc[0]} {trained}, {count_seeds(own)}"
        plot_confusion(confusion, ax, supports)
        # The title starts over the class names, where the panel does.
        title = f"({letter}) model {number}: {LOSSES[MODELS[number].loss]}\n{ran}"
        ax.set_title(title, loc="left", fontsize=7, x=-0.3)
    for ax in axes[len(models) :]:
        ax.remove()
    return figure
