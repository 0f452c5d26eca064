import os

import pytest

from fer_utils import commands, gpus, studies
from fer_utils.errors import InputError
from fer_utils.runs import project_root


@pytest.fixture(autouse=True)
def unchanged(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "all")
    monkeypatch.setattr(gpus, "_CLAIMED", [])
    yield
    for file in gpus._CLAIMED:
        file.close()


def test_runs_are_spread_over_the_gpus_before_they_share_one(tmp_path):
    claims = []
    for _ in range(5):
        claims.append(gpus.claim(["0", "GPU-3/1"], runs_per_gpu=2, folder=tmp_path))
        assert os.environ["CUDA_VISIBLE_DEVICES"] == claims[-1] or claims[-1] is None
    assert claims == ["0", "GPU-3/1", "0", "GPU-3/1", None]
    gpus._CLAIMED[1].close()  # as when its process ends
    assert gpus.claim(["0", "GPU-3/1"], runs_per_gpu=2, folder=tmp_path) == "GPU-3/1"


@pytest.mark.parametrize("only", [[], ["0"]])
def test_without_a_choice_nothing_changes(only, tmp_path):
    assert gpus.claim(only, folder=tmp_path) is None
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "all" and not list(tmp_path.iterdir())


def test_the_driver_is_asked_where_nothing_is_named(tmp_path, monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gpus.visible() == []
    program = tmp_path / "nvidia-smi"
    program.write_text('#!/bin/sh\n[ "$1" = --list-gpus ] && echo "GPU 0: A (UUID: x)" && echo "GPU 1: A (UUID: y)"\n')
    program.chmod(0o755)
    assert gpus.visible() == ["0", "1"]
    program.write_text("#!/bin/sh\necho no driver; exit 9\n")
    assert gpus.visible() == []


def test_a_study_says_how_many_runs_share_a_gpu(tmp_path, monkeypatch):
    (tmp_path / "experiments").mkdir()
    file = tmp_path / "experiments" / "mine.yaml"
    file.write_text("{title: t, note: n, models: [1], runs_per_gpu: 4}")
    plan = studies.load("mine", tmp_path)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2")
    assert plan.runs_per_gpu == 4 and commands.gpu_places(plan, cores=8) == 12
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert commands.gpu_places(plan, cores=8) == 8  # the cores alone count
    file.write_text("{title: t, note: n, models: [1], runs_per_gpu: 0.5}")
    with pytest.raises(InputError, match="runs_per_gpu must be a whole number from 1, found 0.5"):
        studies.load("mine", tmp_path)
    assert studies.load("demo", project_root()).runs_per_gpu == 1
