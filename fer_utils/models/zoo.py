"""torchvision's classification networks as backbones, cut where their pooled features reach the classifier."""

from collections import OrderedDict
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torchvision.models import SwinTransformer, VisionTransformer, get_model
from torchvision.models.vision_transformer import Encoder

from fer_utils.errors import InputError
from fer_utils.models.conversion import IMAGENET_INPUT, InputConversion
from fer_utils.models.stages import Stage

# Options without which a builder warns, adds a second output or fixes another size than ours.
_OPTIONS = {
    "googlenet": {"aux_logits": False, "init_weights": True},
    "inception_v3": {"aux_logits": False, "init_weights": True},
}
_PROBE_SIZE = 224
_ONE_RESOLUTION = 0.75  # outputs down to this share of the stage's first are of one resolution


class TorchvisionBackbone(nn.Module):
    """A network of torchvision's without its classifier: images (N, 3, H, W) → pooled features.

    Args:
        architecture: a name in `fer_utils.architectures.TORCHVISION`.
        image_size: side of the images in pixels, which some networks (ViT, MaxViT) are built for.

    Attributes:
        net: torchvision's network, its classifier cut off; tensor names below `prefix` are torchvision's own.
        num_features: length of the output.
        input_convention: see `set_input_convention`.
        pooling: how the pooled features come about, in words.

    Raises:
        InputError: for an image size that the network cannot take.

    >>> backbone = TorchvisionBackbone("mobilenet_v3_small", 64).eval()
    >>> backbone(torch.zeros(1, 3, 64, 64)).shape, backbone.num_features, len(backbone.stages())
    (torch.Size([1, 576]), 576, 5)
    """

    prefix = "net."

    def __init__(self, architecture: str, image_size: int = _PROBE_SIZE):
        super().__init__()
        self.architecture = architecture
        self.input_convention = IMAGENET_INPUT
        self.input = InputConversion()
        self.net, self.num_features = _without_classifier(_build(architecture, image_size))
        self.pooling = "class token" if isinstance(self.net, VisionTransformer) else "global average pool"
        self._stages = _stage_names(self.net, architecture, image_size)

    def forward(self, images: Tensor) -> Tensor:
        return self.net(self.input(images))

    def stages(self) -> list[Stage]:
        """The network's own stages: the blocks of one resolution, or of a vision transformer block by block."""
        swin = isinstance(self.net, SwinTransformer)  # keeps channels last inside
        found = [
            Stage([self.net.get_submodule(name) for name in names], channels_last=swin and "." in names[-1])
            for names in self._stages
        ]
        closing = self.net.get_submodule(_head_name(self.net))  # a norm between the last block and the pooled features
        found[-1].others = (closing,)
        inside = {id(parameter) for stage in found for parameter in stage.parameters()}
        # Tokens and position embeddings, which are no module of their own.
        found[0].others = tuple(parameter for parameter in self.net.parameters() if id(parameter) not in inside)
        return found


def _build(architecture: str, image_size: int) -> nn.Module:
    options = dict(_OPTIONS.get(architecture, {}))
    if architecture.startswith("vit_"):
        options["image_size"] = image_size
    if architecture.startswith("maxvit_"):
        options["input_size"] = (image_size, image_size)
    try:
        return get_model(architecture, weights=None, **options)
    except (AssertionError, RuntimeError, ValueError) as error:
        raise InputError(_unfit(architecture, image_size, error)) from error


def _unfit(architecture: str, image_size: int, error: Exception) -> str:
    reason = " ".join(str(error).split()) or type(error).__name__
    return f"expected an image_size that {architecture} can take; found {image_size} ({reason}): 224 fits every network"


def _head_name(net: nn.Module) -> str:
    """Name of the child that holds the classifier."""
    return next(name for name in ("classifier", "heads", "head", "fc") if hasattr(net, name))


def _without_classifier(net: nn.Module) -> tuple[nn.Module, int]:
    """The network with everything from its first linear layer on cut off, and that layer's number of inputs."""
    name = _head_name(net)
    head = net.get_submodule(name)
    parts = OrderedDict(head.named_children()) if isinstance(head, nn.Sequential) else OrderedDict({"0": head})
    kept = OrderedDict()
    for key, part in parts.items():
        if isinstance(part, nn.Linear):
            setattr(net, name, nn.Sequential(kept))
            return net, part.in_features
        if not isinstance(part, nn.Dropout):
            kept[key] = part
    raise InputError(f"expected a network whose classifier begins with a linear layer; found {type(net).__name__}")


def _stage_names(net: nn.Module, architecture: str, image_size: int) -> list[list[str]]:
    """Names of the blocks of each stage, from a forward pass that computes shapes only."""
    fixed = architecture.startswith(("vit_", "maxvit_"))
    size = image_size if fixed else max(image_size, _PROBE_SIZE)
    names = {id(block): name for name, block in _blocks(net)}
    outputs: dict[str, Tensor] = {}
    hooks = [
        net.get_submodule(name).register_forward_hook(
            lambda module, args, out: outputs.setdefault(names[id(module)], out)
        )
        for name in names.values()
    ]
    shapes = {name: tensor.to("meta") for name, tensor in net.state_dict().items()}
    training = net.training
    try:
        torch.func.functional_call(net.eval(), shapes, torch.zeros(1, 3, size, size, device="meta"))
    except (AssertionError, RuntimeError) as error:
        raise InputError(_unfit(architecture, image_size, error)) from error
    finally:
        net.train(training)
        for hook in hooks:
            hook.remove()
    if isinstance(net, VisionTransformer):
        return _by_block(list(outputs))
    return _by_resolution(net, {name: out for name, out in outputs.items() if out.ndim == 4})


def _blocks(module: nn.Module, path: str = "") -> Iterator[tuple[str, nn.Module]]:
    """(name, block) of everything but the head and the global pool, containers opened."""
    for name, child in module.named_children():
        if not path and (name == _head_name(module) or isinstance(child, (nn.AdaptiveAvgPool2d, nn.Dropout))):
            continue
        if isinstance(child, (nn.Sequential, nn.ModuleList, Encoder)):
            yield from _blocks(child, f"{path}{name}.")
        elif not isinstance(child, (nn.Flatten, nn.Identity)):
            yield f"{path}{name}", child


def _by_block(names: list[str]) -> list[list[str]]:
    """A vision transformer: the patches' embedding, each block, and the last norm with the last block."""
    stages: list[list[str]] = []
    for name in names:
        if not stages or ".layers." in name:
            stages.append([])
        stages[-1].append(name)
    return stages


def _by_resolution(net: nn.Module, outputs: dict[str, Tensor]) -> list[list[str]]:
    stages: list[list[str]] = []
    first = 0
    for name, out in outputs.items():
        side = out.shape[-1] if out.shape[-1] == out.shape[-2] else out.shape[1]  # channels first, or (Swin) last
        if not stages or side < _ONE_RESOLUTION * first:
            if stages and not any(True for part in stages[-1] for _ in net.get_submodule(part).parameters()):
                stages[-1].append(name)  # a pool alone is no stage
            else:
                stages.append([name])
            first = side
        else:
            stages[-1].append(name)
    return stages
