"""Two processes on the CPU arrive at what one does, on the same batches."""

import os

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from fer_utils import models, runs
from fer_utils.errors import Diverged, InputError
from fer_utils.training import fit, processes
from fer_utils.training.data import SeededSampler, SharedBatches

# All stages are frozen, since a batch norm that is trained needs a GPU to see the other processes' images. 70 images
# leave a last batch of 6; its weighted mean, and that of uneven shares, are those of whole batches.
TINY = {
    "train_images": 70, "validation_images": 17, "test_images": 16, "image_size": 32, "subjects": 12, "epochs": 2,
    "batch_size": 16, "threads": 1, "device": "cpu", "packed": True, "architecture": "resnet14", "frozen_stages": 5,
    "weight_average": 0.9, "halve_every": 1,
}  # fmt: skip


def tiny(**changes):
    return runs.parameters({**TINY, **changes})


@pytest.mark.slow
def test_two_processes_arrive_at_the_numbers_of_one(tmp_path):
    one, seen = fit(tiny(), root=tmp_path / "one"), []
    two = fit(tiny(devices=2), root=tmp_path / "two", on_epoch=lambda history: seen.append(len(history)))
    assert two.finished and seen[-1] == 2
    tensors, again = (load_file(run.path("best.safetensors")) for run in (one, two))
    assert tensors.keys() == again.keys()
    for name in tensors:
        torch.testing.assert_close(again[name], tensors[name], atol=1e-5, rtol=1e-4)
    for name in ("centers.npy", "features.npy"):
        np.testing.assert_allclose(*(np.load(run.path(name)) for run in (two, one)), atol=1e-4, rtol=1e-3)
    pd.testing.assert_frame_equal(*(pd.read_parquet(run.path("predictions.parquet")) for run in (two, one)), atol=1e-4)
    histories = [pd.read_csv(run.path("history.csv")) for run in (two, one)]
    # Each process weighs the validation images it holds by their own classes.
    differ = ["seconds", "input_wait", "validation_loss"]
    pd.testing.assert_frame_equal(*(history.drop(columns=differ) for history in histories), rtol=1e-3)


@pytest.mark.parametrize("images", [70, 64, 66])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_shares_of_a_batch_are_the_batch(images, count):
    shares = [list(SharedBatches(SeededSampler(images, seed=1), 16, process, count)) for process in range(count)]
    keys = list(SeededSampler(images, seed=1))
    left_out = images % 16 if images % 16 < 2 * count else 0
    assert [key for batch in zip(*shares, strict=True) for share in batch for key in share] == keys[: images - left_out]
    assert all(len(share) >= 2 for batches in shares for share in batches)
    assert len(shares[0]) == len(SharedBatches(SeededSampler(images, seed=1), 16, 0, count))


def test_a_training_process_that_fails_says_why_in_one_line(tmp_path, monkeypatch):
    says = "echo 'stopped: found no memory; buy some'; exit 2"
    monkeypatch.setattr(processes, "command", lambda *_: ["sh", "-c", says])
    with pytest.raises(InputError, match="^found no memory; buy some$"):
        fit(tiny(devices=2), root=tmp_path)
    monkeypatch.setattr(processes, "command", lambda *_: ["sh", "-c", says.replace("stopped", "diverged")])
    with pytest.raises(Diverged, match="nothing can be evaluated"):
        fit(tiny(devices=2, run="diverged"), root=tmp_path)
    monkeypatch.setattr(processes, "command", lambda *_: ["sh", "-c", "exit 3"])
    with pytest.raises(InputError, match="a training process failed; its output is in .*processes.log"):
        fit(tiny(devices=2), root=tmp_path)


def test_an_interrupt_ends_the_processes(tmp_path, monkeypatch):
    started = tmp_path / "started"
    monkeypatch.setattr(processes, "command", lambda *_: ["sh", "-c", f"echo $$ > {started}; exec sleep 100"])
    with pytest.raises(KeyboardInterrupt, match="stopped after epoch 0 of 2; the same command goes on from there"):
        fit(tiny(devices=2), root=tmp_path, stop=lambda: "now" if started.is_file() and started.read_text() else "")
    with pytest.raises(ProcessLookupError):
        os.kill(int(started.read_text()), 0)


def test_only_trained_batch_norms_are_synchronised():
    network = models.freeze_stages(models.FERNet("resnet14", embedding_norm="batch"), 2).eval()
    images = torch.randn(2, 3, 32, 32)
    before, names = network(images)[0], list(network.state_dict())
    processes.synchronise_batch_norms(network)
    synchronised = {name for name, part in network.named_modules() if isinstance(part, nn.SyncBatchNorm)}
    assert "embedding.norm" in synchronised and any(name.startswith("backbone.layer2") for name in synchronised)
    assert not any(name.startswith(("backbone.bn1", "backbone.layer1")) for name in synchronised)
    assert list(network.state_dict()) == names
    if torch.cuda.is_available():
        torch.testing.assert_close(network.cuda()(images.cuda())[0].cpu(), before, atol=1e-4, rtol=1e-4)


def test_several_machines_are_those_of_a_slurm_job(monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "123456")
    monkeypatch.setenv("SLURMD_NODENAME", "node7")
    line = " ".join(processes.command(tiny(devices=4, num_nodes=2), "/checkout"))
    assert line.startswith("srun --nodes=2 --ntasks-per-node=1 ")
    assert "--nproc-per-node=4 --nnodes=2 --rdzv-backend=c10d --rdzv-id=123456 --rdzv-endpoint=node7:23456" in line
    monkeypatch.delenv("SLURM_JOB_ID")
    with pytest.raises(InputError, match="num_nodes=2 needs a SLURM job, found none; submit the run with sbatch"):
        processes.command(tiny(num_nodes=2), "/checkout")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"devices": 0}, "parameter 'devices' must be a number from 1 or 'auto', got 0"),
        ({"devices": "all"}, "parameter 'devices' must be a number from 1 or 'auto', got 'all'"),
        ({"num_nodes": 0}, "parameter 'num_nodes' must be at least 1, got 0"),
        ({"strategy": "dp"}, "unknown strategy 'dp'; did you mean 'ddp'?"),
        ({"devices": 9}, "expected batch_size of at least 18 for 9 processes, found 16; use fewer"),
        ({"devices": 9, "batch_size": 18, "validation_images": 8}, "validation images of at least 9 for 9 processes"),
    ],
    ids=lambda value: "" if isinstance(value, str) else "-".join(value),
)
def test_bad_parameters_are_one_clear_line(changes, message, tmp_path):
    with pytest.raises(InputError) as error:
        fit(tiny(**changes), root=tmp_path)
    assert message in str(error.value) and "\n" not in str(error.value)
