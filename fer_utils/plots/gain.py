"""The paper's claim in one picture: what each loss gains over softmax, class by class."""

import textwrap
from string import ascii_lowercase

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from fer_utils.expressions import EXPRESSIONS
from fer_utils.paper import BASES, LOSSES
from fer_utils.paper.gains import GROUP, MACRO
from fer_utils.plots.style import LOSS_COLORS, LOSS_MARKERS, PAGE_WIDTH, marker_size, new_figure, style

STRIPE = "#F4F4F4"
WIDTH = 0.72  # of a class, within which its losses stand


def plot_gain(gains: pd.DataFrame, ax: Axes, order=EXPRESSIONS) -> Axes:
    """Gain in recall over softmax with its interval, a column a class and a marker a loss.

    Hollow markers without an interval are the paper's, where its text or tables give them.

    Args:
        gains: rows of `paper.class_gains`, of one base and start.
        ax: where to draw.
        order: classes from left to right; the mean of the classes stands after them.

    >>> row = {"loss": "weighted_cluster", "expression": "fear", "seeds": 1, "images": 9, "gain": 0.1}
    >>> row |= {"low": -0.02, "high": 0.2, "published": float("nan")}
    >>> ax = plot_gain(pd.DataFrame([row]), new_figure().subplots(), order=["fear"])
    >>> ax.containers[0].lines[0].get_ydata()[0] == 10
    True
    """
    columns = [*order, MACRO]
    losses = [loss for loss in LOSSES if loss in set(gains["loss"])]
    for place in range(0, len(columns), 2):
        ax.axvspan(place - 0.5, place + 0.5, color=STRIPE, linewidth=0, zorder=0)
    for turn, loss in enumerate(losses):
        own = gains[(gains["loss"] == loss) & (gains["seeds"] > 0)].set_index("expression").reindex(columns)
        look = {"marker": LOSS_MARKERS[loss], **_look(loss)}
        size = marker_size(loss, 3.8)
        x = pd.RangeIndex(len(columns)) + WIDTH * ((turn + 0.5) / len(losses) - 0.5)
        if own["gain"].notna().any():
            errors = 100 * pd.DataFrame([own["gain"] - own["low"], own["high"] - own["gain"]]).clip(lower=0)
            ax.errorbar(x, 100 * own["gain"], errors, elinewidth=0.9, capsize=1.5, markersize=size, zorder=3, **look)
        ax.plot(x + 0.055, 100 * own["published"], markersize=size, markerfacecolor="none", zorder=2, **look)
    ax.axhline(0, color="black", linewidth=0.7, zorder=1)
    ax.axvline(len(order) - 0.5, color="black", linewidth=0.7)
    images = gains.drop_duplicates("expression").set_index("expression")["images"]
    names = [*order, "mean"]
    ax.set_xticks(range(len(columns)), [f"{a}\n{images.get(b, 0):,}" for a, b in zip(names, columns, strict=True)])
    ax.set_xlim(-0.5, len(columns) - 0.5)
    ax.tick_params(axis="x", length=0)
    ax.set_ylabel("gain (points)")
    return ax


@style()
def figure_gain(gains: pd.DataFrame, counts: pd.DataFrame) -> Figure:
    """A panel a base and start that ran softmax and another loss; those that did not are named above.

    Args:
        gains: what `paper.class_gains` returns.
        counts: a study's `counts.csv`: classes stand from the most to the least frequent in training.

    >>> row = {"base": "resnet50", "pretrained": True, "loss": "weighted_cluster", "expression": "fear", "seeds": 1}
    >>> gains = pd.DataFrame([row | {"images": 9, "gain": 0.1, "low": 0.0, "high": 0.2, "published": 0.1}])
    >>> counts = pd.DataFrame({"split": "train", "expression": EXPRESSIONS, "images": range(8)})
    >>> figure_gain(gains, counts).axes[0].get_title("left")
    '(a) ResNet-50, pre-trained, 1 seed'
    """
    training = counts[counts["split"] == "train"].set_index("expression")["images"].reindex(EXPRESSIONS, fill_value=0)
    order = training.sort_values(ascending=False, kind="stable").index.tolist()
    groups = {_name(*key): part for key, part in gains.groupby(GROUP, sort=False)}
    panels = {name: part for name, part in groups.items() if (part["seeds"] > 0).any()}
    without = [name for name in groups if name not in panels]
    figure = new_figure(PAGE_WIDTH, 0.75 + 1.6 * len(panels) + 0.2 * bool(without))
    axes = figure.subplots(max(len(panels), 1), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    for letter, (name, part), ax in zip(ascii_lowercase, panels.items(), axes, strict=False):
        plot_gain(part, ax, order)
        missing = [LOSSES[loss] for loss, own in part.groupby("loss", sort=False) if not own["seeds"].iloc[0]]
        gap = f"; not compared: {', '.join(missing)}" if missing else ""
        ax.set_title(textwrap.fill(f"({letter}) {name}, {_seeds(part)}{gap}", 110), loc="left")
        ax.label_outer()
    axes[-1].set_xlabel("class, with its test images; from frequent to rare in training")
    if without:
        text = f"No run of softmax and another loss to compare: {'; '.join(without)}."
        figure.suptitle(textwrap.fill(text, 140), fontsize=7, x=0.01, ha="left")
    if not panels:
        axes[0].axis("off")
        return figure
    handles = [
        Line2D([], [], marker=LOSS_MARKERS[loss], markersize=marker_size(loss), label=name, **_look(loss))
        for loss, name in LOSSES.items()
        if loss in set(gains.loc[gains["seeds"] > 0, "loss"])
    ]
    hollow = Line2D([], [], color="black", marker="o", markerfacecolor="none", linestyle="none")
    hollow.set_label("published, AffectNet")
    figure.legend(handles=[*handles, hollow], loc="outside lower center", ncols=3, columnspacing=1.2)
    return figure


def _look(loss: str) -> dict:
    return {"color": LOSS_COLORS[loss], "linestyle": "none"}


def _name(base: str, pretrained: bool) -> str:
    return f"{BASES[base]}, {'pre-trained' if pretrained else 'from scratch'}"


def _seeds(gains: pd.DataFrame) -> str:
    found = sorted({seeds for seeds in gains["seeds"] if seeds})
    return f"{'–'.join(map(str, dict.fromkeys((found[0], found[-1]))))} seed{'s' if found[-1] > 1 else ''}"
