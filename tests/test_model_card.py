"""The card of run folders that are written here by hand: every number in it is found again in their files."""

import dataclasses
import json
import re

import numpy as np
import pandas as pd
import pytest
import yaml
from safetensors.numpy import save_file

from fer_utils import metrics, model_card, runs
from fer_utils.datasets import read_manifest, write_manifest
from fer_utils.errors import InputError
from fer_utils.expressions import EXPRESSIONS

CONVENTION = {"range": 255, "mean": [131.5, 103.25, 91.0], "std": [1.0, 1.0, 1.0]}
TEST_COUNTS = (60, 55, 50, 49, 12, 3, 51, 0)


def write_run(root, name="mine", measured=None, manifest=None, people=8, **params):
    run = runs.Run("cards", name, root)
    run.folder.mkdir(parents=True)
    weights = root / "private" / "senet50.pkl"
    values = {"study": "cards", "run": name, "weights": str(weights), "seed": 7, "loss": "focal", **params}
    run.path("params.yaml").write_text(yaml.safe_dump(dataclasses.asdict(runs.parameters(values))))
    versions = {package: f"{number}.{number}" for number, package in enumerate(runs.PACKAGES)}
    machine = {"system": "Linux x86_64", "processor": "Abacus", "cores": 3, "device": "A GPU", "git_commit": "c0ffee"}
    run.write_json("environment.json", {"python": "3.11.9", **versions, **machine, "weights": "5ha256"})
    stages = [{"name": f"stage {k}", "parameters": 1000 * k, "frozen": k < 4} for k in range(1, 6)]
    stages += [{"name": name, "parameters": 7, "frozen": False} for name in ("embedding", "output")]
    built = {"architecture": "se_resnet50", "frozen_stages": 3, "embedding_dim": 64, "num_classes": people}
    run.write_json("architecture.json", {**built, "stages": stages})
    write_manifest(manifest, run.path("manifest.parquet"))
    header = {"input_convention": json.dumps(CONVENTION)}
    save_file({"x": np.zeros(1, np.float32)}, run.path("best.safetensors"), metadata=header)
    run.write_json("metrics.json", {"best_epoch": 4, "leaks_removed": 1607, "seconds": 12.5, **measured})
    return run


@pytest.fixture(scope="module")
def evaluated():
    """Labels of a test split that lacks contempt, and predictions that are right two times in three."""
    targets = np.repeat(np.arange(8), TEST_COUNTS)
    noise = np.random.default_rng(0)
    predictions = np.where(noise.random(len(targets)) < 2 / 3, targets, noise.integers(0, 6, len(targets)))
    return targets, predictions


@pytest.fixture(scope="module")
def run(evaluated, tmp_path_factory):
    targets, predictions = evaluated
    splits = {"train": np.arange(8).repeat(40), "validation": np.arange(8).repeat(2), "test": targets}
    parts = [pd.DataFrame({"image": "a.png", "label": labels, "split": split}) for split, labels in splits.items()]
    manifest = pd.concat(parts, ignore_index=True)
    manifest.attrs = {"dataset": "ferplus", "root": "/home/someone/faces"}
    results = metrics.evaluate(targets, np.eye(8)[predictions])
    recalls = metrics.recall_per_class(results["confusion"])
    measured = {
        **results,
        "confusion": results["confusion"].tolist(),
        "macro_recall": metrics.macro_recall(results["confusion"]),
        **{f"recall_{name}": recall for name, recall in zip(EXPRESSIONS, recalls, strict=True)},
        "test_images": len(targets),
        "collapsed": False,
    }
    root = tmp_path_factory.mktemp("root")
    return write_run(root, measured=measured, manifest=manifest, dataset="ferplus", data="/home/someone/faces")


def rows(card, first):
    """Cells of the table row that begins with `first`; rows of several tables in order."""
    found = [line.strip("| ").split(" | ") for line in card.splitlines() if line.startswith(f"| {first}")]
    return [[cell.strip() for cell in row[1:]] for row in found]


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("Accuracy:", "accuracy"),
        ("F1:", "f1"),
        ("Kappa:", "kappa"),
        ("Alpha:", "alpha"),
        ("AUC-PR:", "auc_pr"),
        ("AUC:", "auc"),
        ("Macro recall:", "macro_recall"),
    ],
)
def test_metrics_are_the_runs(run, label, name):
    assert rows(model_card.model_card(run), label) == [[f"{100 * run.read_json('metrics.json')[name]:.1f}"]]


def test_each_class_has_its_counts_recall_precision_and_interval(run, evaluated):
    targets, predictions = evaluated
    card = model_card.model_card(run)
    for label, name in enumerate(EXPRESSIONS):
        counts, figures = rows(card, f"{name} |")
        assert counts == ["40", "2", str(TEST_COUNTS[label])]
        right, taken = np.sum((targets == label) & (predictions == label)), np.sum(predictions == label)
        n = TEST_COUNTS[label]
        if n == 0:
            assert figures == ["–", "– to –", "–", "0"]
            continue
        # Wilson (1927), written out anew: the roots of (p − share)² = z² p (1 − p) / n.
        share, z2 = right / n, 1.959964**2
        low, high = sorted(np.roots([1 + z2 / n, -(2 * share + z2 / n), share**2]))
        precision = f"{100 * right / taken:.1f}" if taken else "–"
        assert figures == [f"{100 * share:.1f}", f"{100 * low:.1f} to {100 * high:.1f}", precision, str(n)]
    assert "| all | 320 | 16 | 280 |" in card
    few = "**Fewer than 50 test images**, so hardly known: surprise (49), fear (12), disgust (3), contempt (0)."
    assert few in card


def test_it_says_what_the_network_is_and_how_it_was_made(run):
    card = model_card.model_card(run)
    for text in (
        "se_resnet50, an embedding of 64 numbers, a linear classifier of 8 classes; 15,014 parameters, 9,014 of them "
        "trained (3 of 5 stages frozen)",
        "the file `senet50.pkl`, SHA-256 5ha256",
        "values from 0 to 255, minus (131.5, 103.25, 91), over (1, 1, 1)",
        "**Loss**: focal (λ = 0, reduction weighted_mean); batches of 36, learning rate 0.001, precision 32-true; the "
        "weights are those of epoch 4 of 6",
        "also stand in another split: 1,607",
        "selected by macro F1 on the validation split; the figures below were measured on the test split.",
        "One run, seed 7 (data seed 0)",
        "not an emotion",
        "Not for decisions about people",
        "Python 3.11.9, torch 0.0, torchvision 1.1",
        "Linux x86_64, Abacus, 3 cores, computed on A GPU; git commit c0ffee; 12.5 s",
    ):
        assert text in card, text
    assert "/home/" not in card and str(run.root) not in card


def test_a_card_of_identities_says_so(tmp_path):
    people = pd.DataFrame({"image": range(6), "label": -1, "subject": list("aabbcc")})
    people["split"] = ["train", "validation"] * 3
    people.attrs = {"dataset": "identities", "root": "/home/someone/people"}
    measured = {"validation_images": 3, "validation_accuracy": 2 / 3, "collapsed": True}
    verified = {"verification_accuracy": 0.8125, "verification_pairs": 60000, "verification_roc": [[0, 1], [0, 1]]}
    run = write_run(
        tmp_path, measured={**measured, **verified}, manifest=people, people=3, target="subject", loss="softmax",
        dataset="ferplus", data="x",
    )  # fmt: skip
    card = model_card.model_card(run)
    assert rows(card, "identification accuracy, 3 people") == [["0.6667"]]
    assert rows(card, "verification accuracy") == [["0.8125"]] and rows(card, "verification pairs") == [["60,000"]]
    assert rows(card, "people") == [["3", "3"]] and "verification roc" not in card
    assert "tells the people of its training data apart" in card and "Not for identifying" in card
    assert "on the validation split, too, which flatters them" in card
    assert "The embedding collapsed in training" in card and "held out of training" in card


@pytest.mark.parametrize(
    ("protocol", "text"),
    [
        (None, "Splits: the dataset's own."),
        ({"name": "paper", "seed": 3, "per_class": 500, "test_left_out": 0}, "the paper's, 500 images of each class"),
        ({"name": "k_fold", "k": 5, "fold": 2, "seed": 0}, "Protocol: k_fold, fold 2 (from 0) of 5 (seed 0)."),
        ({"name": "official", "drawn": None}, "Protocol: official, the dataset's own splits."),
        (
            {"name": "official", "drawn": "validation", "seed": 1},
            "own splits, validation drawn from training (seed 1).",
        ),
    ],
    ids=["none", "paper", "k_fold", "official", "official_drawn"],
)
def test_it_names_the_protocol_and_the_leaks(run, tmp_path, protocol, text):
    manifest = read_manifest(run.path("manifest.parquet"))
    manifest.attrs |= {} if protocol is None else {"protocol": protocol}
    measured = run.read_json("metrics.json") | {"near_leaks_removed": 1175}
    card = model_card.model_card(write_run(tmp_path, measured=measured, manifest=manifest, dataset="ferplus", data="x"))
    assert text in card
    assert "also stand in another split: 1,607; near-duplicates of such images: 1,175." in card
    assert "near-duplicates" not in model_card.model_card(run)


def test_it_is_written_beside_the_exports_or_anywhere(run, tmp_path):
    assert model_card.write_model_card(run) == run.folder / "export" / "MODEL_CARD.md"
    path = model_card.write_model_card(run, tmp_path / "new")
    assert path.read_text(encoding="utf-8") == model_card.model_card(run)
    assert [file.name for file in path.parent.iterdir()] == ["MODEL_CARD.md"]


@pytest.mark.parametrize(
    ("study", "name", "message"),
    [
        ("cards", "mien", "unknown run 'cards/mien'; did you mean 'cards/mine'?"),
        ("cards", "half", "expected metrics.json in run cards/half, found none: the run has not finished"),
    ],
)
def test_an_unknown_or_unfinished_run_is_one_clear_line(run, study, name, message):
    (run.root / "runs" / "cards" / "half").mkdir(exist_ok=True)
    with pytest.raises(InputError, match=re.escape(message)) as error:
        model_card.model_card(runs.Run(study, name, run.root))
    assert "\n" not in str(error.value)
