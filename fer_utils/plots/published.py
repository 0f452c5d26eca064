"""Published against reproduced accuracy."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import AxLine, Line2D

from fer_utils.errors import InputError
from fer_utils.paper import BASES, LOSSES, MODELS
from fer_utils.plots.style import COLUMN_WIDTH, LOSS_COLORS, LOSS_MARKERS, PAGE_WIDTH, marker_size, new_figure, style


def plot_published_scatter(table: pd.DataFrame, ax: Axes) -> Axes:
    """Our accuracy against the published one, a point a model, hollow when trained from scratch.

    Args:
        table: rows of `paper.beside_published`; models that were not run are left out and counted in the title.
        ax: where to draw.

    Raises:
        InputError: if no model was run.

    >>> row = {"model": 10, "accuracy": 0.5, "accuracy_low": 0.46, "accuracy_high": 0.54, "accuracy_published": 0.607}
    >>> ax = plot_published_scatter(pd.DataFrame([row]), new_figure().subplots())
    >>> ax.get_xlabel()
    'published accuracy, AffectNet (%)'
    """
    ran = table.dropna(subset=["accuracy"])
    if ran.empty:
        raise InputError(f"expected at least one model with a run, found 0 of {len(table)}")
    for row in ran.itertuples():
        model = MODELS[row.model]
        color = LOSS_COLORS[model.loss]
        below, above = row.accuracy - row.accuracy_low, row.accuracy_high - row.accuracy
        ax.errorbar(
            100 * row.accuracy_published,
            100 * row.accuracy,
            [[100 * max(0, below)], [100 * max(0, above)]],
            color=color,
            marker=LOSS_MARKERS[model.loss],
            markersize=marker_size(model.loss, 4.5),
            markerfacecolor=color if model.pretrained else "white",
            elinewidth=0.7,
        )
    # As an artist it leaves the limits to the points, which two panels share.
    ax.add_artist(AxLine((0, 0), None, slope=1, color="#666666", linewidth=0.7, linestyle=":", zorder=1))
    ax.set(xlabel="published accuracy, AffectNet (%)", ylabel="our accuracy (%)")
    note = f"{len(ran)} models" if len(ran) == len(table) else f"{len(ran)} of {len(table)} models"
    if len(ran) >= 4:
        ranks = ran[["accuracy_published", "accuracy"]].rank()
        note = f"Spearman ρ = {ranks.corr().iloc[0, 1]:.2f}, {note}".replace("-", "−")
    ax.set_title(note, loc="right", fontsize=7)
    return ax


@style()
def figure_published_scatter(table: pd.DataFrame) -> Figure:
    """Published against our accuracy, a panel a base.

    Args:
        table: what `paper.beside_published` returns.

    Raises:
        InputError: if no model was run.

    >>> row = {"model": 10, "base": "se_resnet50", "accuracy": 0.5, "accuracy_low": 0.46, "accuracy_high": 0.54}
    >>> figure_published_scatter(pd.DataFrame([row | {"accuracy_published": 0.607}])).axes[0].get_title("left")
    '(a) SE-ResNet-50'
    """
    panels = {BASES[base]: rows for base, rows in table.groupby("base", sort=False)}
    figure = new_figure(PAGE_WIDTH if len(panels) == 2 else COLUMN_WIDTH, 3.1)
    axes = figure.subplots(1, len(panels), sharex=True, sharey=True, squeeze=False)[0]
    for letter, (name, rows), ax in zip("ab", panels.items(), axes, strict=False):
        plot_published_scatter(rows, ax)
        ax.set_title(f"({letter}) {name}", loc="left")
        ax.label_outer()
    low, high = axes[0].get_ylim()
    axes[0].set_ylim(max(low, 0), min(high, 100))  # bounds of which a t interval over three seeds does not know
    handles = {
        LOSSES[loss]: Line2D(
            [], [], color=color, marker=LOSS_MARKERS[loss], markersize=marker_size(loss), linestyle="none"
        )
        for loss, color in LOSS_COLORS.items()
    }
    handles["hollow: from scratch"] = Line2D(
        [], [], color="black", marker="o", markerfacecolor="white", linestyle="none"
    )
    handles["ours = published"] = Line2D([], [], color="#666666", linewidth=0.7, linestyle=":")
    labels = sorted(handles, key=len)  # the long ones share a column
    columns = {"ncols": 4 if len(panels) == 2 else 2, "columnspacing": 0.8, "handlelength": 1}
    figure.legend([handles[label] for label in labels], labels, loc="outside lower center", **columns)
    return figure
