"""From run folders to `results/`, read again, merged, compared."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest

from fer_utils import studies
from fer_utils.core import LOG_PROBABILITIES, InputError, Run
from tests.studies.conftest import write_run


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
    # Trained anew: the same numbers but for rounding, in other seconds, of another commit.
    for name in study.cases():
        run = Run("mine", name, root)
        accuracy = run.measured["accuracy"] + 1e-12
        run.write_json("metrics.json", run.measured | {"accuracy": accuracy, "seconds": 9.0})
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


def test_a_row_of_the_same_metrics_keeps_its_seconds_when_a_column_is_new(root, study):
    path = studies.collect(study, root) / "runs.csv"
    pd.read_csv(path).drop(columns="clip_norm").assign(seconds=1.0).to_csv(path, index=False)
    studies.collect(study, root)
    assert pd.read_csv(path)["seconds"].unique().tolist() == [1.0]
    assert "clip_norm" in pd.read_csv(path)


def test_counts_are_stored_once_where_others_were_counted_before(root, study):
    path = studies.collect(study, root) / "counts.csv"
    before = pd.read_csv(path)
    before.assign(images=before["images"] + 1).to_csv(path, index=False)
    shutil.rmtree(root / "runs/mine/one-seed0")
    studies.collect(study, root, finished=True)
    pd.testing.assert_frame_equal(pd.read_csv(path), before)


@pytest.mark.parametrize("name", ["images.parquet", "study.json", "history.csv"])
def test_results_half_copied_are_refused_by_name(root, study, name):
    folder = studies.collect(study, root)
    (folder / name).unlink()
    with pytest.raises(InputError, match=name):
        studies.read_results("mine", root)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("predictions.parquet", "damaged"),
        ("runs.csv", "two-seed1"),
        ("counts.csv", "damaged"),
        ("study.json", "damaged"),
    ],
)
def test_damaged_results_are_refused_and_written_anew(root, study, name, said):
    folder = studies.collect(study, root)
    whole = contents(folder)
    (folder / name).write_bytes(whole[name][: whole[name].rfind(b"\n", 0, -1) + 1])
    if name == "counts.csv":
        (folder / name).write_bytes(b"")
    with pytest.raises(InputError, match=said) as refused:
        studies.read_results("mine", root)
    assert "\n" not in str(refused.value) and "results/mine/" in str(refused.value)
    studies.collect(study, root)
    assert len(studies.read_results("mine", root).runs) == 4


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
