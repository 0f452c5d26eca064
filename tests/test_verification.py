"""Verification against brute force over every threshold, scikit-learn, and what can be counted by hand."""

import itertools
import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from fer_utils import verification
from fer_utils.errors import InputError

# Similarities with many ties, as coarse as tenths; at least three pairs of each kind.
some_pairs = st.lists(st.tuples(st.integers(0, 10), st.booleans()), min_size=1, max_size=24).map(
    lambda rows: [*rows, *itertools.product((3, 5, 8), (False, True))]
)


def unzipped(rows):
    similarities, same = zip(*rows, strict=True)
    return np.array(similarities) / 10, np.array(same)


def right_answers(similarities, same, threshold):
    return sum((similarity >= threshold) == bool(one) for similarity, one in zip(similarities, same, strict=True))


# ---- pairs


@pytest.mark.parametrize("wanted", [2, 10, 100, 10_000])
@pytest.mark.parametrize("sizes", [[2, 2], [1, 5, 2, 2], [9, 1, 1, 1, 3], [4] * 6, [40, 2, 2]])
def test_pairs_are_what_they_say(sizes, wanted):
    subjects = np.random.default_rng(1).permutation(np.repeat([f"person {n}" for n in range(len(sizes))], sizes))
    pairs, same = verification.make_pairs(subjects, wanted, seed=3)
    assert len({frozenset(pair) for pair in pairs.tolist()}) == len(pairs) == len(same) <= wanted
    assert (pairs[:, 0] < pairs[:, 1]).all()
    assert (subjects[pairs[:, 0]] == subjects[pairs[:, 1]]).tolist() == same.tolist()
    assert same.sum() == (~same).sum()
    every = [subjects[a] == subjects[b] for a, b in itertools.combinations(range(len(subjects)), 2)]
    assert same.sum() == min(wanted // 2, sum(every), len(every) - sum(every))


def test_pairs_are_the_same_for_a_seed_alone():
    subjects = np.repeat(np.arange(20), 5)
    (one, _), (again, _), (other, _) = (verification.make_pairs(subjects, 60, seed) for seed in (1, 1, 2))
    assert np.array_equal(one, again) and not np.array_equal(one, other)


def test_people_count_alike_however_many_images_they_have():
    subjects = np.repeat(np.arange(11), [500, *[3] * 10])
    pairs, same = verification.make_pairs(subjects, 44, seed=0)
    assert np.bincount(subjects[pairs[same][:, 0]]).tolist() == [2] * 11  # 22 pairs, two turns each
    pairs, same = verification.make_pairs(subjects, 4000, seed=0)
    assert np.bincount(subjects[pairs[same][:, 0]]).tolist() == [same.sum() - 30, *[3] * 10]  # all that the small have
    large = (subjects[pairs[~same]] == 0).any(axis=1).mean()
    assert large < 0.9  # 94 % of images, two of eleven people in a pair


def test_every_pair_of_a_person_is_as_likely_as_any_other():
    subjects = [0] * 5 + [1] * 5
    drawn = [verification.make_pairs(subjects, 4, seed)[0][:2] for seed in range(400)]
    counts = np.unique(np.concatenate(drawn), axis=0, return_counts=True)[1]
    assert len(counts) == 20 and (abs(counts - 40) < 25).all()  # 800 in 20, four standard deviations


@pytest.mark.parametrize(
    ("subjects", "pairs", "message"),
    [
        (["a", "a", "b"], 10, "found 1 among 2; hold out more people"),
        ([], 10, "found 0 among 0"),
        (["a", "a", "b", "b"], 1, "at least 2 pairs.*found 1"),
    ],
)
def test_impossible_pairs(subjects, pairs, message):
    with pytest.raises(InputError, match=message) as error:
        verification.make_pairs(subjects, pairs)
    assert "\n" not in str(error.value)


# ---- embeddings


def test_cosines_of_pairs():
    embeddings = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
    embeddings[5] = 0
    pairs = list(itertools.combinations(range(6), 2))
    for similarity, (a, b) in zip(verification.cosine_similarities(embeddings, pairs), pairs, strict=True):
        norms = np.linalg.norm(embeddings[a]) * np.linalg.norm(embeddings[b])
        assert similarity == pytest.approx(float(embeddings[a] @ embeddings[b]) / norms if norms else 0, abs=1e-6)
    assert verification.cosine_similarities(embeddings, [(1, 1)]) == pytest.approx([1], abs=1e-12)


def test_pixel_cosine_is_the_correlation_of_the_grey_pixels():
    images = np.random.default_rng(0).integers(0, 256, (2, 5, 5, 3), dtype=np.uint8)
    images[1] = (images[1] // 2 + images[0] // 3).astype(np.uint8)
    grey = images.astype(float).mean(axis=3).reshape(2, -1)
    similarity = verification.cosine_similarities(verification.pixel_embeddings(images), [(0, 1)])
    assert similarity == pytest.approx([np.corrcoef(grey)[0, 1]], abs=1e-5)


# ---- measures


@settings(deadline=None, max_examples=60)
@given(some_pairs)
def test_roc_curve_counts_pairs_at_every_threshold(rows):
    similarities, same = unzipped(rows)
    far, tar, thresholds = verification.roc_curve(similarities, same)
    assert thresholds[0] == np.inf and thresholds[1:].tolist() == sorted(set(similarities), reverse=True)
    for accepted_wrongly, accepted_rightly, threshold in zip(far, tar, thresholds, strict=True):
        assert accepted_wrongly == np.mean([value >= threshold for value in similarities[~same]])
        assert accepted_rightly == np.mean([value >= threshold for value in similarities[same]])


@settings(deadline=None, max_examples=60)
@given(some_pairs)
def test_best_threshold_by_brute_force(rows):
    similarities, same = unzipped(rows)
    levels = sorted(set(similarities))
    candidates = [levels[0], *((low + high) / 2 for low, high in itertools.pairwise(levels)), levels[-1] + 1]
    scores = [right_answers(similarities, same, threshold) for threshold in candidates]
    found = verification.best_threshold(similarities, same)
    assert right_answers(similarities, same, found) == max(scores)
    expected = candidates[scores.index(max(scores))]  # the lowest of equals
    assert found == pytest.approx(expected) or (expected > levels[-1] and found > levels[-1])


def test_a_threshold_between_neighbouring_numbers_keeps_them_apart():
    low = 0.1
    high = np.nextafter(low, 1)
    assert low < verification.best_threshold([high, low], [True, False]) <= high


@settings(deadline=None, max_examples=40)
@given(some_pairs, st.integers(2, 5))
def test_accuracy_over_folds_by_brute_force(rows, folds):
    similarities, same = unzipped(rows)
    folds = min(folds, same.sum(), (~same).sum())
    assigned, seen = [], {True: 0, False: 0}
    for one in same.tolist():
        seen[one] += 1
        assigned.append(seen[one] % folds)
    accuracies = []
    for fold in range(folds):
        inside = np.array(assigned) == fold
        levels = sorted(set(similarities[~inside]))
        candidates = [levels[0], *((low + high) / 2 for low, high in itertools.pairwise(levels)), levels[-1] + 1e-12]
        best = max(candidates, key=lambda t: (right_answers(similarities[~inside], same[~inside], t), -t))  # noqa: B023
        accuracies.append(right_answers(similarities[inside], same[inside], best) / inside.sum())
    scores = verification.verify(similarities, same, folds)
    assert scores["accuracy"] == pytest.approx(np.mean(accuracies))
    spread = sum((accuracy - np.mean(accuracies)) ** 2 for accuracy in accuracies) / (folds - 1)
    assert scores["standard_error"] == pytest.approx((spread / folds) ** 0.5)


@settings(deadline=None, max_examples=60)
@given(some_pairs)
def test_auc_and_equal_error_rate(rows):
    similarities, same = unzipped(rows)
    scores = verification.verify(similarities, same, folds=2)
    assert scores["auc"] == pytest.approx(roc_auc_score(same, similarities))
    far, tar, _ = verification.roc_curve(similarities, same)
    eer = scores["eer"]
    # On the curve: of false accepts as much as of false rejects.
    low = np.interp(eer - 1e-9, far, tar)
    high = np.interp(eer + 1e-9, far, tar)
    assert low - 1e-6 <= 1 - eer <= high + 1e-6


@pytest.mark.parametrize(
    ("similarities", "expected"),
    [
        ([9, 8, 1, 0], {"accuracy": 1, "standard_error": 0, "auc": 1, "eer": 0, "threshold": 4.5}),
        ([1, 2, 3, 4], {"auc": 0, "eer": 1}),
        ([1, 1, 1, 1], {"accuracy": 0.5, "auc": 0.5, "eer": 0.5}),
        ([4, 2, 3, 1], {"auc": 0.75, "eer": 0.5}),
    ],
)
def test_worked_by_hand(similarities, expected):
    scores = verification.verify(similarities, [True, True, False, False])
    assert {name: scores[name] for name in expected} == expected and scores["pairs"] == 4


def test_true_accept_rate_where_there_are_pairs_enough():
    def scores(different):
        similarities = np.concatenate([[2.0] * 30, [0.5] * 10, np.arange(different) / different])
        return verification.verify(similarities, np.arange(len(similarities)) < 40)

    assert not any("far" in name for name in scores(99))
    hundred = scores(100)
    assert hundred["tar_at_far_0.01"] == 0.75 and "tar_at_far_0.001" not in hundred
    assert scores(1000)["tar_at_far_0.001"] == 0.75
    json.dumps(scores(1000), allow_nan=False)


@pytest.mark.parametrize(
    ("similarities", "same", "message"),
    [
        ([0.1, 0.2], [True], r"a finite similarity for each pair, found shapes \(2,\) and \(1,\)"),
        ([0.1, np.nan, 0.3, 0.4], [True, True, False, False], "1 that are not finite"),
        ([0.1, 0.2], [True, True], "pairs of one person and of two, found 2 of one among 2"),
        ([0.1, 0.2, 0.3], [True, True, False], "found 2 pairs of one person and 1 of two; hold out more people"),
    ],
)
def test_bad_similarities_are_refused_in_one_line(similarities, same, message):
    with pytest.raises(InputError, match=message) as error:
        verification.verify(similarities, same)
    assert "\n" not in str(error.value)


def test_needs_no_torch():
    code = "import sys; from fer_utils import verification as v; v.verify([2, 2, 1, 1], [1, 1, 0, 0]); "
    code += "sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
