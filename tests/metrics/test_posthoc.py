"""Post-hoc adjustment against its closed form, and curves against interpolation by hand."""

import copy
import pickle

import numpy as np
import pandas as pd
import pytest
from scipy.special import log_softmax, softmax

from fer_utils import metrics
from fer_utils.core import InputError
from fer_utils.metrics.posthoc import read_curve

COUNTS = np.array([400, 300, 160, 120, 60, 20, 100, 24])
LABELS = np.repeat(np.arange(8), COUNTS // 2)


def network(seed=0, power=0.0, signal=1.7, sharp=1.0):
    """Log-probabilities, calibrated but for `sharp` and a prior without its `power`-th power."""
    random = np.random.default_rng(seed)
    logits = signal * random.normal(size=(len(LABELS), 8)) + signal**2 * np.eye(8)[LABELS]
    return log_softmax(sharp * (logits + (1 - power) * np.log(COUNTS / COUNTS.sum())), axis=1)


def test_logit_adjustment_is_its_closed_form():
    log_p, shares = network(), COUNTS / COUNTS.sum()
    for tau in (0.3, 1.0):
        weighted = np.exp(log_p) / shares**tau
        expected = weighted / weighted.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(np.exp(metrics.logit_adjust(log_p, COUNTS, tau)), expected)
    np.testing.assert_allclose(metrics.logit_adjust(log_p, COUNTS, 0), log_p, atol=1e-12)
    even = metrics.logit_adjust(log_p, np.full(8, 7), 1.0)
    np.testing.assert_allclose(even, log_p, atol=1e-12)


def test_at_tau_1_the_prior_is_gone():
    adjusted = metrics.logit_adjust(network(), COUNTS, 1.0)
    np.testing.assert_allclose(adjusted, network(power=1.0), atol=1e-12)


def test_seeds_folds_and_classes_without_training_images():
    log_p, folds = np.stack([network(0), network(1)]), np.tile(COUNTS, (len(LABELS), 1))
    folds[::2] = COUNTS[::-1]
    found = metrics.logit_adjust(log_p, folds, 0.5)
    np.testing.assert_allclose(
        found[1, ::2], metrics.logit_adjust(log_p[1, ::2], COUNTS[::-1], 0.5)
    )
    np.testing.assert_allclose(found[0, 1::2], metrics.logit_adjust(log_p[0, 1::2], COUNTS, 0.5))
    without = np.where(np.arange(8) == 7, 0, COUNTS)
    lifted = metrics.logit_adjust(log_p[0], without, 1.0)
    assert np.isfinite(lifted).all() and (lifted[:, 7] < log_p[0, :, 7]).all()


def test_temperature_lowers_the_loss_and_keeps_predictions():
    log_p = network(sharp=3.0)
    best = metrics.fit_temperature(log_p, LABELS)
    assert best == pytest.approx(3.0, rel=0.15) and not best.bound
    cooled, rows = metrics.apply_temperature(log_p, best), np.arange(len(LABELS))
    assert cooled[rows, LABELS].mean() > log_p[rows, LABELS].mean()
    assert (cooled.argmax(axis=1) == log_p.argmax(axis=1)).all()
    np.testing.assert_allclose(cooled, np.log(softmax(log_p / best, axis=1)))
    errors = [
        metrics.calibration_error(metrics.reliability(LABELS, np.exp(x))) for x in (log_p, cooled)
    ]
    assert errors[1] < errors[0]
    around = [
        -metrics.apply_temperature(log_p, best * f)[rows, LABELS].mean() for f in (0.9, 1, 1.1)
    ]
    assert min(around) == around[1]


@pytest.mark.parametrize(
    ("log_p", "end"),
    [
        (np.log(0.7 * np.eye(8)[LABELS] + 0.0375), 0.05),  # always right: the surer, the better
        (np.log(0.7 * np.eye(8)[(LABELS + 1) % 8] + 0.0375), 20),  # always wrong
    ],
)
def test_a_temperature_at_its_bound_says_so(log_p, end):
    found = metrics.fit_temperature(log_p, LABELS)
    assert found.bound and found == pytest.approx(end, rel=0.02)
    assert pickle.loads(pickle.dumps(found)).bound and copy.copy(found).bound


def test_the_operating_curve_is_that_of_each_tau():
    log_p, taus = np.stack([network(0), network(1)]), [0, 0.5, 1.0]
    curve = metrics.operating_curve(log_p, LABELS, COUNTS, taus)
    assert list(curve.columns) == ["tau", "accuracy", "macro_recall"]
    for row in curve.itertuples():
        adjusted = np.exp(metrics.logit_adjust(log_p, COUNTS, row.tau))
        expected = metrics.bootstrap(LABELS, adjusted, ["accuracy", "macro_recall"], resamples=1)
        assert [row.accuracy, row.macro_recall] == pytest.approx(expected["value"].to_list())
    assert len(metrics.operating_curve(log_p[0], LABELS, COUNTS)) == len(metrics.TAUS)


def test_tau_is_the_best_of_those_that_keep_the_accuracy():
    log_p = network()
    curve = metrics.operating_curve(log_p, LABELS, COUNTS)
    best = metrics.choose_tau(log_p, LABELS, COUNTS, within=1.0)
    assert best == curve.loc[curve["macro_recall"].idxmax(), "tau"] and not best.bound
    kept = metrics.choose_tau(log_p, LABELS, COUNTS, within=0.01)
    allowed = curve[curve["accuracy"] >= curve["accuracy"][0] - 0.01]
    assert kept == allowed.loc[allowed["macro_recall"].idxmax(), "tau"] and 0 < kept < best


def test_tau_at_its_bound_says_so():
    low = metrics.choose_tau(network(), LABELS, COUNTS, [0, 0.1, 0.2], within=1.0)
    assert low == 0.2 and low.bound
    balanced = metrics.choose_tau(np.log(0.9 * np.eye(8)[LABELS] + 0.0125), LABELS, COUNTS)
    assert balanced == 0 and balanced.bound  # all right as they are: the smallest of equals


def test_probability_0_is_no_obstacle():
    """What float16 stores as −inf: some classes are out of the question, now and then the true."""
    log_p = network(sharp=3.0)
    gone = np.where(log_p < -9, -np.inf, log_p)
    assert (
        np.isinf(gone[np.arange(len(LABELS)), LABELS]).any() and np.isfinite(gone).any(axis=1).all()
    )
    for change in (
        lambda x: metrics.logit_adjust(x, COUNTS, 0.5),
        lambda x: metrics.apply_temperature(x, 2.0),
    ):
        kept = np.exp(change(log_p)) * np.isfinite(gone)
        expected = kept / kept.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(np.exp(change(gone)), expected, atol=1e-12)
    assert metrics.choose_tau(gone, LABELS, COUNTS) == pytest.approx(
        metrics.choose_tau(np.maximum(gone, -1e4), LABELS, COUNTS)
    )
    right = gone.argmax(axis=1) == LABELS
    found = metrics.fit_temperature(gone[right], LABELS[right])
    assert found == metrics.fit_temperature(np.maximum(gone, -65504)[right], LABELS[right])
    assert np.isfinite(metrics.fit_temperature(gone, LABELS))
    compared = metrics.compare_at_equal_accuracy(LABELS, gone, COUNTS, gone, resamples=9)
    assert compared["difference"] <= 1e-9


# ---- at equal accuracy


def at_accuracy(curve, accuracy):
    columns = (curve[[name]].to_numpy() for name in ("accuracy", "macro_recall"))
    return read_curve(*columns, np.array([accuracy]))[0][0]


CURVE = pd.DataFrame(
    {"accuracy": [0.80, 0.82, 0.82, 0.78, 0.70], "macro_recall": [0.5, 0.6, 0.65, 0.7, 0.68]}
)


@pytest.mark.parametrize(
    ("accuracy", "recall"),
    [
        (0.82, 0.65),
        (0.80, 0.675),  # halfway down from 0.82 to 0.78
        (0.78, 0.7),
        (0.74, 0.69),
        (0.50, 0.68),  # the end
        (0.90, 0.65),  # never reached: the most accurate point
    ],
)
def test_a_curve_is_read_at_an_accuracy(accuracy, recall):
    assert at_accuracy(CURVE, accuracy) == pytest.approx(recall)


def test_a_dip_of_the_line_does_not_end_it():
    """Near its peak the line is flat: which τ falls below first is left to chance."""
    dipped = pd.DataFrame({"accuracy": [0.8, 0.82, 0.79, 0.81, 0.77], "macro_recall": range(5)})
    assert at_accuracy(dipped, 0.80) == pytest.approx(3.25)
    assert at_accuracy(dipped, 0.79) == pytest.approx(3.5)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("tau", [0.0, 0.1, 0.25, 0.5])
def test_a_point_of_the_line_is_never_ahead_of_it(seed, tau):
    """It is read at that τ or, where it is as accurate, at a later one: also in each resample."""
    free = network(seed)
    point = metrics.logit_adjust(free, COUNTS, tau)
    found = metrics.compare_at_equal_accuracy(LABELS, free, COUNTS, point, resamples=100)
    assert found["tau"] >= tau - 1e-9
    assert found["difference"] <= 1e-9 and found["high"] < 0.005


def test_a_point_on_the_line_lies_neither_above_nor_below_it():
    free = np.stack([network(0), network(1)])
    found = metrics.compare_at_equal_accuracy(
        LABELS, free, COUNTS, metrics.logit_adjust(free, COUNTS, 0.6), resamples=300
    )
    assert found["difference"] == pytest.approx(0, abs=0.01) and found["low"] <= 0 <= found["high"]
    assert 0.6 <= found["tau"] <= 0.66 and found["equal"]
    assert metrics.verdict(found) == "not significant"


def test_a_better_method_lies_above_the_line_and_a_worse_one_below():
    free = network(0)
    options = {"taus": np.linspace(0, 1.5, 16), "resamples": 400}
    for signal, state in ((2.2, "higher"), (1.3, "lower")):
        other = network(1, power=0.8, signal=signal)
        found = metrics.compare_at_equal_accuracy(LABELS, free, COUNTS, other, **options)
        assert metrics.verdict(found) == state
        own = metrics.evaluate(LABELS, np.exp(other))
        assert found["accuracy"] == pytest.approx(own["accuracy"])
        assert found["macro_recall"] == pytest.approx(own["macro_recall"])
        curve = metrics.operating_curve(free, LABELS, COUNTS, options["taus"])
        line = at_accuracy(curve, own["accuracy"])
        assert found["free"] == pytest.approx(line)
        assert found["difference"] == pytest.approx(own["macro_recall"] - line)
        apart = found["free_accuracy"] - found["accuracy"]
        assert (
            found["equal"] == (abs(apart) <= 0.003) == (curve["accuracy"].max() > own["accuracy"])
        )


def test_groups_widen_the_interval_against_the_line():
    twice, free, other = (
        np.tile(LABELS, 2),
        np.tile(network(0), (2, 1)),
        np.tile(network(1), (2, 1)),
    )
    groups, width = np.tile(np.arange(len(LABELS)), 2), []
    for own in (None, groups):
        found = metrics.compare_at_equal_accuracy(
            twice, free, COUNTS, other, [0, 0.5, 1], groups=own, resamples=400
        )
        width.append(found["high"] - found["low"])
    assert width[1] > 1.2 * width[0]


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: metrics.logit_adjust(np.zeros((3, 7)), COUNTS, 1), r"\(3, 7\)"),
        (lambda: metrics.logit_adjust(np.full((3, 8), -np.inf), COUNTS, 1), "found 3 rows"),
        (lambda: metrics.logit_adjust([[0.0] * 7 + [np.nan]], COUNTS, 1), "found 1 row"),
        (lambda: metrics.logit_adjust([[0.0] * 7 + [np.inf]], COUNTS, 1), "found 1 row"),
        (lambda: metrics.logit_adjust(np.zeros((3, 8)), COUNTS[:3], 1), "400, 300|400.0, 300.0"),
        (lambda: metrics.logit_adjust(np.zeros((3, 8)), -COUNTS, 1), "-400"),
        (lambda: metrics.apply_temperature(np.zeros((3, 8)), 0), "found 0"),
        (lambda: metrics.fit_temperature(np.zeros((3, 8)), [0, 1]), "3 labels, found 2"),
        (lambda: metrics.operating_curve(np.zeros((3, 8)), [0, 1, 9], COUNTS), "9"),
    ],
)
def test_bad_input_is_one_line(call, named):
    with pytest.raises(InputError, match=named) as error:
        call()
    assert "\n" not in str(error.value)
