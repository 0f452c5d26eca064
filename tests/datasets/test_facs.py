"""Action units move the face as the FACS manual says, and labels are confused with what looks alike."""

import numpy as np
import pytest

from fer_utils.datasets.facs import (
    ACTION_UNITS,
    PROTOTYPES,
    activations,
    displacements,
    label_confusion,
    part_lips,
)
from fer_utils.expressions import EXPRESSIONS, LABELS


def alone(unit, strength=1.0):
    active = np.zeros((1, 2, len(ACTION_UNITS)))
    active[..., ACTION_UNITS.index(unit)] = strength
    return displacements(active)


def shown(expression, intensity=1.0, second=None, weight=0.0, side=1):
    label = LABELS[expression]
    return activations([label], [LABELS[second] if second else label], [weight], [intensity], [side])


def test_prototypes_are_those_of_the_literature():
    expected = {
        "neutral": set(),
        "happy": {6, 12},
        "sad": {1, 4, 15},
        "surprise": {1, 2, 5, 26},
        "fear": {1, 2, 4, 5, 7, 20, 26},
        "disgust": {9, 15, 16},
        "anger": {4, 5, 7, 23},
        "contempt": {12, 14},
    }
    assert {name: set(units) for name, units in PROTOTYPES.items()} == expected
    for name, units in expected.items():
        active = shown(name)[0, 1]
        assert {ACTION_UNITS[unit] for unit in np.flatnonzero(active)} == units


@pytest.mark.parametrize(
    ("unit", "landmark", "direction"),
    [
        (1, "brow_inner_y", -1),
        (2, "brow_outer_y", -1),
        (4, "brow_inner_y", +1),
        (4, "brow_inner_x", -1),
        (4, "furrow", +1),
        (5, "upper_lid", +1),
        (6, "cheek", +1),
        (6, "lower_lid", -1),
        (7, "lower_lid", -1),
        (7, "upper_lid", -1),
        (9, "nose_wrinkle", +1),
        (9, "nasolabial", +1),
        (9, "upper_lip_y", -1),
        (12, "corner_y", -1),
        (12, "corner_x", +1),
        (14, "dimple", +1),
        (15, "corner_y", +1),
        (16, "lower_lip_y", +1),
        (20, "corner_x", +1),
        (23, "lip_thickness", -1),
        (25, "mouth_open", +1),
        (26, "jaw_y", +1),
        (26, "mouth_open", +1),
    ],
)
def test_each_unit_moves_its_part_in_proportion_to_its_strength(unit, landmark, direction):
    full, half = alone(unit)[landmark], alone(unit, 0.5)[landmark]
    assert (np.sign(full) == direction).all()
    np.testing.assert_allclose(half, full / 2)


def test_inner_brows_rise_in_sadness_and_fall_in_anger():
    sad, fear, anger = (displacements(shown(name)) for name in ("sad", "fear", "anger"))
    assert (sad["brow_inner_y"] < -0.05).all() and (fear["brow_inner_y"] < -0.05).all()
    assert (anger["brow_inner_y"] > 0.05).all()
    assert (sad["brow_inner_y"] < sad["brow_outer_y"]).all(), "oblique brows"
    assert (sad["brow_inner_x"] < 0).all(), "drawn together"


@pytest.mark.parametrize("side", [0, 1])
def test_only_contempt_is_one_sided(side):
    for name in EXPRESSIONS:
        active = shown(name, side=side)
        assert np.array_equal(active[:, 0], active[:, 1]) == (name != "contempt")
    contempt = shown("contempt", side=side)
    assert contempt[0, side].any() and not contempt[0, 1 - side].any()


def test_intensity_and_blend():
    np.testing.assert_allclose(shown("fear", 0.4), 0.4 * shown("fear"))
    np.testing.assert_allclose(
        shown("sad", 1.0, second="happy", weight=0.25), 0.75 * shown("sad") + 0.25 * shown("happy")
    )


def test_lips_part_widest_in_a_smile_and_never_when_tightened():
    def opening(name):
        return displacements(part_lips(shown(name), [1.0]))["mouth_open"].mean()

    assert opening("happy") > 3 * opening("neutral") > 0
    assert opening("contempt") == pytest.approx(opening("neutral"))
    assert opening("anger") == 0


@pytest.mark.parametrize("noise", [0.0, 0.3444, 0.8])
def test_confusion_is_a_distribution_with_the_noise_asked_for(noise):
    confusion = label_confusion(noise)
    np.testing.assert_allclose(confusion.sum(axis=1), 1)
    np.testing.assert_allclose(np.diag(confusion), 1 - noise)
    assert (confusion >= 0).all()


def test_confusion_follows_likeness():
    confusion = label_confusion(0.3444)
    np.fill_diagonal(confusion, 0)
    nearest = {name: EXPRESSIONS[row.argmax()] for name, row in zip(EXPRESSIONS, confusion, strict=True)}
    assert nearest["fear"] == "surprise" and nearest["surprise"] == "fear"
    assert nearest["contempt"] == "neutral" and nearest["neutral"] == "contempt"
    # by hand: ||p||^2 of the units on both sides: contempt 2, happy 4, so the ratio is exp(-2/4) / exp(-4/4)
    assert confusion[0, LABELS["contempt"]] / confusion[0, LABELS["happy"]] == pytest.approx(np.exp(0.5))
