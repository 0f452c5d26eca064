"""Splits: Table 3 to the image, every image tested once, nothing that belongs together divided."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fer_utils.core import InputError, paper
from fer_utils.datasets import splits
from fer_utils.datasets.manifest import SPLITS, class_counts

# AffectNet's manually annotated training and validation lists together.
AFFECTNET = (75_374, 134_915, 25_959, 14_590, 6_878, 4_303, 25_382, 4_250)


def make(counts, split="train", subjects=None):
    """A manifest of so many images of each class; its images exist only by name."""
    labels = np.repeat(np.arange(len(counts)), counts)
    images = [f"{number:06d}.jpg" for number in range(len(labels))]
    table = pd.DataFrame({"image": images, "label": labels, "split": split})
    if subjects is not None:
        table["subject"] = [f"person {number % subjects}" for number in range(len(table))]
    table.attrs = {"dataset": "affectnet", "root": "/nowhere", "nested": {"list": [1]}}
    return table


def people(sizes):
    """So many training images of person 0, 1, …, and others in validation and test."""
    subjects = np.random.default_rng(0).permutation(np.repeat(np.arange(len(sizes)), sizes))
    own = pd.DataFrame({"image": [f"i{i}" for i in range(len(subjects))], "subject": subjects})
    others = pd.DataFrame({"image": list("abc"), "subject": [-2, -3, -2]})
    others["split"] = ["test", "validation", "test"]
    parts = [own.iloc[:3], others, own.iloc[3:]]
    table = pd.concat(parts, ignore_index=True).assign(label=-1).fillna({"split": "train"})
    table.attrs = {"dataset": "identities", "root": "/nowhere"}
    return table


def counts_of(folds, split):
    return np.array([class_counts(fold, split) for fold in folds])


def refused(match, function, *args, **kwargs):
    with pytest.raises(InputError, match=match) as error:
        function(*args, **kwargs)
    assert "\n" not in str(error.value)


def test_the_papers_protocol_gives_table_3_to_the_image():
    table = make(AFFECTNET)
    table.loc[table.groupby("label").head(500).index, "split"] = "validation"
    own_test = make([9] * 8, "test").assign(image="t")
    drawn = splits.paper_protocol(pd.concat([table, own_test]), seed=3)
    expected = (paper.TRAINING_COUNTS, paper.VALIDATION_COUNTS, paper.TEST_COUNTS)
    for split, counts in zip(SPLITS, expected, strict=True):
        assert class_counts(drawn, split).tolist() == list(counts)
    assert drawn["image"].equals(table["image"]) and drawn.attrs["root"] == "/nowhere"
    protocol = {"name": "paper", "seed": 3, "per_class": 500, "test_left_out": 72}
    assert drawn.attrs["protocol"] == protocol and "protocol" not in table.attrs


def test_a_draw_depends_on_the_seed_alone_not_on_the_order_of_the_rows():
    table = make([40] * 8, subjects=60)
    shuffled = table.sample(frac=1, random_state=1)
    for protocol in (
        lambda rows, seed: splits.paper_protocol(rows, seed, per_class=5),
        lambda rows, seed: splits.k_fold(rows, 4, seed, groups=[-1] * len(rows))[1],
    ):
        first, again, other = protocol(table, 0), protocol(shuffled, 0), protocol(table, 1)
        assert again["image"].tolist() == shuffled["image"].tolist()
        assert again.sort_values("image")["split"].tolist() == first["split"].tolist()
        assert (first["split"] != other["split"]).any()


def test_nobody_is_on_two_sides():
    table = make([60] * 8, subjects=37)
    folds = splits.k_fold(table, 4, seed=0, groups=[-1] * len(table))
    drawn = splits.paper_protocol(table, seed=0, per_class=6)
    for part in (*folds, drawn):
        assert part.groupby("subject")["split"].nunique().max() == 1
    assert (np.abs(counts_of(folds, "test") - 15) <= 5).all()
    assert (np.abs(counts_of([drawn], "test") - 6) <= 4).all()


@pytest.mark.parametrize("validation", ["next", "inner"])
def test_in_k_folds_every_image_is_tested_once_and_no_group_is_divided(validation):
    counts = np.array([150, 290, 60, 60, 30, 24, 60, 21])
    table = make(counts)
    random = np.random.default_rng(0)
    groups = table["label"].to_numpy() * 100 + random.integers(0, 20, len(table))
    groups[random.random(len(table)) < 0.7] = -1
    folds = splits.k_fold(table, 4, seed=0, validation=validation, groups=groups)
    tested = pd.concat(fold.loc[fold["split"] == "test", "image"] for fold in folds)
    assert sorted(tested) == table["image"].tolist()
    assert (np.ptp(counts_of(folds, "test"), axis=0) <= 1).all(), "stratified"
    for number, fold in enumerate(folds):
        assert fold["duplicate_group"].tolist() == groups.tolist()
        grouped = fold[fold["duplicate_group"] >= 0]
        assert grouped.groupby("duplicate_group")["split"].nunique().max() == 1
        assert 0.15 < (fold.loc[fold["split"] == "test", "duplicate_group"] >= 0).mean() < 0.45
        protocol = {"name": "k_fold", "k": 4, "fold": number, "seed": 0, "validation": validation}
        assert fold.attrs["protocol"] == protocol
    held = counts_of(folds, "validation")
    if validation == "next":
        assert (held == np.roll(counts_of(folds, "test"), -1, axis=0)).all()
    else:
        assert (np.abs(held - 0.75 * counts / 10) <= 1.5).all() and (held >= 1).all()


def test_a_group_of_several_people_and_labels_stays_whole():
    table = make([30, 30, 30], subjects=30)
    groups = np.full(len(table), -1)
    groups[[0, 1, 89]] = 7  # two people, two labels
    fold = splits.k_fold(table, 3, seed=0, groups=groups)[0]
    together = fold["subject"].isin(table["subject"].iloc[[0, 1, 89]])
    assert together.sum() == 9 and fold.loc[together, "split"].nunique() == 1


def test_an_official_split_that_is_whole_stays_as_it_is():
    table = make([30] * 8)
    table["split"] = np.resize(["train", "train", "validation", "test"], len(table))
    official = splits.official(table, seed=5)
    pd.testing.assert_frame_equal(official, table)
    assert official.attrs["protocol"]["drawn"] is None


@pytest.mark.parametrize("second", ["validation", "test"])
def test_an_official_split_of_two_parts_is_completed_from_training(second):
    """AffectNet's validation is what others report on; RAF-DB has a test and no validation."""
    table = make([30] * 7 + [2])
    held = table["image"].str[5].isin(list("0369"))
    table.loc[held, "split"] = second
    official = splits.official(table, seed=0, validation=0.2)
    assert set(official.loc[official["split"] == "test", "image"]) == set(table.image[held])
    training = class_counts(table, "train")
    expected = [min(max(1, round(0.2 * n)), max(n - 1, 0)) for n in training.tolist()]
    assert class_counts(official, "validation").tolist() == expected
    assert official.attrs["protocol"]["drawn"] == "validation"


def test_what_cannot_be_divided_is_refused():
    few, alone = make([40] * 7 + [9]), {"groups": [-1] * 289}
    refused("more than 10 .* found 9 of contempt", splits.paper_protocol, few, 0, per_class=5)
    refused("1 or more .* found 0", splits.paper_protocol, few, 0, per_class=0)
    refused("3 to 9 folds .* contempt has.*found 10", splits.k_fold, few, 10, 0, **alone)
    refused("3 to 9 folds .*found 2", splits.k_fold, few, 2, 0, **alone)
    refused("did you mean 'inner'", splits.k_fold, few, 3, 0, "iner", **alone)
    four = make([20] * 8, subjects=4)
    refused("3 to 4 folds", splits.k_fold, four, 5, 0, groups=[-1] * 160)
    refused("found train alone", splits.official, few)
    refused("between 0 and 1, found 1.5", splits.official, few, validation=1.5)
    held = make([1]).assign(image="x", split="test")
    refused("none .*neutral .*validation", splits.official, pd.concat([make([1]), held]))
    nameless = few.assign(label=-1, subject="somebody")
    refused("images with expressions", splits.paper_protocol, nameless, 0)
    whole = make([9] * 8, subjects=2)
    refused("none with .* for train", splits.paper_protocol, whole, 0, per_class=4)


@pytest.fixture
def twins(tmp_path):
    """Pictures by name, drawn from noise; b, c, f are equal, as d, e are; g is f, brighter."""
    noise = np.random.default_rng(0).integers(0, 200, (7, 40, 40), dtype=np.uint8)
    faces = dict(zip("abcdefg", noise[[0, 1, 1, 3, 3, 1, 1]], strict=True))
    faces["g"] = faces["g"] // 2 + 60
    for name, pixels in faces.items():
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    table = pd.DataFrame({"image": [f"{name}.png" for name in "abcdefg"]})
    table["label"] = [0, -1, 2, 3, -1, 5, 5]
    table["split"] = ["train", "train", "train", "train", "validation", "test", "train"]
    table.attrs = {"dataset": "folder", "root": str(tmp_path)}
    return table


def test_leaks_leave_training_alone(twins):
    """b, c stand in test, d in validation, where it has no label; b has none: it is no loss."""
    clean = splits.remove_training_leaks(twins)
    assert "".join(clean["image"].str[0]) == "aefg" and clean.index.tolist() == [0, 1, 2, 3]
    duplicates = {"test_in_train": 1, "validation_in_train": 1, "test_in_validation": 0}
    assert clean.attrs == {**twins.attrs, "leaks_removed": 2, "duplicates": duplicates}
    assert "leaks_removed" not in twins.attrs and "duplicate_group" not in clean
    marked = twins.assign(fingerprint=list("0112213"))
    marked.attrs = {"dataset": "folder", "root": "/nowhere"}  # no image is opened
    assert splits.remove_training_leaks(marked)["image"].tolist() == clean["image"].tolist()

    near = splits.remove_training_leaks(twins, near=True)
    assert "".join(near["image"].str[0]) == "aef"
    assert (near.attrs["leaks_removed"], near.attrs["near_leaks_removed"]) == (2, 1)
    assert near["duplicate_group"].tolist() == [-1, 1, 0]


def test_k_fold_finds_duplicates_itself(twins):
    table = twins.assign(label=0, subject=range(7))
    for fold in splits.k_fold(table, 3, seed=0):
        assert fold["duplicate_group"].tolist() == [-1, 0, 0, 1, 1, 0, 0]
        assert fold.groupby("duplicate_group")["split"].nunique().max() == 1


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 60), min_size=8, max_size=8).filter(any), st.data())
def test_subset_laws(counts, data):
    counts = np.array(counts)
    present = counts > 0
    images = data.draw(st.integers(int(present.sum()), int(counts.sum())))
    table = pd.concat([make(counts), make([5], "test")], ignore_index=True)
    subset = splits.subsample(table, "train", images, seed=data.draw(st.integers(0, 99)))
    kept = class_counts(subset)
    assert kept.sum() == images and (kept <= counts).all()
    least = np.minimum(np.minimum(counts, splits.MIN_PER_CLASS), images // present.sum())
    assert (kept[present] >= least[present]).all()
    assert subset["image"].iloc[:-5].is_monotonic_increasing
    assert (subset["split"] == "test").sum() == 5


def test_a_subset_is_reproducible_nested_and_recorded():
    table = make([300, 100, 50], "validation")
    one, other = (splits.subsample(table, "validation", 90, seed=seed) for seed in (1, 2))
    assert one.equals(splits.subsample(table, "validation", 90, seed=1)) and not one.equals(other)
    larger = splits.subsample(table, "validation", 180, seed=1)
    assert set(one["image"]) <= set(larger["image"])
    again = splits.subsample(larger, "validation", 90, seed=4)
    assert larger.attrs["subsamples"] == {"validation": {"images": 180, "seed": 1}}
    assert again.attrs["subsamples"] == {"validation": {"images": 90, "seed": 4}}
    again.attrs["nested"]["list"].append(2)
    assert table.attrs["nested"] == {"list": [1]} and "subsamples" not in table.attrs
    rest = splits.without(people([3]), "test")
    assert rest["split"].tolist() == ["train"] * 3 + ["validation"] and rest.attrs["root"]


def test_impossible_subsets_and_too_few_people():
    table = make([20, 20, 20])
    refused("expected 3 .* to 60", splits.subsample, table, "train", 2, seed=0)
    refused("to 60 .* found 61", splits.subsample, table, "train", 61, seed=0)
    refused("'validation', found 5", splits.subsample, table, "validation", 5, seed=0)
    refused("did you mean 'train'", splits.subsample, table, "training", 5, seed=0)
    refused("with subjects, found the columns", splits.hold_out_subjects, table, 0.1, seed=0)
    hold_out, threes = splits.hold_out_subjects, people([3] * 9)
    refused("between 0 and 1, found 0.0", hold_out, threes, 0.0, seed=0)
    refused("found nan", hold_out, threes, float("nan"), seed=0)
    refused("found 9 people", hold_out, threes, 0.9, seed=0)
    refused("found 3 people", hold_out, people([3] * 3), 0.1, seed=0)
    refused("found 6 people, 1 of them", hold_out, people([3, 1, 1, 1, 1, 1]), 0.1, seed=0)


@settings(max_examples=12, deadline=None)
@given(st.lists(st.integers(1, 5), min_size=8, max_size=40), st.sampled_from([0.05, 0.1, 0.3]))
def test_held_out_people_are_whole_and_in_proportion(sizes, fraction):
    sizes = [2, 3, *sizes]
    table = people(sizes)
    split = splits.hold_out_subjects(table, fraction, seed=0)
    trained = split[split["split"] != "validation"]
    assert (trained.groupby("subject")["split"].nunique() == 1).all()
    counts = split.loc[split["split"] == "test", "subject"].value_counts()
    assert counts.to_dict() == {person: sizes[person] for person in counts.index}
    several, single = sum(size > 1 for size in sizes), sum(size == 1 for size in sizes)
    assert (counts > 1).sum() == max(2, round(fraction * several))
    assert (counts == 1).sum() == round(fraction * single)
    assert split["image"].tolist() == table.loc[table["split"] != "test", "image"].tolist()


def test_validation_is_of_known_people_and_test_of_unknown_ones():
    split = splits.hold_out_subjects(people([10] * 8), 0.25, seed=0)
    split = splits.hold_out_within_subjects(split, 0.1, seed=0)
    table = split.groupby("split")["subject"].agg(["size", "nunique"])
    assert table.loc["train"].tolist() == [54, 6] and table.loc["validation"].tolist() == [6, 6]
    assert table.loc["test"].tolist() == [20, 2] and split["subject"].min() == 0
    kept = splits.hold_out_within_subjects(people([10] * 3), 0.1, seed=0)
    assert kept[kept["split"] == "test"]["image"].tolist() == ["a", "c"], "the manifest's own"
    lone = splits.hold_out_within_subjects(people([1] * 9), 0.9, seed=0)
    assert set(lone["split"]) == {"train", "test"}
