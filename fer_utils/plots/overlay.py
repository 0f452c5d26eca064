"""A heatmap over the image that it explains."""

import numpy as np
from matplotlib.axes import Axes

from fer_utils.errors import InputError

HEAT = "inferno"
DIMMED = 320  # the grey value drawn white: a bright face would outshine the map


def plot_overlay(ax: Axes, image, heatmap) -> Axes:
    """Lay a Grad-CAM heatmap over its image: grey where nothing speaks for the class, bright where most does.

    The line surrounds what is at least half of the map's strongest, for readers without colour.

    Args:
        ax: where to draw.
        image: (H, W, 3) or grey (H, W) uint8.
        heatmap: (H, W), 0–1, of the same size (`fer_utils.explaining.grad_cam`).

    Raises:
        InputError: for another shape, dtype or range.

    >>> from fer_utils.plots.style import new_figure
    >>> ax = plot_overlay(new_figure().subplots(), np.zeros((8, 8, 3), np.uint8), np.ones((8, 8)))
    >>> [picture.get_array().shape for picture in ax.images]
    [(8, 8), (8, 8)]
    """
    image, heatmap = np.asarray(image), np.asarray(heatmap, dtype=float)
    if image.dtype != np.uint8 or image.ndim not in (2, 3):
        raise InputError(f"expected a uint8 image (H, W, 3) or (H, W), found {image.dtype} {image.shape}")
    if heatmap.shape != image.shape[:2] or not (heatmap.min() >= 0 and heatmap.max() <= 1):
        raise InputError(
            f"expected a heatmap from 0 to 1 of the image's size {image.shape[:2]}, found {heatmap.shape} with values "
            f"{heatmap.min():.3g} to {heatmap.max():.3g}"
        )
    ax.imshow(image if image.ndim == 2 else image.mean(axis=2), cmap="gray", vmin=0, vmax=DIMMED)
    ax.imshow(heatmap, cmap=HEAT, vmin=0, vmax=1, alpha=0.65 * heatmap)
    if heatmap.max() > 0.5 > heatmap.min():
        ax.contour(heatmap, [0.5], colors="white", linewidths=0.8)
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
    ax.grid(False)
    return ax
