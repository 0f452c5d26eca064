"""Exported files against the run's own network, each read by the format's own library."""

import json

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from safetensors import safe_open

from fer_utils import models
from fer_utils.core import EXPRESSIONS, Run, parameters
from tests.models.networks import randomise

MEANS = [131.5, 103.25, 91.0]  # of weights that saw values from 0 to 255
HEAD = {
    "embedding_dim": 24, "embedding_norm": "batch", "embedding_activation": "relu",
    "classifier": "cosine",
}  # fmt: skip


def make_run(root, name="first", classes=8, **params):
    """A finished run whose network is unlike the default in all that a file could get wrong."""
    params = parameters({**HEAD, "run": name, "image_size": 32, **params})
    run = Run("explore", name, root)
    run.start(params)
    network = randomise(models.FERNet(params.architecture, num_classes=classes, **HEAD))
    network.backbone.input.set({"range": 255, "mean": MEANS, "std": [64.0, 64.0, 64.0]})
    models.save_weights(network, run.path("best.safetensors"), {"epoch": "1"})
    run.write_json("architecture.json", models.describe(network, 32))
    run.write_json("metrics.json", {"accuracy": 0.5, "verification_auc": float("nan")})
    return run


NARROW = pytest.param("se_resnet14", marks=pytest.mark.slow)  # its pool is in ceil mode


@pytest.fixture(scope="module", params=[NARROW, "small_se_resnet"])
def run(request, tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("root"), architecture=request.param)


@pytest.fixture(scope="module")
def files(run):
    return {format: models.export(run, format) for format in models.EXPORT_FORMATS}


def outputs(path, images, name):
    """Logits and features of a file, as somebody who only has the file would get them."""
    if path.suffix == ".onnx":
        session = onnxruntime.InferenceSession(path)
        return session.run(["logits", "features"], {"images": images.numpy()})
    network = models.FERNet(name, **HEAD).eval()
    models.load_weights(network, path)
    with torch.no_grad():
        return [output.numpy() for output in network(images)]


@pytest.mark.parametrize("batch", [1, 5])
def test_a_file_gives_what_the_run_gives(batch, files, run):
    images = torch.randn(batch, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    network = models.load_network(run)
    assert not network.training and not any(p.requires_grad for p in network.parameters())
    expected = network(images)
    for path in files.values():
        given = outputs(path, images, run.params.architecture)
        for found, live in zip(given, expected, strict=True):
            np.testing.assert_allclose(found, live, atol=1e-4, rtol=1e-3)


def test_the_input_conversion_is_in_the_file(files, run):
    """A network without any conversion, on images converted by hand."""
    network = models.load_network(run)
    pixels = torch.rand(2, 3, 32, 32)
    mean, std = (torch.tensor(models.IMAGENET_INPUT[k])[:, None, None] for k in ("mean", "std"))
    images = (pixels - mean) / std
    network.backbone.input.set(models.IMAGENET_INPUT)
    by_hand = (255 * pixels - torch.tensor(MEANS)[:, None, None]) / 64
    expected = network(by_hand)[0].numpy()
    assert not np.allclose(network(images)[0].numpy(), expected, atol=1e-2)
    for path in files.values():
        found = outputs(path, images, run.params.architecture)[0]
        np.testing.assert_allclose(found, expected, atol=1e-3, rtol=1e-3)


def metadata(path):
    if path.suffix == ".onnx":
        entries = onnx.load(path).metadata_props
        return json.loads({entry.key: entry.value for entry in entries}["fer_utils.json"])
    with safe_open(path, framework="numpy") as file:
        return json.loads(file.metadata()["fer_utils.json"])


@pytest.mark.parametrize("format", models.EXPORT_FORMATS)
def test_a_file_says_what_its_user_has_to_know(format, files, run):
    about = metadata(files[format])
    assert about["classes"] == list(EXPRESSIONS) and about["num_classes"] == 8
    assert (about["study"], about["run"], about["dataset"]) == ("explore", "first", "synthetic")
    assert about["git_commit"] == run.read_json("environment.json")["git_commit"]
    assert (about["architecture"], about["image_size"]) == (run.params.architecture, 32)
    assert about["input"] == {"channels": "RGB", **models.IMAGENET_INPUT}
    assert about["input_convention"]["mean"] == MEANS and about["crop_pct"] == 0.875
    assert about["measured_on"] == "test" and about["flip_tta"] is False
    assert about["metrics"] == {"accuracy": 0.5, "verification_auc": None}  # NaN is no JSON
    backbone = models.build_backbone(about["architecture"], about["image_size"])
    network = models.FERNet(backbone, **about["network"])
    models.load_weights(network, files["safetensors"])  # the description is enough to build it


def test_onnx_has_names_a_free_batch_and_nothing_of_this_machine(files):
    model = onnx.load(files["onnx"])
    onnx.checker.check_model(model, full_check=True)
    sizes = {
        value.name: [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*model.graph.input, *model.graph.output)
    }
    batch = sizes["images"][0]
    assert isinstance(batch, str)
    expected = {"images": [batch, 3, 32, 32], "logits": [batch, 8], "features": [batch, 24]}
    assert sizes == expected
    content = files["onnx"].read_bytes()
    for place in (models.__file__, torch.__file__, str(files["onnx"].parents[3])):
        assert place.rsplit("/", 1)[0].encode() not in content


def test_a_run_of_people_has_classes_without_names(tmp_path):
    run = make_run(tmp_path, "people", classes=12, target="subject", architecture="small_resnet")
    about = metadata(models.export(run, folder=tmp_path / "out"))
    assert about["classes"] is None and about["num_classes"] == 12
    assert about["measured_on"] == "validation"


def test_onnx_that_differs_is_refused_and_nothing_is_left(tmp_path, monkeypatch, refused):
    class Tiny(torch.nn.Module):
        def forward(self, images):
            return images.mean((2, 3)), images.amax((2, 3))

    allclose, path = torch.allclose, tmp_path / "tiny.onnx"
    monkeypatch.setattr(torch, "allclose", lambda a, b, **how: allclose(a + 0.1, b, **how))
    refused("tiny.onnx", models.write_onnx, Tiny().eval(), 8, path, {})
    assert list(tmp_path.iterdir()) == []


def test_bad_input_is_one_line(run, tmp_path, refused):
    refused("'tflite'", models.export, run, "tflite")
    refused("explore/other", models.export, Run("explore", "other", tmp_path))
    run = make_run(tmp_path, "half", architecture="small_resnet")
    refused("params.yaml", models.export, run, "safetensors", run.path("params.yaml"))
    run.path("metrics.json").unlink()
    refused(["metrics.json", "explore/half"], models.export, run)
