"""The verdict and what stands beside it: the metrics' numbers, sentences no stronger than they."""

import dataclasses

import numpy as np
import pytest

from fer_utils import metrics, report
from fer_utils.report.verdict import say_claims
from tests.report import made


def network(signal, variant="weighted_cluster", power=0.9):
    return {"variant": variant, "loss": "weighted_cluster", "signal": signal, "power": power}


@pytest.fixture(scope="module")
def scores(fold_cases):
    return report.score_table(fold_cases, resamples=100)


@pytest.fixture(scope="module")
def equal(fold_cases):
    return report.at_equal_accuracy(fold_cases)


def test_the_free_line_begins_at_softmax_and_is_that_of_the_metrics(fold_cases):
    case = fold_cases[0]
    curves = report.operating_curves(fold_cases)
    expected = metrics.operating_curve(case.log_p, case.labels, case.counts, curves["tau"])
    np.testing.assert_allclose(curves["accuracy"], expected["accuracy"])
    np.testing.assert_allclose(curves["recall"], expected["macro_recall"])
    assert (curves["low"] <= curves["recall"]).all() and (curves["recall"] <= curves["high"]).all()
    assert curves["tau"].agg(["min", "max"]).tolist() == [0, 1.5]


def test_scores_have_a_row_a_case_and_one_that_costs_no_training(scores, fold_cases):
    assert scores["loss"].tolist() == [*(case.loss for case in fold_cases), ""]
    last = scores.iloc[-1]
    adjusted = fold_cases[0].adjusted().argmax(axis=2)
    assert last["accuracy"] == pytest.approx((adjusted == fold_cases[0].labels).mean())
    assert last["tau"] == pytest.approx(np.mean(list(fold_cases[0].taus.values())))
    assert scores["power"].tolist()[:3] == [1.0, 1.0, 0.5]


def test_without_validation_predictions_nothing_is_adjusted():
    results = made.make_results(made.VARIANTS[:2], seeds=[0])
    results = made.change(
        results, predictions=results.predictions[results.predictions["split"] == "test"]
    )
    cases = report.read_cases(results)
    assert (report.score_table(cases, resamples=9)["loss"] != "").all()
    assert not report.at_equal_accuracy(cases)["adjusted"].any()
    assert report.say_calibration(cases) == ""
    lines = " ".join(report.say_protocol(results, cases))
    assert "out of post-hoc rows: softmax, weighted softmax" in lines


def test_the_same_network_lies_on_its_own_line():
    labels = np.repeat(np.arange(8), made.COUNTS)
    (free,) = report.read_cases(made.make_results(made.VARIANTS[:1], labels=labels))
    log_p = metrics.logit_adjust(free.log_p, free.counts, metrics.TAUS[40])
    twin = dataclasses.replace(free, name="twin", loss="focal", log_p=log_p, taus={})
    (row,) = report.at_equal_accuracy([free, twin]).to_dict("records")
    assert row["equal"] and abs(row["difference"]) < 0.01 and row["state"] == "not significant"


@pytest.mark.parametrize(("signal", "state"), [(3.5, "higher"), (0.8, "lower")])
def test_better_and_worse_networks_are_told_from_the_line(signal, state):
    cases = report.read_cases(made.make_results([made.VARIANTS[0], network(signal)]))
    table = report.at_equal_accuracy(cases)
    row = table[~table["adjusted"]].iloc[0]
    assert row["state"] == state
    assert row["low"] <= row["difference"] <= row["high"]
    assert row["seeds_low"] <= row["difference"] + 0.05 and row["seeds_high"] >= row["seeds_low"]
    sentence = report.say_verdict(table)
    assert f": {state}, " in sentence and "weighted cluster + weighted softmax" in sentence
    number = f"{100 * row['difference']:+.1f} [{100 * row['low']:+.1f}".replace("-", "−")
    assert number in sentence and sentence.count("points") == 1


def test_curves_are_compared_with_curves_and_holm_counts_all_rows(equal, fold_cases):
    assert len(equal) == 2 * (len(fold_cases) - 1) and equal["adjusted"].sum() == 4
    np.testing.assert_allclose(equal["p_holm"], metrics.holm(equal["p_value"]))
    assert (equal["at"] == "the same accuracy").all()


def test_on_a_test_of_equal_classes_softmax_is_adjusted_with_its_tau_of_validation():
    labels = np.repeat(np.arange(8), 12)
    cases = report.read_cases(made.make_results([made.VARIANTS[0], network(3.0)], labels=labels))
    row = report.at_equal_accuracy(cases).iloc[0]
    adjusted = (cases[0].adjusted().argmax(axis=2) == labels).mean()
    assert row["free_accuracy"] == pytest.approx(adjusted)
    assert row["difference"] == pytest.approx(row["accuracy"] - adjusted)
    assert "its τ of validation" in row["at"]
    without = [dataclasses.replace(case, taus={}) for case in cases]
    assert report.at_equal_accuracy(without).empty
    curves = report.operating_curves(cases)
    rare = cases[0].score(resamples=9).loc["rare_recall", "value"]
    assert curves["recall"].iloc[0] == pytest.approx(rare)


def test_nothing_to_compare_is_said(fold_cases):
    assert report.say_verdict(report.at_equal_accuracy(fold_cases[1:])).startswith("No verdict")
    assert report.say_verdict(report.at_equal_accuracy(fold_cases[:1])).startswith("No verdict")
    assert "no pair" in say_claims(report.paired_claims(fold_cases[:1]))


def test_the_verdict_of_several_panels_names_each_with_its_interval(model_cases):
    table = report.at_equal_accuracy(model_cases)
    sentence = report.say_verdict(table)
    central = table[(table["loss"] == "weighted_cluster") & ~table["adjusted"]]
    assert len(central) == 2
    for row in central.to_dict("records"):
        assert f"{row['panel']}: {row['state']}" in sentence
    assert sentence.count("[") == 2 and "\n" not in sentence


def test_the_papers_claims_are_paired_within_a_panel(model_cases):
    table = report.paired_claims(model_cases)
    assert list(zip(table["name"], table["against"], strict=True)) == [
        ("weighted softmax", "softmax"),
        ("weighted cluster + weighted softmax", "softmax"),
        ("weighted cluster + weighted softmax", "weighted softmax"),
        ("weighted cluster + weighted softmax", "softmax"),
    ]
    found = model_cases[1].compare(model_cases[0], ("macro_recall",)).iloc[0]
    assert table["difference"][0] == found["difference"]
    assert table["seeds_low"][0] == min(found["by_seed"])
    assert set(table["state"]) <= {"higher", "lower", "not significant"}


def test_other_variants_are_compared_with_the_reference():
    variants = [network(2.0, name) for name in ("zeros", "class_means", "normal")]
    cases = report.read_cases(made.make_results(variants, seeds=[0], reference="class_means"))
    table = report.paired_claims(cases, "class_means")
    assert table["against"].unique().tolist() == ["class means"]
    assert table["name"].tolist() == ["zeros", "normal"]


def test_the_protocol_says_images_folds_sizes_and_looks(folds, fold_cases):
    lines = "\n".join(report.say_protocol(folds, fold_cases))
    for part in (
        "Of a generator.", "8 classes, 152 images scored, 2 of disgust and 2 of contempt",
        "3-fold", "Seeds 0, 1; the last epoch", "Reduced: synthetic, 1,520 training images, 48 px",
        "looked at once for each of 30 runs",
    ):  # fmt: skip
        assert part in lines


def test_the_protocol_says_what_is_amiss(models):
    runs = models.runs.copy()
    runs.loc[0, "collapsed"], runs.loc[1, "diverged_in"] = True, 2
    runs["selection"], runs["evaluation"] = "f1", "validation"
    changed = made.change(models, runs=runs, about=models.about | {"test_looks": 2})
    lines = "\n".join(report.say_protocol(changed, report.read_cases(models)))
    assert "Diverged in training: 6-seed1." in lines and "collapsed: 6-seed0." in lines
    assert "Planned, and not there: 7." in lines and "best epoch by validation f1" in lines
    assert "looked at never" in lines
    looked = made.change(models, about=models.about | {"test_looks": 2})
    assert "2 times before" in "\n".join(report.say_protocol(looked, report.read_cases(models)))


def test_seven_classes_and_the_papers_own_size_are_seen(models):
    labels = np.repeat(np.arange(7), 10)
    results = made.make_results(made.VARIANTS[:1], seeds=[0], labels=labels)
    runs = results.runs.assign(dataset="affectnet", image_size=224)
    lines = "\n".join(
        report.say_protocol(made.change(results, runs=runs), report.read_cases(results))
    )
    assert "7 classes, 70 images" in lines and "0 of contempt" in lines and "Reduced" not in lines


def test_a_temperature_that_lowers_the_calibration_error_is_said(fold_cases):
    sharp = dataclasses.replace(
        fold_cases[0],
        log_p=3 * fold_cases[0].log_p,
        by_image={"temperature": 3 * np.ones((2, 152, 1))},
    )
    sentence = report.say_calibration([sharp])
    before, after = (float(word) for word in sentence.split() if word[:1].isdigit())
    assert before > after
    errors = [
        case.score(None, ("ece",), resamples=1).loc["ece", "value"]
        for case in (sharp, fold_cases[0])
    ]
    assert [before, after] == pytest.approx(100 * np.array(errors), abs=0.06)
