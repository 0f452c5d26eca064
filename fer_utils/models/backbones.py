"""Networks without their classifier: images (N, 3, H, W) → pooled features (N, F)."""

from collections import OrderedDict
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import get_model, list_models
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet
from torchvision.ops import SqueezeExcitation

from fer_utils.core import OWN_ARCHITECTURES, InputError, check_choice

SQUEEZE, SMALL_SQUEEZE = 16, 8  # reduction of squeeze-and-excitation
STRIDES, POOLS = ("conv1", "conv2"), ("ceil", "padded")
# What images arrive as, and what networks expect unless their weights say otherwise (Sec. 4.3).
IMAGENET_INPUT = {"range": 1, "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
# Classifiers of these see more than pooled features, or the network is for other tasks.
_UNFIT = ("alexnet", "squeezenet", "vgg")
_PROBE_SIZE = 224


@dataclass
class Stage:
    """Consecutive blocks of a network, frozen, described and drawn as one.

    Attributes:
        blocks: in the order in which they run; the last one's output is the stage's.
        words: what its main block is called.
        repeat: how often that stands in it.
    """

    blocks: list[nn.Module]
    words: str
    repeat: int = 1
    others: list[nn.Parameter] = field(default_factory=list)

    def parameters(self) -> list[nn.Parameter]:
        return [weight for block in self.blocks for weight in block.parameters()] + self.others


class InputConversion(nn.Module):
    """Images normalised as `IMAGENET_INPUT` says → the same images under another convention."""

    def __init__(self):
        super().__init__()
        self.register_buffer("scale", torch.ones(3, 1, 1))
        self.register_buffer("shift", torch.zeros(3, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        return images * self.scale + self.shift


def set_input_convention(backbone: nn.Module, convention: dict) -> nn.Module:
    """Make a network convert its images to what its weights were trained with.

    Args:
        backbone: changed in place.
        convention: `range` (largest pixel value: 1 or 255), `mean` and `std` (RGB, in that range).
    """
    mean, std = torch.tensor(IMAGENET_INPUT["mean"]), torch.tensor(IMAGENET_INPUT["std"])
    new_mean, new_std = torch.tensor(convention["mean"]), torch.tensor(convention["std"])
    backbone.input_convention = convention
    backbone.input.scale.copy_((convention["range"] * std / new_std)[:, None, None])
    shift = (convention["range"] * mean - new_mean) / new_std
    backbone.input.shift.copy_(shift[:, None, None])
    return backbone


class _Excited:
    """Squeeze-and-excitation (`se`) on a residual block, before the addition."""

    def forward(self, x: Tensor) -> Tensor:
        identity = x if self.downsample is None else self.downsample(x)
        return self.relu(self.se(self.residual(x)) + identity)


class SEBottleneck(_Excited, Bottleneck):
    """torchvision's bottleneck with squeeze-and-excitation: VGGFace2's block exactly."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        channels = self.conv3.out_channels
        self.se = SqueezeExcitation(channels, channels // SQUEEZE)

    def residual(self, x: Tensor) -> Tensor:
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        return self.bn3(self.conv3(out))


class SEBasicBlock(_Excited, BasicBlock):
    """torchvision's basic block with squeeze-and-excitation."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        channels = self.conv2.out_channels
        self.se = SqueezeExcitation(channels, channels // SMALL_SQUEEZE)

    def residual(self, x: Tensor) -> Tensor:
        return self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))


class Backbone(ResNet):
    """torchvision's `ResNet` without classifier.

    Initialised as torchvision does, the biases of squeeze-and-excitation at 0.

    Args:
        architecture: name, kept as an attribute.
        block: `Bottleneck` or `SEBottleneck`.
        blocks: number of blocks in stages 2–5.
        width: of stages 2–5, as a share of the usual channels.

    Attributes:
        num_features: F.
        input_convention: what the weights want to see; images always arrive as `IMAGENET_INPUT`.
        prefix: what stands before torchvision's own tensor names.
        pooling: how the features are pooled, in words.
    """

    prefix, pooling = "", "global average pool"

    def __init__(self, architecture: str, block: type, blocks: list[int], width: float = 1.0):
        self.width = width  # before torchvision's constructor, which builds the stages
        super().__init__(block, blocks)
        _zero_gates(self)
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
        """Stages 1–5 of Table 2: the 7×7 convolution, then `layer1` (with the pool) to `layer4`."""
        words = "SE bottleneck" if hasattr(self.layer1[0], "se") else "bottleneck"
        layers = [[self.maxpool, *self.layer1], self.layer2, self.layer3, self.layer4]
        first = Stage([self.conv1, self.bn1, self.relu], "convolution 7×7")
        repeats = [len(layer) for layer in (self.layer1, *layers[1:])]
        return [first, *(Stage(list(x), words, n) for x, n in zip(layers, repeats, strict=True))]


class SmallResNet(nn.Module):
    """A residual network for small grey faces: no early stride, squares of 2×2 pixels as channels.

    Pixels become grey, then 2×2 squares of them four channels (at 48 pixels 24×24), which quarters
    the memory traffic that bounds such networks; a 3×3 convolution and three basic blocks follow.

    Args:
        architecture: name, kept as an attribute.
        block: `BasicBlock` or `SEBasicBlock`.
        channels: of the stages after the first; each after the second halves the resolution.
    """

    prefix, pooling = "", "global average pool"

    def __init__(self, architecture: str, block: type, channels: tuple[int, ...] = (32, 64, 128)):
        super().__init__()
        self.architecture = architecture
        self.num_features = channels[-1]
        self.input_convention = IMAGENET_INPUT
        self.input = InputConversion()
        mean, std = (torch.tensor(IMAGENET_INPUT[name]) for name in ("mean", "std"))
        self.register_buffer("grey_scale", (4 * std / 3).view(1, 3, 1, 1), persistent=False)
        self.grey_shift = float(4 * (mean.mean() - 0.5))
        self.conv1 = nn.Conv2d(4, channels[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels[0])
        self.relu = nn.ReLU(inplace=True)
        before = channels[0]
        for number, after in enumerate(channels, start=1):
            stride = 1 if number == 1 else 2
            shortcut = None
            if stride == 2:
                conv = nn.Conv2d(before, after, 1, stride, bias=False)
                shortcut = nn.Sequential(conv, nn.BatchNorm2d(after))
            layer = nn.Sequential(block(before, after, stride, shortcut))
            self.add_module(f"layer{number}", layer)
            before = after
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        _zero_gates(self)

    def forward(self, images: Tensor) -> Tensor:
        images = self.input(images)
        grey = (images * self.grey_scale).sum(dim=1, keepdim=True) + self.grey_shift  # −2 … 2
        folded = F.pixel_unshuffle(grey, 2).contiguous(memory_format=torch.channels_last)
        x = self.relu(self.bn1(self.conv1(folded)))
        for layer in self._layers():
            x = layer(x)
        return x.mean(dim=(2, 3))

    def _layers(self) -> list[nn.Sequential]:
        return [layer for name, layer in self.named_children() if name.startswith("layer")]

    def stages(self) -> list[Stage]:
        """Stage 1 is the 3×3 convolution, each later one a residual block."""
        words = "SE basic block" if hasattr(self.layer1[0], "se") else "basic block"
        first = Stage([self.conv1, self.bn1, self.relu], "2×2 fold, convolution 3×3")
        return [first, *(Stage(list(layer), words, len(layer)) for layer in self._layers())]


class TorchvisionBackbone(nn.Module):
    """A classification network of torchvision's without its classifier: one stage, all or nothing.

    Args:
        architecture: torchvision's name.
        image_size: side of the images in pixels, which some networks (ViT, MaxViT) are built for.

    Raises:
        InputError: for an image size that the network cannot take.
    """

    prefix, pooling = "net.", "pool"

    def __init__(self, architecture: str, image_size: int = _PROBE_SIZE):
        super().__init__()
        self.architecture = architecture
        self.input_convention = IMAGENET_INPUT
        self.input = InputConversion()
        options = {}
        if architecture in ("googlenet", "inception_v3"):
            options = {"aux_logits": False, "init_weights": True}
        if architecture.startswith("vit_"):
            options = {"image_size": image_size}
        if architecture.startswith("maxvit_"):
            options = {"input_size": (image_size, image_size)}
        try:
            self.net = get_model(architecture, weights=None, **options)
            self.num_features = _cut_classifier(self.net)
            with torch.device("meta"):
                images = torch.zeros(1, 3, image_size, image_size)
            shapes = {name: tensor.to("meta") for name, tensor in self.net.state_dict().items()}
            torch.func.functional_call(self.net.eval(), shapes, images)
        except (AssertionError, RuntimeError, ValueError) as error:
            raise InputError(
                f"expected an image_size that {architecture} can take, found {image_size} "
                f"({' '.join(str(error).split())}): 224 fits every network"
            ) from None
        self.net.train()

    def forward(self, images: Tensor) -> Tensor:
        return self.net(self.input(images))

    def stages(self) -> list[Stage]:
        return [Stage([self.net], self.architecture)]


def _cut_classifier(net: nn.Module) -> int:
    """Cut off everything from the first linear layer on; that layer's number of inputs."""
    name = next(name for name in ("classifier", "heads", "head", "fc") if hasattr(net, name))
    head = net.get_submodule(name)
    parts = head.named_children() if isinstance(head, nn.Sequential) else [("0", head)]
    kept = OrderedDict()
    for key, part in parts:
        if isinstance(part, nn.Linear):
            setattr(net, name, nn.Sequential(kept))
            return part.in_features
        if not isinstance(part, nn.Dropout):
            kept[key] = part
    raise InputError(f"expected a classifier with a linear layer, found {type(head).__name__}")


def _zero_gates(network: nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, SqueezeExcitation):
            nn.init.zeros_(module.fc1.bias)
            nn.init.zeros_(module.fc2.bias)


def set_layout(backbone: Backbone, stride: str, pool: str) -> Backbone:
    """Place strides and padding where the weights had them; every tensor fits either way.

    Args:
        backbone: a bottleneck ResNet, changed in place.
        stride: convolution with stride 2 in the first block of stages 3–5: "conv1" (the first 1×1;
            VGGFace2, Keras) or "conv2" (the 3×3; torchvision).
        pool: first max-pool: "ceil" (no padding, ceil mode; VGGFace2) or "padded" (torchvision).

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
    """Layout as `set_layout` names it; empty for networks that have but one."""
    if not isinstance(backbone, Backbone):
        return {}
    return {
        "stride": "conv1" if backbone.layer2[0].conv1.stride == (2, 2) else "conv2",
        "pool": "ceil" if backbone.maxpool.ceil_mode else "padded",
    }


def se_resnet50() -> Backbone:
    """SE-ResNet-50 as pre-trained on VGGFace2 (stride on the first 1×1, pool in ceil mode).

    >>> sum(parameter.numel() for parameter in se_resnet50().parameters())
    26039024
    """
    return set_layout(Backbone("se_resnet50", SEBottleneck, [3, 4, 6, 3]), "conv1", "ceil")


def resnet50() -> Backbone:
    """ResNet-50 in torchvision's layout."""
    return Backbone("resnet50", Bottleneck, [3, 4, 6, 3])


def se_resnet14() -> Backbone:
    """Narrow sibling of SE-ResNet-50: one block a stage, a quarter of the channels."""
    return set_layout(Backbone("se_resnet14", SEBottleneck, [1] * 4, 0.25), "conv1", "ceil")


def resnet14() -> Backbone:
    """Narrow sibling of ResNet-50: one block a stage, a quarter of the channels."""
    return Backbone("resnet14", Bottleneck, [1] * 4, 0.25)


def small_se_resnet() -> SmallResNet:
    """SE network for grey faces of 48 pixels, 0.31 M parameters."""
    return SmallResNet("small_se_resnet", SEBasicBlock)


def small_resnet() -> SmallResNet:
    """The same without squeeze-and-excitation."""
    return SmallResNet("small_resnet", BasicBlock)


_BUILDERS = (se_resnet50, resnet50, se_resnet14, resnet14, small_se_resnet, small_resnet)
_OWN = {builder.__name__: builder for builder in _BUILDERS}


def torchvision_architectures() -> list[str]:
    """torchvision's classification networks that can be backbones."""
    import torchvision.models

    names = list_models(module=torchvision.models)
    return [name for name in names if name not in _OWN and not name.startswith(_UNFIT)]


def build_backbone(name: str, image_size: int = _PROBE_SIZE) -> nn.Module:
    """Backbone by name, randomly initialised.

    Args:
        name: one of `core.OWN_ARCHITECTURES`, or of torchvision's classification networks.
        image_size: side of the images in pixels; some networks are built for one size.

    Returns:
        A module with `architecture`, `num_features`, `stages()`, `input` and `input_convention`.

    Raises:
        InputError: for an unknown name, or an image size that the network cannot take.

    >>> build_backbone("small_resnet").num_features, build_backbone("resnet18").num_features
    (128, 512)
    """
    check_choice("architecture", name, [*OWN_ARCHITECTURES, *torchvision_architectures()])
    return _OWN[name]() if name in _OWN else TorchvisionBackbone(name, image_size)
