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
    path, targets, (low, high) = trace["path"], trace["targets"], _window(trace)
    rgb = np.array([to_rgb(color) for color in _colors(trace["names"])])
    x, y = np.linspace(low, high, REGION_PIXELS).T
    grid = np.stack(np.meshgrid(x, y), axis=-1)  # (pixels, pixels, 2)
    winner = (grid @ trace["output_weight"].T + trace["output_bias"]).argmax(axis=-1)
    pale = (PALENESS + (1 - PALENESS) * rgb)[winner]
    ax.imshow(pale, origin="lower", extent=(low[0], high[0], low[1], high[1]), aspect="auto")
    order = np.random.default_rng(0).permutation(len(targets))  # no class lies on top
    ax.scatter(*trace["features"][order].T, s=6, c=rgb[targets[order]], linewidths=0)
    diamond = {"marker": "D", "markersize": 6.5, "markeredgecolor": "white", "markevery": [-1]}
    for label in range(len(rgb) if len(path) else 0):
        ax.plot(*path[trace["start"] :, label].T, color=rgb[label], linewidth=0.9, **diamond)
    ax.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]))
    ax.locator_params(nbins=3)
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
    edges = {"left": left, "right": 0.985, "bottom": 0.38 / height, "top": 1 - 0.5 / height}
    figure.subplots_adjust(**edges, wspace=0.05 * len(traces), hspace=0.74 / (height - 1.25))
    shares = [height - bars - 1.25, bars]
    axes = figure.subplots(2, len(traces), squeeze=False, height_ratios=shares)
    for column, (title, trace) in enumerate(traces.items()):
        above, below = axes[:, column]
        title = title.replace(" + ", " +\n")  # or neighbours meet
        plot_embedding(trace, above).set_title(title, fontsize=7)
        drawn = below.barh(range(len(names)), 100 * trace["recall"], color=_colors(names))
        below.bar_label(drawn, fmt="{:.0f}", fontsize=6, padding=1.5)
        below.set(xlim=(0, 125), xticks=(0, 50, 100), ylim=(len(names) - 0.4, -0.6), yticks=[])
        below.set_title(f"mean recall {100 * np.mean(trace['recall']):.0f} %", fontsize=7)
        below.grid(False)
        for ax in (above, below):
            ax.tick_params(labelsize=6, pad=1.5)
    counts = np.bincount(trace["targets"], minlength=len(names))
    axes[1, 0].set_yticks(range(len(names)), map("{} ({})".format, names, counts))
    axes[1, 0].set_xlabel("recall on the test images (%)", fontsize=7, x=0, ha="left")
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
