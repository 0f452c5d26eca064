"""Figures 2, 3 and 4: sample images, class counts and sample identities."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from fer_utils.errors import InputError
from fer_utils.expressions import COLORS, EXPRESSIONS, NUM_CLASSES
from fer_utils.plots.style import COLUMN_WIDTH, PAGE_WIDTH, new_figure, style


def plot_class_counts(counts, ax: Axes) -> Axes:
    """Images per class (Figure 3), on a linear axis so that bars are as long as counts, each count printed.

    Args:
        counts: (8,) images per class in the order of `EXPRESSIONS`.
        ax: where to draw.

    Raises:
        InputError: for another number of classes.

    >>> from fer_utils.paper import TRAINING_COUNTS
    >>> ax = plot_class_counts(TRAINING_COUNTS, new_figure().subplots())
    >>> int(ax.patches[1].get_height())
    133915
    """
    counts = np.asarray(counts)
    if counts.shape != (NUM_CLASSES,):
        raise InputError(f"expected 8 class counts, found shape {counts.shape}")
    bars = ax.bar(EXPRESSIONS, counts, color=[COLORS[name] for name in EXPRESSIONS], width=0.75)
    ax.bar_label(bars, [f"{count:,}" for count in counts], fontsize=6.5, padding=1.5)
    ax.set_ylabel("images")
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    room = 1.1 if counts[NUM_CLASSES // 2 :].max() < 0.8 * counts.max() else 1.35  # for the text at the right
    ax.set_ylim(0, max(room * counts.max(), 1))
    ax.grid(False)
    ax.tick_params(axis="x", length=0, rotation=35)
    for label in ax.get_xticklabels():
        label.set(ha="right", rotation_mode="anchor")
    found = np.flatnonzero(counts)
    if len(found):
        most, least = found[counts[found].argmax()], found[counts[found].argmin()]
        ratio = f"{EXPRESSIONS[most]} : {EXPRESSIONS[least]} = {counts[most] / counts[least]:.1f} : 1"
        ax.text(1, 1, f"{counts.sum():,} images\n{ratio}", transform=ax.transAxes, ha="right", va="top", fontsize=7)
    return ax


@style()
def figure_class_counts(counts: pd.DataFrame, split: str = "train") -> Figure:
    """Figure 3 from a study's `counts.csv`.

    Args:
        counts: columns `split`, `expression`, `images`.
        split: which split to show.

    Raises:
        InputError: if the split has no rows.

    >>> counts = pd.DataFrame({"split": "train", "expression": EXPRESSIONS, "images": range(1, 9)})
    >>> len(figure_class_counts(counts).axes[0].patches)
    8
    """
    rows = counts[counts["split"] == split].set_index("expression")["images"]
    if rows.empty:
        raise InputError(f"expected counts of the {split} split, found {', '.join(counts['split'].unique()) or 'none'}")
    figure = new_figure(COLUMN_WIDTH, 2.3)
    plot_class_counts(rows.reindex(EXPRESSIONS, fill_value=0).to_numpy(), figure.subplots())
    return figure


def plot_samples(images, labels, ax: Axes, per_class: int = 4) -> Axes:
    """Sample images (Figure 2), a column a class.

    Args:
        images: (N, H, W, 3) or grey (N, H, W) uint8.
        labels: (N,) integers 0–7.
        ax: where to draw.
        per_class: images a column, the first of each class; too few leave a gap.

    Raises:
        InputError: for other shapes or dtypes, or unequal lengths.

    >>> images = np.zeros((8, 16, 16, 3), np.uint8)
    >>> plot_samples(images, range(8), new_figure().subplots(), per_class=1).images[0].get_array().shape
    (16, 135, 3)
    """
    centers = _show_grid(images, labels, range(NUM_CLASSES), per_class, ax, axis="x")
    ax.set_xticks(centers, EXPRESSIONS)
    ax.tick_params(axis="x", top=False, bottom=False, labeltop=True, labelbottom=False, labelsize=8, pad=1)
    ax.set_yticks([])
    return ax


@style()
def figure_samples(images, labels, per_class: int = 4) -> Figure:
    """Figure 2 at page width.

    Args:
        images, labels, per_class: as in `plot_samples`.

    >>> figure_samples(np.zeros((8, 16, 16), np.uint8), range(8), per_class=1).axes[0].get_xticklabels()[7].get_text()
    'contempt'
    """
    figure = new_figure(PAGE_WIDTH, PAGE_WIDTH / NUM_CLASSES * per_class + 0.25)
    plot_samples(images, labels, figure.subplots(), per_class)
    return figure


def plot_identities(images, subjects, ax: Axes, per_person: int = 8) -> Axes:
    """Sample identities (Figure 4), a row a person.

    Args:
        images: (N, H, W, 3) or grey (N, H, W) uint8.
        subjects: (N,) whose image each is; people are shown in the order of their first image.
        ax: where to draw.
        per_person: images a row, the first of each person; too few leave a gap.

    Raises:
        InputError: as `plot_samples`.

    >>> ax = plot_identities(np.zeros((3, 16, 16, 3), np.uint8), ["Ada", "Bo", "Bo"], new_figure().subplots(), 2)
    >>> [label.get_text() for label in ax.get_yticklabels()]
    ['Ada', 'Bo']
    """
    people = list(dict.fromkeys(np.asarray(subjects).tolist()))
    centers = _show_grid(images, subjects, people, per_person, ax, axis="y")
    ax.set_yticks(centers, [str(person) for person in people])
    ax.tick_params(axis="y", length=0)
    ax.set_xticks([])
    return ax


@style()
def figure_identities(images, subjects, per_person: int = 8) -> Figure:
    """Figure 4 at page width.

    Args:
        images, subjects, per_person: as in `plot_identities`.

    >>> images = np.zeros((4, 16, 16), np.uint8)
    >>> figure_identities(images, [7, 7, 9, 9], per_person=2).axes[0].get_yticklabels()[1].get_text()
    '9'
    """
    people = len(set(np.asarray(subjects).tolist()))
    longest = max(len(str(subject)) for subject in subjects)
    names = 0.1 + 0.065 * longest  # inches
    figure = new_figure(PAGE_WIDTH, (PAGE_WIDTH - names) / per_person * people + 0.05)
    plot_identities(images, subjects, figure.subplots(), per_person)
    return figure


def _show_grid(images, groups, order, most: int, ax: Axes, axis: str) -> np.ndarray:
    """Show the first `most` images of each group side by side, groups along `axis`; returns their middles there."""
    images, groups = np.asarray(images), np.asarray(groups)
    if images.dtype != np.uint8 or images.ndim not in (3, 4) or len(images) != len(groups):
        raise InputError(
            f"expected uint8 images (N, H, W, 3) or (N, H, W) and N labels, "
            f"found {images.dtype} {images.shape} and {len(groups)} labels"
        )
    if images.ndim == 3:
        images = np.repeat(images[..., None], 3, axis=-1)
    _, height, width, _ = images.shape
    gap = max(1, width // 24)
    step_y, step_x = height + gap, width + gap
    rows, columns = (most, len(order)) if axis == "x" else (len(order), most)
    sheet = np.full((rows * step_y - gap, columns * step_x - gap, 3), 255, np.uint8)
    for place, group in enumerate(order):
        for turn, image in enumerate(images[groups == group][:most]):
            row, column = (turn, place) if axis == "x" else (place, turn)
            sheet[row * step_y :, column * step_x :][:height, :width] = image
    ax.imshow(sheet)
    ax.spines[:].set_visible(False)
    ax.grid(False)
    step, size = (step_x, width) if axis == "x" else (step_y, height)
    return np.arange(len(order)) * step + (size - 1) / 2
