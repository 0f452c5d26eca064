"""A study in pictures: the verdict, differences with their intervals, curves over the epochs."""

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from fer_utils.core import NUM_CLASSES
from fer_utils.report import style
from fer_utils.report.cases import NAMES

NEAR_CHANCE = 1 / NUM_CLASSES + 0.03
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


def plot_tradeoff(scores: pd.DataFrame, ax: Axes, curve=None, styles: Mapping | None = None):
    """Accuracy against macro recall: the free line with its band, every loss with its intervals.

    Args:
        scores: one panel's rows of `score_table`; `curve`: of `operating_curve`, or None.
        styles: of `looks`.
    """
    styles = styles or looks(dict(zip(scores["name"], scores["loss"], strict=True)))
    small = {"textcoords": "offset points", "fontsize": 6.5}
    if curve is not None:
        x, y = 100 * curve["accuracy"], 100 * curve["macro_recall"]
        band = {"color": style.GREY, "alpha": 0.2, "linewidth": 0}
        ax.fill_between(x, 100 * curve["low"], 100 * curve["high"], **band)
        ax.plot(x, y, color=style.GREY, label="softmax adjusted by τ, no training", zorder=2)
        for place in np.flatnonzero(np.isclose(curve["tau"] % 0.5, 0)):
            ax.plot(x[place], y[place], "|", color="black", markersize=6, zorder=2.5)
            text = f"τ = {curve['tau'][place]:g}"
            ax.annotate(text, (x[place], y[place]), (4, 5), **small)
    powers = scores[scores["loss"].isin(["softmax", "weighted_softmax"])]
    powers = powers.assign(power=powers["power"].where(powers["loss"] != "softmax", 0))
    powers = powers.sort_values("power") if len(powers) > 2 else powers.iloc[:0]
    points, color = 100 * powers[["accuracy", "macro_recall"]].to_numpy(), style.GREEN
    ax.plot(*points.T, ":", color=color, zorder=1.5)
    for power, point in list(zip(powers["power"], points, strict=True))[1:]:
        ax.annotate(f"$W_c^{{{power:g}}}$", point, (5, -10), color=color, **small)
    for row in scores.to_dict("records"):
        center = 100 * row["accuracy"], 100 * row["macro_recall"]
        errors = [_errors(row, name) for name in ("macro_recall", "accuracy")]
        look = {**(styles[row["name"]] if row["loss"] else RING), "linestyle": "none"}
        label = row["name"] if row["loss"] else "… with the τ of validation"
        ax.errorbar(*center, *errors, label=label, elinewidth=0.9, zorder=3, **look)
    ax.set(xlabel="accuracy (%)", ylabel="macro recall (%)")
    ax.grid(True, axis="both")
    return ax


def _errors(row: dict, name: str) -> np.ndarray:
    """How far the interval reaches below and above, (2, 1), in points."""
    ends = row[name] - row[f"{name}_low"], row[f"{name}_high"] - row[name]
    return 100 * np.maximum(ends, 0)[:, None]


@style.applied()
def figure_tradeoff(scores: pd.DataFrame, curves: Mapping) -> Figure:
    """`plot_tradeoff` of every panel without the cases `at_chance`; curves by panel."""
    shown = scores.drop(at_chance(scores).index)
    styles = looks(dict(zip(shown["name"], shown["loss"], strict=True)))
    groups = shown.groupby("panel", sort=False)
    figure, axes = _panels(len(groups), 2.9, 5.0, math.ceil((len(styles) + 1) / 2))
    handles = {}
    for (panel, own), ax in zip(groups, axes, strict=True):
        plot_tradeoff(own, ax, curves.get(panel), styles).set_title(panel)
        handles |= dict(zip(*reversed(ax.get_legend_handles_labels()), strict=True))
    figure.legend(handles.values(), handles, loc="outside lower center", ncols=2)
    return figure


def at_chance(scores: pd.DataFrame) -> pd.DataFrame:
    """Rows of `score_table` hardly above chance: they never learnt, or collapsed."""
    return scores[scores["macro_recall_low"] < NEAR_CHANCE]


def _panels(count: int, height: float, single: float, lines: int = 0, columns: int = 2):
    """A figure of panels, `columns` in a row, with room below for a legend of so many lines."""
    rows, columns = math.ceil(count / columns), min(count, columns)
    width = single if columns == 1 else style.PAGE
    figure = style.new_figure(width, height * rows + 0.16 * lines + 0.15)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for ax in axes[count:]:
        ax.remove()
    return figure, axes[:count]


def plot_differences(table: pd.DataFrame, ax: Axes) -> Axes:
    """A row a difference with its interval, filled where it excludes zero, under bold headings.

    Args:
        table: `heading`, `row`, `difference`, `low`, `high` (fractions), and maybe `published`; a
            row takes an eighth of an inch.
    """
    ticks, place = {}, 0.0
    for heading, rows in table.groupby("heading", sort=False):
        words = {"transform": ax.get_yaxis_transform(), "weight": "bold", "in_layout": False}
        ax.text(0.005, place + 0.4, heading, fontsize=6.5, va="bottom", **words)
        for row in rows.rename(columns={"low": "difference_low", "high": "difference_high"}).iloc:
            place += 1
            ticks[place] = row["row"]
            sure = row["difference_low"] > 0 or row["difference_high"] < 0
            look = {"color": style.BLUE if sure else style.GREY, "fmt": "s" if sure else "o"}
            look |= {"markerfacecolor": style.BLUE if sure else "white", "markersize": 3.5}
            look["label"] = "interval excludes zero" if sure else "interval holds zero"
            x, ends = 100 * row["difference"], _errors(row, "difference")
            ax.errorbar(x, place, xerr=ends, capsize=1.5, elinewidth=1, **look)
            if not np.isnan(x := 100 * row.get("published", np.nan)):
                ax.plot(x, place, "x", color=style.ORANGE, label="published, AffectNet")
        place += 1.3
    ax.axvline(0, color="black", linewidth=0.7, zorder=1)
    ax.set_yticks(list(ticks), ticks.values(), fontsize=6)
    ax.set(ylim=(place, -0.5), xlabel="difference (points)")
    keys = dict(zip(*reversed(ax.get_legend_handles_labels()), strict=True))
    ax.legend(keys.values(), keys, loc="lower left", bbox_to_anchor=(-0.1, 1), ncols=3)
    ax.grid(True, axis="x")
    ax.grid(False, axis="y")
    return ax


@style.applied()
def figure_curves(history: pd.DataFrame, cases: list, columns=LEARNING) -> Figure:
    """Columns of `history` (`LEARNING`: Fig. 5; `EMBEDDING`) over the epochs, a line a case.

    Mean over its runs, band from least to most; cases of a second panel are dashed.
    """
    styles = looks({case.name: case.loss for case in cases})
    panels = dict.fromkeys(case.panel for case in cases)
    lines = dict(zip(panels, ("-", "--", "-.", ":") * len(panels), strict=False))
    shown = [name for name in columns if name in history and history[name].notna().any()]
    figure, axes = _panels(len(shown), 2.3, 4.0, math.ceil((len(styles) + len(lines)) / 3), 3)
    for column, ax in zip(shown, axes, strict=True):
        scale = 100 if "(%)" in LABELS[column] else 1
        for case in cases:
            table = history[history["run"].isin(case.runs["run"])]
            found = scale * table.groupby("epoch")[column].agg(["mean", "min", "max"]).dropna()
            look = styles[case.name] | {"markersize": 3, "markevery": max(1, len(found) // 5)}
            ax.plot(found["mean"], linestyle=lines[case.panel], **look)
            band = {"color": look["color"], "alpha": 0.15, "linewidth": 0}
            ax.fill_between(found.index, found["min"], found["max"], **band)
        drawn = np.concatenate([line.get_ydata() for line in ax.lines])
        if scale == 1 and drawn.min() > 0 and drawn.max() > 8 * drawn.min():
            ax.set_yscale("log")  # losses of other terms are of another size
        ax.set(xlabel="epoch", ylabel=LABELS[column])
        ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    handles = [Line2D([], [], label=name, **look) for name, look in styles.items()]
    for panel, line in lines.items() if len(lines) > 1 else ():
        handles.append(Line2D([], [], color="black", linestyle=line, label=panel))
    figure.legend(handles=handles, loc="outside lower center", ncols=3, columnspacing=1.2)
    return figure
