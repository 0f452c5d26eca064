"""A study in pictures: verdict, differences with their intervals, learning curves, network."""

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from fer_utils.core import NUM_CLASSES
from fer_utils.report import style
from fer_utils.report.page import NAMES

HALO = [withStroke(linewidth=2, foreground="white")]  # so that words are read over lines
RING = {"color": "black", "marker": "o", "markersize": 6.5, "markerfacecolor": "none"}
SECOND = {
    "macro_recall": "macro recall (%)",
    "rare_recall": "mean recall of disgust and contempt (%)",
}
HISTORY = {
    "train_loss": "training loss",
    "validation_loss": "validation loss",
    "validation_accuracy": "validation accuracy (%)",
    "embedding_norm": "mean embedding norm",
    "between_distance": "distance of class means",
    "center_movement": "movement of the centres",
}
LEARNING, EMBEDDING = list(HISTORY)[:3], list(HISTORY)[3:]

BLOCK_COLORS = {"frozen": "#CFE3F3", "trained": "#FBE0C3"}  # Fig. 1
ARROW = {"arrowstyle": "-|>,head_length=0.35,head_width=0.17", "color": "#333333"}
ARROW |= {"linewidth": 0.8, "shrinkA": 0, "shrinkB": 0}


def looks(names: Mapping[str, str]) -> dict[str, dict]:
    """Name of a case → look, from name → loss; the paper's losses have their own."""
    found = {}
    for turn, (name, loss) in enumerate(names.items()):
        color, marker = style.OTHER_COLORS[turn % 6], style.OTHER_MARKERS[turn % 7]
        if loss in style.LOSS_LOOKS and name == NAMES[loss]:
            color, marker = style.LOSS_LOOKS[loss]
        size = {"*": 8.5, "D": 4.4}.get(marker, 5)  # as large as the others to the eye
        found[name] = {"color": color, "marker": marker, "markersize": size}
    return found


def plot_tradeoff(scores: pd.DataFrame, curve: pd.DataFrame, ax: Axes, styles: dict) -> Axes:
    """One panel of `score_table` and `operating_curves`: accuracy against its `second`, recall.

    In view are all losses, and the line that costs no training up to its highest recall.
    """
    second = scores["second"].iloc[0]
    if len(curve):
        _plot_line(curve, 100 * scores[["accuracy", second]].to_numpy(), ax)
    powers = scores[scores["loss"].isin(["softmax", "weighted_softmax"])]
    powers = powers.assign(power=powers["power"].where(powers["loss"] != "softmax", 0))
    if len(powers) > 2:
        points = 100 * powers.sort_values("power").set_index("power")[["accuracy", second]]
        ax.plot(*points.T.to_numpy(), ":", color=style.GREEN, label="weights of Eq. 6, power p")
        for power, point in list(points.T.items())[1:]:
            _note(ax, f"p = {power:g}", point, (0, -11))
    for row in scores.to_dict("records"):
        x, *across = (100 * row[f"accuracy{end}"] for end in ("", "_low", "_high"))
        y, *along = (100 * row[f"{second}{end}"] for end in ("", "_low", "_high"))
        look = styles[row["name"]] if row["loss"] else RING
        label = row["name"] if row["loss"] else "softmax with the τ of validation"
        bars = {"color": look["color"], "linewidth": 1, "zorder": 3}
        ax.plot(across, [y, y], **bars)
        ax.plot([x, x], along, **bars)
        ax.plot(x, y, label=label, linestyle="none", zorder=3.5, **look)
    seen = curve[: curve["recall"].argmax() + 1] if len(curve) else curve
    for limit, own, of_line in (
        (ax.set_xlim, "accuracy", ["accuracy"]),
        (ax.set_ylim, second, ["low", "high"]),
    ):
        ends = 100 * np.append(scores[[f"{own}_low", f"{own}_high"]], seen[of_line])
        margin = 0.05 * np.ptp(ends) + 0.5
        limit(ends.min() - margin, ends.max() + margin)
    ax.set(xlabel="accuracy (%)", ylabel=SECOND[second])
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(MaxNLocator(7, steps=[1, 2, 5, 10]))
    ax.grid(True, axis="both")
    return ax


def _plot_line(curve: pd.DataFrame, points: np.ndarray, ax: Axes) -> None:
    """The line that costs no training, its band, and some of its τ where there is room."""
    line = 100 * curve[["accuracy", "recall", "low", "high"]].T.to_numpy()
    ax.fill_between(line[0], *line[2:], color=style.GREY, alpha=0.2, linewidth=0)
    label = "softmax, adjusted by τ: no training"
    ax.plot(*line[:2], color="#555555", linewidth=1.6, label=label)
    spread = np.ptp(line[:2], axis=1)
    for place in np.flatnonzero(np.isclose(curve["tau"] % 0.5, 0) & (curve["tau"] > 0)):
        dx, dy = np.gradient(line[:2], axis=1)[:, place] / spread
        aside = np.array([dy, -dx]) / np.hypot(dx, dy)  # on the outer side of the line
        near = (points - line[:2, place]) / spread - 0.08 * aside
        if np.hypot(*near.T).min() < 0.12:  # no room beside a loss
            aside = -aside
        ax.plot(*line[:2, place], "|", color="black", markersize=6)
        _note(ax, f"τ = {curve['tau'].iloc[place]:g}", line[:2, place], aside * [16, 9])


def _note(ax: Axes, text: str, point, shift) -> None:
    place = {"textcoords": "offset points", "ha": "center", "va": "center", "zorder": 2.5}
    ax.annotate(text, point, shift, fontsize=6.5, path_effects=HALO, **place)


@style.applied()
def figure_tradeoff(scores: pd.DataFrame, curves: pd.DataFrame) -> Figure:
    """`plot_tradeoff` of every panel, without the cases `at_chance`."""
    shown = scores.drop(at_chance(scores).index)
    styles = looks(dict(zip(shown["name"], shown["loss"], strict=True)))
    groups = shown.groupby("panel", sort=False)
    figure, axes = style.new_panels(len(groups), 2.9, 5.0, math.ceil((len(styles) + 2) / 2))
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
    words = {"transform": ax.get_yaxis_transform(), "weight": "bold", "path_effects": HALO}
    for first in np.unique(blocks, return_index=True)[1]:
        text = ax.text(0.005, places[first] - 0.6, table["heading"].iloc[first], **words)
        text.set(fontsize=6.5, va="bottom", in_layout=False)
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
        scale = 100 if "(%)" in HISTORY[column] else 1
        for case in cases:
            table = history[history["run"].isin(case.runs["run"])]
            found = scale * table.groupby("epoch")[column].agg(["mean", "min", "max"]).dropna()
            look = styles[case.name] | {"markersize": 3.5, "markevery": max(1, len(found) // 5)}
            ax.plot(found["mean"], label=case.name, **look)
            band = {"color": look["color"], "alpha": 0.15, "linewidth": 0}
            ax.fill_between(found.index, found["min"], found["max"], **band)
        drawn = np.concatenate([line.get_ydata() for line in ax.lines])
        if scale == 1 and drawn.min() > 0 and drawn.max() > 8 * drawn.min():
            ax.set_yscale("log")  # losses of other terms are of another size
            ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            ax.yaxis.set(major_formatter="{x:g}", minor_formatter=NullFormatter())
        ax.set(xlabel="epoch", ylabel=HISTORY[column])
        ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    handles = axes[0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=3, columnspacing=1.2)
    return figure


@style.applied()
def figure_architecture(architecture: dict) -> Figure:
    """Stages of an entry of `architecture.json`, frozen ones blue, and the paper's loss."""
    stages, size = architecture["stages"], architecture["image_size"]
    last, (cluster, softmax) = len(stages) + 1, NAMES["weighted_cluster"].split(" + ")
    figure = style.new_figure(style.PAGE, 2.1)
    ax = figure.subplots()
    ax.set(xlim=(-0.5, last + 0.6), ylim=(-1.6, 0.75))
    ax.axis("off")
    _block(ax, 0, "face", "image", f"3×{size}×{size}", 0.6)
    for place, stage in enumerate(stages, 1):
        times = f" ×\N{NO-BREAK SPACE}{stage['repeat']}" if stage["repeat"] > 1 else ""
        words = stage["modules"] + times
        below = f"{'×'.join(map(str, stage['output']))}\n{short_count(stage['parameters'])}"
        color = BLOCK_COLORS["frozen" if stage["frozen"] else "trained"]
        _block(ax, place, words, stage["name"], below, 0.9, color)
    _block(ax, last, f"{softmax} loss", height=0.5)
    for place in range(last):
        ax.annotate("", (place + 0.62, 0), (place + 0.4, 0), arrowprops=ARROW)
    _block(ax, last, f"{cluster} loss", "+ λ ×", height=0.5, middle=-1.2)
    bent = ARROW | {"connectionstyle": "angle,angleA=90,angleB=0"}
    ax.annotate("", (last - 0.38, -1.2), (last - 1.5, 0), arrowprops=bent)
    for kind in BLOCK_COLORS:
        own = [stage for stage in stages if stage["frozen"] == (kind == "frozen")]
        count = sum(stage["parameters"] for stage in own)
        label = f"{kind}: {short_count(count)} parameters"
        ax.plot([], "s", color=BLOCK_COLORS[kind], markersize=8, label=label if count else None)
    ax.legend(loc="lower left", title=architecture["architecture"], alignment="left")
    return figure


def _block(ax: Axes, place, words, above="", below="", height=0.9, color="#F2F2F2", middle=0.0):
    shape = {"facecolor": color, "edgecolor": "#333333", "linewidth": 0.7}
    ax.add_patch(Rectangle((place - 0.38, middle - height / 2), 0.76, height, **shape))
    text = {"ha": "center", "fontsize": 6.2, "linespacing": 1.15}
    ax.text(place, middle, words.replace(" ", "\n"), va="center", **text)
    ax.text(place, middle - height / 2 - 0.06, below, va="top", **text)
    ax.text(place, middle + height / 2 + 0.06, above, weight="bold", **text)


def short_count(count: int) -> str:
    """Three digits and a unit: 9536 is "9.54 k"."""
    unit, size = (" M", 1e6) if count >= 1e6 else (" k", 1e3) if count >= 1e3 else ("", 1)
    return f"{float(f'{count / size:.3g}'):g}{unit}"
