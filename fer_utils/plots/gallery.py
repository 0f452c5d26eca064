"""Pictures with what is to be said about each: mistakes, the images of a confusion cell, Grad-CAM beside its image."""

import math

import numpy as np
from matplotlib.figure import Figure

from fer_utils.errors import InputError
from fer_utils.plots.overlay import plot_overlay
from fer_utils.plots.style import PAGE_WIDTH, new_figure, style

TEXT_LINE = 0.13  # inches


@style()
def figure_gallery(images, captions, title: str = "", columns: int = 8) -> Figure:
    """Images in rows, a caption beneath each; drawn as one picture, so that it follows a slider.

    Args:
        images: (N, H, W, 3) or grey (N, H, W) uint8; none at all leave the title alone.
        captions: N strings of one or two lines of about 17 characters.
        title: above all.
        columns: images in a row.

    Raises:
        InputError: for other images, or not a caption each.

    >>> figure = figure_gallery(np.zeros((9, 16, 16, 3), np.uint8), [f"image {k}" for k in range(9)], "nine")
    >>> figure.axes[0].images[0].get_array().shape, figure.axes[0].texts[8].get_text()
    ((40, 142, 3), 'image 8')
    """
    images = np.asarray(images)
    if len(images) != len(captions):
        raise InputError(f"expected a caption an image, found {len(captions)} captions and {len(images)} images")
    if not len(images):
        figure = new_figure(PAGE_WIDTH, 0.4)
        figure.suptitle(title, fontsize=8, x=0.01, ha="left")
        return figure
    if images.dtype != np.uint8 or images.ndim not in (3, 4):
        raise InputError(f"expected uint8 images (N, H, W, 3) or (N, H, W), found {images.dtype} {images.shape}")
    images = np.repeat(images[..., None], 3, axis=-1) if images.ndim == 3 else images
    _, height, width, _ = images.shape
    rows = math.ceil(len(images) / columns)
    gap = max(1, width // 8)
    pixel = 0.98 * PAGE_WIDTH / (columns * (width + gap) - gap)  # inches
    lines = max(caption.count("\n") + 1 for caption in captions)
    step_y, step_x = height + round((lines + 0.55) * TEXT_LINE / pixel), width + gap
    sheet = np.full((rows * step_y, columns * step_x - gap, 3), 255, np.uint8)
    height_inches = rows * step_y * pixel
    figure = new_figure(PAGE_WIDTH, height_inches + 0.25)
    figure.set_layout_engine("none")  # which measures every caption, and a slider's move would wait for it
    ax = figure.add_axes((0.01, 0, 0.98, height_inches / (height_inches + 0.25)))
    for place, (image, caption) in enumerate(zip(images, captions, strict=True)):
        top, left = place // columns * step_y, place % columns * step_x
        sheet[top:, left:][:height, :width] = image
        ax.text(left - 0.5, top + step_y - 0.7 * TEXT_LINE / pixel, caption, fontsize=7, linespacing=1.1)
    ax.imshow(sheet)
    ax.set_axis_off()
    figure.suptitle(title, fontsize=8, x=0.01, y=0.99, ha="left")
    return figure


@style()
def figure_overlays(images, heatmaps, captions, columns: int = 8) -> Figure:
    """Images, each with its heatmap over it beneath, and captions.

    Args:
        images: (N, H, W, 3) or grey (N, H, W) uint8.
        heatmaps: (N, H, W), 0–1.
        captions: N strings.
        columns: images in a row.

    Raises:
        InputError: unless there are as many of each, one at least.

    >>> figure = figure_overlays(np.zeros((2, 8, 8), np.uint8), np.zeros((2, 8, 8)), ["a", "b"])
    >>> [ax.get_title("left") for ax in figure.axes[:2]]
    ['a', 'b']
    """
    if not len(images) == len(heatmaps) == len(captions) > 0:
        raise InputError(
            f"expected as many of each, one at least, found {len(images)} images, {len(heatmaps)} heatmaps and "
            f"{len(captions)} captions"
        )
    columns = min(columns, len(images))
    rows = math.ceil(len(images) / columns)
    lines = max(caption.count("\n") + 1 for caption in captions)
    side = PAGE_WIDTH / max(columns, 6)
    figure = new_figure(side * columns, rows * (2 * side + lines * TEXT_LINE))
    axes = figure.subplots(2 * rows, columns, squeeze=False)
    for place, (image, heatmap, caption) in enumerate(zip(images, heatmaps, captions, strict=True)):
        above, below = axes[place // columns * 2 : place // columns * 2 + 2, place % columns]
        above.imshow(image, cmap="gray", vmin=0, vmax=255)
        above.set_title(caption, fontsize=7, linespacing=1.1)
        plot_overlay(below, image, heatmap)
    for ax in axes.ravel():
        ax.set_axis_off()
    return figure
