"""Both releases of AffectNet against what `trees` wrote by hand, and every way in which their lists go wrong."""

import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fer_utils.datasets import class_counts, read_affectnet
from fer_utils.datasets.affectnet_npy import _read_number
from fer_utils.errors import InputError
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


def refusal(root, **options):
    with pytest.raises(InputError) as error:
        read_affectnet(root, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


def write(path, *lines):
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


# CSV release


def test_csv_rows_labels_and_columns(root):
    manifest = read_affectnet(root)
    assert manifest["image"].tolist() == [
        "1/a.jpg", "1/b.JPG", "2/a.jpg", "2/d.bmp", "2/f.tif", "3/a b.jpg", "3/é.png"
    ]  # fmt: skip
    assert manifest["label"].tolist() == [0, 1, 7, 3, 6, 2, 5]
    assert manifest["split"].tolist() == ["train"] * 5 + ["validation"] * 2
    boxes = manifest[["box_x", "box_y", "box_width", "box_height"]]
    assert boxes.iloc[0].tolist() == [1, 2, 3, 4] and boxes.iloc[1].tolist() == [-3, 0, 900, 4]
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


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("validation", [True, False])
def test_either_list_may_have_a_header_or_none(root, training, validation):
    expected = read_affectnet(root)
    write(root / "training.csv", *[AFFECTNET_HEADER] * training, *TRAINING)
    write(root / "validation.csv", *[AFFECTNET_HEADER] * validation, *VALIDATION)
    assert read_affectnet(root).equals(expected)


def test_columns_go_by_name(root):
    expected = read_affectnet(root)
    order = [6, 0, 7, 8, 4, 3, 2, 1]  # other columns, without landmarks, and one more
    write(
        root / "training.csv",
        *(
            ",".join([*(line.split(",")[place] for place in order), "x"])
            for line in [AFFECTNET_HEADER.upper(), *TRAINING]
        ),
    )
    assert read_affectnet(root).equals(expected)


@pytest.mark.parametrize(
    "images", ["Manually_Annotated_compressed", "Manually_Annotated/Manually_Annotated_Images", "."]
)
@pytest.mark.parametrize("lists", ["", "Manually_Annotated_file_lists"])
def test_folders_as_the_archives_unpack(root, tmp_path, images, lists):
    expected = read_affectnet(root)
    shutil.move(root / "Manually_Annotated_Images", root / "moved")
    for folder in sorted((root / "moved").iterdir()):
        shutil.copytree(folder, root / images / folder.name)
    shutil.rmtree(root / "moved")
    (root / lists).mkdir(exist_ok=True)
    for name in ("training.csv", "validation.csv"):
        shutil.move(root / name, root / lists / name)
    manifest = read_affectnet(root)
    assert manifest.equals(expected)
    assert manifest.attrs["root"] == str((root / images).resolve())


def test_lists_without_images(root):
    shutil.rmtree(root / "Manually_Annotated_Images")
    manifest = read_affectnet(root, check_images=False)
    assert len(manifest) == 7 and manifest.attrs["root"] == str(root / "Manually_Annotated_Images")
    assert "found 7 absent, the first" in refusal(root) and "training.csv row 2" in refusal(root)


def test_a_class_without_images_is_allowed(root):
    assert class_counts(read_affectnet(root)).tolist() == [1, 1, 0, 1, 0, 0, 1, 1]


def test_spaces_and_fractions(root):
    write(root / "validation.csv", affectnet_line(" 3/a b.jpg ", " 2 ", box="1.5, 2 ,3,4"))
    manifest = read_affectnet(root)
    assert manifest["image"].iloc[-1] == "3/a b.jpg" and manifest["box_x"].iloc[-1] == 1.5


@pytest.mark.parametrize(
    "line, message",
    [
        (
            affectnet_line("3/x.jpg", "happy"),
            "row 2: expected an expression, a whole number from 0 to 10, found 'happy'",
        ),
        (affectnet_line("3/x.jpg", ""), "row 2: expected an expression, .* found nothing; mend that row"),
        (affectnet_line("3/x.jpg", 11), "row 2: expected an expression, .* found '11'"),
        (affectnet_line("3/x.jpg", 1.5), "row 2: expected an expression, .* found '1.5'"),
        (affectnet_line("3/x.jpg", "nan"), "row 2: expected an expression, .* found 'nan'"),
        (affectnet_line("", 1), "row 2: expected the name of an image, found nothing"),
        (affectnet_line('"3/x\ny.jpg"', 1), r"row 2: expected the name of an image on one line, found '3/x\\ny.jpg'"),
        (affectnet_line("3/x.jpg", 1, box="1,left,3,4"), "row 2: expected a number in face_y, found 'left'"),
        (affectnet_line("3/x.jpg", 1, box="1,2,inf,4"), "row 2: expected a number in face_width, found 'inf'"),
        (affectnet_line("3/x.jpg", 1, box="1,2,3,1e30"), "row 2: expected a number in face_height"),
        (affectnet_line("3/x.jpg", 1, valence="low"), "row 2: expected a number in valence, found 'low'"),
        ("3/x.jpg,1,2", "row 2: expected an expression, .* found nothing"),
        (VALIDATION[0], r"row 2: expected every image once, found '3/a b.jpg' in row 1 as well \(and 0 more"),
        (TRAINING[0], "row 2: expected every image in one list, found '1/a.jpg' in training.csv as well"),
        (f'"{VALIDATION[2]}', r"cannot be read as such \(.*EOF inside string"),
    ],
)
def test_a_bad_row_is_named(root, line, message):
    write(root / "validation.csv", VALIDATION[0], line, VALIDATION[2])
    with pytest.raises(InputError, match=f"{root / 'validation.csv'}.*{message}") as error:
        read_affectnet(root)
    assert "\n" not in str(error.value)


def test_what_is_no_expression_may_lack_numbers_and_stand_twice(root):
    write(
        root / "validation.csv",
        VALIDATION[0],
        VALIDATION[1],
        VALIDATION[1],
        affectnet_line("3/n.jpg", 10, box="NULL,,x,"),
    )
    manifest = read_affectnet(root)
    assert len(manifest) == 6 and manifest.attrs["dropped"] == {"none": 1, "uncertain": 2, "no face": 2}


def test_an_image_may_stand_in_both_lists_if_one_gives_no_expression(root):
    write(root / "validation.csv", affectnet_line("2/c.png", 4))
    assert read_affectnet(root)["label"].iloc[-1] == 4


def test_missing_columns_and_lists(root):
    header, *rows = (root / "training.csv").read_text(encoding="utf-8").splitlines()
    write(root / "training.csv", header.replace("expression", "emotion").replace("face_x,", "left,"), *rows)
    message = refusal(root)
    assert "training.csv, found none named face_x, expression but 'subDirectory_filePath, left, face_y" in message
    write(root / "training.csv", "1/a.jpg,3")
    assert "found none named subDirectory_filePath" in refusal(root) and "'1/a.jpg, 3'" in refusal(root)
    (root / "training.csv").unlink()
    assert "found no training.csv; restore it" in refusal(root)


def test_lists_without_rows_or_expressions(root):
    write(root / "training.csv", AFFECTNET_HEADER)
    assert "training.csv, found none; restore it" in refusal(root)
    for name in ("training.csv", "validation.csv"):
        write(root / name, affectnet_line(f"{name}.jpg", 8))
    assert "expected images with an expression" in refusal(root)


# npy release


def test_npy_rows_labels_and_columns(faces):
    manifest = read_affectnet(faces)
    assert manifest["image"].tolist() == [
        "train_set/images/0.jpg", "train_set/images/9.jpg", "train_set/images/10.jpg",
        "val_set/images/5.jpg", "val_set/images/7.jpg",
    ]  # fmt: skip
    assert manifest["label"].tolist() == [0, 7, 1, 6, 2]
    assert manifest["split"].tolist() == ["train"] * 3 + ["validation"] * 2
    assert (manifest["valence"] == 0.5).all() and (manifest["arousal"] == -0.25).all() and "box_x" not in manifest
    assert (manifest.attrs["release"], manifest.attrs["root"]) == ("npy", str(faces))
    assert manifest.attrs["dropped"] == {"none": 0, "uncertain": 1, "no face": 0}


@pytest.mark.parametrize("dtype", ["U1", "U5", "S1", "<i8", ">i4", "u1", "f4", "<f8"])
@pytest.mark.parametrize("shape", [(), (1,), (1, 1)])
@pytest.mark.parametrize("version", [(1, 0), (2, 0)])
def test_a_number_of_any_type_and_shape(tmp_path, dtype, shape, version):
    for code in (3, 7):  # the second by the header that the first has taught
        with open(tmp_path / f"{code}.npy", "wb") as file:
            np.lib.format.write_array(file, np.full(shape, code).astype(dtype), version=version)
        assert _read_number(tmp_path, f"{code}.npy", "a number") == code


def test_npy_without_images_or_affect(faces):
    expected = read_affectnet(faces)
    shutil.rmtree(faces / "train_set" / "images")
    assert read_affectnet(faces, check_images=False)["image"].tolist() == expected["image"].tolist()
    for file in [*faces.rglob("*_val.npy"), *faces.rglob("*_aro.npy"), *faces.rglob("*_lnd.npy")]:
        file.unlink()
    assert read_affectnet(faces, check_images=False)["valence"].isna().all()


def test_npy_images_of_another_type(faces):
    (faces / "val_set" / "images" / "5.jpg").unlink()
    picture(faces / "val_set" / "images" / "5.PNG")
    assert "val_set/images/5.PNG" in read_affectnet(faces)["image"].tolist()
    picture(faces / "val_set" / "images" / "5.bmp")
    assert "expected one image a number" in refusal(faces) and "5.PNG and 5.bmp" in refusal(faces)


def test_an_image_without_label_is_named(faces):
    (faces / "train_set" / "annotations" / "9_exp.npy").unlink()
    assert "annotations/9_exp.npy for 9.jpg (and 0 more such images)" in refusal(faces)


def test_missing_npy_folders(faces):
    shutil.rmtree(faces / "val_set" / "annotations")
    assert f"{faces / 'val_set' / 'annotations'}, found no such folder; restore it" in refusal(faces)
    (faces / "val_set" / "annotations").mkdir()
    shutil.rmtree(faces / "val_set" / "images")
    assert "expected files N_exp.npy in" in refusal(faces)


@pytest.mark.parametrize(
    "value, reason",
    [
        ("happy", "could not convert"),
        ([1, 2], "size 1"),
        ({}, "pickle"),
        (np.nan, "found nan"),
        (11, "found 11"),
        (1.5, "1.5"),
    ],
)
def test_a_bad_annotation_is_named(faces, value, reason):
    np.save(faces / "val_set" / "annotations" / "5_exp.npy", np.array(value))
    message = refusal(faces)
    assert "5_exp.npy: expected an expression, a whole number from 0 to 10, found" in message and reason in message


@settings(max_examples=60, deadline=None)
@given(st.one_of(st.binary(max_size=40), st.binary(max_size=60).map(lambda data: b"\x93NUMPY\x01\x00" + data)))
def test_no_annotation_is_ever_unpickled_or_crashes(tmp_path_factory, data):
    folder = tmp_path_factory.getbasetemp()
    (folder / "x_exp.npy").write_bytes(data)
    with pytest.raises(InputError, match="x_exp.npy: expected a number, found"):
        _read_number(folder, "x_exp.npy", "a number")


def test_a_truncated_annotation_of_a_known_kind(tmp_path):
    np.save(tmp_path / "a.npy", np.array(3))
    assert _read_number(tmp_path, "a.npy", "a number") == 3
    (tmp_path / "b.npy").write_bytes((tmp_path / "a.npy").read_bytes()[:-1])
    with pytest.raises(InputError, match="b.npy: expected a number"):
        _read_number(tmp_path, "b.npy", "a number")
