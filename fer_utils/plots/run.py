"""One run: its confusion matrix, its features."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fer_utils.errors import InputError
from fer_utils.expressions import COLORS, EXPRESSIONS
from fer_utils.plots.confusion import plot_confusion
from fer_utils.plots.style import COLUMN_WIDTH, PAGE_WIDTH, new_figure, style


@style()
def figure_confusion(confusion, title: str = "") -> Figure:
    """One confusion matrix (8, 8), rows true, drawn by `plot_confusion`.

    >>> figure_confusion(np.eye(8), "one run").axes[0].get_title("left")
    'one run'
    """
    figure = new_figure(COLUMN_WIDTH * 1.15, 3.6)
    ax = plot_confusion(confusion, figure.subplots())
    ax.set_title(title, loc="left", fontsize=7, x=-0.3)
    return figure


def plot_features(features: np.ndarray, labels: np.ndarray, centers: np.ndarray | None, ax: Axes) -> Axes:
    """Features in the plane of their two principal components, coloured by class; centres as crosses.

    Args:
        features: (N, D).
        labels: (N,) 0–7.
        centers: (8, D), or None.
        ax: where to draw. A centre outside the cloud is out of view.

    Raises:
        InputError: for features and labels of different lengths.

    >>> ax = plot_features(np.random.rand(16, 4), np.arange(16) % 8, np.ones((8, 4)), new_figure().subplots())
    >>> len(ax.collections[0].get_offsets())
    16
    """
    import seaborn  # here: two seconds that no other figure needs
    from sklearn.decomposition import PCA

    if len(features) != len(labels):
        raise InputError(f"expected a label a feature row, found {len(labels)} labels and {len(features)} rows")
    plane = PCA(2, random_state=0).fit(features)
    points = plane.transform(features)
    names = np.array(EXPRESSIONS)[labels]
    seaborn.scatterplot(x=points[:, 0], y=points[:, 1], hue=names, hue_order=EXPRESSIONS, palette=COLORS, s=8, ax=ax,
                        linewidth=0, alpha=0.7)  # fmt: skip
    low, high = points.min(0), points.max(0)
    margin = 0.1 * (high - low)
    if centers is not None:
        for name, (x, y) in zip(EXPRESSIONS, plane.transform(centers), strict=True):
            ax.plot(x, y, "X", color=COLORS[name], markersize=8, markeredgecolor="white", scalex=False, scaley=False)
    ax.set_xlim(low[0] - margin[0], high[0] + margin[0])
    ax.set_ylim(low[1] - margin[1], high[1] + margin[1])
    share = plane.explained_variance_ratio_
    ax.set(xlabel=f"component 1 ({share[0]:.0%} of variance)", ylabel=f"component 2 ({share[1]:.0%})")
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5), markerscale=2)
    return ax


@style()
def figure_features(features: np.ndarray, labels: np.ndarray, centers: np.ndarray | None = None) -> Figure:
    """`plot_features` as a figure.

    >>> figure_features(np.random.rand(16, 4), np.arange(16) % 8).axes[0].get_xlabel()[:11]
    'component 1'
    """
    figure = new_figure(PAGE_WIDTH * 0.75, 3.4)
    plot_features(features, labels, centers, figure.subplots())
    return figure
