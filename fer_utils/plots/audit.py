"""What the audit of a dataset shows: class weights, duplicates, the taggers' votes, and mean faces."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fer_utils.errors import InputError
from fer_utils.expressions import COLORS, EXPRESSIONS, NUM_CLASSES
from fer_utils.plots.confusion import plot_confusion
from fer_utils.plots.faces import plot_samples
from fer_utils.plots.style import COLUMN_WIDTH, PAGE_WIDTH, new_figure, style

KINDS = {"exact": "#0072B2", "near": "#E69F00"}
_LABELS = {"exact": "same pixels", "near": "near-duplicate only"}


def plot_weights(weights: pd.DataFrame, effective: float, ax: Axes) -> Axes:
    """Class weights (Equation 6), on a logarithmic axis, and what they do to the size of the sample.

    Args:
        weights: `expression`, `images`, `weight`, a row a class (`fer_utils.audit.Audit.weights`).
        effective: images that, equally weighted, say as much as the weighted sample.
        ax: where to draw.

    >>> weights = pd.DataFrame({"expression": EXPRESSIONS, "images": 10, "weight": 1.0})
    >>> plot_weights(weights, 80, new_figure().subplots()).texts[-1].get_text()
    'effective sample: 80 of 80 images (100 %)'
    """
    present = weights[weights["weight"] > 0]
    places = np.array([EXPRESSIONS.index(name) for name in present["expression"]], dtype=int)
    for place, name, weight in zip(places, present["expression"], present["weight"], strict=True):
        ax.plot([place, place], [weight, 1], color=COLORS[name], linewidth=0.8)
        ax.plot(place, weight, "o", color=COLORS[name])
        ax.annotate(
            f"{weight:.2g}", (place, weight), (0, -4), textcoords="offset points", ha="center", va="top", size=6.5
        )
    ax.set_yscale("log")
    ax.set_ylim(present["weight"].min() / 2.5 if len(present) else 0.1, 1.6)
    ax.axhline(1, color="black", linewidth=0.6)
    ax.set_ylabel("weight $W_c = N_{min}/N_c$")
    ax.set_xticks(range(NUM_CLASSES), EXPRESSIONS, rotation=35, ha="right", rotation_mode="anchor")
    ax.set_xlim(-0.6, NUM_CLASSES - 0.4)
    ax.tick_params(axis="x", length=0)
    total = int(weights["images"].sum())
    share = f" ({effective / total:.0%})".replace("%", " %") if total else ""
    text = f"effective sample: {effective:,.0f} of {total:,} images{share}"
    ax.text(1, 1.02, text, transform=ax.transAxes, ha="right", va="bottom", fontsize=7)
    return ax


@style()
def figure_weights(weights: pd.DataFrame, effective: float) -> Figure:
    """`plot_weights` at column width.

    >>> weights = pd.DataFrame({"expression": EXPRESSIONS, "images": 10, "weight": 1.0})
    >>> figure_weights(weights, 80).axes[0].get_yscale()
    'log'
    """
    figure = new_figure(COLUMN_WIDTH, 2.3)
    plot_weights(weights, effective, figure.subplots())
    return figure


def plot_duplicates(duplicates: pd.DataFrame, ax: Axes) -> Axes:
    """Images with a twin: the same pixels, or a near-duplicate and no exact one.

    Args:
        duplicates: `images` and `twins_in` (splits), `exact` and `near` (numbers), a row a pair of splits
            (`fer_utils.audit.Audit.duplicates`).
        ax: where to draw.

    >>> duplicates = pd.DataFrame({"images": ["test"], "twins_in": ["train"], "exact": [288], "near": [175]})
    >>> [int(bar.get_width()) for bar in plot_duplicates(duplicates, new_figure().subplots()).patches]
    [288, 175]
    """
    places = np.arange(len(duplicates))
    for shift, (kind, color) in zip((-0.2, 0.2), KINDS.items(), strict=True):
        hatch = "////" if kind == "near" else None
        counts = duplicates[kind].to_numpy()
        bars = ax.barh(places + shift, counts, 0.38, color=color, hatch=hatch, edgecolor="white", label=_LABELS[kind])
        ax.bar_label(bars, [f"{count:,}" for count in counts], fontsize=6.5, padding=1.5)
    pairs = zip(duplicates["images"], duplicates["twins_in"], strict=True)
    ax.set_yticks(places, [f"{one}, twin in {other}" if one != other else f"within {one}" for one, other in pairs])
    ax.invert_yaxis()
    ax.set_xlabel("images")
    ax.set_xlim(0, max(1.12 * duplicates[list(KINDS)].to_numpy().max(initial=0), 1))
    ax.tick_params(axis="y", length=0)
    ax.grid(False)
    ax.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, borderaxespad=0.2)
    return ax


@style()
def figure_duplicates(duplicates: pd.DataFrame) -> Figure:
    """`plot_duplicates` at column width.

    >>> duplicates = pd.DataFrame({"images": ["test"], "twins_in": ["test"], "exact": [2], "near": [0]})
    >>> figure_duplicates(duplicates).axes[0].get_yticklabels()[0].get_text()
    'within test'
    """
    figure = new_figure(COLUMN_WIDTH, 0.8 + 0.27 * len(duplicates))
    plot_duplicates(duplicates, figure.subplots())
    return figure


def plot_votes(votes, ax: Axes) -> Axes:
    """What taggers take the images of each label for: a confusion matrix of people.

    Args:
        votes: (8, 8) shares of votes summed over the images of each label (`fer_utils.audit.Audit.votes`).
        ax: where to draw.

    Raises:
        InputError: for another shape.

    >>> plot_votes(np.eye(8) * 5, new_figure().subplots()).get_xlabel()
    'votes (% of the row)'
    """
    plot_confusion(votes, ax, np.rint(np.sum(votes, axis=1)))
    ax.set_xlabel("votes (% of the row)")
    ax.set_ylabel("label (images)")
    return ax


@style()
def figure_agreement(votes, agreement: dict) -> Figure:
    """`plot_votes` at column width, headed by the agreement in numbers.

    Args:
        votes: as in `plot_votes`.
        agreement: `alpha`, `one_more_low` and `one_more_high` (`fer_utils.audit.agreement.measure_agreement`).

    >>> agreement = {"alpha": 0.617, "one_more_low": 0.801, "one_more_high": 0.814}
    >>> figure_agreement(np.eye(8), agreement).axes[0].get_title("left").split("; ")[0]
    "Krippendorff's α 0.62"
    """
    figure = new_figure(COLUMN_WIDTH, 3.3)
    ax = plot_votes(votes, figure.subplots())
    low, high = 100 * agreement["one_more_low"], 100 * agreement["one_more_high"]
    title = f"Krippendorff's α {agreement['alpha']:.2f}; best accuracy\nagainst one more tagger {low:.1f}–{high:.1f} %"
    ax.set_title(title, loc="left", fontsize=7, x=-0.3)
    return figure


@style()
def figure_mean_faces(mean_faces) -> Figure:
    """The mean face of each class at page width, to be looked at, not published: a mean of few shows them.

    Args:
        mean_faces: (8, H, W) grey levels 0–255, NaN for a class without images (`fer_utils.audit.Audit.mean_faces`).

    Raises:
        InputError: if no class has a face.

    >>> faces = np.full((8, 4, 4), 100.0)
    >>> len(figure_mean_faces(faces).axes[0].images)
    1
    """
    mean_faces = np.asarray(mean_faces, dtype=float)
    present = np.flatnonzero(np.isfinite(mean_faces).all(axis=(1, 2)))
    if len(present) == 0:
        raise InputError("expected the mean face of at least one class, found none; audit a manifest with expressions")
    figure = new_figure(PAGE_WIDTH, PAGE_WIDTH / NUM_CLASSES + 0.25)
    plot_samples(np.rint(mean_faces[present]).astype(np.uint8), present, figure.subplots(), per_class=1)
    return figure
