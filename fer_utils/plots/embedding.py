"""A run's embedding: laid out in a plane, and the distances in it."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fer_utils.errors import InputError
from fer_utils.expressions import COLORS, EXPRESSIONS, NUM_CLASSES
from fer_utils.plots.style import COLUMN_WIDTH, PAGE_WIDTH, new_figure, style

# With the colours, for readers without them.
MARKERS = dict(zip(EXPRESSIONS, ("o", "s", "v", "^", "D", "P", "X", "*"), strict=True))


def plot_plane(points, labels, ax: Axes, centers=None) -> Axes:
    """An embedding laid out in a plane, coloured by class, rare classes on top; learned centres as ringed markers.

    Args:
        points: (N, 2), of `fer_utils.evaluating.project`.
        labels: (N,) 0–7.
        ax: where to draw.
        centers: (8, 2), or None.

    Raises:
        InputError: for other shapes.

    >>> ax = plot_plane(np.zeros((3, 2)), [0, 7, 7], new_figure().subplots(), np.ones((8, 2)))
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['neutral (1)', 'contempt (2)', 'learned centre']
    """
    points, labels = np.asarray(points), np.asarray(labels)
    if points.shape != (len(labels), 2):
        raise InputError(f"expected points (N, 2) and a label each, found {points.shape} and {len(labels)} labels")
    counts = np.bincount(labels, minlength=NUM_CLASSES)
    for label in np.argsort(-counts, kind="stable"):
        name = EXPRESSIONS[label]
        if counts[label]:
            own = points[labels == label]
            size = 5 + 12 / (1 + counts[label] / 20)  # a few points must not drown
            text = f"{name} ({counts[label]:,})"
            ax.scatter(*own.T, s=size, marker=MARKERS[name], color=COLORS[name], linewidth=0, alpha=0.75, label=text)
    if centers is not None:
        for name, center in zip(EXPRESSIONS, centers, strict=True):
            # White, then black around it: seen on every colour.
            ax.scatter(*center, s=75, marker=MARKERS[name], color="black", linewidth=0, zorder=3)
            ax.scatter(*center, s=48, marker=MARKERS[name], color="white", linewidth=0, zorder=3)
            ax.scatter(*center, s=24, marker=MARKERS[name], color=COLORS[name], linewidth=0, zorder=3)
        ax.plot([], [], "o", color="white", markeredgecolor="black", markersize=6, label="learned centre")
    handles, names = ax.get_legend_handles_labels()
    order = sorted(range(len(names)), key=lambda k: [*EXPRESSIONS, "learned"].index(names[k].split(" ")[0]))
    ax.legend([handles[k] for k in order], [names[k] for k in order], loc="center left", bbox_to_anchor=(1, 0.5))
    ax.set(xlabel="t-SNE 1 (no unit)", ylabel="t-SNE 2 (no unit)", xticks=[], yticks=[])
    ax.grid(False)
    return ax


@style()
def figure_plane(points, labels, centers=None) -> Figure:
    """`plot_plane` as a figure.

    >>> figure_plane(np.zeros((3, 2)), [0, 7, 7]).axes[0].get_xlabel()
    't-SNE 1 (no unit)'
    """
    figure = new_figure(PAGE_WIDTH * 0.75, 3.8)
    plot_plane(points, labels, figure.subplots(), centers)
    return figure


def plot_distances(distances: pd.DataFrame, ax: Axes) -> Axes:
    """Distances between class means and, on the diagonal in bold, within the classes.

    Args:
        distances: (8, 8), of `fer_utils.evaluating.class_distances`.
        ax: where to draw.

    >>> ax = plot_distances(pd.DataFrame(np.eye(8)), new_figure().subplots())
    >>> [text.get_text() for text in ax.texts[:2]]
    ['1.00', '0.00']
    """
    values = np.asarray(distances, dtype=float)
    ax.imshow(values, cmap="Blues_r", vmin=0, vmax=np.nanmax(values) * 1.25)
    digits = max(0, 2 - int(np.floor(np.log10(max(np.nanmax(values), 1e-9)))))
    for row, column in np.ndindex(values.shape):
        value = values[row, column]
        text = "–" if np.isnan(value) else f"{value:.{digits}f}"
        color = "white" if value < 0.45 * np.nanmax(values) else "black"
        weight = "bold" if row == column else "normal"
        ax.text(column, row, text, ha="center", va="center", fontsize=6, color=color, weight=weight)
    ax.set_xticks(range(NUM_CLASSES), EXPRESSIONS, rotation=45, ha="right", rotation_mode="anchor")
    ax.set_yticks(range(NUM_CLASSES), EXPRESSIONS)
    ax.set_xlabel("distance of class means; bold: within the class\n(units of the embedding)")
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.grid(False)
    return ax


@style()
def figure_distances(distances: pd.DataFrame) -> Figure:
    """`plot_distances` as a figure.

    >>> len(figure_distances(pd.DataFrame(np.eye(8))).axes)
    1
    """
    figure = new_figure(COLUMN_WIDTH * 1.15, 3.6)
    plot_distances(distances, figure.subplots())
    return figure
