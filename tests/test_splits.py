import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fer_utils.datasets.manifest import class_counts
from fer_utils.errors import InputError
from fer_utils.expressions import NUM_CLASSES
from fer_utils.splits import (
    MIN_PER_CLASS,
    count_duplicates,
    find_training_leaks,
    hold_out_subjects,
    hold_out_within_subjects,
    remove_training_leaks,
    subsample,
)

SPLITS = ["train", "validation", "test"]
some_images = st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from(SPLITS)), max_size=30)


def split_manifest(counts, split="train", shuffle=0):
    labels = np.random.default_rng(shuffle).permutation(np.repeat(np.arange(len(counts)), counts))
    other = pd.DataFrame({"image": [f"o{i}" for i in range(5)], "label": 0, "split": "test"})
    own = pd.DataFrame({"image": [f"i{i}" for i in range(len(labels))], "label": labels, "split": split})
    manifest = pd.concat([own.iloc[:3], other, own.iloc[3:]], ignore_index=True)
    manifest.attrs = {"dataset": "folder", "root": "/faces", "nested": {"list": [1]}}
    return manifest


@settings(deadline=None)
@given(some_images)
def test_duplicates_and_leaks_against_a_double_loop(rows):
    hashes, splits = [row[0] for row in rows], [row[1] for row in rows]

    def twin(row, split):
        return any(pixels == row[0] and other == split for pixels, other in rows)

    for one, other in (("test", "train"), ("validation", "train"), ("test", "validation")):
        expected = sum(row[1] == one and twin(row, other) for row in rows)
        assert count_duplicates(hashes, splits)[f"{one}_in_{other}"] == expected
    leaked = [row[1] == "train" and (twin(row, "validation") or twin(row, "test")) for row in rows]
    assert find_training_leaks(hashes, pd.Series(splits, dtype=object)).tolist() == leaked


def test_removing_leaks():
    manifest = pd.DataFrame({"image": list("abcdef"), "label": [0, -1, 2, 3, -1, 5]})
    manifest["split"] = ["train", "train", "train", "train", "validation", "test"]
    manifest.attrs = {"dataset": "folder", "root": "/faces"}
    # b and c stand in test, d in validation where it has no label; b has none itself, so training does not lose it.
    clean = remove_training_leaks(manifest, ["0", "1", "1", "2", "2", "1"])
    assert clean["image"].tolist() == ["a", "e", "f"] and clean.index.tolist() == [0, 1, 2]
    assert clean.attrs == {
        "dataset": "folder",
        "root": "/faces",
        "leaks_removed": 2,
        "duplicates": {"test_in_train": 1, "validation_in_train": 1, "test_in_validation": 0},
    }
    assert manifest.attrs == {"dataset": "folder", "root": "/faces"} and len(manifest) == 6
    with pytest.raises(InputError, match="each of 6 rows, found 1"):
        remove_training_leaks(manifest, ["0"])


@pytest.mark.parametrize(
    "counts, images, expected",
    [
        ([500, 300, 200], 100, [50, 30, 20]),
        ([500, 300, 200], 101, [51, 30, 20]),  # 50.5, 30.3, 20.2: the largest remainder gets the odd image
        ([0, 500, 0, 0, 0, 500], 20, [0, 10, 0, 0, 0, 10]),
        ([960, 20, 20], 100, [84, 8, 8]),  # 96, 2, 2: the small ones are raised to 8
        ([900, 60, 4], 100, [88, 8, 4]),  # 93.4, 6.2, 0.4: all four of the last, and 8 of the second
        ([1000, 1000, 10], 3, [1, 1, 1]),
        ([1000, 1000, 10], 20, [7, 7, 6]),  # too few for 8 each: an equal share, 6, at least
        ([10, 20, 30], 60, [10, 20, 30]),
    ],
)
def test_quotas_worked_by_hand(counts, images, expected):
    subset = subsample(split_manifest(counts), "train", images, seed=0)
    assert class_counts(subset).tolist() == expected + [0] * (NUM_CLASSES - len(expected))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 60), min_size=8, max_size=8).filter(any), st.data(), st.integers(0, 2**32 - 1))
def test_subset_laws(counts, data, seed):
    counts = np.array(counts)
    present = counts > 0
    images = data.draw(st.integers(int(present.sum()), int(counts.sum())))
    manifest = split_manifest(counts)
    subset = subsample(manifest, "train", images, seed)
    kept = class_counts(subset)
    assert kept.sum() == images
    assert (kept <= counts).all()
    assert (kept[present] >= np.minimum(np.minimum(counts[present], MIN_PER_CLASS), images // present.sum())).all()
    order = np.argsort(counts)
    assert (np.diff(kept[order]) >= 0).all() or (np.diff(counts[order]) == 0).any()  # a larger class keeps no fewer
    positions = [manifest.index[manifest["image"] == image][0] for image in subset["image"]]
    assert positions == sorted(positions)
    assert (subset["split"] == "test").sum() == 5


def test_a_subset_is_reproducible_seeded_and_nested():
    manifest = split_manifest([300, 100, 50])
    one = subsample(manifest, "train", 90, seed=1)
    assert one.equals(subsample(manifest, "train", 90, seed=1))
    assert not one.equals(subsample(manifest, "train", 90, seed=2))
    larger = subsample(manifest, "train", 180, seed=1)
    assert set(one["image"]) <= set(larger["image"])


def test_attrs_say_so_and_are_not_shared():
    manifest = split_manifest([30, 30], split="validation")
    subset = subsample(manifest, "validation", 20, seed=3)
    again = subsample(subset, "test", 2, seed=4)
    assert again.attrs["subsamples"] == {
        "validation": {"images": 20, "seed": 3},
        "test": {"images": 2, "seed": 4},
    }
    again.attrs["nested"]["list"].append(2)
    assert manifest.attrs == {"dataset": "folder", "root": "/faces", "nested": {"list": [1]}}
    assert list(subset.attrs["subsamples"]) == ["validation"]
    assert again.index.tolist() == list(range(22))


@pytest.mark.parametrize(
    "split, images, message",
    [
        ("train", 2, r"subset of 3 \(an image of each class\) to 60"),
        ("train", 61, "to 60 .* found 61"),
        ("train", -1, "found -1"),
        ("validation", 5, "found 5"),
        ("training", 5, "did you mean 'train'"),
    ],
)
def test_impossible_subsets(split, images, message):
    with pytest.raises(InputError, match=message):
        subsample(split_manifest([20, 20, 20]), split, images, seed=0)


def people_manifest(sizes, shuffle=0):
    """People 0, 1, … with so many images each, in random order, and two strangers in a test and a validation split."""
    subjects = np.random.default_rng(shuffle).permutation(np.repeat(np.arange(len(sizes)), sizes))
    own = pd.DataFrame({"image": [f"i{i}" for i in range(len(subjects))], "split": "train", "subject": subjects})
    others = pd.DataFrame({"image": list("abc"), "split": ["test", "validation", "test"], "subject": [-1, -2, -1]})
    manifest = pd.concat([own.iloc[:3], others, own.iloc[3:]], ignore_index=True).assign(label=-1)
    manifest.attrs = {"dataset": "identities", "root": "/faces"}
    return manifest


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 5), min_size=8, max_size=40), st.sampled_from([0.05, 0.1, 0.3]), st.integers(0, 99))
def test_held_out_people_are_whole_and_in_proportion(sizes, fraction, seed):
    sizes = [2, 3, *sizes]
    manifest = people_manifest(sizes)
    split = hold_out_subjects(manifest, fraction, seed)
    by_person = split[split["split"] != "validation"].groupby("subject")["split"].nunique()
    assert (by_person == 1).all()
    held_out = split.loc[split["split"] == "test", "subject"]
    counts = held_out.value_counts()
    assert counts.to_dict() == {person: sizes[person] for person in counts.index}
    several, single = sum(size > 1 for size in sizes), sum(size == 1 for size in sizes)
    assert (counts > 1).sum() == max(2, round(fraction * several)) and (counts == 1).sum() == round(fraction * single)
    kept = manifest[manifest["split"] != "test"]
    assert split["image"].tolist() == kept["image"].tolist() and split.attrs == manifest.attrs
    assert hold_out_subjects(manifest, fraction, seed).equals(split)


def test_other_people_for_another_seed():
    manifest = people_manifest([3] * 30)
    chosen = [set(hold_out_subjects(manifest, 0.2, seed).query("split == 'test'")["subject"]) for seed in range(4)]
    assert len({frozenset(people) for people in chosen}) == 4


def test_validation_is_of_known_people_and_strangers_stay_strangers():
    split = hold_out_within_subjects(hold_out_subjects(people_manifest([10] * 8), 0.25, seed=0), 0.1, seed=0)
    people = split.groupby("split")["subject"].agg(["size", "nunique"])
    assert people.loc["train"].tolist() == [54, 6] and people.loc["validation"].tolist() == [6, 6]
    assert people.loc["test"].tolist() == [20, 2] and split["subject"].min() == 0  # the manifest's own are dropped


def test_without_people_held_out_the_manifests_own_test_people_stay():
    split = hold_out_within_subjects(people_manifest([10] * 3), 0.1, seed=0)
    assert split[split["split"] == "test"]["image"].tolist() == ["a", "c"] and "b" not in set(split["image"])
    alone = people_manifest([10] * 3).query("split == 'train'")
    again = hold_out_within_subjects(alone, 0.1, seed=0)
    assert again.equals(split[split["split"] != "test"].reset_index(drop=True))  # the draws know nothing of them


@pytest.mark.parametrize(
    ("sizes", "fraction", "message"),
    [
        ([3] * 9, 0.0, "between 0 and 1, found 0.0"),
        ([3] * 9, 1.0, "between 0 and 1, found 1.0"),
        ([3] * 9, float("nan"), "found nan"),
        ([3, 1, 1, 1, 1, 1], 0.1, "found 6, 1 of them with two images or more"),
        ([3, 3, 3], 0.1, "to train on two others, found 3, 3 of them"),
        ([3] * 9, 0.9, "to train on two others"),
    ],
)
def test_people_too_few_to_hold_out(sizes, fraction, message):
    with pytest.raises(InputError, match=message) as error:
        hold_out_subjects(people_manifest(sizes), fraction, seed=0)
    assert "\n" not in str(error.value)


def test_people_need_a_dataset_that_knows_them():
    for hold_out in (hold_out_subjects, hold_out_within_subjects):
        with pytest.raises(InputError, match="expected a manifest with subjects, found the columns"):
            hold_out(split_manifest([9, 9]), 0.1, seed=0)
