"""Both releases of AffectNet against what `trees` wrote by hand, and how their lists go wrong."""

import shutil

import numpy as np
import pytest

from fer_utils.core import InputError
from fer_utils.datasets import read_affectnet
from fer_utils.datasets.manifest import read_columns
from tests.datasets import trees
from tests.datasets.trees import AFFECTNET_HEADER, TRAINING, VALIDATION, affectnet_line, picture


@pytest.fixture
def root(tmp_path):
    trees.affectnet(tmp_path)
    return tmp_path


@pytest.fixture
def faces(tmp_path):
    trees.affectnet_npy(tmp_path)
    return tmp_path


def write(path, *lines):
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def refusal(root):
    with pytest.raises(InputError) as error:
        read_affectnet(root)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_csv_rows_labels_and_columns(root):
    manifest = read_affectnet(root)
    names = ["1/a.jpg", "1/b.JPG", "2/a.jpg", "2/d.bmp", "2/f.tif", "3/a b.jpg", "3/é.png"]
    assert manifest["image"].tolist() == names
    assert manifest["label"].tolist() == [0, 1, 7, 3, 6, 2, 5]
    assert manifest["split"].tolist() == ["train"] * 5 + ["validation"] * 2
    boxes = manifest[["box_x", "box_y", "box_width", "box_height"]]
    assert boxes.iloc[:2].values.tolist() == [[1, 2, 3, 4], [-3, 0, 900, 4]]
    assert (boxes.dtypes == np.int64).all()
    np.testing.assert_array_equal(manifest["valence"], [0.5] * 6 + [np.nan])
    assert (manifest["arousal"] == -0.25).all()
    assert manifest.attrs == {
        "dataset": "affectnet",
        "release": "csv",
        "root": str(root / "Manually_Annotated_Images"),
        "dropped": {"none": 1, "uncertain": 1, "no face": 1},
        "bad_images": {"count": 0, "names": []},
    }


def test_headers_are_optional_and_columns_go_by_name(root):
    expected = read_affectnet(root)
    write(root / "training.csv", *TRAINING)
    write(root / "validation.csv", AFFECTNET_HEADER, *VALIDATION)
    assert read_affectnet(root).equals(expected)
    rows = [line.split(",") for line in (AFFECTNET_HEADER.upper(), *TRAINING)]
    order = (6, 0, 7, 8, 4, 3, 2, 1)  # without landmarks, and with one more
    write(root / "training.csv", *(",".join([*(row[i] for i in order), "x"]) for row in rows))
    assert read_affectnet(root).equals(expected)


@pytest.mark.parametrize("images", ["Manually_Annotated_compressed", "Manually_Annotated/x", "."])
@pytest.mark.parametrize("lists", ["", "Manually_Annotated_file_lists"])
def test_folders_as_the_archives_unpack(root, images, lists):
    expected = read_affectnet(root)
    shutil.move(root / "Manually_Annotated_Images", root / "moved")
    shutil.copytree(root / "moved", root / images, dirs_exist_ok=True)
    shutil.rmtree(root / "moved")
    (root / lists).mkdir(exist_ok=True)
    for name in ("training.csv", "validation.csv"):
        shutil.move(root / name, root / lists / name)
    manifest = read_affectnet(root)
    assert manifest.equals(expected) and manifest.attrs["root"] == str((root / images).resolve())


def test_lists_without_images(root):
    shutil.rmtree(root / "Manually_Annotated_Images")
    manifest = read_affectnet(root, check_images=False)
    assert len(manifest) == 7
    assert manifest.attrs["root"] == str(root / "Manually_Annotated_Images")
    assert "found 7 absent" in refusal(root) and "training.csv row 2" in refusal(root)


EXPRESSION = "row 2: expected an expression, a whole number from 0 to 10, found"


@pytest.mark.parametrize(
    "line, message",
    [
        (affectnet_line("3/x.jpg", "happy"), f"{EXPRESSION} 'happy'"),
        (affectnet_line("3/x.jpg", ""), f"{EXPRESSION} nothing"),
        (affectnet_line("3/x.jpg", 11), f"{EXPRESSION} '11'"),
        (affectnet_line("3/x.jpg", 1.5), f"{EXPRESSION} '1.5'"),
        (affectnet_line("3/x.jpg", "nan"), f"{EXPRESSION} 'nan'"),
        ("3/x.jpg,1,2", f"{EXPRESSION} nothing"),
        (affectnet_line("", 1), "row 2: expected the name of an image, found nothing"),
        (affectnet_line('"3/x\ny.jpg"', 1), "row 2: expected fields on one line"),
        (affectnet_line("3/x.jpg", 1, box="1,left,3,4"), "row 2: .* face_y, .* found 'left'"),
        (affectnet_line("3/x.jpg", 1, box="1,2,inf,4"), "row 2: .* face_width, .* found 'inf'"),
        (affectnet_line("3/x.jpg", 1, box="1,2,3,1e30"), "row 2: .* face_height, .* found '1e30'"),
        (affectnet_line("3/x.jpg", 1, valence="low"), "row 2: .* valence, .* found 'low'"),
        (VALIDATION[0], r"row 2: .* found '3/a b.jpg' in .* row 1 as well \(and 0 more"),
        (TRAINING[0], "row 2: .* found '1/a.jpg' in .*training.csv row 2 as well"),
        (f'"{VALIDATION[2]}', "row 2: expected fields on one line"),  # a quotation without end
    ],
)
def test_a_bad_row_is_named(root, line, message):
    write(root / "validation.csv", VALIDATION[0], line, VALIDATION[2])
    with pytest.raises(InputError, match=f"{root / 'validation.csv'}.*{message}") as error:
        read_affectnet(root)
    assert "\n" not in str(error.value)


def test_what_is_no_expression_may_lack_numbers_and_stand_twice(root):
    odd = affectnet_line("3/n.jpg", 10, box="NULL,,x,")
    moved = affectnet_line("2/c.png", 4)  # "none" in the other list
    half = affectnet_line(" 3/é.png ", " 2 ", box="1.5, 2 ,3,4")
    write(root / "validation.csv", VALIDATION[1], VALIDATION[1], odd, moved, half)
    manifest = read_affectnet(root)
    assert manifest["label"].tolist() == [0, 1, 7, 3, 6, 4, 2]
    assert manifest["box_x"].iloc[-1] == 1.5
    assert manifest.attrs["dropped"] == {"none": 1, "uncertain": 2, "no face": 2}


def test_missing_columns_lists_and_expressions(root):
    for name in ("training.csv", "validation.csv"):
        write(root / name, affectnet_line(f"{name}.jpg", 8))
    assert "expected images with an expression" in refusal(root)
    write(root / "training.csv", AFFECTNET_HEADER.replace("expression", "emotion"), *TRAINING)
    assert "training.csv, found none named expression but 'subD" in refusal(root)
    write(root / "training.csv", AFFECTNET_HEADER)
    assert "training.csv, found none" in refusal(root)
    (root / "training.csv").unlink()
    assert "found no training.csv" in refusal(root)


def test_npy_rows_labels_and_columns(faces):
    manifest = read_affectnet(faces)
    numbers = [f"train_set/images/{n}.jpg" for n in (0, 9, 10)]
    numbers += [f"val_set/images/{n}.jpg" for n in (5, 7)]
    assert manifest["image"].tolist() == numbers
    assert manifest["label"].tolist() == [0, 7, 1, 6, 2]
    assert manifest["split"].tolist() == ["train"] * 3 + ["validation"] * 2
    assert (manifest["valence"] == 0.5).all() and (manifest["arousal"] == -0.25).all()
    assert (manifest.attrs["release"], manifest.attrs["root"]) == ("npy", str(faces))
    assert manifest.attrs["dropped"] == {"none": 0, "uncertain": 1, "no face": 0}


@pytest.mark.parametrize("dtype", ["U1", "S1", "<i8", ">i4", "u1", "f4"])
@pytest.mark.parametrize("shape", [(), (1,), (1, 1)])
@pytest.mark.parametrize("version", [(1, 0), (2, 0)])
def test_a_number_of_any_type_and_shape(faces, dtype, shape, version):
    for number, code in (("5", 3), ("7", 7)):  # the second by what the first has taught
        with open(faces / f"val_set/annotations/{number}_exp.npy", "wb") as file:
            array = np.full(shape, code).astype(dtype)
            np.lib.format.write_array(file, array, version=version)
    assert read_affectnet(faces, check_images=False)["label"].tolist()[-2:] == [3, 7]


def test_npy_parts_that_are_absent(faces):
    (faces / "val_set/images/5.jpg").unlink()
    picture(faces / "val_set/images/5.PNG")
    assert "val_set/images/5.PNG" in read_affectnet(faces)["image"].tolist()
    picture(faces / "val_set/images/5.bmp")
    assert "5.PNG and 5.bmp" in refusal(faces)
    shutil.rmtree(faces / "val_set/images")
    for file in [*faces.rglob("*_val.npy"), *faces.rglob("*_lnd.npy")]:
        file.unlink()
    manifest = read_affectnet(faces, check_images=False)
    assert len(manifest) == 5 and manifest["valence"].isna().all()
    (faces / "train_set/annotations/9_exp.npy").unlink()
    assert "annotations/9_exp.npy for 9.jpg (and 0 more" in refusal(faces)


@pytest.mark.parametrize(
    "value, reason",
    [
        ("happy", "could not convert"),
        ([1, 2], "size 1"),
        ({}, "pickle"),
        (np.nan, "'nan'"),
        (11, "'11.0'"),
        (1.5, "1.5"),
    ],
)
def test_a_bad_annotation_is_named(faces, value, reason):
    path = faces / "val_set/annotations/5_exp.npy"
    np.save(path, np.array(value))
    assert f"{path}: expected" in refusal(faces) and reason in refusal(faces)


def test_truncated_and_missing_annotations(faces):
    path = faces / "val_set/annotations/5_exp.npy"
    read_affectnet(faces)  # which teaches the header
    path.write_bytes(path.read_bytes()[:-1])
    assert "5_exp.npy: expected the expression" in refusal(faces)
    shutil.rmtree(path.parent)
    assert f"{path.parent}, found none" in refusal(faces)
    path.parent.mkdir()
    shutil.rmtree(faces / "val_set/images")
    assert "expected files N_exp.npy in" in refusal(faces)


@pytest.mark.parametrize("rest", ["5,6\n7,8\n", '5,6\n7",8\n', ""])
def test_an_open_quotation_mark_swallows_no_rows(tmp_path, rest):
    path = tmp_path / "training.csv"
    path.write_text(f'a,b\n1,2\n3,"oops\n{rest}')
    with pytest.raises(InputError, match="training.csv row 3: expected fields on one line"):
        read_columns(path, ("a", "b"))
