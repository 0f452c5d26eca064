"""Figure 1: the network as it really ran, drawn from its description."""

import math

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Ellipse, FancyBboxPatch, PathPatch, Rectangle
from matplotlib.path import Path

from fer_utils.errors import InputError, check_choice
from fer_utils.paper import LOSSES
from fer_utils.plots.style import PAGE_WIDTH, new_figure, style

# Inches on a page-wide figure.
HEIGHT = 2.5
MIDDLE = 1.25
INPUT = 0.55
LOSS_WIDTH = 0.95
GAP = 0.17
TALLEST, LOWEST = 1.25, 0.85

FROZEN, TRAINED, LOSS = "#CFE3F3", "#FBE0C3", "#EFEFEF"
EDGE, SMALL = "#333333", 6.2


def plot_architecture(architecture: dict, ax: Axes, loss: str = "weighted_cluster") -> Axes:
    """Blocks from left to right: input, stages (frozen ones hatched), embedding, output and the joint loss.

    Args:
        architecture: one entry of `architecture.json`.
        ax: an Axes that fills a figure of 7.16 × 2.5 in.
        loss: key of `LOSSES`; an auxiliary loss hangs on the embedding, the (weighted) softmax on the output.

    Raises:
        InputError: for an unknown loss or a description without stages.

    >>> stage = {"name": "stage 1", "modules": "convolution 7×7", "repeat": 1, "output": [64, 112, 112]}
    >>> stage |= {"parameters": 9536, "frozen": True}
    >>> tiny = {"architecture": "tiny", "image_size": 224, "stages": [stage]}
    >>> ax = plot_architecture(tiny, new_figure(7.16, 2.5).subplots())
    >>> "64×112×112" in [text.get_text().split("\\n")[0] for text in ax.texts]
    True
    """
    check_choice("loss", loss, LOSSES)
    stages = _merged(architecture.get("stages", []))
    if not stages:
        raise InputError("expected an architecture with stages, found none; rebuild architecture.json")
    ax.set(xlim=(0, PAGE_WIDTH), ylim=(0, HEIGHT), aspect="equal")
    ax.axis("off")
    _draw_input(ax, architecture["image_size"])
    width = (PAGE_WIDTH - 0.1 - INPUT - LOSS_WIDTH - GAP * (len(stages) + 1)) / len(stages)
    lefts = [0.05 + INPUT + GAP + index * (width + GAP) for index in range(len(stages))]
    for left, stage, height in zip(lefts, stages, _heights(stages), strict=True):
        _draw_stage(ax, stage, left, width, height)
        _arrow(ax, [(left - GAP, MIDDLE), (left, MIDDLE)])
    _draw_groups(ax, stages, lefts, width)
    _draw_losses(ax, LOSSES[loss], lefts[-1], lefts[-1] + width)
    about = f"{architecture['architecture']}. Under each block: output (channels×height×width) and parameters."
    ax.text(0.05, 0.06, about, ha="left", va="bottom", fontsize=SMALL)
    return ax


@style()
def figure_architecture(architecture: dict, loss: str = "weighted_cluster") -> Figure:
    """Figure 1 at page width.

    Args:
        architecture, loss: as in `plot_architecture`.

    >>> stage = {"name": "output", "modules": "softmax", "repeat": 1, "output": [8]}
    >>> stage |= {"parameters": 4104, "frozen": False}
    >>> figure_architecture({"architecture": "tiny", "image_size": 48, "stages": [stage]}).get_size_inches().tolist()
    [7.16, 2.5]
    """
    figure = new_figure(PAGE_WIDTH, HEIGHT)
    figure.set_layout_engine("none")
    plot_architecture(architecture, figure.add_axes((0, 0, 1, 1)), loss)
    return figure


def short_count(count: int) -> str:
    """Three digits and a unit.

    >>> short_count(9536), short_count(26_044_000), short_count(512)
    ('9.54 k', '26 M', '512')
    """
    for unit, size in ((" M", 1e6), (" k", 1e3)):
        if count >= size:
            return f"{float(f'{count / size:.3g}'):g}{unit}"
    return str(count)


def _merged(stages: list[dict]) -> list[dict]:
    """Stages that are alike, as the blocks of a vision transformer are, become one block of the figure."""
    merged: list[dict] = []
    for stage in stages:
        kind = {key: stage[key] for key in ("modules", "output", "frozen")}
        if merged and kind == {key: merged[-1][key] for key in kind}:
            last = merged[-1]
            first, number = last["name"].split("–")[0].removeprefix("stages ").removeprefix("stage "), stage["name"][6:]
            last["name"] = f"stages {first}–{number}"
            last["repeat"] += stage["repeat"]
            last["parameters"] += stage["parameters"]
        else:
            merged.append(dict(stage))
    return merged


def _heights(stages: list[dict]) -> list[float]:
    """Inches, by the logarithm of the stage's output side; vectors are as low as the smallest map."""
    sides = [stage["output"][-1] if len(stage["output"]) == 3 else None for stage in stages]
    maps = [side for side in sides if side]
    smallest, span = min(maps, default=1), math.log(max(maps, default=1) / min(maps, default=1)) or 1.0
    return [LOWEST + (TALLEST - LOWEST) * math.log(side / smallest) / span if side else LOWEST for side in sides]


def _box(ax: Axes, left: float, bottom: float, width: float, height: float, color: str) -> FancyBboxPatch:
    shape = "round,pad=0,rounding_size=0.05"
    box = FancyBboxPatch((left, bottom), width, height, boxstyle=shape, facecolor=color, edgecolor=EDGE, linewidth=0.7)
    return ax.add_patch(box)


def _draw_stage(ax: Axes, stage: dict, left: float, width: float, height: float) -> None:
    center, bottom, top = left + width / 2, MIDDLE - height / 2, MIDDLE + height / 2
    box = _box(ax, left, bottom, width, height, FROZEN if stage["frozen"] else TRAINED)
    if stage["frozen"]:  # a hatched foot: seen without colour, and not behind the text
        foot = Rectangle(
            (left, bottom), width, 0.12, facecolor="none", edgecolor="#5B84A8", hatch="//////", linewidth=0
        )
        ax.add_patch(foot).set_clip_path(box)
    words = stage["modules"].replace(", ", ",\n").replace(" ", "\n")
    repeat = f"\n× {stage['repeat']}" if stage["repeat"] > 1 else ""
    ax.text(center, MIDDLE + 0.03, words + repeat, ha="center", va="center", fontsize=SMALL, linespacing=1.1)
    ax.text(center, top + 0.05, stage["name"], ha="center", va="bottom", fontsize=7, weight="bold")
    size = "×".join(map(str, stage["output"]))
    numbers = f"{size}\n{short_count(stage['parameters'])}"
    ax.text(center, bottom - 0.05, numbers, ha="center", va="top", fontsize=SMALL, linespacing=1.25)


def _draw_input(ax: Axes, size: int) -> None:
    left, bottom = 0.05, MIDDLE - INPUT / 2
    ax.add_patch(Rectangle((left, bottom), INPUT, INPUT, facecolor="white", edgecolor=EDGE, linewidth=0.7))
    x, y = left + INPUT / 2, MIDDLE
    ax.add_patch(Ellipse((x, y), 0.36, 0.44, facecolor="#F4F4F4", edgecolor=EDGE, linewidth=0.8))
    for side in (-1, 1):
        ax.add_patch(Circle((x + side * 0.075, y + 0.055), 0.021, color=EDGE))
    smile = Path([(x - 0.085, y - 0.075), (x, y - 0.165), (x + 0.085, y - 0.075)], [1, 3, 3])
    ax.add_patch(PathPatch(smile, facecolor="none", edgecolor=EDGE, linewidth=0.9))
    ax.text(x, MIDDLE + INPUT / 2 + 0.05, "image", ha="center", va="bottom", fontsize=7, weight="bold")
    ax.text(x, bottom - 0.05, f"3×{size}×{size}", ha="center", va="top", fontsize=SMALL)


def _draw_groups(ax: Axes, stages: list[dict], lefts: list[float], width: float) -> None:
    """A bracket over the frozen stages and one over those that are trained, with their parameters in all."""
    frozen = sum(stage["frozen"] for stage in stages)
    for name, start, end in (("frozen", 0, frozen), ("trained", frozen, len(stages))):
        if start == end:
            continue
        left, right, y = lefts[start], lefts[end - 1] + width, MIDDLE + TALLEST / 2 + 0.27
        ax.plot([left, left, right, right], [y - 0.05, y, y, y - 0.05], color=EDGE, linewidth=0.7)
        count = short_count(sum(stage["parameters"] for stage in stages[start:end]))
        text = f"{name}: {count} parameters"
        ax.text((left + right) / 2, y + 0.04, text, ha="center", va="bottom", fontsize=7)


def _draw_losses(ax: Axes, name: str, output_left: float, output_right: float) -> None:
    left = output_right + GAP
    *auxiliary, softmax = name.split(" + ")
    _box(ax, left, MIDDLE - 0.2, LOSS_WIDTH, 0.4, LOSS)
    ax.text(left + LOSS_WIDTH / 2, MIDDLE, f"{softmax}\nloss", ha="center", va="center", fontsize=SMALL + 0.3)
    _arrow(ax, [(output_right, MIDDLE), (left, MIDDLE)])
    if auxiliary:
        low = 0.3
        _box(ax, left, low - 0.2, LOSS_WIDTH, 0.4, LOSS)
        ax.text(left + LOSS_WIDTH / 2, low, f"{auxiliary[0]}\nloss", ha="center", va="center", fontsize=SMALL + 0.3)
        ax.text(left + LOSS_WIDTH / 2, (MIDDLE + low) / 2, "+ λ ×", ha="center", va="center", fontsize=8)
        branch = output_left - GAP / 2
        ax.add_patch(Circle((branch, MIDDLE), 0.018, color=EDGE))
        _arrow(ax, [(branch, MIDDLE), (branch, low), (left, low)])


def _arrow(ax: Axes, points: list[tuple[float, float]]) -> None:
    tip = {
        "arrowstyle": "-|>,head_length=0.35,head_width=0.17",
        "color": EDGE,
        "linewidth": 0.8,
        "shrinkA": 0,
        "shrinkB": 0,
    }
    xs, ys = zip(*points[:-1], strict=True)
    ax.plot(xs, ys, color=EDGE, linewidth=0.8, zorder=1)
    ax.annotate("", points[-1], points[-2], arrowprops=tip)
