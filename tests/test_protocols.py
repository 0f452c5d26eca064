"""Protocols: Table 3 to the image, every image tested once, nobody on two sides, and one line for what cannot be."""

import numpy as np
import pandas as pd
import pytest

from fer_utils import paper, splits
from fer_utils.datasets import class_counts
from fer_utils.errors import InputError

# AffectNet's manually annotated training and validation lists together (audit of the paper, section 2.7).
AFFECTNET = (75_374, 134_915, 25_959, 14_590, 6_878, 4_303, 25_382, 4_250)
SPLITS = ("train", "validation", "test")


def manifest(counts, split="train", subjects=None):
    labels = np.repeat(np.arange(8), counts)
    table = pd.DataFrame({"image": [f"{number:06d}.jpg" for number in range(len(labels))], "label": labels})
    table["split"] = split
    if subjects is not None:
        table["subject"] = [f"person {number % subjects}" for number in range(len(table))]
    table.attrs = {"dataset": "affectnet", "root": "/nowhere"}
    return table


def refused(match, function, *args, **kwargs):
    with pytest.raises(InputError, match=match) as error:
        function(*args, **kwargs)
    assert "\n" not in str(error.value)


def test_the_papers_protocol_gives_table_3_to_the_image():
    official = manifest(AFFECTNET)
    official.loc[official.groupby("label").head(500).index, "split"] = "validation"
    drawn = splits.paper_protocol(official, seed=3)
    expected = (paper.TRAINING_COUNTS, paper.VALIDATION_COUNTS, paper.TEST_COUNTS)
    for split, counts in zip(SPLITS, expected, strict=True):
        assert class_counts(drawn, split).tolist() == list(counts)
    assert drawn["image"].tolist() == official["image"].tolist() and drawn.attrs["root"] == "/nowhere"
    protocol = drawn.attrs["protocol"]
    assert (protocol["name"], protocol["seed"], protocol["per_class"]) == ("paper", 3, 500)
    assert protocol["counts"]["train"] == list(paper.TRAINING_COUNTS) and protocol["subject_disjoint"] is None


def test_a_draw_depends_on_the_seed_alone_not_on_the_order_of_the_rows():
    whole = manifest([40] * 8)
    first = splits.paper_protocol(whole, seed=0, per_class=5)
    shuffled = whole.sample(frac=1, random_state=1)
    again = splits.paper_protocol(shuffled, seed=0, per_class=5)
    assert again["image"].tolist() == shuffled["image"].tolist()
    same = first.merge(again, on="image")
    assert (same["split_x"] == same["split_y"]).all()
    other = splits.paper_protocol(whole, seed=1, per_class=5)
    assert (first["split"] != other["split"]).any()


def test_an_own_test_split_stays_out_of_the_papers_protocol():
    whole = manifest([40] * 8)
    whole.loc[::4, "split"] = "test"
    drawn = splits.paper_protocol(whole, seed=0, per_class=5)
    assert set(drawn["image"]) == set(whole.loc[whole["split"] == "train", "image"])
    assert drawn.attrs["protocol"]["test_left_out"] == 80


@pytest.mark.parametrize("protocol", ["paper", "k_fold"])
def test_nobody_is_on_two_sides(protocol):
    whole = manifest([60] * 8, subjects=37)
    if protocol == "paper":
        parts = [splits.paper_protocol(whole, seed=0, per_class=6)]
    else:
        parts = splits.k_fold(whole, 4, seed=0)
    for part in parts:
        assert part.groupby("subject")["split"].nunique().max() == 1
        assert part.attrs["protocol"]["subject_disjoint"] is True
        for split in SPLITS:
            assert (class_counts(part, split) > 0).all()


def test_in_k_folds_every_image_is_tested_and_validated_once():
    counts = [50, 90, 20, 20, 10, 8, 20, 7]
    folds = splits.k_fold(manifest(counts), 4, seed=0)
    for split in ("test", "validation"):
        held = pd.concat(fold.loc[fold["split"] == split, "image"] for fold in folds)
        assert sorted(held) == manifest(counts)["image"].tolist()
        per_fold = np.array([class_counts(fold, split) for fold in folds])
        assert (np.ptp(per_fold, axis=0) <= 1).all()  # stratified
    assert [fold.attrs["protocol"]["fold"] for fold in folds] == [0, 1, 2, 3]


def test_an_official_split_that_is_whole_stays_as_it_is():
    whole = manifest([30] * 8)
    whole["split"] = np.resize(["train", "train", "validation", "test"], len(whole))
    official = splits.official(whole, seed=5)
    pd.testing.assert_frame_equal(official, whole)
    assert official.attrs["protocol"]["drawn"] is None


@pytest.mark.parametrize("second", ["validation", "test"])
def test_an_official_split_of_two_parts_is_completed_from_training(second):
    """AffectNet's validation list is what others report on; RAF-DB has a test list and no validation."""
    whole = manifest([30] * 8)
    held = whole["image"].str[5].astype(int) % 3 == 0
    whole.loc[held, "split"] = second
    official = splits.official(whole, seed=0, validation=0.2)
    assert set(official.loc[official["split"] == "test", "image"]) == set(whole.loc[held, "image"])
    training = class_counts(whole, "train")
    assert class_counts(official, "validation").tolist() == [max(1, round(0.2 * count)) for count in training]
    assert official.attrs["protocol"]["drawn"] == "validation"


def test_what_cannot_be_divided_is_refused():
    few = manifest([40, 40, 40, 40, 40, 40, 40, 9])
    refused(r"more than 10 images .* found 9 of contempt", splits.paper_protocol, few, seed=0, per_class=5)
    refused("1 or more, found 0", splits.paper_protocol, few, seed=0, per_class=0)
    refused("at most 9 .the images of the smallest class.", splits.k_fold, few, 10, seed=0)
    refused("at least 3", splits.k_fold, few, 2, seed=0)
    refused("at most 4 .the people.", splits.k_fold, manifest([20] * 8, subjects=4), 5, seed=0)
    refused("found train alone", splits.official, few)
    refused("between 0 and 1, found 1.5", splits.official, few, validation=1.5)
    people = few.assign(label=-1, subject="somebody")
    refused("images with expressions to divide", splits.paper_protocol, people, seed=0)


def test_near_leaks_leave_training_alone():
    """The manifest's own splits count, and those noted with a pair for images that it does not list."""
    table = pd.DataFrame({"image": list("abcd"), "label": 0, "split": ["train", "train", "train", "test"]})
    pairs = [("a", "d", "train", "test"), ("b", "dropped", "train", "validation"), ("c", "a", "test", "train")]
    pairs = pd.DataFrame(pairs, columns=["first", "second", "first_split", "second_split"])
    clean = splits.remove_near_leaks(table, pairs)
    assert clean["image"].tolist() == ["c", "d"] and clean.attrs["near_leaks_removed"] == 2
    refused("pairs with the columns first, second", splits.remove_near_leaks, table, pairs[["first", "second"]])
