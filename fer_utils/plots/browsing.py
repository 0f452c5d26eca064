"""What the data notebook's controls show: pages of images with a text each, and a division with its class weights.

Made for the screen, where `fer_utils.widgets.explore` shows 80 dots an inch: wider than print, one Axes for all images.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from fer_utils.datasets.manifest import SPLITS
from fer_utils.errors import InputError
from fer_utils.expressions import EXPRESSIONS
from fer_utils.plots.audit import plot_weights
from fer_utils.plots.style import new_figure, style

WIDTH = 10  # inches
SPLIT_COLORS = {"train": "#0072B2", "validation": "#56B4E9", "test": "#E3E3E3"}  # ever lighter in grey as well
_GAP, _LINE = 0.12, 0.15  # inches between images and around them, and of a line of text


@style()
def figure_tiles(images: Sequence, titles: Sequence[str], heading: str = "", columns: int = 6) -> Figure:
    """Images in rows, a text of one or more lines above each.

    Args:
        images: N arrays (H, W, 3), uint8, of any sizes; all are shown equally wide.
        titles: N texts.
        heading: one line above them all.
        columns: images a row.

    Raises:
        InputError: if there is not one title for each image.

    >>> figure = figure_tiles(np.zeros((2, 8, 8, 3), np.uint8), ["happy", "sad"], heading="2 images")
    >>> [text.get_text() for text in figure.axes[0].texts]
    ['2 images', 'happy', 'sad']
    """
    if len(images) != len(titles):
        raise InputError(f"expected a title for each of {len(images)} images, found {len(titles)}; give one each")
    side = (WIDTH - (columns + 1) * _GAP) / columns
    top = 0.35 if heading else 0.05
    head = _LINE * max((1 + title.count("\n") for title in titles), default=0) + 0.04
    rows = -(-len(images) // columns)
    height = max(top + rows * (head + side + _GAP), _LINE)
    figure = new_figure(WIDTH, height)
    figure.set_layout_engine("none")
    ax = figure.add_axes((0, 0, 1, 1))  # in inches from the upper left
    ax.axis("off")
    if heading:
        ax.text(_GAP, 0.05, heading, va="top", fontsize=10)
    for place, (image, title) in enumerate(zip(images, titles, strict=True)):
        row, column = divmod(place, columns)
        left, upper = _GAP + column * (side + _GAP), top + row * (head + side + _GAP) + head
        ax.imshow(image, extent=(left, left + side, upper + side, upper), interpolation="antialiased", aspect="auto")
        ax.text(left, upper - 0.04, title, va="bottom", fontsize=9, linespacing=1.1)
    ax.set(xlim=(0, WIDTH), ylim=(height, 0))
    return figure


@style()
def figure_sentence(text: str) -> Figure:
    """A sentence where a picture would stand, were there one.

    >>> figure_sentence("no images").axes[0].texts[0].get_text()
    'no images'
    """
    figure = new_figure(WIDTH, 0.8)
    figure.set_layout_engine("none")
    ax = figure.add_axes((0, 0, 1, 1))  # without one, a notebook shows no figure
    ax.axis("off")
    ax.text(_GAP / WIDTH, 0.5, text, va="center", fontsize=10, wrap=True)
    return figure


def plot_division(counts: pd.DataFrame, ax: Axes) -> Axes:
    """Images of each class and split, on a logarithmic axis, each number printed.

    Args:
        counts: `split`, `expression`, `images` (`fer_utils.datasets.count_table`).
        ax: where to draw.

    >>> counts = pd.DataFrame({"split": "train", "expression": EXPRESSIONS, "images": range(1, 9)})
    >>> [int(bar.get_height()) for bar in plot_division(counts, new_figure().subplots()).containers[0]]
    [1, 2, 3, 4, 5, 6, 7, 8]
    """
    table = counts.pivot(index="expression", columns="split", values="images")
    table = table.reindex(index=list(EXPRESSIONS), columns=list(SPLITS)).fillna(0).astype(int)
    for shift, (split, color) in zip((-0.28, 0, 0.28), SPLIT_COLORS.items(), strict=True):
        heights = table[split].to_numpy()
        label = f"{split} ({heights.sum():,})"
        bars = ax.bar(
            np.arange(len(table)) + shift, heights, 0.27, color=color, edgecolor="#444444", linewidth=0.4, label=label
        )
        ax.bar_label(bars, [f"{height:,}" for height in heights], rotation=90, fontsize=7, padding=2)
    ax.set_yscale("log")
    ax.set_ylim(0.8, 8 * max(table.to_numpy().max(), 1))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    ax.set_ylabel("images")
    ax.set_xticks(range(len(table)), EXPRESSIONS, rotation=35, ha="right", rotation_mode="anchor")
    ax.tick_params(axis="x", length=0)
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, borderaxespad=0.2)
    return ax


@style()
def figure_division(counts: pd.DataFrame, weights: pd.DataFrame, effective: float) -> Figure:
    """A division beside the weights that Equation 6 makes of its training split.

    Args:
        counts: as in `plot_division`.
        weights, effective: as in `plot_weights`.

    >>> counts = pd.DataFrame({"split": "train", "expression": EXPRESSIONS, "images": 10})
    >>> weights = pd.DataFrame({"expression": EXPRESSIONS, "images": 10, "weight": 1.0})
    >>> len(figure_division(counts, weights, 80).axes)
    2
    """
    figure = new_figure(WIDTH, 3)
    figure.set_layout_engine("none")  # constrained layout draws all text twice, and a slider waits
    left, right = figure.add_axes((0.07, 0.18, 0.52, 0.73)), figure.add_axes((0.67, 0.18, 0.32, 0.73))
    plot_division(counts, left)
    plot_weights(weights, effective, right)
    for ax in (left, right):
        ax.minorticks_off()  # a fifth of the time, and nobody reads them
    return figure
