"""Alternative texts: what a figure shows, said from the numbers that it is drawn from."""

import numpy as np
import pandas as pd

from fer_utils.expressions import EXPRESSIONS
from fer_utils.metrics import confusion_rows, count_confusion
from fer_utils.paper import BASES, LOSSES, MODELS, TRAINING_COUNTS
from fer_utils.paper.gains import GROUP, MACRO
from fer_utils.paper.ranks import critical_difference
from fer_utils.plots.architecture import short_count
from fer_utils.plots.captions import of_base
from fer_utils.plots.confusion import PROBABILITIES
from fer_utils.plots.rare import RARE, rare_recalls


def name_model(number: int) -> str:
    """A model in words.

    >>> name_model(10)
    'model 10 (SE-ResNet-50, pre-trained, weighted cluster + weighted softmax)'
    """
    model = MODELS[number]
    return f"model {number} ({BASES[model.base]}, {_start(model.pretrained)}, {LOSSES[model.loss]})"


def describe_architecture(architecture: dict) -> str:
    """For `figure_architecture`.

    >>> stage = {"name": "output", "output": [8], "parameters": 4104, "frozen": False}
    >>> describe_architecture({"architecture": "tiny", "image_size": 48, "stages": [stage]})
    'Blocks from left to right: an image of 48 by 48 pixels, output; 4.1 k parameters are trained, none is frozen.'
    """
    stages = architecture["stages"]
    frozen, trained = (sum(s["parameters"] for s in stages if s["frozen"] == kind) for kind in (True, False))
    names = ", ".join(stage["name"] for stage in stages)
    size = architecture["image_size"]
    still = f"{short_count(frozen)} are frozen" if frozen else "none is frozen"
    return (
        f"Blocks from left to right: an image of {size} by {size} pixels, {names}; "
        f"{short_count(trained)} parameters are trained, {still}."
    )


def describe_counts(counts: pd.DataFrame) -> str:
    """For `figure_counts_beside`.

    >>> counts = pd.DataFrame({"split": "train", "expression": EXPRESSIONS, "images": range(1, 9)})
    >>> describe_counts(counts)[:72]
    'Two bar charts of training images. This study: contempt most with 8, neu'
    """
    own = counts[counts["split"] == "train"].set_index("expression")["images"]
    paper = pd.Series(TRAINING_COUNTS, index=EXPRESSIONS)
    parts = []
    for name, images in (("This study", own[own > 0]), ("The paper", paper)):
        most, least = images.idxmax(), images.idxmin()
        parts.append(
            f"{name}: {most} most with {images[most]:,}, {least} least with {images[least]:,}, "
            f"{images[most] / images[least]:.0f} to 1."
        )
    return f"Two bar charts of training images. {' '.join(parts)}"


def describe_curves(history: pd.DataFrame, runs: pd.DataFrame, base: str) -> str:
    """For `figure_learning_curves`: where the best and the worst model of a base end.

    >>> runs = pd.DataFrame({"run": ["a"], "model": [10]})
    >>> history = pd.DataFrame({"run": "a", "epoch": [1, 2], "train_loss": [2.0, 1.0]})
    >>> history["validation_accuracy"] = [0.2, 0.5]
    >>> describe_curves(history, runs, "se_resnet50")[:70]
    'Training loss, validation loss and validation accuracy over 2 epochs. '
    """
    table = history.merge(of_base(runs, base)[["run", "model"]], on="run")
    last = table.loc[table.groupby("run")["epoch"].idxmax()].groupby("model")["validation_accuracy"].mean()
    first, end = (table.loc[getattr(table.groupby("run")["epoch"], side)()] for side in ("idxmin", "idxmax"))
    falling = (end.groupby("model")["train_loss"].mean() < first.groupby("model")["train_loss"].mean()).sum()
    return (
        f"Training loss, validation loss and validation accuracy over {table['epoch'].max()} epochs. "
        f"Training loss falls in {falling} of {len(last)} models. Last validation accuracy is highest for "
        f"{name_model(last.idxmax())} with {100 * last.max():.0f} % and lowest for {name_model(last.idxmin())} with "
        f"{100 * last.min():.0f} %."
    )


def describe_confusions(predictions: pd.DataFrame, runs: pd.DataFrame, models) -> str:
    """For `figure_confusions`: each model's recalls and its largest confusion.

    >>> predictions = pd.DataFrame(np.eye(8)[[0, 1, 1, 3, 4, 5, 6, 7]], columns=PROBABILITIES)
    >>> predictions = predictions.assign(run="a", label=range(8))
    >>> describe_confusions(predictions, pd.DataFrame({"run": ["a"], "model": [10]}), [10])[-58:]
    'contempt 100 %; most often mistaken: sad for happy, 100 %.'
    """
    parts = ["Confusion matrices, rows true, columns predicted."]
    for number in models:
        own = runs[runs["model"] == number]
        if own.empty:
            parts.append(f"Of {name_model(number)} there is no run: dashes.")
            continue
        counted = predictions[predictions["run"].isin(own["run"])]
        shares = 100 * confusion_rows(
            count_confusion(counted["label"], counted[PROBABILITIES].to_numpy().argmax(axis=1))
        )
        recalls = ", ".join(f"{name} {value:.0f} %" for name, value in zip(EXPRESSIONS, np.diag(shares), strict=True))
        wrong = np.nan_to_num(shares)
        np.fill_diagonal(wrong, -1)
        true, taken = np.unravel_index(wrong.argmax(), wrong.shape)
        parts.append(
            f"Recall of {name_model(number)}: {recalls}; most often mistaken: {EXPRESSIONS[true]} for "
            f"{EXPRESSIONS[taken]}, {wrong[true, taken]:.0f} %."
        )
    return " ".join(parts)


def describe_rare(predictions: pd.DataFrame, runs: pd.DataFrame, base: str) -> str:
    """For `figure_rare_recall`: recall of the rare classes by loss.

    >>> predictions = pd.DataFrame(np.eye(8), columns=PROBABILITIES).assign(run="a", label=range(8))
    >>> describe_rare(predictions, pd.DataFrame({"run": ["a"], "model": [10]}), "se_resnet50")
    'Recall by loss. Pre-trained: weighted cluster + weighted softmax contempt 100 %, disgust 100 %.'
    """
    table = rare_recalls(predictions, of_base(runs, base))
    parts = []
    for pretrained in (False, True):
        losses = []
        for number, own in table.groupby("model"):
            if MODELS[number].pretrained == pretrained:
                recalls = own.set_index("expression")["recall"]
                shown = ", ".join(f"{name} {100 * recalls[name]:.0f} %" for name in RARE)
                losses.append(f"{LOSSES[MODELS[number].loss]} {shown}")
        if losses:
            parts.append(f"{_start(pretrained).capitalize()}: {'; '.join(losses)}.")
    return f"Recall by loss. {' '.join(parts)}"


def describe_gain(gains: pd.DataFrame) -> str:
    """For `figure_gain`: the classes in which a loss surely wins or loses, and the mean.

    >>> row = {"base": "resnet50", "pretrained": True, "loss": "weighted_cluster", "seeds": 1}
    >>> rows = [row | {"expression": name, "gain": 0.1, "low": 0.05, "high": 0.2} for name in ("fear", MACRO)]
    >>> describe_gain(pd.DataFrame(rows))[61:]
    'Gains: fear. Losses: none. Mean of classes +10.0 points [+5.0, +20.0].'
    """
    parts = []
    for (base, pretrained, loss), own in gains[gains["seeds"] > 0].groupby([*GROUP, "loss"], sort=False):
        classes, mean = own[own["expression"] != MACRO], own[own["expression"] == MACRO].iloc[0]
        above, below = (
            ", ".join(classes.loc[part, "expression"]) or "none" for part in (classes["low"] > 0, classes["high"] < 0)
        )
        numbers = [f"{100 * mean[key]:+.1f}".replace("-", "−") for key in ("gain", "low", "high")]
        parts.append(
            f"{BASES[base]}, {_start(pretrained)}, {LOSSES[loss]}. Gains: {above}. Losses: {below}. "
            f"Mean of classes {numbers[0]} points [{numbers[1]}, {numbers[2]}]."
        )
    return " ".join(parts) or "No run of softmax and another loss to compare."


def describe_ranking(ranks: pd.DataFrame) -> str:
    """For `figure_ranking`.

    >>> describe_ranking(pd.DataFrame({"softmax": [2.0] * 9, "weighted_cluster": [1.0] * 9}))[-76:]
    'Critical difference 0.65; not to be told from the first: none of the others.'
    """
    blocks, losses = ranks.shape
    means, needed = ranks.mean().sort_values(kind="stable"), critical_difference(losses, blocks)
    order = ", ".join(f"{LOSSES[loss]} {rank:.2f}" for loss, rank in means.items())
    alike = [LOSSES[loss] for loss, rank in means.iloc[1:].items() if rank - means.iloc[0] <= needed]
    return (
        f"Average ranks over {blocks} block{'s' if blocks > 1 else ''}: {order}. Critical difference {needed:.2f}; "
        f"not to be told from the first: {', '.join(alike) or 'none of the others'}."
    )


def describe_tradeoff(runs: pd.DataFrame) -> str:
    """For `figure_tradeoff`: who has the highest accuracy, and who the highest recall of the rare classes.

    >>> run = {"model": 10, "accuracy": 0.6, "recall_contempt": 0.5, "recall_disgust": 0.3}
    >>> describe_tradeoff(pd.DataFrame([run])).count("model 10")
    2
    """
    means = runs.groupby("model")[["accuracy", *(f"recall_{name}" for name in RARE)]].mean()
    rare = means.drop(columns="accuracy").mean(axis=1)
    best, kind = means["accuracy"].idxmax(), rare.idxmax()
    return (
        f"Accuracy against mean recall of contempt and disgust, a point a model. Most accurate: {name_model(best)}, "
        f"{100 * means['accuracy'][best]:.0f} % at a recall of {100 * rare[best]:.0f} %. Highest recall: "
        f"{name_model(kind)}, {100 * rare[kind]:.0f} % at an accuracy of {100 * means['accuracy'][kind]:.0f} %."
    )


def describe_published(beside: pd.DataFrame) -> str:
    """For `figure_published_scatter`.

    >>> rows = [{"model": 8, "accuracy": 0.5, "accuracy_published": 0.6}, {"model": 10, "accuracy": None}]
    >>> describe_published(pd.DataFrame(rows))
    'Our accuracy against the published one, 1 of 2 models; 1 lies below the published value, 0 above.'
    """
    ran = beside.dropna(subset=["accuracy"])
    below = int((ran["accuracy"] < ran["accuracy_published"]).sum())
    return (
        f"Our accuracy against the published one, {len(ran)} of {len(beside)} models; {below} "
        f"lie{'s' if below == 1 else ''} below the published value, {len(ran) - below} above."
    )


def describe_claims(claims: pd.DataFrame) -> str:
    """For `figure_claims`: how many pairs of each claim stand out.

    >>> from fer_utils.paper import published_claims
    >>> describe_claims(published_claims())[:96]
    'Published differences in accuracy with 95 % intervals. Pairs whose interval lies above zero: wei'
    """
    found = claims.groupby("claim", sort=False)["outside"].agg(["sum", "size"])
    counts = "; ".join(f"{claim} {row['sum']} of {row['size']}" for claim, row in found.iterrows())
    return f"Published differences in accuracy with 95 % intervals. Pairs whose interval lies above zero: {counts}."


def _start(pretrained: bool) -> str:
    return "pre-trained" if pretrained else "from scratch"
