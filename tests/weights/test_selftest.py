"""Each silent mistake, made on purpose after a load that any check of names and shapes would let pass."""

import pytest
import torch
from torchvision.models import resnet50

from fer_utils import models, weights
from fer_utils.errors import InputError
from fer_utils.weights import loading
from fer_utils.weights.names import Weights
from fer_utils.weights.selftest import self_test
from tests.weights.writers import dag_tensors, python2_pickle, random_state, vggface2_arrays


@pytest.fixture(scope="module")
def pickled(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "senet.pkl"
    path.write_bytes(python2_pickle(vggface2_arrays(random_state("se_resnet14"))))
    return path


def wrong(change):
    """A `set_layout` that gets one thing wrong."""
    return lambda backbone, stride, pool: models.set_layout(backbone, **({"stride": stride, "pool": pool} | change))


TAMPERING = {
    "layout ignored": ("set_layout", lambda backbone, stride, pool: backbone, "pool"),
    "pool": ("set_layout", wrong({"pool": "padded"}), "pool"),
    "stride": ("set_layout", wrong({"stride": "conv2"}), "stride of layer2"),
    "channel order": ("in_rgb", lambda tensors, backbone: tensors, "channel order and range of the input"),
    "range": ("set_input_convention", lambda backbone, convention: backbone, "channel order and range of the input"),
}


@pytest.mark.parametrize("mistake", TAMPERING)
def test_each_silent_mistake_is_caught_and_leaves_nothing_behind(mistake, pickled, monkeypatch):
    function, replacement, place = TAMPERING[mistake]
    backbone = models.set_layout(models.se_resnet14(), "conv2", "padded")
    before = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    with monkeypatch.context() as patch:
        patch.setattr(loading, function, replacement)
        with pytest.raises(
            InputError, match=f"the layout cannot be right: expected the {place} in se_resnet14"
        ) as error:
            weights.load_pretrained(backbone, pickled)
    assert "\n" not in str(error.value)
    if function != "set_layout":  # putting back needs it too
        assert models.get_layout(backbone) == {"stride": "conv2", "pool": "padded"}
    assert backbone.input_convention == models.IMAGENET_INPUT
    for name, tensor in backbone.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    assert weights.load_pretrained(backbone, pickled)["self_test"]["largest_deviation"] < 1e-4


@pytest.mark.parametrize("layer", ["layer3", "layer4"])
def test_a_single_wrong_stride_is_named(layer, pickled, monkeypatch):
    def slipped(backbone, stride, pool):
        models.set_layout(backbone, stride, pool)
        first = backbone.get_submodule(layer)[0]
        first.conv1.stride, first.conv2.stride = (1, 1), (2, 2)

    monkeypatch.setattr(loading, "set_layout", slipped)
    with pytest.raises(InputError, match=f"stride of {layer}"):
        weights.load_pretrained(models.se_resnet14(), pickled)


def test_red_and_blue_exchanged_in_a_dag_file_is_caught(tmp_path, monkeypatch):
    torch.save(dag_tensors(random_state("resnet14")), tmp_path / "dag.pth")
    copy = loading.copy_tensors
    swapped = lambda backbone, tensors: copy(backbone, loading.in_rgb(tensors, backbone))  # noqa: E731
    monkeypatch.setattr(loading, "copy_tensors", swapped)
    with pytest.raises(InputError, match="channel order"):
        weights.load_pretrained(models.resnet14(), tmp_path / "dag.pth")


def test_modes_are_put_back_and_random_numbers_untouched(pickled):
    backbone = models.se_resnet14().train()
    backbone.layer1.eval()
    before = torch.get_rng_state()
    weights.load_pretrained(backbone, pickled)
    assert torch.equal(torch.get_rng_state(), before)
    assert backbone.training
    assert backbone.layer2[0].bn1.training
    assert not backbone.layer1[0].bn1.training
    assert not any(module._forward_hooks for module in backbone.modules())
    assert all(parameter.requires_grad for parameter in backbone.parameters())


def test_paper_convention_is_checked_too(pickled, monkeypatch):
    backbone = models.se_resnet14()
    report = weights.load_pretrained(backbone, pickled, input_convention="paper")
    assert report["input_convention"] == backbone.input_convention == models.IMAGENET_INPUT
    assert report["native_input"]["mean"] == [131.0912, 103.8827, 91.4953]
    assert torch.equal(backbone.input.scale, torch.ones(3, 1, 1))
    monkeypatch.setattr(loading, "in_rgb", lambda tensors, backbone: tensors)
    with pytest.raises(InputError, match="channel order"):
        weights.load_pretrained(models.se_resnet14(), pickled, input_convention="paper")


def test_a_wrapped_resnet_of_bottlenecks_is_checked():
    class Wrapped(torch.nn.Module):
        architecture, prefix = "resnet50", "net."

        def __init__(self):
            super().__init__()
            self.net = resnet50(width_per_group=16, groups=2)

        def forward(self, images):
            return self.net(images)

    torch.manual_seed(0)
    backbone = Wrapped().eval()
    content = Weights("torchvision", backbone.state_dict(), [], False, {}, models.IMAGENET_INPUT, False)
    assert self_test(backbone, content, models.IMAGENET_INPUT, "x.pth")["largest_deviation"] < 1e-4
    backbone.net.layer3[0].conv2.stride, backbone.net.layer3[0].conv1.stride = (1, 1), (2, 2)
    with pytest.raises(InputError, match="stride of layer3"):
        self_test(backbone, content, models.IMAGENET_INPUT, "x.pth")


def test_an_implausible_range_is_said(tmp_path):
    """Statistics of a network that saw 0–255, in a file that does not say so."""
    state = random_state("resnet14")
    greys = torch.rand(8, 3, 8, 8, generator=torch.Generator().manual_seed(1)).repeat_interleave(8, 2)
    seen = torch.nn.functional.conv2d(255 * greys.repeat_interleave(8, 3), state["conv1.weight"], stride=2)
    state["bn1.running_var"] = seen.var((0, 2, 3))
    torch.save(state, tmp_path / "x.pth")
    report = weights.load_pretrained(models.resnet14(), tmp_path / "x.pth")
    assert report["plausible"].startswith("no: ")
    state["bn1.running_var"] = seen.var((0, 2, 3)) / (255 * 0.225) ** 2
    torch.save(state, tmp_path / "x.pth")
    assert weights.load_pretrained(models.resnet14(), tmp_path / "x.pth")["plausible"].startswith("yes: ")
