"""One run's confusion matrix in full, its ROC and precision–recall curves, and the reliability diagram."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from fer_utils.errors import InputError
from fer_utils.expressions import COLORS, EXPRESSIONS, NUM_CLASSES
from fer_utils.plots.confusion import plot_confusion
from fer_utils.plots.style import COLUMN_WIDTH, PAGE_WIDTH, new_figure, style

# With the colours, for readers without them.
DASHES = dict(
    zip(
        EXPRESSIONS,
        ((), (6, 1.5), (2, 1), (4, 1, 1, 1), (1, 1), (8, 1.5, 2, 1.5), (4, 1, 1, 1, 1, 1), (3, 2.5)),
        strict=True,
    )
)


@style()
def figure_confusion_counts(confusion, title: str = "") -> Figure:
    """A confusion matrix twice: images (a) and per cent of the true class (b); shades are (b)'s in both.

    Args:
        confusion: (8, 8) counts, rows true.
        title: above the panels.

    >>> figure = figure_confusion_counts(5 * np.eye(8, dtype=int))
    >>> [ax.texts[0].get_text() for ax in figure.axes]
    ['5', '100']
    """
    figure = new_figure(PAGE_WIDTH, 3.6)
    left, right = figure.subplots(1, 2)
    plot_confusion(confusion, left).set(title="(a)", xlabel="predicted (images)")
    for text, count in zip(left.texts, np.ravel(confusion), strict=True):
        text.set_text(f"{count:,}")
    plot_confusion(confusion, right).set(title="(b)", ylabel="", yticklabels=[])
    figure.suptitle(title, fontsize=8, x=0.01, ha="left")
    return figure


def plot_class_curves(targets, probabilities, ax: Axes, kind: str = "roc") -> Axes:
    """The ROC or the precision–recall curve of each class against the rest.

    Args:
        targets: (N,) 0–7.
        probabilities: (N, 8).
        ax: where to draw. The legend gives area and number of images; a class without images, or without others, has no
            curve.
        kind: "roc", with the area under it; or "precision_recall", with the average precision and, as chance, the share
            of the class's images.

    >>> ax = plot_class_curves([0, 0, 1, 7], np.eye(8)[[0, 1, 1, 1]], new_figure().subplots())
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['neutral 0.750 (2)', 'happy 0.667 (1)', 'contempt 0.500 (1)', 'chance']
    """
    from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score, roc_curve

    targets, probabilities = np.asarray(targets), np.asarray(probabilities)
    if probabilities.shape != (len(targets), NUM_CLASSES):
        raise InputError(
            f"expected probabilities (N, 8) and a label each, found {probabilities.shape} and {len(targets)} labels"
        )
    for label, name in enumerate(EXPRESSIONS):
        own, scores = targets == label, probabilities[:, label]
        images = own.sum()
        if not 0 < images < len(own):
            continue
        look = {"color": COLORS[name], "dashes": DASHES[name], "linewidth": 1.1}
        if kind == "roc":
            x, y, _ = roc_curve(own, scores)
            text = f"{name} {roc_auc_score(own, scores):.3f} ({images:,})"
            ax.plot(100 * x, 100 * y, label=text, **look)
        else:
            y, x, _ = precision_recall_curve(own, scores)
            text = f"{name} {average_precision_score(own, scores):.3f} (chance {images / len(own):.3f})"
            # Between two thresholds precision does not lie on the line between them.
            ax.step(100 * x, 100 * y, where="post", label=text, **look)
    if kind == "roc":
        ax.plot([0, 100], [0, 100], ":", color="#595959", linewidth=0.8, label="chance")
        ax.set(xlabel="false positive rate (%)", ylabel="true positive rate (%)")
    else:
        ax.set(xlabel="recall (%)", ylabel="precision (%)")
    ax.set(xlim=(-1, 101), ylim=(-1, 101))
    title = "area (images)" if kind == "roc" else "average precision"
    below = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.17), "ncols": 2}
    ax.legend(title=title, **below, handlelength=3, columnspacing=0.8, fontsize=6.5)
    return ax


@style()
def figure_class_curves(targets, probabilities) -> Figure:
    """ROC (a) and precision–recall curves (b) of every class against the rest.

    Args:
        targets, probabilities: as in `plot_class_curves`.

    >>> figure = figure_class_curves([0, 0, 1, 7], np.eye(8)[[0, 1, 1, 1]])
    >>> [len(ax.lines) for ax in figure.axes]
    [4, 3]
    """
    figure = new_figure(PAGE_WIDTH, 4.1)
    left, right = figure.subplots(1, 2)
    plot_class_curves(targets, probabilities, left, "roc").set_title("(a)")
    plot_class_curves(targets, probabilities, right, "precision_recall").set_title("(b)")
    return figure


def plot_reliability(table: pd.DataFrame, ax: Axes) -> Axes:
    """Accuracy against confidence, with 95 % Wilson intervals; the gap to the diagonal is what is claimed too much.

    Args:
        table: of `fer_utils.metrics.reliability`.
        ax: where to draw.

    >>> from fer_utils.metrics import reliability
    >>> table = reliability([0, 1, 2, 3], 0.72 * np.eye(8)[[0, 1, 2, 0]] + 0.035, bins=4)
    >>> ax = plot_reliability(table, new_figure().subplots())
    >>> ax.lines[1].get_ydata().tolist()
    [75.0]
    """
    seen = table[table["count"] > 0]
    x, y = 100 * seen["confidence"], 100 * seen["accuracy"]
    ax.plot([0, 100], [0, 100], ":", color="#595959", linewidth=0.8, label="calibrated")
    ax.plot(x, y, "o-", color="#0072B2", markersize=3.5, label="this run, 95 % interval")
    ax.vlines(x, 100 * seen["low"], 100 * seen["high"], color="#0072B2", linewidth=0.9)
    ax.fill_between(x, x, y, color="#D55E00", alpha=0.25, linewidth=0)
    handles, labels = ax.get_legend_handles_labels()
    gap = Patch(color="#D55E00", alpha=0.25, linewidth=0)
    above = {"loc": "lower left", "bbox_to_anchor": (-0.12, 0.99), "ncols": 3, "columnspacing": 1}
    ax.legend([*handles, gap], [*labels, "gap to confidence"], **above)
    ax.set(xlim=(0, 100), ylim=(0, 102), ylabel="predicted right (%)")
    return ax


@style()
def figure_reliability(table: pd.DataFrame, error: float) -> Figure:
    """Reliability diagram over the number of images by confidence.

    Args:
        table: of `fer_utils.metrics.reliability`.
        error: expected calibration error, 0–1 (`fer_utils.metrics.calibration_error`).

    >>> from fer_utils.metrics import reliability
    >>> table = reliability([0, 1, 2, 3], 0.72 * np.eye(8)[[0, 1, 2, 0]] + 0.035, bins=4)
    >>> figure = figure_reliability(table, 0.005)
    >>> figure.axes[0].get_title("left"), [int(bar.get_height()) for bar in figure.axes[1].patches]
    ('expected calibration error 0.5 points, 4 images', [0, 0, 0, 4])
    """
    figure = new_figure(COLUMN_WIDTH * 1.15, 3.6)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    plot_reliability(table, above)
    images = table["count"].sum()
    above.set_title(f"expected calibration error {100 * error:.1f} points, {images:,.0f} images", fontsize=7, pad=17)
    width = 100 * (table["right"] - table["left"])
    below.bar(100 * table["left"], table["count"], width, align="edge", color="#8C8C8C", edgecolor="white")
    below.set(xlabel="confidence: probability of the predicted class (%)", ylabel="images")
    return figure
