"""From pictures to the table: against what the run itself predicted, and against the manifest of the same faces."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from fer_utils import datasets, export, recognising, runs, transforms
from fer_utils.__main__ import main
from fer_utils.datasets.boxes import cut_box
from fer_utils.errors import InputError
from fer_utils.expressions import EXPRESSIONS

PROBABILITIES = [f"p_{name}" for name in EXPRESSIONS]


@pytest.fixture(scope="module")
def files(run):
    return {format: export.export(run, format) for format in export.FORMATS}


def test_images_of_the_test_split_are_recognised_as_the_run_did(run, recogniser):
    manifest = datasets.read_manifest(run.path("manifest.parquet"))
    images = list(datasets.load_images(manifest[manifest["split"] == "test"]))
    found, seen = recogniser.recognise(images)
    expected = pd.read_parquet(run.path("predictions.parquet"))[PROBABILITIES].to_numpy()
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert seen.shape == (16, 32, 32, 3) and seen.dtype == np.uint8


@pytest.mark.parametrize("format", export.FORMATS)
def test_an_exported_file_recognises_as_its_run_does(format, files, recogniser, drawn):
    path = recogniser_path = files[format]
    found = recognising.load_recogniser(str(recogniser_path))
    table, notes, _ = recognising.recognise_pictures(drawn, found)
    expected, _, _ = recognising.recognise_pictures(drawn, recogniser)
    np.testing.assert_allclose(table[PROBABILITIES], expected[PROBABILITIES], atol=1e-4)
    assert not notes and found.name == path.name
    assert (found.dataset, found.split, found.images, found.accuracy) == (
        "synthetic", "test", 16, recogniser.accuracy
    )  # fmt: skip
    assert (found.network is None) == (format != "safetensors")


def test_a_run_is_found_by_its_folder_and_by_default(run, recogniser, drawn):
    assert recognising.finished_runs(run.root) == ["explore/first"]
    for source in ("", str(run.folder), "runs/explore/first"):
        assert recognising.load_recogniser(source, run.root).name == "explore/first"


def test_limits_say_what_was_measured(run, recogniser):
    metrics = run.read_json("metrics.json")
    text = recogniser.limits()
    assert "An expression is not an emotion" in text and "nothing is known about photographs" in text
    assert f"right on {100 * metrics['accuracy']:.1f} % of 16 test images" in text


def changed(run, tmp_path, **params):
    """A copy of the run with other parameters in its file."""
    folder = tmp_path / "runs" / "explore" / "first"
    shutil.copytree(run.folder, folder)
    (folder / "params.yaml").write_text(yaml.safe_dump({**run.params, **params}))
    return "explore/first"


def without_network(run, tmp_path, **_):
    path = export.export(run, "safetensors", tmp_path)
    with safe_open(path, framework="pt") as file:
        header = file.metadata()
    about = json.loads(header["fer_utils.json"])
    del about["network"]
    save_file(load_file(path), path, metadata={**header, "fer_utils.json": json.dumps(about)})
    return str(path)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda run, folder: "", "expected a finished run, found none yet; run `make study` first"),
        (lambda run, folder: "explore/first", "expected a finished run, found no run explore/first and no other"),
        (lambda run, folder: changed(run, folder, architecture="resnet14"), "se_resnet14"),
        (
            lambda run, folder: changed(run, folder, target="subject"),
            "expected a network of expressions, found one of people in explore/first; name another run",
        ),
        (without_network, "expected how to build the network in .*, found an older file; export it anew"),
        (lambda run, folder: "gone.onnx", "expected a file written by export, found none at .*gone.onnx"),
    ],
    ids=["no-run-yet", "unknown-run", "other-architecture", "run-of-people", "older-export", "missing-file"],
)
def test_a_network_that_cannot_be_used_is_one_sentence(make, message, run, tmp_path):
    source = make(run, tmp_path)
    with pytest.raises(InputError, match=message) as error:
        recognising.load_recogniser(source, tmp_path)
    assert "\n" not in str(error.value)


def test_a_face_is_cut_and_seen_as_in_training(recogniser):
    """The margin, the evaluation transform and the boxes, from a detector whose answer is known."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (90, 120, 3), dtype=np.uint8)
    picture = None

    def find(_):
        return np.array([[10.2, 20.4, 30, 40, 0.9], [100, 60, 40, 40, 0.7]])

    path = "noise.png"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fer_utils.recognising.faces.open_picture", lambda _: image)
        picture = recognising.recognise_picture(path, recogniser, find=find)
    assert picture.faces[["box_x", "box_y", "box_width", "box_height"]].to_numpy().tolist() == [
        [10, 20, 30, 40],
        [100, 60, 40, 40],
    ]
    crop = torch.from_numpy(cut_box(image, (10, 20, 30, 40), 0.1).copy()).permute(2, 0, 1)  # 48 × 48
    assert crop.shape == (3, 48, 48)
    images = transforms.evaluation_transform(32)(crop)[None]
    np.testing.assert_array_equal(picture.crops[0], transforms.denormalise(images)[0].permute(1, 2, 0))
    with torch.no_grad():
        expected = recogniser.network(images)[0].softmax(1)[0]
    np.testing.assert_allclose(picture.faces.loc[0, PROBABILITIES].astype(float), expected, atol=1e-5)
    assert picture.faces["label"][0] == EXPRESSIONS[int(expected.argmax())] and picture.heatmaps.shape == (2, 32, 32)


def test_one_bad_file_does_not_stop_the_others(recogniser, drawn, tmp_path):
    (tmp_path / "text.jpg").write_text("no picture")
    Image.new("RGB", (60, 40), "green").save(tmp_path / "green.png")
    paths = [tmp_path / "text.jpg", drawn[0], tmp_path / "green.png", tmp_path / "gone.png"]
    table, notes, kept = recognising.recognise_pictures(paths, recogniser)
    assert table["file"].tolist() == [str(drawn[0])] and len(kept) == 1
    assert ["text.jpg, found a file" in notes[0], "no face found in" in notes[1], "no such file" in notes[2]] == [
        True
    ] * 3
    table, notes, _ = recognising.recognise_pictures(paths[2:3], recogniser, whole_picture=True)
    assert table[["box_x", "box_y", "box_width", "box_height"]].to_numpy().tolist() == [[0, 0, 60, 40]]
    assert "the whole picture was taken for one" in notes[0] and table["detection"].isna().all()


def test_the_manifest_holds_the_same_faces(recogniser, drawn, tmp_path):
    table, _, _ = recognising.recognise_pictures(drawn, recogniser)
    table.loc[0, "label"] = "contempt"
    csv, manifest = recognising.save_faces(table, recogniser.margin, tmp_path / "new")
    read = pd.read_csv(csv)
    assert list(read.columns) == list(recognising.COLUMNS) and len(read) == 9
    np.testing.assert_allclose(read[PROBABILITIES].sum(axis=1), 1, atol=1e-3)
    manifest = datasets.read_manifest(manifest)
    assert manifest["label"][0] == 7 and manifest["image"].tolist() == ["portrait.png"] + 8 * ["group.png"]
    found, _ = recogniser.recognise(list(datasets.load_images(manifest)))
    np.testing.assert_allclose(found, table[PROBABILITIES], atol=1e-5)


def test_a_folder_that_cannot_be_written_is_one_sentence(recogniser, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="expected a folder that can be written, found .*file"):
        recognising.save_faces(pd.DataFrame(columns=recognising.COLUMNS), 0.1, tmp_path / "file")
    with pytest.raises(InputError, match="expected at least one face, found none"):
        recognising.to_manifest(pd.DataFrame(columns=recognising.COLUMNS), 0.1)


def test_the_command_writes_a_table_and_a_figure(run, drawn, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(run.root)
    assert main(["recognise", str(drawn[0].parent), "nowhere.png"]) == 0
    out = run.root / "runs" / "recognised"
    assert {path.name for path in out.iterdir()} == {"faces.csv", "manifest.parquet", "faces.png", "faces.pdf"}
    assert len(pd.read_csv(out / "faces.csv")) == 9
    said = capsys.readouterr()
    assert "nowhere.png, found no such file" in said.err and "An expression is not an emotion" in said.out
    assert main(["recognise", "nowhere.png", "--out", str(tmp_path)]) == 1
    assert len(pd.read_csv(tmp_path / "faces.csv")) == 0
    assert main(["recognise", "a.png", "--run", "explore/frist"]) == 2
    assert "did you mean 'explore/first'" in capsys.readouterr().err


def test_runs_of_people_are_not_offered(run, tmp_path):
    changed(run, tmp_path, target="subject")
    assert recognising.finished_runs(tmp_path) == []
    assert runs.Run("explore", "first", tmp_path).finished
