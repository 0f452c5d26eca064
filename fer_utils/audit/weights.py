"""The classes of the training split: their weights, what these do to the sample, and what their images look like."""

import numpy as np
import pandas as pd

from fer_utils.datasets.manifest import class_counts
from fer_utils.expressions import EXPRESSIONS


def class_table(manifest: pd.DataFrame, images: pd.DataFrame) -> pd.DataFrame:
    """A row a class.

    Args:
        manifest: a manifest.
        images: `fer_utils.audit.images.measure_images` of it.

    Returns:
        DataFrame: `expression`, `images` and `weight` of the training split (`weight_table`), and, over the readable
        images of all splits, `brightness` (mean grey level, 0–255) and `contrast` (mean standard deviation within an
        image).
    """
    pixels = images.groupby("label")[["mean", "std"]].mean().reindex(range(len(EXPRESSIONS)))
    return weight_table(class_counts(manifest, "train")).assign(brightness=pixels["mean"], contrast=pixels["std"])


def weight_table(counts) -> pd.DataFrame:
    """The weights of Eq. 6, W_c = N_min / N_c, N_min being the smallest class that has images; 0 for a class without.

    Args:
        counts: (8,) images per class.

    Returns:
        DataFrame, a row a class: `expression`, `images`, `weight`.

    Example:
        >>> weight_table([8, 0, 0, 0, 0, 0, 4, 2])["weight"].tolist()
        [0.25, 0.0, 0.0, 0.0, 0.0, 0.0, 0.5, 1.0]
    """
    counts = np.asarray(counts)
    smallest = counts[counts > 0].min(initial=counts.max())
    weights = np.divide(smallest, counts, out=np.zeros(len(counts)), where=counts > 0)
    return pd.DataFrame({"expression": EXPRESSIONS, "images": counts, "weight": weights})


def effective_images(counts) -> float:
    """Kish's effective sample size under the weights of Eq. 6: how many equally weighted images would say as much.

    (Σ w)² / Σ w² over the images, which with w = N_min / N_c is k² / Σ 1 / N_c for k classes: k times their harmonic
    mean. Small classes decide it.

    Args:
        counts: (8,) images per class; classes without images are left out.

    Returns:
        The effective number, at most Σ counts; NaN without images.

    Example:
        >>> from fer_utils.paper import TRAINING_COUNTS
        >>> round(effective_images(TRAINING_COUNTS)), sum(TRAINING_COUNTS)
        (66935, 283651)
    """
    counts = np.asarray(counts, dtype=float)
    counts = counts[counts > 0]
    return float(len(counts) ** 2 / (1 / counts).sum()) if len(counts) else float("nan")
