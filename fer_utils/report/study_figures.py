"""A study in pictures: verdict, differences with their intervals, learning curves, network."""

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator

from fer_utils.core import NUM_CLASSES, check_choice, paper
from fer_utils.report import style
from fer_utils.report.cases import NAMES

RING = {"color": "black", "marker": "o", "markersize": 6, "markerfacecolor": "none"}
LABELS = {
    "train_loss": "training loss",
    "validation_loss": "validation loss",
    "validation_accuracy": "validation accuracy (%)",
    "embedding_norm": "mean embedding norm",
    "between_distance": "distance of class means",
    "center_movement": "movement of the centres",
}
LEARNING, EMBEDDING = list(LABELS)[:3], list(LABELS)[3:]

# Fig. 1: inches of a page-wide figure, and its colours.
HEIGHT, GAP, IMAGE, LOSS, MIDDLE, LOW, BLOCK = 2.3, 0.17, 0.6, 0.95, 1.2, 0.3, 0.9
BLOCK_COLORS = {"frozen": "#CFE3F3", "trained": "#FBE0C3", "plain": "#F2F2F2"}
EDGE, SMALL = "#333333", 6.2


def looks(names: Mapping[str, str]) -> dict[str, dict]:
    """Name of a case → look, from name → loss; the paper's losses have their own."""
    found = {}
    for turn, (name, loss) in enumerate(names.items()):
        color, marker = style.OTHER_COLORS[turn % 6], style.OTHER_MARKERS[turn % 7]
        if loss in style.LOSS_LOOKS and name == NAMES[loss]:
            color, marker = style.LOSS_LOOKS[loss]
        size = {"*": 6.8, "D": 3.4}.get(marker, 4)  # as large as the others to the eye
        found[name] = {"color": color, "marker": marker, "markersize": size}
    return found


def plot_tradeoff(scores, curve, ax: Axes, styles=None) -> Axes:
    """One panel of `score_table` and `operating_curves`: accuracy against its recall."""
    styles = styles or looks(dict(zip(scores["name"], scores["loss"], strict=True)))
    second = scores["second"].iloc[0]
    small = {"textcoords": "offset points", "fontsize": 6.5}
    line = 100 * curve[["accuracy", "recall", "low", "high"]].T.to_numpy()
    ax.fill_between(line[0], *line[2:], color=style.GREY, alpha=0.2, linewidth=0)
    label = "softmax adjusted by τ, no training"
    ax.plot(*line[:2], color=style.GREY, label=label if len(curve) else None, zorder=2)
    for tau, *point in zip(curve["tau"], *line[:2], strict=True):
        if np.isclose(tau % 0.5, 0):
            ax.plot(*point, "|", color="black", markersize=6, zorder=2.5)
            halo = [withStroke(linewidth=1.5, foreground="white")]
            ax.annotate(f"τ = {tau:g}", point, (4, 5), path_effects=halo, zorder=4, **small)
    powers = scores[scores["loss"].isin(["softmax", "weighted_softmax"])]
    powers = powers.assign(power=powers["power"].where(powers["loss"] != "softmax", 0))
    powers = powers.sort_values("power") if len(powers) > 2 else powers.iloc[:0]
    points, color = 100 * powers[["accuracy", second]].to_numpy(), style.GREEN
    ax.plot(*points.T, ":", color=color, zorder=1.5)
    for power, point in list(zip(powers["power"], points, strict=True))[1:]:
        ax.annotate(f"$W_c^{{{power:g}}}$", point, (5, -10), color=color, **small)
    for row in scores.to_dict("records"):
        center = 100 * row["accuracy"], 100 * row[second]
        errors = [_errors(row, name) for name in (second, "accuracy")]
        look = {**(styles[row["name"]] if row["loss"] else RING), "linestyle": "none"}
        label = row["name"] if row["loss"] else "… with the τ of validation"
        ax.errorbar(*center, *errors, label=label, elinewidth=0.9, zorder=3, **look)
    rare = second == "rare_recall"
    ax.set_ylabel("mean recall of disgust and contempt (%)" if rare else "macro recall (%)")
    ax.set_xlabel("accuracy (%)")
    ax.grid(True, axis="both")
    return ax


def _errors(row: dict, name: str) -> np.ndarray:
    """How far the interval reaches below and above, (2, 1), in points."""
    ends = row[name] - row[f"{name}_low"], row[f"{name}_high"] - row[name]
    return 100 * np.maximum(ends, 0)[:, None]


@style.applied()
def figure_tradeoff(scores: pd.DataFrame, curves: pd.DataFrame) -> Figure:
    """`plot_tradeoff` of every panel, without the cases `at_chance`."""
    shown = scores.drop(at_chance(scores).index)
    styles = looks(dict(zip(shown["name"], shown["loss"], strict=True)))
    groups = shown.groupby("panel", sort=False)
    figure, axes = style.new_panels(len(groups), 2.9, 5.0, math.ceil((len(styles) + 1) / 2))
    handles = {}
    for (panel, own), ax in zip(groups, axes, strict=True):
        curve = curves[curves["panel"] == panel]
        plot_tradeoff(own, curve, ax, styles).set_title(panel)
        handles |= dict(zip(*reversed(ax.get_legend_handles_labels()), strict=True))
    figure.legend(handles.values(), handles, loc="outside lower center", ncols=2)
    return figure


def at_chance(scores: pd.DataFrame) -> pd.DataFrame:
    """Rows of `score_table` hardly above chance: they never learnt, or collapsed."""
    return scores[scores["macro_recall_low"] < 1 / NUM_CLASSES + 0.03]


def plot_differences(table: pd.DataFrame, ax: Axes) -> Axes:
    """A `row` a `difference` with `low` and `high` under its `heading`, filled without zero.

    A row takes an eighth of an inch.
    """
    values = 100 * table[["difference", "low", "high"]].T.to_numpy()
    ends = np.abs(values[1:] - values[0])
    blocks = (table["heading"] != table["heading"].shift()).cumsum().to_numpy()
    places = np.arange(len(table)) + 1.3 * blocks
    words = {"transform": ax.get_yaxis_transform(), "weight": "bold", "in_layout": False}
    for first in np.unique(blocks, return_index=True)[1]:
        heading = table["heading"].iloc[first]
        ax.text(0.005, places[first] - 0.6, heading, fontsize=6.5, va="bottom", **words)
    sure = (values[1] > 0) | (values[2] < 0)
    solid = {"fmt": "s", "color": style.BLUE, "label": "interval excludes zero"}
    hollow = {"fmt": "o", "color": style.GREY, "markerfacecolor": "white"}
    for kind, look in ((sure, solid), (~sure, hollow | {"label": "interval holds zero"})):
        look |= {"capsize": 1.5, "elinewidth": 1, "markersize": 3.5}
        ax.errorbar(values[0, kind], places[kind], xerr=ends[:, kind], **look)
    ax.axvline(0, color="black", linewidth=0.7, zorder=1)
    ax.set_yticks(places, table["row"], fontsize=6)
    ax.set(ylim=(places[-1] + 0.8, places[0] - 1.7), xlabel="difference (points)")
    ax.legend(loc="lower left", bbox_to_anchor=(-0.1, 1), ncols=2)
    ax.grid(True, axis="x")
    ax.grid(False, axis="y")
    return ax


@style.applied()
def figure_curves(history: pd.DataFrame, cases: list, columns=LEARNING) -> Figure:
    """Columns of `history` over the epochs (Fig. 5): means of a case's runs and their range."""
    styles = looks({case.name: case.loss for case in cases})
    shown = [name for name in columns if name in history and history[name].notna().any()]
    figure, axes = style.new_panels(len(shown), 2.3, 4.0, math.ceil(len(styles) / 3), 3)
    for column, ax in zip(shown, axes, strict=True):
        scale = 100 if "(%)" in LABELS[column] else 1
        for case in cases:
            table = history[history["run"].isin(case.runs["run"])]
            found = scale * table.groupby("epoch")[column].agg(["mean", "min", "max"]).dropna()
            look = styles[case.name] | {"markersize": 3, "markevery": max(1, len(found) // 5)}
            ax.plot(found["mean"], label=case.name, **look)
            band = {"color": look["color"], "alpha": 0.15, "linewidth": 0}
            ax.fill_between(found.index, found["min"], found["max"], **band)
        drawn = np.concatenate([line.get_ydata() for line in ax.lines])
        if scale == 1 and drawn.min() > 0 and drawn.max() > 8 * drawn.min():
            ax.set_yscale("log")  # losses of other terms are of another size
        ax.set(xlabel="epoch", ylabel=LABELS[column])
        ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    handles = axes[0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=3, columnspacing=1.2)
    return figure


@style.applied()
def figure_architecture(architecture: dict, loss: str = "weighted_cluster") -> Figure:
    """Stages of an entry of `architecture.json`, frozen ones dotted, and a loss of the paper."""
    check_choice("loss", loss, paper.LOSSES)
    stages, size = architecture["stages"], architecture["image_size"]
    figure = style.new_figure(style.PAGE, HEIGHT, "none")
    ax = figure.add_axes((0, 0, 1, 1))
    ax.set(xlim=(0, style.PAGE), ylim=(0, HEIGHT))
    ax.axis("off")
    _block(ax, (0.05, MIDDLE), (IMAGE, IMAGE), "face", above="image", below=f"3×{size}×{size}")
    right, spans = 0.05 + IMAGE, {}
    width = (style.PAGE - 0.1 - IMAGE - LOSS - GAP * (len(stages) + 1)) / len(stages)
    for stage in stages:
        left, kind = right + GAP, "frozen" if stage["frozen"] else "trained"
        words = stage["modules"].replace(" ", "\n")
        words += f"\n× {stage['repeat']}" if stage["repeat"] > 1 else ""
        below = f"{'×'.join(map(str, stage['output']))}\n{short_count(stage['parameters'])}"
        _block(ax, (left, MIDDLE), (width, BLOCK), words, kind, stage["name"], below)
        _arrow(ax, (right, MIDDLE), (left, MIDDLE))
        right = left + width
        first, count, _ = spans.get(kind, (left, 0, right))
        spans[kind] = first, count + stage["parameters"], right
    for kind, (left, count, end) in spans.items():
        y = MIDDLE + BLOCK / 2 + 0.27
        ax.plot([left, left, end, end], [y - 0.05, y, y, y - 0.05], color=EDGE, linewidth=0.7)
        text = f"{kind}: {short_count(count)} parameters"
        ax.text((left + end) / 2, y + 0.04, text, ha="center", fontsize=7)
    _arrow(ax, (right, MIDDLE), (right + GAP, MIDDLE))
    *auxiliary, softmax = paper.LOSSES[loss].split(" + ")
    _block(ax, (right + GAP, MIDDLE), (LOSS, 0.4), f"{softmax}\nloss")
    for name in auxiliary:
        _block(ax, (right + GAP, LOW), (LOSS, 0.4), f"{name}\nloss", above="+ λ ×")
        branch = right - width - GAP / 2
        ax.plot([branch, branch], [MIDDLE, LOW], color=EDGE, linewidth=0.8)
        _arrow(ax, (branch, LOW), (right + GAP, LOW))
    ax.text(0.05, 0.06, architecture["architecture"], fontsize=SMALL)
    return figure


def _block(ax: Axes, place, size, words, kind="plain", above="", below="") -> None:
    (left, middle), (width, height) = place, size
    x, shape = left + width / 2, "round,pad=0,rounding_size=0.05"
    look = {"facecolor": BLOCK_COLORS[kind], "edgecolor": EDGE, "linewidth": 0.7}
    box = FancyBboxPatch((left, middle - height / 2), width, height, boxstyle=shape, **look)
    box.set(hatch="....." if kind == "frozen" else None, hatch_linewidth=0.3)
    ax.add_patch(box)
    plain = {"facecolor": BLOCK_COLORS[kind], "linewidth": 0, "pad": 1}  # no dots behind the words
    text = {"ha": "center", "fontsize": SMALL, "linespacing": 1.15}
    ax.text(x, middle, words, va="center", bbox=plain, **text)
    ax.text(x, middle - height / 2 - 0.05, below, va="top", **text)
    ax.text(x, middle + height / 2 + 0.05, above, weight="bold", **text | {"fontsize": 7})


def _arrow(ax: Axes, start: tuple, end: tuple) -> None:
    tip = "-|>,head_length=0.35,head_width=0.17"
    look = {"arrowstyle": tip, "color": EDGE, "linewidth": 0.8, "shrinkA": 0, "shrinkB": 0}
    ax.annotate("", end, start, arrowprops=look)


def short_count(count: int) -> str:
    """Three digits and a unit: 9536 is "9.54 k"."""
    unit, size = (" M", 1e6) if count >= 1e6 else (" k", 1e3) if count >= 1e3 else ("", 1)
    return f"{float(f'{count / size:.3g}'):g}{unit}"
