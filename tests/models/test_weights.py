"""Weight files of every format: read exactly, or refused in one line with nothing run."""

import os
import pickle

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from fer_utils import models
from fer_utils.core import InputError
from tests.models.writers import dag_tensors, python2_pickle, random_state, vggface2_arrays

VGGFACE2 = {"stride": "conv1", "pool": "ceil"}


@pytest.fixture(scope="module")
def state():
    return random_state("se_resnet14")


def outputs(backbone, images):
    with torch.inference_mode():
        return backbone.eval()(images)


def reference(state, images, mean):
    """What the tensors compute on RGB pixels 0–255 minus a mean, in VGGFace2's layout."""
    backbone = models.se_resnet14()
    backbone.load_state_dict(state, strict=False)
    std, shift = (torch.tensor(models.IMAGENET_INPUT[name]) for name in ("std", "mean"))
    pixels = 255 * (images * std.view(3, 1, 1) + shift.view(3, 1, 1))
    with torch.inference_mode():
        return torch.nn.Module.__call__(backbone.eval(), pixels - torch.tensor(mean).view(3, 1, 1))


WRITERS = {
    "vggface2-pytorch": (
        ".pkl",
        lambda s, path: path.write_bytes(python2_pickle(vggface2_arrays(s))),
    ),
    "pickle of today": (".pkl", lambda s, path: path.write_bytes(pickle.dumps(vggface2_arrays(s)))),
    "dag": (".pth", lambda s, path: torch.save(dag_tensors(s), path)),
}


@pytest.mark.parametrize("kind", WRITERS)
def test_vggface2_weights_compute_what_they_did(state, tmp_path, kind):
    suffix, write = WRITERS[kind]
    path = tmp_path / f"weights{suffix}"
    write(state, path)
    backbone = models.build_backbone("se_resnet14")
    report = models.load_pretrained(backbone, path)
    assert report["layout"] == VGGFACE2 and report["matched"] == len(state)
    assert report["format"] == ("dag" if kind == "dag" else "vggface2-pytorch")
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    want = reference(state, images, [131.0912, 103.8827, 91.4953])
    torch.testing.assert_close(outputs(backbone, images), want, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("wrapped", ["", "state_dict", "module."])
def test_torchvision_names_in_any_wrapping(tmp_path, wrapped):
    state = random_state("resnet14") | {"fc.weight": torch.zeros(1000, 512)}
    content = {wrapped: state} if wrapped == "state_dict" else state
    if wrapped == "module.":
        content = {f"module.{name}": tensor for name, tensor in state.items()}
    torch.save(content, tmp_path / "w.pth")
    backbone = models.resnet14()
    report = models.load_pretrained(backbone, tmp_path / "w.pth")
    assert report["dropped"] and report["layout"] == {"stride": "conv2", "pool": "padded"}
    assert torch.equal(backbone.conv1.weight, state["conv1.weight"])


def test_a_header_states_layout_and_input(tmp_path):
    header = {
        "architecture": "stride on the first 1x1, max-pool padding 1",
        "mean_rgb_0_255": "124, 117, 104",
    }
    save_file(random_state("resnet14"), tmp_path / "w.safetensors", header)
    report = models.load_pretrained(models.resnet14(), tmp_path / "w.safetensors")
    assert report["layout"] == {"stride": "conv1", "pool": "padded"}
    assert report["native_input"] == {"range": 255, "mean": [124, 117, 104], "std": [1.0] * 3}
    paper = models.load_pretrained(models.resnet14(), tmp_path / "w.safetensors", "paper")
    assert paper["input_convention"] == models.IMAGENET_INPUT


@pytest.mark.parametrize("name", ["se_resnet14", "small_se_resnet", "small_resnet"])
def test_our_own_files_come_back_and_start_other_runs(tmp_path, name):
    torch.manual_seed(0)
    network = models.FERNet(name, embedding_dim=16).eval()
    path = models.save_weights(
        network, tmp_path / "best.safetensors", {"epoch": "3", "score": "0.5"}
    )
    torch.manual_seed(1)
    other = models.FERNet(name, embedding_dim=16).eval()
    header = models.load_weights(other, path)
    assert (header["epoch"], header["score"], header["architecture"]) == ("3", "0.5", name)
    images = torch.randn(2, 3, 48, 48)
    torch.testing.assert_close(other(images)[0], network(images)[0])
    start = models.build_backbone(name)
    assert models.load_pretrained(start, path)["format"] == "fer_utils"
    torch.testing.assert_close(outputs(start, images), network.backbone(images))


def test_an_se_network_that_computes_what_a_resnet_does(tmp_path):
    torch.manual_seed(0)
    plain = models.FERNet("resnet14").eval()
    source = models.save_weights(plain, tmp_path / "plain.safetensors")
    target = models.se_from_resnet(source, tmp_path / "se.safetensors", "se_resnet14")
    backbone = models.se_resnet14()
    models.load_pretrained(backbone, target)
    images = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(
        outputs(backbone, images), plain.backbone(images), atol=1e-5, rtol=1e-5
    )
    with pytest.raises(InputError, match="safetensors"):
        models.se_from_resnet(source, tmp_path / "se.pth", "se_resnet14")


class Bomb:
    """Leaves a file behind if its pickle runs."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def damaged(state, folder, kind):
    path = folder / "w.bin"
    if kind == "missing":
        return path
    if kind == "pickle bomb":
        path.write_bytes(pickle.dumps({"a": Bomb(folder / "ran")}, protocol=2))
    elif kind == "torch bomb":
        torch.save({"a": Bomb(folder / "ran")}, path)
    elif kind == "exported program":
        program = torch.export.export(torch.nn.Linear(2, 2), (torch.zeros(1, 2),))
        with path.open("wb") as file:
            torch.export.save(program, file)
    elif kind == "text":
        path.write_text("<html>not found</html>")
    elif kind == "array of objects":
        path.write_bytes(pickle.dumps({"a": np.array([{}], dtype=object)}))
    elif kind == "a list":
        torch.save([1, 2], path)
    elif kind == "a nested name":
        torch.save({"a": {"b": "text"}}, path)
    else:
        save_file(changed(state, kind), path)
        if kind == "cut short":
            path.write_bytes(path.read_bytes()[:-100])
    return path


def changed(state, kind):
    tensors = dict(state)
    if kind == "NaN":
        tensors["bn1.weight"] = torch.full_like(tensors["bn1.weight"], torch.nan)
    elif kind == "a missing tensor":
        del tensors["layer2.0.conv2.weight"]
    elif kind == "an unknown tensor":
        tensors["layer9.weight"] = torch.zeros(1)
    elif kind == "another shape":
        tensors["layer1.0.conv1.weight"] = torch.zeros(1, 2, 3, 4)
    return tensors


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("missing", "found none"), ("pickle bomb", "mkdir"), ("torch bomb", "nothing of it was run"),
        ("exported program", "w.bin"), ("text", "w.bin"), ("array of objects", "object"),
        ("a list", "list"), ("a nested name", "dict"), ("cut short", "damaged"), ("NaN", "bn1.weight"),
        ("a missing tensor", "layer2.0.conv2.weight"), ("an unknown tensor", "layer9.weight"),
        ("another shape", "layer1.0.conv1.weight"),
    ],
)  # fmt: skip
def test_what_is_no_weight_file_is_refused_and_nothing_runs(state, tmp_path, kind, said):
    path = damaged(state, tmp_path, kind)
    backbone = models.se_resnet14()
    before = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    with pytest.raises(InputError, match=said) as refused:
        models.load_pretrained(backbone, path)
    assert str(path) in str(refused.value) and "\n" not in str(refused.value)
    assert not (tmp_path / "ran").exists()
    assert all(torch.equal(before[name], tensor) for name, tensor in backbone.state_dict().items())


@pytest.mark.parametrize(
    ("key", "value"),
    [("layout", "{"), ("layout", '{"stride": "conv9", "pool": "ceil"}'),
     ("input_convention", '{"range": 0, "mean": [0, 0, 0], "std": [1, 1, 1]}'),
     ("input_convention", '{"range": 1}')],
)  # fmt: skip
def test_a_header_that_makes_no_sense_is_refused(tmp_path, key, value):
    network = models.FERNet("resnet14")
    path = models.save_weights(network, tmp_path / "w.safetensors")
    header = models.load_weights(network, path) | {key: value}
    save_file(network.state_dict(), path, header)
    with pytest.raises(InputError, match="header"):
        models.load_weights(network, path)


def test_weights_of_another_layout_do_not_fit_networks_that_have_but_one(tmp_path):
    path = tmp_path / "w.pkl"
    path.write_bytes(python2_pickle(vggface2_arrays(random_state("se_resnet14"))))
    with pytest.raises(InputError, match="small_resnet"):
        models.load_pretrained(models.small_resnet(), path)


def test_no_network_is_a_clear_line(monkeypatch):
    def offline(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setattr("torchvision.models.ResNet50_Weights.get_state_dict", offline)
    with pytest.raises(InputError, match="local file"):
        models.load_pretrained(models.resnet50(), "imagenet")
    with pytest.raises(InputError, match="se_resnet14"):
        models.load_pretrained(models.se_resnet14(), "imagenet")
