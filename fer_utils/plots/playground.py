"""The loss playground: embeddings with class centres, recall beside them, the printed sign, and the centres' steps."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from fer_utils.errors import InputError
from fer_utils.expressions import COLORS, EXPRESSIONS, NUM_CLASSES
from fer_utils.plots.style import LOSS_COLORS, PAGE_WIDTH, new_figure, style

# Okabe & Ito's palette again, for classes that are no expressions.
PALETTE = ("#E69F00", "#0072B2", "#009E73", "#CC79A7", "#000000", "#56B4E9", "#D55E00", "#999999")
REGION_PIXELS = 160  # a side of the decision regions' picture
PALENESS = 0.82  # of the decision regions


def plot_embedding(trace, ax: Axes) -> Axes:
    """The plane of the two embedding dimensions after training.

    Decision regions pale, training images as dots in their class's colour, class centres as large diamonds at the end
    of the path that they came.

    Args:
        trace: a `playground.Trace`.
        ax: where to draw. It shows the features; a centre far outside is out of view.

    >>> from fer_utils.playground import toy_problem, train
    >>> ax = plot_embedding(train(toy_problem(), steps=3), new_figure().subplots())
    >>> len(ax.collections[0].get_offsets()), len(ax.lines)
    (399, 10)
    """
    colors = class_colors(trace.names)
    low, high = _window(trace)
    x, y = (np.linspace(low[axis], high[axis], REGION_PIXELS) for axis in (0, 1))
    grid = np.stack(np.meshgrid(x, y), axis=-1)  # (pixels, pixels, 2)
    winner = (grid @ trace.output_weight.T + trace.output_bias).argmax(axis=-1)
    rgb = np.array([to_rgb(color) for color in colors])
    pale = PALENESS + (1 - PALENESS) * rgb
    ax.imshow(
        pale[winner], origin="lower", extent=(low[0], high[0], low[1], high[1]), aspect="auto", interpolation="nearest"
    )
    order = np.random.default_rng(0).permutation(len(trace.targets))  # no class lies on top of another
    ax.scatter(*trace.features[order].T, s=7, c=rgb[trace.targets[order]], linewidths=0)
    for label, color in enumerate(colors):
        steps = trace.path[trace.start :, label]
        if len(steps):
            ax.plot(*steps.T, color=color, linewidth=0.9)
            ax.plot(*steps[-1], "D", color=color, markersize=6.5, markeredgecolor="white", markeredgewidth=1.0)
    ax.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), xlabel="embedding, dimension 1", ylabel="dimension 2")
    ax.locator_params(nbins=4)
    ax.grid(False)
    return ax


def plot_recall(trace, ax: Axes) -> Axes:
    """Recall of every class on the balanced test images, one bar a class, their mean in the title.

    Args:
        trace: a `playground.Trace`.
        ax: where to draw. Beside a class's name stands the number of its training images.

    >>> from fer_utils.playground import toy_problem, train
    >>> ax = plot_recall(train(toy_problem(), steps=3), new_figure().subplots())
    >>> [label.get_text() for label in ax.get_yticklabels()]
    ['A (243)', 'B (97)', 'C (38)', 'D (15)', 'E (6)']
    """
    places = np.arange(len(trace.names))
    counts = np.bincount(trace.targets, minlength=len(places))
    ax.barh(places, 100 * trace.recall, height=0.7, color=class_colors(trace.names))
    for place, recall in zip(places, 100 * trace.recall, strict=True):
        ax.text(recall + 1.5, place, f"{recall:.0f}", va="center", fontsize=6.5)
    ax.set_yticks(places, [f"{name} ({count})" for name, count in zip(trace.names, counts, strict=True)])
    ax.invert_yaxis()
    ax.set(xlim=(0, 112), xlabel="recall on the test images (%)", xticks=(0, 50, 100))
    ax.set_title(f"mean recall {100 * trace.recall.mean():.0f} %", fontsize=7)
    ax.tick_params(axis="y", length=0)
    ax.grid(False, axis="y")
    return ax


@style()
def figure_playground(traces: dict, title: str = "") -> Figure:
    """One column a trace, its embedding above its recall; a single trace's recall stands beside it.

    Drawn without constrained layout, whose search for margins takes longer than all else: a slider redraws this.

    Args:
        traces: title of the column → `playground.Trace`, 1 to 4.
        title: above all.

    Raises:
        InputError: for no trace or more than four.

    >>> from fer_utils.playground import toy_problem, train
    >>> trace = train(toy_problem(), steps=3)
    >>> [ax.get_title("left") for ax in figure_playground({"this": trace, "that": trace}).axes[::2]]
    ['this', 'that']
    """
    columns = len(traces)
    if not 1 <= columns <= 4:
        raise InputError(f"expected 1 to 4 traces, a column each; found {columns}")
    widest = max(len(name) for trace in traces.values() for name in trace.names)
    names = (0.32 + 0.05 * widest) / PAGE_WIDTH  # what the names beside the bars take of the width
    if columns == 1:
        figure = Figure((0.85 * PAGE_WIDTH, 2.6), layout="none")
        places = [((0.08, 0.155, 0.51, 0.745), (0.63 + names, 0.155, 0.355 - names, 0.745))]
    else:
        height = 3.2 + 0.13 * max(len(trace.names) for trace in traces.values())
        figure = Figure((PAGE_WIDTH, height), layout="none")
        share, split = 0.99 / columns, 0.13 * max(len(trace.names) for trace in traces.values()) / height
        below = 0.36 / height
        places = []
        for column in range(columns):
            left = column * share
            embedding = (left + 0.072, split + 1.1 / height, share - 0.085, 0.94 - split - 1.1 / height)
            places.append((embedding, (left + names + 0.03, below, share - names - 0.05, split + 0.1 / height)))
    for (name, trace), (embedding, recall) in zip(traces.items(), places, strict=True):
        plot_embedding(trace, figure.add_axes(embedding)).set_title(name)
        plot_recall(trace, figure.add_axes(recall))
    figure.suptitle(title, fontsize=7, x=0.01, ha="left")
    return figure


@style()
def figure_printed_sign(printed, corrected) -> Figure:
    """Distance of the centres from their classes' means, step by step: Eq. 8, 9 as printed, and sign corrected.

    Args:
        printed, corrected: `playground.Trace` of the two rules, losses with centres.

    Raises:
        InputError: for a trace without centres.

    >>> from fer_utils.playground import toy_problem, train
    >>> problem = toy_problem()
    >>> figure = figure_printed_sign(train(problem, rule="printed", steps=3), train(problem, steps=3))
    >>> [ax.get_title("left") for ax in figure.axes]
    ['(a) as printed', '(b) sign corrected']
    """
    figure = new_figure(PAGE_WIDTH, 2.5)
    axes = figure.subplots(1, 2, sharey=True)
    for title, trace, ax in zip(("(a) as printed", "(b) sign corrected"), (printed, corrected), axes, strict=True):
        if len(trace.path) == 0:
            raise InputError("expected traces of a loss with centres; found one without, such as of weighted_softmax")
        counts = np.bincount(trace.targets, minlength=len(trace.names))
        distances = np.linalg.norm(trace.path - trace.means, axis=-1)[trace.start :]  # (T + 1 - start, C)
        steps = np.arange(trace.start, len(trace.path))
        for label, color in enumerate(class_colors(trace.names)):
            ax.plot(steps, distances[:, label], color=color, label=f"{trace.names[label]} ({counts[label]})")
        ax.set(yscale="log", xlabel="training step")
        ax.set_title(title)
    axes[0].set_ylabel("centre to class mean\n(embedding units)")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right center", title="class (images)")
    return figure


@style()
def figure_center_steps(table: pd.DataFrame) -> Figure:
    """Expected step of every centre over the separation of the centres: without weights (a), with Eq. 6's (b).

    Args:
        table: of `playground.center_steps`, several separations > 0.

    >>> from fer_utils.playground import center_steps
    >>> figure = figure_center_steps(center_steps([30, 10], separation=[0.1, 1.0, 10.0]))
    >>> figure.axes[0].lines[0].get_ydata().round(2).tolist()
    [24.55, 13.5, 2.45]
    """
    figure = new_figure(PAGE_WIDTH, 2.5)
    axes = figure.subplots(1, 2, sharey=True)
    columns = {"unweighted": "(a) without weights", "weighted": "(b) weighted by Eq. 6"}
    names = EXPRESSIONS if table["label"].nunique() == NUM_CLASSES else PALETTE[: table["label"].nunique()]
    for (column, title), ax in zip(columns.items(), axes, strict=True):
        ax.axhspan(2, 1e3, color=LOSS_COLORS["softmax"], alpha=0.2, linewidth=0)
        for (label, rows), color in zip(table.groupby("label"), class_colors(names), strict=True):
            name = f"{names[label]} ({rows['images'].iloc[0]:,})"
            # Eq. 6's steps coincide: striped, so that every class shows.
            line = "-" if column == "unweighted" else (-4 * label, (4, 4 * (len(names) - 1)))
            ax.plot(rows["separation"], rows[column], color=color, linestyle=line, dash_capstyle="butt", label=name)
        ax.set(xscale="log", yscale="log", xlabel="separation $D_c$ (embedding units²)")
        ax.set_ylim(0.5 * table["weighted"].min(), 2 * table["unweighted"].max())
        ax.set_xlim(table["separation"].min(), table["separation"].max())
        ax.text(0.98, 0.95, "overshoots: ends farther away", transform=ax.transAxes, ha="right", va="top", fontsize=7)
        ax.set_title(title)
    axes[0].set_ylabel("expected step\n(1 = to the class mean)")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right center", title="class (images)")
    return figure


def class_colors(names) -> list[str]:
    """The expressions' own colours where all names are expressions, else a colour-blind-safe eight, repeated.

    >>> class_colors(["happy", "contempt"]), class_colors(["A", "B"])
    (['#E69F00', '#000000'], ['#E69F00', '#0072B2'])
    """
    if all(name in COLORS for name in names):
        return [COLORS[name] for name in names]
    return [PALETTE[place % len(PALETTE)] for place in range(len(names))]


def _window(trace) -> tuple[np.ndarray, np.ndarray]:
    """Corners (2,), (2,) of a view of all features, and of the centres where those are not far outside."""
    low, high = trace.features.min(axis=0), trace.features.max(axis=0)
    reach = np.maximum(high - low, 1e-6)
    if len(trace.path):
        last = trace.path[-1].clip(low - 0.5 * reach, high + 0.5 * reach)
        low, high = np.minimum(low, last.min(axis=0)), np.maximum(high, last.max(axis=0))
    return low - 0.06 * reach, high + 0.06 * reach
