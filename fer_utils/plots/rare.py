"""The paper's claim in one picture: recall of the rare classes by loss."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from fer_utils.errors import InputError
from fer_utils.expressions import COLORS, EXPRESSIONS, LABELS
from fer_utils.metrics import count_confusion, recall_per_class, wilson_interval
from fer_utils.paper import LOSSES, MODELS, RECALLS
from fer_utils.plots.captions import of_base, say_what_ran
from fer_utils.plots.confusion import PROBABILITIES
from fer_utils.plots.style import COLUMN_WIDTH, PAGE_WIDTH, new_figure, style

RARE = {"contempt": "o", "disgust": "s"}
OTHERS = "#BDBDBD"


def plot_rare_recall(predictions: pd.DataFrame, runs: pd.DataFrame, ax: Axes) -> Axes:
    """Recall of contempt and disgust by loss, the other classes in light grey.

    Points are means over seeds; bars are 95 % Wilson intervals on the class's test images, which says how far the test
    set alone lets the recall be known. Hollow points are the paper's, where its text gives them.

    Args:
        predictions: `predictions.parquet`.
        runs: rows of `runs.csv`, of one base and either all pre-trained or all from scratch.
        ax: where to draw.

    Raises:
        InputError: if the runs mix bases or pre-training.

    >>> runs = pd.DataFrame({"run": ["a"], "model": [10]})
    >>> predictions = pd.DataFrame(np.eye(8), columns=PROBABILITIES).assign(run="a", label=range(8))
    >>> plot_rare_recall(predictions, runs, new_figure().subplots()).get_ylabel()
    'recall (%)'
    """
    groups = {(MODELS[number].base, MODELS[number].pretrained) for number in runs["model"]}
    if len(groups) != 1:
        raise InputError(f"expected runs of one base, all pre-trained or all not, found {len(groups)} such groups")
    table = rare_recalls(predictions, runs)
    places = {loss: place for place, loss in enumerate(LOSSES)}
    for name in sorted(EXPRESSIONS, key=lambda name: name in RARE):  # the rare ones on top
        own = table[table["expression"] == name].set_index("loss").reindex(LOSSES)
        if name not in RARE:
            others = {"color": OTHERS, "marker": ".", "markersize": 3, "linewidth": 0.8, "zorder": 1.5}
            ax.plot(list(places.values()), 100 * own["recall"], **others)
            continue
        shift = 0.05 if name == "contempt" else -0.05  # so that the two intervals stay apart
        x, y = np.array(list(places.values())) + shift, 100 * own["recall"]
        errors = 100 * np.abs(own[["low", "high"]].to_numpy().T - own["recall"].to_numpy())
        ax.errorbar(x, y, errors, color=COLORS[name], marker=RARE[name], capsize=2, elinewidth=0.9, zorder=3)
    for number in runs["model"].unique():
        for name, recall in RECALLS.get(number, {}).items():
            x = places[MODELS[number].loss] + (0.22 if name == "contempt" else -0.22)
            ax.plot(
                x, 100 * recall, RARE[name], color=COLORS[name], markerfacecolor="white", linestyle="none", zorder=4
            )
    ax.set_xticks(list(places.values()), [_wrapped(loss) for loss in LOSSES], linespacing=1.1)
    ax.set_xlim(-0.5, len(places) - 0.5)
    ax.set_ylim(-2, 102)
    ax.set_ylabel("recall (%)")
    return ax


def rare_recalls(predictions: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """Recall of every class by model, mean over seeds, with its interval.

    Args:
        predictions: `predictions.parquet`.
        runs: rows of `runs.csv`.

    Returns:
        DataFrame, a row a model and class: `model`, `loss`, `expression`, `images` (of the class in the test set),
        `recall`, `low`, `high` (95 % Wilson interval on these images).

    >>> runs = pd.DataFrame({"run": ["a"], "model": [10]})
    >>> predictions = pd.DataFrame(np.eye(8), columns=PROBABILITIES).assign(run="a", label=range(8))
    >>> rare_recalls(predictions, runs)["recall"].tolist()[-1]
    1.0
    """
    rows = []
    for number, own in runs.groupby("model"):
        counted = predictions[predictions["run"].isin(own["run"])]
        confusion = count_confusion(counted["label"], counted[PROBABILITIES].to_numpy().argmax(axis=1))
        recalls, images = recall_per_class(confusion), confusion.sum(axis=1) / len(own)
        lows, highs = wilson_interval(np.diagonal(confusion) / len(own), images)
        for name, label in LABELS.items():
            row = {"model": number, "loss": MODELS[number].loss, "expression": name, "images": int(images[label])}
            rows.append(row | {"recall": recalls[label], "low": lows[label], "high": highs[label]})
    return pd.DataFrame(rows)


@style()
def figure_rare_recall(predictions: pd.DataFrame, runs: pd.DataFrame, base: str) -> Figure:
    """Recall of the rare classes by loss for one base: a panel from scratch, a panel pre-trained.

    Args:
        predictions, runs: a study's `predictions.parquet` and `runs.csv`.
        base: `se_resnet50` or `resnet50`, the paper's.

    Raises:
        InputError: for another base, or one that was not run.

    >>> runs = pd.DataFrame({"run": ["a"], "model": [10], "architecture": ["se_resnet14"], "image_size": 48})
    >>> predictions = pd.DataFrame(np.eye(8), columns=PROBABILITIES).assign(run="a", label=range(8))
    >>> figure_rare_recall(predictions, runs, "se_resnet50").axes[0].get_title("left")
    '(a) pre-trained'
    """
    own = of_base(runs, base)
    pretrained = own["model"].map(lambda number: MODELS[number].pretrained)
    panels = {
        name: part for name, part in (("from scratch", own[~pretrained]), ("pre-trained", own[pretrained])) if len(part)
    }
    figure = new_figure(PAGE_WIDTH if len(panels) == 2 else COLUMN_WIDTH, 2.8)
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for letter, (name, part), ax in zip("ab", panels.items(), axes, strict=False):
        plot_rare_recall(predictions, part, ax)
        ax.set_title(f"({letter}) {name}", loc="left")
        ax.label_outer()
    images = rare_recalls(predictions, own).drop_duplicates("expression").set_index("expression")["images"]
    handles = [
        Line2D([], [], color=COLORS[name], marker=marker, label=f"{name} ({images[name]:,} test images)")
        for name, marker in RARE.items()
    ]
    handles.append(Line2D([], [], color=OTHERS, marker=".", markersize=3, label="the other six classes"))
    if any(number in RECALLS for number in own["model"]):
        hollow = Line2D([], [], color="black", marker="o", markerfacecolor="white", linestyle="none")
        hollow.set_label("AffectNet, published")
        handles.append(hollow)
    figure.suptitle(say_what_ran(own, base, 140 if len(panels) == 2 else 64), fontsize=7, x=0.01, ha="left")
    figure.legend(handles=handles, loc="outside lower center", ncols=4 if len(panels) == 2 else 2)
    return figure


def _wrapped(loss: str) -> str:
    return LOSSES[loss].replace(" + ", " +\n").replace("weighted ", "weighted\n")
