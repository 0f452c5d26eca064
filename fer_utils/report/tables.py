"""A study's tables: the paper's 2, 3, 5 and 6, and scores and comparisons as they are printed."""

import numpy as np
import pandas as pd

from fer_utils import metrics
from fer_utils.core import EXPRESSIONS, LABELS, NUM_CLASSES, paper
from fer_utils.report.cases import NAMES, Case, panels
from fer_utils.report.page import format_interval, percent
from fer_utils.report.verdict import free_case, score_table

ENDS = ("", "_low", "_high")
TITLES = {"accuracy": "Accuracy", "macro_recall": "Macro recall"}
TITLES |= {"recall_disgust": "Disgust", "recall_contempt": "Contempt"}
SPLITS = {
    "train": ("Training", paper.TRAINING_COUNTS),
    "validation": ("Validation", paper.VALIDATION_COUNTS),
    "test": ("Test", paper.TEST_COUNTS),
}


def format_scores(scores: pd.DataFrame, titles=TITLES) -> pd.DataFrame:
    """`score_table` or `compare_with_published` to read: per cent with 95 % intervals."""
    rows = []
    for row in scores.to_dict("records"):
        tau = "" if np.isnan(row.get("tau", np.nan)) else f", τ = {row['tau']:.2g}"
        source = {"Source": row["source"]} if "source" in row else {}
        values = {t: format_interval(*(row[f"{n}{e}"] for e in ENDS)) for n, t in titles.items()}
        rows.append({"Loss": row["name"] + tau} | source | values)
    return pd.DataFrame(rows)


def format_differences(table: pd.DataFrame) -> pd.DataFrame:
    """`at_equal_accuracy` or `paired_claims` to read: points of macro recall."""
    rows = []
    for row in table.to_dict("records"):
        printed = {"Setting": row["panel"], "Loss": row["name"]}
        if "adjusted" in row:
            printed["Loss"] += " + logit adjustment" * row["adjusted"]
            accuracies = percent(row["accuracy"]), percent(row["free_accuracy"])
            printed["Softmax"], printed["Accuracies"] = (
                f"τ = {row['tau']:.2f}",
                ", ".join(accuracies),
            )
        else:
            printed["Against"] = row["against"]
        ends = row["low"], row["high"]
        printed["Macro recall"] = format_interval(row["difference"], *ends, signed=True)
        seeds = (percent(row[key], signed=True) for key in ("seeds_low", "seeds_high"))
        rows.append(printed | {"Seeds": " to ".join(seeds), "p, Holm": f"{row['p_holm']:.3f}"})
    return pd.DataFrame(rows)


def class_gains(cases: list[Case], order=EXPRESSIONS) -> pd.DataFrame:
    """Recall of every class less softmax's on the same images and seeds, for `plot_differences`.

    Returns:
        DataFrame: `panel`, `heading` (the loss), `row` (the class and its images, in `order`),
        `difference`, `low`, `high`, and `published`, the paper's gain where its text has one.
    """
    rows = []
    for panel, own in panels(cases).items():
        first = free_case(own)
        for case in own if first is not None else ():
            if case is first:
                continue
            images = np.bincount(case.labels, minlength=NUM_CLASSES)
            published, before = (paper.RECALLS.get(one.model, {}) for one in (case, first))
            names = {f"recall_{name}": f"{name} ({images[LABELS[name]]:,})" for name in order}
            names["macro_recall"] = "mean"
            found = case.compare(first, tuple(names))[["difference", "low", "high"]]
            for metric, row in found.to_dict("index").items():
                name = metric.removeprefix("recall_")
                gain = published.get(name, np.nan) - before.get(name, np.nan)
                head = {"panel": panel, "heading": f"{case.name} less {first.name}"}
                rows.append(head | {"row": names[metric]} | row | {"published": gain})
    return pd.DataFrame(rows)


def compare_with_published(cases: list[Case], base: str, balanced: bool = True) -> pd.DataFrame:
    """Table 5 or 6: a row of ours and one of the paper's for each model of a base.

    Args:
        base: key of `paper.BASES`.
        balanced: ours as on a test with as many images of each class, as the paper's is.

    Returns:
        DataFrame: `name`, `source`, and for each of the six metrics what `score_table` has.
    """
    scores = score_table(cases, tuple(paper.METRICS), False, balanced=balanced, resamples=300)
    scores, rows = scores.set_index("model"), []
    for number, model in paper.MODELS.items():
        if model.base == base:
            start = "pre-trained" if model.pretrained else "from scratch"
            ours = {"source": "not run"}
            if number in scores.index:
                ours = scores.loc[number].to_dict()
                ours["source"] = f"{ours['panel'].split(',')[0]}, seeds: {ours['seeds']}"
            rows.append(ours | {"name": f"{number}. {NAMES[model.loss]}, {start}"})
            rows.append({"name": "", "source": "the paper"} | dict(zip(model._fields, model)))  # noqa: B905
    return pd.DataFrame(rows)[["name", "source", *(f"{m}{e}" for m in paper.METRICS for e in ENDS)]]


def compare_counts(counts: pd.DataFrame) -> pd.DataFrame:
    """Table 3: images of each class and split and the weights of Eq. 6, ours beside the paper's."""
    table = pd.DataFrame({"Expression": [*EXPRESSIONS, "total"]})
    for split, (title, published) in SPLITS.items():
        own = counts[counts["split"] == split].groupby("expression")["images"].max()
        own = own.reindex(EXPRESSIONS, fill_value=0).to_numpy()
        for name, images in ((title, own), (f"{title}, paper", np.array(published))):
            table[name] = [f"{count:,}" for count in (*images, images.sum())]
            if split == "train":
                weights = images[images > 0].min() / np.where(images, images, np.nan)
                table[name.replace(title, "Weight")] = [f"{w:.4f}" for w in (*weights, np.nan)]
    return table.replace("nan", "–")


def compare_networks(architectures: dict) -> pd.DataFrame:
    """Table 2: the networks as they ran, beside the paper's where they stand for it."""
    rows, words = [], {True: "frozen", False: "trained"}
    for network in architectures.values():
        for stage in network["stages"]:
            row = {"Network": f"{network['architecture']}, {network['image_size']} px"}
            row |= {"Stage": stage["name"], "Output": "×".join(map(str, stage["output"]))}
            row["Blocks"] = f"{stage['repeat']} × {stage['modules']}"
            row |= {"Parameters": f"{stage['parameters']:,}", "State": words[stage["frozen"]]}
            if network.get("base") == "se_resnet50" and stage["name"] in paper.STAGES:
                output, kernel, repeat, frozen = paper.STAGES[stage["name"]]
                row["The paper's"] = f"{output}; {repeat} × {kernel}; {words[frozen]}"
            rows.append(row)
    return pd.DataFrame(rows).drop_duplicates(ignore_index=True)


def confusions(cases: list[Case]) -> dict[str, tuple]:
    """What `figure_confusions` takes, means over seeds, with the cells that the paper prints."""
    found = {}
    for case in cases:
        matrices = [metrics.confusion_matrix(case.labels, seed.argmax(1)) for seed in case.log_p]
        title = f"model {case.model}: {case.name}" if case.model else case.name
        images = np.bincount(case.labels, minlength=NUM_CLASSES)
        cells = {(name, name): share for name, share in paper.RECALLS.get(case.model, {}).items()}
        cells |= paper.CONFUSIONS.get(case.model, {})
        found[f"{title}\n{case.panel}".strip()] = np.mean(matrices, axis=0), images, cells
    return found
