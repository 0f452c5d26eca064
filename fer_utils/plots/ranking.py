"""Which loss comes first: average ranks with the critical difference."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from fer_utils.paper import LOSSES
from fer_utils.paper.ranks import critical_difference
from fer_utils.plots.style import COLUMN_WIDTH, LOSS_COLORS, LOSS_MARKERS, marker_size, new_figure, style

BLOCKS, ALIKE = "#BDBDBD", "#EDEDED"


def plot_ranking(ranks: pd.DataFrame, ax: Axes) -> Axes:
    """A row a loss, the best on top: its average rank ± half the critical difference, and its rank in every block.

    Two losses whose bars do not overlap differ at the 5 % level; what reaches into the shaded band cannot be told from
    the best. Grey circles are blocks, larger where several share a rank.

    Args:
        ranks: what `paper.rank_losses` returns.
        ax: where to draw.

    >>> ax = plot_ranking(pd.DataFrame({"softmax": [2.0] * 9, "weighted_cluster": [1.0] * 9}), new_figure().subplots())
    >>> [label.get_text() for label in ax.get_yticklabels()]
    ['weighted cluster + weighted softmax', 'softmax']
    """
    blocks, losses = ranks.shape
    means, half = ranks.mean().sort_values(kind="stable"), critical_difference(losses, blocks) / 2
    ax.axvspan(means.iloc[0] - half, means.iloc[0] + half, color=ALIKE, linewidth=0, zorder=0)
    for place, (loss, mean) in enumerate(means.items()):
        values, counts = np.unique(ranks[loss], return_counts=True)
        sizes = 14 + 70 * counts / blocks
        ax.scatter(values, [place] * len(values), sizes, facecolor="none", edgecolor=BLOCKS, linewidth=0.8, zorder=1)
        look = {"color": LOSS_COLORS[loss], "marker": LOSS_MARKERS[loss], "markersize": marker_size(loss, 4.5)}
        ax.errorbar(mean, place, xerr=half, capsize=2.5, elinewidth=1.1, zorder=3, **look)
    ax.set_yticks(range(losses), [LOSSES[loss] for loss in means.index])
    ax.set_ylim(losses - 0.4, -0.6)
    ax.set_xlim(0.4, losses + 0.6)  # a bar may leave the ranks, and the picture
    ax.set_xticks(range(1, losses + 1))
    ax.set_xlabel("rank (1 is best)")
    ax.tick_params(axis="y", length=0)
    ax.grid(True, axis="x")
    ax.grid(False, axis="y")
    return ax


@style()
def figure_ranking(ranks: pd.DataFrame) -> Figure:
    """`plot_ranking` in a figure of its own, with its legend.

    Args:
        ranks: what `paper.rank_losses` returns.

    >>> figure = figure_ranking(pd.DataFrame({"softmax": [2.0], "weighted_cluster": [1.0]}))
    >>> figure.legends[0].get_texts()[0].get_text()
    'average rank ± half of the critical difference, 1.96'
    """
    blocks, losses = ranks.shape
    figure = new_figure(1.4 * COLUMN_WIDTH, 1.15 + 0.26 * losses)
    plot_ranking(ranks, figure.subplots())
    difference = critical_difference(losses, blocks)
    bar = Line2D([], [], color="black", marker="o", markersize=4.5)
    bar.set_label(f"average rank ± half of the critical difference, {difference:.2f}")
    block = Line2D([], [], color=BLOCKS, marker="o", markerfacecolor="none", markersize=5, linestyle="none")
    block.set_label(f"rank in a block ({blocks} block{'s' if blocks > 1 else ''})")
    band = Patch(facecolor=ALIKE, label="not to be told from the best")
    figure.legend(handles=[bar, block, band], loc="outside lower center", ncols=2, columnspacing=1.2)
    return figure
