"""Drawn faces: the same pixels as ever, and the proportions and the noise asked for."""

import hashlib
import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fer_utils.core import EXPRESSIONS, LABELS, NUM_CLASSES, InputError, paper
from fer_utils.datasets import synthetic
from fer_utils.datasets.synthetic import (
    Draws,
    apportion,
    draw_examples,
    draw_manifest,
    read_synthetic,
)
from fer_utils.datasets.synthetic.faces import Patch, column, length, view
from fer_utils.datasets.synthetic.people import UNITS, activations, displacements, label_confusion

ROWS = ["label", "subject", "expression", "second"]


@pytest.fixture(scope="module")
def population():
    return read_synthetic(train=400, validation=40, test=80, subjects=60)


def sha(array):
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def portraits(*expressions, subject=3, intensity=1.0):
    """(N, 128, 128) brightness: one person, photographed the same way, with each expression."""
    labels = [LABELS[name] for name in expressions]
    rows = pd.DataFrame({"expression": labels, "second": labels, "second_weight": 0.0})
    rows = rows.assign(intensity=intensity, subject=subject, image=0)
    rows.attrs = {"dataset": "synthetic", "seed": 0, "difficulty": 0.0}
    return draw_manifest(rows, 128).astype(float).mean(axis=-1)


def test_pixels_and_rows_are_those_of_the_first_release():
    """Hashes from before the package was rebuilt: committed results are about these very faces."""
    sizes = {"train": 96, "validation": 16, "test": 16, "subjects": 20}
    wild = read_synthetic(**sizes, difficulty=1.5, seed=7)
    rows = wild[ROWS].to_numpy(dtype=np.int64)
    assert sha(rows) == "da1e41b62e59316d4e87271a02e5fbce19fa0e4a7be35639d17a68a635eb99b1"
    faces = draw_manifest(wild)
    assert sha(faces) == "8a2f249725861beb76b74c86cf1441ca8f87d056004becb2c90ff7fccbc99a3c"
    faces = draw_manifest(wild, 33)
    assert sha(faces) == "ee9fa1703fd3c80a69d8d170ba6e6a8cc3b649b51f645d467ecc2ed8032ec00a"
    faces = draw_examples(per_class=1, size=96, seed=2)
    assert faces.shape == (8, 1, 96, 96, 3)
    assert sha(faces) == "4651e3ea77590121ac4a2726d02b7a2841274d086a4a66e6cd3dc0d33db0fdb1"
    rows = read_synthetic()[ROWS].to_numpy(dtype=np.int64)
    assert sha(rows) == "ccf8e4c750289bb5f0dafe83f835e9a15eb1523c836e60623b56a93b97d02f00"


def test_attrs_draw_the_population_again(population):
    """`study.json` keeps them, so the names of the arguments stay."""
    arguments = json.loads(json.dumps(population.attrs))
    assert (arguments.pop("dataset"), arguments.pop("root")) == ("synthetic", None)
    names = "train validation test subjects image_size label_noise difficulty proportions seed"
    assert list(arguments) == names.split()
    pd.testing.assert_frame_equal(read_synthetic(**arguments), population)
    other = read_synthetic(**arguments | {"seed": 1})
    assert not other["expression"].equals(population["expression"])


def test_training_follows_table_3_and_the_rest_is_balanced(population):
    counts = np.bincount(read_synthetic(train=4000, validation=0, test=0)["label"])
    shares = np.array(paper.TRAINING_COUNTS) / sum(paper.TRAINING_COUNTS)
    assert counts.sum() == 4000 and (np.abs(counts - 4000 * shares) < 1).all()
    few = np.bincount(population.query("split == 'train'")["label"])
    assert few.min() == 8 and few.sum() == 400
    assert set(np.bincount(population.query("split == 'test'")["label"])) == {10}
    equal = read_synthetic(train=810, validation=0, test=0, subjects=20, proportions="balanced")
    assert set(np.bincount(equal["label"])) == {101, 102}
    assert set(np.bincount(equal["subject"])) == {40, 41}


def test_people_keep_to_a_split_differ_and_tell_nothing_of_labels(population):
    assert (population.groupby("subject")["split"].nunique() == 1).all()
    assert population["subject"].nunique() == 60
    train = population[population["split"] == "train"]
    assert train[["label", "subject", "image"]].corr().loc["label"].drop("label").abs().max() < 0.2
    faces = np.stack([portraits("neutral", subject=person)[0] for person in range(8)])
    assert np.ptp(faces[:, 70, 64]) > 60, "skin from light to dark"
    assert (np.ptp(faces, axis=0) > 0).mean() > 0.7


def test_an_ideal_observer_is_right_as_often_as_annotators_agree():
    rows = read_synthetic(train=64, validation=0, test=16_000).query("split == 'test'")
    seen = pd.crosstab(rows["expression"], rows["label"]).to_numpy()
    assert (seen.argmax(axis=1) == np.arange(8)).all(), "the best guess is what one sees"
    deviation = (0.6556 * 0.3444 / 16_000) ** 0.5
    assert seen.max(axis=1).sum() / 16_000 == pytest.approx(0.6556, abs=4 * deviation)


def test_noise_and_difficulty_can_be_switched_off():
    clean = read_synthetic(train=64, label_noise=0.0, difficulty=0.0)
    assert (clean["expression"] == clean["label"]).all()
    assert (clean["intensity"] == 1).all() and (clean["second_weight"] == 0).all()
    wild = read_synthetic(train=2000)
    assert wild["intensity"].between(0.5, 1).all() and wild["second_weight"].between(0, 0.5).all()
    assert 0.25 < (wild["second"] != wild["expression"]).mean() < 0.45


@pytest.mark.parametrize("size", [24, 65])
def test_pictures_depend_on_their_row_alone(population, size, monkeypatch):
    rows = population.iloc[:40]
    together = draw_manifest(rows, size)
    assert together.shape == (40, size, size, 3) and together.dtype == np.uint8
    assert together.min() < 20 and together.max() > 235
    assert len(np.unique(together.reshape(40, -1), axis=0)) == 40
    assert draw_manifest(rows.iloc[:0], size).shape == (0, size, size, 3)
    some = np.random.default_rng(0).permutation(40)[:13]
    np.testing.assert_array_equal(draw_manifest(rows.iloc[some], size), together[some])
    monkeypatch.setattr(synthetic, "_PIXELS_AT_ONCE", 7 * size**2)
    np.testing.assert_array_equal(draw_manifest(rows, size), together)


def test_expressions_are_seen():
    neutral, surprise = portraits("neutral", "surprise")[:, 88:112, 54:74]
    assert (surprise < 45).sum() > (neutral < 45).sum() + 60, "a dark open mouth"
    for subject in range(3):
        faces = portraits("happy", "neutral", "sad", subject=subject)
        corners = faces[:, 82:110, 47:51].mean(axis=2).argmin(axis=1)  # just inside the mouth's
        assert (np.diff(corners) > 0).all()
    still, *moved = portraits("neutral", "happy", "contempt")
    for face, sided in zip(moved, (False, True), strict=True):
        change = np.abs(face - still)[75:115]
        left, right = change[:, 25:55].sum(), change[:, 73:103].sum()
        assert (max(left, right) > 10 * min(left, right)) == sided
    near, far = (
        np.abs(portraits("fear", intensity=strength)[0] - still).mean() for strength in (0.5, 1)
    )
    assert 0 < near < far
    np.testing.assert_array_equal(portraits("fear", intensity=0.0)[0], still)


@pytest.mark.parametrize(
    ("argument", "value", "message"),
    [
        ("train", 63, "train .* at least 64, not 63"),
        ("test", -1, "test .* at least 0"),
        ("validation", 1.5, "validation .* whole number"),
        ("subjects", 2, "subjects .* at least 3"),
        ("image_size", 16, "image_size .* at least 24"),
        ("seed", True, "seed .* whole number"),
        ("label_noise", 1.0, "label_noise .* 0 to 0.8"),
        ("difficulty", "hard", "difficulty .* 'hard'"),
        ("difficulty", float("nan"), "difficulty"),
        ("proportions", "ballanced", "did you mean 'balanced'"),
    ],
)
def test_bad_arguments_are_named(argument, value, message):
    with pytest.raises(InputError, match=message):
        read_synthetic(**{argument: value})


def test_rows_of_something_else_are_refused(population):
    bare = population.copy()
    bare.attrs = {}
    for rows, size, message in (
        (bare, None, "dataset None"),
        (population.drop(columns="intensity"), None, "no column 'intensity'"),
        (population, 8, "size .* at least 24"),
    ):
        with pytest.raises(InputError, match=message):
            draw_manifest(rows, size)


def shown(expression, intensity=1.0, second=None, weight=0.0, side=1, parted=0.0):
    label = LABELS[expression]
    other = LABELS[second] if second else label
    return activations(*(np.array([v]) for v in (label, other, weight, intensity, side, parted)))


def alone(unit, strength=1.0):
    active = np.zeros((1, 2, UNITS))
    active[..., unit] = strength
    return displacements(active)


# Of the FACS manual: down, outwards, open or strong is +.
MOVES = """1 -brow_inner_y; 2 -brow_outer_y; 4 +brow_inner_y -brow_inner_x +furrow; 5 +upper_lid;
6 +cheek -lower_lid; 7 -lower_lid -upper_lid; 9 +nose_wrinkle +nasolabial -upper_lip_y;
12 -corner_y +corner_x; 14 +dimple; 15 +corner_y; 16 +lower_lip_y; 20 +corner_x; 23 -lip_thickness;
25 +mouth_open; 26 +jaw_y +mouth_open"""


@pytest.mark.parametrize("unit_moves", MOVES.replace("\n", " ").split("; "))
def test_each_unit_moves_its_part_in_proportion_to_its_strength(unit_moves):
    unit, *moves = unit_moves.split()
    full, half = alone(int(unit)), alone(int(unit), 0.5)
    for direction, *landmark in moves:
        moved = full["".join(landmark)]
        assert ((moved > 0) == (direction == "+")).all() and moved.all()
        np.testing.assert_allclose(half["".join(landmark)], moved / 2)


def test_brows_blends_sides_and_lips():
    sad, fear, anger = (displacements(shown(name)) for name in ("sad", "fear", "anger"))
    assert (sad["brow_inner_y"] < -0.05).all() and (fear["brow_inner_y"] < -0.05).all()
    assert (anger["brow_inner_y"] > 0.05).all()
    assert (sad["brow_inner_y"] < sad["brow_outer_y"]).all(), "oblique brows"
    for side in (0, 1):
        for name in EXPRESSIONS:
            left, right = shown(name, side=side)[0]
            assert np.array_equal(left, right) == (name != "contempt")
        contempt = shown("contempt", side=side)[0]
        assert contempt[side].any() and not contempt[1 - side].any()
    np.testing.assert_allclose(shown("fear", 0.4), 0.4 * shown("fear"))
    blend = shown("sad", second="happy", weight=0.25)
    np.testing.assert_allclose(blend, 0.75 * shown("sad") + 0.25 * shown("happy"))

    def opening(name):
        return displacements(shown(name, parted=1.0))["mouth_open"].mean()

    assert opening("happy") > 3 * opening("neutral") > 0 == opening("anger")
    assert opening("contempt") == pytest.approx(opening("neutral"))


def test_labels_are_confused_with_what_looks_alike():
    for noise in (0.0, 0.3444, 0.8):
        confusion = label_confusion(noise)
        np.testing.assert_allclose(confusion.sum(axis=1), 1)
        np.testing.assert_allclose(np.diag(confusion), 1 - noise)
    confusion = label_confusion(0.3444) - 0.6556 * np.eye(8)
    nearest = dict(zip(EXPRESSIONS, np.array(EXPRESSIONS)[confusion.argmax(axis=1)], strict=True))
    assert nearest["fear"] == "surprise" and nearest["surprise"] == "fear"
    assert nearest["contempt"] == "neutral" and nearest["neutral"] == "contempt"
    # By hand: ‖p‖² of the units on both sides is 2 for contempt, 4 for happy.
    ratio = confusion[0, LABELS["contempt"]] / confusion[0, LABELS["happy"]]
    assert ratio == pytest.approx(np.exp(-2 / 4) / np.exp(-4 / 4))


def patch(size, roll=0.0, zoom=1.0, shift=0.0, yaw=0.0, count=1, grey=0.0):
    seen = view(size, *(np.full(count, v) for v in (roll, zoom, shift, shift, yaw, 0.0)))
    face = SimpleNamespace(**{name: column(values) for name, values in seen.items()})
    return Patch(np.full((count, 3, size, size), grey, dtype=np.float32), face, size)


@pytest.mark.parametrize(("size", "roll"), [(24, 0.0), (24, 0.14), (64, 0.14)])
def test_a_disc_has_the_area_of_a_circle(size, roll):
    disc = patch(size, roll=roll, zoom=1.2)
    disc.paint(np.float32(1.0), disc.inside(length(disc.plain_x, disc.plain_y) - 0.8))
    pixel = 2 * 1.2 / size
    assert disc.pixels[0, 0].sum() * pixel**2 == pytest.approx(np.pi * 0.8**2, rel=0.01)


def test_lines_and_strips_have_their_width():
    y, picture = np.linspace(-1, 1, 4001), patch(40)
    assert picture.line(y, 0.2).sum() / 2000 == pytest.approx(0.2, rel=0.01)
    assert picture.between(y, -0.3, 0.5).sum() / 2000 == pytest.approx(0.8, rel=0.01)
    assert picture.between(y, 0.5, -0.5).max() == 0
    assert 0.4 < picture.line(y, 0.0).max() < 1, "a hairline is faint, but there"


def test_windows_paint_where_the_whole_picture_would():
    seen = {"roll": 0.1, "zoom": 1.1, "shift": 0.05, "yaw": 0.2, "count": 3, "grey": 0.5}
    whole, windowed = patch(64, **seen), patch(64, **seen)

    def spot(patch):
        distance = length(patch.x - 0.3, patch.y + 0.1) - 0.2
        patch.paint(np.float32(1.0), patch.inside(distance))
        patch.shade(np.float32(0.5), patch.inside(distance + 0.1))

    spot(whole)
    with windowed.window(column([0.3] * 3), column([-0.1] * 3), 0.28, 0.28) as part:
        spot(part)
    assert part.pixels.shape[-1] < 64
    np.testing.assert_array_equal(whole.pixels, windowed.pixels)
    assert windowed.pixels.max() == 1


def test_random_numbers_are_well_spread_and_independent():
    draws = Draws(0, "image", np.arange(20_000))
    a, b, normal = draws.uniform("a"), draws.uniform("b"), draws.normal("c", 2.0)
    seed, stream = (Draws(*of, np.arange(20_000)) for of in ((1, "image"), (0, "subject")))
    assert np.histogram(a, 10, (0, 1))[0] == pytest.approx(2000, abs=200)
    assert normal.std() == pytest.approx(2.0, rel=0.03) and abs(normal.mean()) < 0.06
    for other in (b, np.roll(a, 1), seed.uniform("a"), stream.uniform("a")):
        assert abs(np.corrcoef(a, other)[0, 1]) < 0.03
    shares = np.bincount(draws.choice("d", [1, 2, 5]), minlength=3) / 20_000
    assert shares == pytest.approx([0.125, 0.25, 0.625], abs=0.02)
    part = Draws(0, "image", [9])
    assert draws.uniform("x")[9] == part.uniform("x")[0]


@pytest.mark.parametrize(
    ("total", "shares", "floor", "expected"),
    [
        (100, [500, 300, 200], 0, [50, 30, 20]),
        (101, [500, 300, 200], 0, [51, 30, 20]),  # 50.5, 30.3, 20.2: to the largest remainder
        (100, [960, 20, 20], 8, [84, 8, 8]),  # 96, 2, 2: the small ones are raised
        (100, [900, 60, 4], [8, 8, 4], [88, 8, 4]),
        (5, [0, 3], [0, 0], [0, 5]),
    ],
)
def test_shares_worked_by_hand(total, shares, floor, expected):
    assert apportion(total, shares, floor).tolist() == expected


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 10**5), min_size=1, max_size=NUM_CLASSES).filter(any), st.data())
def test_laws_of_shares(shares, data):
    floor = data.draw(st.integers(0, 9))
    floors = np.where(np.array(shares) > 0, floor, 0)
    total = data.draw(st.integers(int(floors.sum()), 10**6))
    parts = apportion(total, shares, floors)
    assert parts.sum() == total and (parts >= floors).all()
    order = np.argsort(shares)
    ties = np.diff(np.array(shares)[order]) == 0
    assert (np.diff(parts[order]) + ties >= 0).all(), "a larger share gets no fewer"
