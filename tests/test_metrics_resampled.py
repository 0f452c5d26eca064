"""All metrics at once, their bootstrap and their comparison, against scikit-learn on repeated rows and naive loops."""

import time
import warnings

import krippendorff
import numpy as np
import pandas as pd
import pytest
from scipy.stats import ttest_rel
from sklearn import metrics as sk

from fer_utils import metrics
from fer_utils.errors import InputError
from fer_utils.expressions import EXPRESSIONS
from fer_utils.metrics.resampling import draw_weights
from fer_utils.metrics.weighted import WeightedMetrics
from tests.test_metrics import SIX, one_hot, random_case

CASES = {
    "random": random_case(0, images=300),
    "ties": random_case(1, images=300, decimals=1),
    "perfect": (np.repeat(np.arange(8), 3), one_hot(np.repeat(np.arange(8), 3))),
    "always happy": (np.repeat(np.arange(8), 3), one_hot(np.ones(24, int))),
    "uniform": (np.repeat(np.arange(8), 3), np.full((24, 8), 1 / 8)),
    "no contempt": tuple(part[random_case(2)[0] != 7] for part in random_case(2)),
    "two images": (np.array([0, 1]), one_hot([1, 0])),
    "one class": (np.array([3, 3, 3]), one_hot([3, 3, 4])),
    "one class, right": (np.array([3, 3]), one_hot([3, 3])),
}


def case(name):
    return pytest.param(*CASES[name], id=name)


# ---- every metric


@pytest.mark.parametrize(("targets", "probabilities"), [case(name) for name in CASES])
def test_all_metrics_equal_scikit_learn_and_krippendorff(targets, probabilities):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found, six = metrics.summarise(targets, probabilities), metrics.evaluate(targets, probabilities)
        table = metrics.per_class(targets, probabilities)
    assert list(found) == list(metrics.METRICS)
    assert [found[name] for name in SIX] == pytest.approx([six[name] for name in SIX], abs=1e-12, nan_ok=True)
    predictions, own = probabilities.argmax(axis=1), np.unique(targets)
    recalls = sk.recall_score(targets, predictions, labels=own, average=None, zero_division=0)
    assert found["macro_recall"] == pytest.approx(recalls.mean())
    ranks = [
        list(np.argsort(-row, kind="stable")).index(target) for target, row in zip(targets, probabilities, strict=True)
    ]
    assert found["top2"] == pytest.approx(np.mean(np.array(ranks) < 2))
    labels = dict(labels=range(8), scale_by_half=False)
    assert found["brier"] == pytest.approx(sk.brier_score_loss(targets, probabilities, **labels), abs=1e-12)
    assert found["ece"] == pytest.approx(naive_ece(targets, probabilities), abs=1e-12)
    if len(own) > 1:
        kappas = [sk.cohen_kappa_score(targets == c, predictions == c) for c in own]
        alphas = [
            krippendorff.alpha(np.stack([targets == c, predictions == c]).astype(int), level_of_measurement="nominal")
            for c in own
        ]
        assert (found["kappa_ovr"], found["alpha_ovr"]) == pytest.approx((np.mean(kappas), np.mean(alphas)), abs=1e-12)
    assert table["auc_pr"].mean() == pytest.approx(six["auc_pr"])
    assert table["auc"].mean() == pytest.approx(six["auc"], nan_ok=True)
    assert table["f1"].mean() == pytest.approx(six["f1"])
    assert table["support"].sum() == table["predicted"].sum() == len(targets)


def naive_ece(targets, probabilities, bins=15):
    total = 0.0
    for low in np.arange(bins) / bins:
        confidence = probabilities.max(axis=1)
        inside = (confidence > low + 1e-12) & (confidence <= low + 1 / bins + 1e-12)
        if inside.any():
            right = probabilities[inside].argmax(axis=1) == targets[inside]
            total += inside.mean() * abs(right.mean() - confidence[inside].mean())
    return total


def test_the_papers_identity_holds_for_kappa_but_not_for_the_mean_of_one_vs_rest():
    targets = np.repeat(np.arange(8), 20)
    found = metrics.summarise(targets, random_case(3, images=160)[1][np.random.default_rng(0).permutation(160)])
    assert found["kappa"] == pytest.approx((found["accuracy"] - 1 / 8) / (7 / 8), abs=1e-12)
    assert found["macro_recall"] == pytest.approx(found["accuracy"])
    probabilities = one_hot(np.where(np.arange(160) % 3, targets, 0))  # a third is taken for neutral
    found = metrics.summarise(targets, probabilities)
    assert found["kappa"] == pytest.approx((found["accuracy"] - 1 / 8) / (7 / 8), abs=1e-12)
    assert abs(found["kappa_ovr"] - found["kappa"]) > 0.005


def test_some_metrics_alone_are_the_same():
    targets, probabilities = CASES["random"]
    everything = metrics.summarise(targets, probabilities)
    some = metrics.summarise(targets, probabilities, ("brier", "macro_recall"))
    assert some == {name: everything[name] for name in ("brier", "macro_recall")} and list(some) == [
        "brier",
        "macro_recall",
    ]


# ---- bootstrap


@pytest.mark.parametrize("name", ["random", "ties", "no contempt"])
def test_every_resample_is_scikit_learns_on_repeated_rows(name):
    targets, probabilities = CASES[name]
    weights = next(draw_weights(targets, 4, seed=0))
    scores = WeightedMetrics(targets, probabilities)
    for precision, tolerance in ((np.float64, 1e-12), (np.float32, 1e-6)):
        found = scores(weights.astype(precision))
        for sample in range(4):
            rows = np.repeat(np.arange(len(targets)), weights[:, sample].astype(int))
            expected = metrics.summarise(targets[rows], probabilities[rows]) | metrics.evaluate(
                targets[rows], probabilities[rows]
            )
            for metric in metrics.METRICS:
                assert found[metric][sample] == pytest.approx(expected[metric], abs=tolerance), metric


def test_resamples_keep_class_sizes_and_draw_each_image_alike():
    targets = np.repeat(np.arange(8), [60, 50, 40, 30, 20, 10, 5, 1])
    weights = np.concatenate(list(draw_weights(targets, 3000, seed=1)), axis=1)
    assert weights.shape == (216, 3000)
    for label in range(8):
        own = weights[targets == label]
        assert (own.sum(axis=0) == len(own)).all()
        assert own.var(axis=1).mean() == pytest.approx(1 - 1 / len(own), abs=0.05)  # a binomial's
        assert own.mean(axis=1) == pytest.approx(np.ones(len(own)), abs=0.1)


def test_bootstrap_intervals_are_those_of_a_loop():
    targets, probabilities = random_case(5, images=240)
    found = metrics.bootstrap(targets, probabilities, seed=3)
    assert list(found.index) == list(metrics.METRICS)
    assert found["value"].to_dict() == pytest.approx(metrics.summarise(targets, probabilities))
    random = np.random.default_rng(9)
    classes = [np.flatnonzero(targets == label) for label in range(8)]
    by_hand = []
    for _ in range(400):
        rows = np.concatenate([random.choice(own, len(own)) for own in classes])
        by_hand.append(metrics.summarise(targets[rows], probabilities[rows]))
    expected = pd.DataFrame(by_hand).quantile([0.025, 0.975]).T
    assert np.abs(found[["low", "high"]].to_numpy() - expected.to_numpy()).max() < 0.02
    pd.testing.assert_frame_equal(found, metrics.bootstrap(targets, probabilities, seed=3))
    narrow = metrics.bootstrap(targets, probabilities, confidence=0.5, seed=3)
    assert (narrow["low"] >= found["low"]).all() and (narrow["high"] <= found["high"]).all()


def test_the_accuracys_interval_is_as_wide_as_the_binomial_one():
    targets = np.repeat(np.arange(8), 100)
    right = np.random.default_rng(0).random(800) < 0.6
    found = metrics.bootstrap(targets, one_hot(np.where(right, targets, (targets + 1) % 8))).loc["accuracy"]
    low, high = metrics.wilson_interval(right.sum(), 800)
    assert (found["low"], found["high"]) == pytest.approx((low, high), abs=0.005)


def test_two_thousand_resamples_of_four_thousand_images_take_seconds():
    """0.4 s of one quiet core; the bound is for a busy machine."""
    targets = np.repeat(np.arange(8), 500)
    scores = np.random.default_rng(0).random((4000, 8)) + 0.6 * np.eye(8)[targets]
    started = time.process_time()
    metrics.bootstrap(targets, scores / scores.sum(axis=1, keepdims=True))
    assert time.process_time() - started < 6


def test_an_undefined_metric_stays_undefined():
    found = metrics.bootstrap([3, 3], one_hot([3, 3]), resamples=5)
    assert found.loc["accuracy"].tolist() == [1.0, 1.0, 1.0] and found.loc[["kappa", "alpha", "auc"]].isna().all(
        axis=None
    )
    compared = metrics.compare_paired([3, 3], one_hot([3, 3]), one_hot([3, 3]), resamples=5)
    assert compared.loc["auc", ["difference", "low", "p_value"]].isna().all() and compared.loc["f1", "p_value"] == 1


# ---- class by class, calibration


def test_per_class_equals_scikit_learn():
    targets, probabilities = CASES["random"]
    found = metrics.per_class(targets, probabilities)
    expected = sk.precision_recall_fscore_support(targets, probabilities.argmax(axis=1), labels=range(8))
    np.testing.assert_allclose(found[["precision", "recall", "f1", "support"]].T, expected)
    aucs = [sk.roc_auc_score(targets == c, probabilities[:, c]) for c in range(8)]
    areas = [sk.average_precision_score(targets == c, probabilities[:, c]) for c in range(8)]
    np.testing.assert_allclose(found[["auc", "auc_pr"]].T, [aucs, areas])
    low, high = metrics.wilson_interval(found["recall"] * found["support"], found["support"])
    np.testing.assert_allclose(found[["low", "high"]].T, [low, high])
    assert list(found.index) == list(EXPRESSIONS)


def test_per_class_names_its_choice_for_an_absent_class():
    targets, probabilities = CASES["no contempt"]
    row = metrics.per_class(targets, probabilities).loc["contempt"]
    assert row["support"] == 0 and row[["precision", "recall", "low", "high", "f1", "auc", "auc_pr"]].isna().all()
    with pytest.raises(InputError, match="none of contempt"):
        metrics.per_class(targets, probabilities, absent="raise")
    with pytest.raises(InputError, match="did you mean 'nan'"):
        metrics.per_class(targets, probabilities, absent="nam")


def test_reliability_counts_every_image_once():
    targets, probabilities = CASES["random"]
    for bins in (1, 10, 15):
        table = metrics.reliability(targets, probabilities, bins)
        assert len(table) == bins and table["count"].sum() == len(targets)
        filled = table[table["count"] > 0]
        assert (filled["confidence"] > filled["left"]).all() and (filled["confidence"] <= filled["right"]).all()
        assert metrics.calibration_error(table) == pytest.approx(naive_ece(targets, probabilities, bins))
        assert table.loc[table["count"] == 0, ["confidence", "accuracy", "low", "high"]].isna().all(axis=None)
    with pytest.raises(InputError, match="at least 1 bin, found 0"):
        metrics.reliability(targets, probabilities, 0)


@pytest.mark.parametrize(
    ("supports", "sentence"),
    [
        ([500] * 8, ""),
        ([30] * 8, ""),
        ([1083, 892, 382, 394, 86, 16, 269, 15], "Of 3,137 test images only 16 show disgust and 15 contempt."),
        ([40, 0, 40, 40, 40, 40, 40, 40], "Of 280 test images none show happy."),
        ([3, 40, 0, 40, 40, 40, 40, 0], "Of 203 test images only 3 show neutral, and none sad or contempt."),
    ],
)
def test_small_classes_are_named(supports, sentence):
    assert metrics.small_classes(np.repeat(np.arange(8), supports)) == sentence


# ---- pairs


def two_runs(seed=0, gain=0.3):
    targets = np.repeat(np.arange(8), [60, 50, 40, 30, 20, 12, 30, 12])
    random = np.random.default_rng(seed)
    shared = random.random((len(targets), 8))
    runs = [shared + 0.3 * random.random((len(targets), 8)) + share * np.eye(8)[targets] for share in (0.3, 0.3 + gain)]
    return targets, *(run / run.sum(axis=1, keepdims=True) for run in runs)


def test_a_paired_comparison_is_that_of_a_loop():
    targets, a, b = two_runs()
    found = metrics.compare_paired(targets, a, b)
    first, second = metrics.summarise(targets, a), metrics.summarise(targets, b)
    assert found["a"].to_dict() == pytest.approx(first) and found["b"].to_dict() == pytest.approx(second)
    assert found["difference"].to_dict() == pytest.approx({name: second[name] - first[name] for name in first})
    random = np.random.default_rng(7)
    classes, by_hand = [np.flatnonzero(targets == label) for label in range(8)], []
    for _ in range(300):
        rows = np.concatenate([random.choice(own, len(own)) for own in classes])
        pair = (metrics.summarise(targets[rows], run[rows]) for run in (a, b))
        by_hand.append(dict(zip("ab", pair, strict=True)))
    drawn = pd.DataFrame([{name: row["b"][name] - row["a"][name] for name in row["a"]} for row in by_hand])
    expected = drawn.quantile([0.025, 0.975]).T.loc[found.index]
    spread = drawn.std().loc[found.index].to_numpy()[:, None]
    assert (np.abs(found[["low", "high"]].to_numpy() - expected.to_numpy()) < 0.5 * spread + 1e-9).all()
    test = metrics.mcnemar(targets, a.argmax(axis=1), b.argmax(axis=1))
    assert found.loc["accuracy", ["p_value", "test"]].tolist() == [test["p_value"], "McNemar"]
    quick = metrics.macro_recall_difference(targets, a.argmax(axis=1), b.argmax(axis=1))
    assert quick["difference"] == pytest.approx(found.loc["macro_recall", "difference"])
    np.testing.assert_allclose(
        [quick["low"], quick["high"]], found.loc["macro_recall", ["low", "high"]].astype(float), atol=0.01
    )


def test_pairing_pays_where_two_runs_err_on_the_same_images():
    targets, a, b = two_runs(gain=0.02)
    paired = metrics.compare_paired(targets, a, b, resamples=500, metrics=["brier"]).loc["brier"]
    alone = metrics.bootstrap(targets, a, resamples=500).loc["brier"]
    assert paired["high"] - paired["low"] < 0.6 * (alone["high"] - alone["low"])


def test_swapping_the_sides_turns_the_signs():
    targets, a, b = two_runs()
    there, back = (metrics.compare_paired(targets, *pair, resamples=300) for pair in ((a, b), (b, a)))
    np.testing.assert_allclose(there["difference"], -back["difference"])
    np.testing.assert_allclose(there["low"], -back["high"], atol=1e-9)
    np.testing.assert_allclose(there["p_value"], back["p_value"])


def test_the_same_run_twice_is_no_difference():
    targets, a, _ = two_runs()
    found = metrics.compare_paired(targets, a, a, resamples=50)
    assert (found[["difference", "low", "high"]] == 0).all(axis=None) and (found["p_value"] == 1).all()
    assert (metrics.compare_recalls(targets, a.argmax(axis=1), a.argmax(axis=1))["high"] > 0.02).all()


def test_seeds_are_averaged_and_drawn_alike():
    targets, a, b = two_runs(0)
    _, c, d = two_runs(1)
    found = metrics.compare_paired(targets, [a, c], [b, d], resamples=200, metrics=["macro_recall", "accuracy"])
    alone = [
        metrics.compare_paired(targets, *pair, resamples=200, metrics=["macro_recall"]) for pair in ((a, b), (c, d))
    ]
    mean = np.mean([part.loc["macro_recall", "difference"] for part in alone])
    assert (
        found.loc["macro_recall", "difference"] == pytest.approx(mean) and found.loc["accuracy", "test"] == "bootstrap"
    )
    labels = [[run.argmax(axis=1) for run in side] for side in ((a, c), (b, d))]
    quick = metrics.macro_recall_difference(targets, *labels)
    assert quick["difference"] == pytest.approx(mean)
    np.testing.assert_allclose(
        [quick["low"], quick["high"]], found.loc["macro_recall", ["low", "high"]].astype(float), atol=0.015
    )


def test_bootstrap_p_values_are_uniform_where_nothing_differs():
    random, p_values = np.random.default_rng(0), []
    targets = np.repeat(np.arange(8), 25)
    for _ in range(200):
        a, b = (np.where(random.random(200) < 0.5, targets, (targets + 1) % 8) for _ in range(2))
        p_values.append(metrics.macro_recall_difference(targets, a, b, resamples=400)["p_value"])
    assert 0.01 < np.mean(np.array(p_values) < 0.05) < 0.1 and 0.4 < np.mean(np.array(p_values) < 0.5) < 0.6


def test_recalls_class_by_class():
    targets, a, b = two_runs()
    first, second = a.argmax(axis=1), b.argmax(axis=1)
    found = metrics.compare_recalls(targets, first, second)
    np.testing.assert_allclose(found["a"], metrics.per_class(targets, a)["recall"])
    np.testing.assert_allclose(found["b"], metrics.per_class(targets, b)["recall"])
    own = targets == 5
    assert found.loc["disgust", "p_value"] == metrics.mcnemar(targets[own], first[own], second[own])["p_value"]
    assert ((found["low"] <= found["difference"]) & (found["difference"] <= found["high"])).all()
    absent = metrics.compare_recalls([0, 1], [0, 1], [0, 0]).loc["contempt"]
    assert absent["support"] == 0 and absent[["a", "difference", "low", "p_value"]].isna().all()


def test_the_recalls_interval_keeps_its_level_in_a_class_of_16():
    """How often Bonett and Price's interval holds the true difference, summed over all outcomes."""
    from scipy.stats import multinomial

    n, held = 16, 0.0
    truth = np.array([0.35, 0.1, 0.3])  # only b right, only a right, both; the rest neither
    for won in range(n + 1):
        for lost in range(n + 1 - won):
            targets, a, b = [5] * n, [0] * n, [0] * n
            a[won : won + lost], b[:won] = [5] * lost, [5] * won
            row = metrics.compare_recalls(targets, a, b).loc["disgust"]
            chance = multinomial.pmf([won, lost, n - won - lost], n, [truth[0], truth[1], 1 - truth[0] - truth[1]])
            held += chance * (row["low"] <= truth[0] - truth[1] <= row["high"])
    assert 0.935 < held < 0.985


# ---- many comparisons, several seeds


@pytest.mark.parametrize(
    ("p_values", "adjusted"),
    [
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),  # Wikipedia, "Holm–Bonferroni method"
        ([0.01, 0.02, 0.03, 0.04, 0.05], [0.05, 0.08, 0.09, 0.09, 0.09]),  # R: p.adjust(1:5 / 100, "holm")
        ([0.2], [0.2]),
        ([0.9, 0.8], [1.0, 1.0]),
        ([0.01, np.nan, 0.04], [0.02, np.nan, 0.04]),
        ([], []),
    ],
    ids=str,
)
def test_holm(p_values, adjusted):
    np.testing.assert_allclose(metrics.holm(p_values), adjusted)


def test_over_seeds_is_the_paired_t_test():
    a, b = np.array([0.31, 0.29, 0.35, 0.30]), np.array([0.33, 0.34, 0.35, 0.36])
    found, expected = metrics.over_seeds(b - a), ttest_rel(b, a)
    interval = expected.confidence_interval(0.95)
    assert (found["low"], found["high"], found["p_value"]) == pytest.approx(
        (interval.low, interval.high, expected.pvalue)
    )
    assert (found["seeds"], found["same_sign"]) == (4, 3) and found["sd"] == pytest.approx((b - a).std(ddof=1))
    alone = metrics.over_seeds([0.02])
    assert alone["mean"] == 0.02 and alone["same_sign"] == 1
    assert all(np.isnan(alone[name]) for name in ("sd", "low", "high", "p_value"))
    assert metrics.over_seeds([0.5, 0.5])["p_value"] == 0.0 and metrics.over_seeds([0.0, 0.0])["p_value"] == 1.0
    assert metrics.over_seeds([0.0, 0.0])["same_sign"] == 0


# ---- bad input

FINE, LABELS = one_hot([0, 1, 2]), [0, 1, 2]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: metrics.bootstrap(LABELS, FINE * np.nan), "NaN or infinity in 3 of 3 rows"),
        (lambda: metrics.bootstrap(LABELS, FINE / 2), "3 of 3 rows that do not"),
        (lambda: metrics.bootstrap([0, 1], FINE), "found 2 targets, 3 probabilities"),
        (lambda: metrics.bootstrap(LABELS, FINE, resamples=0), "at least 1 resample, found 0"),
        (lambda: metrics.bootstrap(LABELS, FINE, confidence=95), "confidence between 0 and 1, found 95"),
        (lambda: metrics.summarise(LABELS, FINE, ["acuracy"]), "did you mean 'accuracy'"),
        (lambda: metrics.per_class(LABELS, FINE[:2]), "found 3 targets, 2 probabilities"),
        (lambda: metrics.reliability(LABELS, FINE / 2), "3 of 3 rows that do not"),
        (lambda: metrics.compare_paired(LABELS, FINE, FINE[:2]), "found 3 targets, 2 probabilities"),
        (lambda: metrics.compare_paired(LABELS, FINE, [FINE, FINE]), "as many seeds of both, found 1 and 2"),
        (lambda: metrics.compare_paired(LABELS, FINE, FINE, metrics=["auk"]), "did you mean 'auc'"),
        (lambda: metrics.compare_recalls(LABELS, LABELS, [0, 1]), "3 predictions_a, 2 predictions_b"),
        (lambda: metrics.macro_recall_difference(LABELS, LABELS, [0, 1]), "found 3 targets, 2 predictions_b"),
        (lambda: metrics.macro_recall_difference(LABELS, LABELS, [LABELS] * 2), "seeds of both, found 1 and 2"),
        (lambda: metrics.holm([0.5, 1.5]), "1 of 2 outside"),
        (lambda: metrics.holm(0.5), r"found shape \(\)"),
        (lambda: metrics.over_seeds([]), r"found shape \(0,\)"),
        (lambda: metrics.over_seeds([0.1, np.nan]), "1 of 2 that are none"),
        (lambda: metrics.over_seeds([0.1], confidence=0), "confidence between 0 and 1, found 0"),
        (lambda: metrics.small_classes([0, 9]), "1 of 2 outside: 9"),
    ],
    ids=range(20),
)  # fmt: skip
def test_bad_input_is_one_line(call, message):
    with pytest.raises(InputError, match=message) as error:
        call()
    assert "\n" not in str(error.value)
