"""The graph, GPUs and notebooks: what can be tested without training."""

import subprocess

import pytest

from fer_utils import studies
from fer_utils.core import InputError
from fer_utils.studies import run_all

LAPTOP = "GPU 0: NVIDIA GeForce RTX 4090 Laptop GPU (UUID: GPU-1)"


def test_gpus_are_those_the_driver_lists(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr("shutil.which", lambda name: "/usr/bin/nvidia-smi")
    answers = {"--query-gpu=index": "0\n", "--list-gpus": LAPTOP}

    def ask(command, **_):
        return subprocess.CompletedProcess(command, 0, answers[command[1]])

    monkeypatch.setattr("subprocess.run", ask)
    assert studies.visible_gpus() == ["0"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1, 3")
    assert studies.visible_gpus() == ["1", "3"]


def test_a_claim_takes_the_gpu_with_the_fewest_runs(monkeypatch, tmp_path):
    held = []
    monkeypatch.setattr(run_all, "_CLAIMED", held)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    claimed = [studies.claim_gpu(["0", "1"], 2, tmp_path) for _ in range(4)]
    assert claimed == ["0", "1", "0", "1"]
    with pytest.raises(InputError, match="free GPU"):
        studies.claim_gpu(["0", "1"], 2, tmp_path)
    assert studies.claim_gpu(["0"], 2, tmp_path) is None
    for file in held:
        file.close()


def test_a_study_being_computed_is_not_computed_twice(tmp_path):
    refused = pytest.raises(InputError, match=tmp_path.name)
    with run_all._alone(tmp_path), refused, run_all._alone(tmp_path):
        pass


def test_data_that_are_not_there_are_found_before_anything_starts(tmp_path):
    study = studies.load_study("ferplus_folds", studies.run_all.project_root(__file__))
    with pytest.raises(InputError, match="ferplus"):
        run_all._check_data("ferplus_folds", study.runs(""), tmp_path)


def test_the_reason_of_a_failed_step_is_one_line(tmp_path, capsys):
    log = tmp_path / "log"
    log.write_text("noise\nstopped: expected a, found b\nmore\nstopped: expected a, found b\n")
    run_all._explain(log)
    assert capsys.readouterr().err == "stopped: expected a, found b\n"
    log.write_text("nothing said")
    run_all._explain(log)
    assert str(log) in capsys.readouterr().err
