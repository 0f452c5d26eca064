"""Faces, and what is said about each; and the loss playground, whose sliders redraw it."""

import math
from collections.abc import Mapping

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from fer_utils.core import COLORS, EXPRESSIONS, NUM_CLASSES, InputError
from fer_utils.report import style
from fer_utils.report.charts import ASIDE, BAR_COLORS

ACROSS = 8  # pictures in a row of a gallery
TEXT_LINE = 0.13  # inches
DIMMED = 0.8  # of the image under a heatmap: a bright face would outshine it
# Of the playground: a side of the picture of decision regions, and how pale these are; most traces
# side by side; of a column, which is 1 wide, the width of its embedding and of a bar of 100 %.
REGION_PIXELS, PALENESS = 90, 0.82
MOST, WIDE, LONGEST = 6, 0.93, 0.75


@style.applied()
def figure_samples(images, labels, per_class: int = 4) -> Figure:
    """Sample images, uint8 (N, H, W, 3) or (N, H, W), a column a class (Fig. 2)."""
    figure = style.new_figure(style.PAGE, style.PAGE / NUM_CLASSES * per_class + 0.1)
    ax = figure.subplots()
    ax.set_xticks(_show_rows(images, labels, range(NUM_CLASSES), per_class, ax), EXPRESSIONS)
    ax.tick_params(axis="x", labeltop=True, labelbottom=False, labelsize=8, pad=1)
    return figure


@style.applied()
def figure_identities(images, subjects, per_person: int = 8) -> Figure:
    """Sample people, a row each, in the order of their first image (Fig. 4)."""
    people = list(dict.fromkeys(np.asarray(subjects).tolist()))
    names = 0.1 + 0.065 * max(len(str(person)) for person in people)  # inches
    figure = style.new_figure(style.PAGE, (style.PAGE - names) / per_person * len(people))
    ax = figure.subplots()
    ax.set_yticks(_show_rows(images, subjects, people, per_person, ax, across=True), people)
    return figure


def _show_rows(images, groups, order, most: int, ax: Axes, across=False) -> np.ndarray:
    """Show the first images of each group down a column or `across`; the groups' middles."""
    images, groups, shown, places = check_images(images, len(groups)), np.asarray(groups), [], []
    for place, group in enumerate(order):
        own = np.flatnonzero(groups == group)[:most]
        shown += own.tolist()
        places += [(place, turn) if across else (turn, place) for turn in range(len(own))]
    gap = max(1, images.shape[2] // 24)
    shape = (len(order), most) if across else (most, len(order))
    sheet = tile(images[shown], places, shape, gap, gap)[:-gap]
    plot_picture(sheet, ax)
    length = sheet.shape[0 if across else 1] + gap
    return (np.arange(len(order)) + 0.49) * length / len(order)


def check_images(images, texts: int) -> np.ndarray:
    """Images as (N, H, W, 3) uint8; `InputError` for anything else, or not one text each."""
    images = np.asarray(images)
    if images.dtype != np.uint8 or images.ndim not in (3, 4) or len(images) != texts:
        found = f"{images.dtype} {images.shape} and {texts} texts"
        raise InputError(f"expected uint8 images (N, H, W, 3) or (N, H, W), N texts, found {found}")
    return np.repeat(images[..., None], 3, axis=-1) if images.ndim == 3 else images


def tile(images, places, shape: tuple[int, int], right: int, below: int) -> np.ndarray:
    """One white picture of `shape` (rows, columns) with images at their (row, column) places."""
    (height, width), (rows, columns) = images.shape[1:3], shape
    step_y, step_x = height + below, width + right
    sheet = np.full((rows * step_y, columns * step_x - right, 3), 255, np.uint8)
    for image, (row, column) in zip(images, places, strict=True):
        sheet[row * step_y :, column * step_x :][:height, :width] = image
    return sheet


def plot_picture(image, ax: Axes) -> Axes:
    """An image as it is, without ticks."""
    ax.imshow(image, cmap="gray", vmin=0, vmax=255)
    ax.set(xticks=[], yticks=[])
    style.hide_frame(ax)
    return ax


@style.applied()
def figure_gallery(images, captions, title: str = "") -> Figure:
    """Images, uint8 (N, H, W, 3) or (N, H, W), in rows, captions beneath; fast, for a slider."""
    figure = style.new_figure(style.PAGE, 0.3, "none")
    figure.suptitle(title, x=0.01, y=0.995, ha="left")
    ax = figure.add_axes((0, 0, 1, 1))  # without one, a notebook shows no figure
    ax.set_axis_off()
    if not len(images):
        return figure
    images = check_images(images, len(captions))
    _, height, width, _ = images.shape
    rows, gap = math.ceil(len(images) / ACROSS), max(1, width // 8)
    pixel = 0.98 * style.PAGE / (ACROSS * (width + gap) - gap)  # inches
    lines = max(caption.count("\n") + 1 for caption in captions)
    below = round((lines + 0.55) * TEXT_LINE / pixel)
    places = [divmod(place, ACROSS) for place in range(len(images))]
    inches = rows * (height + below) * pixel
    figure.set_size_inches(style.PAGE, inches + 0.25)
    ax.set_position((0.01, 0, 0.98, inches / (inches + 0.25)))
    ax.imshow(tile(images, places, (rows, ACROSS), gap, below))
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


def figure_overlays(images, heatmaps, captions) -> Figure:
    """Images, each above itself under its heatmap, and captions beneath."""
    images = check_images(images, len(captions))
    heated = [overlay(*pair) for pair in zip(images, heatmaps, strict=True)]
    return figure_gallery(np.concatenate([images, heated], axis=1), captions)


def plot_boxes(image, boxes, ax: Axes, names=None) -> Axes:
    """A picture with its faces framed and named; boxes (N, 4) are x, y, width, height."""
    height, width = image.shape[:2]
    plot_picture(image, ax)
    names = range(1, len(boxes) + 1) if names is None else names
    for name, (x, y, *size) in zip(names, boxes, strict=True):
        for color, line in (("black", 2.2), ("white", 1.0)):  # seen on any picture
            ax.add_patch(Rectangle((x, y), *size, fill=False, edgecolor=color, linewidth=line))
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
def figure_cards(crops, probabilities, titles, heatmaps=None) -> Figure:
    """Recognised faces, three cards a row: crops (S, S, 3), probabilities (N, 8), heatmaps."""
    check_images(crops, len(titles))
    columns = min(3, len(crops))
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


def plot_embedding(trace: Mapping, ax: Axes, column: int = 0) -> Axes:
    """Pale decision regions, training images as dots, centres as diamonds at the end of their path.

    It is drawn from (column, 0) to (column + WIDE, 1). A trace has `features` (N, 2), `targets`
    (N,), `path` (T + 1, C, 2) of the centres (no rows without) from row `start` on,
    `output_weight` (C, 2), `output_bias` (C,), `names`. A centre far outside is out of view.
    """
    low, high = _window(trace)
    corner, size = np.array([column, 0]), np.array([WIDE, 1])

    def place(points: np.ndarray) -> np.ndarray:
        return corner + size * (points - low) / (high - low)

    rgb = np.array([to_rgb(color) for color in _colors(trace["names"])])
    x, y = np.linspace(low, high, REGION_PIXELS).T
    grid = np.stack(np.meshgrid(x, y), axis=-1)  # (pixels, pixels, 2)
    winner = (grid @ trace["output_weight"].T + trace["output_bias"]).argmax(axis=-1)
    pale = (PALENESS + (1 - PALENESS) * rgb)[winner]
    ax.imshow(pale, origin="lower", extent=(column, column + WIDE, 0, 1), aspect="auto")
    order = np.random.default_rng(0).permutation(len(trace["targets"]))  # no class lies on top
    dots = place(trace["features"][order])
    ax.scatter(*dots.T, s=6, c=rgb[trace["targets"][order]], linewidths=0)
    path = place(trace["path"][trace["start"] :]).clip(*np.array([corner, corner + size]))
    diamond = {"marker": "D", "markersize": 6.5, "markeredgecolor": "white", "markevery": [-1]}
    for label in range(len(rgb) if len(path) else 0):
        ax.plot(*path[:, label].T, color=rgb[label], linewidth=0.9, **diamond)
    return ax


@style.applied()
def figure_playground(traces: Mapping, text: str = "") -> Figure:
    """A column a trace by title, embedding above recall, under a `text`."""
    if not 1 <= len(traces) <= MOST:
        raise InputError(f"expected 1 to {MOST} traces, a column each; found {len(traces)}")
    first = next(iter(traces.values()))
    names, counts = first["names"], np.bincount(first["targets"], minlength=len(first["names"]))
    bars, height = 0.13 * len(names), 2.7 + 0.13 * len(names)  # inches
    figure = style.new_figure(style.PAGE, height, "none")
    left = (0.42 + 0.045 * max(map(len, names))) / style.PAGE  # for the names beside the bars
    edges = {"left": left, "right": 0.995, "bottom": 0.25 / height, "top": 1 - 0.5 / height}
    figure.subplots_adjust(**edges, hspace=0.74 / (height - 1.25))
    # Sliders redraw it: what takes time is the number of Axes, of patches and of texts.
    above, below = figure.subplots(2, height_ratios=[height - bars - 1.25, bars])
    rows, small = np.arange(len(names)), {"fontsize": 6, "va": "top"}
    for column, (title, trace) in enumerate(traces.items()):
        plot_embedding(trace, above, column)
        above.text(column, 1.03, title.replace(" + ", " +\n"), fontsize=7)  # or neighbours meet
        (low, _), (high, _) = _window(trace)
        mean = 100 * np.mean(trace["recall"])
        above.text(column, -0.03, f"{high - low:.2g} wide\n\nmean recall {mean:.0f} %", **small)
        ends = column + LONGEST * np.asarray(trace["recall"])
        below.hlines(rows, column, ends, _colors(names), linewidth=7)
        percents = "\n".join(f"{100 * recall:.0f}" for recall in trace["recall"])
        below.text(column + WIDE, -0.5, percents, ha="right", linespacing=1.54, **small)
    above.set(xlim=(0, len(traces)), ylim=(0, 1))
    above.axis("off")
    below.set(xlim=(0, len(traces)), ylim=(len(names) - 0.5, -0.5), xticks=[])
    below.set_yticks(rows, map("{} ({})".format, names, counts), fontsize=6)
    below.set_xlabel("recall on the test images (%)", fontsize=7, x=0, ha="left")
    below.grid(False)
    below.spines[:].set_visible(False)
    figure.suptitle(text, x=0.01, y=0.995, ha="left")
    return figure


def _colors(names) -> list[str]:
    """The expressions' own colours, or any others in turn."""
    return [COLORS.get(name, style.OTHER_COLORS[turn % 6]) for turn, name in enumerate(names)]


def _window(trace: Mapping) -> tuple[np.ndarray, np.ndarray]:
    """Corners (2,), (2,) of a view of all features, and of centres that are not far outside."""
    low, high = trace["features"].min(axis=0), trace["features"].max(axis=0)
    reach = np.maximum(high - low, 1e-6)
    centers = trace["path"][-1:].clip(low - 0.5 * reach, high + 0.5 * reach).reshape(-1, 2)
    shown = np.concatenate([trace["features"], centers])
    return shown.min(axis=0) - 0.06 * reach, shown.max(axis=0) + 0.06 * reach
