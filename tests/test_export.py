"""Exported files against what the run itself predicted, each read by the format's own library."""

import importlib.util
import json
import re
import shutil
import sys

import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file

from fer_utils import datasets, export, models, runs, transforms, weights
from fer_utils.__main__ import main
from fer_utils.errors import InputError
from fer_utils.expressions import EXPRESSIONS
from fer_utils.training import fit

MEANS = [131.5, 103.25, 91.0]  # of the weights that the run starts from: values from 0 to 255, over 1
TINY = {
    "train_images": 64, "validation_images": 16, "test_images": 16, "image_size": 32, "subjects": 12, "epochs": 1,
    "batch_size": 16, "learning_rate": 0.01, "threads": 1, "difficulty": 0.0, "device": "cpu",
    "embedding_norm": "batch", "embedding_activation": "relu", "classifier": "cosine",
}  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run whose network is unlike the default in all that a file could get wrong, in a checkout of its own."""
    root = tmp_path_factory.mktemp("root")
    (root / "experiments").mkdir()
    (root / "pyproject.toml").touch()
    torch.manual_seed(0)
    names = ("input.scale", "input.shift")
    tensors = {name: value for name, value in models.se_resnet14().state_dict().items() if name not in names}
    save_file(tensors, root / "source.safetensors", metadata={"mean_rgb_0_255": ",".join(map(str, MEANS))})
    return fit(runs.parameters({**TINY, "weights": "source.safetensors"}), root=root)


@pytest.fixture(scope="module")
def files(run):
    return {format: export.export(run, format) for format in export.FORMATS}


@pytest.fixture(scope="module")
def images(run):
    manifest = datasets.read_manifest(run.path("manifest.parquet"))
    pixels = datasets.load_images(manifest[manifest["split"] == "test"])  # (16, H, W, 3)
    return transforms.evaluation_transform(32)(torch.from_numpy(pixels).permute(0, 3, 1, 2))


def outputs(path, images):
    """Logits and features of a file, as somebody who only has the file would get them."""
    if path.suffix == ".onnx":
        return onnxruntime.InferenceSession(path).run(["logits", "features"], {"images": images.numpy()})
    if path.suffix == ".pt2":
        network = torch.export.load(path).module()
    else:
        options = {"embedding_norm": "batch", "embedding_activation": "relu", "classifier": "cosine"}
        network = models.FERNet("se_resnet14", **options).eval()
        weights.load_weights(network, path)
    with torch.no_grad():
        return [output.numpy() for output in network(images)]


@pytest.mark.parametrize("batch", [1, 5, 16])
@pytest.mark.parametrize("format", export.FORMATS)
def test_a_file_gives_what_the_run_predicted(format, batch, files, run, images):
    logits, features = outputs(files[format], images[:batch])
    table = pd.read_parquet(run.path("predictions.parquet"))[:batch]
    expected = np.log(table[[f"p_{name}" for name in EXPRESSIONS]].to_numpy())
    found = torch.from_numpy(logits).log_softmax(1).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-4, rtol=0)
    np.testing.assert_allclose(features, np.load(run.path("features.npy"))[:batch], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("format", export.FORMATS)
def test_logits_equal_the_live_networks(format, files, run, images):
    with torch.no_grad():
        expected = export.load_network(run)(images[:5])[0].numpy()
    np.testing.assert_allclose(outputs(files[format], images[:5])[0], expected, atol=1e-4, rtol=0)


def test_the_input_conversion_is_in_the_graph(files, run):
    """What is black to the transforms is minus the mean of 0–255 to a network without any conversion."""
    network = export.load_network(run)
    models.set_input_convention(network.backbone, models.IMAGENET_INPUT)  # none
    mean, std = (
        torch.tensor(values).view(3, 1, 1) for values in (models.IMAGENET_INPUT["mean"], [0.229, 0.224, 0.225])
    )
    grey = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        expected = network(255 * grey - torch.tensor(MEANS).view(3, 1, 1))[0].numpy()
        assert not np.allclose(network((grey - mean) / std)[0].numpy(), expected, atol=1e-2)
    for path in files.values():
        np.testing.assert_allclose(outputs(path, (grey - mean) / std)[0], expected, atol=1e-4, rtol=0)


def test_a_safetensors_file_is_a_source_of_pretrained_weights(files):
    backbone = models.build_backbone("se_resnet14")
    report = weights.load_pretrained(backbone, files["safetensors"])
    assert report["format"] == "fer_utils" and report["input_convention"]["mean"] == MEANS
    assert {name.split(".")[0] for name in report["dropped"]} == {"embedding", "output"}


def foreign_metadata(path):
    """The metadata, read by the format's own library."""
    if path.suffix == ".onnx":
        return onnxruntime.InferenceSession(path).get_modelmeta().custom_metadata_map["fer_utils.json"]
    if path.suffix == ".pt2":
        torch.export.load(path, extra_files=(found := {"fer_utils.json": ""}))
        return found["fer_utils.json"]
    with safe_open(path, framework="numpy") as file:
        return file.metadata()["fer_utils.json"]


@pytest.mark.parametrize("format", export.FORMATS)
def test_a_file_says_what_its_user_has_to_know(format, files, run):
    about = export.read_metadata(files[format])
    assert about == json.loads(foreign_metadata(files[format]))
    assert about["classes"] == list(EXPRESSIONS) and about["num_classes"] == 8
    assert (about["study"], about["run"], about["dataset"]) == ("explore", "first", "synthetic")
    assert about["git_commit"] == run.read_json("environment.json")["git_commit"]
    assert (about["architecture"], about["embedding_dim"]) == ("se_resnet14", 512)
    assert about["input_convention"] == {"range": 255, "mean": MEANS, "std": [1, 1, 1]}
    seen = about["input"]
    assert (seen["shape"], seen["channels"], seen["range"]) == (["N", 3, 32, 32], "RGB", [0, 1])
    assert (seen["mean"], seen["std"]) == ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    assert (seen["resize"], seen["crop"]) == (
        "shorter side to 37 pixels, bilinear, antialiased",
        "centre, 32 × 32 pixels",
    )
    assert about["measured_on"] == "test" and about["metrics"] == run.read_json("metrics.json")
    assert "within 0.0001 of PyTorch" in about["equality"]
    assert ("ONNX Runtime" in about["equality"]) == (format == "onnx")


@pytest.mark.parametrize("format", export.FORMATS)
def test_a_file_tells_nothing_of_the_machine_it_was_made_on(format, files):
    content = files[format].read_bytes()
    for place in (export.__file__, torch.__file__, str(files[format].parents[3])):
        assert place.rsplit("/", 1)[0].encode() not in content


def test_onnx_has_named_inputs_and_outputs_a_free_batch_and_no_training(files):
    model = onnx.load(files["onnx"])
    onnx.checker.check_model(model, full_check=True)
    sizes = {
        value.name: [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*model.graph.input, *model.graph.output)
    }
    assert sizes == {"images": ["batch", 3, 32, 32], "logits": ["batch", 8], "features": ["batch", 512]}
    assert not {node.op_type for node in model.graph.node} & {"Dropout", "If", "Loop"}


def test_the_cards_code_runs(files, tmp_path, monkeypatch, images):
    card = files["onnx"].with_name("MODEL_CARD.md").read_text(encoding="utf-8")
    prepare, *blocks = re.findall(r"```python\n(.*?)```", card, flags=re.DOTALL)
    pixels = np.random.default_rng(0).integers(0, 255, (40, 50, 3), dtype=np.uint8)
    for path in files.values():
        shutil.copy(path, tmp_path)
    monkeypatch.chdir(tmp_path)
    Image.fromarray(pixels).save("face.png")
    names = {}
    exec(prepare, names)
    found = []
    for block in blocks:
        exec(block, names)
        found.append(np.asarray(torch.as_tensor(names["logits"]).detach()))
    assert len(found) == 3 and found[0].shape == (1, 8)
    np.testing.assert_allclose(found[1], found[0], atol=1e-4)
    np.testing.assert_allclose(found[2], found[0], atol=1e-4)


def test_an_identity_run_has_people_for_classes_and_no_names(tmp_path):
    params = {"run": "people", "target": "subject", "loss": "softmax", "validation_images": 0, "test_images": 0}
    run = fit(runs.parameters({**TINY, **params}), root=tmp_path)
    run.write_json("metrics.json", {**run.read_json("metrics.json"), "verification_auc": float("nan")})
    about = export.read_metadata(export.export(run, folder=tmp_path / "out"))
    assert (about["classes"], about["num_classes"], about["measured_on"]) == (None, 12, "validation")
    assert about["metrics"]["verification_auc"] is None
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"explore-people.safetensors", "MODEL_CARD.md"}


@pytest.mark.parametrize("output", ["output.weight", "embedding.linear.bias"])
def test_a_file_that_differs_is_refused_and_nothing_is_left(output, run, tmp_path, monkeypatch):
    def write_wrongly(network, images, about, path):
        changed = export.load_network(run)
        changed.get_parameter(output).add_(1)
        weights.save_weights(changed, path)

    monkeypatch.setattr(export, "_write_safetensors", write_wrongly)
    with pytest.raises(
        InputError, match="of explore-first.safetensors within 0.0001 of PyTorch's, found them"
    ) as error:
        export.export(run, folder=tmp_path / "out")
    assert "\n" not in str(error.value) and list((tmp_path / "out").iterdir()) == []


def test_an_error_halfway_leaves_nothing(run, tmp_path, monkeypatch):
    def write_half(network, images, about, path):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(export, "_write_pt2", write_half)
    with pytest.raises(InputError, match="No space left on device"):
        export.export(run, "pt2", tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_without_onnxruntime_the_file_says_that_nobody_compared_it(run, tmp_path, monkeypatch):
    monkeypatch.setattr(export, "_write_onnx", lambda network, images, about, path: path.write_text(about))
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    about = json.loads(export.export(run, "onnx", tmp_path).read_text())
    assert about["equality"] == "not compared with PyTorch: onnxruntime was not installed"


def test_bad_input_is_one_clear_line(run, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    half = runs.Run("explore", "half", run.root)
    half.folder.mkdir(exist_ok=True)
    for call, message in (
        (lambda: export.export(run, "tflite"), "unknown export format 'tflite'. Choose from: onnx, safetensors, pt2"),
        (
            lambda: export.export(half),
            "expected metrics.json in run explore/half, found none: the run has not finished",
        ),
        (lambda: export.export(runs.Run("explore", "frist", run.root)), "unknown run 'explore/frist'; did you mean"),
        (lambda: export.export(run, folder=tmp_path / "file" / "x"), "expected a folder that can be written, found"),
        (lambda: export.read_metadata(tmp_path / "model.h5"), "unknown export format 'h5'"),
        (lambda: export.read_metadata(tmp_path / "none.pt2"), "expected a file written by export, found none at"),
    ):
        with pytest.raises(InputError) as error:
            call()
        assert message in str(error.value) and "\n" not in str(error.value)
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    assert importlib.util.find_spec("onnxscript") is None
    with pytest.raises(InputError, match="found no onnxscript; install them: pip install onnxscript$"):
        export.export(run, "onnx", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("content", [b"", b"\x80\x04 no model", b"<html>\n<body>"])
@pytest.mark.parametrize("format", export.FORMATS)
def test_a_strangers_file_has_no_metadata(format, content, tmp_path):
    path = tmp_path / f"model.{format}"
    path.write_bytes(content)
    with pytest.raises(InputError, match="expected a file written by export, found another at") as error:
        export.read_metadata(path)
    assert "\n" not in str(error.value)


def test_the_command_writes_every_format_and_prints_where(run, monkeypatch, capsys):
    shutil.rmtree(run.folder / "export", ignore_errors=True)
    monkeypatch.chdir(run.root)
    assert main(["export", "explore/first", "--format", "safetensors", "pt2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    names = ["explore-first.safetensors", "explore-first.pt2", "MODEL_CARD.md"]
    assert [line.split(":")[0] for line in lines] == [f"runs/explore/first/export/{name}" for name in names]
    assert all((run.folder / "export" / name).is_file() for name in names)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["explore"], "expected a run as STUDY/RUN, found 'explore'"),
        (["explore/first/export"], "expected a run as STUDY/RUN"),
        (["explore/frist"], "unknown run 'explore/frist'; did you mean 'explore/first'?"),
        (["explore/first", "--format", "pt2", "onxx"], "unknown export format 'onxx'; did you mean 'onnx'?"),
    ],
)
def test_the_command_stops_with_one_line(arguments, message, run, monkeypatch, capsys):
    monkeypatch.chdir(run.root)
    assert main(["export", *arguments]) == 2
    line = capsys.readouterr().err
    assert line.startswith("stopped: ") and message in line and line.count("\n") == 1
