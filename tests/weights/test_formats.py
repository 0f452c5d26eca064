"""Every format that users hold, written independently, read back tensor by tensor and output by output."""

import json
import pickle
from collections import OrderedDict

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torchvision.models import get_model

from fer_utils import models, weights
from fer_utils.weights.names import interpret
from fer_utils.weights.reading import Content
from tests.test_models import reference
from tests.weights.writers import BGR, dag_tensors, python2_pickle, random_state, vggface2_arrays

VGGFACE2_INPUT = {"range": 255, "mean": [131.0912, 103.8827, 91.4953], "std": [1.0, 1.0, 1.0]}
VGGFACE2_LAYOUT = {"stride": "conv1", "pool": "ceil"}


def assert_holds(backbone, state):
    """Every tensor of `state` (torchvision's names, RGB) is in the backbone, bit by bit."""
    own = backbone.state_dict()
    for name, tensor in state.items():
        assert torch.equal(own[f"{backbone.prefix}{name}"], tensor), name


def features(backbone, pixels):
    """Output for RGB pixels in 0–1, by way of the transforms' normalisation."""
    mean, std = (torch.tensor(models.IMAGENET_INPUT[key])[:, None, None] for key in ("mean", "std"))
    with torch.no_grad():
        return backbone.eval()((pixels - mean) / std)


@pytest.fixture(scope="module")
def pixels():
    return torch.rand(2, 3, 65, 50, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("name", ["se_resnet14", "resnet14"])
@pytest.mark.parametrize("writer", ["python 2", 2, 3, 4, 5, "nested"])
def test_vggface2_pickles(name, writer, tmp_path, pixels):
    state = random_state(name)
    arrays = vggface2_arrays(state)
    if writer == "python 2":
        content = python2_pickle(arrays)
    elif writer == "nested":
        content = pickle.dumps({"epoch": np.float64(3), "state_dict": OrderedDict(arrays), "arch": "senet50"}, 2)
    else:
        content = pickle.dumps(arrays, protocol=writer)
    (tmp_path / "weights.safetensors").write_bytes(content)  # the name says nothing
    backbone = models.set_layout(models.build_backbone(name), "conv2", "padded")
    report = weights.load_pretrained(backbone, tmp_path / "weights.safetensors")
    assert_holds(backbone, state)
    assert json.loads(json.dumps(report)) == report
    assert (report["format"], report["layout"]) == ("vggface2-pytorch", VGGFACE2_LAYOUT)
    assert report["layout"] == models.get_layout(backbone)
    assert (report["matched"], report["dropped"]) == (len(state), ["fc.bias", "fc.weight"])
    assert report["input_convention"] == report["native_input"] == backbone.input_convention == VGGFACE2_INPUT
    assert len(report["self_test"]["checked"]) == 5
    assert report["self_test"]["largest_deviation"] < 1e-4

    # The network as its authors ran it: blue first, 0–255, minus their mean, with their weights.
    native = 255 * pixels[:, BGR].double() - torch.tensor([91.4953, 103.8827, 131.0912]).double()[:, None, None]
    theirs = {key: tensor.double() for key, tensor in state.items()}
    theirs["conv1.weight"] = torch.tensor(arrays["conv1.weight"]).double()
    expected = reference(theirs, native, (1, 1, 1, 1), name.startswith("se_"), stride_on_3x3=False, padded_pool=False)
    torch.testing.assert_close(features(backbone, pixels).double(), expected, rtol=1e-4, atol=1e-3)


def test_arrays_of_other_orders_and_types(tmp_path):
    state = random_state("resnet14")
    arrays = vggface2_arrays(state)
    for number, name in enumerate(state):
        arrays[name] = [np.asfortranarray(arrays[name]), arrays[name].astype(">f8"), arrays[name]][number % 3]
    arrays["bn1.num_batches_tracked"] = np.int64(7)
    (tmp_path / "weights.pkl").write_bytes(pickle.dumps(arrays, protocol=2))
    backbone = models.resnet14()
    weights.load_pretrained(backbone, tmp_path / "weights.pkl")
    assert_holds(backbone, state)
    assert backbone.bn1.num_batches_tracked == 7


@pytest.mark.parametrize("name", ["se_resnet14", "resnet14"])
@pytest.mark.parametrize("zipped", [True, False])
def test_dag_files(name, zipped, tmp_path, pixels):
    state = random_state(name)
    path = tmp_path / "senet50_ft_dag.pth"
    torch.save(dag_tensors(state), path, _use_new_zipfile_serialization=zipped)
    backbone = models.build_backbone(name)
    report = weights.load_pretrained(backbone, path)
    assert_holds(backbone, state)
    assert (report["format"], report["layout"]) == ("dag", VGGFACE2_LAYOUT)
    assert (report["matched"], report["dropped"]) == (len(state), ["classifier.bias", "classifier.weight"])
    assert report["native_input"] == VGGFACE2_INPUT
    native = 255 * pixels.double() - torch.tensor([131.0912, 103.8827, 91.4953]).double()[:, None, None]
    double = {key: tensor.double() for key, tensor in state.items()}
    expected = reference(double, native, (1, 1, 1, 1), name.startswith("se_"), stride_on_3x3=False, padded_pool=False)
    torch.testing.assert_close(features(backbone, pixels).double(), expected, rtol=1e-4, atol=1e-3)


def test_full_size_pickle_and_dag_are_one_network(tmp_path):
    state = random_state("se_resnet50")
    (tmp_path / "weights.pkl").write_bytes(python2_pickle(vggface2_arrays(state)))
    torch.save(dag_tensors(state), tmp_path / "dag.pth")
    backbone = models.se_resnet50()
    image = torch.rand(1, 3, 97, 224, generator=torch.Generator().manual_seed(0))
    outputs = []
    for file in ("weights.pkl", "dag.pth"):
        report = weights.load_pretrained(backbone, tmp_path / file)
        assert report["matched"] == len(state)
        outputs.append(features(backbone, image))
    torch.testing.assert_close(outputs[0], outputs[1], rtol=1e-5, atol=1e-5)
    assert outputs[0].std() > 0.01


@pytest.mark.parametrize("wrapper", [None, "state_dict", "model", "model_state_dict"])
@pytest.mark.parametrize("zipped", [True, False])
def test_torchvision_state_dicts(wrapper, zipped, tmp_path, pixels):
    state = random_state("resnet14")
    file = OrderedDict(state, **{"fc.weight": torch.zeros(1000, 512), "fc.bias": torch.zeros(1000)})
    if wrapper:
        file = {wrapper: {f"module.{name}": tensor for name, tensor in file.items()}, "epoch": 3, "arch": "resnet14"}
    torch.save(file, tmp_path / "x.pkl", _use_new_zipfile_serialization=zipped)
    backbone = models.resnet14()
    report = weights.load_pretrained(backbone, tmp_path / "x.pkl")
    assert_holds(backbone, state)
    assert (report["format"], report["layout"]) == ("torchvision", {"stride": "conv2", "pool": "padded"})
    assert [name.removeprefix("module.") for name in report["dropped"]] == ["fc.bias", "fc.weight"]
    assert report["input_convention"] == report["native_input"] == models.IMAGENET_INPUT
    assert report["plausible"].startswith(("yes: ", "no: "))
    mean, std = (torch.tensor(models.IMAGENET_INPUT[key]).double()[:, None, None] for key in ("mean", "std"))
    double = {key: tensor.double() for key, tensor in state.items()}
    expected = reference(double, (pixels - mean) / std, (1, 1, 1, 1), False, stride_on_3x3=True, padded_pool=True)
    torch.testing.assert_close(features(backbone, pixels).double(), expected, rtol=1e-4, atol=1e-4)


def test_a_pickle_of_a_thousand_classes_is_not_vggface2s(tmp_path):
    state = random_state("resnet14")
    arrays = {name: tensor.numpy() for name, tensor in state.items()} | {"fc.weight": np.zeros((1000, 4))}
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(arrays))
    backbone = models.resnet14()
    assert weights.load_pretrained(backbone, tmp_path / "x.pkl")["format"] == "torchvision"
    assert_holds(backbone, state)


def test_safetensors_with_a_header_in_prose(tmp_path):
    state = random_state("resnet14") | {"fc.weight": torch.zeros(1000, 512), "fc.bias": torch.zeros(1000)}
    state = {name: tensor.half() for name, tensor in state.items()}
    header = {
        "architecture": "resnet14, stride 2 on the first 1x1 convolution of a stage, max-pool padding 1",
        "mean_rgb_0_255": "123.68,116.779,103.939",
    }
    save_file(state, tmp_path / "keras.safetensors", metadata=header)
    backbone = models.resnet14()
    report = weights.load_pretrained(backbone, tmp_path / "keras.safetensors")
    assert report["format"] == "safetensors"
    assert report["layout"] == models.get_layout(backbone) == {"stride": "conv1", "pool": "padded"}
    assert (report["matched"], report["dropped"]) == (len(state) - 2, ["fc.bias", "fc.weight"])
    assert report["input_convention"] == {"range": 255, "mean": [123.68, 116.779, 103.939], "std": [1.0, 1.0, 1.0]}
    assert report["plausible"].startswith("declared")
    assert backbone.input.scale.flatten().tolist() == pytest.approx([255 * 0.229, 255 * 0.224, 255 * 0.225])
    assert_holds(backbone, {name: t.float() for name, t in state.items() if not name.startswith("fc.")})


def test_without_a_header_layout_and_input_are_the_architectures_own(tmp_path):
    save_file(random_state("resnet14"), tmp_path / "plain.safetensors")
    report = weights.load_pretrained(models.resnet14(), tmp_path / "plain.safetensors")
    assert report["layout"] == {"stride": "conv2", "pool": "padded"}
    assert report["input_convention"] == models.IMAGENET_INPUT


@pytest.mark.parametrize("age", ["now", "before the header", "before the module"])
def test_lightning_checkpoints_of_this_project(age, tmp_path):
    state = random_state("se_resnet14")
    layout = {"stride": "conv2", "pool": "padded"}
    checkpoint = {
        "epoch": 2,
        "global_step": 30,
        "pytorch-lightning_version": "2.6.0",
        "state_dict": {
            **{f"network.backbone.{name}": tensor for name, tensor in state.items()},
            "network.backbone.bn1.num_batches_tracked": torch.tensor(30),
            "network.embedding.linear.weight": torch.zeros(4, 512),
            "network.output.weight": torch.zeros(8, 4),
            "loss.cluster.centers": torch.zeros(8, 4),
            "first_norm": torch.tensor(1.0),
        },
        "optimizer_states": [{"state": {0: {"momentum_buffer": torch.zeros(3)}}, "param_groups": [{"lr": 0.1}]}],
    }
    parts = ("input_scale", "input_shift") if age == "before the module" else ("input.scale", "input.shift")
    checkpoint["state_dict"] |= {f"network.backbone.{part}": torch.full((3, 1, 1), 5.0) for part in parts}
    if age == "now":
        header = {"architecture": "se_resnet14", "layout": layout, "input_convention": VGGFACE2_INPUT}
        checkpoint["fer_utils"] = header
    torch.save(checkpoint, tmp_path / "last.ckpt")
    backbone = models.se_resnet14()
    report = weights.load_pretrained(backbone, tmp_path / "last.ckpt")
    assert_holds(backbone, state)
    assert backbone.bn1.num_batches_tracked == 30
    assert report["format"] == "lightning"
    assert report["matched"] == len(state) + 1
    assert {"first_norm", "loss.cluster.centers", "network.output.weight"} < set(report["dropped"])
    assert len(report["dropped"]) == 4
    assert report["layout"] == (layout if age == "now" else VGGFACE2_LAYOUT)
    assert report["native_input"] == (VGGFACE2_INPUT if age == "now" else models.IMAGENET_INPUT)


@pytest.mark.parametrize("header", [3, {}, {"layout": {1, 2}, "input_convention": {}}])
def test_a_checkpoint_with_a_damaged_header_is_refused(header, tmp_path, refused):
    checkpoint = {"pytorch-lightning_version": "2.6.0", "state_dict": {"a": torch.zeros(1)}, "fer_utils": header}
    torch.save(checkpoint, tmp_path / "last.ckpt")
    refused(
        "found a checkpoint with a damaged header", weights.load_pretrained, models.resnet14(), tmp_path / "last.ckpt"
    )


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small"])
def test_other_torchvision_networks(name, tmp_path):
    torch.manual_seed(0)
    theirs = get_model(name, weights=None).eval()
    torch.save(theirs.state_dict(), tmp_path / "x.pth")
    backbone = models.build_backbone(name)
    report = weights.load_pretrained(backbone, tmp_path / "x.pth")
    dropped = {"resnet18": "fc", "mobilenet_v3_small": "classifier.3"}[name]
    assert {f"{dropped}.bias", f"{dropped}.weight"} <= set(report["dropped"])
    assert report["matched"] == len(theirs.state_dict()) - len(report["dropped"])
    assert (report["layout"], report["self_test"], report["plausible"]) == ({}, *2 * ["not available"])
    assert_holds(backbone, {k: t for k, t in theirs.state_dict().items() if k not in report["dropped"]})
    # Its own files, whose names carry our prefix, come back too.
    path = weights.save_weights(models.FERNet(backbone), tmp_path / "own.safetensors")
    again = models.build_backbone(name)
    assert weights.load_pretrained(again, path)["format"] == "fer_utils"
    assert_holds(again, {k: t for k, t in theirs.state_dict().items() if k not in report["dropped"]})


def test_names_that_torchvision_changes_itself():
    """Published files of DenseNet and ViT hold older names, which torchvision's own constructors mend."""

    class Stub(torch.nn.Module):
        architecture, prefix = "densenet121", "net."

        def state_dict(self):
            return dict.fromkeys(new)

    old_new = {
        "features.denseblock1.denselayer2.norm.1.weight": "net.features.denseblock1.denselayer2.norm1.weight",
        "features.denseblock1.denselayer2.conv.2.weight": "net.features.denseblock1.denselayer2.conv2.weight",
        "encoder.layers.encoder_layer_3.mlp.linear_1.bias": "net.encoder.layers.encoder_layer_3.mlp.0.bias",
        "encoder.layers.encoder_layer_3.mlp.linear_2.bias": "net.encoder.layers.encoder_layer_3.mlp.3.bias",
    }
    new = old_new.values()
    found = interpret(Content("torch", {name: torch.zeros(1) for name in old_new}), Stub(), "x.pth")
    assert set(found.tensors) == set(new)
    assert found.dropped == []
