"""The look that all figures share, and the only place that writes one."""

import math
from pathlib import Path

import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from fer_utils.core import atomic_write

STYLE_FILE = Path(__file__).parent / "style.mplstyle"
COLUMN, PAGE = 3.5, 7.16  # inches
DPI = 200  # of PNG files
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


def applied():
    """The project's style, without a user's own settings: a context manager or decorator."""
    return matplotlib.style.context(STYLE_FILE, after_reset=True)


def new_figure(width: float = COLUMN, height: float = 2.4, layout: str = "constrained") -> Figure:
    """An empty figure that pyplot does not know, in inches; without `layout` it is drawn faster."""
    return Figure(figsize=(width, height), layout=layout)


def new_panels(count: int, height: float, single: float, lines: int = 0, columns: int = 2):
    """A figure of panels, `columns` in a row, with room below for a legend of so many lines."""
    rows, columns = math.ceil(count / columns), min(count, columns)
    figure = new_figure(single if columns == 1 else PAGE, height * rows + 0.16 * lines + 0.15)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for unused in axes[count:]:
        unused.remove()
    return figure, axes[:count]


@applied()
def draw(plot, *data, size=(COLUMN, 2.4), title: str = "", **options) -> Figure:
    """Any `plot_…` function, called with `data`, an Axes and `options`, as a figure of its own."""
    figure = new_figure(*size)
    plot(*data, figure.subplots(), **options)
    figure.suptitle(title, x=0.01, ha="left")
    return figure


@applied()
def save_figure(figure: Figure, path: Path, dpi: int = DPI) -> Path:
    """Write a PNG file, with a palette, which is a third of the bytes; always the same bytes."""
    figure.set_dpi(dpi)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    figure.set_layout_engine("none")  # it is laid out now, and to do so takes longest of all
    picture = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    ninth = picture.resize([side // 3 for side in picture.size], Image.Resampling.NEAREST)
    picture = picture.quantize(palette=ninth.quantize())  # of all pixels it would take four times
    colors = np.reshape(picture.getpalette(), (-1, 3))
    colors[colors.min(axis=1) > 248] = 255  # white paper stays white
    picture.putpalette(colors.ravel().tolist())
    with atomic_write(path) as unfinished:
        picture.save(unfinished, "PNG")
    return path


@applied()
def save_pages(figures: list[Figure], path: Path) -> None:
    """Write figures into one PDF, a page each: fonts, which take seconds, are embedded once."""
    from matplotlib.backends import backend_pdf  # here: it takes a second to load

    no_dates = dict.fromkeys(("CreationDate", "Creator", "Producer"))  # the same bytes each time
    with atomic_write(path) as new, backend_pdf.PdfPages(new, metadata=no_dates) as pages:
        for figure in figures:
            backend_pdf.FigureCanvasPdf(figure).print_pdf(pages)  # `savefig` would draw twice


def hide_frame(ax: Axes) -> None:
    """Leave pictures and cells without spines, grid and marks of the ticks."""
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)
    ax.grid(False)
