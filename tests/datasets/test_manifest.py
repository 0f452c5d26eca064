import numpy as np
import pandas as pd
import pytest

from fer_utils import datasets
from fer_utils.datasets.manifest import check_manifest, class_counts, read_manifest, write_manifest
from fer_utils.errors import InputError


def a_manifest(**columns):
    rows = {"image": ["a.png", "b.png", "c.png"], "label": [0, 7, 7], "split": ["train", "train", "test"]}
    manifest = pd.DataFrame({**rows, **columns})
    manifest.attrs = {"dataset": "folder", "root": "/faces", "leaks_removed": 3, "duplicates": {"test_in_train": 1}}
    return manifest


def test_a_good_manifest_comes_back_itself():
    manifest = a_manifest()
    assert check_manifest(manifest) is manifest


@pytest.mark.parametrize(
    "manifest, message",
    [
        ([1, 2], "expected a manifest .* found list"),
        (a_manifest().drop(columns="split"), "found none named split"),
        (a_manifest().iloc[:0], "at least one row"),
        (a_manifest(label=[0, 8, -1]), r"row 1 \(image 'b.png'\): expected a label from 0 to 7, found 8"),
        (a_manifest(label=[0, 1, -1]), "row 2 .* found -1"),
        (a_manifest(label=[0, 1.5, 2]), "row 1 .* found 1.5"),
        (a_manifest(label=[0, np.nan, 2]), "row 1 .* found nan"),
        (a_manifest(label=[0, "happy", 2]), "row 1 .* found happy"),
        (a_manifest(label=[0, None, 2], image=[10, 11, 12]), r"row 1 \(image 11\)"),
        (a_manifest(split=["train", "val", "test"]), "row 1 .* train, validation or test, found 'val'"),
        (a_manifest(split=["train", "test", None]), "row 2 .* expected the split"),
    ],
)
def test_bad_manifests_are_refused_in_one_line(manifest, message):
    with pytest.raises(InputError, match=message) as error:
        check_manifest(manifest)
    assert "\n" not in str(error.value)


def test_rows_are_counted_by_position_not_by_index():
    manifest = a_manifest(label=[0, 1, 9])
    with pytest.raises(InputError, match="row 0"):
        check_manifest(manifest[manifest["split"] == "test"])


def test_class_counts():
    counts = class_counts(a_manifest())
    assert counts.tolist() == [1, 0, 0, 0, 0, 0, 0, 1] and counts.dtype == np.int64
    assert class_counts(a_manifest(), "test").tolist() == [0, 0, 0, 0, 0, 0, 0, 1]
    assert class_counts(a_manifest(), "validation").sum() == 0
    with pytest.raises(InputError, match="did you mean 'validation'"):
        class_counts(a_manifest(), "validaton")


def test_parquet_keeps_rows_types_and_attrs(tmp_path):
    manifest = a_manifest(subject=[5, 6, 6], box_x=[0, -3, 12])
    write_manifest(manifest, tmp_path / "manifest.parquet")
    again = read_manifest(tmp_path / "manifest.parquet")
    pd.testing.assert_frame_equal(again, manifest)
    assert again.attrs == manifest.attrs
    assert isinstance(again.index, pd.RangeIndex)


def test_a_filtered_manifest_is_written_with_a_fresh_index(tmp_path):
    manifest = a_manifest()
    write_manifest(manifest[manifest["split"] == "test"], tmp_path / "manifest.parquet")
    assert read_manifest(tmp_path / "manifest.parquet").index.tolist() == [0]


def test_a_failed_write_leaves_the_former_file_and_nothing_else(tmp_path):
    path = tmp_path / "manifest.parquet"
    write_manifest(a_manifest(), path)
    before = path.read_bytes()
    unwritable = a_manifest()
    unwritable.attrs["object"] = object()
    with pytest.raises(TypeError):
        write_manifest(unwritable, path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_reading_something_else(tmp_path):
    (tmp_path / "manifest.parquet").write_text("image,label\n")
    with pytest.raises(InputError, match="expected a parquet file") as error:
        read_manifest(tmp_path / "manifest.parquet")
    assert "\n" not in str(error.value)
    with pytest.raises(InputError, match="no such file"):
        read_manifest(tmp_path / "absent.parquet")


@pytest.mark.parametrize(
    "arguments, options, message",
    [
        (("ferpluss", "x"), {}, "did you mean 'ferplus'"),
        (("ferplus",), {}, "expected the folder"),
        (("ferplus", ""), {}, "expected the folder"),
        (("ferplus", "x"), {"check_image": True}, "did you mean 'check_images'"),
        (("synthetic", "/faces"), {}, "expected no folder"),
        (("synthetic",), {"sed": 1}, "did you mean 'seed'"),
    ],
)
def test_read_dataset_names_the_mistake(arguments, options, message):
    with pytest.raises(InputError, match=message):
        datasets.read_dataset(*arguments, **options)


def test_read_dataset_passes_options_on():
    manifest = datasets.read_dataset("synthetic", "", train=80, validation=8, test=16, subjects=12, seed=5)
    assert manifest["split"].value_counts().to_dict() == {"train": 80, "test": 16, "validation": 8}
    assert check_manifest(manifest).attrs["seed"] == 5
