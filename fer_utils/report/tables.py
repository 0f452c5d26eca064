"""A study's tables: the paper's 2, 3, 5 and 6, and scores and comparisons as they are printed."""

import numpy as np
import pandas as pd

from fer_utils import metrics
from fer_utils.core import EXPRESSIONS, LABELS, NUM_CLASSES, paper
from fer_utils.report import verdict
from fer_utils.report.page import NAMES, format_interval, percent, say_protocol
from fer_utils.report.study_figures import at_chance, figure_tradeoff, plot_differences
from fer_utils.report.style import draw
from fer_utils.report.verdict import Case

ENDS, PAPER = ("", "_low", "_high"), "the paper"
TITLES = {"accuracy": "Accuracy", "macro_recall": "Macro recall"}
TITLES |= {"recall_disgust": "Disgust", "recall_contempt": "Contempt"}
SPLITS = {
    "train": ("Training", paper.TRAINING_COUNTS),
    "validation": ("Validation", paper.VALIDATION_COUNTS),
    "test": ("Test", paper.TEST_COUNTS),
}
STATES = {True: "frozen", False: "trained"}


def format_scores(scores: pd.DataFrame, titles=TITLES) -> pd.DataFrame:
    """`score_table` or `compare_with_published` to read: per cent with 95 % intervals."""
    rows = []
    for row in scores.to_dict("records"):
        tau = "" if np.isnan(row.get("tau", np.nan)) else f", τ = {row['tau']:.2g}"
        printed = {"Loss": row["name"] + tau, "Source": row.get("source", "")}
        digits = 2 if printed["Source"] == PAPER else 1
        for name, title in titles.items():
            printed[title] = format_interval(*(row[f"{name}{end}"] for end in ENDS), digits)
        rows.append(printed)
    return _without_blanks(rows)


def format_differences(table: pd.DataFrame) -> pd.DataFrame:
    """`at_equal_accuracy` or `paired_claims` to read: points of macro recall."""
    rows = []
    for row in table.to_dict("records"):
        printed = {"Setting": row["panel"], "Loss": row["name"], "Against": row.get("against")}
        if "adjusted" in row:
            printed["Loss"] += " + logit adjustment" * row["adjusted"]
            printed["Against"] = f"softmax, τ = {row['tau']:.2f}"
            both = percent(row["accuracy"]), percent(row["free_accuracy"])
            printed["Accuracies"] = ", ".join(both)
        ends = row["low"], row["high"]
        printed["Macro recall"] = format_interval(row["difference"], *ends, signed=True)
        printed["Seeds"] = _from_to(row["seeds_low"], row["seeds_high"])
        rows.append(printed | {"p, Holm": f"{row['p_holm']:.3f}"})
    return _without_blanks(rows)


def format_comparison(table: pd.DataFrame) -> pd.DataFrame:
    """`compare` as a terminal shows it: per cent and points."""
    rows, several = [], table["case"].nunique() > 1
    for row in table.to_dict("records"):
        printed = {"case": row["case"] * several, "metric": row["metric"]}
        printed |= {"A": percent(row["a"]), "B": percent(row["b"])}
        printed["B − A"] = percent(row["difference"], signed=True)
        printed["95 % interval"] = _from_to(row["low"], row["high"])
        printed["over seeds"] = _from_to(row["seeds_low"], row["seeds_high"])
        printed |= {"p, Holm": f"{row['p_holm']:.3f}", "seeds": row["seeds"]}
        rows.append(printed)
    return _without_blanks(rows)


def _from_to(low: float, high: float) -> str:
    return " to ".join(dict.fromkeys([percent(low, signed=True), percent(high, signed=True)]))


def _without_blanks(rows: list[dict]) -> pd.DataFrame:
    table = pd.DataFrame(rows)
    return table.loc[:, (table != "").any()]


def class_gains(cases: list[Case], order=EXPRESSIONS) -> pd.DataFrame:
    """Recall of every class less softmax's on the same images and seeds, for `plot_differences`."""
    images = np.bincount(cases[0].labels, minlength=NUM_CLASSES)
    names = {f"recall_{name}": f"{name} ({images[LABELS[name]]:,})" for name in order}
    names["macro_recall"] = "mean"
    table = verdict.differences(verdict.against_free(cases), tuple(names))
    if len(table):
        table["row"] = table["metric"].map(names)
        table["heading"] = table["name"] + " less " + table["against"]
    return table


def compare_with_published(cases: list[Case], base: str, balanced: bool = True) -> pd.DataFrame:
    """Table 5 or 6: ours and the paper's for each model of a base, as on a test of equal classes.

    Not `balanced`: ours alone, on the test as it is.
    """
    own, options = [case for case in cases if case.base == base], {"balanced": balanced}
    scores = verdict.score_table(own, tuple(paper.METRICS), False, resamples=300, **options)
    scores, rows = scores.set_index("model"), []
    for number, model in paper.MODELS.items():
        if model.base == base:
            start = "pre-trained" if model.pretrained else "from scratch"
            ours = {"source": "not run"}
            if number in scores.index:
                ours = scores.loc[number].to_dict()
                ours["source"] = f"{ours['panel'].split(',')[0]}, seeds: {ours['seeds']}"
            rows.append(ours | {"name": f"{number}. {NAMES[model.loss]}, {start}"})
            if balanced:
                rows.append({"name": "", "source": PAPER} | model._asdict())
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
    rows = []
    for network in architectures.values():
        for stage in network["stages"]:
            row = {"Network": f"{network['architecture']}, {network['image_size']} px"}
            row |= {"Stage": stage["name"], "Output": "×".join(map(str, stage["output"]))}
            row["Blocks"] = f"{stage['repeat']} × {stage['modules']}"
            row |= {"Parameters": f"{stage['parameters']:,}", "State": STATES[stage["frozen"]]}
            if network.get("base") == "se_resnet50" and stage["name"] in paper.STAGES:
                output, kernel, repeat, frozen = paper.STAGES[stage["name"]]
                row["The paper's"] = f"{output}; {repeat} × {kernel}; {STATES[frozen]}"
            rows.append(row)
    return pd.DataFrame(rows).drop_duplicates(ignore_index=True)


def confusions(cases: list[Case]) -> dict[str, tuple]:
    """What `figure_confusions` takes, means over seeds, with the cells that the paper prints."""
    found = {}
    for case in cases:
        matrices = [metrics.confusion_matrix(case.labels, seed.argmax(1)) for seed in case.log_p]
        mean = np.mean(matrices, axis=0)
        cells = {(name, name): share for name, share in paper.RECALLS.get(case.model, {}).items()}
        cells |= paper.CONFUSIONS.get(case.model, {})
        title = f"model {case.model}: {case.name}" if case.model else case.name
        found[f"{title}\n{case.panel}".strip()] = mean, mean.sum(axis=1), cells
    return found


def add_verdict(page, results, cases: list[Case]):
    """Begin a page: verdict, its figure and table, and what they rest on; yields what it adds."""
    scores, curves = verdict.score_table(cases), verdict.operating_curves(cases)
    equal = verdict.at_equal_accuracy(cases)
    page.verdict, page.protocol = verdict.say_verdict(equal), say_protocol(results, cases)
    gone = [f"{row.name} ({row.panel})" for row in at_chance(scores).itertuples(index=False)]
    caption = (
        "Means over seeds; bars and band are 95 % intervals over images. τ runs from 0 to 1.5,"
    )
    caption += " out of the frame where recall falls and no loss is."
    caption += f" At chance, left out: {', '.join(gone)}." if gone else ""
    title = "Accuracy against recall: above the line a loss is worth its training"
    yield page.add_figure("verdict", figure_tradeoff(scores, curves), title, caption, folded=False)
    note = verdict.say_calibration(cases)
    for panel, own in scores.groupby("panel", sort=False):
        title = f"Scores in per cent with 95 % intervals{', ' * bool(panel)}{panel}"
        folded = panel != scores["panel"].iloc[0]
        yield page.add_table("scores", format_scores(own), title, note, scores, folded)
        note = ""
    page.section("What the verdict rests on")
    claims = verdict.paired_claims(cases, results.about["reference"])
    page.learned = verdict.say_claims(claims)
    for name, table, end in (
        ("equal_accuracy", equal, "that of softmax with logit adjustment"),
        ("paired_claims", claims, "that of another loss on the same images"),
    ):
        if len(table):
            title = f"Macro recall less {end}, in points"
            yield page.add_table(name, format_differences(table), title, "", table)


def add_gains(page, cases: list[Case]):
    """Add a figure a panel of `class_gains`, classes from frequent to rare; yields them."""
    order = np.argsort(-cases[0].counts.sum(axis=0), kind="stable")
    gains = class_gains(cases, [EXPRESSIONS[label] for label in order])
    for panel, table in gains.groupby("panel", sort=False) if len(gains) else ():
        size = 4.6, 0.8 + 0.13 * (len(table) + 1.3 * table["heading"].nunique())
        figure = draw(plot_differences, table, size=size)
        title = f"Gain in recall over softmax, class by class{', ' * bool(panel)}{panel}"
        caption = "95 % intervals over images; in brackets the images of the class."
        yield page.add_figure(f"gains {panel}", figure, title, caption)
