"""Faces, and what is to be said about each: galleries, Grad-CAM, boxes, probabilities, video."""

import math

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from fer_utils.core import COLORS, EXPRESSIONS, NUM_CLASSES, InputError
from fer_utils.report import style
from fer_utils.report.data_figures import BAR_COLORS, check_images, tile
from fer_utils.report.run_figures import ASIDE

TEXT_LINE = 0.13  # inches
DIMMED = 0.8  # of the image under a heatmap: a bright face would outshine it


def plot_picture(image, ax: Axes) -> Axes:
    """An image as it is, without ticks."""
    ax.imshow(image, cmap="gray", vmin=0, vmax=255)
    ax.set(xticks=[], yticks=[])
    style.hide_frame(ax)
    return ax


@style.applied()
def figure_gallery(images, captions, title: str = "", columns: int = 8) -> Figure:
    """Images, uint8 (N, H, W, 3) or (N, H, W), in rows, captions beneath; fast, for a slider."""
    figure = style.new_figure(style.PAGE, 0.3, "none")
    figure.suptitle(title, x=0.01, y=0.995, ha="left")
    ax = figure.add_axes((0, 0, 1, 1))  # without one, a notebook shows no figure
    ax.set_axis_off()
    if not len(images):
        return figure
    images = check_images(images, len(captions))
    _, height, width, _ = images.shape
    rows, gap = math.ceil(len(images) / columns), max(1, width // 8)
    pixel = 0.98 * style.PAGE / (columns * (width + gap) - gap)  # inches
    lines = max(caption.count("\n") + 1 for caption in captions)
    below = round((lines + 0.55) * TEXT_LINE / pixel)
    places = [divmod(place, columns) for place in range(len(images))]
    inches = rows * (height + below) * pixel
    figure.set_size_inches(style.PAGE, inches + 0.25)
    ax.set_position((0.01, 0, 0.98, inches / (inches + 0.25)))
    ax.imshow(tile(images, places, (rows, columns), gap, below))
    for (row, column), caption in zip(places, captions, strict=True):
        bottom = (row + 1) * (height + below) - 0.7 * TEXT_LINE / pixel
        ax.text(column * (width + gap) - 0.5, bottom, caption, fontsize=7, linespacing=1.1)
    return figure


def overlay(image, heatmap) -> np.ndarray:
    """A Grad-CAM heatmap (H, W), 0–1, over its image in grey; white surrounds its stronger half."""
    image, heatmap = np.asarray(image), np.asarray(heatmap, dtype=float)
    if heatmap.shape != image.shape[:2] or not (heatmap.min() >= 0 and heatmap.max() <= 1):
        found = f"{heatmap.shape} with values {heatmap.min():.3g} to {heatmap.max():.3g}"
        raise InputError(f"expected a heatmap {image.shape[:2]} from 0 to 1, found {found}")
    grey = image if image.ndim == 2 else image.mean(axis=2)
    heat, weight = matplotlib.colormaps["inferno"](heatmap)[..., :3], 0.65 * heatmap[..., None]
    mixed = weight * 255 * heat + (1 - weight) * DIMMED * grey[..., None]
    strong = np.pad(heatmap > 0.5, 1, mode="edge")
    around = strong[:-2, 1:-1] & strong[2:, 1:-1] & strong[1:-1, :-2] & strong[1:-1, 2:]
    mixed[strong[1:-1, 1:-1] & ~around] = 255
    return mixed.round().astype(np.uint8)


def figure_overlays(images, heatmaps, captions, columns: int = 8) -> Figure:
    """Images, each above itself under its heatmap, and captions beneath."""
    images = check_images(images, len(captions))
    heated = [overlay(*pair) for pair in zip(images, heatmaps, strict=True)]
    return figure_gallery(np.concatenate([images, heated], axis=1), captions, columns=columns)


def plot_boxes(image, boxes, ax: Axes, names=None, chosen: int | None = None) -> Axes:
    """A picture with its faces framed and named; boxes (N, 4) are x, y, width, height."""
    height, width = image.shape[:2]
    plot_picture(image, ax)
    names = range(1, len(boxes) + 1) if names is None else names
    for place, (name, (x, y, *size)) in enumerate(zip(names, boxes, strict=True)):
        for color, line in (("black", 2.2), ("white", 1.0)):  # seen on any picture
            look = {"edgecolor": color, "linewidth": line + (place == chosen)}
            ax.add_patch(Rectangle((x, y), *size, fill=False, **look))
        corner = min(max(x, 0), width), min(max(y, 0), height)
        look = {"bbox": {"facecolor": "black", "linewidth": 0, "pad": 1.2}, "color": "white"}
        ax.annotate(str(name), corner, va="top", fontsize=6, annotation_clip=False, **look)
    ax.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
    return ax


def plot_probabilities(probabilities, ax: Axes) -> Axes:
    """The eight probabilities of one face as bars, each with its value in per cent."""
    percent = 100 * np.asarray(probabilities, dtype=float)
    if percent.shape != (NUM_CLASSES,):
        raise InputError(f"expected {NUM_CLASSES} probabilities, found shape {percent.shape}")
    bars = ax.barh(EXPRESSIONS, percent, color=BAR_COLORS, height=0.75)
    ax.bar_label(bars, fmt="{:.0f}", fontsize=6, padding=1.5)
    ax.set(xlim=(0, 120), xticks=[])
    ax.tick_params(labelsize=6, pad=1.5)
    ax.invert_yaxis()
    style.hide_frame(ax)
    return ax


@style.applied()
def figure_cards(crops, probabilities, titles, heatmaps=None, columns: int = 3) -> Figure:
    """Recognised faces as cards: crops (S, S, 3), maybe heatmaps (S, S), probabilities (N, 8)."""
    check_images(crops, len(titles))
    columns = min(columns, len(crops))
    rows, pictures = math.ceil(len(crops) / columns), 1 if heatmaps is None else 2
    card = style.PAGE / max(columns, 2)  # inches
    figure = style.new_figure(card * columns, rows * (card / (pictures + 1.15) + 0.22))
    cards = figure.subfigures(rows, columns, squeeze=False).ravel()
    for place, (crop, row, title) in enumerate(zip(crops, probabilities, titles, strict=True)):
        axes = cards[place].subplots(1, pictures + 1, width_ratios=[1] * pictures + [0.8])
        plot_picture(crop, axes[0]).set_title(title, fontsize=7, weight="bold")
        if heatmaps is not None:
            plot_picture(overlay(crop, heatmaps[place]), axes[1])
        plot_probabilities(row, axes[-1])
    return figure


def plot_expressions(seconds, probabilities, ax: Axes) -> Axes:
    """Probabilities (T, 8) of one face over the (T,) `seconds` of a video; NaN leaves a gap."""
    percent = 100 * np.asarray(probabilities, dtype=float)
    for label, name in enumerate(EXPRESSIONS):
        look = {"color": COLORS[name], "dashes": style.CLASS_DASHES[label]}
        ax.plot(seconds, percent[:, label], label=name, **look)
    ax.set(xlabel="time (s)", ylabel="probability (%)", ylim=(-2, 102))
    ax.margins(x=0)
    ax.legend(handlelength=3, **ASIDE)
    return ax
