"""The verdict and what stands beside it: the metrics' numbers, sentences no stronger than they."""

import dataclasses

import numpy as np
import pytest

from fer_utils import metrics, report
from fer_utils.report.verdict import say_claims
from tests.report import made

EQUAL = np.repeat(np.arange(8), 12)  # labels of a test of equal classes


def network(signal, variant="weighted_cluster"):
    return {"variant": variant, "loss": "weighted_cluster", "signal": signal, "power": 0.9}


def with_softmax(*others, **options):
    return report.read_cases(made.make_results([made.VARIANTS[0], *others], **options))


def protocol(results, cases):
    return "\n".join(report.say_protocol(results, cases))


def test_the_free_line_begins_at_softmax_and_is_that_of_the_metrics(fold_cases):
    case, curves = fold_cases[0], report.operating_curves(fold_cases)
    expected = metrics.operating_curve(case.log_p, case.labels, case.counts, curves["tau"])
    np.testing.assert_allclose(curves["accuracy"], expected["accuracy"])
    np.testing.assert_allclose(curves["recall"], expected["macro_recall"])
    assert (curves["low"] <= curves["recall"]).all() and (curves["recall"] <= curves["high"]).all()


def test_scores_have_a_row_a_case_and_one_that_costs_no_training(fold_scores, fold_cases):
    assert fold_scores["loss"].tolist() == [*(case.loss for case in fold_cases), ""]
    last, (free, *_) = fold_scores.iloc[-1], fold_cases
    right = (free.adjusted.argmax(axis=2) == free.labels).mean()
    assert last["accuracy"] == pytest.approx(right)
    assert last["tau"] == pytest.approx(np.mean(list(free.taus.values())))


def test_without_validation_predictions_nothing_is_adjusted(folds):
    tested = folds.predictions[folds.predictions["split"] == "test"]
    results = made.change(folds, predictions=tested)
    cases = report.read_cases(results)[:2]
    assert (report.score_table(cases, resamples=9)["loss"] != "").all()
    assert not report.at_equal_accuracy(cases)["adjusted"].any()
    assert report.say_calibration(cases) == ""
    assert "out of post-hoc rows: softmax; weighted softmax" in protocol(results, cases)


def test_a_case_with_validation_predictions_of_some_runs_alone_is_not_adjusted(folds):
    rows = folds.predictions
    lost = (rows["run"] == "softmax-seed1-fold2") & (rows["split"] == "validation")
    results = made.change(folds, predictions=rows[~lost])
    cases = report.read_cases(results)
    assert [bool(case.taus) for case in cases] == [False, True, True, True, True]
    assert "out of post-hoc rows: softmax." in protocol(results, cases)


def test_the_same_network_lies_on_its_own_line():
    (free,) = with_softmax(labels=np.repeat(np.arange(8), made.COUNTS))
    log_p = metrics.logit_adjust(free.log_p, free.counts, metrics.TAUS[40])
    twin = dataclasses.replace(free, name="twin", loss="focal", log_p=log_p, taus={})
    (row,) = report.at_equal_accuracy([free, twin]).to_dict("records")
    assert row["equal"] and abs(row["difference"]) < 0.01 and row["state"] == "not significant"


@pytest.mark.parametrize(("signal", "state"), [(3.5, "higher"), (0.8, "lower")])
def test_better_and_worse_networks_are_told_from_the_line(signal, state):
    table = report.at_equal_accuracy(with_softmax(network(signal)))
    row = table[~table["adjusted"]].iloc[0]
    assert row["state"] == state and row["low"] <= row["difference"] <= row["high"]
    sentence = report.say_verdict(table)
    assert f": {state}, " in sentence and "weighted cluster + weighted softmax" in sentence
    number = f"{100 * row['difference']:+.1f} [{100 * row['low']:+.1f}".replace("-", "−")
    assert number in sentence and sentence.count("points") == 1


def test_curves_are_compared_with_curves_and_what_is_alone_with_nothing(fold_cases):
    equal = report.at_equal_accuracy(fold_cases)
    assert len(equal) == 2 * (len(fold_cases) - 1) and equal["adjusted"].sum() == 4
    np.testing.assert_allclose(equal["p_holm"], metrics.holm(equal["p_value"]))
    assert (equal["at"] == "the same accuracy").all()
    for cases in (fold_cases[1:], fold_cases[:1]):
        assert report.say_verdict(report.at_equal_accuracy(cases)).startswith("No verdict")
    assert "no pair" in say_claims(report.paired_claims(fold_cases[:1]))


def test_on_a_test_of_equal_classes_softmax_is_adjusted_with_its_tau_of_validation():
    cases = with_softmax(network(3.0), labels=EQUAL)
    row = report.at_equal_accuracy(cases).iloc[0]
    adjusted = (cases[0].adjusted.argmax(axis=2) == EQUAL).mean()
    assert row["free_accuracy"] == pytest.approx(adjusted)
    assert row["difference"] == pytest.approx(row["accuracy"] - adjusted)
    assert "its τ of validation" in row["at"]
    assert report.at_equal_accuracy([dataclasses.replace(c, taus={}) for c in cases]).empty
    rare = cases[0].score(resamples=9).loc["rare_recall", "value"]
    assert report.operating_curves(cases)["recall"].iloc[0] == pytest.approx(rare)


def test_the_verdict_of_several_panels_names_each_with_its_interval(model_cases):
    table = report.at_equal_accuracy(model_cases)
    sentence = report.say_verdict(table)
    central = table[(table["loss"] == "weighted_cluster") & ~table["adjusted"]]
    said = [f"{row.panel}: {row.state}" in sentence for row in central.itertuples()]
    assert said == [True, True] and sentence.count("[") == 2 and "\n" not in sentence


def test_the_papers_claims_are_paired_within_a_panel(model_cases):
    table, cluster = report.paired_claims(model_cases), "weighted cluster + weighted softmax"
    assert (table["name"] + " / " + table["against"]).tolist() == [
        "weighted softmax / softmax", f"{cluster} / softmax", f"{cluster} / weighted softmax",
        f"{cluster} / softmax",
    ]  # fmt: skip
    found = model_cases[1].compare(model_cases[0], ("macro_recall",)).iloc[0]
    assert table["difference"][0] == found["difference"]
    assert table["seeds_low"][0] == min(found["by_seed"])


def test_the_protocol_says_images_folds_sizes_and_looks(folds, fold_cases):
    for part in (
        "Of a generator.", "8 classes, 152 images scored, 2 of disgust and 2 of contempt",
        "3-fold", "Seeds 0, 1; the last epoch", "Reduced: synthetic, 1,520 training images, 48 px",
        "looked at once for each of 30 runs",
    ):  # fmt: skip
        assert part in protocol(folds, fold_cases)


def test_the_protocol_says_what_is_amiss(models, model_cases):
    runs, about = models.runs.copy(), models.about | {"test_looks": 2}
    runs.loc[0, "collapsed"], runs.loc[1, "diverged_in"] = True, 2
    runs["selection"], runs["evaluation"] = "f1", "validation"
    lines = protocol(made.change(models, runs=runs, about=about), model_cases)
    assert "Diverged in training: 6-seed1." in lines and "collapsed: 6-seed0." in lines
    assert "Planned, and not there: 7." in lines and "best epoch by validation f1" in lines
    assert "looked at never" in lines
    assert "2 times before" in protocol(made.change(models, about=about), model_cases)


def test_a_temperature_that_lowers_the_calibration_error_is_said(fold_cases):
    log_p = fold_cases[0].log_p
    sharp = dataclasses.replace(fold_cases[0], log_p=3 * log_p, cooled=log_p)
    before, after = (float(w) for w in report.say_calibration([sharp]).split() if w[0].isdigit())
    errors = [c.score(None, ("ece",), resamples=1)["value"]["ece"] for c in (sharp, fold_cases[0])]
    assert before > after
    assert [before, after] == pytest.approx(100 * np.array(errors), abs=0.06)
