"""Made results of a study, in the form that `studies.read_results` returns."""

import numpy as np
import pandas as pd
import pytest

from fer_utils import studies
from fer_utils.core import EXPRESSIONS, LOG_PROBABILITIES, paper

COUNTS = np.array([400, 600, 160, 120, 60, 20, 140, 20])  # of training; a tenth is tested
STAGE = {"modules": "SE basic block", "repeat": 2, "parameters": 9536, "frozen": False}
ARCHITECTURE = {
    "architecture": "small_se_resnet", "image_size": 48, "embedding_dim": 128, "num_classes": 8,
    "stages": [
        {**STAGE, "name": "stage 1", "output": [64, 24, 24], "frozen": True},
        {**STAGE, "name": "stage 2", "output": [128, 12, 12]},
        {**STAGE, "name": "embedding", "modules": "global average pool, fully connected", "output": [128]},
        {**STAGE, "name": "output", "modules": "fully connected, softmax", "output": [8]},
    ],
}  # fmt: skip


def log_probabilities(labels, power, signal, random):
    """(N, 8) log-probabilities of a network whose prior is divided by its `power`-th power."""
    prior = COUNTS / COUNTS.sum()
    logits = random.normal(size=(len(labels), 8)) + signal * np.eye(8)[labels]
    logits = 1.7 * logits + (1 - power) * np.log(prior)
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


def _predictions(run, split, labels, first, power, signal, random):
    table = pd.DataFrame({"run": run, "split": split, "image": np.arange(len(labels)) + first})
    table["label"], table["group"] = labels, table["image"] // 2
    values = log_probabilities(labels, power, signal, random)
    table[list(LOG_PROBABILITIES)] = values.astype(np.float16)
    return table


def make_results(cases, seeds=(0, 1), folds=1, kind="variants", scale=1, **about):
    """Results of a study.

    Args:
        cases: dicts of `loss`, `power`, `signal`, and `model` or `setting` and `variant`.
        folds: of cross-validation; 1: the official split.
        scale: images, in sixteenths of `COUNTS`.
    """
    labels = np.repeat(np.arange(8), COUNTS * scale // 10)
    runs, history, predictions = [], [], []
    for case in cases:
        case = {"power": 0.0, "signal": 2.0, **case}
        if "variant" in case:
            case = {"setting": "", **case}
        key = [str(case[name]) for name in ("model", "setting", "variant") if case.get(name)]
        for seed in seeds:
            for fold in range(folds):
                run = "-".join([*key, f"seed{seed}", *([f"fold{fold}"] if folds > 1 else [])])
                random = np.random.default_rng([seed, fold, len(runs)])
                own = np.arange(len(labels)) % folds == fold
                test = _predictions(
                    run, "test", labels[own], 0, case["power"], case["signal"], random
                )
                test["image"] = np.flatnonzero(own)
                test["group"] = test["image"] // 2
                held = _predictions(
                    run, "validation", labels, len(labels), case["power"], case["signal"], random
                )
                predictions += [test, held]
                right = test[list(LOG_PROBABILITIES)].to_numpy().argmax(1) == test["label"]
                runs.append(_run(run, case, seed, fold, folds, right.mean(), test))
                history.append(_history(run, random))
    about = {"study": "made", "title": "A made study", "note": "Numbers from a generator.", **about}
    about |= {"kind": kind, "seeds": list(seeds), "dataset": "synthetic", "drawn": None}
    about.setdefault("reference", "softmax")
    return studies.RunSet(
        name=about["study"],
        about=about,
        runs=pd.DataFrame(runs),
        history=pd.concat(history, ignore_index=True),
        counts=_counts(),
        architectures={"se_resnet50": ARCHITECTURE},
        predictions=pd.concat(predictions, ignore_index=True),
    )


def _run(run, case, seed, fold, folds, accuracy, test):
    row = {"run": run, **{k: v for k, v in case.items() if k not in ("power", "signal")}}
    if "model" in case:
        model = paper.MODELS[case["model"]]
        row |= {"base": model.base, "pretrained": model.pretrained, "loss": model.loss}
    architecture = "small_resnet" if row.get("base") == "resnet50" else "small_se_resnet"
    row |= {"seed": seed, "protocol": "k_fold" if folds > 1 else "official", "folds": folds or 5}
    row |= {"fold": fold, "evaluation": "test", "dataset": "synthetic", "image_size": 48}
    row |= {"architecture": architecture, "weight_power": case.get("weight_power", 1.0)}
    row |= {"weights": "none", "selection": "last", "train_images": int(COUNTS.sum())}
    row |= {"validation_images": len(test), "test_images": len(test), "epochs": 3}
    row |= {"accuracy": accuracy, "collapsed": False, "diverged_in": np.nan, "seconds": 60.0}
    return row


def _history(run, random):
    epochs = np.arange(1, 4)
    table = pd.DataFrame({"run": run, "epoch": epochs, "train_loss": 2 / epochs})
    table["validation_loss"] = 2.1 / epochs + random.uniform(0, 0.1, 3)
    table["validation_accuracy"] = 1 - 0.7 / epochs
    table["embedding_norm"], table["between_distance"] = 8.0, 3.0 + epochs
    return table.assign(center_movement=1 / epochs)


def _counts():
    rows = [
        {
            "split": split,
            "expression": name,
            "images": int(count) // (1 if split == "train" else 10),
        }
        for split in ("train", "validation", "test")
        for name, count in zip(EXPRESSIONS, COUNTS, strict=True)
    ]
    return pd.DataFrame(rows)


VARIANTS = [
    {"variant": "softmax", "loss": "softmax"},
    {"variant": "weighted_softmax", "loss": "weighted_softmax", "power": 1.0, "signal": 1.8},
    {"variant": "power_half", "loss": "weighted_softmax", "weight_power": 0.5, "power": 0.5},
    {"variant": "weighted_cluster", "loss": "weighted_cluster", "power": 1.0, "signal": 1.5},
    {"variant": "logit_adjusted", "loss": "logit_adjusted", "power": 0.9},
]
MODELS = [
    {"model": number, "power": power, "signal": signal}
    for number, power, signal in (
        (6, 0, 2.0),
        (8, 1, 1.8),
        (10, 1, 1.9),
        (16, 0, 2.0),
        (20, 1, 1.6),
    )
]


@pytest.fixture(scope="session")
def folds():
    return make_results(VARIANTS, folds=3, kind="folds")


@pytest.fixture(scope="session")
def models():
    return make_results(MODELS, kind="models", models=[6, 7, 8, 10, 16, 20])
