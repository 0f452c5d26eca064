"""What `load_pretrained` accepts and refuses besides the formats: strictness, sources, options, nothing half done."""

import json
import pickle
import urllib.error

import pytest
import torch
from safetensors.torch import save_file
from torchvision.models import ConvNeXt_Tiny_Weights, get_model

from fer_utils import models, weights
from tests.weights.writers import random_state


def copied(module):
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def assert_unchanged(module, before):
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())


def test_none_changes_nothing():
    backbone = models.set_layout(models.se_resnet14(), "conv2", "padded")
    before = copied(backbone)
    report = weights.load_pretrained(backbone, "none")
    assert json.loads(json.dumps(report)) == report
    assert (report["format"], report["matched"], report["dropped"]) == ("none", 0, [])
    assert report["layout"] == {"stride": "conv2", "pool": "padded"}
    assert report["input_convention"] == models.IMAGENET_INPUT
    assert report["native_input"] is None
    assert_unchanged(backbone, before)


def served(monkeypatch, tensors):
    """Serve `tensors` for any download of torchvision's, and return what was asked for."""
    asked = []

    def load(url, **options):
        asked.append((url, options))
        return tensors

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", load)
    return asked


def test_imagenet_is_torchvisions_resnet50(monkeypatch):
    state = random_state("resnet50") | {"fc.weight": torch.zeros(1000, 4), "fc.bias": torch.zeros(1000)}
    asked = served(monkeypatch, state)
    backbone = models.set_layout(models.resnet50(), stride="conv1", pool="ceil")
    report = weights.load_pretrained(backbone, "imagenet")
    assert asked[0][0] == weights.IMAGENET_WEIGHTS.url
    assert asked[0][1]["weights_only"] is True
    assert report["format"] == "torchvision"
    assert report["layout"] == {"stride": "conv2", "pool": "padded"}
    assert report["dropped"] == ["fc.bias", "fc.weight"]
    assert report["native_input"] == models.IMAGENET_INPUT
    assert torch.equal(backbone.layer4[2].conv3.weight, state["layer4.2.conv3.weight"])


@pytest.mark.parametrize("name", ["convnext_tiny", "googlenet"])
def test_imagenet_is_any_torchvision_networks_own(name, monkeypatch):
    options = {"googlenet": {"init_weights": True}}.get(name, {})
    with torch.device("meta"):
        shapes = get_model(name, weights=None, **options).state_dict()
    state = {key: torch.full(tensor.shape, 2, dtype=tensor.dtype) for key, tensor in shapes.items()}
    asked = served(monkeypatch, state)
    backbone = models.build_backbone(name)
    report = weights.load_pretrained(backbone, "imagenet")
    # torchvision feeds GoogLeNet ImageNet-normalised images and turns them into TensorFlow's −1…1 inside.
    expected = {"range": 1, "mean": [0.5] * 3, "std": [0.5] * 3} if name == "googlenet" else models.IMAGENET_INPUT
    assert report["native_input"] == report["input_convention"] == expected
    assert report["layout"] == {}
    heads = ("fc.", "aux1.", "aux2.", "classifier.2.")
    assert report["dropped"] == sorted(key for key in state if key.startswith(heads))
    assert all((tensor == 2).all() for key, tensor in backbone.state_dict().items() if key.startswith("net."))
    if name == "convnext_tiny":
        assert asked[0][0] == ConvNeXt_Tiny_Weights.DEFAULT.url
    else:
        given = torch.rand(1, 3, 4, 4)
        theirs = get_model(name, weights=None, transform_input=True, **options)._transform_input(given)
        torch.testing.assert_close(backbone.input(given), theirs)


def test_no_network_is_one_line(monkeypatch, refused):
    def offline(*args, **kwargs):
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", offline)
    refused("give the path of a local file", weights.load_pretrained, models.resnet50(), "imagenet")
    refused(
        "expected resnet50 or another.*found se_resnet14", weights.load_pretrained, models.se_resnet14(), "imagenet"
    )


def test_an_unknown_convention_is_refused_at_once(refused):
    match = "unknown input_convention 'papr'; did you mean 'paper'"
    refused(match, weights.load_pretrained, models.resnet14(), "none", input_convention="papr")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layer1.0.conv1.weight": None}, r"1 tensors missing \(layer1.0.conv1.weight"),
        ({"layer9.weight": torch.zeros(1)}, r"1 unknown \(layer9.weight"),
        ({"bn1.bias": torch.zeros(3)}, r"bn1.bias of shape \(3,\) instead of \(64,\)"),
        ({"bn1.bias": torch.full((64,), torch.nan)}, "expected finite weights; found NaN or infinity in bn1.bias"),
        ({"bn1.bias": torch.full((64,), -torch.inf)}, "expected finite weights; found NaN or infinity in bn1.bias"),
        ({"backbone.bn1.bias": torch.zeros(64)}, "found two for bn1.bias"),
        ({"bn1.bias": torch.zeros(64).to_sparse()}, "found a Tensor under 'bn1.bias'"),
        ({"bn1.bias": 3}, "found a int under 'bn1.bias'"),
        ({7: torch.zeros(64)}, "found a Tensor under '7'"),
    ],
)
def test_every_tensor_must_fit_and_be_finite(change, message, tmp_path, refused):
    state = {name: tensor for name, tensor in (random_state("resnet14") | change).items() if tensor is not None}
    torch.save(state, tmp_path / "x.pth")
    backbone = models.set_layout(models.resnet14(), "conv1", "ceil")
    before = copied(backbone)
    refused(message, weights.load_pretrained, backbone, tmp_path / "x.pth")
    assert_unchanged(backbone, before)
    assert models.get_layout(backbone) == {"stride": "conv1", "pool": "ceil"}


@pytest.mark.parametrize("content", [{}, [torch.zeros(1)], torch.zeros(1), "text", {"state_dict": {}}])
def test_what_is_no_tensors_by_name_is_refused(content, tmp_path, refused):
    torch.save(content, tmp_path / "x.pth")
    refused("expected tensors by name; found", weights.load_pretrained, models.resnet14(), tmp_path / "x.pth")
    if "Tensor" not in str(type(content)) and not isinstance(content, list):
        (tmp_path / "x.pkl").write_bytes(pickle.dumps(content))
        refused("expected tensors by name; found", weights.load_pretrained, models.resnet14(), tmp_path / "x.pkl")


def test_another_architecture_is_named(tmp_path, refused):
    path = weights.save_weights(models.FERNet("resnet14"), tmp_path / "own.safetensors")
    match = r"expected weights of se_resnet14; found resnet14 in .*16 tensors missing \(layer1.0.se.fc1.weight"
    refused(match, weights.load_pretrained, models.se_resnet14(), path)
    refused("expected weights of resnet18", weights.load_pretrained, models.build_backbone("resnet18"), path)


def test_another_layout_than_torchvisions_is_refused_for_its_networks(tmp_path, refused):
    state = {name.removeprefix("net."): t for name, t in models.build_backbone("resnet18").state_dict().items()}
    header = {"architecture": "stride 2 on the first 1x1 convolution"}
    save_file({name: t for name, t in state.items() if "input" not in name}, tmp_path / "x.safetensors", header)
    match = "expected weights in torchvision's layout for resnet18"
    refused(match, weights.load_pretrained, models.build_backbone("resnet18"), tmp_path / "x.safetensors")


HEADERS = [
    ({"layout": "nonsense"}, "expected layout as JSON"),
    ({"layout": None}, "expected layout as JSON"),
    ({"layout": "[]"}, "expected a layout of stride and pool"),
    ({"layout": '{"stride": "conv9", "pool": "ceil"}'}, "expected a stride of .* found .*conv9"),
    ({"layout": '{"stride": ["conv1"], "pool": "ceil"}'}, "expected a stride of"),
    ({"input_convention": "[" * 100_000}, "expected input_convention as JSON"),
    ({"input_convention": "3"}, "expected an input convention"),
    ({"input_convention": '{"range": 1, "mean": [0, 0, 0], "std": [1, 1]}'}, "expected an input convention"),
    ({"input_convention": '{"range": 1, "mean": [0, 0, 0], "std": [1, 1, 0]}'}, "expected an input convention"),
    ({"input_convention": '{"range": NaN, "mean": [0, 0, 0], "std": [1, 1, 1]}'}, "expected an input convention"),
    ({"input_convention": '{"range": 1, "mean": "abc", "std": [1, 1, 1]}'}, "expected an input convention"),
    ({"format": "other", "mean_rgb_0_255": "1,2"}, "expected an input convention"),
    ({"format": "other", "mean_rgb_0_255": "red"}, "expected mean_rgb_0_255 as JSON"),
]


@pytest.mark.parametrize(("change", "message"), HEADERS)
def test_a_header_is_checked_before_it_is_believed(change, message, tmp_path, refused):
    header = {
        "format": "fer_utils",
        "architecture": "resnet14",
        "layout": '{"stride": "conv1", "pool": "ceil"}',
        "input_convention": json.dumps(models.IMAGENET_INPUT),
    }
    header = {name: value for name, value in (header | change).items() if value is not None}
    model = models.FERNet("resnet14", embedding_dim=4)
    before = copied(model)
    save_file({name: tensor * 2 for name, tensor in before.items()}, tmp_path / "x.safetensors", header)
    refused(message, weights.load_pretrained, model.backbone, tmp_path / "x.safetensors")
    if "format" not in change:
        refused(message, weights.load_weights, model, tmp_path / "x.safetensors")
    assert_unchanged(model, before)
