"""The folder of a run."""

import json
import subprocess
import sys

import pytest
import yaml

from fer_utils.core import InputError, Run, parameters


@pytest.fixture
def run(tmp_path):
    return Run("study", "one", tmp_path)


def begin(run, **values):
    run.folder.mkdir(parents=True, exist_ok=True)
    params = parameters({"study": run.study, "run": run.name, **values})
    run.start(params)
    return params


def test_a_run_begins_with_its_parameters_and_ends_with_its_metrics(run):
    assert run.status == "unfinished" and not run.begun
    params = begin(run, epochs=3)
    assert run.begun and run.params == params
    run.write_json("metrics.json", {"accuracy": 0.5})
    assert run.finished and run.status == "finished" and run.evaluated
    assert "finished" in repr(run)


def test_a_stopped_run_says_after_which_epoch(run):
    begin(run)
    run.write_json("stopped.json", {"stopped_after": 2, "epochs": 6})
    assert run.stopped and run.status == "stopped after epoch 2 of 6"
    with pytest.raises(InputError, match="stopped after epoch 2"):
        run.require("metrics.json")
    run.forget_evaluation()
    assert not run.stopped


def test_a_run_that_diverged_at_once_has_nothing_to_see(run):
    begin(run)
    run.write_json("metrics.json", {"diverged_in": 1})
    assert run.finished and not run.evaluated
    with pytest.raises(InputError, match="diverged in epoch 1"):
        run.require("predictions.parquet")


def test_other_parameters_are_refused_by_name(run):
    begin(run, epochs=3)
    with pytest.raises(InputError, match=r"learning_rate: 0\.01 → 0\.1"):
        run.check_same(
            parameters({"study": "study", "run": "one", "epochs": 3, "learning_rate": 0.1})
        )


def test_where_it_is_computed_is_free(run):
    begin(run, threads=1)
    run.check_same(parameters({"study": "study", "run": "one", "threads": 2, "workers": 1}))


@pytest.mark.parametrize(("schedule", "allowed"), [("halve", True), ("cosine", False)])
def test_more_epochs_only_where_the_schedule_stays(run, schedule, allowed):
    begin(run, epochs=3, schedule=schedule)
    longer = parameters({"study": "study", "run": "one", "epochs": 5, "schedule": schedule})
    if allowed:
        run.check_same(longer, longer=True)
    else:
        with pytest.raises(InputError, match="epochs: 3 → 5"):
            run.check_same(longer, longer=True)


def test_weights_count_by_their_content(run, tmp_path):
    weights = tmp_path / "w.safetensors"
    weights.write_bytes(b"one")
    begin(run, weights=str(weights))
    moved = tmp_path / "moved.safetensors"
    weights.rename(moved)
    wanted = {"study": "study", "run": "one", "weights": str(moved)}
    run.check_same(parameters(wanted))
    moved.write_bytes(b"two")
    with pytest.raises(InputError, match="other content"):
        run.check_same(parameters(wanted))


def test_a_run_of_another_version_names_the_parameter(run):
    begin(run)
    path = run.path("params.yaml")
    values = yaml.safe_load(path.read_text()) | {"weight_average": 0.9}
    path.write_text(yaml.safe_dump(values))
    with pytest.raises(InputError, match=r"study/one .*'weight_average'"):
        _ = run.params


def test_two_processes_cannot_hold_one_run(run, tmp_path):
    code = (
        "import sys; from fer_utils.core import Run, InputError\n"
        f"try:\n    with Run('study', 'one', {str(tmp_path)!r}).locked(): print('held')\n"
        "except InputError as error: print(error)"
    )
    with run.locked():
        found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "study/one is being computed by another process" in found.stdout
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert found.stdout == "held\n"


def test_a_process_that_outlives_its_parent_keeps_the_run(run, monkeypatch):
    """Of several processes that train one run, each holds a lock of its own."""
    monkeypatch.setenv("LOCAL_RANK", "1")
    with run.locked():
        monkeypatch.delenv("LOCAL_RANK")
        with pytest.raises(InputError, match="another process"), run.locked():
            pass


def test_a_folder_that_cannot_be_locked_says_so(run, monkeypatch):
    def refuse(*_):
        raise OSError(37, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    with pytest.raises(InputError, match="No locks available"), run.locked():
        pass


def test_json_is_readable(run):
    begin(run)
    run.write_json("metrics.json", {"a": 1})
    assert json.loads(run.path("metrics.json").read_text()) == {"a": 1}
