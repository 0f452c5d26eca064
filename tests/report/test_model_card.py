"""The card of a run: every number from the run's own files."""

import json

import numpy as np
import pytest
import yaml

from fer_utils import datasets, report
from fer_utils.core import EXPRESSIONS, Run, parameters
from tests.report import made

MEASURED = {
    "best_epoch": 2, "collapsed": False, "seconds": 61.2, "accuracy": 0.9375,
    **dict.fromkeys([f"recall_{name}" for name in EXPRESSIONS], 1.0),
    "confusion": (30 * np.eye(8, dtype=int)).tolist(),
}  # fmt: skip
OF_PEOPLE = {"validation_accuracy": 0.25, "verification_pixel_auc": 0.6}
ENVIRONMENT = {
    "python": "3.11.7", "torch": "2.15.0", "system": "Linux x86_64", "processor": "EPYC",
    "git_commit": "abc123", "device": "cpu", "weights": "0123abcd",
}  # fmt: skip


@pytest.fixture
def card(tmp_path):
    """Write a finished run of drawn faces; its card."""

    def card(measured=(), label_noise=0.3, **values):
        run = Run("made", "one", tmp_path)
        run.folder.mkdir(parents=True)
        values = {"study": "made", "run": "one", "epochs": 2, **values}
        run.path("params.yaml").write_text(yaml.safe_dump(parameters(values).model_dump()))
        tables = {"environment": ENVIRONMENT, "architecture": made.ARCHITECTURE}
        for name, table in {**tables, "metrics": MEASURED | dict(measured)}.items():
            run.path(f"{name}.json").write_text(json.dumps(table))
        manifest = datasets.read_synthetic(80, 16, 24, subjects=20, label_noise=label_noise)
        datasets.write_manifest(manifest, run.path("manifest.parquet"))
        path = report.write_model_card(run)
        assert path == run.path("export") / "MODEL_CARD.md"
        return path.read_text(encoding="utf-8")

    return card


SAID = [
    ({}, (
        "# Model card: made/one\n", "small_se_resnet, an embedding of 128 numbers",
        "38,144 parameters, 28,608 of them trained", "**Started from**: random weights",
        "weighted cluster + weighted softmax (λ = 1,", "epoch 2 of 2",
        "by macro F1 on the validation split", "On 24 test images", "| Accuracy | 0.9375 |",
        "30 %, on purpose, of the labels are wrong", "| class | train | validation | test |",
        "| neutral | 100.0 [88.6, 100.0] | 30 (few: hardly known) |",
        "torch 2.15.0, Linux x86_64, EPYC, git commit abc123; 61 s on cpu",
    )),
    ({"label_noise": 0.0}, ("Every label is right",)),
    ({"measured": {"collapsed": True}, "evaluation": "validation"},
     ("embedding collapsed", "On 16 validation", "the validation split, too, which flatters")),
    ({"weights": "/home/someone/vgg.safetensors"}, ("file `vgg.safetensors`, SHA-256 0123abcd",)),
    ({"measured": OF_PEOPLE, "target": "subject", "loss": "softmax"}, (
        "tells the people of its training data apart", "not for identifying, verifying or",
        "| split | images | people |", "| validation accuracy | 0.25 |", "pixel auc | 0.6 |",
    )),
]  # fmt: skip


@pytest.mark.parametrize(("of", "said"), SAID)
def test_it_says_what_the_run_is_and_how_it_was_measured(card, of, said):
    text = card(**of)
    assert [part for part in said if part not in text] == []
    assert not any(wrong in text for wrong in ("{{", "None", "/home", "\n\n\n\n"))
