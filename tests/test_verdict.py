"""The verdict never says more than its numbers."""

import numpy as np
import pytest

from fer_utils import metrics
from fer_utils.errors import InputError
from fer_utils.expressions import EXPRESSIONS

WORSE = {"difference": -0.04, "low": -0.06, "high": -0.02, "p_value": 0.01}
SAME = {"difference": 0.0, "low": 0.0, "high": 0.0, "p_value": 1.0}
CLEAR = {"difference": 0.04, "low": 0.02, "high": 0.06, "p_value": 0.001}
BALANCED = [500] * 8
RARE = [1083, 892, 382, 394, 86, 16, 269, 15]
IS, DID, NOISE = "b is better than a", "b did better than a here", "b is not told from noise against a"


def seeds(*differences):
    return metrics.over_seeds(differences)


STEADY = seeds(0.039, 0.040, 0.041)


@pytest.mark.parametrize(
    ("found", "over", "options", "claim", "reason"),
    [
        (CLEAR, STEADY, {}, IS, "p = 0.001, all 3 seeds of that sign."),
        (CLEAR, STEADY, {"supports": BALANCED}, IS, "3 seeds): p = 0.001"),
        (CLEAR, STEADY, {"comparisons": 9}, IS, "after Holm's correction for 9 comparisons"),
        (CLEAR | {"p_value": 0.0}, STEADY, {}, IS, "p < 0.001"),
        # one seed, a missing one, or few images: weaker words
        (CLEAR, None, {}, DID, "one seed): p = 0.001, another seed may differ."),
        (CLEAR, seeds(0.04), {}, DID, "one seed"),
        (CLEAR, STEADY, {"planned": 5}, DID, "3 of 5 seeds"),
        (CLEAR, STEADY, {"supports": RARE}, DID, "it rests on few images (16 of disgust and 15 of contempt)."),
        (CLEAR, STEADY, {"supports": RARE, "metric": "accuracy"}, IS, "p = 0.001"),
        (CLEAR, STEADY, {"supports": RARE, "metric": "recall_disgust"}, DID, "it rests on 16 images."),
        (CLEAR, STEADY, {"supports": RARE, "metric": "recall_happy"}, IS, "p = 0.001"),
        # noise, whatever else holds
        (CLEAR | {"low": -0.001}, STEADY, {}, NOISE, "the interval holds 0."),
        (CLEAR | {"low": 0.0}, STEADY, {}, NOISE, "the interval holds 0."),
        (CLEAR | {"p_value": 0.05}, STEADY, {}, NOISE, "p = 0.050."),
        (CLEAR | {"p_value": 0.0501}, None, {"comparisons": 3}, NOISE, "p = 0.050 after Holm's"),
        (CLEAR | {"p_value": np.nan}, STEADY, {}, NOISE, "no p-value."),
        (CLEAR | {"low": np.nan, "high": np.nan}, STEADY, {}, NOISE, "the interval holds 0."),
        (CLEAR, seeds(0.10, 0.09, -0.07), {}, NOISE, "2 of 3 seeds have its sign, the t interval over seeds holds 0."),
        (CLEAR, seeds(0.01, 0.01, 0.10), {}, NOISE, ": the t interval over seeds holds 0."),
        (SAME, None, {}, NOISE, "there is no difference,"),
        # the other way round
        (WORSE, None, {}, "b did worse than a here", "−4.0"),
        (CLEAR, STEADY, {"metric": "ece"}, "b is worse than a", "Calibration error"),
        (WORSE, None, {"metric": "brier"}, DID, "−0.040, "),
        (CLEAR | {"difference": np.nan}, None, {}, "nothing can be said of b against a", "no pair of runs"),
    ],
    ids=range(24),
)  # fmt: skip
def test_the_sentence_is_as_strong_as_the_numbers(found, over, options, claim, reason):
    sentence = metrics.verdict(found, over, **options)
    assert f": {claim}" in sentence and reason in sentence
    assert sentence.endswith(".") and "\n" not in sentence and "nan" not in sentence.replace(EXPRESSIONS[0], "")


@pytest.mark.parametrize("seed", range(30))
def test_a_claim_is_never_made_against_any_of_its_numbers(seed):
    random = np.random.default_rng(seed)
    difference, half, p_value = random.normal(0.02, 0.02), random.exponential(0.02), random.exponential(0.05)
    over = seeds(*random.normal(difference, 0.01, random.integers(1, 5)))
    found = {
        "difference": difference,
        "low": difference - half,
        "high": difference + half,
        "p_value": min(1.0, p_value),
    }
    sentence = metrics.verdict(found, over)
    if " is better than " in sentence or " is worse than " in sentence:
        assert over["seeds"] == over["same_sign"] > 1 and over["low"] * over["high"] > 0
    if "noise" not in sentence:
        assert p_value < 0.05 and found["low"] * found["high"] > 0
        assert ("worse" in sentence) == (difference < 0)


def test_names_and_bad_input():
    sentence = metrics.verdict(CLEAR, a="softmax", b="island", metric="f1")
    assert sentence.startswith(
        "F1: island did better than softmax here (+4.0 points, 95 % interval +2.0 to +6.0, one seed)"
    )
    with pytest.raises(InputError, match="expected a metric of accuracy, .*, recall_contempt; found 'recall'"):
        metrics.verdict(CLEAR, metric="recall")
    with pytest.raises(InputError, match="supports of 8 classes, found 7"):
        metrics.verdict(CLEAR, supports=[1] * 7)
    with pytest.raises(InputError, match="at least 1 comparison, found 0"):
        metrics.verdict(CLEAR, comparisons=0)
