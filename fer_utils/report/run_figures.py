"""One run as it trains and as it is evaluated."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from fer_utils import metrics
from fer_utils.core import COLORS, EXPRESSIONS, LABELS, NUM_CLASSES, InputError
from fer_utils.report import style

RECALL = "validation recall (%)"
CURVES = {
    "loss": {"train_loss": "training", "validation_loss": "validation"},
    "validation (%)": {"validation_accuracy": "accuracy", "validation_f1": "macro F1"},
    "distance in the embedding": {
        "between_distance": "between class means",
        "within_distance": "within a class",
        "center_distance": "between centres",
        "center_offset": "centre to class mean",
    },
    RECALL: {f"validation_recall_{name}": name for name in EXPRESSIONS},
}
ASIDE = {"loc": "center left", "bbox_to_anchor": (1.01, 0.5)}
BELOW = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.17), "ncols": 2}
DOTTED = {"linestyle": ":", "color": "#595959", "linewidth": 0.8}


@style.applied()
def figure_training(history: pd.DataFrame, epochs: int, title: str = "") -> Figure:
    """What there is of `CURVES` in a run's `history` so far, with room for all its `epochs`."""
    labels = [label for label, curves in CURVES.items() if not {*curves}.isdisjoint(history)]
    rows, columns = (2, 2) if len(labels) > 3 else (1, max(len(labels), 1))
    figure = style.new_figure(style.PAGE, 2.2 * rows + 0.2, "none")  # drawn every epoch
    margins = {"left": 0.075, "right": 0.85 if RECALL in labels else 0.99, "bottom": 0.2 / rows}
    figure.subplots_adjust(**margins, top=1 - 0.1 / rows, wspace=0.28, hspace=0.28)
    axes = figure.subplots(rows, columns, squeeze=False).flat
    for label, ax in zip(labels, axes, strict=False):
        scale = 100 if "(%)" in label else 1
        for turn, (column, name) in enumerate(CURVES[label].items()):
            look = {"linestyle": ("-", "--", "-.", ":")[turn % 4], "marker": "o", "markersize": 3}
            if label == RECALL:
                look |= {"color": COLORS[name], "marker": style.CLASS_MARKERS[turn]}
            if column in history and history[column].notna().any():
                ax.plot(history["epoch"], scale * history[column], label=name, **look)
        ax.set(xlabel="epoch", ylabel=label, xlim=(0.8, epochs + 0.2))
        ax.set_ylim(0, 103 if label == RECALL else None)
        ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        ax.legend(**ASIDE if label == RECALL else {})
    figure.suptitle(title, x=0.01, y=0.995, ha="left")
    return figure


def plot_confusion(confusion, ax: Axes, percent=True, supports=None, published=None) -> Axes:
    """A confusion matrix (8, 8), rows true, each cell in per cent of its row or as a count.

    Beside the names stand `supports` (default: the rows' sums); `published` shares, by (true,
    predicted), stand small in their cells.
    """
    confusion = np.asarray(confusion, dtype=float)
    if confusion.shape != (NUM_CLASSES, NUM_CLASSES):
        raise InputError(f"expected an 8 × 8 confusion matrix, found shape {confusion.shape}")
    totals = confusion.sum(axis=1)
    shares = 100 * confusion / np.where(totals, totals, np.nan)[:, None]
    values, unit = (shares, "% of the row") if percent else (confusion, "images")
    texts = [["–" if np.isnan(value) else f"{value:,.0f}" for value in row] for row in values]
    style.show_cells(ax, shares, texts, shares > 55, vmax=100)
    supports = totals if supports is None else supports
    names = [f"{name} ({n:,.0f})" for name, n in zip(EXPRESSIONS, supports, strict=True)]
    ax.set_yticks(range(NUM_CLASSES), names)
    ax.set(xlabel=f"predicted ({unit})", ylabel="true (images)")
    for (true, guessed), share in (published or {}).items():
        place = LABELS[guessed] + 0.45, LABELS[true] + 0.45
        box = {"facecolor": "white", "linewidth": 0, "pad": 0.3, "alpha": 0.85}
        look = {"color": style.ORANGE, "fontsize": 5, "ha": "right", "bbox": box}
        ax.text(*place, f"{100 * share:.0f}", **look)
    return ax


@style.applied()
def figure_confusions(panels: Mapping, percent: bool = True) -> Figure:
    """Confusion matrices, two in a row: title → matrix, or (matrix, supports, published)."""
    figure, axes = style.new_panels(len(panels), 3.4, style.PAGE / 2)
    for (title, panel), ax in zip(panels.items(), axes, strict=True):
        matrix, *more = panel if isinstance(panel, tuple) else (panel,)
        plot_confusion(matrix, ax, percent, *more)
        ax.set_title(title, fontsize=7, x=-0.3)  # over the class names
    return figure


@style.applied()
def figure_class_curves(targets, probabilities) -> Figure:
    """ROC (a) and precision over recall (b) of every class against the rest; (N,), (N, 8)."""
    from sklearn import metrics as curves  # here: it takes a second, and few figures need it

    figure = style.new_figure(style.PAGE, 4.1)
    left, right = figure.subplots(1, 2)
    for label, name in enumerate(EXPRESSIONS):
        own, scores = np.asarray(targets) == label, np.asarray(probabilities)[:, label]
        if not 0 < own.sum() < len(own):
            continue
        look = {"color": COLORS[name], "dashes": style.CLASS_DASHES[label], "linewidth": 1.1}
        x, y, _ = curves.roc_curve(own, scores)
        text = f"{name} {curves.roc_auc_score(own, scores):.3f} ({own.sum():,})"
        left.plot(100 * x, 100 * y, label=text, **look)
        y, x, _ = curves.precision_recall_curve(own, scores)
        text = f"{name} {curves.average_precision_score(own, scores):.3f} ({own.mean():.3f})"
        # Between two thresholds precision does not lie on the line between them.
        right.step(100 * x, 100 * y, where="post", label=text, **look)
    left.plot([0, 100], [0, 100], label="chance", **DOTTED)
    left.set(title="(a)", xlabel="false positive rate (%)", ylabel="true positive rate (%)")
    right.set(title="(b)", xlabel="recall (%)", ylabel="precision (%)")
    for ax, title in ((left, "area (images)"), (right, "average precision (chance)")):
        ax.set(xlim=(-1, 101), ylim=(-1, 101))
        ax.legend(title=title, handlelength=3, columnspacing=0.8, fontsize=6.5, **BELOW)
    return figure


def plot_reliability(table: pd.DataFrame, ax: Axes) -> Axes:
    """Accuracy against confidence, of `metrics.reliability`; what lies low claims too much."""
    seen, images = table[table["count"] > 0], table["count"].sum()
    x, y, share = (
        100 * part for part in (seen["confidence"], seen["accuracy"], seen["count"] / images)
    )
    ax.bar(x, share, 4, color="#DDDDDD", label="share of the images")
    ax.plot([0, 100], [0, 100], label="calibrated", **DOTTED)
    ax.plot(x, y, "o-", color=style.BLUE, markersize=3.5, label="this run, 95 % interval")
    ax.vlines(x, 100 * seen["low"], 100 * seen["high"], color=style.BLUE, linewidth=0.9)
    ax.fill_between(x, x, y, color=style.ORANGE, alpha=0.25, linewidth=0)
    error = 100 * metrics.calibration_error(table)
    ax.set_title(f"expected calibration error {error:.1f} points, {images:,.0f} images", fontsize=7)
    ax.set(xlim=(0, 102), ylim=(0, 102), ylabel="predicted right (%)")
    ax.set_xlabel("confidence: probability of the predicted class (%)")
    ax.legend(loc="upper left")
    return ax


def plot_plane(points, labels, ax: Axes, centers=None, name: str = "t-SNE") -> Axes:
    """An embedding (N, 2) of images by label, laid out by `name`; learned `centers` are ringed."""
    points, labels = np.asarray(points), np.asarray(labels)
    counts, handles = np.bincount(labels, minlength=NUM_CLASSES), {}
    for label in np.argsort(-counts, kind="stable")[: np.count_nonzero(counts)]:
        look = {"marker": style.CLASS_MARKERS[label], "color": COLORS[EXPRESSIONS[label]]}
        size = 5 + 12 / (1 + counts[label] / 20)  # a few points must not drown
        own = points[labels == label].T
        handles[label] = ax.scatter(*own, s=size, linewidth=0, alpha=0.75, **look)
        for ring, color in ((75, "black"), (48, "white"), (24, look["color"])):  # seen on all
            if centers is not None:
                look["color"] = color
                ax.scatter(*centers[label], s=ring, linewidth=0, zorder=3, **look)
    order = sorted(handles)
    names = [f"{EXPRESSIONS[label]} ({counts[label]:,})" for label in order]
    title = None if centers is None else "ringed: learned centre"
    ax.legend([handles[label] for label in order], names, title=title, **ASIDE)
    low, high = points.min(axis=0), points.max(axis=0)
    view = np.stack([low, high], axis=1) + np.maximum(0.07 * (high - low), 1e-6)[:, None] * [-1, 1]
    ax.set(xlabel=f"{name} 1", ylabel=f"{name} 2", xlim=view[0], ylim=view[1], xticks=[], yticks=[])
    return ax


def plot_distances(distances, ax: Axes) -> Axes:
    """Distances (8, 8) between class means; in bold, on the diagonal, within the classes."""
    values = np.asarray(distances, dtype=float)
    texts = [["–" if np.isnan(value) else f"{value:.3g}" for value in row] for row in values]
    most = np.nanmax(values)
    style.show_cells(ax, values, texts, values < 0.45 * most, vmax=1.25 * most, cmap="Blues_r")
    ax.set_xlabel("distance of class means; bold: within the class\n(units of the embedding)")
    return ax


def plot_roc(similarities, same, ax: Axes, baseline=None) -> Axes:
    """True against false accept rate of P pairs of faces, `same` or not, from one false accept on.

    The `baseline`'s similarities need no network.
    """
    lowest = 1 / np.sum(~np.asarray(same, dtype=bool))
    chance = np.geomspace(lowest, 1, 50)
    ax.plot(chance, 100 * chance, label="chance", **DOTTED)
    curves = {"network": (similarities, style.BLUE), "grey pixels": (baseline, style.GREY)}
    for name, (values, color) in curves.items():
        if values is not None:
            far, tar, _ = metrics.roc_curve(values, same)
            label = f"{name}, area {np.trapezoid(tar, far):.3f}"
            ax.step(far, 100 * tar, where="post", label=label, color=color)
    ax.set(xscale="log", xlim=(lowest, 1), ylim=(-2, 102))
    ax.set(xlabel="false accept rate, of pairs of two people", ylabel="true accept rate (%)")
    ax.legend(loc="lower right")
    return ax
