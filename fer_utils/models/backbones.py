"""Networks without their classifier: images (N, 3, H, W) → pooled features (N, F).

Each has `architecture`, its name; `num_features`, F; `input`, which makes of images what the
weights want to see; `layout`; `prefix`, of torchvision's tensor names; `pooling`; and `stages()`.
"""

from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision import models as zoo
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet
from torchvision.ops import SqueezeExcitation

from fer_utils.core import InputError, check_choice, one_line, require

# What images arrive as, and what networks expect unless their weights say otherwise (Sec. 4.3).
IMAGENET_INPUT = {"range": 1, "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
TORCHVISION_LAYOUT = {"stride": "conv2", "pool": "padded"}
VGGFACE2_LAYOUT = {"stride": "conv1", "pool": "ceil"}
LAYOUTS = [{"stride": s, "pool": p} for s in ("conv1", "conv2") for p in ("ceil", "padded")]

# torchvision's whose classifier sees maps, or which want inputs of their own; "resnet50" is ours.
_UNFIT = ("alexnet", "squeezenet", "vgg", "googlenet", "inception", "resnet50")
# Where the others have their last maps (N, C, H, W).
_MAPS = ("permute", "features", "layer4", "trunk_output", "conv5", "layers")

_FAINT = 0.03  # a deviation of grey, 0–1: fainter images are amplified less


@dataclass
class Stage:
    """Consecutive blocks of a network, frozen and drawn as one; the last gives its output."""

    blocks: list[nn.Module]
    words: str  # name its main block,
    repeat: int = 1  # which stands in it so often

    def parameters(self) -> list[nn.Parameter]:
        return list(dict.fromkeys(w for block in self.blocks for w in block.parameters()))


class InputConversion(nn.Module):
    """Images normalised as `IMAGENET_INPUT` says → the same images under `convention`."""

    def __init__(self):
        super().__init__()
        self.register_buffer("scale", torch.ones(3, 1, 1))
        self.register_buffer("shift", torch.zeros(3, 1, 1))
        self.convention = IMAGENET_INPUT

    def forward(self, images: Tensor) -> Tensor:
        return images * self.scale + self.shift

    def set(self, convention: dict) -> None:
        """Take `range` (the largest pixel value: 1 or 255), `mean` and `std` (RGB, within it)."""
        mean, std = torch.tensor([IMAGENET_INPUT["mean"], IMAGENET_INPUT["std"]])
        new_mean, new_std = torch.tensor([convention["mean"], convention["std"]])
        scale = convention["range"] * std / new_std
        shift = (convention["range"] * mean - new_mean) / new_std
        good = (scale > 0).all() and (scale + shift).isfinite().all()
        require(good, "a range, means and deviations", convention)
        self.convention = convention
        self.scale.copy_(scale[:, None, None])
        self.shift.copy_(shift[:, None, None])


def _gate(channels: int, reduction: int) -> SqueezeExcitation:
    gate = SqueezeExcitation(channels, channels // reduction)
    nn.init.zeros_(gate.fc1.bias)
    nn.init.zeros_(gate.fc2.bias)
    return gate


class SEBottleneck(Bottleneck):
    """torchvision's bottleneck with squeeze-and-excitation (`se`): VGGFace2's block exactly."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.se = _gate(self.conv3.out_channels, reduction=16)

    def forward(self, x: Tensor) -> Tensor:
        identity = x if self.downsample is None else self.downsample(x)
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        return self.relu(self.se(self.bn3(self.conv3(out))) + identity)


class Backbone(ResNet):
    """torchvision's `ResNet` without classifier, initialised as torchvision does.

    `blocks` and `width`: number of blocks, and share of the usual channels, in stages 2–5.
    """

    prefix, pooling = "", "global average pool"

    def __init__(self, architecture: str, block: type, blocks: list[int], width: float = 1.0):
        self.width = width  # before torchvision's constructor, which builds the stages
        super().__init__(block, blocks)
        self.architecture, self.num_features = architecture, self.layer4[-1].conv3.out_channels
        self.fc, self.input = nn.Identity(), InputConversion()
        self.layout = VGGFACE2_LAYOUT if block is SEBottleneck else TORCHVISION_LAYOUT

    def _make_layer(self, block, planes: int, *args, **kwargs) -> nn.Sequential:
        return super()._make_layer(block, int(planes * self.width), *args, **kwargs)

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(self.input(images))

    @property
    def layout(self) -> dict[str, str]:
        """Where strides and padding are; every tensor fits any of `LAYOUTS`.

        `stride`: the convolution with stride 2 in stages 3–5, "conv1" (VGGFace2, Keras) or "conv2"
        (torchvision). `pool`: "ceil" (no padding, ceil mode; VGGFace2) or "padded".
        """
        stride = "conv1" if self.layer2[0].conv1.stride == (2, 2) else "conv2"
        return {"stride": stride, "pool": "ceil" if self.maxpool.ceil_mode else "padded"}

    @layout.setter
    def layout(self, layout: dict[str, str]) -> None:
        for layer in (self.layer2, self.layer3, self.layer4):
            for name in ("conv1", "conv2"):
                getattr(layer[0], name).stride = (2, 2) if layout["stride"] == name else (1, 1)
        self.maxpool.ceil_mode = layout["pool"] == "ceil"
        self.maxpool.padding = 0 if layout["pool"] == "ceil" else 1

    def stages(self) -> list[Stage]:
        words = "SE bottleneck" if isinstance(self.layer1[0], SEBottleneck) else "bottleneck"
        layers = (self.layer2, self.layer3, self.layer4)
        return [
            Stage([self.conv1, self.bn1, self.relu], "convolution 7×7"),
            Stage([self.maxpool, *self.layer1], f"max-pool, {words}", len(self.layer1)),
            *(Stage(list(layer), words, len(layer)) for layer in layers),
        ]


class SmallBlock(BasicBlock):
    """torchvision's basic block, where asked for with squeeze-and-excitation (`se`)."""

    def __init__(self, before: int, after: int, stride: int, gated: bool):
        shortcut = None
        if stride > 1:
            projection = nn.Conv2d(before, after, 1, stride, bias=False)
            shortcut = nn.Sequential(projection, nn.BatchNorm2d(after))
        super().__init__(before, after, stride, shortcut)
        self.se = _gate(after, reduction=8) if gated else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        identity = x if self.downsample is None else self.downsample(x)
        out = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.se(self.bn2(self.conv2(out))) + identity)


class SmallResNet(nn.Module):
    """A residual network for small faces: pixels become grey, squares of 2×2 of them four channels.

    At 48 pixels that gives 24×24: a quarter of the memory traffic, which bounds such networks.
    Each image is standardised first, so light and contrast need not be learnt.
    """

    prefix, pooling, layout, num_features = "", "global average pool", {}, 128

    def __init__(self, architecture: str, gated: bool):
        super().__init__()
        self.architecture, self.input = architecture, InputConversion()
        scale = torch.tensor(IMAGENET_INPUT["std"]).view(1, 3, 1, 1) / 3
        self.register_buffer("grey_scale", scale, persistent=False)  # grey from 0 to 1
        self.conv1 = nn.Conv2d(4, 32, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(32)
        self.relu = nn.ReLU(inplace=True)
        self.layer1 = nn.Sequential(SmallBlock(32, 32, 1, gated))
        self.layer2 = nn.Sequential(SmallBlock(32, 64, 2, gated), SmallBlock(64, 64, 1, gated))
        self.layer3 = nn.Sequential(SmallBlock(64, 128, 2, gated))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        grey = (self.input(images) * self.grey_scale).sum(1, keepdim=True)  # (N, 1, H, W)
        grey = grey - grey.mean(dim=(2, 3), keepdim=True)
        deviation = grey.square().mean(dim=(2, 3), keepdim=True).clamp(min=1e-12).sqrt()
        folded = F.pixel_unshuffle(grey / (deviation + _FAINT), 2)
        folded = folded.contiguous(memory_format=torch.channels_last)
        x = self.relu(self.bn1(self.conv1(folded)))  # (N, 32, H/2, W/2)
        return self.layer3(self.layer2(self.layer1(x))).mean(dim=(2, 3))

    def stages(self) -> list[Stage]:
        gated = isinstance(self.layer1[0].se, SqueezeExcitation)
        words = "SE basic block" if gated else "basic block"
        first = Stage([self.conv1, self.bn1, self.relu], "2×2 fold, convolution 3×3")
        layers = (self.layer1, self.layer2, self.layer3)
        return [first, *(Stage(list(layer), words, len(layer)) for layer in layers)]


class TorchvisionBackbone(nn.Module):
    """A network of torchvision's, one stage; ViT and MaxViT are built for one size of images."""

    prefix, pooling, layout = "net.", "pool", {}

    def __init__(self, architecture: str, image_size: int = 224):
        super().__init__()
        sized = {"vit": {"image_size": image_size}, "maxvit": {"input_size": (image_size,) * 2}}
        options = sized.get(architecture.partition("_")[0], {})
        try:
            self.net = zoo.get_model(architecture, weights=None, **options)
        except (AssertionError, ValueError) as error:
            found = f"{image_size} ({one_line(error)}): 224 fits every network"
            expected = f"an image_size that {architecture} can take"
            raise InputError(f"expected {expected}, found {found}") from None
        self.num_features = _cut_classifier(self.net)
        self.architecture, self.input = architecture, InputConversion()

    def forward(self, images: Tensor) -> Tensor:
        return self.net(self.input(images))

    def stages(self) -> list[Stage]:
        maps = next((name for name in _MAPS if hasattr(self.net, name)), "")
        return [Stage([self.net, self.net.get_submodule(maps)], self.architecture)]


def _cut_classifier(net: nn.Module) -> int:
    """Cut off everything from the first linear layer on; that layer's number of inputs."""
    name = next(name for name in ("classifier", "heads", "head", "fc") if hasattr(net, name))
    head = getattr(net, name)
    parts = list(head) if isinstance(head, nn.Sequential) else [head]
    parts = [part for part in parts if not isinstance(part, nn.Dropout)]
    first = next(i for i, part in enumerate(parts) if isinstance(part, nn.Linear))
    setattr(net, name, nn.Sequential(*parts[:first]))
    return parts[first].in_features


# The paper's two, the first as pre-trained on VGGFace2 (26.04 M parameters); a narrow sibling of
# each; and two for grey faces of 48 pixels (0.39 M parameters).
se_resnet50 = partial(Backbone, "se_resnet50", SEBottleneck, [3, 4, 6, 3])
resnet50 = partial(Backbone, "resnet50", Bottleneck, [3, 4, 6, 3])
se_resnet14 = partial(Backbone, "se_resnet14", SEBottleneck, [1, 1, 1, 1], width=0.25)
resnet14 = partial(Backbone, "resnet14", Bottleneck, [1, 1, 1, 1], width=0.25)
small_se_resnet = partial(SmallResNet, "small_se_resnet", gated=True)
small_resnet = partial(SmallResNet, "small_resnet", gated=False)
_MAKERS = (se_resnet50, resnet50, se_resnet14, resnet14, small_se_resnet, small_resnet)


def build_backbone(name: str, image_size: int = 224) -> nn.Module:
    """Backbone by name, randomly initialised: ours, or torchvision's, some for one size alone."""
    own = {maker.args[0]: maker for maker in _MAKERS}
    theirs = [name for name in zoo.list_models(module=zoo) if not name.startswith(_UNFIT)]
    check_choice("architecture", name, [*own, *theirs])
    return own[name]() if name in own else TorchvisionBackbone(name, image_size)
