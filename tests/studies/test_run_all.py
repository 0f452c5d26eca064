"""The graph, GPUs and notebooks: what can be tested without training."""

import errno
import json
import subprocess
from types import SimpleNamespace

import numpy as np
import papermill
import pytest
import yaml
from papermill.exceptions import PapermillExecutionError
from PIL import Image

from fer_utils import datasets, studies
from fer_utils.core import EXPRESSIONS, InputError, Run, project_root
from fer_utils.studies import run_all
from tests.studies.conftest import STUDY

LAPTOP = "GPU 0: NVIDIA GeForce RTX 4090 Laptop GPU (UUID: GPU-1)"


def test_gpus_are_those_the_driver_lists(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr("shutil.which", lambda name: "/usr/bin/nvidia-smi")
    answers = {"--query-gpu=index": "0\n", "--list-gpus": LAPTOP}

    def ask(command, **_):
        return subprocess.CompletedProcess(command, 0, answers[command[1]])

    monkeypatch.setattr("subprocess.run", ask)
    assert run_all.visible_gpus() == ["0"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1, 3")
    assert run_all.visible_gpus() == ["1", "3"]


def test_a_claim_takes_the_gpu_with_the_fewest_runs(monkeypatch, tmp_path):
    held = []
    monkeypatch.setattr(run_all, "_CLAIMED", held)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    claimed = [run_all.claim_gpu(["0", "1"], 2, tmp_path) for _ in range(4)]
    assert claimed == ["0", "1", "0", "1"]
    with pytest.raises(InputError, match="free GPU"):
        run_all.claim_gpu(["0", "1"], 2, tmp_path)
    assert run_all.claim_gpu(["0"], 2, tmp_path) is None
    for file in held:
        file.close()


def test_a_study_being_computed_is_not_computed_twice(tmp_path):
    refused = pytest.raises(InputError, match=tmp_path.name)
    with run_all._alone(tmp_path), refused, run_all._alone(tmp_path):
        pass


def test_data_that_are_not_there_are_found_before_anything_starts(tmp_path):
    study = studies.load_study("ferplus_folds", project_root(__file__))
    plan = [(Run("ferplus_folds", name, tmp_path), own) for name, own in study.runs("").items()]
    with pytest.raises(InputError, match="ferplus"):
        run_all._check_data(plan, tmp_path)


def test_the_reason_of_a_failed_step_is_one_line(tmp_path, capsys):
    log = tmp_path / "log"
    log.write_text("noise\nstopped: expected a, found b\nmore\nstopped: expected a, found b\n")
    run_all._explain(log)
    assert capsys.readouterr().err == "stopped: expected a, found b\n"
    log.write_text("nothing said")
    run_all._explain(log)
    assert str(log) in capsys.readouterr().err


def test_a_finished_study_is_left_alone(root, study, monkeypatch):
    """Without the graph, until something is newer than what was made of it."""
    (root / "notebooks").mkdir()
    (root / "notebooks/08_compare_losses.ipynb").touch()
    studies.collect(study, root)
    page = root / "figures/mine/README.md"
    page.parent.mkdir(parents=True)
    page.touch()
    monkeypatch.chdir(root)
    asked = []
    monkeypatch.setattr(run_all, "_watch", lambda *_: asked.append(1) or 0)
    assert studies.run_study("mine") == 0 and not asked
    (root / "experiments/mine.yaml").touch()
    assert studies.run_study("mine") == 0 and asked


@pytest.mark.parametrize(
    "changes", [{"folds": 4}, {"parameters": {"dataset": "folder", "epochs": 7}}]
)
def test_a_study_that_changed_is_refused_by_name(root, monkeypatch, changes):
    path = root / "experiments/mine.yaml"
    folded = STUDY | {"folds": 3, "parameters": {"dataset": "folder"}}
    path.write_text(yaml.safe_dump(folded))
    params = studies.load_study("mine", root).runs("/data")["one-fold0-seed0"]
    Run("mine", "one-fold0-seed0", root).start(params)
    path.write_text(yaml.safe_dump(folded | changes))
    monkeypatch.chdir(root)
    with pytest.raises(InputError, match="mine/one-fold0-seed0 was begun with .*(folds|epochs)"):
        studies.run_study("mine", "/data")


@pytest.fixture
def begun(root):
    """A plan whose first run was begun on a folder of faces, and that folder."""
    faces, rng = root / "faces", np.random.default_rng(0)
    for split in datasets.SPLITS:
        for name in EXPRESSIONS:
            (faces / split / name).mkdir(parents=True)
            pixels = rng.integers(0, 256, (8, 8), dtype=np.uint8)
            Image.fromarray(pixels).save(faces / split / name / "0.png")
    (root / "experiments/own.yaml").write_text(
        yaml.safe_dump(STUDY | {"parameters": {"dataset": "folder"}})
    )
    runs = studies.load_study("own", root).runs(str(faces))
    plan = [(Run("own", name, root), params) for name, params in runs.items()]
    run, params = plan[0]
    run.folder.mkdir(parents=True)
    datasets.write_manifest(datasets.read_folder(faces), run.path("manifest.parquet"))
    run.start(params)
    return plan, faces


def repaint(path):
    Image.fromarray(np.zeros((8, 8), dtype=np.uint8)).save(path)


@pytest.mark.parametrize(
    "change",
    [repaint, lambda path: path.unlink(), lambda path: path.rename(path.parents[1] / "sad/1.png")],
    ids=["other pixels", "gone", "relabelled"],
)
def test_a_study_whose_images_changed_is_refused_by_name(begun, root, change):
    plan, faces = begun
    run_all._check_data(plan, root)
    change(faces / "test/happy/0.png")
    with pytest.raises(InputError, match="run own/one-seed0 .*other images: 1 of 24 .*happy/0.png"):
        run_all._check_data(plan, root)


def test_a_full_disk_is_named(tmp_path, monkeypatch):
    log = tmp_path / "log"
    log.touch()
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(OSError) as refused:
        run_all._explain(log)
    assert refused.value.errno == errno.ENOSPC

    def fail(*_, **__):
        raise PapermillExecutionError(1, 1, "", "OSError", "[Errno 28] No space left on device", [])

    monkeypatch.setattr(papermill, "execute_notebook", fail)
    with pytest.raises(OSError) as refused:
        studies.execute_notebook(tmp_path / "a.ipynb", tmp_path / "b.ipynb", {})
    assert refused.value.errno == errno.ENOSPC


def test_a_studys_figures_are_drawn_by_the_code_of_its_notebook(tmp_path, capsys):
    for folder in ("experiments", "notebooks"):
        (tmp_path / folder).mkdir()
    (tmp_path / "experiments/tiny.yaml").write_text(yaml.safe_dump(STUDY))
    code = ["%matplotlib inline\n", f"import pathlib\nroot = pathlib.Path({str(tmp_path)!r})"]
    cells = [
        {"cell_type": "markdown", "source": ["# Not code"], "metadata": {}},
        {"cell_type": "code", "source": code, "metadata": {}},
        {"cell_type": "code", "source": ["study = ''"], "metadata": {"tags": ["parameters"]}},
        {"cell_type": "code", "source": ["print((root / study).touch())"], "metadata": {}},
    ]
    (tmp_path / "notebooks/08_compare_losses.ipynb").write_text(json.dumps({"cells": cells}))
    page = studies.draw_figures("tiny", tmp_path)
    assert page == tmp_path / "figures/tiny/README.md"
    assert (tmp_path / "tiny").is_file() and not capsys.readouterr().out
