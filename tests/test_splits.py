import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fer_utils.datasets.manifest import class_counts
from fer_utils.errors import InputError
from fer_utils.expressions import NUM_CLASSES
from fer_utils.splits import MIN_PER_CLASS, count_duplicates, find_training_leaks, remove_training_leaks, subsample

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
