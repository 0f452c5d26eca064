import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from fer_utils import datasets, metrics, runs
from fer_utils.errors import InputError
from fer_utils.expressions import EXPRESSIONS
from fer_utils.training import fit
from fer_utils.training.data import SeededSampler
from fer_utils.training.fitting import Interrupted
from fer_utils.training.preparing import prepare_manifest

TINY = {
    "train_images": 64, "validation_images": 16, "test_images": 16, "image_size": 32, "subjects": 12, "epochs": 3,
    "halve_every": 1, "batch_size": 16, "threads": 1, "difficulty": 0.0, "device": "cpu",
}  # fmt: skip


def tiny(**changes):
    return runs.parameters({**TINY, **changes})


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return fit(tiny(), root=tmp_path_factory.mktemp("root"))


def test_a_run_leaves_everything_behind(finished):
    files = {path.name for path in finished.folder.iterdir() if not path.name.startswith(".")}
    assert files == {
        "params.yaml", "environment.json", "manifest.parquet", "history.csv", "best.safetensors", "last.ckpt",
        "predictions.parquet", "features.npy", "centers.npy", "architecture.json", "metrics.json",
    }  # fmt: skip
    assert np.load(finished.path("features.npy")).shape == (16, 512)
    assert np.load(finished.path("centers.npy")).shape == (8, 512)
    history = pd.read_csv(finished.path("history.csv"))
    assert history["epoch"].tolist() == [1, 2, 3]
    assert history["learning_rate"].tolist() == [0.01, 0.005, 0.0025]  # halved every epoch


def test_metrics_are_those_of_the_written_predictions(finished):
    table = pd.read_parquet(finished.path("predictions.parquet"))
    manifest = datasets.read_manifest(finished.path("manifest.parquet"))
    test = manifest[manifest["split"] == "test"]
    assert table["image"].tolist() == test["image"].astype(str).tolist()
    assert table["label"].tolist() == test["label"].tolist()
    probabilities = table[[f"p_{name}" for name in EXPRESSIONS]].to_numpy()
    scores = metrics.evaluate(table["label"].to_numpy(), probabilities)
    written = finished.read_json("metrics.json")
    for name in ("accuracy", "f1", "kappa", "alpha", "auc_pr", "auc"):
        assert written[name] == pytest.approx(scores[name])
    history = pd.read_csv(finished.path("history.csv"))
    assert written["best_epoch"] == history["epoch"][history["validation_f1"].idxmax()]


def test_a_finished_run_is_never_trained_again(finished):
    before = {path: path.stat().st_mtime_ns for path in finished.folder.iterdir() if path.name != ".lock"}
    assert fit(tiny(), root=finished.root).finished
    assert before == {path: path.stat().st_mtime_ns for path in finished.folder.iterdir() if path.name != ".lock"}
    with pytest.raises(InputError, match="epochs: 3 → 4"):
        fit(tiny(epochs=4), root=finished.root)


def assert_same_run(whole, resumed):
    """Weights, centres, features, predictions and history alike, bit for bit."""
    tensors, again = (load_file(run.path("best.safetensors")) for run in (whole, resumed))
    assert tensors.keys() == again.keys() and all(torch.equal(tensors[name], again[name]) for name in tensors)
    for name in ("centers.npy", "features.npy"):
        assert whole.path(name).read_bytes() == resumed.path(name).read_bytes(), name
    pd.testing.assert_frame_equal(*(pd.read_parquet(run.path("predictions.parquet")) for run in (whole, resumed)))
    histories = [
        pd.read_csv(run.path("history.csv")).drop(columns=["seconds", "input_wait"]) for run in (whole, resumed)
    ]
    pd.testing.assert_frame_equal(*histories, check_exact=True)


@pytest.mark.parametrize("loss", [{}, {"center_update": "autograd"}, {"center_init": "normal"}])
def test_an_interrupted_run_ends_at_the_same_numbers_bit_for_bit(loss, tmp_path, finished):
    whole = finished if not loss else fit(tiny(**loss), root=tmp_path / "whole")

    def stop_after_two(history):
        if len(history) == 2:
            raise KeyboardInterrupt

    with pytest.raises(Interrupted, match="stopped after epoch 2 of 3; the same command goes on from there"):
        fit(tiny(**loss), root=tmp_path, on_epoch=stop_after_two)
    resumed = fit(tiny(**loss), root=tmp_path)
    assert_same_run(whole, resumed)


def test_a_stopped_run_is_evaluated_says_so_and_goes_on_to_the_same_numbers(tmp_path, finished):
    history = []
    stopped = fit(
        tiny(), root=tmp_path, on_epoch=history.append, stop=lambda: "after_epoch" if len(history) == 2 else ""
    )
    assert stopped.stopped and not stopped.finished
    assert repr(stopped) == "Run('explore', 'first', stopped after epoch 2 of 3)"
    measured = stopped.measured
    assert (measured["stopped_after"], measured["epochs"]) == (2, 3) and measured["best_epoch"] <= 2
    assert 0 <= measured["accuracy"] <= 1 and len(pd.read_parquet(stopped.path("predictions.parquet"))) == 16
    with pytest.raises(InputError, match="metrics.json in run explore/first.* was stopped after epoch 2 of 3;"):
        stopped.require("metrics.json")  # what the graph, the results and an export ask for
    with pytest.raises(InputError, match="epochs: 3 → 2"):
        fit(tiny(epochs=2), root=tmp_path)  # nor is it a run of two epochs
    resumed = fit(tiny(), root=tmp_path, on_epoch=history.append)
    assert [len(table) for table in history] == [1, 2, 3]  # the last epoch alone was left
    assert resumed.finished and not resumed.stopped
    assert_same_run(finished, resumed)
    assert {path.name for path in resumed.folder.iterdir()} == {path.name for path in finished.folder.iterdir()}


def test_a_run_ended_at_once_goes_on_after_its_last_whole_epoch(tmp_path, finished):
    history = []
    with pytest.raises(Interrupted, match="stopped after epoch 1 of 3; the same command goes on from there"):
        fit(tiny(), root=tmp_path, on_epoch=history.append, stop=lambda: "now" if history else "")
    assert_same_run(finished, fit(tiny(), root=tmp_path))


def test_a_stop_in_the_last_epoch_is_a_finished_run(tmp_path):
    assert fit(tiny(epochs=1), root=tmp_path, stop=lambda: "after_epoch").finished


def test_a_run_goes_on_without_what_was_evaluated_when_it_stopped(tmp_path):
    stopped = fit(tiny(), root=tmp_path, stop=lambda: "after_epoch")

    def interrupt(_):
        raise KeyboardInterrupt

    with pytest.raises(Interrupted, match="stopped after epoch 2 of 3"):
        fit(tiny(), root=tmp_path, on_epoch=interrupt)
    left = {path.name for path in stopped.folder.iterdir()}
    assert not left & {"stopped.json", "metrics.json", "predictions.parquet", "features.npy"}
    assert stopped.status == "unfinished"


def test_the_history_holds_the_recall_of_each_expression(finished):
    history = pd.read_csv(finished.path("history.csv"))
    recalls = history[[f"validation_recall_{name}" for name in EXPRESSIONS]]
    manifest = datasets.read_manifest(finished.path("manifest.parquet"))
    counts = manifest[manifest["split"] == "validation"]["label"].value_counts().reindex(range(8), fill_value=0)
    assert recalls.isna().any().tolist() == (counts == 0).tolist()
    right = (recalls.fillna(0).to_numpy() * counts.to_numpy()).sum(axis=1) / counts.sum()
    assert right == pytest.approx(history["validation_accuracy"].to_numpy())  # recall × images = images right


def test_an_interrupt_leaves_the_process_interruptible(tmp_path):
    import signal

    handler = signal.getsignal(signal.SIGINT)

    def stop(_):
        raise KeyboardInterrupt

    with pytest.raises(Interrupted):
        fit(tiny(), root=tmp_path, on_epoch=stop)
    assert signal.getsignal(signal.SIGINT) is handler


def test_identity_weights_carry_over_and_frozen_stages_stay_as_they_were(tmp_path):
    identity = fit(
        tiny(
            run="identity", target="subject", loss="softmax", epochs=1, validation_images=0, test_images=0, data_seed=9
        ),
        root=tmp_path,
    )
    measured = identity.read_json("metrics.json")
    assert "accuracy" not in measured and 0 <= measured["validation_accuracy"] <= 1
    source = "runs/explore/identity/best.safetensors"
    transfer = fit(tiny(run="transfer", weights=source, epochs=1), root=tmp_path)
    before, after = (load_file(run.path("best.safetensors")) for run in (identity, transfer))
    frozen = [
        name
        for name in after
        if name.startswith(("backbone.conv1", "backbone.bn1", "backbone.layer1", "backbone.layer2"))
    ]
    assert any("running_mean" in name for name in frozen)
    for name in frozen:
        assert torch.equal(before[name], after[name]), name
    assert not torch.equal(before["backbone.layer3.0.conv1.weight"], after["backbone.layer3.0.conv1.weight"])
    stages = transfer.read_json("architecture.json")["stages"]
    assert [stage["frozen"] for stage in stages[:5]] == [True, True, True, False, False]


def test_a_network_of_torchvisions_starts_from_the_checkpoint_of_another_run(tmp_path, recwarn):
    first = fit(tiny(architecture="shufflenet_v2_x0_5", loss="softmax", epochs=1), root=tmp_path)
    source = "runs/explore/first/last.ckpt"
    options = {"architecture": "shufflenet_v2_x0_5", "loss": "softmax", "weights": source, "frozen_stages": 4}
    second = fit(tiny(run="second", epochs=1, input_convention="paper", **options), root=tmp_path)
    before, after = (load_file(run.path("best.safetensors")) for run in (first, second))
    backbone = [name for name in before if name.startswith("backbone.net.")]
    assert backbone and all(torch.equal(before[name], after[name]) for name in backbone)  # all four stages are frozen
    assert not torch.equal(before["output.weight"], after["output.weight"])
    pretrained = second.read_json("architecture.json")["pretrained"]
    assert (pretrained["format"], pretrained["source"]) == ("lightning", "last.ckpt")
    assert second.resolved.input_convention == "paper"
    with pytest.raises(InputError, match="from 0 to 4, which shufflenet_v2_x0_5 has; found 5"):
        fit(tiny(run="third", **{**options, "frozen_stages": 5}), root=tmp_path)
    assert not [warning for warning in recwarn if "mosaic" in str(warning.message)]


def test_identity_splits_hold_out_images_of_known_people():
    manifest = prepare_manifest(tiny(target="subject", validation_images=0, test_images=0, subjects=4), Path())
    train, validation = (manifest[manifest["split"] == split] for split in ("train", "validation"))
    assert set(validation["subject"]) <= set(train["subject"]) and len(validation) > 0
    assert not set(train["image"]) & set(validation["image"])


def test_the_order_and_its_seeds_depend_on_seed_and_epoch_alone():
    sampler, again = SeededSampler(50, seed=3), SeededSampler(50, seed=3)
    again.set_epoch(0)
    first = list(sampler)
    assert first == list(again) and sorted(index for index, _ in first) == list(range(50))
    again.set_epoch(1)
    assert first != list(again)
    assert first != list(SeededSampler(50, seed=4))


def test_a_class_without_training_image_is_named(tmp_path, monkeypatch):
    run = runs.Run("explore", "first", tmp_path)
    manifest = prepare_manifest(tiny(), Path())
    lacking = manifest[~((manifest["split"] == "train") & (manifest["label"] == 7))].reset_index(drop=True)
    lacking.attrs = manifest.attrs
    monkeypatch.setattr(sys.modules["fer_utils.training.fitting"], "prepare_manifest", lambda *_: lacking)
    with pytest.raises(InputError, match="contempt"):
        fit(tiny(), root=tmp_path)
    assert not run.path("params.yaml").exists() and not run.path("manifest.parquet").exists()  # nothing has begun


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dataset": "ferplus"}, "dataset 'ferplus' needs its folder"),
        ({"dataset": "ferplus", "data": "nowhere"}, "nowhere"),
        ({"data": "somewhere"}, "drawn faces need no folder"),
        ({"validation_images": 0}, "expected images in the validation split, found none"),
        ({"test_images": 0}, "expected images in the test split, found none"),
        ({"weights": "nowhere.safetensors"}, "nowhere.safetensors"),
        pytest.param(
            {"device": "cuda"},
            "expected a CUDA device",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="has one"),
        ),
    ],
)
def test_bad_input_is_one_clear_line(changes, message, tmp_path):
    with pytest.raises(InputError) as error:
        fit(tiny(**changes), root=tmp_path)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_history_is_whole_after_a_kill_between_its_files(tmp_path, finished):
    """The checkpoint is written last: an epoch that has a row but no checkpoint is trained again to the same row."""
    shutil.copytree(finished.folder, tmp_path / "runs" / "explore" / "first")
    run = runs.Run("explore", "first", tmp_path)
    run.path("metrics.json").unlink()  # killed during evaluation
    again = fit(tiny(), root=tmp_path)
    first, second = (json.loads(r.path("metrics.json").read_text()) for r in (finished, again))
    assert first == second


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_run_on_the_gpu_finishes(tmp_path):
    assert fit(tiny(device="cuda", precision="bf16-mixed"), root=tmp_path).finished
