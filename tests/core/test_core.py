"""Expressions, published values, files and errors."""

import errno

import numpy as np
import pytest

from fer_utils import core
from fer_utils.core import InputError, paper


def test_class_order_is_the_papers():
    assert core.EXPRESSIONS == (
        "neutral", "happy", "sad", "surprise", "fear", "disgust", "anger", "contempt",
    )  # fmt: skip
    assert len(set(core.COLORS.values())) == core.NUM_CLASSES == 8


@pytest.mark.parametrize(
    ("dataset", "code", "name"),
    [("fer2013", 0, "anger"), ("rafdb", 1, "surprise"), ("affectnet", 7, "contempt"),
     ("ferplus", "sadness", "sad"), ("fer2013", 6, "neutral"), ("rafdb", 7, "neutral")],
)  # fmt: skip
def test_each_dataset_has_its_own_coding(dataset, code, name):
    assert core.to_labels([code], dataset) == [core.LABELS[name]]


def test_codes_of_no_expression_are_minus_one():
    assert core.to_labels([8, 9, 10], "affectnet") == [-1, -1, -1]


@pytest.mark.parametrize(
    ("spelling", "name"),
    [("Happiness", "happy"), ("0_Neutral", "neutral"), ("ANGRY", "anger"), ("joy", "happy")],
)
def test_class_folders_in_any_spelling(spelling, name):
    assert core.find_label(spelling) == core.LABELS[name]


def test_numbers_and_strangers_are_no_names():
    assert core.find_label("3") is None
    assert core.find_label("happily") is None


def test_twenty_models_of_tables_5_and_6():
    assert list(paper.MODELS) == list(range(1, 21))
    ten = paper.MODELS[10]
    assert (ten.base, ten.pretrained, ten.loss) == ("se_resnet50", True, "weighted_cluster")
    assert (ten.accuracy, ten.f1, ten.kappa, ten.alpha, ten.auc_pr, ten.auc) == (
        0.6070, 0.6049, 0.5509, 0.5506, 0.6655, 0.9182,
    )  # fmt: skip
    assert paper.MODELS[17].auc == 0.8789
    assert paper.MODELS[11].loss == "softmax" and not paper.MODELS[11].pretrained


def test_published_kappas_are_those_of_eight_balanced_classes():
    """The identity that shows the metrics to be multi-class: kappa = (accuracy − 1/8) / (7/8)."""
    for model in paper.MODELS.values():
        assert model.kappa == pytest.approx((model.accuracy - 1 / 8) / (7 / 8), abs=2e-4)


def test_table_3_is_the_lists_less_what_is_held_out():
    totals = np.array([75_374, 134_915, 25_959, 14_590, 6_878, 4_303, 25_382, 4_250])
    held_out = np.add(paper.VALIDATION_COUNTS, paper.TEST_COUNTS)
    assert (np.array(paper.TRAINING_COUNTS) == totals - held_out).all()
    assert sum(paper.TRAINING_COUNTS) == 283_651


def test_a_file_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "deep" / "table.csv"
    with core.atomic_write(path) as temporary:
        temporary.write_text("whole")
    with pytest.raises(OSError), core.atomic_write(path) as temporary:
        temporary.write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")
    assert path.read_text() == "whole"
    assert [item.name for item in path.parent.iterdir()] == ["table.csv"]


def test_the_checkout_is_found_from_within(tmp_path):
    (tmp_path / "experiments").mkdir()
    (tmp_path / "pyproject.toml").touch()
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    assert core.project_root(deep) == tmp_path.resolve()


def test_outside_of_a_checkout_the_folder_is_named(tmp_path):
    with pytest.raises(InputError, match=str(tmp_path)):
        core.project_root(tmp_path)


def test_paths_that_users_give(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", "/home/someone")
    assert str(core.resolve_path("~/x", tmp_path)) == "/home/someone/x"
    assert core.resolve_path("runs/x", tmp_path) == tmp_path / "runs/x"


def test_an_input_error_is_one_line_in_a_notebook():
    assert InputError("expected a, found b")._render_traceback_() == [
        "InputError: expected a, found b"
    ]
    assert issubclass(InputError, ValueError)


def test_a_wrong_choice_names_the_nearest():
    with pytest.raises(InputError, match="'focal'"):
        core.check_choice("loss", "focall", ["softmax", "focal"])


def test_versions_and_environment(tmp_path):
    assert "torch" in core.versions()
    about = core.environment(tmp_path)
    assert about["git_commit"] == "none" and about["cores"] >= 1
