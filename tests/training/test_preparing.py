"""From parameters to the manifest of a run: protocols, leaks and bad images, on small trees of noise."""

import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from fer_utils import datasets, runs, splits
from fer_utils.datasets import class_counts, images
from fer_utils.errors import InputError
from fer_utils.training import prepare_manifest
from fer_utils.training.record import image_counts
from tests.datasets import trees

CLASSES = ("neutral", "happy", "sad", "surprise", "fear", "disgust", "anger", "contempt")
PER_CLASS = 10  # of each class and split folder; the first of every split is one picture, the same in all three


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    root = tmp_path_factory.mktemp("tree")
    for place, split in enumerate(("train", "val", "test")):
        for label, name in enumerate(CLASSES):
            for number in range(PER_CLASS):
                seed = 1000 * place + 100 * label + number if number else 100 * label
                trees.picture(root / split / name / f"{number}.png", seed)
    return root


def prepare(root, **changes):
    whole = {"train_images": 0, "validation_images": 0, "test_images": 0}
    return prepare_manifest(runs.parameters({"dataset": "folder", "data": str(root), **whole, **changes}), root)


def pictures(manifest, *names):
    """The pixels, as bytes, of the images of some splits."""
    rows = manifest[manifest["split"].isin(names)]
    return [Image.open(f"{manifest.attrs['root']}/{name}").tobytes() for name in rows["image"]]


def sizes(manifest):
    return manifest["split"].value_counts().to_dict()


def test_a_dataset_with_all_three_splits_stays_what_its_reader_returns(tree):
    read = datasets.read_folder(tree).drop(columns="fingerprint")
    prepared = prepare(tree, remove_leaks=False)
    pd.testing.assert_frame_equal(prepared, read)
    assert prepared.attrs.pop("protocol")["drawn"] is None
    assert prepared.attrs == read.attrs


def test_a_missing_split_is_drawn_with_the_data_seed_alone(tree, tmp_path):
    for split in ("train", "test"):
        shutil.copytree(tree / split, tmp_path / split)
    first, again, other = (prepare(tmp_path, **seeds) for seeds in ({}, {"seed": 5}, {"data_seed": 5}))
    assert class_counts(first, "validation").tolist() == [1] * 8 and sizes(first)["test"] == 80
    assert first.equals(again) and not first.equals(other)


def test_the_papers_protocol_draws_its_quota_from_training_and_validation(tree):
    manifest = prepare(tree, protocol="paper", held_out_per_class=3)
    for split in ("validation", "test"):
        assert class_counts(manifest, split).tolist() == [3] * 8
    assert not manifest["image"].str.startswith("test/").any()
    assert manifest.attrs["protocol"]["test_left_out"] == 80
    assert not manifest.equals(prepare(tree, protocol="paper", held_out_per_class=3, data_seed=1))


def test_every_image_is_tested_in_one_fold(tree):
    folds = [prepare(tree, protocol="k_fold", folds=3, fold=fold, remove_leaks=False) for fold in range(3)]
    tested = pd.concat([fold.loc[fold["split"] == "test", "image"] for fold in folds])
    assert sorted(tested) == sorted(folds[0]["image"]) and len(tested) == 240
    assert [fold.attrs["protocol"]["fold"] for fold in folds] == [0, 1, 2]


@pytest.mark.parametrize(
    "protocol",
    [
        {},
        {"protocol": "paper", "held_out_per_class": 3},
        {"protocol": "k_fold", "folds": 4, "fold": 2},
        {"evaluation": "validation"},
    ],
)
def test_training_loses_the_pictures_that_are_held_out_and_nothing_else_is_lost(tree, protocol):
    kept, clean = (prepare(tree, **protocol, remove_leaks=remove) for remove in (False, True))
    complete = kept if "evaluation" not in protocol else prepare(tree, remove_leaks=False)  # its test split counts too
    held_out = {*pictures(complete, "validation", "test")}
    leaked = sum(picture in held_out for picture in pictures(kept, "train"))
    assert clean.attrs["leaks_removed"] == leaked > 0 and "leaks_removed" not in kept.attrs
    assert not held_out & {*pictures(clean, "train")} and len(clean) == len(kept) - leaked
    assert pictures(clean, "validation", "test") == pictures(kept, "validation", "test")
    assert "test" not in sizes(clean) or "evaluation" not in protocol


def test_sizes_count_what_is_left_without_leaks(tree):
    assert sizes(prepare(tree, train_images=72)) == {"train": 72, "validation": 80, "test": 80}
    with pytest.raises(InputError, match="to 72 .* found 73") as error:
        prepare(tree, train_images=73)
    assert "\n" not in str(error.value)


def test_every_image_is_decoded_once(tree, monkeypatch):
    opened = []
    load_image = images.load_image
    monkeypatch.setattr(images, "load_image", lambda path: opened.append(path) or load_image(path))
    shutil.rmtree(tree / ".cache", ignore_errors=True)  # what an earlier run remembers
    manifest = prepare(tree, protocol="paper", held_out_per_class=3)
    assert len(opened) == len({*opened}) == 240 and "fingerprint" not in manifest
    again = prepare(tree, protocol="paper", held_out_per_class=3)
    assert len(opened) == 240 and again.equals(manifest)


def test_the_runs_numbers_name_protocol_and_leaks(tree):
    manifest = prepare(tree, protocol="k_fold", folds=3, fold=1)
    counts = image_counts(manifest)
    assert counts["protocol"] == "k_fold" and counts["leaks_removed"] == manifest.attrs["leaks_removed"] > 0
    assert {name: counts[f"{name}_images"] for name in ("train", "validation", "test")} == sizes(manifest)
    assert "near_leaks_removed" not in counts
    leak, other = (manifest.loc[manifest["split"] == split].iloc[0] for split in ("train", "test"))
    pair = {"first": leak["image"], "second": other["image"], "first_split": "train", "second_split": "test"}
    assert image_counts(splits.remove_near_leaks(manifest, pd.DataFrame([pair])))["near_leaks_removed"] == 1


def test_bad_images_stop_the_run_or_are_counted(tree, tmp_path):
    shutil.copytree(tree, tmp_path, dirs_exist_ok=True)
    (tmp_path / "train/sad/4.png").write_bytes(b"<html>not found</html>")
    with pytest.raises(InputError, match="train/sad/4.png.*cannot be decoded") as error:
        prepare(tmp_path)
    assert "\n" not in str(error.value)
    manifest = prepare(tmp_path, on_bad_image="skip")
    assert manifest.attrs["bad_images"] == {"count": 1, "names": ["train/sad/4.png"]}
    assert class_counts(manifest).tolist() == [9, 9, 8, *[9] * 5]


@pytest.fixture
def ferplus(tmp_path):
    """FER+ in which the test image's pixels also stand in training."""
    trees.ferplus(tmp_path)
    shutil.copy(tmp_path / "data/FER2013Test/fer3.png", tmp_path / "data/FER2013Train/fer1.png")
    return tmp_path


@pytest.mark.parametrize("remove_leaks", [True, False])
def test_ferplus_by_its_own_split_is_its_readers(ferplus, remove_leaks):
    read = datasets.read_ferplus(ferplus, remove_leaks=remove_leaks).drop(columns="fingerprint")
    prepared = prepare(ferplus, dataset="ferplus", remove_leaks=remove_leaks)
    pd.testing.assert_frame_equal(prepared, read)
    del prepared.attrs["protocol"]
    assert prepared.attrs == read.attrs and prepared.attrs["leaks_removed"] == remove_leaks


def test_the_label_rule_reaches_ferplus_reader(ferplus):
    rows = prepare(ferplus, dataset="ferplus", label_rule="probability")
    assert rows.attrs["label_rule"] == "probability"
    np.testing.assert_array_equal(
        rows["votes_neutral"], datasets.read_ferplus(ferplus, label_rule="probability")["votes_neutral"]
    )


@pytest.mark.parametrize(
    "values",
    [
        {"dataset": "synthetic"},
        {"dataset": "identities", "target": "subject", "data": "people"},
        {"dataset": "folder", "target": "subject", "data": "people"},
    ],
)
def test_what_no_protocol_divides_is_refused(values):
    with pytest.raises(InputError, match="protocol='paper' divides a dataset of real expressions, found") as error:
        runs.parameters({**values, "protocol": "paper"})
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"protocol": "kfold"}, "unknown protocol 'kfold'; did you mean 'k_fold'"),
        ({"protocol": "k_fold", "folds": 2}, "'folds' must be at least 3"),
        ({"protocol": "k_fold", "folds": 3, "fold": 3}, "'fold' must be below folds"),
        ({"held_out_per_class": 0}, "'held_out_per_class' must be at least 1"),
        ({"on_bad_image": "ignore"}, "unknown on_bad_image 'ignore'"),
        ({"label_rule": "majorty"}, "unknown label_rule 'majorty'; did you mean 'majority'"),
        ({"protocol": "paper", "held_out_per_class": 10}, "expected more than 20 images of each class"),
        ({"protocol": "k_fold", "folds": 31}, "at most 30"),
    ],
)
def test_a_bad_protocol_is_one_line(tree, changes, message):
    with pytest.raises(InputError) as error:
        prepare(tree, **changes)
    assert message in str(error.value) and "\n" not in str(error.value)
