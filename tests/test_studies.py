import json

import numpy as np
import pandas as pd
import pytest
import yaml

from fer_utils import collecting, commands, paper, runs, studies
from fer_utils.datasets import write_manifest
from fer_utils.errors import InputError
from fer_utils.expressions import EXPRESSIONS
from tests.datasets import trees

ROOT = runs.project_root(__file__.rsplit("/", 1)[0])


def write_study(root, content, name="tiny"):
    (root / "experiments").mkdir(exist_ok=True)
    (root / "experiments" / f"{name}.yaml").write_text(
        content if isinstance(content, str) else yaml.safe_dump(content, sort_keys=False)
    )


def study(root, **changes):
    write_study(root, {"title": "t", "note": "n", "models": [1, 10], "weights": {"se_resnet50": "identity"}, **changes})
    return studies.load("tiny", root)


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "experiments").glob("*.yaml")))
def test_every_committed_study_resolves(name, tmp_path):
    for base in ("se_resnet50", "resnet50"):
        (tmp_path / f"{base}.safetensors").touch()
    plan = studies.load(name, ROOT)
    drawn = plan.parameters.get("dataset", "synthetic") == "synthetic" and not plan.settings
    planned = plan.runs(data="" if drawn else "somewhere", weights=str(tmp_path))
    assert list(planned) == plan.names
    assert all(bool(params.data) == (params.dataset != "synthetic") for params in planned.values())


def test_the_full_study_is_the_papers_twenty_models_three_times(tmp_path):
    for base in ("se_resnet50", "resnet50"):
        (tmp_path / f"{base}.safetensors").touch()
    planned = studies.load("ferplus", ROOT).runs(data="somewhere", weights=str(tmp_path))
    assert len(planned) == 60
    model = planned["model10-seed2"]
    assert (model.architecture, model.loss, model.image_size, model.seed) == ("se_resnet50", "weighted_cluster", 224, 2)
    assert (model.learning_rate, model.batch_size, model.frozen_stages) == (0.001, 36, 3)
    assert (planned["model13-seed0"].learning_rate, planned["model13-seed0"].batch_size) == (0.01, 30)
    assert list(planned)[:3] == ["model16-seed0", "model18-seed0", "model20-seed0"]


def test_rows_of_the_paper_become_parameters(tmp_path):
    planned = study(tmp_path, parameters={"epochs": 2}, pretrained={"epochs": 3}, seeds=[4]).runs()
    assert list(planned) == ["identity", "model01-seed4", "model10-seed4"]
    assert planned["identity"].target == "subject" and planned["identity"].loss == "softmax"
    scratch, transfer = planned["model01-seed4"], planned["model10-seed4"]
    assert (scratch.weights, scratch.loss, scratch.epochs, scratch.seed) == ("none", "softmax", 2, 4)
    assert transfer.weights == "runs/tiny/identity/best.safetensors" and transfer.epochs == 3


VARIANTS = {
    "title": "t", "note": "n", "seeds": [0, 1], "reference": "plain", "weights": {}, "parameters": {"epochs": 2},
    "architectures": {"se_resnet50": "se_resnet14"},
    "settings": {"drawn": {"weights": "identity"}, "real": {"dataset": "ferplus", "epochs": 5}},
    "variants": {"plain": {"loss": "weighted_softmax"}, "adjusted": {"loss": "logit_adjusted", "tau": 0.5}},
}  # fmt: skip


def variants(root, **changes):
    write_study(root, {**VARIANTS, **changes})
    return studies.load("tiny", root)


def test_every_variant_runs_under_every_setting_and_seed(tmp_path):
    planned = variants(tmp_path).runs(data="somewhere")
    assert list(planned) == [
        "identity", *(f"{s}-{v}-seed{n}" for n in (0, 1) for s in ("drawn", "real") for v in ("plain", "adjusted")),
    ]  # fmt: skip
    drawn, real = planned["drawn-plain-seed0"], planned["real-adjusted-seed1"]
    assert (drawn.epochs, drawn.data, drawn.weights) == (2, "", "runs/tiny/identity/best.safetensors")
    assert (real.epochs, real.data, real.weights) == (5, "somewhere", "none")
    assert (real.loss, real.tau) == ("logit_adjusted", 0.5)


def test_identity_may_stand_with_the_parameters_or_a_variant(tmp_path):
    for place in ("parameters", "variants"):
        weights = {"weights": "identity"}
        changes = {place: weights if place == "parameters" else {"a": weights}, "settings": {}, "reference": ""}
        planned = variants(tmp_path, **changes).runs()
        assert list(planned)[0] == "identity" and planned["identity"].weights == "none"


def test_results_of_a_run_older_than_a_parameter_hold_its_default(tmp_path):
    plan = variants(tmp_path, settings={}, seeds=[0])
    for params in plan.runs().values():
        write_run(tmp_path, params)
        path = runs.Run("tiny", params.run, tmp_path).path("params.yaml")
        lines = path.read_text().splitlines(keepends=True)
        path.write_text("".join(line for line in lines if not line.startswith(("classifier", "island_weight"))))
    table = pd.read_csv(collecting.collect(plan, plan.names, tmp_path) / "runs.csv")
    assert table["classifier"].eq("linear").all() and table["island_weight"].eq(10).all()


def test_what_has_finished_is_gathered_when_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr(commands, "project_root", lambda: tmp_path)
    plan = variants(tmp_path, settings={})
    with pytest.raises(InputError, match="expected finished runs of 'tiny', found none"):
        commands.collect("tiny", finished=True)
    write_run(tmp_path, plan.runs()["adjusted-seed1"])
    with pytest.raises(InputError, match="plain-seed0"):
        commands.collect("tiny")
    commands.collect("tiny", finished=True)
    assert pd.read_csv(tmp_path / "results/tiny/runs.csv")["run"].tolist() == ["adjusted-seed1"]
    assert json.loads((tmp_path / "results/tiny/study.json").read_text())["seeds"] == [0, 1]  # what is missing shows


def test_results_of_variants_name_setting_and_variant(tmp_path):
    plan = variants(tmp_path, settings={})
    assert plan.names == ["plain-seed0", "adjusted-seed0", "plain-seed1", "adjusted-seed1"]
    for params in plan.runs().values():
        write_run(tmp_path, params)
    results = collecting.collect(plan, plan.names, tmp_path)
    table = pd.read_csv(results / "runs.csv")
    assert table["variant"].tolist() == ["plain", "adjusted"] * 2 and "model" not in table
    about = json.loads((results / "study.json").read_text())
    assert (about["models"], about["variants"], about["reference"]) == ([], ["plain", "adjusted"], "plain")


def test_given_weights_are_a_file_or_a_folder_with_one_for_each_base(tmp_path):
    plan = study(tmp_path, models=[16, 6], weights={"se_resnet50": "file", "resnet50": "imagenet"})
    with pytest.raises(InputError, match="needs pre-trained weights of se_resnet50.*WEIGHTS=.*se_resnet50.safetensors"):
        plan.runs()
    (tmp_path / "se_resnet50.safetensors").touch()
    planned = plan.runs(weights=str(tmp_path))
    assert planned["model06-seed0"].weights == str(tmp_path / "se_resnet50.safetensors")
    assert planned["model16-seed0"].weights == "imagenet"  # the folder holds none of ResNet-50
    only = study(tmp_path, models=[16])
    assert only.runs(weights="my.safetensors")["model16-seed0"].weights == "my.safetensors"


def test_every_dataset_of_a_study_is_looked_at_before_anything_starts(tmp_path):
    trees.ferplus(tmp_path)
    planned = {name: runs.parameters({"dataset": name, "data": str(tmp_path)}) for name in ("ferplus", "rafdb")}
    with pytest.raises(InputError, match="expected RAF-DB .* found what looks like FER"):
        commands._check_data("tiny", planned, tmp_path, identity="")
    with pytest.raises(InputError, match="study 'tiny' needs the fer2013 folder"):
        commands._check_data("tiny", {"a": runs.parameters({"dataset": "fer2013"})}, tmp_path, identity="")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("title: [", "not valid YAML"),
        ("just words", "expected fields such as title and models"),
        ({"title": "t", "note": "n"}, "models is missing"),
        ({"title": "t", "note": "n", "models": [1], "seed": [0]}, "'seed'; did you mean 'seeds'"),
        ({"title": "t", "note": "n", "models": [1], "parameters": {"epoch": 1}}, "'epoch'; did you mean 'epochs'"),
        ({"title": "t", "note": "n", "models": [21]}, "unknown model 21"),
        ({"title": "t", "note": "n", "models": [1], "variants": {"a": {}}}, "expected models or variants, found both"),
        ({"title": "t", "note": "n", "variants": {}}, "expected at least one variant"),
        ({"title": "t", "note": "n", "variants": {1: {}}}, "expected a name of a–z, 0–9 and _"),
        ({"title": "t", "note": "n", "variants": {"a b": {}}}, "expected a name of a–z, 0–9 and _"),
        ({"title": "t", "note": "n", "variants": {"a": {"loss": "sofmax"}}}, "run a-seed0: unknown loss 'sofmax'"),
        ({"title": "t", "note": "n", "variants": {"a": {"taux": 1}}}, "unknown parameter 'taux'"),
        ({"title": "t", "note": "n", "variants": {"a": {}}, "reference": "b"}, "unknown reference in"),
        ({"title": "t", "note": "n", "models": [1], "parameters": {"epochs": -1}}, "tiny.yaml, run model01-seed0: "),
        ({"title": "t", "note": "n", "models": 7}, "models must be a list"),
        ({"title": "t", "note": "n", "models": [1], "seeds": [-1]}, "seeds must be a list"),
        ({"title": "t", "note": "n", "models": [1], "parameters": None}, "parameters must be names with values"),
        ({"title": "t", "note": "n", "models": [1], "weights": "imagenet"}, "weights must be names with values"),
        ({"title": "t", "note": "n", "models": [1], "weights": {"se_resnet5": "file"}}, "did you mean 'se_resnet50'"),
    ],
)
def test_a_bad_study_file_is_one_clear_line(tmp_path, content, message):
    write_study(tmp_path, content)
    with pytest.raises(InputError) as error:
        studies.load("tiny", tmp_path).runs()
    assert message in str(error.value) and "\n" not in str(error.value)


def test_an_unknown_study_names_the_nearest(tmp_path):
    write_study(tmp_path, {}, name="demo")
    with pytest.raises(InputError, match="unknown study 'dmeo'; did you mean 'demo'"):
        studies.load("dmeo", tmp_path)


def write_run(root, params):
    """A finished run folder with made-up numbers that tell the runs apart."""
    run = runs.Run(params.study, params.run, root)
    run.start(params)
    manifest = pd.DataFrame({"image": range(16), "label": list(range(8)) * 2, "split": ["train"] * 8 + ["test"] * 8})
    manifest.attrs = {"dataset": "synthetic", "root": None}
    write_manifest(manifest, run.path("manifest.parquet"))
    pd.DataFrame({"epoch": [1], "train_loss": [float(params.seed)]}).to_csv(run.path("history.csv"), index=False)
    table = pd.DataFrame({"image": "0", "label": range(8)})
    table[[f"p_{name}" for name in EXPRESSIONS]] = np.eye(8)
    table.to_parquet(run.path("predictions.parquet"))
    run.write_json("architecture.json", {"architecture": params.architecture, "stages": []})
    run.write_json("metrics.json", {"accuracy": 0.5, "alpha": 0.25, "test_images": 8, "confusion": [], "best_epoch": 1})


def test_results_hold_what_the_runs_hold_and_no_path(tmp_path):
    plan = study(tmp_path, seeds=[0, 1], models=[1, 10], parameters={"dataset": "ferplus"})
    planned = plan.runs(data=str(tmp_path / "secret"))
    identity = runs.Run("tiny", "identity", tmp_path)
    for name, params in planned.items():
        if name != "identity":
            write_run(tmp_path, params)
    with pytest.raises(InputError, match="expected metrics.json in run tiny/identity"):
        collecting.collect(plan, list(planned), tmp_path)
    identity.start(planned["identity"])
    identity.write_json("metrics.json", {"validation_accuracy": 0.9})
    results = collecting.collect(plan, list(planned), tmp_path)

    table = pd.read_csv(results / "runs.csv")
    assert table["run"].tolist() == [f"model{n}-seed{s}" for s in (0, 1) for n in ("01", "10")]
    assert table["weights"].tolist() == ["none", "identity"] * 2 and table["pretrained"].tolist() == [False, True] * 2
    assert table["alpha"].eq(0.25).all() and table["cluster_alpha"].eq(1.0).all()  # Krippendorff's, and that of Eq. 4
    assert table["base"].eq("se_resnet50").all() and table["accuracy"].eq(0.5).all()
    assert not any("secret" in path.read_text(errors="ignore") for path in results.iterdir())
    history = pd.read_csv(results / "history.csv")
    assert history.columns[0] == "run" and history["train_loss"].tolist() == [0.0, 0.0, 1.0, 1.0]
    predictions = pd.read_parquet(results / "predictions.parquet")
    assert len(predictions) == 4 * 8 and predictions["p_happy"].dtype == "float32"
    counts = pd.read_csv(results / "counts.csv")
    assert counts["images"].sum() == 16 and set(counts["expression"]) == set(EXPRESSIONS)
    about = json.loads((results / "study.json").read_text())
    assert (about["title"], about["models"], about["seeds"]) == ("t", [1, 10], [0, 1])
    assert all(number in paper.MODELS for number in about["models"])
