import json
import os
from dataclasses import asdict, fields

import pytest

from fer_utils import files, runs
from fer_utils.errors import InputError


def test_the_papers_recipe_fills_what_is_left_open():
    scratch = runs.parameters({"loss": "center_softmax", "weights": "none"})
    assert (scratch.learning_rate, scratch.batch_size, scratch.frozen_stages, scratch.cluster_weight) == (
        0.01,
        30,
        0,
        0.5,
    )
    transfer = runs.parameters({"loss": "weighted_cluster", "weights": "imagenet"})
    assert (transfer.learning_rate, transfer.batch_size, transfer.frozen_stages) == (0.001, 36, 3)
    assert transfer.cluster_weight == 1.0
    assert (transfer.momentum, transfer.weight_decay, transfer.halve_every) == (0.9, 5e-4, 10)


def test_nothing_stays_implicit_and_given_values_win():
    params = runs.parameters({"learning_rate": 0.5, "batch_size": 7, "frozen_stages": 2, "cluster_weight": 3})
    assert (params.learning_rate, params.batch_size, params.frozen_stages, params.cluster_weight) == (0.5, 7, 2, 3.0)
    left = {name for name, value in asdict(params).items() if value is None}
    assert left <= {"box_margin"}  # where None is a value: the whole image, as it is stored


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"learning_rat": 0.1}, "unknown parameter 'learning_rat'; did you mean 'learning_rate'?"),
        ({"loss": "sofmax"}, "unknown loss 'sofmax'; did you mean 'softmax'?"),
        ({"architecture": "se_resnet5"}, "unknown architecture 'se_resnet5'; did you mean 'se_resnet50'?"),
        ({"epochs": "3"}, "parameter 'epochs' must be int, got '3'"),
        ({"epochs": True}, "parameter 'epochs' must be int, got True"),
        ({"epochs": 0}, "parameter 'epochs' must be at least 1, got 0"),
        ({"alpha": 0.0}, "parameter 'alpha' must be greater than 0, got 0.0"),
        ({"cluster_weight": float("nan")}, "parameter 'cluster_weight' must be at least 0, got nan"),
        ({"crop_scale_min": 1.5}, "must lie in"),
        ({"frozen_stages": 6}, "must be 0 to 5"),
        ({"run": "../elsewhere"}, "parameter 'run' names a folder"),
    ],
)
def test_bad_parameters_are_one_clear_line(values, message):
    with pytest.raises(InputError) as error:
        runs.parameters(values)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_mistake_is_shown_without_traceback_in_a_notebook():
    assert InputError("what to do")._render_traceback_() == ["InputError: what to do"]


def test_notebook_parameters_are_the_plain_public_values():
    namespace = {"__name__": "x", "_ih": [], "In": [], "Out": {}, "exit": 1, "runs": runs, "loss": "softmax", "typo": 3}
    assert runs.notebook_parameters(namespace) == {"loss": "softmax", "typo": 3}


def test_choices_name_real_parameters():
    names = {field.name for field in fields(runs.RunParameters)}
    assert set(runs.CHOICES) <= names and set(runs.PLACE) <= names


def test_a_run_keeps_its_parameters(tmp_path):
    run = runs.Run("study", "one", tmp_path)
    run.start(runs.parameters({"epochs": 3, "dataset": "ferplus", "data": "here"}))
    assert run.params["epochs"] == 3 and run.read_json("environment.json")["python"]
    run.check_same(
        runs.parameters({"epochs": 3, "dataset": "ferplus", "threads": 2, "data": "elsewhere"})
    )  # where it runs may change
    with pytest.raises(InputError, match=r"begun with other parameters \(.*epochs: 3 → 4, loss: "):
        run.check_same(runs.parameters({"epochs": 4, "dataset": "ferplus", "loss": "softmax"}))
    assert run.params["epochs"] == 3


def test_weights_of_other_content_are_another_run(tmp_path):
    run = runs.Run("study", "one", tmp_path)
    (tmp_path / "a.bin").write_bytes(b"a")
    run.start(runs.parameters({"weights": "a.bin"}))
    (tmp_path / "a.bin").rename(tmp_path / "moved.bin")
    run.check_same(runs.parameters({"weights": "moved.bin"}))
    (tmp_path / "moved.bin").write_bytes(b"b")
    with pytest.raises(InputError, match="weights: 'a.bin' → 'moved.bin', of other content"):
        run.check_same(runs.parameters({"weights": "moved.bin"}))


def test_a_parameter_that_came_later_counts_as_its_default(tmp_path):
    run = runs.Run("study", "one", tmp_path)
    run.start(runs.parameters({}))
    lines = run.path("params.yaml").read_text().splitlines()
    run.path("params.yaml").write_text("\n".join(line for line in lines if not line.startswith("selection")))
    run.check_same(runs.parameters({}))
    with pytest.raises(InputError, match="selection: 'f1' → 'accuracy'"):
        run.check_same(runs.parameters({"selection": "accuracy"}))


def test_a_run_is_finished_when_its_metrics_stand(tmp_path):
    run = runs.Run("study", "one", tmp_path)
    with pytest.raises(InputError, match="expected metrics.json in run study/one, found none"):
        run.read_json("metrics.json")
    assert not run.finished
    run.write_json("metrics.json", {"accuracy": 0.5})
    assert run.finished and json.loads(run.path("metrics.json").read_text()) == {"accuracy": 0.5}


def test_two_processes_never_train_one_run(tmp_path):
    run = runs.Run("study", "one", tmp_path)
    message = "run study/one is being computed by another process"
    with run.locked(), pytest.raises(InputError, match=message), runs.Run("study", "one", tmp_path).locked():
        pass
    with run.locked():  # free again
        pass


def test_files_are_whole_or_not_at_all(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), files.replaced(path) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["table.csv"]


def test_outside_a_checkout_says_so(tmp_path):
    with pytest.raises(InputError, match="expected a folder inside the study's checkout"):
        runs.project_root(tmp_path)


def test_notebook_parameters_when_all_cells_run_again():
    """What later cells defined in the first pass is no parameter; a new declaration in the parameters cell is one."""
    namespace = {"loss": "softmax"}
    assert runs.notebook_parameters(namespace) == {"loss": "softmax"}
    namespace |= {
        "metrics": {"accuracy": 0.5},
        "loss": "focal",
        "epoch": 3,
        "__annotations__": {"loss": str, "epoch": int},
    }
    assert runs.notebook_parameters(namespace) == {"loss": "focal", "epoch": 3}
