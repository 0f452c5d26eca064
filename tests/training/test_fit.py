"""`fit`: whole runs, interrupted, stopped, killed, diverged, gone on with."""

import json
import shutil
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors import safe_open

from fer_utils import metrics, models, training
from fer_utils.core import LOG_PROBABILITIES, Diverged, InputError, Run, parameters
from fer_utils.training.module import RunLogger


def log_probabilities(run):
    return pd.read_parquet(run.path("predictions.parquet"))[list(LOG_PROBABILITIES)].to_numpy()


class Killed(BaseException):
    """As if the process had died."""


def test_a_finished_run_is_whole(finished):
    files = {path.name for path in finished.folder.iterdir()}
    assert files >= {
        "params.yaml", "environment.json", "manifest.parquet", "history.csv", "best.safetensors",
        "centers.npy", "last.ckpt", "predictions.parquet", "features.npy", "architecture.json",
        "metrics.json",
    }  # fmt: skip
    history = pd.read_csv(finished.path("history.csv"))
    assert history["epoch"].tolist() == [1, 2]
    best = finished.measured["best_epoch"]
    assert best == history["validation_f1"].idxmax() + 1
    with safe_open(finished.path("best.safetensors"), "pt") as file:
        assert file.metadata()["epoch"] == str(best)


def test_each_epoch_has_an_order_of_its_own(tiny, tmp_path, monkeypatch):
    orders = []
    sampler = training.data.SeededSampler
    original = sampler.__iter__

    def keep(self):
        orders.append(list(original(self)))
        yield from orders[-1]

    monkeypatch.setattr(sampler, "__iter__", keep)
    training.fit(tiny, tmp_path)
    assert len(orders) == 2 and orders[0] != orders[1]


def test_metrics_are_those_of_the_predictions(finished):
    table = pd.read_parquet(finished.path("predictions.parquet"))
    assert table["split"].value_counts().to_dict() == {"validation": 40, "test": 40}
    assert (table.dtypes[list(LOG_PROBABILITIES)] == np.float16).all()
    test = table[table["split"] == "test"]
    predicted = test[list(LOG_PROBABILITIES)].to_numpy().argmax(1)
    assert finished.measured["accuracy"] == pytest.approx((predicted == test["label"]).mean())
    confusion = np.array(finished.measured["confusion"])
    assert confusion.sum() == 40 and confusion.trace() == (predicted == test["label"]).sum()


def test_predictions_are_those_of_the_kept_weights(finished):
    params = finished.params
    manifest = training.prepare_manifest(params, finished.root)
    module = training.build(params, manifest, finished.root)
    models.load_weights(module.evaluated, finished.path("best.safetensors"))
    data = training.data.ExpressionData(manifest, params)
    images = torch.cat([batch[0] for batch in data.predict_dataloader()[1]])
    with torch.inference_mode():
        logits, features = module.eval()(images)
    kept = log_probabilities(finished)[40:]
    np.testing.assert_allclose(logits.log_softmax(1), kept, atol=0.02)
    np.testing.assert_allclose(features, np.load(finished.path("features.npy")), atol=1e-3)


def test_a_checkpoint_starts_another_run_as_it_was_trained(finished):
    backbones = [models.build_backbone("small_se_resnet") for _ in range(2)]
    found = [
        models.load_pretrained(backbone, finished.path(name))
        for backbone, name in zip(backbones, ("last.ckpt", "best.safetensors"), strict=True)
    ]
    assert found[0]["native_input"] == found[1]["native_input"]
    assert found[0]["layout"] == found[1]["layout"]


def test_a_finished_run_is_not_trained_again(finished, monkeypatch):
    monkeypatch.setattr("fer_utils.training.fitting._complete", None)
    assert training.fit(finished.params, finished.root).finished


def test_other_parameters_are_refused(finished, tiny):
    with pytest.raises(InputError, match="learning_rate"):
        training.fit(tiny | {"learning_rate": 0.5}, finished.root)


@pytest.mark.parametrize("where", ["in an epoch", "before the checkpoint", "after the checkpoint"])
def test_a_killed_run_arrives_at_the_same_numbers(finished, tiny, tmp_path, monkeypatch, where):
    calls = {
        "in an epoch": ("on_train_batch_start", 4),
        "before the checkpoint": ("_write_history", 2),
        "after the checkpoint": ("_forget_others", 1),
    }
    name, number = calls[where]
    original, seen = getattr(RunLogger, name), []

    def kill(self, *arguments):
        seen.append(name)
        if len(seen) == number:
            raise Killed
        return original(self, *arguments)

    monkeypatch.setattr(RunLogger, name, kill)
    with pytest.raises(Killed):
        training.fit(tiny, tmp_path)
    monkeypatch.undo()
    run = training.fit(tiny, tmp_path)
    np.testing.assert_array_equal(log_probabilities(run), log_probabilities(finished))
    columns = ["epoch", "train_loss", "validation_f1", "embedding_norm"]
    histories = [pd.read_csv(each.path("history.csv"))[columns] for each in (run, finished)]
    pd.testing.assert_frame_equal(*histories)


def test_weights_of_a_discarded_try_are_never_tested(tiny, tmp_path, monkeypatch):
    """A kill between weights and checkpoint; the repeated epoch scores worse than the lost one."""
    original = RunLogger._write_history

    def kill(self, *more):
        if len(self.history) == 2:
            raise Killed
        return original(self, *more)

    monkeypatch.setattr(RunLogger, "_write_history", kill)
    scores = iter([0.2, 0.9, 0.1])
    record = training.module.ExpressionModule.epoch_record
    monkeypatch.setattr(
        training.module.ExpressionModule,
        "epoch_record",
        lambda self: record(self) | {"validation_f1": next(scores)},
    )
    with pytest.raises(Killed):
        training.fit(tiny, tmp_path)
    monkeypatch.setattr(RunLogger, "_write_history", original)
    run = training.fit(tiny, tmp_path)
    assert run.measured["best_epoch"] == 1
    with safe_open(run.path("best.safetensors"), "pt") as file:
        assert file.metadata()["epoch"] == "1"


def test_stopping_evaluates_and_going_on_ends_as_if_never_stopped(finished, tiny, tmp_path):
    run = training.fit(tiny, tmp_path, stop=lambda: "after_epoch")
    assert run.status == "stopped after epoch 1 of 2" and "accuracy" in run.measured
    run = training.fit(tiny, tmp_path)
    assert run.finished and not run.stopped
    np.testing.assert_array_equal(log_probabilities(run), log_probabilities(finished))


def test_interrupting_loses_the_current_epoch_alone(tiny, tmp_path):
    epochs = []
    with pytest.raises(training.Interrupted, match="after epoch 1 of 2"):
        training.fit(tiny, tmp_path, epochs.append, lambda: "now" if epochs else "")
    assert len(epochs) == 1 and not Run("test", "one", tmp_path).finished


def test_more_epochs_go_on_where_a_longer_run_would_be(finished, tiny, tmp_path):
    shutil.copytree(finished.folder, tmp_path / "runs/test/one")
    longer = training.fit(tiny | {"epochs": 3}, tmp_path)
    assert longer.params.epochs == 3 and len(pd.read_csv(longer.path("history.csv"))) == 3
    whole = training.fit(tiny | {"epochs": 3}, tmp_path / "whole")
    np.testing.assert_array_equal(log_probabilities(longer), log_probabilities(whole))


def test_a_divergence_in_the_first_epoch_is_a_result(tiny, tmp_path):
    values = tiny | {"loss": "center_softmax", "learning_rate": 1e4}
    with pytest.raises(Diverged, match="test/one"):
        training.fit(values, tmp_path)
    run = Run("test", "one", tmp_path)
    assert run.finished and not run.evaluated and run.status == "diverged in epoch 1"


def test_after_a_later_divergence_the_best_epoch_before_is_tested(tiny, tmp_path, monkeypatch):
    record = training.module.ExpressionModule.epoch_record
    monkeypatch.setattr(
        training.module.ExpressionModule,
        "epoch_record",
        lambda self: record(self) | ({"train_loss": np.nan} if self.current_epoch else {}),
    )
    with pytest.warns(UserWarning, match="diverged in epoch 2"):
        run = training.fit(tiny, tmp_path)
    assert run.measured["diverged_in"] == 2 and run.measured["best_epoch"] == 1


@pytest.mark.parametrize(
    "values",
    [
        {"loss": "softmax", "ema_decay": 0.9, "flip_tta": True, "selection": "last"},
        {"loss": "weighted_cluster", "reduction": "balanced", "optimizer": "adamw",
         "augmentation": "strong", "clip_norm": 1.0, "schedule": "cosine"},
        {"loss": "weighted_cluster", "center_update": "autograd", "accumulate_grad_batches": 2,
         "precision": "bf16-mixed", "reduction": "sum", "learning_rate": 1e-4},
    ],
)  # fmt: skip
def test_other_recipes_run_to_their_end(tiny, tmp_path, values):
    run = training.fit(tiny | {"epochs": 1} | values, tmp_path)
    assert 0 <= run.measured["accuracy"] <= 1
    # Centres belong to the raw weights: beside averaged ones they are not kept.
    has_centers = "cluster" in values["loss"]
    assert run.path("centers.npy").is_file() == has_centers


def test_people_are_verified_and_their_weights_start_an_expression_run(tiny, tmp_path):
    people = {"target": "subject", "loss": "softmax", "run": "people", "train_images": 240,
              "validation_images": 0, "test_images": 0, "epochs": 1, "selection": "accuracy",
              "data_options": {"subjects": 12, "held_out_people": 0.25}}  # fmt: skip
    run = training.fit(tiny | people, tmp_path)
    pairs = pd.read_parquet(run.path("verification.parquet"))
    found = metrics.verify(pairs["similarity"], pairs["same"].to_numpy())
    assert run.measured["verification_accuracy"] == found["accuracy"]
    assert run.measured["verification_people"] == 3
    weights = str(run.path("best.safetensors").relative_to(tmp_path))
    started = training.fit(tiny | {"weights": weights, "epochs": 1}, tmp_path)
    assert json.loads(started.path("architecture.json").read_text())["pretrained"]["source"]


def test_a_device_that_is_not_there_is_never_a_silent_cpu(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match="cuda"):
        training.fit(tiny | {"device": "cuda"}, tmp_path)


def test_a_collapse_warns_and_goes_on(tiny, tmp_path):
    values = tiny | {"center_init": "zeros", "cluster_weight": 50.0, "epochs": 1}
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        run = training.fit(values, tmp_path)
    collapsed = [w for w in said if issubclass(w.category, training.CollapseWarning)]
    assert run.finished and run.measured["collapsed"] == bool(collapsed)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_run_is_close_to_the_cpus(finished, tiny, tmp_path):
    run = training.fit(tiny | {"device": "cuda"}, tmp_path)
    first = [pd.read_csv(each.path("history.csv"))["train_loss"][0] for each in (run, finished)]
    assert first[0] == pytest.approx(first[1], rel=0.05)
    assert parameters(run.params.model_dump()).device == "cuda"
