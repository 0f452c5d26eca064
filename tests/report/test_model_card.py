"""The card of a run: every number from the run's own files."""

import json

import pytest
import yaml

from fer_utils import datasets, report
from fer_utils.core import EXPRESSIONS, InputError, Run, parameters
from tests.report import made

CONFUSION = [[30 if a == b else 2 * (b == 0) for b in range(8)] for a in range(8)]
MEASURED = {
    "best_epoch": 2, "collapsed": False, "seconds": 61.2, "leaks_removed": 0,
    "accuracy": 0.9375, "f1": 0.9, "kappa": 0.8, "macro_recall": 0.94,
    **{f"recall_{name}": 30 / (30 + 2 * (k > 0)) for k, name in enumerate(EXPRESSIONS)},
    "confusion": CONFUSION,
}  # fmt: skip
ENVIRONMENT = {
    "python": "3.11.7", "torch": "2.15.0", "system": "Linux x86_64", "processor": "EPYC",
    "git_commit": "abc123", "device": "cpu", "weights": "none",
}  # fmt: skip


@pytest.fixture
def write_run(tmp_path):
    """A finished run of drawn faces with other parameters, measures or manifest."""

    def write_run(measured=MEASURED, about=ENVIRONMENT, label_noise=0.3, **values):
        run = Run("made", "one", tmp_path)
        run.folder.mkdir(parents=True, exist_ok=True)
        values = {"study": "made", "run": "one", "epochs": 2, "loss": "weighted_cluster", **values}
        run.path("params.yaml").write_text(yaml.safe_dump(parameters(values).model_dump()))
        tables = {"metrics": measured, "environment": about, "architecture": made.ARCHITECTURE}
        for name, table in tables.items():
            run.path(f"{name}.json").write_text(json.dumps(table))
        sizes = {"train": 80, "validation": 16, "test": 24, "subjects": 20}
        manifest = datasets.read_synthetic(**sizes, label_noise=label_noise)
        datasets.write_manifest(manifest, run.path("manifest.parquet"))
        return run

    return write_run


def test_it_says_what_the_run_is_and_how_it_was_measured(write_run):
    run = write_run()
    text = report.model_card(run)
    assert text.startswith("# Model card: made/one\n")
    for part in (
        "small_se_resnet, an embedding of 128 numbers",
        "38,144 parameters, 28,608 of them trained",
        "**Started from**: random weights",
        "weighted cluster + weighted softmax (λ = 1,",
        "epoch 2 of 2",
        "by macro F1 on the validation split",
        "On 24 test images",
        "| Accuracy | 0.9375 |",
        "| neutral | 100.0 [88.6, 100.0] | 30 (few: hardly known) |",
        "| class | train | validation | test |",
        "torch 2.15.0, Linux x86_64, EPYC, git commit abc123; 61 s on cpu",
        "export made/one --format onnx",
    ):
        assert part in text, part
    assert "{{" not in text and "None" not in text and "\n\n\n\n" not in text


def test_labels_that_are_right_are_said_to_be(write_run):
    assert "30 %, on purpose, of the labels are wrong" in report.model_card(write_run())
    assert "Every label is right" in report.model_card(write_run(label_noise=0.0))


def test_it_warns_of_a_collapse_and_of_figures_of_the_split_it_was_selected_on(write_run):
    run = write_run({**MEASURED, "collapsed": True}, evaluation="validation")
    text = report.model_card(run)
    assert "embedding collapsed" in text and "On 16 validation images" in text
    assert "the validation split, too, which flatters them" in text


def test_weights_are_named_by_file_and_hash(write_run):
    about = {**ENVIRONMENT, "weights": "0123abcd"}
    text = report.model_card(write_run(about=about, weights="/home/someone/vgg.safetensors"))
    assert "the file `vgg.safetensors`, SHA-256 0123abcd" in text and "/home/someone" not in text


def test_a_network_of_people_is_for_pretraining_and_nothing_else(write_run):
    measured = {"best_epoch": 1, "seconds": 5, "collapsed": False, "validation_accuracy": 0.25}
    measured |= {"verification_accuracy": 0.7, "verification_pixel_auc": 0.6}
    text = report.model_card(write_run(measured, target="subject", loss="softmax"))
    assert "tells the people of its training data apart" in text
    assert "not for identifying, verifying or searching for people" in text
    assert "| split | images | people |" in text
    assert "| validation accuracy | 0.25 |" in text and "| verification pixel auc | 0.6 |" in text
    assert "Recall" not in text


def test_it_is_written_into_the_export_or_where_one_wants_it(write_run, tmp_path):
    run = write_run()
    assert report.write_model_card(run) == run.path("export") / "MODEL_CARD.md"
    path = report.write_model_card(run, tmp_path / "model")
    assert path.read_text(encoding="utf-8") == report.model_card(run)


def test_an_unfinished_run_has_no_card(tmp_path):
    with pytest.raises(InputError, match="has not finished"):
        report.model_card(Run("made", "none", tmp_path))
