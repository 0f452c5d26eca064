"""What the data look like: class counts and weights, samples, duplicates, annotators' votes."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fer_utils.core import COLORS, EXPRESSIONS, NUM_CLASSES, InputError, check_choice, paper
from fer_utils.report import style
from fer_utils.report.run_figures import plot_confusion

BAR_COLORS = [COLORS[name] for name in EXPRESSIONS]


def plot_class_counts(counts, ax: Axes, weights: bool = False) -> Axes:
    """Images of each class (8,), linear so that bars are as long as counts (Fig. 3).

    `weights`: those of Eq. 6 stand in the bars' labels.
    """
    counts = pd.Series(np.asarray(counts), index=EXPRESSIONS)
    bars, least = (
        ax.bar(range(NUM_CLASSES), counts, color=BAR_COLORS, width=0.75),
        counts.replace(0, np.nan).min(),
    )
    labels = [f"{n:,}" + (f"\nW = {least / n:.2g}" if weights and n else "") for n in counts]
    ax.bar_label(bars, labels, fontsize=6.5, padding=1.5)
    style.class_ticks(ax)
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
def figure_class_counts(counts: pd.DataFrame, split="train", published=False) -> Figure:
    """Class counts of one split, from `split`, `expression`, `images`, maybe beside the paper's."""
    check_choice("split", split, counts["split"].unique())
    rows = counts[counts["split"] == split].groupby("expression")["images"].max()
    figure = style.new_figure(style.PAGE if published else style.COLUMN, 2.3)
    ours, *theirs = figure.subplots(1, 1 + published, squeeze=False)[0]
    plot_class_counts(rows.reindex(EXPRESSIONS, fill_value=0), ours)
    for ax in theirs:
        ours.set_title("(a) this study")
        plot_class_counts(paper.TRAINING_COUNTS, ax).set_title("(b) the paper, AffectNet")
    return figure


@style.applied()
def figure_samples(images, labels, per_class: int = 4) -> Figure:
    """Sample images, uint8 (N, H, W, 3) or (N, H, W), a column a class (Fig. 2)."""
    figure = style.new_figure(style.PAGE, style.PAGE / NUM_CLASSES * per_class + 0.25)
    ax = figure.subplots()
    middles = _show_groups(images, labels, range(NUM_CLASSES), per_class, ax, columns=True)
    ax.set_xticks(middles, EXPRESSIONS)
    ax.tick_params(axis="x", labeltop=True, labelbottom=False, labelsize=8, pad=1)
    return figure


@style.applied()
def figure_identities(images, subjects, per_person: int = 8) -> Figure:
    """Sample people, a row each, in the order of their first image (Fig. 4)."""
    people = list(dict.fromkeys(np.asarray(subjects).tolist()))
    names = 0.1 + 0.065 * max(len(str(person)) for person in people)  # inches
    figure = style.new_figure(style.PAGE, (style.PAGE - names) / per_person * len(people) + 0.05)
    ax = figure.subplots()
    middles = _show_groups(images, subjects, people, per_person, ax, columns=False)
    ax.set_yticks(middles, map(str, people))
    return figure


def _show_groups(images, groups, order, most: int, ax: Axes, columns: bool) -> np.ndarray:
    """Show the first images of each group as a column or row; returns the groups' middles."""
    images, groups, places, shown = check_images(images, len(groups)), np.asarray(groups), [], []
    for place, group in enumerate(order):
        own = np.flatnonzero(groups == group)[:most]
        places += [(turn, place) if columns else (place, turn) for turn in range(len(own))]
        shown += own.tolist()
    gap = max(1, images.shape[2] // 24)
    shape = (most, len(order)) if columns else (len(order), most)
    sheet = tile(images[shown], places, shape, gap, gap)
    ax.imshow(sheet)
    ax.set(xticks=[], yticks=[])
    style.hide_frame(ax)
    return (np.arange(len(order)) + 0.49) * sheet.shape[columns] / len(order)


def check_images(images, texts: int) -> np.ndarray:
    """Images as (N, H, W, 3) uint8; `InputError` for anything else, or not one text each."""
    images = np.asarray(images)
    if images.dtype != np.uint8 or images.ndim not in (3, 4) or len(images) != texts:
        found = f"{images.dtype} {images.shape} and {texts} texts"
        raise InputError(
            f"expected uint8 images (N, H, W, 3) or (N, H, W) and N texts, found {found}"
        )
    return np.repeat(images[..., None], 3, axis=-1) if images.ndim == 3 else images


def tile(images, places, shape: tuple[int, int], right: int, below: int) -> np.ndarray:
    """One white picture of `shape` (rows, columns) with images at their (row, column) places."""
    (height, width), (rows, columns) = images.shape[1:3], shape
    step_y, step_x = height + below, width + right
    sheet = np.full((rows * step_y, columns * step_x - right, 3), 255, np.uint8)
    for image, (row, column) in zip(images, places, strict=True):
        sheet[row * step_y :, column * step_x :][:height, :width] = image
    return sheet


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
    ax.tick_params(axis="y", length=0)
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
