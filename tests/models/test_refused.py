"""What is no file of weights, or another network's: one line each, nothing run, nothing changed."""

import builtins
import gzip
import json
import os
import pickle
import random
import zipfile
from collections import OrderedDict

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save, save_file

from fer_utils import models
from fer_utils.core import InputError
from fer_utils.models.weights import _read
from tests.models.networks import tensors_of
from tests.models.test_formats import torch_bytes
from tests.models.writers import PYTHON2

TENSORS = {"a": torch.arange(6.0).reshape(3, 2), "b": torch.arange(4), "c": torch.tensor(3.0)}
ARRAYS = {name: tensor.numpy() for name, tensor in TENSORS.items()}
FILES = {
    "safetensors": save(TENSORS, {"format": "other"}),
    "zipped PyTorch": torch_bytes(TENSORS),
    "legacy PyTorch": torch_bytes({"state_dict": TENSORS, "epoch": 3}, zipped=False),
    "Python 2 pickle": PYTHON2,
    "pickle": pickle.dumps({"state_dict": ARRAYS, "x": [1.5, None, (1, 2)]}, protocol=5),
}


@pytest.fixture
def backbone():
    """A backbone that must stay as it is."""
    backbone = models.resnet14()
    before = tensors_of(backbone)
    yield backbone
    assert all(torch.equal(tensor, before[name]) for name, tensor in tensors_of(backbone).items())
    assert backbone.layout == {"stride": "conv2", "pool": "padded"}
    assert backbone.input.convention == models.IMAGENET_INPUT


# code


class Calls:
    """Pickles as a call of `function`."""

    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


def payloads(trace):
    """By the end of the name that the reader must say."""
    write = f"open({str(trace)!r}, 'w')"
    return {
        "posix.system": Calls(os.system, f"touch {trace}"),
        "eval": Calls(builtins.eval, write),
        "getattr": Calls(getattr, Calls(eval, write), "name"),
        "numpy.load": Calls(np.load, Calls(eval, write)),
        "_load_from_bytes": torch.zeros(2).untyped_storage(),
    }


@pytest.mark.parametrize("name", payloads(""))
@pytest.mark.parametrize("protocol", [2, 4])  # GLOBAL in the first, STACK_GLOBAL in the other
def test_a_pickle_runs_nothing_and_the_name_is_said(name, protocol, tmp_path, refused, backbone):
    payload, path = payloads(tmp_path / "trace")[name], tmp_path / "weights.pkl"
    hidden = Calls(OrderedDict)
    hidden.call += ({"state": payload},)  # in the state of what is allowed
    for content in (payload, {"conv1.weight": np.zeros(3), "fc": payload}, {"x": hidden}):
        path.write_bytes(pickle.dumps(content, protocol=protocol))
        refused([name, "nothing of it was run"], models.load_pretrained, backbone, path)
        assert os.listdir(tmp_path) == ["weights.pkl"]


def test_a_file_cannot_change_numpys_functions(tmp_path, refused):
    """A state for one of the functions that a file may call."""
    state = b"N}\x8c\x0c__defaults__K\x01\x85s\x86b."
    (tmp_path / "x.pkl").write_bytes(b"\x80\x04cnumpy._core.numeric\n_frombuffer\n" + state)
    before = np._core.numeric._frombuffer.__defaults__
    refused("x.pkl", _read, tmp_path / "x.pkl")
    assert np._core.numeric._frombuffer.__defaults__ == before


@pytest.mark.parametrize("zipped", [True, False])
def test_pytorch_files_that_call_are_refused(zipped, tmp_path, refused):
    path = tmp_path / "weights.pth"
    content = {"conv1.weight": torch.zeros(3), "fc": Calls(os.system, f"touch {path}.run")}
    path.write_bytes(torch_bytes(content, zipped))
    refused(["posix.system", "nothing of it was run"], _read, path)
    path.write_bytes(torch_bytes(torch.nn.Linear(2, 2), zipped))
    refused(["linear.Linear", "state_dict()"], _read, path)
    assert os.listdir(tmp_path) == ["weights.pth"]


@pytest.mark.parametrize("name", ["network.pt2", "best.safetensors"])
def test_an_exported_program_is_refused_and_nothing_runs(name, tmp_path, refused, backbone):
    """`torch.export.load` would unpickle where the archive's JSON says so; nothing calls it."""
    program = torch.export.export(torch.nn.Linear(2, 2).eval(), (torch.zeros(1, 2),))
    torch.export.save(program, tmp_path / "whole.pt2")
    payload = pickle.dumps(Calls(os.system, f"touch {tmp_path / 'trace'}"))
    with zipfile.ZipFile(tmp_path / "whole.pt2") as whole:
        parts = {entry: whole.read(entry) for entry in whole.namelist()}
    with zipfile.ZipFile(tmp_path / name, "w") as hostile:
        for entry, content in parts.items():
            told = content.replace(b'"use_pickle": false', b'"use_pickle": true')
            weight = "/weights/" in entry and not entry.endswith(".json")
            hostile.writestr(entry, payload if weight else told)
    (tmp_path / "whole.pt2").unlink()
    refused(name, models.load_pretrained, backbone, tmp_path / name)
    refused(name, models.load_weights, models.FERNet(backbone), tmp_path / name)
    assert os.listdir(tmp_path) == [name]


# other files


@pytest.mark.parametrize(
    "content",
    [
        b"", b"<!DOCTYPE html><html>Not found</html>", gzip.compress(FILES["pickle"]),
        b"\x89HDF\r\n\x1a\n" + bytes(50), b"PK\x03\x04" + bytes(80),
        FILES["safetensors"][:50], FILES["zipped PyTorch"][:-200], FILES["legacy PyTorch"][:150],
        FILES["Python 2 pickle"][:60], FILES["pickle"][:-1],
        b"\x80\x02(S'touch x'\nios\nsystem\n.", b"\x80\x02U\x01xQ.",
        b"\x80\x02cnumpy\ndtype\nU\x02O8\x85R.", pickle.dumps({"bn1.bias": np.array("text")}),
        torch_bytes({}), torch_bytes([torch.zeros(1)]), torch_bytes("text"),
        torch_bytes({"model": {}}), torch_bytes({7: torch.zeros(1)}), torch_bytes({"bn1.bias": 3}),
        torch_bytes({"bn1.bias": torch.zeros(64).to_sparse()}),
    ],
)  # fmt: skip
def test_other_and_damaged_files_are_one_line(content, tmp_path, refused, backbone):
    path = tmp_path / "senet50.pkl"
    path.write_bytes(content)
    refused("senet50.pkl", models.load_pretrained, backbone, path)
    refused("senet50.pkl", models.load_weights, models.FERNet(backbone), path)


@pytest.mark.parametrize("kind", FILES)
@settings(max_examples=60, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**32))
def test_a_damaged_file_ends_in_tensors_or_in_our_own_error(kind, seed, tmp_path):
    draw, content = random.Random(seed), bytearray(FILES[kind])
    for _ in range(draw.choice((1, 2, 4))):
        place = draw.randrange(len(content))
        content[place] ^= 1 << draw.randrange(8)
        if draw.random() < 0.2:
            content = content[: place + 1]
    (tmp_path / "x").write_bytes(content)
    try:
        tensors = _read(tmp_path / "x").tensors
    except InputError as error:
        assert "\n" not in str(error)
    else:
        assert all(isinstance(tensor, torch.Tensor) for tensor in tensors.values())


# other networks


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"layer1.0.conv1.weight": None}, ["layer1.0.conv1.weight"]),
        ({"layer9.weight": torch.zeros(1)}, ["layer9.weight"]),
        ({"bn1.bias": torch.zeros(3)}, ["bn1.bias", "3", "64"]),
        ({"bn1.bias": torch.full((64,), torch.nan)}, ["NaN", "bn1.bias"]),
        ({"bn1.bias": torch.full((64,), -torch.inf)}, ["infinity", "bn1.bias"]),
        ({"backbone.bn1.bias": torch.zeros(64)}, ["two", "bn1.bias"]),
    ],
)
def test_every_tensor_must_fit_and_be_finite(change, words, tmp_path, refused, backbone):
    state = tensors_of(models.resnet14()) | change
    torch.save({k: v for k, v in state.items() if v is not None}, tmp_path / "x.pth")
    refused([*words, "x.pth"], models.load_pretrained, backbone, tmp_path / "x.pth")


def test_another_architecture_is_named(tmp_path, refused):
    path = models.save_weights(models.FERNet("resnet14"), tmp_path / "own.safetensors")
    words = ["expected weights of se_resnet14", "layer1.0.se.fc1.weight"]
    refused(words, models.load_pretrained, models.se_resnet14(), path)
    refused(words, models.load_weights, models.FERNet("se_resnet14"), path)
    save_file(tensors_of(models.FERNet("resnet14")), tmp_path / "foreign")
    refused(
        ["save_weights", "foreign"],
        models.load_weights,
        models.FERNet("resnet14"),
        tmp_path / "foreign",
    )
    small = models.FERNet("resnet14", embedding_dim=16)
    before = tensors_of(small)
    refused(["embedding.linear", "512", "16"], models.load_weights, small, path)
    assert all(torch.equal(tensor, before[name]) for name, tensor in tensors_of(small).items())


def test_another_layout_is_refused_where_a_network_has_but_one(tmp_path, refused):
    backbone = models.build_backbone("resnet18")
    state = {name.removeprefix("net."): t for name, t in tensors_of(backbone).items()}
    header = {"architecture": "stride 2 on the first 1x1 convolution"}
    save_file(state, tmp_path / "x.safetensors", header)
    refused(["resnet18", "conv1"], models.load_pretrained, backbone, tmp_path / "x.safetensors")


def convention(**changes):
    return json.dumps({"range": 1, "mean": [0, 0, 0], "std": [1, 1, 1]} | changes)


@pytest.mark.parametrize(
    "change",
    [
        {"layout": "nonsense"},
        {"layout": None},
        {"layout": "[]"},
        {"layout": '{"stride": "conv9", "pool": "ceil"}'},
        {"layout": '{"stride": ["conv1"], "pool": "ceil"}'},
        {"input_convention": "[" * 100_000},
        {"input_convention": "3"},
        {"input_convention": convention(std=[1, 1])},
        {"input_convention": convention(std=[1, 1, 0])},
        {"input_convention": convention(range=float("nan"))},
        {"input_convention": convention(mean="abc")},
        {"format": "other", "mean_rgb_0_255": "1,2"},
        {"format": "other", "mean_rgb_0_255": "red"},
    ],
)
def test_a_header_is_checked_before_it_is_believed(change, tmp_path, refused, backbone):
    header = models.weights_header(backbone) | change
    header = {name: value for name, value in header.items() if value is not None}
    model = models.FERNet(backbone, embedding_dim=4)
    doubled = {name: tensor * 2 for name, tensor in model.state_dict().items()}
    save_file(doubled, tmp_path / "x.safetensors", header)
    refused("x.safetensors", models.load_pretrained, backbone, tmp_path / "x.safetensors")
    refused("x.safetensors", models.load_weights, model, tmp_path / "x.safetensors")


def test_what_is_refused_without_reading(tmp_path, refused, backbone):
    for path in (tmp_path / "absent", tmp_path):
        refused(str(path), models.load_pretrained, backbone, path)
    refused("did you mean 'paper'", models.load_pretrained, backbone, "none", "papr")
