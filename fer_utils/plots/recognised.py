"""Faces recognised in pictures: the boxes, the eight probabilities, and what the network looked at."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from fer_utils.errors import InputError
from fer_utils.expressions import COLORS, EXPRESSIONS, NUM_CLASSES
from fer_utils.plots.overlay import plot_overlay
from fer_utils.plots.style import PAGE_WIDTH, new_figure, style

ROW_HEIGHT = 1.25  # inches a face


def plot_boxes(ax: Axes, image: np.ndarray, boxes, numbers=None, chosen: int | None = None) -> Axes:
    """A picture with its faces framed and numbered.

    Args:
        ax: where to draw.
        image: uint8 (H, W, 3).
        boxes: (N, 4) x, y, width, height in the image's pixels.
        numbers: (N,) what to write at each; default 1 … N.
        chosen: number of the face to draw with a thick frame.

    >>> ax = plot_boxes(new_figure().subplots(), np.zeros((80, 100, 3), np.uint8), [[10, 20, 30, 40]])
    >>> [float(side) for side in ax.patches[0].get_bbox().bounds], ax.texts[0].get_text()
    ([10.0, 20.0, 30.0, 40.0], '1')
    """
    height, width = image.shape[:2]
    ax.imshow(image)
    for number, (x, y, *size) in zip(numbers if numbers is not None else range(1, len(boxes) + 1), boxes, strict=True):
        for color, line in (("black", 2.2), ("white", 1.0)):  # seen on any picture
            ax.add_patch(Rectangle((x, y), *size, fill=False, edgecolor=color, linewidth=line + (number == chosen)))
        ax.annotate(
            str(number), (min(max(x, 0), width), min(max(y, 0), height)), fontsize=6, color="white", va="top",
            bbox={"facecolor": "black", "linewidth": 0, "pad": 1.2}, annotation_clip=False,
        )  # fmt: skip
    ax.set(xticks=[], yticks=[], xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
    ax.spines[:].set_visible(False)
    ax.grid(False)
    return ax


def plot_probabilities(ax: Axes, probabilities) -> Axes:
    """The eight probabilities of one face as bars, each with its value.

    Args:
        ax: where to draw.
        probabilities: (8,) in the order of `EXPRESSIONS`, 0–1.

    Raises:
        InputError: for another shape.

    >>> ax = plot_probabilities(new_figure().subplots(), [0.5, 0.5, 0, 0, 0, 0, 0, 0])
    >>> float(ax.patches[0].get_width())
    50.0
    """
    percent = 100 * np.asarray(probabilities, dtype=float)
    if percent.shape != (NUM_CLASSES,):
        raise InputError(f"expected 8 probabilities, found shape {percent.shape}")
    bars = ax.barh(EXPRESSIONS, percent, color=[COLORS[name] for name in EXPRESSIONS], height=0.75)
    ax.bar_label(bars, [f"{value:.0f}" for value in percent], fontsize=6, padding=1.5)
    ax.set(xlim=(0, 112), xticks=[0, 50, 100])
    ax.set_xlabel("probability (%)", fontsize=6.5, labelpad=1)
    ax.tick_params(labelsize=6, length=0, pad=1.5)
    ax.invert_yaxis()
    ax.grid(False)
    return ax


@style()
def figure_picture(image: np.ndarray, boxes, scale: float = 1.0, title: str = "") -> Figure:
    """`plot_boxes` as a figure of the picture's shape.

    Args:
        image: uint8 (H, W, 3).
        boxes: (N, 4), in pixels of the picture that `image` is a smaller copy of.
        scale: pixels of `image` to one of the picture.
        title: above it.

    >>> figure = figure_picture(np.zeros((80, 100, 3), np.uint8), [[20, 40, 60, 80]], 0.5)
    >>> float(figure.axes[0].patches[0].get_width())
    30.0
    """
    height, width = image.shape[:2]
    inches = min(4.6, 4.0 * width / height)
    figure = new_figure(max(1.5, inches), max(0.8, inches * height / width + 0.25))
    ax = plot_boxes(figure.subplots(), image, _scaled(boxes, scale))
    ax.set_title(title, fontsize=7)
    return figure


@style()
def figure_face(crop: np.ndarray, probabilities, heatmap=None, title: str = "") -> Figure:
    """One face as the network saw it, its Grad-CAM, and the eight probabilities.

    Args:
        crop: uint8 (S, S, 3).
        probabilities: (8,).
        heatmap: (S, S), 0–1, or None.
        title: above it.

    >>> len(figure_face(np.zeros((8, 8, 3), np.uint8), [1, 0, 0, 0, 0, 0, 0, 0]).axes)
    2
    """
    images = 1 if heatmap is None else 2
    figure = new_figure(1.15 * images + 1.7, ROW_HEIGHT + 0.2)
    axes = figure.subplots(1, images + 1, width_ratios=[1.15] * images + [1.5])
    _plot_face(axes, crop, probabilities, heatmap)
    axes[0].set_title(title, fontsize=7)
    return figure


@style()
def figure_recognised(pictures, most: int = 8) -> Figure:
    """Recognised faces, a row each: the picture (once), the face as the network saw it, Grad-CAM, the probabilities.

    Args:
        pictures: `recognising.Picture`, in order; those without faces are left out.
        most: faces; a title says how many more there are.

    Raises:
        InputError: where no picture has a face.
    """
    rows = [(picture, k) for picture in pictures for k in range(len(picture.faces))]
    if not rows:
        raise InputError("expected at least one face to draw, found none; name pictures with faces")
    shown = rows[:most]
    figure = new_figure(PAGE_WIDTH, ROW_HEIGHT * len(shown) + 0.25)
    grid = figure.subplots(len(shown), 4, squeeze=False, width_ratios=[2.2, 1, 1, 1.6])
    for row, (axes, (picture, k)) in enumerate(zip(grid, shown, strict=True), 1):
        face = picture.faces.iloc[k]
        if k == 0:
            boxes = picture.faces[["box_x", "box_y", "box_width", "box_height"]].to_numpy()
            plot_boxes(axes[0], picture.shown, _scaled(boxes, picture.scale))
            axes[0].set_title(_short(picture.path.name), fontsize=7)
        else:
            axes[0].axis("off")
        heatmap = None if picture.heatmaps is None else picture.heatmaps[k]
        _plot_face(axes[1:], picture.crops[k], face[[f"p_{name}" for name in EXPRESSIONS]].to_numpy(float), heatmap)
        if row < len(shown):
            axes[-1].set_xlabel("")
        axes[1].set_title(f"{face['face']}: {face['label']}", fontsize=7)
    more = f", the first {len(shown)} of {len(rows)} faces" if len(rows) > len(shown) else ""
    figure.suptitle(f"Face as the network sees it, Grad-CAM of the likeliest class, probabilities{more}", fontsize=8,
                    x=0.01, ha="left")  # fmt: skip
    return figure


def _plot_face(axes, crop: np.ndarray, probabilities, heatmap) -> None:
    axes[0].imshow(crop)
    axes[0].set(xticks=[], yticks=[])
    axes[0].grid(False)
    axes[0].spines[:].set_visible(False)
    if heatmap is not None:
        plot_overlay(axes[1], crop, heatmap)
    elif len(axes) > 2:
        axes[1].axis("off")
    plot_probabilities(axes[-1], probabilities)


def _scaled(boxes, scale: float) -> np.ndarray:
    return scale * np.asarray(boxes, dtype=float).reshape(-1, 4)


def _short(name: str) -> str:
    return name if len(name) <= 32 else f"{name[:15]}…{name[-16:]}"
