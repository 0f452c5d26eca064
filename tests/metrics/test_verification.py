"""Verification against brute force over every threshold, scikit-learn, and counting by hand."""

import itertools
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from fer_utils import metrics
from fer_utils.core import InputError

# Similarities with many ties, as coarse as tenths; at least three pairs of each kind.
SOME_PAIRS = st.lists(st.tuples(st.integers(0, 10), st.booleans()), min_size=1, max_size=24).map(
    lambda rows: [*rows, *itertools.product((3, 5, 8), (False, True))]
)


def unzip(rows):
    similarities, same = np.array(rows).T
    return similarities / 10, same.astype(bool)


def best_by_force(similarities, same):
    """The lowest of the thresholds with most right answers, and how many these are."""
    levels = np.unique(similarities)
    candidates = [levels[0], *(levels[:-1] + np.diff(levels) / 2), levels[-1] + 1e-9]
    right = [np.sum((similarities >= threshold) == same) for threshold in candidates]
    return candidates[int(np.argmax(right))], max(right)


@pytest.mark.parametrize("wanted", [2, 10, 100, 10_000])
@pytest.mark.parametrize("sizes", [[2, 2], [1, 5, 2, 2], [9, 1, 1, 1, 3], [40, 2, 2]])
def test_pairs_are_what_they_say(sizes, wanted):
    subjects = np.random.default_rng(1).permutation(
        np.repeat([f"p{n}" for n in range(len(sizes))], sizes)
    )
    pairs, same = metrics.make_pairs(subjects, wanted, seed=3)
    assert len({tuple(pair) for pair in pairs.tolist()}) == len(pairs) == len(same) <= wanted
    assert (pairs[:, 0] < pairs[:, 1]).all()
    assert (subjects[pairs[:, 0]] == subjects[pairs[:, 1]]).tolist() == same.tolist()
    every = [a == b for a, b in itertools.combinations(subjects, 2)]
    assert same.sum() == (~same).sum() == min(wanted // 2, sum(every), len(every) - sum(every))


def test_people_count_alike_and_a_seed_gives_its_pairs():
    subjects = np.repeat(np.arange(11), [500, *[3] * 10])
    pairs, same = metrics.make_pairs(subjects, 44)
    assert np.bincount(subjects[pairs[same][:, 0]]).tolist() == [2] * 11  # 22 pairs, two turns each
    pairs, same = metrics.make_pairs(subjects, 4000)
    assert np.bincount(subjects[pairs[same][:, 0]])[1:].tolist() == [3] * 10  # all they have
    assert (subjects[pairs[~same]] == 0).any(axis=1).mean() < 0.9  # though of 94 % of the images
    (one, _), (again, _), (other, _) = (
        metrics.make_pairs(subjects, 60, seed) for seed in (1, 1, 2)
    )
    assert np.array_equal(one, again) and not np.array_equal(one, other)


@pytest.mark.parametrize(
    ("subjects", "pairs", "named"), [("aab", 10, "1 such people of 2"), ("aabb", 1, "1 pairs")]
)
def test_impossible_pairs(subjects, pairs, named):
    with pytest.raises(InputError, match=named):
        metrics.make_pairs(list(subjects), pairs)


def test_cosines_of_embeddings_and_pixels():
    random = np.random.default_rng(0)
    embeddings = random.normal(size=(4, 5))
    embeddings[3] = 0
    found = metrics.cosine_similarities(embeddings, [(0, 1), (2, 2), (0, 3)])
    a, b = embeddings[:2]
    assert found == pytest.approx([a @ b / np.sqrt((a @ a) * (b @ b)), 1, 0])
    images = random.integers(0, 256, (2, 5, 5, 3), dtype=np.uint8)
    images[1] = images[1] // 2 + images[0] // 3
    grey = images.astype(float).mean(axis=3).reshape(2, -1)
    found = metrics.cosine_similarities(metrics.pixel_embeddings(images), [(0, 1)])
    assert found == pytest.approx([np.corrcoef(grey)[0, 1]], abs=1e-5)


@settings(deadline=None, max_examples=40)
@given(SOME_PAIRS)
def test_roc_and_what_is_read_from_it_by_brute_force(rows):
    similarities, same = unzip(rows)
    far, tar, thresholds = metrics.roc_curve(similarities, same)
    assert thresholds[0] == np.inf
    assert thresholds[1:].tolist() == sorted(set(similarities), reverse=True)
    for at, wrongly, rightly in zip(thresholds, far, tar, strict=True):
        assert wrongly == np.mean(similarities[~same] >= at)
        assert rightly == np.mean(similarities[same] >= at)
    found = metrics.verify(similarities, same, folds=2)
    assert found["auc"] == pytest.approx(roc_auc_score(same, similarities))
    low, high = (np.interp(found["eer"] + shift, far, tar) for shift in (-1e-9, 1e-9))
    assert low - 1e-6 <= 1 - found["eer"] <= high + 1e-6
    threshold, right = best_by_force(similarities, same)
    assert np.sum((similarities >= found["threshold"]) == same) == right
    assert found["threshold"] == pytest.approx(threshold, abs=1e-8)


@settings(deadline=None, max_examples=25)
@given(SOME_PAIRS, st.integers(2, 5))
def test_accuracy_over_folds_by_brute_force(rows, folds):
    similarities, same = unzip(rows)
    folds = min(folds, same.sum(), (~same).sum())
    place = np.where(same, np.cumsum(same), np.cumsum(~same)) % folds
    accuracies = []
    for fold in range(folds):
        own = place == fold
        threshold, _ = best_by_force(similarities[~own], same[~own])
        accuracies.append(np.mean((similarities[own] >= threshold) == same[own]))
    found = metrics.verify(similarities, same, folds)
    assert found["accuracy"] == pytest.approx(np.mean(accuracies))
    assert found["standard_error"] == pytest.approx(np.std(accuracies, ddof=1) / folds**0.5)


@pytest.mark.parametrize(
    ("similarities", "expected"),
    [
        ([9, 8, 1, 0], {"accuracy": 1, "standard_error": 0, "auc": 1, "eer": 0, "threshold": 4.5}),
        ([1, 2, 3, 4], {"auc": 0, "eer": 1}),
        ([1, 1, 1, 1], {"accuracy": 0.5, "auc": 0.5, "eer": 0.5}),
        ([4, 2, 3, 1], {"auc": 0.75, "eer": 0.5}),
        ([np.nextafter(1, 2)] * 2 + [1, 1], {"threshold": np.nextafter(1, 2)}),
    ],
)
def test_worked_by_hand(similarities, expected):
    found = metrics.verify(similarities, [True, True, False, False])
    assert {name: found[name] for name in expected} == expected and found["pairs"] == 4


def test_true_accept_rate_where_there_are_pairs_enough():
    def scores(different):
        similarities = np.concatenate([[2.0] * 30, [0.5] * 10, np.arange(different) / different])
        return metrics.verify(similarities, np.arange(len(similarities)) < 40)

    assert not any("far" in name for name in scores(99))
    hundred = scores(100)
    assert hundred["tar_at_far_0.01"] == 0.75 and "tar_at_far_0.001" not in hundred
    json.dumps(scores(1000), allow_nan=False)


@pytest.mark.parametrize(
    ("similarities", "same", "named"),
    [
        ([0.1, 0.2], [True], r"\(2,\) and \(1,\)"),
        ([0.1, np.nan, 0.3, 0.4], [True, True, False, False], "NaN"),
        ([0.1, 0.2], [True, True], "2 of 2"),
        ([0.1, 0.2, 0.3], [True, True, False], "2 pairs of one person, 1 of two"),
    ],
)
def test_bad_similarities_are_one_line(similarities, same, named):
    with pytest.raises(InputError, match=named) as error:
        metrics.verify(similarities, same)
    assert "\n" not in str(error.value)
