"""Fig. 1: the network as it ran."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from fer_utils.core import check_choice, paper
from fer_utils.report import style

HEIGHT, GAP, IMAGE, LOSS = 2.3, 0.17, 0.6, 0.95  # inches of a page-wide figure
MIDDLE, LOW, BLOCK = 1.2, 0.3, 0.9
COLORS = {"frozen": "#CFE3F3", "trained": "#FBE0C3", "plain": "#F2F2F2"}
EDGE, SMALL = "#333333", 6.2


@style.applied()
def figure_architecture(architecture: dict, loss: str = "weighted_cluster") -> Figure:
    """Stages of an entry of `architecture.json`, frozen ones dotted, and a loss of the paper."""
    check_choice("loss", loss, paper.LOSSES)
    stages, size = architecture["stages"], architecture["image_size"]
    figure = style.new_figure(style.PAGE, HEIGHT, "none")
    ax = figure.add_axes((0, 0, 1, 1))
    ax.set(xlim=(0, style.PAGE), ylim=(0, HEIGHT))
    ax.axis("off")
    _block(ax, (0.05, MIDDLE), (IMAGE, IMAGE), "face", above="image", below=f"3×{size}×{size}")
    right, spans = 0.05 + IMAGE, {}
    width = (style.PAGE - 0.1 - IMAGE - LOSS - GAP * (len(stages) + 1)) / len(stages)
    for stage in stages:
        left, kind = right + GAP, "frozen" if stage["frozen"] else "trained"
        words = stage["modules"].replace(" ", "\n")
        words += f"\n× {stage['repeat']}" if stage["repeat"] > 1 else ""
        below = f"{'×'.join(map(str, stage['output']))}\n{short_count(stage['parameters'])}"
        _block(ax, (left, MIDDLE), (width, BLOCK), words, kind, stage["name"], below)
        _arrow(ax, (right, MIDDLE), (left, MIDDLE))
        right = left + width
        first, count, _ = spans.get(kind, (left, 0, right))
        spans[kind] = first, count + stage["parameters"], right
    for kind, (left, count, end) in spans.items():
        y = MIDDLE + BLOCK / 2 + 0.27
        ax.plot([left, left, end, end], [y - 0.05, y, y, y - 0.05], color=EDGE, linewidth=0.7)
        text = f"{kind}: {short_count(count)} parameters"
        ax.text((left + end) / 2, y + 0.04, text, ha="center", fontsize=7)
    _arrow(ax, (right, MIDDLE), (right + GAP, MIDDLE))
    *auxiliary, softmax = paper.LOSSES[loss].split(" + ")
    _block(ax, (right + GAP, MIDDLE), (LOSS, 0.4), f"{softmax}\nloss")
    for name in auxiliary:
        _block(ax, (right + GAP, LOW), (LOSS, 0.4), f"{name}\nloss", above="+ λ ×")
        branch = right - width - GAP / 2
        ax.plot([branch, branch], [MIDDLE, LOW], color=EDGE, linewidth=0.8)
        _arrow(ax, (branch, LOW), (right + GAP, LOW))
    about = f"{architecture['architecture']}. Under each block: channels×height×width, parameters."
    ax.text(0.05, 0.06, about, fontsize=SMALL)
    return figure


def _block(ax: Axes, place, size, words, kind="plain", above="", below="") -> None:
    (left, middle), (width, height) = place, size
    x, shape = left + width / 2, "round,pad=0,rounding_size=0.05"
    look = {"facecolor": COLORS[kind], "edgecolor": EDGE, "linewidth": 0.7}
    box = FancyBboxPatch((left, middle - height / 2), width, height, boxstyle=shape, **look)
    box.set(hatch="....." if kind == "frozen" else None, hatch_linewidth=0.3)
    ax.add_patch(box)
    plain = {"facecolor": COLORS[kind], "linewidth": 0, "pad": 1}  # no dots behind the words
    text = {"ha": "center", "fontsize": SMALL, "linespacing": 1.15}
    ax.text(x, middle, words, va="center", bbox=plain, **text)
    ax.text(x, middle - height / 2 - 0.05, below, va="top", **text)
    ax.text(x, middle + height / 2 + 0.05, above, weight="bold", **text | {"fontsize": 7})


def _arrow(ax: Axes, start: tuple, end: tuple) -> None:
    tip = "-|>,head_length=0.35,head_width=0.17"
    look = {"arrowstyle": tip, "color": EDGE, "linewidth": 0.8, "shrinkA": 0, "shrinkB": 0}
    ax.annotate("", end, start, arrowprops=look)


def short_count(count: int) -> str:
    """Three digits and a unit: 9536 is "9.54 k"."""
    unit, size = (" M", 1e6) if count >= 1e6 else (" k", 1e3) if count >= 1e3 else ("", 1)
    return f"{float(f'{count / size:.3g}'):g}{unit}"
