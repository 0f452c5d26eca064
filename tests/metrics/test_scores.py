"""Scores against published worked examples, scikit-learn, krippendorff, and laws."""

import krippendorff
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from fer_utils import metrics
from fer_utils.core import EXPRESSIONS, InputError, paper
from fer_utils.metrics.scores import weighted_scores

MAIN = (*paper.METRICS, "macro_recall")


def one_hot(labels):
    return np.eye(8)[np.asarray(labels)]


def spread(counts):
    """The images of a confusion matrix, one by one."""
    counts = np.asarray(counts)
    return tuple(np.repeat(index.ravel(), counts.ravel()) for index in np.indices(counts.shape))


# ---- published examples


@pytest.mark.parametrize(
    ("counts", "kappa"),
    [
        ([[20, 5], [10, 15]], 0.4),  # Wikipedia, "Cohen's kappa": grant applications
        ([[45, 15], [25, 15]], 0.1304),  # the same page: one agreement, different marginals
        ([[25, 35], [5, 35]], 0.2593),
        ([[2, 0, 0], [1, 1, 0], [0, 0, 1]], 0.6875),  # scikit-learn's documentation
    ],
)
def test_kappa_of_published_examples(counts, kappa):
    targets, predictions = spread(counts)
    found = metrics.evaluate(targets, one_hot(predictions))["kappa"]
    assert found == pytest.approx(kappa, abs=5e-5)


@pytest.mark.parametrize("balanced", [False, True])
def test_alpha_of_krippendorffs_two_observers(balanced):
    """Krippendorff, "Computing Krippendorff's Alpha-Reliability", section B."""
    meg, owen = ("aabbdcccedda", "babbbccceddd")
    targets, predictions = (np.array(["abcde".index(x) for x in one]) for one in (meg, owen))
    if balanced:  # the weights that even classes out again
        own = weighted_scores(targets, one_hot(predictions), np.ones((12, 1)), ["alpha"])
        assert own["alpha"][0] == pytest.approx(0.692, abs=5e-4)
    else:
        found = metrics.evaluate(targets, one_hot(predictions))["alpha"]
        assert found == pytest.approx(0.692, abs=5e-4)


def test_the_package_behind_alpha_gives_krippendorffs_four_observer_table():
    """The same text, section C: missing values, any number of observers."""
    table = ["123321412...", "1233224125.3", ".3332342251.", "12332441251."]
    ratings = [[np.nan if x == "." else float(x) for x in row] for row in table]
    found = krippendorff.alpha(ratings, level_of_measurement="nominal")
    assert found == pytest.approx(0.743, abs=5e-4)


# ---- the weighted form and `evaluate` against scikit-learn


def by_scikit_learn(targets, probabilities, weights):
    guesses, present = probabilities.argmax(axis=1), np.unique(targets)
    share = {"sample_weight": weights}
    macro = share | {"labels": present, "average": "macro", "zero_division": 0}
    each = [(targets == c, probabilities[:, c]) for c in present]
    recalls = sk.recall_score(targets, guesses, **macro | {"labels": range(8), "average": None})
    scores = {
        "accuracy": sk.accuracy_score(targets, guesses, **share),
        "f1": sk.f1_score(targets, guesses, **macro),
        "macro_recall": sk.recall_score(targets, guesses, **macro),
        "auc_pr": np.mean([sk.average_precision_score(*one, **share) for one in each]),
        "brier": sk.brier_score_loss(
            targets, probabilities, labels=range(8), scale_by_half=False, **share
        ),
        **{f"recall_{EXPRESSIONS[c]}": recalls[c] for c in present},
    }
    if len(present) > 1:
        scores["auc"] = np.mean([sk.roc_auc_score(*one, **share) for one in each])
    if len(np.union1d(targets, guesses)) > 1:
        scores["kappa"] = sk.cohen_kappa_score(targets, guesses, **share)
    return scores


def test_weighted_scores_are_scikit_learns(case):
    targets, probabilities = case
    weights = np.random.default_rng(0).integers(1, 4, (len(targets), 3)).astype(float)
    found = weighted_scores(targets, probabilities, weights, metrics.METRICS)
    for sample in range(3):
        for name, value in by_scikit_learn(targets, probabilities, weights[:, sample]).items():
            assert found[name][sample] == pytest.approx(value, abs=1e-12), name
        copies = weights[:, sample].astype(int)
        rows = np.repeat(np.arange(len(targets)), copies)
        one = {name: value[sample] for name, value in found.items()}
        table = metrics.reliability(targets[rows], probabilities[rows])
        assert one["ece"] == pytest.approx(metrics.calibration_error(table), abs=1e-12)
        guesses = probabilities.argmax(axis=1)[rows]
        if len(np.union1d(targets, guesses)) > 1:
            alpha = krippendorff.alpha([targets[rows], guesses], level_of_measurement="nominal")
            assert one["alpha"] == pytest.approx(alpha, abs=1e-12)
        else:
            assert np.isnan([one["alpha"], one["kappa"], one["auc"]]).all()


@pytest.mark.parametrize("balanced", [False, True])
def test_evaluate_and_the_weighted_form_agree(case, balanced):
    targets, probabilities = case
    found = metrics.evaluate(targets, probabilities, balanced=balanced)
    ones = np.ones((len(targets), 1))
    own = weighted_scores(targets, probabilities, ones, MAIN, balanced)
    assert list(found) == list(MAIN)
    expected = [float(own[name][0]) for name in MAIN]
    assert [found[name] for name in MAIN] == pytest.approx(expected, abs=1e-12, nan_ok=True)


@pytest.mark.parametrize("decimals", [None, 1])
def test_areas_equal_naive_counting(make, decimals):
    targets, probabilities = make(3, 60, decimals)
    aucs, precisions = [], []
    for label in range(8):
        positive, scores = targets == label, probabilities[:, label]
        pairs = [np.sign(p - n) for p in scores[positive] for n in scores[~positive]]
        aucs.append(np.mean(pairs) / 2 + 0.5)
        taken = [scores >= score for score in scores[positive]]
        precisions.append(np.mean([positive[above].mean() for above in taken]))
    table = metrics.per_class(targets, probabilities)
    np.testing.assert_allclose(table[["auc", "auc_pr"]].T, [aucs, precisions])


# ---- laws


@given(st.lists(st.integers(0, 7), min_size=40, max_size=40))
@settings(max_examples=30, deadline=None)
def test_the_papers_identity_on_balanced_data(guesses):
    """kappa = (accuracy − 1/8) / (7/8) whatever is predicted, as in the paper's twenty rows."""
    found = metrics.evaluate(np.repeat(np.arange(8), 5), one_hot(guesses))
    assert found["kappa"] == pytest.approx((found["accuracy"] - 1 / 8) / (7 / 8), abs=1e-12)
    assert found["macro_recall"] == pytest.approx(found["accuracy"])


def test_balanced_is_as_on_a_test_of_equal_classes(make):
    """As if every class had its images so often that all have equally many."""
    targets, probabilities = make(4, 120)
    found = metrics.evaluate(targets, probabilities, balanced=True)
    counts = np.bincount(targets)
    copies = np.lcm.reduce(counts) // counts[targets]
    share = by_scikit_learn(targets, probabilities, copies)
    for name in paper.METRICS.keys() - {"alpha"}:
        assert found[name] == pytest.approx(share[name]), name
    assert found["accuracy"] == pytest.approx(
        metrics.evaluate(targets, probabilities)["macro_recall"]
    )
    assert found["kappa"] == pytest.approx((found["accuracy"] - 1 / 8) / (7 / 8))
    assert found["alpha"] == pytest.approx(found["kappa"], abs=0.02)


def test_renaming_the_classes_and_reordering_the_images_changes_nothing(make):
    targets, probabilities = make(5)
    random = np.random.default_rng(1)
    names, order = random.permutation(8), random.permutation(len(targets))
    renamed = np.empty_like(probabilities)
    renamed[:, names] = probabilities
    after = metrics.evaluate(names[targets][order], renamed[order])
    assert after == pytest.approx(metrics.evaluate(targets, probabilities), abs=1e-12)


def test_confusion_and_recalls_count_one_by_one(make):
    targets, probabilities = make(6)
    guesses = probabilities.argmax(axis=1)
    confusion = metrics.confusion_matrix(targets, guesses)
    assert confusion.tolist() == sk.confusion_matrix(targets, guesses, labels=range(8)).tolist()
    recalls = sk.recall_score(targets, guesses, average=None)
    assert metrics.recall_per_class(confusion) == pytest.approx(recalls)


# ---- a class without images


def test_absent_classes_are_excluded_restricted_or_refused(make):
    targets, probabilities = make(2, signal=0.1)
    kept = targets != 7
    targets, probabilities = targets[kept], probabilities[kept]
    found = metrics.evaluate(targets, probabilities)
    assert found["f1"] == pytest.approx(by_scikit_learn(targets, probabilities, None)["f1"])
    assert (probabilities.argmax(axis=1) == 7).any()
    restricted = metrics.evaluate(targets, probabilities, absent="restrict")
    right = probabilities[:, :7].argmax(axis=1) == targets
    assert restricted["accuracy"] == right.mean() > found["accuracy"]
    with pytest.raises(InputError, match="contempt"):
        metrics.evaluate(targets, probabilities, absent="raise")
    with pytest.raises(InputError, match="exclude"):
        metrics.evaluate(targets, probabilities, absent="exclud")


def test_restricted_answers_stay_probabilities():
    found = metrics.restrict_answers([0, 1], [[0.2, 0.2, 0.6] + [0.0] * 5, one_hot(7)])
    np.testing.assert_allclose(found[:, :2], 0.5)
    assert (found[:, 2:] == 0).all()


# ---- class by class, calibration


def test_per_class_is_scikit_learns(make):
    targets, probabilities = make(0, 300)
    found = metrics.per_class(targets, probabilities)
    guesses = probabilities.argmax(axis=1)
    expected = sk.precision_recall_fscore_support(targets, guesses, labels=range(8))
    np.testing.assert_allclose(found[["precision", "recall", "f1", "support"]].T, expected)
    bounds = metrics.wilson_interval(
        np.diag(metrics.confusion_matrix(targets, guesses)), expected[3]
    )
    np.testing.assert_allclose(found[["low", "high"]].T, bounds)
    assert list(found.index) == list(EXPRESSIONS)
    six = metrics.evaluate(targets, probabilities)
    assert found[["f1", "auc", "auc_pr"]].mean().to_dict() == pytest.approx(
        {name: six[name] for name in ("f1", "auc", "auc_pr")}
    )


def test_per_class_without_images_or_predictions():
    table = metrics.per_class([0, 0, 1, 1], one_hot([0, 7, 0, 0]))
    assert table.loc["contempt", "predicted"] == 1
    assert table.loc["contempt", "precision":].isna().all()
    assert np.isnan(table.loc["happy", "precision"]) and table.loc["happy", "recall"] == 0


@pytest.mark.parametrize("bins", [1, 10, 15])
def test_reliability_counts_every_image_once(make, bins):
    targets, probabilities = make(0, 300)
    table = metrics.reliability(targets, probabilities, bins)
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == targets
    error = 0
    for row in table.itertuples():
        inside = (confidence > row.left) & (confidence <= row.right)
        assert row.count == inside.sum()
        if inside.any():
            assert row.confidence == pytest.approx(confidence[inside].mean())
            assert row.accuracy == pytest.approx(right[inside].mean())
            assert row.low <= row.accuracy <= row.high
            error += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    assert table["count"].sum() == 300
    assert metrics.calibration_error(table) == pytest.approx(error)
    assert table.loc[table["count"] == 0, "confidence":"high"].isna().all(axis=None)


# ---- bad input

FINE = one_hot([0, 1, 2])


@pytest.mark.parametrize(
    ("targets", "probabilities", "named"),
    [
        ([], np.zeros((0, 8)), r"\(0,\)"),
        ([0, 1], FINE, r"\(2, 8\), found \(3, 8\)"),
        ([0, 1, 8], FINE, "1 outside, 8"),
        ([0, -1, 8], FINE, "2 outside, -1"),
        ([0.0, 1.0, 2.0], FINE, "float64"),
        ([0, 1, 2], FINE[:, :7], r"\(3, 7\)"),
        ([0, 1, 2], np.where(FINE == 1, np.nan, FINE), "3 of 3"),
        ([0, 1, 2], FINE * [[1], [1.002], [1]], "1 of 3.*1.002"),
        ([0, 1, 2], FINE + np.eye(3, 8) - np.eye(3, 8, 1), "3 of 3"),
    ],
)
@pytest.mark.parametrize("function", ["evaluate", "per_class", "reliability", "bootstrap"])
def test_bad_scores_are_one_line(function, targets, probabilities, named):
    with pytest.raises(InputError, match=named) as error:
        getattr(metrics, function)(targets, probabilities)
    assert "\n" not in str(error.value)


def test_seeds_go_to_the_bootstrap_alone():
    with pytest.raises(InputError, match=r"\(1, 3, 8\)"):
        metrics.evaluate([0, 1, 2], FINE[None])
    assert len(metrics.bootstrap([0, 1, 2], FINE[None], ["accuracy"], resamples=1)) == 1


def test_predictions_of_other_images_are_refused():
    with pytest.raises(InputError, match="3 predictions, found 2"):
        metrics.confusion_matrix([0, 1, 2], [0, 1])
