"""Class folders: names in any spelling, never by alphabet, and numbers that cannot be mistaken unnoticed."""

import pytest

from fer_utils.datasets import read_folder
from fer_utils.errors import InputError
from fer_utils.expressions import EXPRESSIONS, SPELLINGS, find_label
from tests.datasets import trees


def make(root, *paths):
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()
    return root


def labels(root, **options):
    manifest = read_folder(root, check_images=False, **options)
    return dict(zip(manifest["image"], manifest["label"], strict=True))


def refusal(root, **options):
    with pytest.raises(InputError) as error:
        read_folder(root, check_images=False, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_rows_labels_and_splits(tmp_path):
    trees.folder(tmp_path)
    manifest = read_folder(tmp_path)
    assert manifest[["image", "label", "split"]].values.tolist() == [
        ["TEST/contempt/4.jpg", 7, "test"],
        ["train/Happiness/1.jpg", 1, "train"],
        ["train/angry/2.jpg", 6, "train"],
        ["valid/Sad/3.png", 2, "validation"],
    ]
    assert manifest.attrs == {"dataset": "folder", "root": str(tmp_path), "bad_images": {"count": 0, "names": []}}


# In the paper's order, as everyone else writes it.
@pytest.mark.parametrize(
    "names",
    [
        ["neutral", "happy", "sad", "surprise", "fear", "disgust", "anger", "contempt"],
        ["Neutral", "Happiness", "Sadness", "Surprised", "Fearful", "Disgusted", "Angry", "Contemptuous"],
        ["NEUTRAL", "HAPPY", "SAD", "SURPRISE", "FEAR", "DISGUST", "ANGER", "CONTEMPT"],
        ["0_neutral", "1-happy", "2 sad", "3.surprise", "(4) fear", "05disgust", "6_Anger", "7_contempt"],
        ["3_neutral", "2_happy", "1_sad", "0_surprise", "7_fear", "6_disgust", "5_anger", "4_contempt"],
        ["0", "1", "2", "3", "4", "5", "6", "7"],
    ],
)
def test_every_usual_spelling(tmp_path, names):
    make(tmp_path, *(f"{name}/x.jpg" for name in names))
    assert labels(tmp_path) == {f"{name}/x.jpg": label for label, name in enumerate(names)}


def test_order_does_not_decide(tmp_path):
    make(tmp_path, "surprise/x.jpg", "neutral/x.jpg")
    assert labels(tmp_path) == {"neutral/x.jpg": 0, "surprise/x.jpg": 3}


def test_spellings_are_of_one_class_each():
    spellings = [spelling for each in SPELLINGS.values() for spelling in each]
    assert len(set(spellings)) == len(spellings) and list(SPELLINGS) == list(EXPRESSIONS)
    assert [find_label(name) for name in EXPRESSIONS] == list(range(8))


def test_numbers_alone_are_noted_and_can_be_someone_elses(tmp_path):
    make(tmp_path, *(f"{number}/x.jpg" for number in range(7)))
    manifest = read_folder(tmp_path, check_images=False)
    assert "called by numbers (0, 1, 2, 3, 4, 5, 6)" in manifest.attrs["note"]
    # angry disgust fear happy sad surprise neutral
    assert list(labels(tmp_path, coding="fer2013").values()) == [6, 5, 4, 1, 2, 3, 0]
    assert "unknown class folder" in refusal(tmp_path, coding="rafdb")
    assert "did you mean 'rafdb'" in refusal(tmp_path, coding="raf-db")


def test_numbers_of_rafdb_are_not_taken_for_the_papers(tmp_path):
    make(tmp_path, *(f"train/{number}/x.jpg" for number in range(1, 8)), "test/1/x.jpg")
    assert "found 1 to 7, as RAF-DB numbers its classes; give coding='rafdb'" in refusal(tmp_path)
    # surprise fear disgust happy sad anger neutral
    assert list(labels(tmp_path, coding="rafdb").values()) == [3, 3, 4, 5, 1, 2, 6, 0]


def test_folders_within_classes_hidden_ones_and_other_files(tmp_path):
    make(
        tmp_path,
        "happy/Ada/1.jpg",
        "sad/2.JPG",
        "sad/notes.txt",
        ".cache/3.jpg",
        "__MACOSX/happy/4.jpg",
        "docs/README.md",
    )
    assert labels(tmp_path) == {"happy/Ada/1.jpg": 1, "sad/2.JPG": 2}


def test_an_empty_class_is_no_error(tmp_path):
    (make(tmp_path, "happy/1.jpg", "sad/1.jpg") / "fear").mkdir()
    assert set(labels(tmp_path).values()) == {1, 2}


@pytest.mark.parametrize(
    "paths, message",
    [
        (["happy/1.jpg", "sadnes/1.jpg"], "unknown class folder in .*: 'sadnes'; did you mean 'sad'"),
        (
            ["train/happy/1.jpg", "train/suprise/1.jpg"],
            "unknown class folder in .*: 'suprise'; did you mean 'surprise'",
        ),
        (["happy/1.jpg", "8/1.jpg"], "unknown class folder in .*: '8'"),
        (["train/happy/1.jpg", "extra/sad/1.jpg"], "unknown folder beside the split folders in .*: 'extra'"),
        (["happy/1.jpg", "1.jpg"], "found '1.jpg' outside them; move it to its class"),
        (["train/happy/1.jpg", "train/1.jpg"], "found 'train/1.jpg' outside them"),
        (
            ["happy/1.jpg", "Happiness/1.jpg"],
            r"found 'Happiness' and 'happy' for 'happy' \(train\); rename or merge them",
        ),
        (["neutral/1.jpg", "0/1.jpg"], "found '0' and 'neutral' for 'neutral'"),
        (["notes/readme.txt"], "expected class folders with images inside .* found notes; check the path"),
        (["happy/notes.txt", "sad/notes.txt"], "found happy, sad; check the path"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, paths, message):
    make(tmp_path, *paths)
    with pytest.raises(InputError, match=message) as error:
        read_folder(tmp_path, check_images=False)
    assert "\n" not in str(error.value)


def test_one_class_spelt_differently_in_two_splits(tmp_path):
    make(tmp_path, "train/happy/1.jpg", "val/Happiness/2.jpg")
    assert set(labels(tmp_path).values()) == {1}
