"""FER+ on tiny trees of noise images with labels worked out by hand, and on the real folder where FERPLUS names it."""

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from fer_utils.datasets import class_counts, read_ferplus
from fer_utils.datasets.ferplus import majority_labels
from fer_utils.datasets.manifest import check_manifest
from fer_utils.errors import InputError

# Votes in FER+'s order (neutral happiness surprise sadness anger disgust fear contempt unknown NF) and, by hand,
# the label in our order (0 neutral, 1 happy, 2 sad, 3 surprise, 4 fear, 5 disgust, 6 anger, 7 contempt, −1 none).
WORKED = [
    ("10 0 0 0 0 0 0 0 0 0", 0),
    ("0 10 0 0 0 0 0 0 0 0", 1),
    ("0 0 10 0 0 0 0 0 0 0", 3),
    ("0 0 0 10 0 0 0 0 0 0", 2),
    ("0 0 0 0 10 0 0 0 0 0", 6),
    ("0 0 0 0 0 10 0 0 0 0", 5),
    ("0 0 0 0 0 0 10 0 0 0", 4),
    ("0 0 0 0 0 0 0 10 0 0", 7),
    ("0 0 0 0 0 0 0 0 10 0", -1),  # unknown
    ("0 0 0 0 0 0 0 0 0 10", -1),  # no face
    ("5 5 0 0 0 0 0 0 0 0", -1),  # a tie
    ("4 1 1 1 1 1 1 0 0 0", 0),  # single votes count as none: 4 of 4
    ("4 0 0 2 2 0 0 0 0 2", -1),  # 4 of 10
    ("4 0 0 2 2 0 0 0 1 1", -1),  # 4 of 8: half is not more than half
    ("5 0 0 2 2 0 0 0 1 0", 0),  # 5 of 9
    ("4 0 0 0 0 0 0 0 4 2", -1),  # "unknown" and "no face" count among the rest: 4 of 10, not 4 of 4
    ("0 0 3 0 0 0 0 0 2 0", 3),  # 3 of 5
    ("1 1 1 1 1 1 1 1 1 1", -1),  # nothing left
]


@pytest.mark.parametrize("votes, label", WORKED)
def test_majority_rule(votes, label):
    assert majority_labels(np.array([votes.split()], dtype=int)).tolist() == [label]


HAPPY, SAD, TIE = "0 9 0 0 0 0 0 0 1 0", "0 0 0 8 2 0 0 0 0 0", "5 5 0 0 0 0 0 0 0 0"
# (name, picture number, votes): equal numbers are equal pictures.
TREE = {
    "FER2013Train": [
        ("fer0.png", 0, HAPPY),
        ("fer1.png", 1, SAD),  # stands in test
        ("fer2.png", 2, HAPPY),  # stands in validation, where the majority rule drops it
        ("fer3.png", 3, TIE),  # stands in test, but is not usable here
        ("fer4.png", 4, SAD),
        ("fer5.png", 4, HAPPY),  # twice in train: no leak
    ],
    "FER2013Valid": [("fer6.png", 2, TIE), ("fer7.png", 7, HAPPY), ("fer8.png", 8, SAD)],
    "FER2013Test": [("fer9.png", 1, HAPPY), ("fer10.png", 3, SAD), ("fer11.png", 8, SAD), ("fer12.png", 8, HAPPY)],
}


@pytest.fixture
def root(tmp_path):
    pictures = np.random.default_rng(0).integers(0, 256, (9, 12, 10), dtype=np.uint8)
    for folder, rows in TREE.items():
        (tmp_path / "data" / folder).mkdir(parents=True)
        lines = []
        for name, picture, votes in rows:
            Image.fromarray(pictures[picture]).save(tmp_path / "data" / folder / name)
            lines.append(f'{name},"(1, 2, 10, 12)",{votes.replace(" ", ",")}\n')
        (tmp_path / "data" / folder / "label.csv").write_text("".join(lines))
    return tmp_path


def images(manifest, split="train"):
    return [image.split("/")[1] for image in manifest["image"][manifest["split"] == split]]


def test_rows_labels_and_columns(root):
    manifest = read_ferplus(root, remove_leaks=False)
    assert check_manifest(manifest) is manifest
    assert images(manifest, "train") == ["fer0.png", "fer1.png", "fer2.png", "fer4.png", "fer5.png"]
    assert images(manifest, "validation") == ["fer7.png", "fer8.png"]
    assert images(manifest, "test") == ["fer9.png", "fer10.png", "fer11.png", "fer12.png"]
    assert manifest["label"].tolist() == [1, 2, 1, 2, 1] + [1, 2] + [1, 2, 2, 1]
    assert manifest["image"][0] == "FER2013Train/fer0.png"
    row = manifest.iloc[1]
    assert row[["box_x", "box_y", "box_width", "box_height"]].tolist() == [1, 2, 10, 12]
    assert (row["votes_sad"], row["votes_anger"], row["votes_happy"]) == (8, 2, 0)
    assert manifest.attrs["root"] == str(root / "data")


def test_leaks_leave_training_only(root):
    manifest = read_ferplus(root)
    assert images(manifest) == ["fer0.png", "fer4.png", "fer5.png"]
    assert len(images(manifest, "validation")) == 2 and len(images(manifest, "test")) == 4
    assert manifest.index.tolist() == list(range(9))
    assert manifest.attrs["leaks_removed"] == 2  # fer1 and fer2; fer3 was never usable
    # Over all listed images: fer9 and fer10; fer6; fer11 and fer12.
    expected = {"test_in_train": 2, "validation_in_train": 1, "test_in_validation": 2}
    assert manifest.attrs["duplicates"] == expected
    kept = read_ferplus(root, remove_leaks=False)
    assert (kept.attrs["leaks_removed"], kept.attrs["duplicates"]) == (0, expected)


def test_lists_can_be_read_without_images(root):
    for image in root.rglob("*.png"):
        image.unlink()
    manifest = read_ferplus(root, check_images=False)
    assert len(manifest) == 11
    assert manifest.attrs["leaks_removed"] is None and "duplicates" not in manifest.attrs
    with pytest.raises(InputError, match="13 absent, the first .*fer0.png"):
        read_ferplus(root, check_images=False, remove_leaks=True)


def test_either_folder_gives_the_same_manifest(root):
    one, other = read_ferplus(str(root)), read_ferplus(root / "data")
    assert one.equals(other) and one.attrs == other.attrs


def test_bom_crlf_and_blank_lines(root):
    path = root / "data" / "FER2013Valid" / "label.csv"
    expected = read_ferplus(root)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n") + b"\r\n")
    assert read_ferplus(root).equals(expected)


def refusal(root):
    with pytest.raises(InputError) as error:
        read_ferplus(root)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_no_folder_empty_folder_archive_file(root, tmp_path):
    assert "no such folder" in refusal(tmp_path / "absent")
    (tmp_path / "empty").mkdir()
    assert "found an empty folder" in refusal(tmp_path / "empty")
    archive = shutil.make_archive(str(tmp_path / "ferplus"), "zip", root / "data" / "FER2013Valid")
    assert "found an archive; unpack it" in refusal(archive)
    (tmp_path / "notes.txt").write_text("x")
    assert "found a file; give the folder" in refusal(tmp_path / "notes.txt")


@pytest.mark.parametrize(
    "paths, found",
    [
        (["training.csv", "validation.csv"], "what looks like AffectNet"),
        (["Manually_Annotated_Images/1/a.jpg"], "what looks like AffectNet"),
        (["train_set/images/0.jpg", "val_set/images/0.jpg"], "what looks like AffectNet"),
        (["EmoLabel/list_patition_label.txt", "Image/aligned/train_00001_aligned.jpg"], "what looks like RAF-DB"),
        (["fer2013.csv"], "FER2013's csv"),
        (["Happy/1.jpg", "sad/1.jpg"], "class folders"),
        (["train/happiness/1.jpg", "train/anger/1.jpg"], "class folders"),
        (["a.txt", "b.txt", "c.txt", "d.txt"], "found a.txt, b.txt, c.txt, …; check the path"),
    ],
)
def test_another_dataset_is_named(tmp_path, paths, found):
    for path in paths:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    assert found in refusal(tmp_path)


def test_one_level_too_high(root, tmp_path):
    (tmp_path / "above").mkdir()
    shutil.move(root / "data", tmp_path / "above" / "data")
    assert f"one level deeper; give {tmp_path / 'above' / 'data'}" in refusal(tmp_path)


def test_missing_parts_are_named(root):
    (root / "data" / "FER2013Test" / "label.csv").unlink()
    assert "found no label.csv in" in refusal(root) and "FER2013Test" in refusal(root)
    shutil.rmtree(root / "data" / "FER2013Test")
    assert "found no folder FER2013Test" in refusal(root)


def test_absent_images_are_counted(root):
    (root / "data" / "FER2013Train" / "fer4.png").unlink()
    (root / "data" / "FER2013Test" / "fer9.png").unlink()
    message = refusal(root)
    assert "2 absent" in message and "FER2013Train/fer4.png" in message


@pytest.mark.parametrize("damage", [lambda data: data[: len(data) // 2], lambda data: b"", lambda data: b"no image"])
def test_a_damaged_image_is_named(root, damage):
    path = root / "data" / "FER2013Valid" / "fer7.png"
    path.write_bytes(damage(path.read_bytes()))
    assert "expected a readable image at" in refusal(root) and "fer7.png" in refusal(root)


@pytest.mark.parametrize(
    "line",
    [
        'fer8.png,"(0, 0, 48, 48)",1,2,3',
        'fer8.png,"(0, 0, 48, 48)",1,2,3,0,0,0,0,0,0,x',
        'fer8.png,"(0, 0, 48, 48)",1,2,3,0,0,0,0,0,0,-1',
        'fer8.png,"(0, 0, 48)",1,2,3,0,0,0,0,0,0,0',
        'fer8.png,"(0, 0, 48, 48)",1,2,3,0,0,0,0,0,0,99999999999999999999',
        ',"(0, 0, 48, 48)",1,2,3,0,0,0,0,0,0,0',
        "fer8.png",
    ],
)
def test_a_malformed_row_is_named(root, line):
    path = root / "data" / "FER2013Valid" / "label.csv"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:2], line]) + "\n")
    message = refusal(root)
    assert f"{path} row 3" in message and "10 vote counts" in message


def test_a_name_twice_an_empty_list_and_no_usable_row(root):
    path = root / "data" / "FER2013Valid" / "label.csv"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines, lines[1]]))
    assert "found 'fer7.png' twice" in refusal(root)
    path.write_text(lines[0])
    assert "FER2013Valid, found none with a majority" in refusal(root)
    path.write_text("")
    assert "found none; restore it" in refusal(root)


def test_a_class_without_images_is_no_error_of_the_reader(root):
    assert class_counts(read_ferplus(root)).tolist() == [0, 2, 1, 0, 0, 0, 0, 0]


def test_reading_does_not_import_torch(root):
    code = "import sys; from fer_utils import datasets, splits; datasets.read_ferplus(sys.argv[1]); "
    code += "datasets.load_images; datasets.FaceDataset; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code, str(root)], check=True)


@pytest.mark.skipif("FERPLUS" not in os.environ, reason="FERPLUS does not name the folder of the real FER+")
def test_the_real_ferplus():
    listed = read_ferplus(os.environ["FERPLUS"], check_images=False)
    # FER+'s own order (neutral, happiness, surprise, sadness, anger, disgust, fear, contempt) to ours.
    published = {
        "train": [8733, 7284, 3136, 3022, 2098, 116, 536, 120],
        "validation": [1180, 862, 411, 348, 289, 25, 60, 16],
        "test": [1083, 892, 394, 382, 269, 16, 86, 15],
    }
    for split, counts in published.items():
        assert class_counts(listed, split).tolist() == [counts[place] for place in (0, 1, 3, 2, 6, 5, 4, 7)]
    duplicates = {"test_in_train": 288, "validation_in_train": 279, "test_in_validation": 44}

    clean = read_ferplus(os.environ["FERPLUS"])
    assert clean.attrs["duplicates"] == duplicates
    assert clean.attrs["leaks_removed"] == 607
    assert clean["split"].value_counts().to_dict() == {"train": 25045 - 607, "validation": 3191, "test": 3137}
