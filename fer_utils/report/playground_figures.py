"""The loss playground: embeddings in two dimensions, class centres, and the recall that follows."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from fer_utils.core import COLORS, InputError
from fer_utils.report import style

REGION_PIXELS = 90  # a side of the picture of decision regions
PALENESS = 0.82  # of these regions
MOST = 6  # traces side by side
WIDE = 0.93  # of a column, which is 1 wide
LONGEST = 0.75  # a bar of 100 %


def plot_embedding(trace: Mapping, ax: Axes, column: int = 0) -> Axes:
    """Pale decision regions, training images as dots, centres as diamonds at the end of their path.

    Args:
        trace: `features` (N, 2), `targets` (N,), `path` (T + 1, C, 2) of the centres (no rows
            without centres) from row `start` on, `output_weight` (C, 2), `output_bias` (C,),
            `names`. A centre far outside the features is out of view.
        column: where it is drawn, from (column, 0) to (column + WIDE, 1).
    """
    low, high = _window(trace)
    corner, size = np.array([column, 0]), np.array([WIDE, 1])

    def place(points: np.ndarray) -> np.ndarray:
        return corner + size * (points - low) / (high - low)

    rgb = np.array([to_rgb(color) for color in _colors(trace["names"])])
    x, y = np.linspace(low, high, REGION_PIXELS).T
    grid = np.stack(np.meshgrid(x, y), axis=-1)  # (pixels, pixels, 2)
    winner = (grid @ trace["output_weight"].T + trace["output_bias"]).argmax(axis=-1)
    pale = (PALENESS + (1 - PALENESS) * rgb)[winner]
    ax.imshow(pale, origin="lower", extent=(column, column + WIDE, 0, 1), aspect="auto")
    order = np.random.default_rng(0).permutation(len(trace["targets"]))  # no class lies on top
    dots = place(trace["features"][order])
    ax.scatter(*dots.T, s=6, c=rgb[trace["targets"][order]], linewidths=0)
    path = place(trace["path"][trace["start"] :]).clip(*np.array([corner, corner + size]))
    diamond = {"marker": "D", "markersize": 6.5, "markeredgecolor": "white", "markevery": [-1]}
    for label in range(len(rgb) if len(path) else 0):
        ax.plot(*path[:, label].T, color=rgb[label], linewidth=0.9, **diamond)
    return ax


@style.applied()
def figure_playground(traces: Mapping, text: str = "") -> Figure:
    """A column a trace by title, embedding above recall, under a `text`."""
    if not 1 <= len(traces) <= MOST:
        raise InputError(f"expected 1 to {MOST} traces, a column each; found {len(traces)}")
    first = next(iter(traces.values()))
    names, counts = first["names"], np.bincount(first["targets"], minlength=len(first["names"]))
    bars, height = 0.13 * len(names), 2.7 + 0.13 * len(names)  # inches
    figure = style.new_figure(style.PAGE, height, "none")
    left = (0.42 + 0.045 * max(map(len, names))) / style.PAGE  # for the names beside the bars
    edges = {"left": left, "right": 0.995, "bottom": 0.25 / height, "top": 1 - 0.5 / height}
    figure.subplots_adjust(**edges, hspace=0.74 / (height - 1.25))
    # Sliders redraw it: what takes time is the number of Axes, of patches and of texts.
    above, below = figure.subplots(2, height_ratios=[height - bars - 1.25, bars])
    rows, small = np.arange(len(names)), {"fontsize": 6, "va": "top"}
    for column, (title, trace) in enumerate(traces.items()):
        plot_embedding(trace, above, column)
        above.text(column, 1.03, title.replace(" + ", " +\n"), fontsize=7)  # or neighbours meet
        (low, _), (high, _) = _window(trace)
        mean = 100 * np.mean(trace["recall"])
        above.text(column, -0.03, f"{high - low:.2g} wide\n\nmean recall {mean:.0f} %", **small)
        ends = column + LONGEST * np.asarray(trace["recall"])
        below.hlines(rows, column, ends, _colors(names), linewidth=7)
        percents = "\n".join(f"{100 * recall:.0f}" for recall in trace["recall"])
        below.text(column + WIDE, -0.5, percents, ha="right", linespacing=1.54, **small)
    above.set(xlim=(0, len(traces)), ylim=(0, 1))
    above.axis("off")
    below.set(xlim=(0, len(traces)), ylim=(len(names) - 0.5, -0.5), xticks=[])
    below.set_yticks(rows, map("{} ({})".format, names, counts), fontsize=6)
    below.set_xlabel("recall on the test images (%)", fontsize=7, x=0, ha="left")
    below.grid(False)
    below.spines[:].set_visible(False)
    figure.suptitle(text, x=0.01, y=0.995, ha="left")
    return figure


def _colors(names) -> list[str]:
    """The expressions' own colours, or any others in turn."""
    return [COLORS.get(name, style.OTHER_COLORS[turn % 6]) for turn, name in enumerate(names)]


def _window(trace: Mapping) -> tuple[np.ndarray, np.ndarray]:
    """Corners (2,), (2,) of a view of all features, and of centres that are not far outside."""
    low, high = trace["features"].min(axis=0), trace["features"].max(axis=0)
    reach = np.maximum(high - low, 1e-6)
    centers = trace["path"][-1:].clip(low - 0.5 * reach, high + 0.5 * reach).reshape(-1, 2)
    shown = np.concatenate([trace["features"], centers])
    return shown.min(axis=0) - 0.06 * reach, shown.max(axis=0) + 0.06 * reach
