"""From run folders to `results/`, read again, merged, compared."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import yaml

from fer_utils import datasets, metrics, studies
from fer_utils.core import LOG_PROBABILITIES, InputError, Run, parameters

STUDY = {"title": "t", "note": "n", "seeds": [0, 1], "variants": {"one": {}, "two": {}}}


def write_run(root, study, name, seed, skill=1.0, images=64, evaluation="test"):
    """A finished run whose predictions are right the more often the higher its skill."""
    run = Run(study, name, root)
    params = parameters({"study": study, "run": name, "seed": seed, "evaluation": evaluation})
    run.folder.mkdir(parents=True)
    run.start(params)
    labels = np.arange(images) % 8
    rng = np.random.default_rng([seed, int(10 * skill)])
    logits = rng.normal(size=(images, 8)) + skill * np.eye(8)[labels]
    log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    table = pd.DataFrame(log_p.astype(np.float16), columns=LOG_PROBABILITIES)
    table.insert(0, "label", labels)
    table.insert(0, "image", [f"{number:03d}.png" for number in range(images)])
    table.insert(0, "split", evaluation)
    table.to_parquet(run.path("predictions.parquet"))
    manifest = table[["image", "label", "split"]].copy()
    manifest.attrs = {"dataset": "folder", "root": "/images"}
    datasets.write_manifest(manifest, run.path("manifest.parquet"))
    history = {"epoch": [1, 2], "train_loss": [2.0, 1.0], "seconds": [1.5, 1.25]}
    pd.DataFrame(history).to_csv(run.path("history.csv"), index=False)
    run.write_json("architecture.json", {"architecture": "small_se_resnet"})
    scores = metrics.evaluate(labels, np.exp(log_p))
    run.write_json(
        "metrics.json",
        {name: value for name, value in scores.items() if np.isscalar(value)}
        | {f"{evaluation}_images": images, "seconds": 2.75, "best_epoch": 2},
    )
    return run


@pytest.fixture
def root(tmp_path):
    (tmp_path / "experiments").mkdir()
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "experiments/mine.yaml").write_text(yaml.safe_dump(STUDY))
    for seed in (0, 1):
        write_run(tmp_path, "mine", f"one-seed{seed}", seed, skill=1.0)
        write_run(tmp_path, "mine", f"two-seed{seed}", seed, skill=3.0)
    return tmp_path


@pytest.fixture
def study(root):
    return studies.load_study("mine", root)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_what_is_collected_is_read_again(root, study):
    gathered = studies.gather(study, root)
    read = studies.read_results(study.name, studies.collect(study, root).parents[1])
    assert read.about == json.loads(json.dumps(gathered.about))
    assert read.runs["run"].tolist() == ["one-seed0", "two-seed0", "one-seed1", "two-seed1"]
    pd.testing.assert_frame_equal(
        read.predictions[gathered.predictions.columns], gathered.predictions, check_dtype=False
    )
    labels = read.scored("two-seed1")["label"]
    predicted = studies.probabilities(read.scored("two-seed1")).argmax(1)
    accuracy = read.runs.set_index("run").loc["two-seed1", "accuracy"]
    assert accuracy == pytest.approx((predicted == labels).mean(), abs=1e-9)


def test_images_are_listed_once(root, study):
    folder = studies.collect(study, root)
    images = pd.read_parquet(folder / "images.parquet")
    assert len(images) == 64 and not images["image"].duplicated().any()
    assert (
        pd.read_parquet(folder / "predictions.parquet").dtypes[list(LOG_PROBABILITIES)] == "float16"
    ).all()


def test_collecting_the_same_numbers_again_changes_no_file(root, study):
    folder = studies.collect(study, root)
    before = contents(folder)
    for (
        name
    ) in study.cases():  # trained anew: the same numbers, in other seconds, of another commit
        run = Run("mine", name, root)
        run.write_json("metrics.json", run.measured | {"seconds": 9.0})
        run.write_json("environment.json", run.read_json("environment.json") | {"git_commit": "x"})
        history = pd.read_csv(run.path("history.csv")).assign(seconds=9.0)
        history.to_csv(run.path("history.csv"), index=False)
    studies.collect(study, root)
    assert contents(folder) == before


def test_runs_computed_elsewhere_are_kept(root, study):
    folder = studies.collect(study, root)
    before = contents(folder)
    shutil.rmtree(root / "runs/mine/one-seed0")
    with pytest.raises(InputError, match="one-seed0"):
        studies.gather(study, root)
    studies.collect(study, root, finished=True)
    assert contents(folder) == before


def test_a_changed_number_changes_its_row_alone(root, study):
    folder = studies.collect(study, root)
    before = pd.read_csv(folder / "runs.csv").set_index("run")
    run = Run("mine", "one-seed0", root)
    run.write_json("metrics.json", run.measured | {"accuracy": 0.5, "seconds": 9.0})
    studies.collect(study, root)
    after = pd.read_csv(folder / "runs.csv").set_index("run")
    assert after.loc["one-seed0", ["accuracy", "seconds"]].tolist() == [0.5, 9.0]
    pd.testing.assert_frame_equal(after.drop("one-seed0"), before.drop("one-seed0"))


def test_an_unfinished_study_is_not_collected_by_mistake(root, study):
    Run("mine", "one-seed0", root).path("metrics.json").unlink()
    with pytest.raises(InputError, match="one-seed0"):
        studies.collect(study, root)
    studies.collect(study, root, finished=True)
    assert len(studies.read_results("mine", root).runs) == 3


@pytest.mark.parametrize("name", ["images.parquet", "study.json", "history.csv"])
def test_results_half_copied_are_refused_by_name(root, study, name):
    folder = studies.collect(study, root)
    (folder / name).unlink()
    with pytest.raises(InputError, match=name):
        studies.read_results("mine", root)


def test_damaged_results_are_refused(root, study):
    folder = studies.collect(study, root)
    (folder / "predictions.parquet").write_bytes(b"PAR1")
    with pytest.raises(InputError, match="damaged"):
        studies.read_results("mine", root)


def test_unknown_results_are_refused(root):
    with pytest.raises(InputError, match="other"):
        studies.read_results("other", root)


def test_a_better_variant_is_told_from_noise(root, study):
    studies.collect(study, root)
    found = studies.compare("mine/one", "mine/two", root)
    row = found.table.set_index("metric").loc["macro_recall"]
    assert row["low"] > 0 and row["seeds"] == 2
    recalls = []
    for case in ("one", "two"):
        for seed in (0, 1):
            rows = studies.read_results("mine", root).scored(f"{case}-seed{seed}")
            right = studies.probabilities(rows).argmax(1) == rows["label"]
            recalls.append(right.groupby(rows["label"]).mean().mean())
    assert row["difference"] == pytest.approx(np.mean(recalls[2:]) - np.mean(recalls[:2]))
    assert len(found.verdicts) == 1
    shown = studies.format_comparison(found)
    assert shown.loc[0, "B − A"] == f"{100 * row['difference']:+.1f}"


def test_own_runs_are_compared_without_results(root):
    for name, skill in (("first", 1.0), ("t1", 2.0)):
        write_run(root, "explore", name, 0, skill)
    found = studies.compare("explore/first", "explore/t1", root)
    assert found.table.set_index("metric").loc["accuracy", "seeds"] == 1
    assert studies.read_run_set("explore", root).runs["variant"].tolist() == ["first", "t1"]


@pytest.mark.parametrize(
    ("a", "b", "said"),
    [
        ("mine/one", "mine/one", "two different"),
        ("mine/on", "mine/two", "one"),
        ("mne", "mine", "mine"),
        ("mine/one-seed0", "small/only-seed0", "one test set"),
        ("mine", "small", "same case"),
    ],
)
def test_what_cannot_be_compared_is_refused(root, study, a, b, said):
    studies.collect(study, root)
    write_run(root, "small", "only-seed0", 0, images=32)
    with pytest.raises(InputError, match=said):
        studies.compare(a, b, root)


def test_incomplete_predictions_are_refused(root, study):
    studies.collect(study, root)
    path = root / "results/mine/predictions.parquet"
    pd.read_parquet(path).iloc[1:].to_parquet(path)
    with pytest.raises(InputError, match="one-seed0 is incomplete"):
        studies.compare("mine/one", "mine/two", root)
