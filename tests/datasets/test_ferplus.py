"""FER+ on tiny trees of noise images with labels worked out by hand, and on the real folder where FERPLUS names it."""

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from fer_utils.datasets import class_counts, load_images, read_ferplus
from fer_utils.datasets.ferplus_votes import argmax_labels, majority_labels, probability_votes
from fer_utils.datasets.manifest import check_manifest
from fer_utils.errors import InputError
from tests.datasets import trees

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


def probability_by_the_letter(votes):
    """FER+'s rule for distributions for one image, a loop over tallies as its authors describe it."""
    tally = {place: count for place, count in enumerate(votes) if count > 1}
    total, kept, faceless = sum(tally.values()), {}, False
    while tally and sum(kept.values()) < 0.75 * total and len(kept) < 3 and not faceless:
        most = max(tally.values())
        for place in sorted(place for place in tally if tally[place] == most):
            del tally[place]
            if place >= 8:
                faceless = True
                break
            kept[place] = most
    if sum(kept.values()) <= total / 2 or len(kept) > 3:
        kept = {}
    return [kept.get(place, 0) for place in range(10)]


def test_probability_rule():
    generator = np.random.default_rng(0)
    votes = generator.multinomial(10, generator.dirichlet([0.35] * 10, 4000))
    expected = [probability_by_the_letter(row) for row in votes.tolist()]
    np.testing.assert_array_equal(probability_votes(votes), expected)
    kept = np.any(expected, axis=1)
    assert 0.3 < kept.mean() < 0.95


@pytest.mark.parametrize(
    "votes, label",
    [
        ("5 5 0 0 0 0 0 0 0 0", 0),  # the first of equals
        ("0 1 1 1 1 1 1 1 1 2", -1),
        ("0 0 0 4 2 0 0 0 4 0", 2),
        ("0 0 0 0 1 0 0 0 9 0", -1),
        ("0 0 0 0 0 0 0 0 0 0", -1),
        ("0 0 0 0 0 0 0 10 0 0", 7),
    ],
)
def test_argmax_rule(votes, label):
    assert argmax_labels(np.array([votes.split()], dtype=int)).tolist() == [label]


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
        (["fer2013.csv"], "what looks like FER2013"),
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
    assert f"one level deeper; give {tmp_path / 'above'}" in refusal(tmp_path)


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
    assert f"{path} row 3" in message and ("10 vote counts" in message or "name of an image, found nothing" in message)


def test_a_name_twice_an_empty_list_and_no_usable_row(root):
    path = root / "data" / "FER2013Valid" / "label.csv"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines, lines[1]]))
    assert f"{path} row 4" in refusal(root) and "found 'fer7.png' in row 2 as well" in refusal(root)
    path.write_text(lines[0])
    assert f"validation images in {path}, found none with votes" in refusal(root)
    path.write_text("")
    assert "found none; restore it" in refusal(root)


def test_a_class_without_images_is_no_error_of_the_reader(root):
    assert class_counts(read_ferplus(root)).tolist() == [0, 2, 1, 0, 0, 0, 0, 0]


# Rules and files


def test_label_rules_and_their_votes(root):
    argmax = read_ferplus(root, label_rule="argmax", remove_leaks=False)
    assert len(argmax) == 13 and argmax["label"].tolist()[3] == 0  # the tie between neutral and happy
    probability = read_ferplus(root, label_rule="probability", remove_leaks=False)
    assert len(probability) == 13 and probability.attrs["label_rule"] == "probability"
    votes = probability[[f"votes_{name}" for name in ("neutral", "happy", "sad", "anger")]].to_numpy()
    assert votes[:4].tolist() == [[0, 9, 0, 0], [0, 0, 8, 0], [0, 9, 0, 0], [5, 5, 0, 0]]
    with pytest.raises(InputError, match="did you mean 'majority'"):
        read_ferplus(root, label_rule="majorty")


NEW = """Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF
Training,fer0.png,0,0,9,0,0,0,0,0,1,0
Training,,0,0,0,0,0,0,0,0,0,10
Training,fer1.png,9,0,0,0,0,0,0,0,1,0
PublicTest,fer2.png,0,9,0,0,0,0,0,0,0,1
Training,fer1.png,9,0,0,0,0,0,0,0,1,0
PrivateTest,fer3.png,0,0,0,9,0,0,0,0,0,0
"""


@pytest.fixture
def new(tmp_path):
    trees.ferplus(tmp_path / "new")
    (tmp_path / "new" / "fer2013new.csv").write_text(NEW)
    return tmp_path / "new"


def with_pixels(new, usages):
    """`new` without PNG folders, but with FER2013's CSV."""
    shutil.rmtree(new / "data")
    lines = [f"0,{trees.pixel_text(row)},{usage}" for row, usage in enumerate(usages)]
    (new / "fer2013.csv").write_text("\n".join(["emotion,pixels,Usage", *lines]))
    return new


USAGES = ["Training", "Training", "Training", "PublicTest", "Training", "PrivateTest"]


def test_the_label_file_is_chosen_or_found(new):
    votes = read_ferplus(new, label_file="fer2013new.csv")
    assert votes["image"].str.split("/").str[1].tolist() == ["fer0.png", "fer1.png", "fer2.png", "fer1.png", "fer3.png"]
    assert votes["label"].tolist() == [3, 0, 1, 0, 2]
    assert votes.attrs["label_file"] == "fer2013new.csv" and votes.attrs["rows_without_image"] == 1
    assert "box_x" not in votes
    assert read_ferplus(new / "data", label_file="fer2013new.csv").equals(votes)
    assert read_ferplus(new)["label"].tolist() == [0, 3, 1, 2]  # label.csv's
    for path in new.rglob("label.csv"):
        path.unlink()
    assert read_ferplus(new).equals(votes)
    (new / "fer2013new.csv").unlink()
    with pytest.raises(InputError, match="expected fer2013new.csv at .*, found none"):
        read_ferplus(new, label_file="fer2013new.csv")


def test_votes_join_the_rows_of_fer2013(new):
    manifest = read_ferplus(with_pixels(new, USAGES))
    assert manifest["image"].tolist() == [0, 2, 3, 4, 5]  # row 1 shows no face
    assert manifest["label"].tolist() == [3, 0, 1, 0, 2]
    np.testing.assert_array_equal(load_images(manifest)[..., 0], trees.FACES[[0, 2, 3, 4, 5]])
    assert (manifest.attrs["dataset"], manifest.attrs["pixels"]) == ("ferplus", "fer2013.csv")


@pytest.mark.parametrize(
    "usages, found",
    [(USAGES[:-1], "found 5 rows"), ([*USAGES[:3], "Training", *USAGES[4:]], "found another usage in row 5")],
)
def test_rows_of_another_file_are_not_joined(new, usages, found):
    assert found in refusal(with_pixels(new, usages))


@pytest.mark.parametrize(
    "old, row, message",
    [
        ("fer0.png,0", "fer0.png,x", "row 2: expected a count of votes for 'neutral', found 'x'"),
        ("fer0.png,0", "fer0.png,-1", "row 2: expected a count of votes for 'neutral', found '-1'"),
        ("fer0.png,0", "fer0.png,0.5", "row 2: expected a count of votes for 'neutral', found '0.5'"),
        ("PublicTest", "Public", "row 5: expected the usage Training, PublicTest, PrivateTest, found 'Public'"),
        ("NF", "nobody", "found none named NF but"),
    ],
)
def test_bad_rows_of_the_new_file_are_named(new, old, row, message):
    (new / "fer2013new.csv").write_text(NEW.replace(old, row, 1))
    with pytest.raises(InputError, match=message):
        read_ferplus(new, label_file="fer2013new.csv", check_images=False)


def test_the_new_file_without_any_images(new):
    shutil.rmtree(new / "data")
    assert "neither data/FER2013Train nor fer2013.csv; put FER2013's fer2013.csv beside it" in refusal(new)


def test_bad_images_can_be_skipped(root):
    (root / "data" / "FER2013Train" / "fer0.png").write_bytes(b"")
    (root / "data" / "FER2013Train" / "fer3.png").unlink()  # which the majority rule drops anyhow
    manifest = read_ferplus(root, on_bad_image="skip")
    assert images(manifest) == ["fer4.png", "fer5.png"] and manifest.attrs["leaks_removed"] == 2
    bad = {"count": 2, "names": ["FER2013Train/fer0.png", "FER2013Train/fer3.png"]}
    assert manifest.attrs["bad_images"] == bad


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
    sizes = {
        ("label.csv", "argmax"): [28385, 3555, 3545],
        ("fer2013new.csv", "majority"): [25060, 3199, 3153],
    }
    for (file, rule), expected in sizes.items():
        other = read_ferplus(os.environ["FERPLUS"], check_images=False, label_file=file, label_rule=rule)
        assert other.groupby("split").size()[["train", "validation", "test"]].tolist() == expected
    duplicates = {"test_in_train": 288, "validation_in_train": 279, "test_in_validation": 44}

    clean = read_ferplus(os.environ["FERPLUS"])
    assert clean.attrs["duplicates"] == duplicates
    assert clean.attrs["leaks_removed"] == 607
    assert clean["split"].value_counts().to_dict() == {"train": 25045 - 607, "validation": 3191, "test": 3137}
