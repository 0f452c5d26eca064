"""Cases of a study: every image once, seeds and folds joined, each run with its own prior and τ."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from fer_utils import metrics, report
from fer_utils.core import InputError
from tests.report import made


def raw(results, run, split="test"):
    rows = results.predictions
    return rows[(rows["run"] == run) & (rows["split"] == split)]


def test_folds_cover_each_image_once_and_keep_their_own_predictions(folds, fold_cases):
    case = fold_cases[0]
    assert case.images["image"].tolist() == list(range(152))
    assert case.log_p.shape == (2, 152, 8) and case.seeds == [0, 1]
    for seed, fold in ((0, 1), (1, 2)):
        rows = raw(folds, f"softmax-seed{seed}-fold{fold}")
        assert np.array_equal(case.log_p[seed, rows["image"]], rows[made.COLUMNS])


def test_cases_are_named_and_ordered_as_a_reader_knows_them(fold_cases, model_cases):
    names = ["softmax", "weighted softmax", "power half", "weighted cluster + weighted softmax"]
    assert [case.name for case in fold_cases][:4] == names
    assert [case.model for case in model_cases] == [6, 8, 10, 16, 20]
    assert [panel[:12] for panel in report.panels(model_cases)] == ["small_se_res", "small_resnet"]
    assert model_cases[3].base == "resnet50" and fold_cases[0].base == ""


def test_a_seed_without_one_of_its_folds_and_a_diverged_run_are_left_out(folds):
    lost = folds.runs[folds.runs["run"] != "softmax-seed1-fold2"]
    gone = lost["run"].str.startswith("weighted_softmax")
    lost = lost.assign(diverged_in=np.where(gone, 1, np.nan))
    cases = report.read_cases(made.change(folds, runs=lost))
    assert cases[0].seeds == [0] and cases[0].log_p.shape[0] == 1
    assert "weighted softmax" not in [case.name for case in cases]


def test_other_images_in_one_panel_are_refused_by_name(folds):
    rows = folds.predictions.copy()
    other = rows["run"].str.startswith("power_half") & (rows["split"] == "test")
    rows.loc[other & (rows["image"] == 7), "label"] = 3
    with pytest.raises(InputError, match="softmax and power half .* 152"):
        report.read_cases(made.change(folds, predictions=rows))


def test_each_fold_is_adjusted_by_its_own_counts_and_its_own_tau(folds):
    counts = [made.count_table(made.COUNTS + 50 * fold, setting="", fold=fold) for fold in range(3)]
    case = report.read_cases(made.change(folds, counts=pd.concat(counts)))[0]
    for fold in range(3):
        run, own = f"softmax-seed1-fold{fold}", made.COUNTS + 50 * fold
        rows, held = raw(folds, run), raw(folds, run, "validation")
        assert (case.counts[rows["image"]] == own).all()
        tau = metrics.choose_tau(held[made.COLUMNS].to_numpy(float), held["label"].to_numpy(), own)
        assert case.taus[run] == tau
        expected = metrics.logit_adjust(rows[made.COLUMNS].to_numpy(float), own, tau)
        np.testing.assert_allclose(case.adjusted[1, rows["image"]], expected, atol=1e-12)


def test_scores_are_the_bootstraps_and_rare_recall_the_mean_of_two(fold_cases):
    case = fold_cases[1]
    found = case.score(resamples=50)
    p, groups = np.exp(case.log_p), case.images["group"]
    p /= p.sum(axis=-1, keepdims=True)
    same = metrics.bootstrap(case.labels, p, ("accuracy",), groups=groups, resamples=50)
    np.testing.assert_allclose(found.loc["accuracy"], same.loc["accuracy"], atol=1e-9)
    rare = found.loc[["recall_disgust", "recall_contempt"], "value"].mean()
    assert found.loc["rare_recall", "value"] == pytest.approx(rare)
    equal = made.make_results(made.VARIANTS[:1], labels=np.repeat(np.arange(8), 5))
    assert [c.second for c in (case, *report.read_cases(equal))] == ["macro_recall", "rare_recall"]


def test_only_seeds_of_both_are_compared(fold_cases):
    a, b = fold_cases[:2]
    alone = dataclasses.replace(a, runs=a.runs[a.runs["seed"] == 1], log_p=a.log_p[1:])
    found = b.compare(alone, ("accuracy",)).loc["accuracy"]
    right = [(case.log_p[-1].argmax(1) == a.labels).mean() for case in (alone, b)]
    assert found["difference"] == pytest.approx(right[1] - right[0])
    assert len(found["by_seed"]) == 1


def test_runs_of_several_studies_keep_apart_by_name_and_counts():
    sets = []
    for study, counts in (("mine", made.COUNTS), ("yours", 2 * made.COUNTS)):
        one = made.make_results([{"variant": "first", "loss": "softmax"}], seeds=[0], study=study)
        sets.append(made.change(one, counts=made.count_table(counts)))
    joined = report.join_runs(sets)
    cases = {case.name: case.counts[0, 0] for case in report.read_cases(joined)}
    assert cases == {"mine/first": 400, "yours/first": 800}
    assert set(joined.history["run"]) == {"mine/first-seed0", "yours/first-seed0"}


def test_probabilities_of_0_are_read(folds):
    """A log-probability below what float16 holds is stored as −inf."""
    rows = folds.predictions.copy()
    values = rows[made.COLUMNS].to_numpy(copy=True)
    values[np.arange(0, len(values), 3), values[::3].argmin(axis=1)] = -np.inf
    rows[made.COLUMNS] = values
    case, other = report.read_cases(made.change(folds, predictions=rows))[:2]
    assert np.isinf(case.log_p).any() and case.taus and case.temperatures
    for log_p in (case.log_p, case.adjusted, case.cooled):
        assert np.isfinite(case.score(log_p, resamples=5)).all(axis=None)
    assert np.isfinite(case.compare(other, ["accuracy"])["difference"]).all()
