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


def plot_embedding(trace: Mapping, ax: Axes) -> Axes:
    """Pale decision regions, training images as dots, centres as diamonds at the end of their path.

    Args:
        trace: `features` (N, 2), `targets` (N,), `path` (T + 1, C, 2) of the centres (no rows
            without centres) from row `start` on, `output_weight` (C, 2), `output_bias` (C,),
            `names`. A centre far outside the features is out of view.
    """
    colors, (low, high) = _colors(trace["names"]), _window(trace)
    rgb = np.array([to_rgb(color) for color in colors])
    x, y = (np.linspace(low[axis], high[axis], REGION_PIXELS) for axis in (0, 1))
    grid = np.stack(np.meshgrid(x, y), axis=-1)  # (pixels, pixels, 2)
    winner = (grid @ trace["output_weight"].T + trace["output_bias"]).argmax(axis=-1)
    pale = (PALENESS + (1 - PALENESS) * rgb)[winner]
    ax.imshow(pale, origin="lower", extent=(low[0], high[0], low[1], high[1]), aspect="auto")
    order = np.random.default_rng(0).permutation(len(trace["targets"]))  # no class lies on top
    ax.scatter(*trace["features"][order].T, s=6, c=rgb[trace["targets"][order]], linewidths=0)
    for label, color in enumerate(colors):
        steps = trace["path"][trace["start"] :, label]
        if len(steps):
            ax.plot(*steps.T, color=color, linewidth=0.9)
            edge = {"markeredgecolor": "white", "markeredgewidth": 1.0}
            ax.plot(*steps[-1], "D", color=color, markersize=6.5, **edge)
    ax.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]))
    ax.locator_params(nbins=3)
    ax.tick_params(labelsize=6, pad=1.5)
    ax.grid(False)
    return ax


@style.applied()
def figure_playground(traces: Mapping, text: str = "") -> Figure:
    """A column a trace (mapping or dataclass) by title, embedding above recall, under a `text`."""
    if not 1 <= len(traces) <= MOST:
        raise InputError(f"expected 1 to {MOST} traces, a column each; found {len(traces)}")
    traces = {t: one if isinstance(one, Mapping) else vars(one) for t, one in traces.items()}
    names = next(iter(traces.values()))["names"]
    bars, width, height = 0.13 * len(names), style.PAGE, 2.7 + 0.13 * len(names)  # inches
    figure = style.new_figure(width, height, "none")  # sliders redraw it
    left = (0.42 + 0.045 * max(map(len, names))) / width  # for the names beside the bars
    share = (0.99 - left) / len(traces)
    bottom, middle = 0.38 / height, (0.75 + bars) / height
    for column, (title, trace) in enumerate(traces.items()):
        x, across = left + column * share, share - 0.035
        above = figure.add_axes((x, middle, across, 1 - middle - 0.5 / height))
        below = figure.add_axes((x, bottom, across, bars / height))
        title = title.replace(" + ", " +\n")  # or neighbours meet
        plot_embedding(trace, above).set_title(title, fontsize=7)
        counts = np.bincount(trace["targets"], minlength=len(names))
        bars_of = below.barh(range(len(names)), 100 * trace["recall"], color=_colors(names))
        below.bar_label(bars_of, fmt="{:.0f}", fontsize=6, padding=1.5)
        below.set(xlim=(0, 125), xticks=(0, 50, 100), ylim=(len(names) - 0.4, -0.6), yticks=[])
        below.set_title(f"mean recall {100 * np.mean(trace['recall']):.0f} %", fontsize=7)
        below.grid(False)
        below.tick_params(length=0, labelsize=6, pad=1.5)
        if not column:
            below.set_yticks(range(len(names)), map("{} ({})".format, names, counts))
            below.set_xlabel("recall on the test images (%)", fontsize=7, x=0, ha="left")
    figure.suptitle(text, x=0.01, y=0.995, ha="left")
    return figure


def _colors(names) -> list[str]:
    """The expressions' own colours, or any others in turn."""
    return [COLORS.get(name, style.OTHER_COLORS[turn % 6]) for turn, name in enumerate(names)]


def _window(trace: Mapping) -> tuple[np.ndarray, np.ndarray]:
    """Corners (2,), (2,) of a view of all features, and of centres that are not far outside."""
    low, high = trace["features"].min(axis=0), trace["features"].max(axis=0)
    reach = np.maximum(high - low, 1e-6)
    if len(trace["path"]):
        last = trace["path"][-1].clip(low - 0.5 * reach, high + 0.5 * reach)
        low, high = np.minimum(low, last.min(axis=0)), np.maximum(high, last.max(axis=0))
    return low - 0.06 * reach, high + 0.06 * reach
