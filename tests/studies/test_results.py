"""From run folders to `results/`, read again, merged, compared."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import yaml

from fer_utils import metrics, report, studies
from fer_utils.core import LOG_PROBABILITIES, InputError, Run
from tests.studies.conftest import STUDY, write_run


def rights(results, run):
    """The labels of a run's images, and which of them were recognised."""
    rows = results.predictions[results.predictions["run"] == run].sort_values("image")
    p = metrics.probabilities(rows[list(LOG_PROBABILITIES)])
    return rows["label"], p.argmax(1) == rows["label"]


def compare(a, b, root):
    return report.compare(*(studies.read_run_set(name, root) for name in (a, b)))


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
    accuracy = read.runs.set_index("run").loc["two-seed1", "accuracy"]
    assert accuracy == pytest.approx(rights(read, "two-seed1")[1].mean(), abs=1e-9)


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
    found = compare("mine/one", "mine/two", root)
    row = found.set_index("metric").loc["macro_recall"]
    assert row["low"] > 0 and row["seeds"] == 2
    recalls = []
    for case in ("one", "two"):
        for seed in (0, 1):
            labels, right = rights(studies.read_results("mine", root), f"{case}-seed{seed}")
            recalls.append(right.groupby(labels).mean().mean())
    assert row["difference"] == pytest.approx(np.mean(recalls[2:]) - np.mean(recalls[:2]))
    (said,) = found.attrs["said"]
    assert said.startswith("Macro recall of mine/two against mine/one: ")
    shown = report.format_comparison(found)
    assert shown.loc[0, "B − A"] == f"{100 * row['difference']:+.1f}" and "case" not in shown


def test_cases_of_one_name_are_compared_and_others_named(root, study):
    studies.collect(study, root)
    write_run(root, "yours", "one", 0, skill=2.0)
    write_run(root, "yours", "four", 0)
    found = compare("mine", "yours", root)
    assert found["case"].unique().tolist() == ["one"] and found["metric"].nunique() == 7
    verdict, mine, yours = found.attrs["said"]
    assert verdict.startswith("Macro recall of one of yours against one of mine: ")
    assert mine == "Only in mine, not compared: two-seed0, one-seed1, two-seed1."
    assert yours == "Only in yours, not compared: four."


def test_a_fold_is_compared_alone_and_a_case_with_all_its_folds(root):
    text = yaml.safe_dump(STUDY | {"seeds": [0], "folds": 3, "parameters": {"dataset": "folder"}})
    (root / "experiments/folded.yaml").write_text(text)
    for fold in range(3):
        own = {"dataset": "folder", "protocol": "k_fold", "folds": 3, "fold": fold}
        for name, skill in (("one", 1.0), ("two", 3.0)):
            run = f"{name}-fold{fold}-seed0"
            write_run(root, "folded", run, 0, skill, prefix=f"{fold}-", **own)
    studies.collect(studies.load_study("folded", root), root)
    alone = compare("folded/one-fold1-seed0", "folded/two-fold1-seed0", root)
    whole = compare("folded/one", "folded/two", root)
    assert alone["seeds"].tolist() == whole["seeds"].tolist() == [1] * 7
    assert whole["high"][1] - whole["low"][1] < alone["high"][1] - alone["low"][1]


def test_own_runs_are_compared_without_results(root):
    for name, skill in (("first", 1.0), ("t1", 2.0)):
        write_run(root, "explore", name, 0, skill)
    found = compare("explore/first", "explore/t1", root)
    assert found.set_index("metric").loc["accuracy", "seeds"] == 1
    assert studies.read_run_set("explore", root).runs["variant"].tolist() == ["first", "t1"]


@pytest.mark.parametrize(
    ("a", "b", "said"),
    [
        ("mine/one", "mine/one", "two different"),
        ("mine/on", "mine/two", "one"),
        ("mne", "mine", "mine"),
        ("mine/one-seed0", "small/only-seed0", "64 and 32 that differ"),
        ("mine", "small", "same case"),
    ],
)
def test_what_cannot_be_compared_is_refused(root, study, a, b, said):
    studies.collect(study, root)
    write_run(root, "small", "only-seed0", 0, images=32)
    with pytest.raises(InputError, match=said):
        compare(a, b, root)


def test_incomplete_predictions_are_refused(root, study):
    studies.collect(study, root)
    path = root / "results/mine/predictions.parquet"
    pd.read_parquet(path).iloc[1:].to_parquet(path)
    with pytest.raises(InputError, match="one-seed0 is incomplete"):
        compare("mine/one", "mine/two", root)
