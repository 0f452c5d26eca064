"""Made results of a study, in the form that `studies.read_results` returns."""

import itertools

import numpy as np
import pandas as pd

from fer_utils import studies
from fer_utils.core import EXPRESSIONS, LOG_PROBABILITIES, paper

COUNTS = np.array([400, 600, 160, 120, 60, 20, 140, 20])  # of training; a tenth is tested
LABELS = np.repeat(np.arange(8), COUNTS // 10)
COLUMNS = list(LOG_PROBABILITIES)
STAGE = {"modules": "SE basic block", "repeat": 2, "parameters": 9536, "frozen": False}
ARCHITECTURE = {
    "architecture": "small_se_resnet", "image_size": 48, "embedding_dim": 128, "num_classes": 8,
    "base": "se_resnet50", "stages": [
        {**STAGE, "name": "stage 1", "output": [64, 24, 24], "frozen": True},
        {**STAGE, "name": "stage 2", "output": [128, 12, 12]},
        {**STAGE, "name": "embedding", "modules": "pool, fully connected", "output": [128]},
        {**STAGE, "name": "output", "modules": "fully connected, softmax", "output": [8]},
    ],
}  # fmt: skip
VARIANTS = [
    {"variant": "softmax", "loss": "softmax"},
    {"variant": "weighted_softmax", "loss": "weighted_softmax", "power": 1.0, "signal": 1.8},
    {"variant": "power_half", "loss": "weighted_softmax", "weight_power": 0.5, "power": 0.5},
    {"variant": "weighted_cluster", "loss": "weighted_cluster", "power": 1.0, "signal": 1.5},
    {"variant": "logit_adjusted", "loss": "logit_adjusted", "power": 0.9},
]
MODELS = [
    {"model": number, "power": power, "signal": signal}
    for number, power, signal in ((6, 0, 2), (8, 1, 1.8), (10, 1, 1.9), (16, 0, 2), (20, 1, 1.6))
]


def log_probabilities(labels, power, signal, random):
    """(N, 8) float16 of a network whose prior is divided by its `power`-th power."""
    logits = random.normal(size=(len(labels), 8)) + signal * np.eye(8)[labels]
    logits = 1.7 * logits + (1 - power) * np.log(COUNTS / COUNTS.sum())
    return (logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))).astype(np.float16)


def make_results(cases, seeds=(0, 1), folds=0, labels=LABELS, evaluation="test", **about):
    """Results of a study; `cases`: dicts of `model`, or of `variant` and `loss`."""
    runs, histories, predictions = [], [], []
    for case, seed, fold in itertools.product(cases, seeds, range(folds or 1)):
        case = {
            "power": 0.0,
            "signal": 2.0,
            **({"setting": ""} if "variant" in case else {}),
            **case,
        }
        random = np.random.default_rng([seed, fold, len(runs)])
        run = f"{case.get('variant', case.get('model'))}-seed{seed}" + f"-fold{fold}" * bool(folds)
        own = np.flatnonzero(np.arange(len(labels)) % (folds or 1) == fold)
        for split, images in (("test", own), ("validation", np.arange(len(labels)))):
            table = pd.DataFrame({"run": run, "split": split, "image": images})
            table["label"], table["group"] = labels[images], images // 2
            table["image"] += len(labels) * (split == "validation")
            table[COLUMNS] = log_probabilities(
                labels[images], case["power"], case["signal"], random
            )
            predictions.append(table)
        runs.append(_run(run, case, seed, fold, folds, evaluation))
        histories.append(_history(run, random))
    about = {"study": "made", "title": "A made study", "note": "Of a generator.", **about}
    defaults = {"seeds": list(seeds), "dataset": "synthetic", "drawn": None, "test_looks": 0}
    return studies.RunSet(
        about["study"],
        {"reference": "softmax", "models": [], "variants": [], **defaults, **about},
        pd.DataFrame(runs).drop(columns=["power", "signal"]),
        pd.concat(histories, ignore_index=True),
        count_table(),
        {"se_resnet50": ARCHITECTURE},
        pd.concat(predictions, ignore_index=True),
    )


def _run(run, case, seed, fold, folds, evaluation):
    row = {"run": run, **case, "architecture": "small_se_resnet"}
    if "model" in case:
        model = paper.MODELS[case["model"]]
        row |= {"base": model.base, "pretrained": model.pretrained, "loss": model.loss}
        row["architecture"] = "small_" + model.base.removesuffix("50")
    row |= {"seed": seed, "protocol": "k_fold" if folds else "official", "folds": folds or 5}
    row |= {"fold": fold, "evaluation": evaluation, "dataset": "synthetic", "image_size": 48}
    row |= {"weight_power": case.get("weight_power", 1.0), "selection": "last", "collapsed": False}
    return row | {"train_images": int(COUNTS.sum()), "diverged_in": np.nan}


def _history(run, random):
    epochs = np.arange(1, 4)
    loss = {"train_loss": 2 / epochs, "validation_loss": 2.1 / epochs + random.uniform(0, 0.1, 3)}
    table = pd.DataFrame({"run": run, "epoch": epochs, **loss, "embedding_norm": 8.0})
    return table.assign(validation_accuracy=1 - 0.7 / epochs, between_distance=3.0 + epochs)


def count_table(counts=COUNTS, **columns):
    """Images of each split and expression, a tenth of the training images in the others."""
    table = pd.MultiIndex.from_product([["train", "validation", "test"], EXPRESSIONS])
    table = table.to_frame(False, ["split", "expression"]).assign(**columns)
    return table.assign(images=np.concatenate([counts, *2 * [np.asarray(counts) // 10]]))


def change(results, **tables):
    """The same results with other tables."""
    return studies.RunSet(**(vars(results) | tables))
