"""Folders of people on tiny trees of noise images, and LFW itself where LFW names its folder."""

import os
import zipfile

import numpy as np
import pytest
from PIL import Image

from fer_utils.datasets import read_dataset, read_identities, sample_people
from fer_utils.datasets.manifest import check_manifest, class_counts, read_manifest, write_manifest
from fer_utils.errors import InputError

PEOPLE = {"Ada_Lovelace": 3, "Bo": 1, "Çelik Ö": 2}


def draw(path, number=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(path)


def grow(root, people, ending="jpg"):
    for person, images in people.items():
        for number in range(images):
            draw(root / person / f"{number:04d}.{ending}", number)
    return root


def test_a_folder_a_person(tmp_path):
    grow(tmp_path, PEOPLE)
    (tmp_path / "Bo" / "notes.txt").write_text("no image")
    manifest = check_manifest(read_identities(tmp_path))
    assert list(manifest) == ["image", "label", "split", "subject", "fingerprint"]
    assert manifest["subject"].value_counts().to_dict() == PEOPLE
    assert manifest["image"].tolist() == sorted(manifest["image"]) and manifest["image"][0] == "Ada_Lovelace/0000.jpg"
    assert (manifest["label"] == -1).all() and (manifest["split"] == "train").all()
    assert class_counts(manifest).sum() == 0
    assert manifest.attrs == {
        "dataset": "identities",
        "root": str(tmp_path.resolve()),
        "min_images": 1,
        "people": 3,
        "people_left_out": 0,
        "images_left_out": 0,
        "bad_images": {"count": 0, "names": []},
    }
    write_manifest(manifest, tmp_path / "manifest.parquet")
    again = read_manifest(tmp_path / "manifest.parquet")
    assert again.equals(manifest) and again.attrs == manifest.attrs


@pytest.mark.parametrize("above", ["", "data", "VGGFace2/data"])
def test_split_folders_and_nesting(tmp_path, above):
    grow(tmp_path / above / "train", {"n000002": 2, "n000003": 1})
    grow(tmp_path / above / "test", {"n000001": 2})
    manifest = read_identities(tmp_path)
    assert manifest.groupby("split")["subject"].unique().map(sorted).to_dict() == {
        "train": ["n000002", "n000003"],
        "test": ["n000001"],
    }
    for image in manifest["image"]:  # relative to the folder that was given
        assert (tmp_path / image).is_file()


@pytest.mark.parametrize("above", ["train", "test", "data/train", "lfw", "a/b/c"])
def test_one_folder_above_is_no_split(tmp_path, above):
    grow(tmp_path / above, PEOPLE)
    manifest = read_identities(tmp_path)
    assert (manifest["split"] == "train").all() and manifest["subject"].value_counts().to_dict() == PEOPLE


def test_people_with_few_images_stay_out_and_are_counted(tmp_path):
    manifest = read_identities(grow(tmp_path, PEOPLE | {"Di": 2, "Eve": 1}), min_images=2)
    assert set(manifest["subject"]) == {"Ada_Lovelace", "Çelik Ö", "Di"} and manifest.index.tolist() == list(range(7))
    counted = {name: manifest.attrs[name] for name in ("min_images", "people", "people_left_out", "images_left_out")}
    assert counted == {"min_images": 2, "people": 3, "people_left_out": 2, "images_left_out": 2}


def test_endings_hidden_files_and_loops_of_links(tmp_path):
    for name in ("a/1.JPG", "a/2.png", "b/1.jpeg", "b/2.bmp"):
        draw(tmp_path / name)
    (tmp_path / "a" / ".hidden.jpg").write_bytes(b"")
    (tmp_path / "__MACOSX" / "a").mkdir(parents=True)
    (tmp_path / "__MACOSX" / "a" / "1.jpg").write_bytes(b"")
    (tmp_path / "b" / "up").symlink_to(tmp_path, target_is_directory=True)
    assert read_identities(tmp_path)["image"].tolist() == ["a/1.JPG", "a/2.png", "b/1.jpeg", "b/2.bmp"]


@pytest.mark.parametrize("content", [b"", b"<html>not found</html>", None])
def test_an_unreadable_image_is_named_unless_nothing_is_opened(tmp_path, content):
    grow(tmp_path, PEOPLE)
    broken = tmp_path / "Bo" / "0000.jpg"
    broken.write_bytes(broken.read_bytes()[:-40] if content is None else content)  # None: truncated
    with pytest.raises(InputError, match="readable image at .*Bo/0000.jpg") as error:
        read_identities(tmp_path)
    assert "\n" not in str(error.value)
    assert len(read_identities(tmp_path, check_images=False)) == 6
    assert len(read_identities(tmp_path, min_images=2)) == 5  # of no use, so of no harm
    skipped = read_identities(tmp_path, on_bad_image="skip")
    assert len(skipped) == 5 and skipped.attrs["bad_images"] == {"count": 1, "names": ["Bo/0000.jpg"]}


def absent(root):
    return root / "nowhere"


def empty(root):
    return root


def archive(root):
    with zipfile.ZipFile(root / "lfw.zip", "w") as file:
        file.writestr("a/1.jpg", b"")
    return root / "lfw.zip"


def text(root):
    (root / "readme.txt").write_text("")
    return root


def flat(root):
    draw(root / "1.jpg")
    return root


def stray(root):
    draw(grow(root, PEOPLE) / "overview.png")
    return root


def deep(root):
    grow(root, PEOPLE)
    draw(root / "Bo" / "2019" / "1.jpg")
    return root


def alone(root):
    return grow(root, {"Ada": 3})


def classes(root):
    return grow(root, {"angry": 1, "Happy": 2, "sad": 1, "surprise": 1, "other": 1})


def split_classes(root):
    grow(root / "test", {"happiness": 2, "sadness": 1})
    grow(root / "train", {"happiness": 2, "sadness": 1})
    return root


def both(root):
    grow(root / "test", {"Ada": 1, "Bo": 1, "Cy": 1})
    grow(root / "train", {"Ada": 3, "Bo": 1})
    return root


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (absent, "found no such folder; check the path"),
        (empty, "found an empty folder"),
        (archive, "found an archive; unpack it"),
        (text, "found no image but readme.txt"),
        (flat, r"found 1.jpg outside them; move it to its person"),
        (stray, "found overview.png outside them"),
        (deep, "found Bo/2019/1.jpg deeper; give the folder of the people"),
        (alone, "found 'Ada' alone; give the folder above"),
        (classes, r"found classes of expression \(Happy, angry, sad, …\)"),
        (split_classes, r"found classes of expression \(happiness, sadness, …\)"),
        (both, r"found 'Ada' \(and 1 more\) in both; give the train folder"),
    ],
)
def test_what_is_no_folder_of_people(tmp_path, make, message):
    with pytest.raises(InputError, match=message) as error:
        read_identities(make(tmp_path))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("min_images", "message"),
    [
        (3, r"at least 3 images each at .*, found 1 among 3 \(3 images at most\); lower min_images"),
        (9, "found 0 among 3"),
        (0, "at least 1; found 0"),
        (True, "found True"),
        (1.5, "found 1.5"),
    ],
)
def test_impossible_numbers_of_images(tmp_path, min_images, message):
    with pytest.raises(InputError, match=message):
        read_identities(grow(tmp_path, PEOPLE), min_images=min_images)


def test_read_by_name(tmp_path):
    grow(tmp_path, PEOPLE)
    assert len(read_dataset("identities", tmp_path, min_images=2, check_images=False)) == 5
    with pytest.raises(
        InputError, match="unknown option of dataset 'identities' 'min_image'; did you mean 'min_images'"
    ):
        read_dataset("identities", tmp_path, min_image=2)


def test_samples_of_people(tmp_path):
    manifest = read_identities(grow(tmp_path, {"a": 5, "b": 1, "c": 4, "d": 6}))
    rows = sample_people(manifest, people=3, per_person=4, seed=1)
    assert rows["subject"].tolist() == [*"aaaa", *"cccc", *"dddd"] and rows.attrs == manifest.attrs
    assert rows["image"].is_unique
    assert sample_people(manifest, 3, 4, seed=1).equals(rows) and not sample_people(manifest, 3, 4, seed=2).equals(rows)
    assert sample_people(manifest, people=9, per_person=9)["subject"].value_counts().to_dict() == dict(
        a=5, b=1, c=4, d=6
    )


@pytest.mark.skipif("LFW" not in os.environ, reason="LFW=/folder names no copy of the face crops")
def test_lfw():
    manifest = read_identities(os.environ["LFW"])
    assert len(manifest) == 12_794 and manifest.attrs["people"] == 5_616
    assert manifest["subject"].value_counts().index[0] == "George_W_Bush"
