"""Intervals against scipy, and the bootstrap against loops, coverage and clusters."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest, ttest_rel

from fer_utils import metrics
from fer_utils.core import InputError
from fer_utils.metrics.intervals import draw_weights, find_kinds
from fer_utils.metrics.scores import weighted_scores

QUICK = ("accuracy", "macro_recall", "f1")


@pytest.mark.parametrize("successes, n", [(0, 16), (1, 16), (16, 16), (2428, 4000), (0, 1)])
def test_wilson_interval_is_scipys(successes, n):
    expected = binomtest(successes, n).proportion_ci(method="wilson")
    found = metrics.wilson_interval(successes, n)
    assert found == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_wilson_interval_of_arrays():
    low, high = metrics.wilson_interval([0, 5, 0], [10, 10, 0])
    assert (low[1], high[1]) == pytest.approx(metrics.wilson_interval(5, 10))
    assert low[0] == 0 and np.isnan([low[2], high[2]]).all()
    with pytest.raises(InputError, match="1 of 2"):
        metrics.wilson_interval([3, 1], 2)


def test_seed_interval_is_the_paired_t_test():
    a, b = np.array([0.31, 0.29, 0.35, 0.30]), np.array([0.33, 0.34, 0.35, 0.36])
    found, expected = metrics.seed_interval(b - a), ttest_rel(b, a)
    interval = expected.confidence_interval(0.95)
    assert list(found) == ["low", "high", "p_value"]
    assert [*found.values()] == pytest.approx([interval.low, interval.high, expected.pvalue])


def test_seed_interval_of_one_of_equal_and_of_missing_seeds():
    assert np.isnan([*metrics.seed_interval([0.02]).values()]).all()
    assert metrics.seed_interval([0.5, 0.5])["p_value"] == 0
    assert metrics.seed_interval([0.0, 0.0])["p_value"] == 1
    assert np.isnan(metrics.seed_interval([0.1, np.nan])["low"])
    with pytest.raises(InputError, match=r"\(0,\)"):
        metrics.seed_interval([])


# ---- draws


def drawn(targets, kinds, groups=None, resamples=500):
    kept, blocks = draw_weights(np.asarray(targets), np.asarray(kinds), groups, resamples)
    return kept, np.concatenate(list(blocks), axis=1)


def test_draws_keep_class_sizes_and_treat_images_alike():
    targets = np.repeat(np.arange(8), [60, 50, 40, 30, 20, 10, 5, 1])
    kept, weights = drawn(targets, np.arange(216), resamples=3000)
    assert kept.tolist() == list(range(216)) and weights.shape == (216, 3001)
    assert (weights[:, 0] == 1).all()
    for label in range(8):
        own = weights[targets == label, 1:]
        assert (own.sum(axis=0) == len(own)).all()
        assert own.mean(axis=1) == pytest.approx(np.ones(len(own)), abs=0.1)
        assert own.var(axis=1).mean() == pytest.approx(1 - 1 / len(own), abs=0.05)  # binomial


def test_images_of_a_kind_are_carried_by_one_of_them():
    targets = np.repeat([0, 1], [30, 10])
    kinds = find_kinds([targets, np.arange(40) % 2])
    assert len(set(kinds)) == 4
    kept, weights = drawn(targets, kinds, resamples=4000)
    assert len(kept) == 4 and sorted(weights[:, 0]) == [5, 5, 15, 15]
    own = weights[targets[kept] == 0]
    assert (own.sum(axis=0) == 30).all()
    assert own[0, 1:].std() == pytest.approx(np.sqrt(30 / 4), rel=0.05)  # of a binomial


def test_groups_are_drawn_together_and_no_class_is_lost():
    """Of contempt there is one image, in a group with one of anger."""
    targets = np.array([0] * 20 + [6] * 4 + [7, 6])
    groups = np.array([*np.repeat(np.arange(10), 2), -1, -1, -1, -1, 50, 50])
    kept, weights = drawn(targets, find_kinds([targets]), groups)
    together = weights[np.isin(kept, [24, 25])]
    assert (together == 1).all()  # a stratum of one group
    pairs = weights[kept < 20].reshape(10, 2, -1)
    assert (pairs[:, 0] == pairs[:, 1]).all() and (pairs[:, 0].sum(axis=0) == 10).all()
    assert (kept >= 20).sum() == 3  # the four images alone are of one kind
    for options in ({"groups": groups[:3]}, {"resamples": 0}):
        with pytest.raises(InputError, match=r"\(3,\)|0 resamples"):
            draw_weights(targets, targets, **options)


# ---- bootstrap


def test_intervals_are_those_of_a_loop(make):
    targets, probabilities = make(5, 240)
    found = metrics.bootstrap(targets, probabilities)
    assert found["value"].to_dict() == pytest.approx(metrics.evaluate(targets, probabilities))
    random, by_hand = np.random.default_rng(9), []
    classes, ones = [np.flatnonzero(targets == c) for c in range(8)], np.ones((240, 1))
    for _ in range(400):
        rows = np.concatenate([random.choice(own, len(own)) for own in classes])
        one = weighted_scores(targets[rows], probabilities[rows], ones, found.index)
        by_hand.append({name: value[0] for name, value in one.items()})
    expected = pd.DataFrame(by_hand).quantile([0.025, 0.975]).T
    assert np.abs(found[["low", "high"]] - expected.to_numpy()).max(axis=None) < 0.02
    assert found.equals(metrics.bootstrap(targets, probabilities))
    assert not found.equals(metrics.bootstrap(targets, probabilities, seed=1))


def test_kinds_change_nothing_but_the_time(make):
    """With Brier's score every image counts for itself; without it, as one of its kind."""
    targets, probabilities = make(6, 400)
    quick, slow = (metrics.bootstrap(targets, probabilities, m) for m in (QUICK, (*QUICK, "brier")))
    np.testing.assert_allclose(quick["value"], slow["value"][:3])
    np.testing.assert_allclose(quick, slow[:3], atol=0.008)


def test_coverage_of_the_interval():
    """Images of known difficulty: the interval of macro recall holds the truth 95 of 100 times."""
    random, shares = np.random.default_rng(3), np.linspace(0.4, 0.9, 8)
    targets, held = np.repeat(np.arange(8), [200, 150, 100, 80, 60, 40, 60, 40]), 0
    for seed in range(200):
        right = random.random(len(targets)) < shares[targets]
        guesses = np.eye(8)[np.where(right, targets, (targets + 1) % 8)]
        row = metrics.bootstrap(targets, guesses, ["macro_recall"], resamples=300, seed=seed)
        low, high = row.loc["macro_recall", ["low", "high"]]
        held += low <= shares.mean() <= high
    assert 0.90 <= held / 200 <= 0.99


def test_duplicates_widen_the_interval_only_where_their_group_is_known(make):
    targets, probabilities = make(7, 300)
    once = metrics.bootstrap(targets, probabilities, QUICK)
    twice = np.tile(targets, 2), np.tile(probabilities, (2, 1))
    naive = metrics.bootstrap(*twice, QUICK)
    grouped = metrics.bootstrap(*twice, QUICK, groups=np.tile(np.arange(300), 2))
    width = [(table["high"] - table["low"]).to_numpy() for table in (once, naive, grouped)]
    np.testing.assert_allclose(width[2], width[0], rtol=0.1)
    np.testing.assert_allclose(width[1], width[0] / np.sqrt(2), rtol=0.1)


def test_balanced_accuracy_is_macro_recall_in_every_sample(make):
    targets, probabilities = make(8, 300)
    found = metrics.bootstrap(targets, probabilities, balanced=True, resamples=200)
    np.testing.assert_allclose(found.loc["accuracy"], found.loc["macro_recall"])
    np.testing.assert_allclose(found.loc["kappa"], (found.loc["accuracy"] - 1 / 8) / (7 / 8))
    alone = metrics.evaluate(targets, probabilities, balanced=True)
    assert found["value"].to_dict() == pytest.approx(alone)


def test_seeds_are_averaged_metric_by_metric(make):
    targets, one = make(9, 200)
    other = one[:, ::-1] / 2 + one / 2
    found = metrics.bootstrap(targets, [one, other], QUICK, resamples=50)
    values = [metrics.evaluate(targets, run) for run in (one, other)]
    expected = {name: np.mean([value[name] for value in values]) for name in QUICK}
    assert found["value"].to_dict() == pytest.approx(expected)


def test_what_is_undefined_stays_so_and_one_image_is_enough():
    found = metrics.bootstrap([3, 3], np.eye(8)[[3, 3]], resamples=5)
    assert found.loc["accuracy"].tolist() == [1, 1, 1]
    assert found.loc[["kappa", "alpha", "auc"]].isna().all(axis=None)
    alone = metrics.bootstrap([5], np.eye(8)[[2]], ["accuracy", "recall_disgust", "recall_fear"])
    assert alone.loc["recall_disgust"].tolist() == [0, 0, 0]
    assert alone.loc["recall_fear"].isna().all()


def test_unknown_metrics_are_named(make):
    with pytest.raises(InputError, match="did you mean 'accuracy'"):
        metrics.bootstrap(*make(), ["acuracy"])
