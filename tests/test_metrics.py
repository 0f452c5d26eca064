"""The metrics against published worked examples, naive double loops and the laws they must obey."""

import warnings

import krippendorff
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn.metrics import f1_score, recall_score

from fer_utils import metrics
from fer_utils.errors import InputError

SIX = ("accuracy", "f1", "kappa", "alpha", "auc_pr", "auc")


def one_hot(predictions) -> np.ndarray:
    return np.eye(8)[np.asarray(predictions)]


def random_case(seed: int, images: int = 160, decimals: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Imbalanced truth and informative probabilities; few decimals make ties."""
    random = np.random.default_rng(seed)
    targets = np.concatenate([np.arange(8), random.choice(8, images - 8, p=np.arange(8, 0, -1) / 36)])
    scores = random.random((images, 8)) + 0.6 * np.eye(8)[targets]
    if decimals is not None:
        scores = np.round(scores, decimals) + 0.5
    return targets, scores / scores.sum(axis=1, keepdims=True)


def spread(counts) -> tuple[np.ndarray, np.ndarray]:
    """A confusion matrix's images, one by one."""
    cells = [(row, column) for row, line in enumerate(counts) for column, n in enumerate(line) for _ in range(n)]
    return tuple(np.array(cells).T)


# ---- published worked examples


@pytest.mark.parametrize(
    "counts, kappa",
    [
        ([[20, 5], [10, 15]], 0.4),  # Wikipedia, "Cohen's kappa": grant applications
        ([[45, 15], [25, 15]], 0.1304),  # the same page: same percentage agreement, different marginals
        ([[25, 35], [5, 35]], 0.2593),
    ],
)
def test_kappa_of_published_examples(counts, kappa):
    targets, predictions = spread(counts)
    assert metrics.evaluate(targets, one_hot(predictions))["kappa"] == pytest.approx(kappa, abs=5e-5)


def test_kappa_of_scikit_learns_documented_example():
    targets = [0, 1, 0, 2, 1]  # negative, positive, negative, neutral, positive
    predictions = [0, 1, 0, 2, 0]
    assert metrics.evaluate(targets, one_hot(predictions))["kappa"] == pytest.approx(0.6875)


def test_alpha_of_krippendorffs_published_two_observer_example():
    """Krippendorff, "Computing Krippendorff's Alpha-Reliability", section B: nominal data, two observers."""
    meg, owen = "aabbdcccedda", "babbbccceddd"
    targets, predictions = (["abcde".index(letter) for letter in observer] for observer in (meg, owen))
    assert metrics.evaluate(targets, one_hot(predictions))["alpha"] == pytest.approx(0.692, abs=5e-4)


def test_the_package_behind_alpha_gives_krippendorffs_four_observer_table():
    """The same text, section C: missing values, any number of observers."""
    table = ["1 2 3 3 2 1 4 1 2 . . .", "1 2 3 3 2 2 4 1 2 5 . 3", ". 3 3 3 2 3 4 2 2 5 1 .", "1 2 3 3 2 4 4 1 2 5 1 ."]
    ratings = [[np.nan if value == "." else float(value) for value in row.split()] for row in table]
    assert krippendorff.alpha(ratings, level_of_measurement="nominal") == pytest.approx(0.743, abs=5e-4)


def test_the_papers_standard_error_and_wilson_interval():
    low, high = metrics.wilson_interval(0.6070 * 4000, 4000)
    assert (high - low) / 2 == pytest.approx(1.96 * 0.0077, abs=2e-4)


# ---- oracles


def naive_auc(positive, scores) -> float:
    pairs = [(p, n) for p in scores[positive] for n in scores[~positive]]
    return sum(1.0 if p > n else 0.5 if p == n else 0.0 for p, n in pairs) / len(pairs)


def naive_average_precision(positive, scores) -> float:
    total, recall_before = 0.0, 0.0
    for threshold in sorted(set(scores), reverse=True):
        taken = scores >= threshold
        recall = (taken & positive).sum() / positive.sum()
        total += (recall - recall_before) * (taken & positive).sum() / taken.sum()
        recall_before = recall
    return total


@pytest.mark.parametrize("decimals", [None, 1])
@pytest.mark.parametrize("seed", range(3))
def test_areas_equal_naive_counting(seed, decimals):
    targets, probabilities = random_case(seed, decimals=decimals)
    scores = metrics.evaluate(targets, probabilities)
    classes = [(targets == c, probabilities[:, c]) for c in range(8)]
    assert scores["auc"] == pytest.approx(np.mean([naive_auc(*one) for one in classes]), rel=1e-12)
    assert scores["auc_pr"] == pytest.approx(np.mean([naive_average_precision(*one) for one in classes]), rel=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_agreement_equals_the_textbook_formulas(seed):
    targets, probabilities = random_case(seed)
    scores = metrics.evaluate(targets, probabilities)
    confusion = scores["confusion"]
    n = confusion.sum()
    observed = np.trace(confusion) / n
    by_chance = confusion.sum(axis=1) @ confusion.sum(axis=0) / n**2
    assert scores["kappa"] == pytest.approx((observed - by_chance) / (1 - by_chance), rel=1e-12)
    pooled = confusion.sum(axis=1) + confusion.sum(
        axis=0
    )  # alpha: chance from the 2n pooled ratings, without replacement
    disagreement = 1 - (pooled * (pooled - 1)).sum() / (2 * n * (2 * n - 1))
    assert scores["alpha"] == pytest.approx(1 - (1 - observed) / disagreement, rel=1e-12)


def test_confusion_counts_one_by_one():
    targets, probabilities = random_case(4)
    expected = np.zeros((8, 8), dtype=int)
    for target, row in zip(targets, probabilities, strict=True):
        expected[target, list(row).index(max(row))] += 1
    scores = metrics.evaluate(targets, probabilities)
    assert scores["confusion"].tolist() == expected.tolist()
    assert scores["accuracy"] == np.trace(expected) / len(targets)
    predictions = probabilities.argmax(axis=1)
    assert scores["f1"] == pytest.approx(f1_score(targets, predictions, average="macro"))
    assert metrics.macro_recall(expected) == pytest.approx(recall_score(targets, predictions, average="macro"))
    assert metrics.recall_per_class(expected) == pytest.approx(recall_score(targets, predictions, average=None))


@pytest.mark.parametrize("successes, n", [(0, 16), (1, 16), (8, 16), (16, 16), (2428, 4000), (0, 1)])
@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99])
def test_wilson_interval_equals_scipy(successes, n, confidence):
    expected = binomtest(successes, n).proportion_ci(confidence, method="wilson")
    assert metrics.wilson_interval(successes, n, confidence) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_wilson_interval_of_arrays():
    low, high = metrics.wilson_interval([0, 5, 0], [10, 10, 0])
    assert low[:2] == pytest.approx([0.0, metrics.wilson_interval(5, 10)[0]])
    assert high[1] == pytest.approx(metrics.wilson_interval(5, 10)[1])
    assert np.isnan(low[2]) and np.isnan(high[2])


def test_mcnemar_equals_scipy_on_a_table():
    # 3 images right in both, 7 only in a, 2 only in b, 4 in neither
    a = [0] * 10 + [1] * 6
    b = [0] * 3 + [1] * 7 + [0] * 2 + [1] * 4
    assert metrics.mcnemar([0] * 16, a, b) == {"b": 7, "c": 2, "p_value": pytest.approx(binomtest(7, 9).pvalue)}
    assert metrics.mcnemar([0] * 16, a, a) == {"b": 0, "c": 0, "p_value": 1.0}


# ---- laws


@given(st.lists(st.lists(st.integers(0, 7), min_size=5, max_size=5), min_size=8, max_size=8))
@settings(max_examples=40, deadline=None)
def test_kappa_identity_on_balanced_data(predictions):
    """kappa = (accuracy − 1/8) / (7/8) whatever is predicted, as in the paper's twenty rows."""
    targets = np.repeat(np.arange(8), 5)
    scores = metrics.evaluate(targets, one_hot(np.concatenate(predictions)))
    assert scores["kappa"] == pytest.approx((scores["accuracy"] - 1 / 8) / (7 / 8), abs=1e-12)
    assert metrics.macro_recall(scores["confusion"]) == pytest.approx(scores["accuracy"])


@given(st.permutations(range(8)), st.integers(0, 100))
@settings(max_examples=15, deadline=None)
def test_renaming_the_classes_changes_nothing(names, seed):
    targets, probabilities = random_case(seed, images=60)
    renamed = np.empty_like(probabilities)
    renamed[:, names] = probabilities
    before, after = metrics.evaluate(targets, probabilities), metrics.evaluate(np.array(names)[targets], renamed)
    for name in SIX:
        assert after[name] == pytest.approx(before[name], abs=1e-12)
    assert (after["confusion"][np.ix_(names, names)] == before["confusion"]).all()


def test_order_of_images_changes_nothing():
    targets, probabilities = random_case(1)
    order = np.random.default_rng(0).permutation(len(targets))
    before, after = metrics.evaluate(targets, probabilities), metrics.evaluate(targets[order], probabilities[order])
    assert [after[name] for name in SIX] == pytest.approx([before[name] for name in SIX], abs=1e-12)


# ---- degenerate cases


def test_perfect_and_single_class_predictions():
    targets = np.repeat(np.arange(8), 3)
    perfect = metrics.evaluate(targets, one_hot(targets))
    assert list(perfect) == [*SIX, "confusion"]
    assert [perfect[name] for name in SIX] == pytest.approx([1.0] * 6)
    always_happy = metrics.evaluate(targets, one_hot(np.ones_like(targets)))
    assert (
        always_happy["accuracy"] == 1 / 8 and always_happy["kappa"] == pytest.approx(0) and always_happy["auc"] == 0.5
    )
    assert always_happy["f1"] == pytest.approx((2 * 3 / (24 + 3)) / 8)
    assert always_happy["auc_pr"] == pytest.approx(1 / 8)


def test_a_class_absent_from_the_targets():
    targets, probabilities = random_case(2)
    keep = targets != 7
    scores = metrics.evaluate(targets[keep], probabilities[keep])
    expected = np.mean([naive_auc(targets[keep] == c, probabilities[keep, c]) for c in range(7)])
    assert scores["auc"] == pytest.approx(expected, rel=1e-12)
    per_class = f1_score(targets[keep], probabilities[keep].argmax(axis=1), labels=range(7), average=None)
    assert scores["f1"] == pytest.approx(per_class.mean())
    with pytest.raises(InputError, match="none of contempt"):
        metrics.evaluate(targets[keep], probabilities[keep], absent="raise")


def test_one_class_throughout_is_undefined_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scores = metrics.evaluate([3, 3], one_hot([3, 3]))
    assert scores["accuracy"] == scores["f1"] == scores["auc_pr"] == 1.0
    assert all(np.isnan(scores[name]) for name in ("kappa", "alpha", "auc"))


def test_empty_rows_of_a_confusion_matrix():
    confusion = np.diag([4, 2, 0, 0, 0, 0, 0, 0])
    confusion[1, 0] = 2
    rows = metrics.confusion_rows(confusion)
    assert rows[1, :2].tolist() == [0.5, 0.5] and np.isnan(rows[2:]).all()
    assert metrics.macro_recall(confusion) == 0.75
    with pytest.raises(InputError, match="0 images"):
        metrics.macro_recall(np.zeros((8, 8)))


def test_float32_rows_pass_the_tolerance():
    targets, probabilities = random_case(5)
    single = metrics.evaluate(targets, probabilities.astype(np.float32))
    assert single["auc"] == pytest.approx(metrics.evaluate(targets, probabilities)["auc"], abs=1e-6)


# ---- bad input

FINE = one_hot([0, 1, 2])


@pytest.mark.parametrize(
    "targets, probabilities, message",
    [
        ([], np.zeros((0, 8)), r"N ≥ 1, found shape \(0,\)"),
        ([0, 1], FINE, "found 2 targets, 3 probabilities"),
        ([0, 1, 8], FINE, "1 of 3 outside: 8"),
        ([0, -1, 8], FINE, "2 of 3 outside: -1, 8"),
        ([0.0, 1.0, 2.0], FINE, "integer targets, found dtype float64"),
        ([0, 1, 2], FINE[:, :7], r"shape \(N, 8\), found \(3, 7\)"),
        ([0, 1, 2], np.where(FINE == 1, np.nan, FINE), "NaN or infinity in 3 of 3 rows"),
        ([0, 1, 2], FINE * [[1], [1.002], [1]], r"1 of 3 rows that do not \(row 1 sums to 1.002\)"),
        ([0, 1, 2], FINE + np.eye(3, 8) - np.eye(3, 8, 1), "3 of 3 rows that do not"),
    ],
)
def test_bad_input_is_refused_with_counts(targets, probabilities, message):
    with pytest.raises(InputError, match=message):
        metrics.evaluate(targets, probabilities)


def test_other_bad_input():
    with pytest.raises(InputError, match="did you mean 'exclude'"):
        metrics.evaluate([0], FINE[:1], absent="exclud")
    with pytest.raises(InputError, match="1 of 2 values outside"):
        metrics.wilson_interval([3, 1], 2)
    with pytest.raises(InputError, match="confidence"):
        metrics.wilson_interval(1, 2, confidence=95)
    with pytest.raises(InputError, match="2 predictions_b"):
        metrics.mcnemar([0, 1, 2], [0, 1, 2], [0, 1])


def test_macro_recall_difference_is_that_of_a_bootstrap_by_hand():
    random = np.random.default_rng(3)
    targets = np.repeat(range(8), [40, 30, 20, 20, 15, 10, 20, 12])
    a, b = (
        np.where(random.random(len(targets)) < share, targets, random.integers(8, size=len(targets)))
        for share in (0.4, 0.6)
    )
    found = metrics.macro_recall_difference(targets, a, b)

    def macro(predictions, rows):
        return np.mean([(predictions[rows] == targets[rows])[targets[rows] == label].mean() for label in range(8)])

    everything = np.arange(len(targets))
    assert found["difference"] == pytest.approx(macro(b, everything) - macro(a, everything))
    rows_of = [np.flatnonzero(targets == label) for label in range(8)]
    by_hand = []
    for _ in range(2000):
        rows = np.concatenate([random.choice(own, len(own)) for own in rows_of])
        by_hand.append(macro(b, rows) - macro(a, rows))
    np.testing.assert_allclose([found["low"], found["high"]], np.quantile(by_hand, [0.025, 0.975]), atol=0.01)
    swapped = metrics.macro_recall_difference(targets, b, a)
    assert swapped["difference"] == pytest.approx(-found["difference"])
