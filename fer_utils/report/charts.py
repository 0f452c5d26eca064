"""The data as counts; one run as it trains, and as it is evaluated."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from fer_utils import metrics
from fer_utils.core import COLORS, EXPRESSIONS, LABELS, NUM_CLASSES, InputError, paper
from fer_utils.report import style

BAR_COLORS = [COLORS[name] for name in EXPRESSIONS]
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
PALE = {"frameon": True, "framealpha": 0.8, "edgecolor": "none"}  # read over lines
DOTTED = {"linestyle": ":", "color": "#595959", "linewidth": 0.8}


def class_ticks(ax: Axes) -> None:
    """Write the expressions along the x axis, slanted."""
    slanted = {"rotation": 40, "ha": "right", "rotation_mode": "anchor"}
    ax.set_xticks(range(NUM_CLASSES), EXPRESSIONS, **slanted)
    ax.tick_params(axis="x", length=0)


def plot_class_counts(counts, ax: Axes) -> Axes:
    """Images of each class (8,), linear so that bars are as long as counts (Fig. 3)."""
    counts = pd.Series(np.asarray(counts), EXPRESSIONS)
    bars = ax.bar(range(NUM_CLASSES), counts, color=BAR_COLORS, width=0.75)
    ax.bar_label(bars, fmt="{:,.0f}", fontsize=6.5, padding=1.5)
    class_ticks(ax)
    ax.set_ylabel("images")
    ax.yaxis.set_major_formatter("{x:,.0f}")
    crowded = counts.iloc[NUM_CLASSES // 2 :].max() >= 0.8 * counts.max()  # under the text there
    ax.set_ylim(0, max((1.35 if crowded else 1.1) * counts.max(), 1))
    ax.grid(False)
    found = counts[counts > 0]
    if len(found):
        ratio = f"{found.idxmax()} : {found.idxmin()} = {found.max() / found.min():.1f} : 1"
        place = {"transform": ax.transAxes, "ha": "right", "va": "top", "fontsize": 7}
        ax.text(1, 1, f"{counts.sum():,} images\n{ratio}", **place)
    return ax


@style.applied()
def figure_class_counts(counts: pd.DataFrame, published=False) -> Figure:
    """Training images of each class, of `split`, `expression`, `images`; maybe beside the paper's.

    Where folds differ, the most are shown.
    """
    own = counts[counts["split"] == "train"].groupby("expression")["images"].max()
    panels = {"(a) this study": own.reindex(EXPRESSIONS, fill_value=0)}
    panels |= {"(b) the paper, AffectNet": paper.TRAINING_COUNTS} if published else {}
    figure, axes = style.new_panels(len(panels), 2.2, style.COLUMN)
    for (title, shown), ax in zip(panels.items(), axes, strict=True):
        plot_class_counts(shown, ax).set_title(title if published else "")
    return figure


def plot_duplicates(duplicates: pd.DataFrame, ax: Axes) -> Axes:
    """Images with duplicates: `images`, `duplicates_in` (splits), `exact`, `near` (counts)."""
    places = np.arange(len(duplicates))
    same, near = {"color": style.BLUE, "label": "same pixels"}, {"color": style.YELLOW}
    near |= {"hatch": "////", "label": "near-duplicate"}
    for kind, shift, look in (("exact", -0.2, same), ("near", 0.2, near)):
        bars = ax.barh(places + shift, duplicates[kind], 0.38, edgecolor="white", **look)
        ax.bar_label(bars, fmt="{:,.0f}", fontsize=6.5, padding=1.5)
    pairs = zip(duplicates["images"], duplicates["duplicates_in"], strict=True)
    names = [f"within {one}" if one == other else f"{one}, also in {other}" for one, other in pairs]
    ax.set_yticks(places, names)
    ax.invert_yaxis()
    ax.margins(x=0.12)
    ax.set_xlabel("images")
    ax.grid(False)
    ax.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, borderaxespad=0.2)
    return ax


def plot_votes(votes, ax: Axes) -> Axes:
    """What annotators take the images of each label for: (8, 8) shares of votes summed by label."""
    plot_confusion(votes, ax, supports=np.rint(np.sum(votes, axis=1)))
    ax.set(xlabel="votes (% of the row)", ylabel="label (images)")
    return ax


def plot_confusion(confusion, ax: Axes, supports=None, published=None) -> Axes:
    """A confusion matrix (8, 8), rows true, each cell in per cent of its row.

    Beside the names stand `supports` (default: the rows' sums); `published` shares, by (true,
    predicted), stand small in their cells.
    """
    confusion = np.asarray(confusion, dtype=float)
    if confusion.shape != (NUM_CLASSES, NUM_CLASSES):
        raise InputError(f"expected an 8 × 8 confusion matrix, found shape {confusion.shape}")
    totals = confusion.sum(axis=1)
    shares = 100 * confusion / np.where(totals, totals, np.nan)[:, None]
    ax.imshow(shares, vmin=0, vmax=100)
    for (row, column), share in np.ndenumerate(shares):
        look = {"color": "white" if share > 55 else "black", "ha": "center", "va": "center"}
        look["weight"] = "bold" if row == column else "normal"
        ax.text(column, row, "–" if np.isnan(share) else f"{share:.0f}", fontsize=6.5, **look)
    class_ticks(ax)
    supports = totals if supports is None else supports
    names = [f"{name} ({n:,.0f})" for name, n in zip(EXPRESSIONS, supports, strict=True)]
    ax.set_yticks(range(NUM_CLASSES), names)
    style.hide_frame(ax)
    ax.set(xlabel="predicted (% of the row)", ylabel="true (images)")
    box = {"facecolor": "white", "linewidth": 0, "pad": 0.3, "alpha": 0.85}
    for (true, guessed), share in (published or {}).items():
        place = LABELS[guessed] + 0.45, LABELS[true] + 0.45
        look = {"color": style.ORANGE, "fontsize": 5, "ha": "right", "bbox": box}
        ax.text(*place, f"{100 * share:.0f}", **look)
    return ax


@style.applied()
def figure_confusions(panels: Mapping) -> Figure:
    """Confusion matrices, two in a row: title → matrix, or (matrix, supports, published)."""
    figure, axes = style.new_panels(len(panels), 3.4, style.PAGE / 2)
    for (title, panel), ax in zip(panels.items(), axes, strict=True):
        matrix, *more = panel if isinstance(panel, tuple) else (panel,)
        plot_confusion(matrix, ax, *more)
        ax.set_title(title, fontsize=7, x=-0.3)  # over the class names
    return figure


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
        ax.legend(**ASIDE if label == RECALL else PALE)
    figure.suptitle(title, x=0.01, y=0.995, ha="left")
    return figure


def plot_reliability(table: pd.DataFrame, ax: Axes) -> Axes:
    """Accuracy against confidence, of `metrics.reliability`; what lies low claims too much."""
    seen, images = 100 * table[table["count"] > 0], table["count"].sum()
    x, y = seen["confidence"], seen["accuracy"]
    ax.bar(x, seen["count"] / images, 4, color="#DDDDDD", label="share of the images")
    ax.plot([0, 100], [0, 100], label="calibrated", **DOTTED)
    ax.plot(x, y, "o-", color=style.BLUE, markersize=3.5, label="this run, 95 % interval")
    ax.vlines(x, seen["low"], seen["high"], color=style.BLUE, linewidth=0.9)
    ax.fill_between(x, x, y, color=style.ORANGE, alpha=0.25, linewidth=0)
    error = 100 * metrics.calibration_error(table)
    ax.set_title(f"expected calibration error {error:.1f} points, {images:,.0f} images", fontsize=7)
    ax.set(xlim=(0, 102), ylim=(0, 102), ylabel="predicted right (%)")
    ax.set_xlabel("confidence: probability of the predicted class (%)")
    ax.legend(loc="upper left")
    return ax


def plot_roc(similarities, same, ax: Axes, baseline=None) -> Axes:
    """True against false accept rate of P pairs of faces, `same` or not, from one false accept on.

    The `baseline`'s similarities need no network.
    """
    chance = np.geomspace(1 / np.sum(~np.asarray(same, dtype=bool)), 1, 50)
    ax.plot(chance, 100 * chance, label="chance", **DOTTED)
    for name, values in {"network": similarities, "grey pixels": baseline}.items():
        if values is not None:
            far, tar, _ = metrics.roc_curve(values, same)
            label = f"{name}, area {np.trapezoid(tar, far):.3f}"
            color = style.BLUE if name == "network" else style.GREY
            ax.step(far, 100 * tar, where="post", label=label, color=color)
    ax.set(xscale="log", xlim=(chance[0], 1), ylim=(-2, 102))
    ax.set(xlabel="false accept rate, of pairs of two people", ylabel="true accept rate (%)")
    ax.legend(loc="lower right")
    return ax
