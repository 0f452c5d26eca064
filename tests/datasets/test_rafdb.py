"""RAF-DB's list and images against what `trees` wrote by hand."""

import shutil

import pytest

from fer_utils.datasets import read_rafdb
from fer_utils.errors import InputError
from tests.datasets import trees


@pytest.fixture
def root(tmp_path):
    trees.rafdb(tmp_path)
    return tmp_path


def the_list(root):
    return root / "EmoLabel" / "list_patition_label.txt"


def test_rows_labels_and_splits(root):
    manifest = read_rafdb(root)
    assert manifest["image"].tolist() == [f"Image/aligned/{name}_aligned.jpg" for name in trees.RAFDB]
    assert manifest["label"].tolist() == [2, 3, 0, 4, 6]  # sad surprise neutral fear anger, by hand
    assert manifest["split"].tolist() == ["train", "train", "test", "train", "test"]
    assert manifest.attrs == {"dataset": "rafdb", "root": str(root), "bad_images": {"count": 0, "names": []}}


def test_original_images_and_the_right_spelling(root):
    expected = read_rafdb(root)
    the_list(root).rename(root / "EmoLabel" / "list_partition_label.txt")
    assert read_rafdb(root).equals(expected)
    (root / "Image" / "original").mkdir()
    for name in trees.RAFDB:
        shutil.move(root / "Image" / "aligned" / f"{name}_aligned.jpg", root / "Image" / "original" / f"{name}.jpg")
    (root / "Image" / "aligned").rmdir()
    assert read_rafdb(root)["image"].tolist() == [f"Image/original/{name}.jpg" for name in trees.RAFDB]
    shutil.rmtree(root / "Image")
    assert read_rafdb(root, check_images=False).equals(expected.drop(columns="fingerprint"))


@pytest.mark.parametrize(
    "line",
    [
        "train_00009.jpg",
        "train_00009.jpg 0",
        "train_00009.jpg 8",
        "train_00009.jpg happy",
        "val_1.jpg 1",
        "train_1.jpg 1 1",
        "4",
    ],
)
def test_a_malformed_row_is_named(root, line):
    rows = the_list(root).read_text().splitlines()
    the_list(root).write_text("\n".join([*rows[:2], "", line, *rows[2:]]))
    with pytest.raises(InputError, match=f"label.txt row 4: expected a name .* 1 to 7, found '{line}'") as error:
        read_rafdb(root)
    assert "\n" not in str(error.value)


def test_a_name_twice(root):
    with open(the_list(root), "a") as file:
        file.write("train_00002.jpg 3\n")
    with pytest.raises(InputError, match="row 6: expected every image once, found 'train_00002.jpg' in row 2 as well"):
        read_rafdb(root)
