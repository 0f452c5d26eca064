import numpy as np
import pandas as pd
import pytest

from fer_utils import datasets
from fer_utils.core import InputError


def a_manifest(**columns):
    rows = {
        "image": ["a.png", "b.png", "c.png"],
        "label": [0, 7, 7],
        "split": ["train", "train", "test"],
    }
    manifest = pd.DataFrame({**rows, **columns})
    manifest.attrs = {"dataset": "folder", "root": "/faces", "duplicates": {"test_in_train": 1}}
    return manifest


def test_a_good_manifest_comes_back_itself():
    manifest = a_manifest()
    assert datasets.check_manifest(manifest) is manifest
    people = a_manifest(label=-1, subject=list("abc"))
    assert datasets.check_manifest(people) is people and datasets.class_counts(people).sum() == 0


@pytest.mark.parametrize(
    "manifest, message",
    [
        ([1, 2], "found list"),
        (a_manifest().drop(columns="split"), "none named split"),
        (a_manifest().iloc[:0], "found none"),
        (a_manifest(label=[0, 8, -1]), r"row 1 \(image 'b.png'\): .* found '8'"),
        (a_manifest(label=[0, 1, -1]), "row 2 .* found '-1'"),
        (a_manifest(label=[0, 1.5, 2]), "row 1 .* found '1.5'"),
        (a_manifest(label=[0, np.nan, 2]), "row 1 .* found 'nan'"),
        (a_manifest(label=[0, "happy", 2]), "row 1 .* found 'happy'"),
        (a_manifest(label=[0, 1, 9]).iloc[2:], "row 0 .* found '9'"),
        (a_manifest(split=["train", "val", "test"]), "row 1 .* found 'val'"),
        (a_manifest(split=["train", "test", None]), "row 2 .* expected the split"),
    ],
)
def test_bad_manifests_are_refused_in_one_line(manifest, message):
    with pytest.raises(InputError, match=message) as error:
        datasets.check_manifest(manifest)
    assert "\n" not in str(error.value)


def test_counts_and_samples():
    manifest = a_manifest()
    assert datasets.class_counts(manifest).tolist() == [1, 0, 0, 0, 0, 0, 0, 1]
    assert datasets.class_counts(manifest, "validation").sum() == 0
    with pytest.raises(InputError, match="did you mean 'validation'"):
        datasets.class_counts(manifest, "validaton")
    table = datasets.count_table(manifest)
    assert len(table) == 24 and table.query("images > 0").values.tolist() == [
        ["train", "neutral", 1],
        ["train", "contempt", 1],
        ["test", "contempt", 1],
    ]
    many = pd.DataFrame({"image": range(4), "label": [7, 0, 0, 0], "split": "train"})
    assert datasets.sample_rows(many, "train", per_class=2, seed=0)["label"].tolist() == [0, 0, 7]
    many["subject"] = list("abba")
    many.loc[4] = [4, 0, "train", "a"]
    rows = datasets.sample_people(many, people=1, per_person=3)
    assert rows["subject"].tolist() == ["a"] * 3 and rows["image"].is_unique


def test_vote_shares():
    columns = [f"votes_{name}" for name in ("neutral", "happy", "sad", "surprise")]
    columns += [f"votes_{name}" for name in ("fear", "disgust", "anger", "contempt")]
    manifest = pd.DataFrame(0, index=range(2), columns=["label", *columns]).assign(label=[1, 7])
    manifest.loc[0, ["votes_happy", "votes_sad"]] = [6, 2]
    expected = [[0, 0.75, 0.25, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0, 1]]
    shares = datasets.vote_shares(manifest)
    assert shares.tolist() == expected and shares.dtype == np.float32
    with pytest.raises(InputError, match="row 1 .*image 'b'.*-1"):
        datasets.vote_shares(manifest.assign(image=["a", "b"], votes_fear=[0, -1]))
    with pytest.raises(InputError, match="votes_neutral"):
        datasets.vote_shares(a_manifest())


def test_parquet_keeps_rows_types_and_attrs(tmp_path):
    manifest, path = a_manifest(subject=[5, 6, 6], box_x=[0, -3, 12]), tmp_path / "m.parquet"
    datasets.write_manifest(manifest, path)
    again = datasets.read_manifest(path)
    pd.testing.assert_frame_equal(again, manifest)
    assert again.attrs == manifest.attrs
    datasets.write_manifest(manifest[manifest["split"] == "test"], path)
    assert datasets.read_manifest(path).index.tolist() == [0]
    before = path.read_bytes()
    manifest.attrs["object"] = object()
    with pytest.raises(TypeError):
        datasets.write_manifest(manifest, path)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_reading_something_else(tmp_path):
    (tmp_path / "text.parquet").write_text("image,label\n")
    for name, message in (("text", "a Parquet file"), ("absent", "no such file")):
        with pytest.raises(InputError, match=message) as error:
            datasets.read_manifest(tmp_path / f"{name}.parquet")
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "arguments, options, message",
    [
        (("ferpluss", "x"), {}, "did you mean 'ferplus'"),
        (("ferplus",), {}, "found none"),
        (("ferplus", ""), {}, "found none"),
        (("auto",), {}, "found none"),
        (("./nowhere",), {}, "no such folder"),
        (("ferplus", "x"), {"check_image": True}, "did you mean 'check_images'"),
        (("synthetic", "/faces"), {}, "/faces"),
        (("synthetic",), {"sed": 1}, "did you mean 'seed'"),
    ],
)
def test_read_dataset_names_the_mistake(arguments, options, message):
    with pytest.raises(InputError, match=message):
        datasets.read_dataset(*arguments, **options)


def test_read_dataset_passes_options_on():
    sizes = {"train": 80, "validation": 8, "test": 16}
    manifest = datasets.read_dataset("synthetic", "", **sizes, subjects=12, seed=5)
    assert manifest["split"].value_counts().to_dict() == sizes and manifest.attrs["seed"] == 5
