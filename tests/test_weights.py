"""Weights: round trips, files by another writer, and every way a file can be wrong."""

import json
import urllib.error

import pytest
import torch
from safetensors.torch import save_file

from fer_utils import models, weights
from fer_utils.errors import InputError


def foreign_state(seed=0):
    """ResNet-14 tensors under torchvision's names with a 1000-class head, half-precision, without counters."""
    random = torch.Generator().manual_seed(seed)
    state = {
        name: torch.randn(tensor.shape, generator=random).abs().half()
        for name, tensor in models.resnet14().state_dict().items()
        if not name.endswith("num_batches_tracked") and not name.startswith("input_")
    }
    return state | {"fc.weight": torch.zeros(1000, 2048), "fc.bias": torch.zeros(1000)}


def test_none_changes_nothing():
    backbone = models.se_resnet14()
    before = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    report = weights.load_pretrained(backbone, "none")
    assert (report["format"], report["matched"], report["dropped"]) == ("none", 0, [])
    assert all(torch.equal(tensor, before[name]) for name, tensor in backbone.state_dict().items())


def test_a_saved_model_comes_back_whole(tmp_path):
    options = {"embedding_dim": 16, "num_classes": 5, "embedding_activation": "relu", "embedding_norm": "batch"}
    model = models.FERNet("se_resnet14", **options).to(memory_format=torch.channels_last)
    models.set_layout(model.backbone, stride="conv2", pool="padded")
    models.set_input_convention(model.backbone, {"range": 255, "mean": [1.0, 2.0, 3.0], "std": [1.0, 1.0, 1.0]})
    images = torch.randn(4, 3, 32, 32)
    model(images)  # moves batch-norm statistics and counters
    path = weights.save_weights(model, tmp_path / "best.safetensors", {"epoch": "3"})

    other = models.FERNet("se_resnet14", **options)
    metadata = weights.load_weights(other, path)
    assert (metadata["epoch"], metadata["architecture"]) == ("3", "se_resnet14")
    assert models.get_layout(other.backbone) == {"stride": "conv2", "pool": "padded"}
    images = images.double()  # the pixels' range is 255: float32 alone would differ by more than the tolerance
    with torch.no_grad():
        for expected, found in zip(model.double().eval()(images), other.double().eval()(images), strict=True):
            torch.testing.assert_close(found, expected)
    for name, tensor in model.state_dict().items():
        assert torch.equal(other.state_dict()[name], tensor), name

    backbone = models.se_resnet14()
    report = weights.load_pretrained(backbone, path)
    assert report["format"] == "fer_utils"
    assert report["layout"] == {"stride": "conv2", "pool": "padded"}
    assert report["matched"] == len(backbone.state_dict())
    assert all(name.startswith(("embedding.", "output.")) for name in report["dropped"])
    assert {"embedding.linear.weight", "output.bias"} <= set(report["dropped"])
    assert report["input_convention"] == model.backbone.input_convention
    with torch.no_grad():
        torch.testing.assert_close(backbone.double().eval()(images), model.backbone(images))


def test_torchvision_names_with_a_header(tmp_path):
    state = foreign_state()
    header = {
        "architecture": "resnet14, stride 2 on the first 1x1 convolution of a stage, max-pool padding 1",
        "mean_rgb_0_255": "123.68,116.779,103.939",
    }
    save_file(state, tmp_path / "keras.safetensors", metadata=header)
    backbone = models.resnet14()
    report = weights.load_pretrained(backbone, tmp_path / "keras.safetensors")
    assert report["format"] == "safetensors"
    assert report["layout"] == models.get_layout(backbone) == {"stride": "conv1", "pool": "padded"}
    assert report["matched"] == len(state) - 2
    assert report["dropped"] == ["fc.bias", "fc.weight"]
    assert report["input_convention"] == {"range": 255, "mean": [123.68, 116.779, 103.939], "std": [1.0, 1.0, 1.0]}
    assert backbone.input_scale.flatten().tolist() == pytest.approx([255 * 0.229, 255 * 0.224, 255 * 0.225])
    assert json.dumps(report)
    for name in state.keys() - {"fc.weight", "fc.bias"}:
        assert torch.equal(backbone.state_dict()[name], state[name].float()), name


def test_without_a_header_layout_and_input_are_the_architectures_own(tmp_path):
    save_file(foreign_state(), tmp_path / "plain.safetensors")
    report = weights.load_pretrained(models.resnet14(), tmp_path / "plain.safetensors")
    assert report["layout"] == {"stride": "conv2", "pool": "padded"}
    assert report["input_convention"] == models.IMAGENET_INPUT


def test_imagenet_is_torchvisions_resnet50(monkeypatch):
    state = {name: t for name, t in models.resnet50().state_dict().items() if not name.startswith("input_")}
    state |= {"fc.weight": torch.zeros(1000, 2048), "fc.bias": torch.zeros(1000)}
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", lambda *args, **kwargs: state)
    backbone = models.set_layout(models.resnet50(), stride="conv1", pool="ceil")
    report = weights.load_pretrained(backbone, "imagenet")
    assert report["format"] == "torchvision"
    assert report["layout"] == {"stride": "conv2", "pool": "padded"}
    assert report["dropped"] == ["fc.bias", "fc.weight"]
    assert torch.equal(backbone.layer4[2].conv3.weight, state["layer4.2.conv3.weight"])


def refused(match, function, *args):
    with pytest.raises(InputError, match=match) as error:
        function(*args)
    assert "\n" not in str(error.value)


def test_no_network_is_one_line(monkeypatch):
    def offline(*args, **kwargs):
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", offline)
    refused("give the path of a local safetensors file", weights.load_pretrained, models.resnet50(), "imagenet")
    refused("expected resnet50.*found se_resnet14", weights.load_pretrained, models.se_resnet14(), "imagenet")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "found nothing in"),
        (b"\n<!DOCTYPE html><html>Not found</html>", "found a web page"),
        (b"PK\x03\x04" + bytes(80), "found a pickle or PyTorch file"),
        (b"\x80\x02}q\x00.", "found a pickle or PyTorch file"),
        (bytes(range(200)), "200 bytes that are not"),
    ],
)
def test_other_files_are_refused(content, message, tmp_path):
    path = tmp_path / "weights.safetensors"
    path.write_bytes(content)
    for load, module in (
        (weights.load_pretrained, models.resnet14()),
        (weights.load_weights, models.FERNet("resnet14")),
    ):
        refused(message, load, module, path)


def test_missing_truncated_and_foreign_files_are_refused(tmp_path):
    refused("found no file", weights.load_pretrained, models.resnet14(), tmp_path / "absent.safetensors")
    refused("found no file", weights.load_pretrained, models.resnet14(), tmp_path)

    path = weights.save_weights(models.FERNet("resnet14"), tmp_path / "whole.safetensors")
    (tmp_path / "cut.safetensors").write_bytes(path.read_bytes()[:-1000])
    refused(
        "expected a whole safetensors file", weights.load_pretrained, models.resnet14(), tmp_path / "cut.safetensors"
    )

    backbone = models.se_resnet14()
    before = backbone.conv1.weight.clone()
    refused("expected weights of se_resnet14; found resnet14", weights.load_pretrained, backbone, path)
    assert torch.equal(backbone.conv1.weight, before)
    small = models.FERNet("resnet14", embedding_dim=16)
    refused(r"embedding.linear.bias of shape \(512,\) instead of \(16,\)", weights.load_weights, small, path)

    save_file(foreign_state(), tmp_path / "foreign.safetensors")
    refused("use load_pretrained", weights.load_weights, models.FERNet("resnet14"), tmp_path / "foreign.safetensors")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layer1.0.conv1.weight": None}, r"1 tensors missing \(layer1.0.conv1.weight"),
        ({"layer9.weight": torch.zeros(1)}, r"1 unknown \(layer9.weight"),
        ({"bn1.bias": torch.zeros(3)}, r"bn1.bias of shape \(3,\) instead of \(64,\)"),
    ],
)
def test_every_tensor_must_fit(change, message, tmp_path):
    state = {name: tensor for name, tensor in (foreign_state() | change).items() if tensor is not None}
    save_file(state, tmp_path / "weights.safetensors")
    refused(message, weights.load_pretrained, models.resnet14(), tmp_path / "weights.safetensors")


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = weights.save_weights(models.FERNet("resnet14"), tmp_path / "best.safetensors")
    before = path.read_bytes()

    def full(tensors, filename, metadata):
        filename.write_bytes(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr(weights, "save_file", full)
    with pytest.raises(OSError, match="no space"):
        weights.save_weights(models.FERNet("resnet14"), path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["best.safetensors"]
