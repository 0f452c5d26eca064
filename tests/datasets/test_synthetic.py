"""Drawn faces: the population's proportions and noise, and pictures that depend on their own row alone."""

import json
import time

import numpy as np
import pandas as pd
import pytest

from fer_utils.datasets import synthetic
from fer_utils.datasets.appearance import identity
from fer_utils.datasets.manifest import check_manifest
from fer_utils.datasets.synthetic import draw_examples, draw_faces, draw_manifest, read_synthetic
from fer_utils.errors import InputError
from fer_utils.expressions import LABELS

TABLE_3 = np.array([74374, 133915, 24959, 13590, 5878, 3303, 24382, 3250])


def portraits(*expressions, subject=3, image=0, size=128, intensity=1.0):
    """The same person, photographed the same way, with different expressions; (N, size, size) brightness."""
    labels = [LABELS[name] for name in expressions]
    n = len(labels)
    faces = draw_faces(labels, labels, [0] * n, [intensity] * n, [subject] * n, [image] * n, size=size, difficulty=0.0)
    return faces.astype(float).mean(axis=-1)


@pytest.fixture(scope="module")
def manifest():
    return read_synthetic(train=400, validation=40, test=80, subjects=60)


def test_manifest_is_valid_and_says_how_to_draw_it_again(manifest):
    check_manifest(manifest)
    arguments = json.loads(json.dumps(manifest.attrs))
    assert (arguments.pop("dataset"), arguments.pop("root")) == ("synthetic", None)
    pd.testing.assert_frame_equal(read_synthetic(**arguments), manifest)
    assert not read_synthetic(**arguments | {"seed": 1})["expression"].equals(manifest["expression"])


def test_training_counts_are_table_3_scaled():
    labels = read_synthetic(train=4000).query("split == 'train'")["label"]
    counts = np.bincount(labels, minlength=8)
    assert counts.sum() == 4000
    assert (np.abs(counts - 4000 * TABLE_3 / TABLE_3.sum()) < 1).all()


def test_rare_expressions_get_a_least_number(manifest):
    counts = np.bincount(manifest.query("split == 'train'")["label"])
    assert counts.sum() == 400
    assert counts[[5, 7]].tolist() == [8, 8]  # 4.7 and 4.6 by the table
    assert np.bincount(read_synthetic(train=64)["label"][:64]).tolist() == [8] * 8


def test_other_splits_and_balanced_training_are_even(manifest):
    for split, each in (("validation", 5), ("test", 10)):
        assert np.bincount(manifest[manifest["split"] == split]["label"]).tolist() == [each] * 8
    balanced = read_synthetic(train=804, validation=0, test=0, subjects=20, proportions="balanced")
    assert set(np.bincount(balanced["label"])) == {100, 101}
    assert set(np.bincount(balanced["subject"])) == {40, 41}


def test_no_person_is_in_two_splits(manifest):
    people = [set(part["subject"]) for _, part in manifest.groupby("split")]
    assert sum(map(len, people)) == len(set.union(*people)) == 60


def test_labels_do_not_tell_people_or_order(manifest):
    train = manifest[manifest["split"] == "train"]
    assert abs(np.corrcoef(train["label"], train["subject"])[0, 1]) < 0.2
    assert abs(np.corrcoef(train["label"], train["image"])[0, 1]) < 0.2


def test_an_ideal_observer_is_right_as_often_as_annotators_agree():
    rows = read_synthetic(train=64, validation=0, test=16_000).query("split == 'test'")
    seen = np.zeros((8, 8))
    np.add.at(seen, (rows["expression"], rows["label"]), 1)
    assert (seen.argmax(axis=1) == np.arange(8)).all(), "the best guess is what one sees"
    deviation = (0.6556 * 0.3444 / 16_000) ** 0.5
    assert seen.max(axis=1).sum() / 16_000 == pytest.approx(0.6556, abs=4 * deviation)


def test_noise_and_difficulty_can_be_switched_off():
    clean = read_synthetic(train=64, label_noise=0.0, difficulty=0.0)
    assert (clean["expression"] == clean["label"]).all()
    assert (clean["intensity"] == 1).all() and (clean["second_weight"] == 0).all()
    wild = read_synthetic(train=2000)
    assert wild["intensity"].between(0.5, 1).all() and wild["second_weight"].between(0, 0.5, inclusive="left").all()
    assert 0.25 < (wild["second"] != wild["expression"]).mean() < 0.45


@pytest.mark.parametrize("size", [24, 48, 65])
def test_pictures_depend_on_their_row_alone(manifest, size, monkeypatch):
    rows = manifest.iloc[:60]
    together = draw_manifest(rows, size)
    assert together.shape == (60, size, size, 3) and together.dtype == np.uint8
    some = np.random.default_rng(0).permutation(60)[:17]
    np.testing.assert_array_equal(draw_manifest(rows.iloc[some], size), together[some])
    monkeypatch.setattr(synthetic, "_PIXELS_AT_ONCE", 7 * size**2)
    np.testing.assert_array_equal(draw_manifest(rows, size), together)


def test_pictures_use_the_range_and_differ(manifest):
    faces = draw_manifest(manifest.iloc[:60])
    assert faces.shape[1:] == (64, 64, 3)
    assert faces.min() < 20 and faces.max() > 235
    assert (faces.std(axis=(1, 2, 3)) > 8).all()
    assert len(np.unique(faces.reshape(60, -1), axis=0)) == 60


def test_no_rows_draw_no_faces(manifest):
    assert draw_manifest(manifest.iloc[:0]).shape == (0, 64, 64, 3)


def test_a_person_keeps_face_and_skin_and_people_differ():
    people = identity(0, np.arange(300))
    assert len(np.unique(people["face_width"])) == 300
    brightness = people["skin"].mean(axis=1)
    assert brightness.min() < 0.32 and brightness.max() > 0.82
    again = identity(0, [17])
    assert all(np.array_equal(again[name][0], people[name][17]) for name in people)


def test_jaw_drop_opens_a_dark_mouth():
    neutral, surprise = portraits("neutral", "surprise")[:, 88:112, 54:74]
    assert (surprise < 45).sum() > (neutral < 45).sum() + 60


@pytest.mark.parametrize("subject", range(4))
def test_lip_corners_go_up_in_a_smile_and_down_in_sorrow(subject):
    rows = {}
    for name, face in zip(
        ("happy", "neutral", "sad"), portraits("happy", "neutral", "sad", subject=subject), strict=True
    ):
        strip = face[82:110, 47:51].mean(axis=1)  # just inside the corner of the mouth
        rows[name] = strip.argmin()
    assert rows["happy"] < rows["neutral"] < rows["sad"]


def test_contempt_changes_one_side_of_the_face_and_joy_both():
    faces = portraits("neutral", "happy", "contempt")
    smile, contempt = (np.abs(face - faces[0])[75:115] for face in faces[1:])
    left, right = smile[:, 25:55].sum(), smile[:, 73:103].sum()
    assert 0.4 < left / (left + right) < 0.6
    left, right = contempt[:, 25:55].sum(), contempt[:, 73:103].sum()
    assert max(left, right) > 10 * min(left, right)


def test_the_picture_grows_with_intensity():
    faces = [portraits("fear", intensity=strength)[0] for strength in (0.0, 0.5, 1.0)]
    near, far = (np.abs(face - faces[0]).mean() for face in faces[1:])
    assert 0 < near < far
    np.testing.assert_array_equal(faces[0], portraits("neutral")[0])


def test_examples_show_every_expression():
    examples = draw_examples(per_class=2, size=48)
    assert examples.shape == (8, 2, 48, 48, 3) and examples.dtype == np.uint8


def test_drawing_is_fast_enough_to_train_from():
    rows = read_synthetic(train=400).iloc[:400]
    draw_manifest(rows.iloc[:64])
    rates = []
    for _ in range(2):
        start = time.perf_counter()
        draw_manifest(rows)
        rates.append(400 / (time.perf_counter() - start))
    assert max(rates) > 200, f"{max(rates):.0f} images a second"


@pytest.mark.parametrize(
    ("argument", "value", "message"),
    [
        ("train", 63, "train must be a whole number of at least 64, not 63"),
        ("test", -1, "test must be a whole number of at least 0"),
        ("validation", 1.5, "validation must be a whole number"),
        ("subjects", 2, "subjects must be a whole number of at least 3"),
        ("image_size", 16, "image_size must be a whole number of at least 24"),
        ("seed", True, "seed must be a whole number"),
        ("label_noise", 1.0, "label_noise must be a number from 0.0 to 0.8"),
        ("difficulty", "hard", "difficulty must be a number"),
        ("difficulty", float("nan"), "difficulty must be a number"),
        ("proportions", "ballanced", "did you mean 'balanced'"),
    ],
)
def test_bad_arguments_are_named(argument, value, message):
    with pytest.raises(InputError, match=message):
        read_synthetic(**{argument: value})


def test_rows_of_something_else_are_refused(manifest):
    bare = manifest.copy()
    bare.attrs = {}
    with pytest.raises(
        InputError, match="expected rows of a manifest from read_synthetic, found attrs of dataset None"
    ):
        draw_manifest(bare)
    with pytest.raises(InputError, match="no column 'intensity'"):
        draw_manifest(manifest.drop(columns="intensity"))
    with pytest.raises(InputError, match="size must be a whole number of at least 24"):
        draw_manifest(manifest, size=8)
