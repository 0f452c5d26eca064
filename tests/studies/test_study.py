"""Study files: which runs they are, and what is refused."""

import pytest
import yaml

from fer_utils import studies
from fer_utils.core import InputError, project_root

ROOT = project_root(__file__)
STUDIES = sorted(path.stem for path in (ROOT / "experiments").glob("*.yaml"))
VALID = {"title": "t", "note": "n", "variants": {"one": {}, "two": {"loss": "softmax"}}}


@pytest.fixture
def write(tmp_path):
    def make(content, **changes):
        (tmp_path / "experiments").mkdir(exist_ok=True)
        path = tmp_path / "experiments" / "mine.yaml"
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            path.write_text(
                content if isinstance(content, str) else yaml.safe_dump(content | changes)
            )
        return studies.load_study("mine", tmp_path)

    return make


@pytest.mark.parametrize("name", STUDIES)
def test_committed_studies_are_valid(name, tmp_path):
    for base in ("resnet50", "se_resnet50"):
        (tmp_path / f"{base}.safetensors").touch()
    runs = studies.load_study(name, ROOT).runs("/data", str(tmp_path))
    assert all(params.study == name and params.run == run for run, params in runs.items())


def test_the_twenty_models_and_their_pre_training():
    study = studies.load_study("ferplus_cpu", ROOT)
    runs = study.runs("/data")
    assert len(runs) == 60 + 6  # a pre-training run a base and seed
    assert len(study.cases()) == 60
    ten = runs["model10-seed2"]
    assert (ten.loss, ten.architecture, ten.seed) == ("weighted_cluster", "small_se_resnet", 2)
    assert ten.weights == "runs/ferplus_cpu/identity-se_resnet50-seed2/best.safetensors"
    assert runs["identity-se_resnet50-seed2"].seed == 2
    assert runs["identity-se_resnet50-seed2"].target == "subject"
    assert runs["model11-seed0"].weights == "none"


def test_folds_are_runs(write):
    study = write(VALID, folds=3, seeds=[0, 1], only_first_seed=["two"],
                  parameters={"dataset": "ferplus"})  # fmt: skip
    runs = study.runs("/data")
    assert len(runs) == 3 * 2 + 3
    run = runs["one-fold2-seed1"]
    assert (run.protocol, run.folds, run.fold, run.seed) == ("k_fold", 3, 2, 1)
    assert "two-fold0-seed1" not in runs


def test_settings_by_variants(write):
    study = write(VALID, settings={"drawn": {}, "real": {"dataset": "ferplus"}})
    runs = study.runs("/data")
    assert list(runs) == [f"{s}-{v}-seed0" for s in ("drawn", "real") for v in ("one", "two")]
    assert runs["drawn-one-seed0"].data == "" and runs["real-two-seed0"].data == "/data"


def test_a_data_folder_may_hold_one_for_each_dataset(write, tmp_path):
    (tmp_path / "ferplus").mkdir()
    study = write(VALID, parameters={"dataset": "ferplus"})
    assert study.runs(str(tmp_path))["one-seed0"].data == str(tmp_path / "ferplus")


def test_weights_given_as_a_folder_a_file_or_not_at_all(write, tmp_path):
    study = write({"title": "t", "note": "n", "models": [10, 16]})
    (tmp_path / "se_resnet50.pkl").touch()
    runs = study.runs("", str(tmp_path))
    assert runs["model10-seed0"].weights == str(tmp_path / "se_resnet50.pkl")
    assert runs["model16-seed0"].weights == "imagenet"
    with pytest.raises(InputError, match="se_resnet50"):
        study.runs()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (VALID | {"seed": [1]}, "seeds"),
        (VALID | {"seeds": []}, "seeds"),
        (VALID | {"seeds": ["a"]}, "'a'"),
        (VALID | {"models": [1]}, "both or neither"),
        ({"title": "t", "note": "n"}, "both or neither"),
        ({"title": "t", "variants": {"one": {}}}, "note"),
        ({"title": "t", "note": "n", "models": [21]}, "21"),
        (VALID | {"parameters": {"learning_rat": 1}}, "learning_rate"),
        (VALID | {"variants": {"One!": {}}}, "One!"),
        (VALID | {"variants": {"one": 3}}, "3"),
        (VALID | {"reference": "on"}, "one"),
        (VALID | {"weights": {"resnet50": "web"}}, "web"),
        (VALID | {"runs_per_gpu": 0}, "runs_per_gpu"),
        (VALID | {"folds": -1}, "folds"),
        ("- a list", "title"),
        ("a: [", "YAML"),
        (b"title: \xff\xfe", "YAML"),
    ],
)
def test_a_wrong_file_is_refused_in_one_line(write, content, said):
    with pytest.raises(InputError, match=said) as refused:
        write(content)
    assert "mine" in str(refused.value) and "\n" not in str(refused.value)


def test_a_bad_value_names_file_and_run(write):
    with pytest.raises(InputError, match=r"mine.yaml, run one-seed0: .*epochs"):
        write(VALID, parameters={"epochs": 0}).runs()


def test_an_unknown_study_names_the_nearest():
    with pytest.raises(InputError, match="'demo'"):
        studies.load_study("demmo", ROOT)
