"""RAF-DB, class folders and people, on tiny trees with labels by hand."""

import shutil
import zipfile

import pytest

from fer_utils.core import InputError
from fer_utils.datasets import read_folder, read_identities, read_rafdb
from tests.datasets import trees


def make(root, *paths):
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()
    return root


def labels(root, **options):
    manifest = read_folder(root, check_images=False, **options)
    return dict(zip(manifest["image"], manifest["label"], strict=True))


# RAF-DB


def test_rafdb_rows_and_either_kind_of_images(tmp_path):
    trees.rafdb(tmp_path)
    manifest = read_rafdb(tmp_path)
    names, images = list(trees.RAFDB), tmp_path / "Image"
    assert manifest["image"].tolist() == [f"Image/aligned/{n}_aligned.jpg" for n in names]
    assert manifest["label"].tolist() == [2, 3, 0, 4, 6]  # sad surprise neutral fear anger
    assert manifest["split"].tolist() == ["train", "train", "test", "train", "test"]
    bad = {"count": 0, "names": []}
    assert manifest.attrs == {"dataset": "rafdb", "root": str(tmp_path), "bad_images": bad}
    (images / "original").mkdir()
    for name in names:
        shutil.move(images / f"aligned/{name}_aligned.jpg", images / f"original/{name}.jpg")
    (images / "aligned").rmdir()
    (tmp_path / "EmoLabel/list_patition_label.txt").rename(
        tmp_path / "EmoLabel/list_partition_label.txt"
    )
    assert read_rafdb(tmp_path)["image"].tolist() == [f"Image/original/{n}.jpg" for n in names]


@pytest.mark.parametrize(
    "line, message",
    [
        *((f"{name}", "row 4: expected a name .* 1 to 7") for name in ("train_9.jpg", "4")),
        *((f"train_9.jpg {c}", "row 4: .*found 'train_9") for c in ("0", "8", "happy", "1 1")),
        ("val_1.jpg 1", "row 4: expected .*found 'val_1.jpg 1'"),
        ("train_00001.jpg 3", "row 4: .* found 'train_00001.jpg' in .*label.txt row 1 as well"),
    ],
)
def test_a_malformed_row_of_rafdb_is_named(tmp_path, line, message):
    trees.rafdb(tmp_path)
    path = tmp_path / "EmoLabel/list_patition_label.txt"
    rows = path.read_text().splitlines()
    path.write_text("\n".join([*rows[:2], "", line, *rows[2:]]))
    with pytest.raises(InputError, match=f"label.txt {message}"):
        read_rafdb(tmp_path)


# Class folders, in the paper's order, as everyone else writes it


@pytest.mark.parametrize(
    "names",
    [
        "neutral happy sad surprise fear disgust anger contempt",
        "Neutral Happiness Sadness Surprised Fearful Disgusted Angry Contemptuous",
        "0_neutral 1-happy 2.sad 3.surprise (4)fear 05disgust 6_Anger 7_contempt",
        "3_neutral 2_happy 1_sad 0_surprise 7_fear 6_disgust 5_anger 4_contempt",
        "0 1 2 3 4 5 6 7",
    ],
)
def test_every_usual_spelling(tmp_path, names):
    names = names.split()
    make(tmp_path, *(f"{name}/x.jpg" for name in names))
    assert labels(tmp_path) == {f"{name}/x.jpg": label for label, name in enumerate(names)}


def test_splits_hidden_folders_and_other_files(tmp_path):
    make(tmp_path, "Train/happy/Ada/1.jpg", "VAL/Happiness/2.JPG", "testing/sad/3.webp")
    make(tmp_path, ".cache/3.jpg", "__MACOSX/happy/4.jpg", "docs/README.md", "Train/sad/notes.txt")
    manifest = read_folder(tmp_path, check_images=False)
    assert manifest[["image", "label", "split"]].values.tolist() == [
        ["Train/happy/Ada/1.jpg", 1, "train"],
        ["VAL/Happiness/2.JPG", 1, "validation"],
        ["testing/sad/3.webp", 2, "test"],
    ]


def test_numbers_alone_are_noted_and_can_be_someone_elses(tmp_path):
    make(tmp_path, *(f"{number}/x.jpg" for number in range(7)))
    note = read_folder(tmp_path, check_images=False).attrs["note"]
    assert "called by numbers (0, 1, 2, 3, 4, 5, 6)" in note
    assert list(labels(tmp_path, coding="fer2013").values()) == [6, 5, 4, 1, 2, 3, 0]
    with pytest.raises(InputError, match="unknown class folder"):
        labels(tmp_path, coding="rafdb")
    shutil.rmtree(tmp_path / "0")
    make(tmp_path, "7/x.jpg")
    with pytest.raises(InputError, match="found 1 to 7, .* coding='rafdb'"):
        labels(tmp_path)
    assert list(labels(tmp_path, coding="rafdb").values()) == [3, 4, 5, 1, 2, 6, 0]


@pytest.mark.parametrize(
    "paths, message",
    [
        ("happy/1.jpg sadnes/1.jpg", "unknown class folder in .*: 'sadnes'; did you mean 'sad'"),
        ("train/happy/1.jpg train/suprise/1.jpg", "'suprise'; did you mean 'surprise'"),
        ("happy/1.jpg 8/1.jpg", "unknown class folder in .*: '8'"),
        ("train/happy/1.jpg extra/sad/1.jpg", "beside the splits in .*: 'extra'"),
        ("happy/1.jpg 1.jpg", "found '1.jpg' outside them"),
        ("train/happy/1.jpg train/1.jpg", "found 'train/1.jpg' outside them"),
        ("happy/1.jpg Happiness/1.jpg", r"found 'Happiness' and 'happy' for 'happy' \(train\)"),
        ("neutral/1.jpg 0/1.jpg", "found '0' and 'neutral' for 'neutral'"),
        ("happy/notes.txt sad/notes.txt", "found happy, sad; check the path"),
    ],
)
def test_what_is_wrong_with_class_folders_is_named(tmp_path, paths, message):
    make(tmp_path, *paths.split())
    with pytest.raises(InputError, match=message) as error:
        read_folder(tmp_path, check_images=False)
    assert "\n" not in str(error.value)


# People

PEOPLE = {"Ada_Lovelace": 3, "Bo": 1, "Çelik Ö": 2}


def grow(root, people):
    for person, images in people.items():
        for number in range(images):
            trees.picture(root / person / f"{number:04d}.jpg", number)
    return root


@pytest.mark.parametrize("above", ["", "train", "data/train", "a/b/c"])
def test_a_folder_a_person(tmp_path, above):
    manifest = read_identities(grow(tmp_path / above, PEOPLE) and tmp_path)
    assert list(manifest) == ["image", "label", "split", "subject", "fingerprint"]
    assert manifest["subject"].value_counts().to_dict() == PEOPLE
    assert (manifest["label"] == -1).all() and (manifest["split"] == "train").all()
    assert all((tmp_path / image).is_file() for image in manifest["image"])


@pytest.mark.parametrize("above", ["", "VGGFace2/data"])
def test_split_folders_of_people(tmp_path, above):
    grow(tmp_path / above / "train", {"n2": 2, "n3": 1})
    grow(tmp_path / above / "test", {"n1": 2})
    people = read_identities(tmp_path).groupby("split")["subject"].unique().map(sorted)
    assert people.to_dict() == {"train": ["n2", "n3"], "test": ["n1"]}


def test_people_with_few_images_stay_out_and_are_counted(tmp_path):
    grow(tmp_path, PEOPLE | {"Di": 2})
    (tmp_path / "Bo/0000.jpg").write_bytes(b"")  # of no use, so of no harm
    manifest = read_identities(tmp_path, min_images=2)
    assert set(manifest["subject"]) == {"Ada_Lovelace", "Çelik Ö", "Di"}
    counted = {"min_images": 2, "people": 3, "people_left_out": 1, "images_left_out": 1}
    assert counted.items() <= manifest.attrs.items()
    with pytest.raises(InputError, match="found 1 among 4 .3 images at most"):
        read_identities(tmp_path, min_images=3)
    for wrong in (0, True, 1.5):
        with pytest.raises(InputError, match=f"found {wrong}"):
            read_identities(tmp_path, min_images=wrong)


@pytest.mark.parametrize(
    "paths, message",
    [
        ("", "found an empty folder"),
        ("readme.txt", "found readme.txt"),
        ("1.jpg", "found 1.jpg outside them"),
        ("Ada/1.jpg Bo/1.jpg over.png", "found over.png outside them"),
        ("Ada/1.jpg Bo/2019/1.jpg", "found Bo/2019/1.jpg deeper"),
        ("Ada/1.jpg Ada/2.jpg", "found 'Ada' alone"),
        ("angry/1.jpg Happy/1.jpg sad/1.jpg x/1.jpg", "classes of expression .Happy, angry, sad"),
        ("test/sad/1.jpg test/happy/1.jpg train/sad/1.jpg", "classes of expression"),
        ("test/Ada/1.jpg test/Bo/1.jpg train/Ada/1.jpg", r"found 'Ada' \(and 0 more\) in both"),
    ],
)
def test_what_is_no_folder_of_people(tmp_path, paths, message):
    with pytest.raises(InputError, match=message) as error:
        read_identities(make(tmp_path, *paths.split()), check_images=False)
    assert "\n" not in str(error.value)


def test_an_archive_is_to_be_unpacked(tmp_path):
    with zipfile.ZipFile(tmp_path / "lfw.zip", "w") as file:
        file.writestr("a/1.jpg", b"")
    for reader in (read_identities, read_folder, read_rafdb):
        with pytest.raises(InputError, match="found an archive; unpack it and give the folder"):
            reader(tmp_path / "lfw.zip")
