"""The look that all figures share."""

from pathlib import Path

import matplotlib.style
from matplotlib.figure import Figure

from fer_utils.plots.showing import ShownFigure

STYLE_FILE = Path(__file__).parents[1] / "fer.mplstyle"
COLUMN_WIDTH = 3.5  # inches
PAGE_WIDTH = 7.16

# Okabe & Ito's colour-blind-safe palette; the marker tells the losses apart without colour.
LOSS_COLORS = {
    "softmax": "#8C8C8C",
    "center_softmax": "#56B4E9",
    "weighted_softmax": "#009E73",
    "center_weighted_softmax": "#0072B2",
    "weighted_cluster": "#D55E00",
}
LOSS_MARKERS = {
    "softmax": "o",
    "center_softmax": "v",
    "weighted_softmax": "s",
    "center_weighted_softmax": "D",
    "weighted_cluster": "*",
}
MARKER_SCALE = {"*": 1.7, "D": 0.85}  # matplotlib's star looks small and its diamond large for their size


def style():
    """The project's style, alone (a user's own settings do not mix in), as context manager or decorator.

    >>> import matplotlib
    >>> with style():
    ...     matplotlib.rcParams["pdf.fonttype"]
    42
    """
    return matplotlib.style.context(STYLE_FILE, after_reset=True)


@style()
def new_figure(width: float = COLUMN_WIDTH, height: float = 2.4) -> Figure:
    """An empty figure in the project's style that pyplot does not know of.

    Args:
        width, height: inches, as printed.

    >>> new_figure(3.5, 2).get_size_inches().tolist()
    [3.5, 2.0]
    """
    return ShownFigure(figsize=(width, height))


def marker_size(loss: str, size: float = 4.0) -> float:
    """Size in points at which a loss's marker looks as large as the others.

    >>> marker_size("softmax"), marker_size("weighted_cluster")
    (4.0, 6.8)
    """
    return size * MARKER_SCALE.get(LOSS_MARKERS[loss], 1.0)
