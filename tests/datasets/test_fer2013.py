"""FER2013's CSV: rows and pixels against what `trees` wrote."""

import numpy as np
import pytest

from fer_utils.core import InputError
from fer_utils.datasets import load_images, read_fer2013
from tests.datasets import trees
from tests.datasets.trees import FACES, FER2013_ROWS, pixel_text


@pytest.fixture
def root(tmp_path):
    trees.fer2013(tmp_path / "fer2013")
    return tmp_path / "fer2013"


def lines_of(root):
    return (root / "fer2013.csv").read_text().splitlines()


def write(root, lines):
    (root / "fer2013.csv").write_text("\n".join(lines) + "\n")


def refusal(root, **options):
    with pytest.raises(InputError) as error:
        read_fer2013(root, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_rows_labels_and_pixels(root):
    manifest = read_fer2013(root)
    assert manifest["image"].tolist() == [0, 1, 2, 3, 4, 5]
    assert manifest["label"].tolist() == [6, 5, 0, 1, 2, 4]  # by hand
    splits = ["train", "train", "train", "validation", "test", "train"]
    assert manifest["split"].tolist() == splits
    np.testing.assert_array_equal(load_images(manifest), np.stack([FACES] * 3, axis=-1))
    rows = manifest.iloc[[4, 1]]
    np.testing.assert_array_equal(load_images(rows)[..., 0], FACES[[4, 1]])
    assert (manifest.attrs["root"], manifest.attrs["pixels"]) == (str(root), "fer2013.csv")
    assert read_fer2013(root.parent).equals(manifest)  # torchvision's layout


def test_names_of_columns_may_begin_with_a_space_and_fields_be_quoted(root):
    expected = read_fer2013(root)
    (root / "fer2013.csv").unlink()
    lines = [f'"{c}",{usage},"{pixel_text(i)}"' for i, (c, usage) in enumerate(FER2013_ROWS)]
    path = root / "icml_face_data.csv"
    path.write_text("\n".join(["emotion, Usage, pixels", *lines]))
    manifest = read_fer2013(root)
    assert manifest.equals(expected) and manifest.attrs["pixels"] == path.name


def test_a_file_that_changed_is_scanned_anew(root):
    manifest = read_fer2013(root)
    write(root, lines_of(root)[:4])
    assert len(read_fer2013(root)) == 3
    with pytest.raises(InputError, match="images 0 to 2 in .*fer2013.csv, found none numbered 3"):
        load_images(manifest)
    (root / "fer2013.csv").unlink()
    with pytest.raises(InputError, match="fer2013.csv, found no such file"):
        load_images(manifest)


PIXELS = pixel_text(0).split()
BAD = ["256", "-1", "9" * 30, "1.5", "x", "", "0 0"]


@pytest.mark.parametrize("text", ["", *(" ".join([first, *PIXELS[1:]]) for first in BAD)])
def test_bad_pixels_are_named_or_skipped(root, text):
    lines = lines_of(root)
    lines[2] = f"1,{text},Training"
    write(root, lines)
    expected = "row 3: expected 2304 pixels, whole numbers from 0 to 255, found"
    assert f"{root / 'fer2013.csv'} {expected}" in refusal(root)
    manifest = read_fer2013(root, on_bad_image="skip")
    assert manifest["image"].tolist() == [0, 2, 3, 4, 5]
    assert manifest.attrs["bad_images"] == {"count": 1, "names": [1]}
    assert len(read_fer2013(root, check_images=False)) == 6


@pytest.mark.parametrize(
    "row, message",
    [
        ("happy,0 0,Training", "a whole number from 0 to 6, found 'happy'"),
        ("7,0 0,Training", "a whole number from 0 to 6, found '7'"),
        (",0 0,Training", "a whole number from 0 to 6, found nothing"),
        ("1,0 0,Trainig", "expected the usage .* found 'Trainig'"),
        ("1,0 0", "expected the usage .* found nothing"),
    ],
)
def test_a_bad_row_is_named(root, row, message):
    write(root, [*lines_of(root)[:2], "", row])
    with pytest.raises(InputError, match=f"fer2013.csv row 4: .*{message}"):
        read_fer2013(root, check_images=False)


def test_missing_columns_and_files_without_labels(root):
    _, *rows = lines_of(root)
    write(root, ["emotion,pixels", *(row.rpartition(",")[0] for row in rows)])
    assert "found none named usage but 'emotion, pixels'" in refusal(root)
    (root / "fer2013.csv").unlink()
    (root / "test.csv").write_text("pixels\n" + pixel_text(0) + "\n")
    assert "found Kaggle's test.csv without labels" in refusal(root)
