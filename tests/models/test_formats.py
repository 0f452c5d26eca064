"""Every format that users hold, written independently, read back tensor by tensor."""

import io
import json
import pickle
from collections import OrderedDict

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save
from torchvision import models as zoo

from fer_utils import models
from fer_utils.models.weights import _own_name, read_pickle
from tests.models.networks import bottlenecks, randomise, tensors_of
from tests.models.writers import PYTHON2, dag_tensors, vggface2_arrays

IMAGENET = models.IMAGENET_INPUT
VGGFACE2 = {"range": 255, "mean": [131.0912, 103.8827, 91.4953], "std": [1.0, 1.0, 1.0]}
KERAS = {"range": 255, "mean": [123.68, 116.779, 103.939], "std": [1.0, 1.0, 1.0]}
IN_VGGFACE2 = {"stride": "conv1", "pool": "ceil"}
IN_TORCHVISION = {"stride": "conv2", "pool": "padded"}
IN_KERAS = {"stride": "conv1", "pool": "padded"}
START = {"stride": "conv2", "pool": "ceil"}  # which no file here has


def torch_bytes(content, zipped=True):
    stream = io.BytesIO()
    torch.save(content, stream, _use_new_zipfile_serialization=zipped)
    return stream.getvalue()


def with_head(state):
    return OrderedDict(state, **{"fc.weight": torch.zeros(9, 512), "fc.bias": torch.zeros(9)})


def wrapped(state):
    module = {f"module.{name}": tensor for name, tensor in with_head(state).items()}
    return {"state_dict": module, "epoch": 3, "arch": "resnet14"}


def nested(state):
    content = {"epoch": np.float64(3), "state_dict": OrderedDict(vggface2_arrays(state))}
    return pickle.dumps(content | {"arch": "senet50"}, 5)


def other_types(state):
    """Arrays in Fortran's order, of another type and byte order; a counter as a NumPy scalar."""
    arrays = vggface2_arrays(state)
    for number, name in enumerate(list(arrays)):
        kinds = [np.asfortranarray(arrays[name]), arrays[name].astype(">f8"), arrays[name]]
        arrays[name] = kinds[number % 3]
    return pickle.dumps(arrays | {"bn1.num_batches_tracked": np.int64(7)}, 2)


def thousand(state):
    arrays = {name: tensor.numpy() for name, tensor in with_head(state).items()}
    return pickle.dumps(arrays)


def keras(state):
    where = "resnet14, stride 2 on the first 1x1 convolution of a stage, max-pool padding 1"
    header = {"architecture": where, "mean_rgb_0_255": "123.68,116.779,103.939"}
    return save(dict(with_head(state)), header)


# Name → format, and what makes the bytes of a file.
WRITERS = {
    "protocol 2": ("vggface2-pytorch", lambda state: pickle.dumps(vggface2_arrays(state), 2)),
    "nested": ("vggface2-pytorch", nested),
    "other types": ("vggface2-pytorch", other_types),
    "a pickle of other classes": ("torchvision", thousand),
    "dag": ("dag", lambda state: torch_bytes(dag_tensors(state))),
    "dag of old": ("dag", lambda state: torch_bytes(dag_tensors(state), zipped=False)),
    "wrapped": ("torchvision", lambda state: torch_bytes(wrapped(state))),
    "wrapped of old": ("torchvision", lambda state: torch_bytes(wrapped(state), zipped=False)),
    "keras": ("safetensors", keras),
    "without a header": ("safetensors", save),
}


def random_state(name):
    return tensors_of(randomise(models.build_backbone(name)))


def assert_holds(backbone, state):
    """Every tensor of `state` (torchvision's names, RGB) is in the backbone, bit by bit."""
    own = backbone.state_dict()
    for name, tensor in state.items():
        assert torch.equal(own[f"{backbone.prefix}{name}"], tensor), name


@pytest.mark.parametrize("name", ["se_resnet14", "resnet14"])
@pytest.mark.parametrize("writer", WRITERS)
def test_every_format_is_read_as_it_was_meant(name, writer, tmp_path, pixels):
    state, (format, write) = random_state(name), WRITERS[writer]
    path = tmp_path / "weights.safetensors"  # the name says nothing
    path.write_bytes(write(state))
    backbone = models.build_backbone(name)
    backbone.layout = START
    report = models.load_pretrained(backbone, path)
    assert_holds(backbone, state)
    assert json.loads(json.dumps(report)) == report
    layout, convention = START, IMAGENET
    if format in ("dag", "vggface2-pytorch"):
        layout, convention = IN_VGGFACE2, VGGFACE2
    if writer == "keras":
        layout, convention = IN_KERAS, KERAS
    assert report["source"] == str(path) and report["format"] == format
    assert report["layout"] == backbone.layout == layout
    assert report["input_convention"] == report["native_input"] == convention
    assert report["matched"] == len(state) + (writer == "other types")
    heads = [] if writer == "without a header" else ["bias", "weight"]
    assert [name.rpartition(".")[2] for name in report["dropped"]] == heads
    if writer == "other types":
        assert backbone.bn1.num_batches_tracked == 7

    def shown(convention):
        mean, std = (torch.tensor(convention[k]).double()[:, None, None] for k in ("mean", "std"))
        return (convention["range"] * pixels - mean) / std

    with torch.no_grad():
        found = backbone.double().eval()(shown(IMAGENET))
        state = {key: tensor.double() for key, tensor in state.items()}
        expected = bottlenecks(state, shown(convention), **layout)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-3)


def test_a_pickle_of_python_2(tmp_path):
    (tmp_path / "x.pkl").write_bytes(PYTHON2)
    found = read_pickle(tmp_path / "x.pkl")
    assert found["a"].tolist() == [[250, 251, 252], [253, 254, 255]]


def test_every_name_of_the_full_size_is_known():
    with torch.device("meta"):
        names = tensors_of(models.se_resnet50())
    theirs = dag_tensors({name: name for name in names})
    found = {_own_name(key, "dag") for key, name in theirs.items() if isinstance(name, str)}
    assert found == names.keys() and len(theirs) == len(names) + 2


# torchvision's


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small"])
def test_other_networks_of_torchvisions(name, tmp_path):
    theirs = zoo.get_model(name, weights=None).state_dict()
    torch.save(theirs, tmp_path / "x.pth")
    backbone = models.build_backbone(name)
    report = models.load_pretrained(backbone, tmp_path / "x.pth")
    head = {"resnet18": "fc", "mobilenet_v3_small": "classifier.3"}[name]
    assert {f"{head}.bias", f"{head}.weight"} <= set(report["dropped"])
    kept = {key: tensor for key, tensor in theirs.items() if key not in report["dropped"]}
    assert report["matched"] == len(kept) and report["layout"] == {}
    assert_holds(backbone, kept)
    # Our own files of them, whose names carry a prefix, come back too.
    path = models.save_weights(models.FERNet(backbone), tmp_path / "own.safetensors")
    again = models.build_backbone(name)
    assert models.load_pretrained(again, path)["format"] == "fer_utils"
    assert_holds(again, kept)


@pytest.mark.parametrize("name", ["resnet50", "mobilenet_v3_small"])
def test_imagenet_is_torchvisions_own(name, monkeypatch):
    published = {
        "resnet50": zoo.ResNet50_Weights.IMAGENET1K_V1,
        "mobilenet_v3_small": zoo.MobileNet_V3_Small_Weights.DEFAULT,
    }[name]

    def served(url, **options):
        assert url == published.url
        state = zoo.get_model(name).state_dict()
        return {key: torch.full_like(tensor, 2) for key, tensor in state.items()}

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", served)
    report = models.load_pretrained(backbone := models.build_backbone(name), "imagenet")
    assert report["format"] == "torchvision" and report["native_input"] == IMAGENET
    assert report["layout"] == (IN_TORCHVISION if name == "resnet50" else {})
    assert all((parameter == 2).all() for parameter in backbone.parameters())


def test_without_a_network_imagenet_is_one_line(monkeypatch, refused):
    def offline(*args, **kwargs):
        raise OSError("Name or service not known")

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", offline)
    words = ["Name or service not known", "local file"]
    refused(words, models.load_pretrained, models.build_backbone("resnet18"), "imagenet")
    refused("se_resnet14", models.load_pretrained, models.se_resnet14(), "imagenet")


# our own


@pytest.mark.parametrize("header", ["now", "as objects", "none"])
def test_lightning_checkpoints(header, tmp_path):
    state, source = random_state("se_resnet14"), models.se_resnet14()
    source.layout = IN_KERAS
    source.input.set(VGGFACE2)
    checkpoint = {
        "pytorch-lightning_version": "2.6.0",
        "state_dict": {
            **{f"network.backbone.{name}": tensor for name, tensor in state.items()},
            "network.backbone.bn1.num_batches_tracked": torch.tensor(30),
            "network.backbone.input.scale": torch.full((3, 1, 1), 5.0),
            "network.embedding.linear.weight": torch.zeros(4, 512),
            "average.network.backbone.conv1.weight": torch.zeros(64, 3, 7, 7),
            "loss.cluster.centers": torch.zeros(8, 4),
        },
    }
    if header == "now":
        checkpoint["fer_utils"] = models.weights_header(source)
    if header == "as objects":
        parts = {"layout": IN_KERAS, "input_convention": VGGFACE2}
        checkpoint["fer_utils"] = {"architecture": "se_resnet14", **parts}
    torch.save(checkpoint, tmp_path / "last.ckpt")
    report = models.load_pretrained(backbone := models.se_resnet14(), tmp_path / "last.ckpt")
    assert_holds(backbone, state)
    assert backbone.bn1.num_batches_tracked == 30
    assert (report["format"], report["matched"]) == ("lightning", len(state) + 1)
    assert len(report["dropped"]) == 3
    known = header != "none"
    assert report["layout"] == (IN_KERAS if known else IN_VGGFACE2)
    assert report["native_input"] == (VGGFACE2 if known else IMAGENET)


@pytest.mark.parametrize("name", ["se_resnet14", "small_se_resnet"])
def test_a_saved_model_comes_back_whole(name, tmp_path):
    options = {"embedding_dim": 16, "num_classes": 5, "embedding_norm": "batch"}
    model = randomise(models.FERNet(name, **options)).to(memory_format=torch.channels_last)
    if name == "se_resnet14":
        model.backbone.layout = IN_KERAS
    model.backbone.input.set(VGGFACE2)
    about = {"epoch": "3", "score": "0.5"}
    path = models.save_weights(model, tmp_path / "best.safetensors", about)
    other = models.freeze_stages(models.FERNet(name, **options).eval(), 3)
    header = models.load_weights(other, path)
    assert about.items() < header.items() and header["architecture"] == name
    with safe_open(path, framework="numpy") as file:
        assert file.metadata() == header
    assert other.backbone.layout == model.backbone.layout
    for key, tensor in model.state_dict().items():
        assert torch.equal(other.state_dict()[key], tensor), key
    images = torch.randn(4, 3, 48, 48).double()
    with torch.no_grad():
        torch.testing.assert_close(other.double()(images), model.double()(images))

    report = models.load_pretrained(backbone := models.build_backbone(name), path)
    assert report["format"] == "fer_utils" and report["layout"] == model.backbone.layout
    assert {key.split(".")[0] for key in report["dropped"]} == {"embedding", "output"}
    assert report["input_convention"] == report["native_input"] == VGGFACE2
    paper = models.load_pretrained(backbone, path, input_convention="paper")
    assert paper["native_input"] == VGGFACE2 and paper["input_convention"] == IMAGENET
    assert torch.equal(backbone.input.scale, torch.ones(3, 1, 1))


def test_names_in_a_file_of_ours():
    """Runs and exported files of earlier versions are read by these names."""
    names = models.FERNet("se_resnet14", embedding_norm="batch").state_dict().keys()
    assert {
        "backbone.conv1.weight", "backbone.bn1.running_mean", "backbone.layer1.0.conv2.weight",
        "backbone.layer4.0.se.fc1.bias", "backbone.layer2.0.downsample.1.weight",
        "backbone.input.scale", "backbone.input.shift", "embedding.linear.weight",
        "embedding.norm.running_var", "output.weight", "output.bias",
    } <= names  # fmt: skip


def test_none_changes_nothing():
    backbone = models.se_resnet14()
    backbone.layout, before = START, tensors_of(backbone)
    assert models.load_pretrained(backbone, "none") == {
        "source": "none", "format": "none", "matched": 0, "dropped": [], "native_input": None,
        "layout": START, "input_convention": IMAGENET,
    }  # fmt: skip
    assert_holds(backbone, before)


# an SE-ResNet from a ResNet


def test_se_from_resnet_computes_the_same_and_its_gates_learn(tmp_path):
    source = models.FERNet("resnet14")
    source.backbone.layout = IN_KERAS
    source.backbone.input.set(VGGFACE2)
    path = models.save_weights(randomise(source), tmp_path / "resnet14.safetensors")
    target = models.se_from_resnet(path, tmp_path / "se.safetensors", "se_resnet14")
    assert load_file(target).keys() > load_file(path).keys()
    gated = models.FERNet("se_resnet14").eval()
    report = models.load_pretrained(gated.backbone, target)
    assert report["layout"] == IN_KERAS and report["native_input"] == VGGFACE2
    images = torch.randn(2, 3, 40, 36)
    with torch.no_grad():
        found, expected = gated.backbone(images), source.backbone(images)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)
    gated.train()(images)[0].square().sum().backward()
    gates = [p.grad for name, p in gated.named_parameters() if ".se.fc2.weight" in name]
    assert len(gates) == 4 and all(gradient.abs().max() > 0 for gradient in gates)


def test_what_se_from_resnet_refuses(tmp_path, refused):
    path = models.save_weights(models.FERNet("resnet18"), tmp_path / "x.safetensors")
    target = tmp_path / "se.safetensors"
    refused("'resnet50'", models.se_from_resnet, path, target, "resnet50")
    refused("se.pth", models.se_from_resnet, path, tmp_path / "se.pth")
    refused("expected weights of resnet14", models.se_from_resnet, path, target, "se_resnet14")
    assert not target.exists()
