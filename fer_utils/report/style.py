"""The look that all figures share, and the only place that writes one."""

import math
from pathlib import Path

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.backends.backend_pdf import PdfPages
from matplotlib.figure import Figure

from fer_utils.core import EXPRESSIONS, NUM_CLASSES, atomic_write

STYLE_FILE = Path(__file__).parent / "style.mplstyle"
COLUMN, PAGE = 3.5, 7.16  # inches
GREY, BLUE, ORANGE, YELLOW = "#8C8C8C", "#0072B2", "#D55E00", "#E69F00"
SKY, GREEN, PINK, BROWN = "#56B4E9", "#009E73", "#CC79A7", "#A6761D"
# Markers and dashes tell losses and classes apart without colour.
LOSS_LOOKS = {
    "softmax": (GREY, "o"),
    "center_softmax": (SKY, "v"),
    "weighted_softmax": (GREEN, "s"),
    "center_weighted_softmax": (BLUE, "D"),
    "weighted_cluster": (ORANGE, "*"),
}
OTHER_COLORS, OTHER_MARKERS = (PINK, YELLOW, "black", BROWN, SKY, "#666666"), "PX^h<>p"
CLASS_MARKERS = "osD^v<>X"
CLASS_DASHES = (
    (), (6, 1.5), (2, 1), (4, 1, 1, 1), (1, 1), (8, 1.5, 2, 1.5), (4, 1, 1, 1, 1, 1), (3, 2.5),
)  # fmt: skip
# Without dates and version numbers the same figure is the same bytes.
_METADATA = {"png": {"Software": None}}
_METADATA["pdf"] = dict.fromkeys(("CreationDate", "Creator", "Producer"))


def applied():
    """The project's style, without a user's own settings: a context manager or decorator."""
    return matplotlib.style.context(STYLE_FILE, after_reset=True)


@applied()
def new_figure(width: float = COLUMN, height: float = 2.4, layout: str = "constrained") -> Figure:
    """An empty figure that pyplot does not know, in inches; without `layout` it is drawn faster."""
    return Figure(figsize=(width, height), layout=layout)


@applied()
def new_panels(count: int, height: float, single: float, lines: int = 0, columns: int = 2):
    """A figure of panels, `columns` in a row, with room below for a legend of so many lines."""
    rows, columns = math.ceil(count / columns), min(count, columns)
    figure = new_figure(single if columns == 1 else PAGE, height * rows + 0.16 * lines + 0.15)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for ax in axes[count:]:
        ax.remove()
    return figure, axes[:count]


@applied()
def draw(plot, *data, size=(COLUMN, 2.4), title: str = "", **options) -> Figure:
    """Any `plot_…` function, called with `data`, an Axes and `options`, as a figure of its own."""
    figure = new_figure(*size)
    plot(*data, figure.subplots(), **options)
    figure.suptitle(title, x=0.01, ha="left")
    return figure


@applied()
def save_figure(figure: Figure, path, suffixes=("png", "pdf")) -> list[Path]:
    """Write `<path>.png` and `<path>.pdf`: whole or not at all, and always the same bytes."""
    paths = [Path(f"{path}.{suffix}") for suffix in suffixes]
    for final in paths:
        with atomic_write(final) as unfinished:
            figure.savefig(unfinished, metadata=_METADATA[final.suffix[1:]])
        figure.set_layout_engine("none")  # it is laid out now, and to do so takes longest of all
    return paths


@applied()
def save_pages(figures: list[Figure], path: Path) -> None:
    """Write figures into one PDF, a page each: fonts, which take seconds, are embedded once."""
    with atomic_write(path) as unfinished, PdfPages(unfinished, metadata=_METADATA["pdf"]) as pages:
        for figure in figures:
            pages.savefig(figure)


def hide_frame(ax: Axes) -> None:
    """Leave pictures and cells without spines, grid and marks of the ticks."""
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)
    ax.grid(False)


def class_ticks(ax: Axes) -> None:
    """Write the expressions along the x axis, slanted."""
    slanted = {"rotation": 40, "ha": "right", "rotation_mode": "anchor"}
    ax.set_xticks(range(NUM_CLASSES), EXPRESSIONS, **slanted)
    ax.tick_params(axis="x", length=0)


def show_cells(ax: Axes, values, texts, white, **options) -> None:
    """An 8 × 8 image with a text in each cell, bold on the diagonal, white where `white`."""
    ax.imshow(values, vmin=0, **options)
    for row in range(NUM_CLASSES):
        for column in range(NUM_CLASSES):
            look = {"color": "white" if white[row][column] else "black", "ha": "center"}
            look["weight"] = "bold" if row == column else "normal"
            ax.text(column, row, texts[row][column], fontsize=6.5, va="center", **look)
    class_ticks(ax)
    ax.set_yticks(range(NUM_CLASSES), EXPRESSIONS)
    hide_frame(ax)
