"""Backbones: torchvision's `ResNet` without its classifier, with or without squeeze-and-excitation."""

import torch
from torch import Tensor, nn
from torchvision.models.resnet import Bottleneck, ResNet
from torchvision.ops import SqueezeExcitation

from fer_utils.errors import check_choice

SQUEEZE = 16  # reduction of the squeeze-and-excitation module
STRIDES = ("conv1", "conv2")
POOLS = ("ceil", "padded")

# What the transforms deliver, and what networks expect unless their weights say otherwise: RGB in 0…1, minus the mean,
# over the standard deviation (section 4.3).
IMAGENET_INPUT = {"range": 1, "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}


class SEBottleneck(Bottleneck):
    """torchvision's bottleneck block with squeeze-and-excitation (submodule `se`) before the addition."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        channels = self.conv3.out_channels
        self.se = SqueezeExcitation(channels, channels // SQUEEZE)

    def forward(self, x: Tensor) -> Tensor:
        identity = x if self.downsample is None else self.downsample(x)
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        return self.relu(self.se(self.bn3(self.conv3(out))) + identity)


class Backbone(ResNet):
    """torchvision's `ResNet` without classifier: images (N, 3, H, W) → pooled features (N, 2048 · width).

    Initialised as torchvision does (He's normal, fan-out, for every convolution; batch norm 1 and 0), the biases of
    squeeze-and-excitation at 0.

    Args:
        architecture: name, kept as an attribute.
        block: `Bottleneck` or `SEBottleneck`.
        blocks: number of blocks in stages 2–5.
        width: of stages 2–5, as a share of the usual channels.

    Attributes:
        num_features: length of the output.
        input_convention: what the weights want to see, changed by `set_input_convention`. Images always arrive as
            `IMAGENET_INPUT` says; the network itself converts them.
    """

    def __init__(self, architecture: str, block: type[Bottleneck], blocks: list[int], width: float = 1.0):
        self.width = width  # before torchvision's constructor, which builds the stages
        super().__init__(block, blocks)
        for module in self.modules():
            if isinstance(module, SqueezeExcitation):
                nn.init.zeros_(module.fc1.bias)
                nn.init.zeros_(module.fc2.bias)
        self.architecture = architecture
        self.num_features = self.layer4[-1].conv3.out_channels
        self.fc = nn.Identity()
        self.input_convention = IMAGENET_INPUT
        self.register_buffer("input_scale", torch.ones(3, 1, 1))
        self.register_buffer("input_shift", torch.zeros(3, 1, 1))

    def _make_layer(self, block, planes: int, *args, **kwargs) -> nn.Sequential:
        return super()._make_layer(block, int(planes * self.width), *args, **kwargs)

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images * self.input_scale + self.input_shift)


def set_input_convention(backbone: Backbone, convention: dict) -> Backbone:
    """Make the network convert its images to what the weights were trained with.

    Args:
        backbone: changed in place.
        convention: `range` (largest pixel value: 1 or 255), `mean` and `std` (three numbers each, RGB, in that range).

    Returns:
        the backbone.

    >>> backbone = set_input_convention(resnet14(), {"range": 255, "mean": [124, 117, 104], "std": [1, 1, 1]})
    >>> backbone.input_scale.flatten()
    tensor([58.3950, 57.1200, 57.3750])
    """
    mean, std = torch.tensor(IMAGENET_INPUT["mean"]), torch.tensor(IMAGENET_INPUT["std"])
    new_mean, new_std = torch.tensor(convention["mean"]), torch.tensor(convention["std"])
    backbone.input_convention = convention
    backbone.input_scale.copy_((convention["range"] * std / new_std)[:, None, None])
    backbone.input_shift.copy_(((convention["range"] * mean - new_mean) / new_std)[:, None, None])
    return backbone


def set_layout(backbone: Backbone, stride: str, pool: str) -> Backbone:
    """Place strides and padding where the weights to be loaded had them; every tensor fits either way.

    Args:
        backbone: a bottleneck ResNet, changed in place.
        stride: convolution with stride 2 in the first block of stages 3–5: "conv1" (the first 1×1; VGGFace2, Keras) or
            "conv2" (the 3×3; torchvision).
        pool: first max-pool: "ceil" (no padding, ceil mode; VGGFace2) or "padded" (padding 1; torchvision, Keras).

    Returns:
        the backbone.

    Raises:
        InputError: for an unknown choice.

    >>> get_layout(set_layout(resnet14(), stride="conv1", pool="padded"))
    {'stride': 'conv1', 'pool': 'padded'}
    """
    check_choice("stride", stride, STRIDES)
    check_choice("pool", pool, POOLS)
    for layer in (backbone.layer2, backbone.layer3, backbone.layer4):
        layer[0].conv1.stride = (2, 2) if stride == "conv1" else (1, 1)
        layer[0].conv2.stride = (2, 2) if stride == "conv2" else (1, 1)
    backbone.maxpool.padding = 0 if pool == "ceil" else 1
    backbone.maxpool.ceil_mode = pool == "ceil"
    return backbone


def get_layout(backbone: Backbone) -> dict[str, str]:
    """Layout of a backbone as `set_layout` names it.

    >>> get_layout(se_resnet14())
    {'stride': 'conv1', 'pool': 'ceil'}
    """
    return {
        "stride": "conv1" if backbone.layer2[0].conv1.stride == (2, 2) else "conv2",
        "pool": "ceil" if backbone.maxpool.ceil_mode else "padded",
    }


def se_resnet50() -> Backbone:
    """SE-ResNet-50 as pre-trained on VGGFace2 (stride on the first 1×1, pool in ceil mode): 26.04 M parameters.

    >>> sum(parameter.numel() for parameter in se_resnet50().parameters())
    26039024
    """
    return set_layout(Backbone("se_resnet50", SEBottleneck, [3, 4, 6, 3]), stride="conv1", pool="ceil")


def resnet50() -> Backbone:
    """ResNet-50 in torchvision's layout.

    >>> sum(parameter.numel() for parameter in resnet50().parameters())
    23508032
    """
    return Backbone("resnet50", Bottleneck, [3, 4, 6, 3])


def se_resnet14() -> Backbone:
    """Small sibling of SE-ResNet-50 for work on a CPU: one block a stage, a quarter of the channels.

    >>> len(se_resnet14().layer3)
    1
    """
    return set_layout(Backbone("se_resnet14", SEBottleneck, [1, 1, 1, 1], width=0.25), stride="conv1", pool="ceil")


def resnet14() -> Backbone:
    """Small sibling of ResNet-50 for work on a CPU: one block a stage, a quarter of the channels.

    >>> len(resnet14().layer3)
    1
    """
    return Backbone("resnet14", Bottleneck, [1, 1, 1, 1], width=0.25)


ARCHITECTURES = {builder.__name__: builder for builder in (se_resnet50, resnet50, se_resnet14, resnet14)}


def build_backbone(name: str) -> Backbone:
    """Backbone by name, randomly initialised.

    Raises:
        InputError: for a name not in `ARCHITECTURES`.

    >>> build_backbone("se_resnet14").num_features
    512
    """
    check_choice("architecture", name, ARCHITECTURES)
    return ARCHITECTURES[name]()
