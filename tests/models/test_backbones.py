"""Backbones against plain functions, torchvision's own networks and analytic counts."""

import pytest
import torch
import torchvision
from torch import nn
from torchvision.models.resnet import Bottleneck, ResNet

from fer_utils import models
from fer_utils.core import OWN_ARCHITECTURES
from tests.models.networks import bottlenecks, count, randomise, small, tensors_of

SMALL = ("small_resnet", "small_se_resnet")


def normalised(pixels):
    """As images arrive at every network."""
    mean, std = (torch.tensor(models.IMAGENET_INPUT[key]).double() for key in ("mean", "std"))
    return (pixels - mean[:, None, None]) / std[:, None, None]


@pytest.mark.parametrize(
    ("name", "size"),
    [("se_resnet50", (96, 72)), ("resnet50", (64, 64)), ("se_resnet14", (65, 33)),
     ("resnet14", (32, 47))],
)  # fmt: skip
def test_bottlenecks_equal_an_independent_implementation(name, size):
    backbone = randomise(models.build_backbone(name)).double()
    images = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(1)).double()
    stride, pool = ("conv1", "ceil") if "se_" in name else ("conv2", "padded")
    with torch.no_grad():
        found, expected = backbone(images), bottlenecks(backbone.state_dict(), images, stride, pool)
    assert found.shape == (1, backbone.num_features) and found.std() > 0.01
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", OWN_ARCHITECTURES)
def test_every_own_name_builds(name):
    backbone = models.build_backbone(name)
    assert backbone.architecture == name and backbone is not models.build_backbone(name)
    published = {"se_resnet50": 26_039_024, "resnet50": 23_508_032}
    assert count(backbone) == published.get(name, count(backbone))


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("size", [48, 64])
def test_small_networks_equal_an_independent_implementation(name, size):
    backbone = randomise(models.build_backbone(name)).double()
    pixels = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(1)).double()
    with torch.no_grad():
        found, expected = backbone(normalised(pixels)), small(backbone.state_dict(), pixels)
    assert found.shape == (2, 128) and found.std() > 0.01
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)  # float32 constants


def test_small_networks_differ_in_squeeze_and_excitation_alone():
    plain, gated = (models.FERNet(name, embedding_dim=128) for name in SMALL)
    extra = gated.state_dict().keys() - plain.state_dict().keys()
    assert plain.state_dict().keys() < gated.state_dict().keys()
    assert extra and all(".se.fc" in name for name in extra)
    assert count(plain) < count(gated) <= 480_000
    with torch.no_grad():  # gates that are fully open
        for name, parameter in gated.named_parameters():
            if ".se.fc2" in name:
                parameter.fill_(100.0 if name.endswith("bias") else 0.0)
    gated.load_state_dict(plain.state_dict(), strict=False)
    images = torch.randn(2, 3, 48, 48)
    with torch.no_grad():
        torch.testing.assert_close(gated.eval()(images), plain.eval()(images))


def test_a_seed_gives_the_weights_that_torchvision_draws_from_it():
    torch.manual_seed(5)
    ours = models.resnet50()
    torch.manual_seed(5)
    theirs = ResNet(Bottleneck, [3, 4, 6, 3])
    for name, tensor in tensors_of(ours).items():
        assert torch.equal(tensor, theirs.state_dict()[name]), name


# torchvision's

ZOO = ["resnet18", "mobilenet_v3_small", "shufflenet_v2_x0_5", "regnet_x_400mf", "densenet121"]
LARGE = ["convnext_tiny", "swin_t", "vit_b_32"]


@pytest.mark.parametrize(
    "name", [*ZOO, *(pytest.param(name, marks=pytest.mark.slow) for name in LARGE)]
)
def test_features_are_what_torchvisions_classifier_sees(name):
    """The same weights in torchvision's network: the input of its first linear layer is caught."""
    torch.manual_seed(0)
    backbone = models.build_backbone(name, 64).eval()
    options = {"image_size": 64} if name == "vit_b_32" else {}
    whole = torchvision.models.get_model(name, weights=None, **options).eval()
    own = backbone.state_dict().items()
    state = {key.removeprefix("net."): value for key, value in own if key.startswith("net.")}
    missing, unknown = whole.load_state_dict(state, strict=False)
    heads = ("fc", "classifier", "heads", "head")
    assert missing and all(key.split(".")[0] in heads for key in missing) and not unknown
    linear = next(
        part
        for key, part in whole.named_modules()
        if key.split(".")[0] in heads and isinstance(part, nn.Linear)
    )
    seen = []
    linear.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        whole(images)
        torch.testing.assert_close(backbone(images), seen[0])
    assert backbone.num_features == seen[0].shape[1]
    (stage,) = backbone.stages()
    assert sum(parameter.numel() for parameter in stage.parameters()) == count(backbone)
    outputs = []
    stage.blocks[-1].register_forward_hook(lambda module, args, out: outputs.append(out))
    backbone(images)
    expected = 2 if name == "vit_b_32" else 4  # tokens are no maps
    assert outputs[-1].ndim == expected and outputs[-1].shape[1] == backbone.num_features


@pytest.mark.parametrize(("name", "size"), [("vit_b_32", 50), ("maxvit_t", 100)])
def test_a_size_that_a_network_cannot_take_is_named(name, size, refused):
    refused([name, str(size), "224"], models.build_backbone, name, size)


@pytest.mark.parametrize(
    ("name", "word"),
    [("se_resnet_50", "'se_resnet50'"), ("vgg16", "'vgg16'"), ("googlenet", "from")],
)
def test_an_unknown_architecture_is_refused(name, word, refused):
    refused(word, models.build_backbone, name)
