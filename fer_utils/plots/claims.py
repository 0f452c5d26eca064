"""The paper's claims with the uncertainty of its own test set."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from fer_utils.plots.style import COLUMN_WIDTH, new_figure, style

OUTSIDE, INSIDE = "#0072B2", "#8C8C8C"
WORDS = {"fontsize": 6.5, "weight": "bold", "in_layout": False}
STEP, GAP = 1.0, 1.5  # rows: between pairs, and above a claim for its words


def plot_claims(claims: pd.DataFrame, ax: Axes) -> Axes:
    """A row a pair of models: difference of their published accuracies with its interval.

    Filled where the interval lies above zero, hollow where the difference is no more than noise.

    Args:
        claims: what `paper.published_claims` returns.
        ax: where to draw.

    >>> from fer_utils.paper import published_claims
    >>> ax = plot_claims(published_claims(), new_figure().subplots())
    >>> len(ax.containers), ax.get_yticklabels()[0].get_text()
    (26, '5 − 3')
    """
    y, places, names = 0.0, [], []
    for claim, group in claims.groupby("claim", sort=False):
        words = ax.text(0.005, y + 0.15, claim, transform=ax.get_yaxis_transform(), va="center", **WORDS)
        words.set(bbox={"facecolor": "white", "linewidth": 0, "pad": 0.5})
        y += GAP - 0.4
        for row in group.itertuples():
            color = OUTSIDE if row.outside else INSIDE
            ax.errorbar(
                100 * row.difference, y, xerr=100 * (row.high - row.difference), color=color, capsize=1.5,
                marker="s" if row.outside else "o", markersize=3.5, elinewidth=1, linestyle="none",
                markerfacecolor=color if row.outside else "white",
            )  # fmt: skip
            places.append(y)
            names.append(f"{row.model} − {row.against}")
            y += STEP
        y += 0.4
    ax.axvline(0, color="black", linewidth=0.7, zorder=1)
    ax.set_yticks(places, names)
    ax.set_ylim(y, -0.7)
    ax.set_xlabel("difference of published accuracies (points)")
    ax.set_ylabel("models, first − second")
    ax.tick_params(axis="y", length=0, labelsize=6)
    ax.grid(True, axis="x")
    ax.grid(False, axis="y")
    return ax


@style()
def figure_claims(claims: pd.DataFrame) -> Figure:
    """`plot_claims` in a column-wide figure with its legend.

    Args:
        claims: what `paper.published_claims` returns.

    >>> from fer_utils.paper import published_claims
    >>> [text.get_text() for text in figure_claims(published_claims()).legends[0].get_texts()]
    ['more than noise', 'no more than noise']
    """
    rows = len(claims) + 1.5 * claims["claim"].nunique()
    figure = new_figure(COLUMN_WIDTH, 0.8 + 0.117 * rows)
    plot_claims(claims, figure.subplots())
    handles = [
        Line2D([], [], color=OUTSIDE, marker="s", markersize=3.5, label="more than noise"),
        Line2D([], [], color=INSIDE, marker="o", markersize=3.5, markerfacecolor="white", label="no more than noise"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2)
    return figure
