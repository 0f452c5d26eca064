"""FER2013's CSV: rows and pixels against what `trees` wrote, and against torchvision's reader of the same file."""

import hashlib

import numpy as np
import pandas as pd
import pytest
import torchvision

from fer_utils.datasets import FaceDataset, images, load_images, read_fer2013
from fer_utils.errors import InputError
from tests.datasets import trees
from tests.datasets.trees import FACES, FER2013_ROWS, pixel_text


@pytest.fixture
def root(tmp_path):
    trees.fer2013(tmp_path / "fer2013")
    return tmp_path / "fer2013"


def refusal(root, **options):
    with pytest.raises(InputError) as error:
        read_fer2013(root, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


def lines_of(root):
    return (root / "fer2013.csv").read_text().splitlines()


def write(root, lines):
    (root / "fer2013.csv").write_text("\n".join(lines) + "\n")


def test_rows_labels_and_pixels(root):
    manifest = read_fer2013(root)
    assert manifest["image"].tolist() == [0, 1, 2, 3, 4, 5]
    assert manifest["label"].tolist() == [6, 5, 0, 1, 2, 4]  # angry disgust neutral happy sad fear, by hand
    assert manifest["split"].tolist() == ["train", "train", "train", "validation", "test", "train"]
    np.testing.assert_array_equal(load_images(manifest), np.stack([FACES] * 3, axis=-1))
    rows = manifest.iloc[[4, 1]]
    np.testing.assert_array_equal(load_images(rows)[..., 0], FACES[[4, 1]])
    assert manifest.attrs["root"] == str(root) and manifest.attrs["pixels"] == "fer2013.csv"
    assert read_fer2013(root.parent).equals(manifest)  # torchvision's layout


def test_torchvision_reads_the_same(root, monkeypatch):
    md5 = hashlib.md5((root / "fer2013.csv").read_bytes()).hexdigest()
    monkeypatch.setitem(torchvision.datasets.FER2013._RESOURCES, "fer", ("fer2013.csv", md5))
    manifest = read_fer2013(root)
    own_order = [6, 5, 4, 1, 2, 3, 0]  # of torchvision's codes
    for split, rows in (("train", manifest["split"] == "train"), ("test", manifest["split"] != "train")):
        for (image, code), row in zip(
            torchvision.datasets.FER2013(root.parent, split), manifest.index[rows], strict=True
        ):
            np.testing.assert_array_equal(np.asarray(image), load_images(manifest.loc[[row]])[0, ..., 0])
            assert own_order[code] == manifest["label"][row]


def test_names_of_columns_may_begin_with_a_space_and_stand_in_another_order(root):
    expected = read_fer2013(root)
    (root / "fer2013.csv").unlink()
    lines = [f"{code},{usage},{pixel_text(row)}" for row, (code, usage) in enumerate(FER2013_ROWS)]
    (root / "icml_face_data.csv").write_text("\n".join(["emotion, Usage, pixels", *lines]))
    manifest = read_fer2013(root)
    assert manifest.equals(expected) and manifest.attrs["pixels"] == "icml_face_data.csv"
    np.testing.assert_array_equal(load_images(manifest), load_images(manifest, size=48))
    assert load_images(manifest)[5, 3, 2, 0] == FACES[5, 3, 2]


def test_quoted_fields(root):
    expected = load_images(read_fer2013(root))
    header, *rows = lines_of(root)
    write(root, ['"emotion","pixels","Usage"', *('"' + row.replace(",", '","') + '"' for row in rows)])
    np.testing.assert_array_equal(load_images(read_fer2013(root)), expected)


def test_faces_too_many_for_the_memory_are_read_one_by_one(root, monkeypatch):
    monkeypatch.setattr(images, "MEMORY_LIMIT", 0)
    dataset = FaceDataset(read_fer2013(root))
    for place in (5, 0, 3):
        np.testing.assert_array_equal(dataset[place][0][1].numpy(), FACES[place])


def test_a_file_that_changed_is_scanned_anew(root):
    assert len(read_fer2013(root)) == 6
    write(root, lines_of(root)[:4])
    assert len(read_fer2013(root)) == 3


def test_rows_that_are_no_longer_there(root):
    manifest = read_fer2013(root)
    write(root, lines_of(root)[:4])
    with pytest.raises(InputError, match="expected images 0 to 2 in .*fer2013.csv, found none numbered 3"):
        load_images(manifest)
    (root / "fer2013.csv").unlink()
    with pytest.raises(InputError, match="fer2013.csv, found no such file; restore it"):
        load_images(manifest)


PIXELS = pixel_text(0).split()


@pytest.mark.parametrize(
    "text",
    [
        " ".join(PIXELS[:-1]),
        " ".join([*PIXELS, "0"]),
        " ".join(["256", *PIXELS[1:]]),
        " ".join(["-1", *PIXELS[1:]]),
        " ".join(["9" * 30, *PIXELS[1:]]),
        " ".join(["1.5", *PIXELS[1:]]),
        " ".join(["x", *PIXELS[1:]]),
        "",
    ],
)
def test_bad_pixels_are_named_or_skipped(root, text):
    lines = lines_of(root)
    lines[2] = f"1,{text},Training"
    write(root, lines)
    message = refusal(root)
    assert f"{root / 'fer2013.csv'} row 3: expected 2304 pixels, whole numbers from 0 to 255, found" in message
    manifest = read_fer2013(root, on_bad_image="skip")
    assert manifest["image"].tolist() == [0, 2, 3, 4, 5]
    assert manifest.attrs["bad_images"] == {"count": 1, "names": [1]}
    assert len(read_fer2013(root, check_images=False)) == 6


@pytest.mark.parametrize(
    "row, message",
    [
        ("happy,0 0,Training", "expected an emotion, a whole number from 0 to 6, found 'happy'"),
        ("7,0 0,Training", "expected an emotion, a whole number from 0 to 6, found '7'"),
        (",0 0,Training", "expected an emotion, a whole number from 0 to 6, found nothing"),
        ("1,0 0,Trainig", "expected the usage Training, PublicTest, PrivateTest, found 'Trainig'"),
        ("1,0 0", r"expected 3 fields \(emotion, pixels, usage\), found 2 fields beginning '1'"),
        ("1,0,0,Training", "expected 3 fields"),
    ],
)
def test_a_bad_row_is_named(root, row, message):
    write(root, [*lines_of(root)[:2], "", row])
    with pytest.raises(InputError, match=f"fer2013.csv row 4: {message}"):
        read_fer2013(root, check_images=False)


def test_missing_columns_and_files_without_labels(root):
    header, *rows = lines_of(root)
    write(root, ["emotion,pixels", *(row.rpartition(",")[0] for row in rows)])
    assert "found none named Usage but 'emotion, pixels'" in refusal(root)
    (root / "fer2013.csv").rename(root / "train.csv")
    (root / "test.csv").write_text("pixels\n" + pixel_text(0) + "\n")
    assert "found Kaggle's test.csv, which has no labels; take fer2013.csv" in refusal(root)


def test_other_manifests_do_not_mind(root):
    manifest = pd.DataFrame({"image": ["a.png"], "label": [0], "split": ["test"]})
    manifest.attrs = {"root": str(root)}
    with pytest.raises(InputError, match="a.png, found no such file"):
        load_images(manifest)
