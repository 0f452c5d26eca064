"""A run whose numbers cease to be finite is a result: it says so, and its study goes on."""

import json

import pandas as pd
import pytest
import yaml

from fer_utils import collecting, losses, paper, recognising, results, runs, studies
from fer_utils.errors import Diverged, InputError
from fer_utils.training import fit
from fer_utils.training.module import ExpressionModule

TINY = {
    "train_images": 64, "validation_images": 16, "test_images": 16, "image_size": 32, "subjects": 12, "epochs": 2,
    "batch_size": 16, "threads": 1, "difficulty": 0.0, "device": "cpu",
}  # fmt: skip
FAR_TOO_FAST = {"loss": "center_softmax", "learning_rate": 1e8}


@pytest.mark.parametrize("checks", ["of each batch", "of each epoch"])
def test_nothing_finite_is_nothing_to_evaluate(tmp_path, monkeypatch, checks):
    if checks == "of each epoch":  # a GPU is not asked for its values at every step
        monkeypatch.setattr(losses.checks, "_values_are_free", lambda values: False)
    params = runs.parameters({**TINY, **FAR_TOO_FAST})
    for _ in range(2):  # the second time from what the first one left
        with pytest.raises(Diverged, match="explore/first diverged: .* lower the learning rate"):
            fit(params, root=tmp_path)
    run = runs.Run("explore", "first", tmp_path)
    assert run.finished and not run.evaluated and run.status == "diverged in epoch 1"
    assert run.measured == {**run.measured, "train_images": 64, "diverged_in": 1}
    assert pd.read_csv(run.path("history.csv"))["train_loss"].isna().tolist() == [True]
    assert not recognising.finished_runs(tmp_path)
    with pytest.raises(InputError, match="found none: the run diverged in epoch 1; lower the learning rate"):
        run.require("predictions.parquet")


def test_after_a_finite_epoch_the_best_one_is_evaluated(tmp_path, monkeypatch):
    step = ExpressionModule.training_step

    def diverge(module, *arguments):
        if module.current_epoch:
            raise Diverged("no longer finite")
        return step(module, *arguments)

    once = fit(runs.parameters({**TINY, "epochs": 1, "schedule": "halve"}), root=tmp_path / "once")
    monkeypatch.setattr(ExpressionModule, "training_step", diverge)
    with pytest.warns(UserWarning, match="diverged in epoch 2, the best epoch before is evaluated: no longer finite"):
        run = fit(runs.parameters(TINY), root=tmp_path)
    assert run.status == "diverged in epoch 2" and run.evaluated and not run.stopped
    assert run.measured["diverged_in"] == 2 and run.measured["best_epoch"] == 1
    assert run.measured["confusion"] == once.measured["confusion"]
    assert len(pd.read_csv(run.path("history.csv"))) == 2


def test_a_study_goes_on_and_names_it(tmp_path):
    (tmp_path / "experiments").mkdir()
    study = {"title": "t", "note": "n", "models": [1, 2], "architectures": {"se_resnet50": "se_resnet14"}}
    study |= {"parameters": {**TINY, "threads": None}, "seeds": [0]}
    del study["parameters"]["threads"]
    (tmp_path / "experiments/tiny.yaml").write_text(yaml.safe_dump(study))
    plan = studies.load("tiny", tmp_path)
    for name, params in plan.runs().items():
        if name == "model02-seed0":
            with pytest.raises(Diverged):
                fit({**vars(params), "learning_rate": 1e8}, root=tmp_path)
        else:
            fit(params, root=tmp_path)
    collecting.collect(plan, plan.names, tmp_path)
    report = paper.Report(tmp_path, "tiny")
    assert report.runs["model"].tolist() == [1] and report.diverged["model"].tolist() == [2]
    assert report.protocol.endswith("Training diverged in the first epoch, nothing to evaluate: model02-seed0.")
    beside = paper.beside_published(report.runs, [1, 2, 3], diverged=report.diverged)
    assert beside["ran"].tolist()[1:] == ["training diverged with 1 seed", "not run"]
    assert beside["accuracy"].isna().tolist() == [False, True, True]
    assert list(results.read_side("tiny", tmp_path).predictions) == ["model01-seed0"]
    assert json.loads((tmp_path / "results/tiny/study.json").read_text())["models"] == [1, 2]
