"""Our own files: a saved model comes back whole, and a failed write leaves the old file."""

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from fer_utils import models, weights
from tests.weights.writers import random_state

NATIVE = {"range": 255, "mean": [1.0, 2.0, 3.0], "std": [1.0, 1.0, 1.0]}
OPTIONS = {"embedding_dim": 16, "num_classes": 5, "embedding_activation": "relu", "embedding_norm": "batch"}


@pytest.fixture
def model():
    model = models.FERNet("se_resnet14", **OPTIONS).to(memory_format=torch.channels_last)
    models.set_layout(model.backbone, stride="conv2", pool="padded")
    models.set_input_convention(model.backbone, NATIVE)
    model(torch.randn(4, 3, 32, 32))  # moves batch-norm statistics and counters
    return model


@pytest.mark.parametrize("older", [False, True])
def test_a_saved_model_comes_back_whole(older, model, tmp_path):
    path = weights.save_weights(model, tmp_path / "best.safetensors", {"epoch": "3"})
    if older:  # the conversion's buffers had other names, and other values must not matter
        with safe_open(path, framework="pt") as file:
            header = file.metadata()
        tensors = {name.replace("input.s", "input_s"): tensor for name, tensor in load_file(path).items()}
        tensors["backbone.input_scale"] *= 7
        save_file(tensors, path, header)
    other = models.FERNet("se_resnet14", **OPTIONS)
    metadata = weights.load_weights(other, path)
    assert (metadata["epoch"], metadata["architecture"]) == ("3", "se_resnet14")
    assert models.get_layout(other.backbone) == {"stride": "conv2", "pool": "padded"}
    for name, tensor in model.state_dict().items():
        assert torch.equal(other.state_dict()[name], tensor), name
    images = torch.randn(4, 3, 32, 32).double()  # the pixels' range is 255: float32 would differ by more
    with torch.no_grad():
        for expected, found in zip(model.double().eval()(images), other.double().eval()(images), strict=True):
            torch.testing.assert_close(found, expected)

    backbone = models.se_resnet14()
    report = weights.load_pretrained(backbone, path)
    assert report["format"] == "fer_utils"
    assert report["layout"] == {"stride": "conv2", "pool": "padded"}
    assert report["matched"] == sum(not name.startswith("input.") for name in backbone.state_dict())
    assert all(name.startswith(("embedding.", "output.")) for name in report["dropped"])
    assert {"embedding.linear.weight", "output.bias"} <= set(report["dropped"])
    assert report["input_convention"] == report["native_input"] == NATIVE
    with torch.no_grad():
        torch.testing.assert_close(backbone.double().eval()(images), model.backbone(images))


def test_files_of_others_are_refused(model, tmp_path, refused):
    save_file(random_state("resnet14"), tmp_path / "foreign.safetensors")
    torch.save(model.state_dict(), tmp_path / "state.pth")
    for file in ("foreign.safetensors", "state.pth"):
        refused("use load_pretrained", weights.load_weights, models.FERNet("resnet14"), tmp_path / file)


def test_a_model_of_another_size_is_refused(tmp_path, refused):
    path = weights.save_weights(models.FERNet("resnet14"), tmp_path / "whole.safetensors")
    small = models.FERNet("resnet14", embedding_dim=16)
    before = small.backbone.conv1.weight.clone()
    refused(r"embedding.linear.bias of shape \(512,\) instead of \(16,\)", weights.load_weights, small, path)
    assert torch.equal(small.backbone.conv1.weight, before)
    refused("expected weights of se_resnet14", weights.load_weights, models.FERNet("se_resnet14"), path)


def test_a_failed_write_leaves_the_old_file(model, tmp_path, monkeypatch):
    path = weights.save_weights(model, tmp_path / "best.safetensors")
    before = path.read_bytes()

    def full(tensors, filename, metadata):
        filename.write_bytes(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr("fer_utils.weights.own.save_file", full)
    with pytest.raises(OSError, match="no space"):
        weights.save_weights(model, path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["best.safetensors"]
