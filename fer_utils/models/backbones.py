"""Backbones: torchvision's `ResNet` without its classifier, with or without squeeze-and-excitation."""

from torch import Tensor, nn
from torchvision.models.resnet import Bottleneck, ResNet
from torchvision.ops import SqueezeExcitation

from fer_utils import architectures
from fer_utils.errors import check_choice
from fer_utils.models.conversion import IMAGENET_INPUT, InputConversion
from fer_utils.models.stages import Stage
from fer_utils.models.zoo import TorchvisionBackbone

SQUEEZE = 16  # reduction of the squeeze-and-excitation module
STRIDES = ("conv1", "conv2")
POOLS = ("ceil", "padded")


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
        pooling: how the pooled features come about, in words.
    """

    prefix = ""  # what stands before torchvision's own tensor names
    pooling = "global average pool"

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
        self.input = InputConversion()

    def _make_layer(self, block, planes: int, *args, **kwargs) -> nn.Sequential:
        return super()._make_layer(block, int(planes * self.width), *args, **kwargs)

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(self.input(images))

    def stages(self) -> list[Stage]:
        """Stages 1–5 of Table 2: the 7×7 convolution, then torchvision's `layer1` (after the pool) to `layer4`."""
        rest = (self.layer2, self.layer3, self.layer4)
        return [
            Stage([self.conv1, self.bn1, self.relu]),
            Stage([self.maxpool, *self.layer1]),
            *(Stage(list(layer)) for layer in rest),
        ]


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


def get_layout(backbone: nn.Module) -> dict[str, str]:
    """Layout of a backbone as `set_layout` names it; empty for torchvision's other networks, which have but one.

    >>> get_layout(se_resnet14())
    {'stride': 'conv1', 'pool': 'ceil'}
    """
    if not isinstance(backbone, Backbone):
        return {}
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


_OWN = {builder.__name__: builder for builder in (se_resnet50, resnet50, se_resnet14, resnet14)}


def build_backbone(name: str, image_size: int = 224) -> nn.Module:
    """Backbone by name, randomly initialised.

    Args:
        name: one of `fer_utils.architectures.ARCHITECTURES`: ours, or torchvision's.
        image_size: side of the images in pixels; only vision transformers are built for one size.

    Returns:
        `Backbone` or `TorchvisionBackbone`: a module with `architecture`, `num_features`, `stages()`, `input` and
        `input_convention`.

    Raises:
        InputError: for an unknown name, or an image size that the network cannot take.

    >>> build_backbone("se_resnet14").num_features, build_backbone("resnet18").num_features
    (512, 512)
    """
    check_choice("architecture", name, architectures.ARCHITECTURES)
    return _OWN[name]() if name in _OWN else TorchvisionBackbone(name, image_size)
