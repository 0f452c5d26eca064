"""Paired comparisons against loops and published examples; verdicts never beyond their numbers."""

import numpy as np
import pandas as pd
import pytest

from fer_utils import metrics
from fer_utils.core import InputError

TARGETS = np.repeat(np.arange(8), [60, 50, 40, 30, 20, 12, 30, 12])
BOTH = ("accuracy", "macro_recall")


def two_runs(seed=0, gain=0.3):
    random = np.random.default_rng(seed)
    shared = random.random((len(TARGETS), 8))
    runs = [shared + 0.3 * random.random(shared.shape) for _ in range(2)]
    runs = [
        run + signal * np.eye(8)[TARGETS]
        for run, signal in zip(runs, (0.3, 0.3 + gain), strict=True)
    ]
    return [run / run.sum(axis=1, keepdims=True) for run in runs]


def test_a_comparison_is_that_of_a_loop():
    a, b = two_runs()
    found = metrics.compare_paired(TARGETS, a, b)
    first, second = metrics.evaluate(TARGETS, a), metrics.evaluate(TARGETS, b)
    assert found["a"].to_dict() == pytest.approx(first)
    assert found["b"].to_dict() == pytest.approx(second)
    expected = {name: second[name] - first[name] for name in first}
    assert found["difference"].to_dict() == pytest.approx(expected)
    random, change = np.random.default_rng(7), (b.argmax(axis=1) == TARGETS).astype(int)
    change -= a.argmax(axis=1) == TARGETS
    by_class = [np.flatnonzero(label == TARGETS) for label in range(8)]
    by_hand = np.mean(
        [change[random.choice(own, (10_000, len(own)))].mean(axis=1) for own in by_class], axis=0
    )
    bounds = found.loc["macro_recall", ["low", "high"]]
    np.testing.assert_allclose(bounds, np.quantile(by_hand, [0.025, 0.975]), atol=0.01)


def test_pairing_pays_and_swapping_turns_the_signs():
    a, b = two_runs(gain=0.02)
    there, back = (metrics.compare_paired(TARGETS, *pair, ["brier"]) for pair in ((a, b), (b, a)))
    there, back = there.loc["brier"], back.loc["brier"]
    assert there["difference"] == -back["difference"] and there["low"] == pytest.approx(
        -back["high"]
    )
    alone = metrics.bootstrap(TARGETS, a, ["brier"]).loc["brier"]
    assert there["high"] - there["low"] < 0.6 * (alone["high"] - alone["low"])


def test_the_same_run_twice_is_no_difference():
    a, _ = two_runs()
    found = metrics.compare_paired(TARGETS, a, a, resamples=50)
    assert (found[["difference", "low", "high"]] == 0).all(axis=None) and (
        found["p_value"] == 1
    ).all()
    undefined = metrics.compare_paired([3, 3], *[np.eye(8)[[3, 3]]] * 2, resamples=5)
    assert undefined.loc["auc", ["difference", "low", "p_value"]].isna().all()


def test_seeds_are_averaged_on_the_same_images():
    (a, b), (c, d) = two_runs(0), two_runs(1)
    found = metrics.compare_paired(TARGETS, [a, c], [b, d], BOTH).loc["macro_recall"]
    alone = [
        metrics.compare_paired(TARGETS, *pair, BOTH).loc["macro_recall"]
        for pair in ((a, b), (c, d))
    ]
    by_seed = [row["difference"] for row in alone]
    assert found["by_seed"] == pytest.approx(by_seed) and found["difference"] == pytest.approx(
        np.mean(by_seed)
    )
    assert found["high"] - found["low"] < max(row["high"] - row["low"] for row in alone)
    same = metrics.compare_paired(TARGETS, [a, a], [b, b], BOTH).drop(columns="by_seed")
    np.testing.assert_allclose(
        same, metrics.compare_paired(TARGETS, a, b, BOTH).drop(columns="by_seed")
    )
    with pytest.raises(InputError, match="1 and 2"):
        metrics.compare_paired(TARGETS, a, [b, d])


def test_groups_widen_a_paired_interval():
    a, b = (np.tile(run, (2, 1)) for run in two_runs())
    targets, groups = np.tile(TARGETS, 2), np.tile(np.arange(len(TARGETS)), 2)
    width = [
        np.ptp(metrics.compare_paired(targets, a, b, BOTH, groups=g)[["low", "high"]], axis=1)
        for g in (None, groups)
    ]
    np.testing.assert_allclose(width[1], np.sqrt(2) * width[0], rtol=0.12)


def test_p_values_are_uniform_where_nothing_differs():
    random, p_values, targets = np.random.default_rng(0), [], np.repeat(np.arange(8), 25)
    for _ in range(150):
        a, b = (
            np.eye(8)[np.where(random.random(200) < 0.5, targets, (targets + 1) % 8)] for _ in "ab"
        )
        found = metrics.compare_paired(targets, a, b, ["macro_recall"], resamples=300)
        p_values.append(found["p_value"].iloc[0])
    p_values = np.array(p_values)
    assert 0.01 < np.mean(p_values < 0.05) < 0.1 and 0.38 < np.mean(p_values < 0.5) < 0.62


@pytest.mark.parametrize(
    ("p_values", "adjusted"),
    [
        (
            [0.01, 0.04, 0.03, 0.005],
            [0.03, 0.06, 0.06, 0.02],
        ),  # Wikipedia, "Holm–Bonferroni method"
        ([0.01, 0.02, 0.03, 0.04, 0.05], [0.05, 0.08, 0.09, 0.09, 0.09]),  # R: p.adjust(…, "holm")
        ([0.2], [0.2]),
        ([0.9, 0.8], [1.0, 1.0]),
        ([0.01, np.nan, 0.04], [0.02, np.nan, 0.04]),
        ([], []),
    ],
)
def test_holm(p_values, adjusted):
    np.testing.assert_allclose(metrics.holm(p_values), adjusted)
    np.testing.assert_allclose(metrics.holm(pd.Series(p_values, dtype=float)), adjusted)


@pytest.mark.parametrize("wrong", [[0.5, 1.5], 0.5])
def test_holm_refuses_what_is_no_list_of_p_values(wrong):
    with pytest.raises(InputError, match=r"\d\.5"):
        metrics.holm(wrong)


CLEAR = {"difference": 0.04, "low": 0.02, "high": 0.06, "p_value": 0.001}
NOT = "not significant"


@pytest.mark.parametrize(
    ("change", "state"),
    [
        ({}, "higher"),
        ({"difference": -0.04, "low": -0.06, "high": -0.02}, "lower"),
        ({"low": 0.0}, NOT),
        ({"low": -0.001}, NOT),
        ({"p_value": 0.05}, NOT),
        ({"p_holm": 0.2}, NOT),
        ({"p_value": 0.2, "p_holm": 0.01}, "higher"),
        ({"p_value": np.nan}, NOT),
        ({"low": np.nan, "high": np.nan, "p_value": np.nan}, NOT),
        ({"seeds_low": -0.01, "seeds_high": 0.09}, NOT),
        ({"seeds_low": -0.03, "seeds_high": -0.01}, NOT),
        ({"seeds_low": 0.01, "seeds_high": 0.07}, "higher"),
        ({"seeds_low": np.nan, "seeds_high": np.nan}, "higher"),  # one seed
    ],
)
def test_the_verdict_never_says_more_than_its_numbers(change, state):
    found = CLEAR | change
    assert metrics.verdict(found) == state
    sentence = metrics.describe_verdict(found, "A", "B", "recall_disgust")
    assert sentence.startswith(f"Recall of disgust of B against A: {state} (")


def test_a_verdict_in_words():
    sentence = metrics.describe_verdict(CLEAR | {"low": -0.0125, "p_value": 0.0001})
    for part in ("+4.0 points", "−1.2 to +6.0", "p < 0.001"):
        assert part in sentence
    with pytest.raises(InputError, match="did you mean 'accuracy'"):
        metrics.describe_verdict(CLEAR, metric="acuracy")
