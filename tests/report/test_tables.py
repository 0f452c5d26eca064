"""Tables: the numbers of the cases and of the paper, as they are printed."""

import numpy as np
import pandas as pd
import pytest

from fer_utils import metrics, report
from fer_utils.core import paper
from fer_utils.report.page import format_interval, percent
from tests.report import made


def test_values_are_printed_in_per_cent_with_their_intervals():
    assert format_interval(0.5, 0.412, 0.588) == "50.0 [41.2, 58.8]"
    assert format_interval(-0.004, -0.01, 0.01, 1, True) == "−0.4 [−1.0, +1.0]"
    assert format_interval(0.607, np.nan, np.nan, 2) == percent(0.607, 2) == "60.70"
    assert format_interval(np.nan, np.nan, np.nan) == percent(np.nan) == "–"


def test_markdown_puts_numbers_on_the_right_and_gaps_as_dashes():
    table = pd.DataFrame({"Loss": ["softmax", None], "Points": ["−1.2 [−2.0, +0.1]", "3"]})
    assert report.to_markdown(table).splitlines() == [
        "| Loss | Points |", "| --- | ---: |", "| softmax | −1.2 [−2.0, +0.1] |", "| – | 3 |",
    ]  # fmt: skip


def test_the_small_table_has_every_score_with_its_interval_and_the_tau(fold_scores):
    printed = report.format_scores(fold_scores)
    assert printed.columns.tolist() == ["Loss", "Accuracy", "Macro recall", "Disgust", "Contempt"]
    assert printed["Loss"].str.startswith("softmax + logit adjustment, τ = ").sum() == 1
    names = "accuracy", "accuracy_low", "accuracy_high"
    value, low, high = (f"{100 * fold_scores[name][0]:.1f}" for name in names)
    assert printed["Accuracy"][0] == f"{value} [{low}, {high}]"


def test_differences_are_printed_without_their_verdict(fold_cases, model_cases):
    equal = report.format_differences(report.at_equal_accuracy(fold_cases[:2]))
    assert equal["Loss"].tolist() == ["weighted softmax", "weighted softmax + logit adjustment"]
    assert equal["Against"].str.fullmatch(r"softmax, τ = \d\.\d\d").all()
    claims = report.format_differences(report.paired_claims(model_cases))
    assert "higher" not in claims.to_csv() and claims["Seeds"].str.contains(" to ").all()


def test_table_5_is_as_on_a_balanced_test_beside_the_published_values(model_cases):
    table = report.compare_with_published(model_cases, "se_resnet50")
    assert len(table) == 20 and (table["source"] == "the paper").sum() == 10
    place = table.index[table["name"].str.startswith("8.")][0]
    ours, theirs = table.loc[place], table.loc[place + 1]
    recall = model_cases[1].score(None, ("macro_recall",), resamples=1)["value"].iloc[0]
    assert ours["accuracy"] == pytest.approx(recall)
    assert ours["kappa"] == pytest.approx((ours["accuracy"] - 1 / 8) / (7 / 8), abs=1e-6)
    assert theirs["accuracy"] == paper.MODELS[8].accuracy and np.isnan(theirs["accuracy_low"])
    assert table[table["name"].str.startswith("7.")]["source"].tolist() == ["not run"]
    assert "59.72" in report.format_scores(table, paper.METRICS)["Accuracy"].tolist()
    table = report.compare_with_published(model_cases, "se_resnet50", balanced=False)
    assert len(table) == 10 and "the paper" not in set(table["source"])
    right = (model_cases[1].log_p.argmax(axis=2) == model_cases[1].labels).mean()
    assert table.loc[7, "accuracy"] == pytest.approx(right)


def test_gains_are_differences_of_recalls_from_frequent_to_rare(fold_cases):
    gains = report.class_gains(fold_cases[:2], ["happy", "neutral", "contempt"])
    assert gains["row"].tolist() == ["happy (60)", "neutral (40)", "contempt (2)", "mean"]
    happy = [case.log_p[:, case.labels == 1].argmax(axis=2) == 1 for case in fold_cases[:2]]
    assert gains["difference"][0] == pytest.approx(happy[1].mean() - happy[0].mean())
    assert gains["heading"].unique().tolist() == ["weighted softmax less softmax"]


def test_tables_2_and_3_stand_beside_the_papers():
    table = report.compare_networks({"a": made.ARCHITECTURE, "b": made.ARCHITECTURE})
    assert table["Output"].tolist() == ["64×24×24", "128×12×12", "128", "8"]  # alike, so once
    assert table["The paper's"][0] == "112×112; 1 × convolution 7×7; frozen"
    table = report.compare_counts(made.count_table([8, 4, 2, 2, 2, 2, 2, 0]))
    table = table.set_index("Expression")
    assert table.loc["happy", "Weight"] == "0.5000" and table.loc["contempt", "Weight"] == "–"
    assert table.loc["disgust", "Weight, paper"] == f"{3250 / 3303:.4f}"
    assert table.loc["total", ["Training", "Training, paper"]].tolist() == ["22", "283,651"]


def test_confusions_are_means_over_seeds_with_the_cells_of_figure_6(model_cases):
    ((title, (matrix, _, cells)),) = report.confusions(model_cases[2:3]).items()
    assert title.startswith("model 10: weighted cluster") and cells["contempt", "contempt"] == 0.59
    guesses, labels = model_cases[2].log_p.argmax(axis=2), model_cases[2].labels
    both = [metrics.confusion_matrix(labels, guess) for guess in guesses]
    np.testing.assert_allclose(matrix, np.mean(both, axis=0))
