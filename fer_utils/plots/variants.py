"""Variants of a study in one picture: a panel a setting, a row a variant, a point a seed."""

from string import ascii_lowercase

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from fer_utils.expressions import NUM_CLASSES
from fer_utils.plots.style import PAGE_WIDTH, new_figure, style

POINT, MEAN, CHANCE, COLLAPSED = "#56B4E9", "#000000", "#8C8C8C", "#D55E00"


def plot_variants(
    runs: pd.DataFrame,
    ax: Axes,
    metric: str = "macro_recall",
    reference: str | None = None,
    variants=None,
    seeds: int = 0,
) -> Axes:
    """Every run of one setting as a point, the mean over seeds as a bar; a run whose embedding collapsed is a cross.

    Args:
        runs: rows of `runs.csv`, one setting.
        ax: where to draw.
        metric: column of fractions 0–1, drawn in per cent.
        reference: variant whose mean is drawn through all rows.
        variants: rows, one without a run staying empty; default: those that occur.
        seeds: how many each should have; a variant with fewer says so.

    >>> runs = pd.DataFrame({"variant": ["a", "b"], "collapsed": [False, True], "macro_recall": [0.5, 0.125]})
    >>> ax = plot_variants(runs, new_figure().subplots())
    >>> [text.get_text() for text in ax.get_yticklabels()]
    ['a', 'b']
    """
    variants = list(dict.fromkeys(runs["variant"]) if variants is None else variants)
    for place, variant in enumerate(variants):
        own = runs[runs["variant"] == variant]
        for collapsed, marker, color in ((False, "o", POINT), (True, "x", COLLAPSED)):
            part = 100 * own.loc[own["collapsed"].astype(bool) == collapsed, metric]
            ax.plot(part, [place] * len(part), marker, color=color, markersize=4, linestyle="none", zorder=3)
        ax.plot([100 * own[metric].mean()] * 2, [place - 0.3, place + 0.3], color=MEAN, linewidth=1.4, zorder=2)
        if len(own) < seeds:
            text = f"{len(own)} of {seeds}\nseeds"
            ax.annotate(text, (1.01, place), xycoords=("axes fraction", "data"), va="center", fontsize="small")
    if reference in variants:
        mean = 100 * runs.loc[runs["variant"] == reference, metric].mean()
        ax.axvline(mean, color=MEAN, linewidth=0.7, linestyle=":", zorder=1)
    ax.axvline(100 / NUM_CLASSES, color=CHANCE, linewidth=0.7, zorder=1)
    ax.set_yticks(range(len(variants)), [variant.replace("_", " ") for variant in variants])
    ax.set_ylim(len(variants) - 0.5, -0.5)
    ax.set_xlabel(f"{metric.replace('_', ' ')} (%)")
    return ax


@style()
def figure_variants(runs: pd.DataFrame, reference: str | None = None, metric: str = "macro_recall") -> Figure:
    """A panel for each setting of a study with variants.

    Args:
        runs: a study's `runs.csv`.
        reference: the variant that the others are compared with.
        metric: column of fractions 0–1.

    >>> runs = pd.DataFrame({"setting": ["x"], "variant": ["a"], "seed": 0, "collapsed": False, "macro_recall": 0.5})
    >>> figure_variants(runs).axes[0].get_title("left")
    '(a) x'
    """
    groups = list(runs.fillna({"setting": ""}).groupby("setting", sort=False))
    columns = min(len(groups), 2)
    lines = -(-len(groups) // columns)
    figure = new_figure(PAGE_WIDTH, 0.75 + lines * (0.55 + 0.19 * runs["variant"].nunique()))
    axes = list(figure.subplots(lines, columns, sharey=True, squeeze=False).flat)
    for letter, (setting, own), ax in zip(ascii_lowercase, groups, axes, strict=False):
        plot_variants(own, ax, metric, reference, list(dict.fromkeys(runs["variant"])), runs["seed"].nunique())
        if setting:
            ax.set_title(f"({letter}) {setting.replace('_', ', ')}", loc="left")
    for ax in axes[len(groups) :]:
        ax.remove()
    handles = [
        Line2D([], [], marker="o", color=POINT, markersize=4, linestyle="none", label="one seed"),
        Line2D(
            [], [], marker="x", color=COLLAPSED, markersize=4, linestyle="none", label="one seed, embedding collapsed"
        ),
        Line2D([], [], color=MEAN, linewidth=1.4, label="mean"),
        Line2D([], [], color=CHANCE, linewidth=0.7, label="chance"),
    ]
    if reference:
        handles.append(Line2D([], [], color=MEAN, linewidth=0.7, linestyle=":"))
        handles[-1].set_label(f"mean of {reference.replace('_', ' ')}")
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), columnspacing=1.2)
    return figure


DIAGNOSTICS = {
    "embedding_norm": "mean embedding norm",
    "between_distance": "distance between class means",
    "center_movement": "movement of the centres",
}


@style()
def figure_diagnostics(history: pd.DataFrame, runs: pd.DataFrame, setting: str) -> Figure:
    """The embedding over the epochs of one setting, a line a variant (mean over seeds, band from minimum to maximum).

    Where no variant has centres, there is no panel of their movement.

    Args:
        history: a study's `history.csv`.
        runs: its `runs.csv`.
        setting: which setting.

    >>> runs = pd.DataFrame({"run": ["r"], "setting": ["x"], "variant": ["a"]})
    >>> history = pd.DataFrame({"run": ["r"], "epoch": [1], **dict.fromkeys(DIAGNOSTICS, [2.0])})
    >>> [ax.get_ylabel() for ax in figure_diagnostics(history, runs, "x").axes]
    ['mean embedding norm', 'distance between class means', 'movement of the centres']
    """
    own = runs[runs["setting"] == setting]
    table = history.merge(own[["run", "variant"]], on="run")
    figure = new_figure(PAGE_WIDTH, 2.7)
    colors = ("#009E73", "#D55E00", "#8C8C8C", "#000000", "#56B4E9", "#CC79A7", "#0072B2", "#E69F00", "#F0E442")
    markers = "s*oxv^DP<"
    shown = [value for value in DIAGNOSTICS if table[value].notna().any()]
    for value, ax in zip(shown, figure.subplots(1, len(shown), squeeze=False).flat, strict=True):
        for variant, color, marker in zip(own["variant"].unique(), colors * 3, markers * 3, strict=False):
            part = table[table["variant"] == variant].groupby("epoch")[value].agg(["mean", "min", "max"]).dropna()
            label = variant.replace("_", " ")
            ax.plot(part.index, part["mean"], color=color, marker=marker, markersize=3.5, linewidth=1, label=label)
            ax.fill_between(part.index, part["min"], part["max"], color=color, alpha=0.15, linewidth=0)
        ax.set_yscale("log")
        ax.set_xticks(sorted(table["epoch"].unique()))
        ax.set_xlabel("epoch")
        ax.set_ylabel(DIAGNOSTICS[value])
    figure.legend(handles=figure.axes[0].lines, loc="outside lower center", ncols=4, columnspacing=1.2)
    return figure
