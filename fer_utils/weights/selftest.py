"""A numerical self-test: a few channels and blocks recomputed from the file's own tensors, in the file's own terms.

Each of the known mistakes leaves every name and shape as it was: a stride on the other convolution, another pool, blue
and red exchanged, pixels in another range. Here the stem and the first block of stages 3–5 are computed again with
plain functions, from the tensors before any reordering, and compared with what the network makes of the same image.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.resnet import Bottleneck, ResNet

from fer_utils.errors import InputError
from fer_utils.models import IMAGENET_INPUT
from fer_utils.models.folding import unfolded
from fer_utils.weights.names import TORCHVISION_LAYOUT, Weights

NOT_AVAILABLE = "not available"
# Of the largest value; rounding gives 1e-6 (1e-3 on a GPU in reduced precision), the mistakes above 0.2 and more.
TOLERANCE = 1e-2
_PROBE_SIZE = (65, 49)  # odd and oblong: pools and strides cannot agree by chance
_LAYERS = ("layer2", "layer3", "layer4")
_EPSILON = 1e-5  # of batch norm


@torch.no_grad()
def self_test(backbone: nn.Module, weights: Weights, convention: dict, source: str) -> dict | str:
    """Compare the loaded network with the file's tensors on a fixed probe image.

    Args:
        backbone: loaded; as it was when this returns.
        weights: of the file.
        convention: the input convention that the network was set to.
        source: the file, for the message.

    Returns:
        `checked` (places) and `largest_deviation` (of a place, relative to its largest value), or "not available" for
        a network that is no ResNet of bottlenecks.

    Raises:
        InputError: if a place deviates by more than `TOLERANCE`.
    """
    network = bottleneck_resnet(backbone)
    if network is None:
        return NOT_AVAILABLE
    like = network.conv1.weight
    names = ("conv1.", "bn1.", *(f"{layer}.0." for layer in _LAYERS))
    tensors = {name.removeprefix(backbone.prefix): tensor for name, tensor in weights.tensors.items()}
    tensors = {name: tensor.to(like) for name, tensor in tensors.items() if name.startswith(names)}
    layout = weights.layout or TORCHVISION_LAYOUT
    pixels = torch.rand(1, 3, *_PROBE_SIZE, generator=torch.Generator().manual_seed(0)).to(like)

    seen = _activations(backbone, network, _normalised(pixels, IMAGENET_INPUT))
    image = _normalised(convention["range"] * pixels, convention)[:, [2, 1, 0] if weights.bgr else [0, 1, 2]]
    deviations = {
        "channel order and range of the input": _deviation(_stem(tensors, image), seen["conv1"][1]),
        "pool": _deviation(_pool(tensors, seen["conv1"][1], layout["pool"]), seen["maxpool"][1]),
    }
    for layer in _LAYERS:
        x, out = seen[f"{layer}.0"]
        deviations[f"stride of {layer}"] = _deviation(_block(tensors, x, layer, layout["stride"]), out)
    for place, deviation in deviations.items():
        if not deviation <= TOLERANCE:
            raise InputError(
                f"the layout cannot be right: expected the {place} in {backbone.architecture} to give what the tensors "
                f"of {source} give; found a relative deviation of {deviation:.2g}: load into a backbone fresh from "
                "build_backbone, and report it if that fails too"
            )
    return {"checked": list(deviations), "largest_deviation": max(deviations.values())}


def bottleneck_resnet(backbone: nn.Module) -> ResNet | None:
    """The ResNet of bottlenecks that a backbone is or wraps, or None."""
    network = backbone.get_submodule(backbone.prefix.removesuffix("."))
    return network if isinstance(network, ResNet) and isinstance(network.layer1[0], Bottleneck) else None


def _activations(backbone: nn.Module, network: ResNet, images: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
    """(input, output) of the checked modules, in evaluation mode; every module's own mode is put back."""
    seen = {}
    places = ("conv1", "maxpool", *(f"{layer}.0" for layer in _LAYERS))
    hooks = [
        network.get_submodule(place).register_forward_hook(
            lambda module, args, out, place=place: seen.update({place: (args[0].clone(), out.clone())})
        )
        for place in places
    ]
    modes = [(module, module.training) for module in backbone.modules()]
    try:
        for module, _ in modes:
            module.training = False
        with unfolded(backbone):
            backbone(images)
    finally:
        for module, mode in modes:
            module.training = mode
        for hook in hooks:
            hook.remove()
    return seen


def _normalised(pixels: Tensor, convention: dict) -> Tensor:
    mean, std = (pixels.new_tensor(convention[key])[:, None, None] for key in ("mean", "std"))
    return (pixels - mean) / std


def _deviation(expected: Tensor, found: Tensor) -> float:
    if expected.shape != found.shape:
        return float("inf")
    return float((expected - found).abs().max() / expected.abs().max().clamp(min=torch.finfo(expected.dtype).tiny))


def _norm(tensors: dict[str, Tensor], x: Tensor, name: str) -> Tensor:
    scale = tensors[f"{name}.weight"] / (tensors[f"{name}.running_var"] + _EPSILON).sqrt()
    return (x - tensors[f"{name}.running_mean"][:, None, None]) * scale[:, None, None] + tensors[f"{name}.bias"][
        :, None, None
    ]


def _stem(tensors: dict[str, Tensor], image: Tensor) -> Tensor:
    return F.conv2d(image, tensors["conv1.weight"], stride=2, padding=3)


def _pool(tensors: dict[str, Tensor], x: Tensor, pool: str) -> Tensor:
    x = F.relu(_norm(tensors, x, "bn1"))
    if pool == "padded":
        return F.max_pool2d(x, 3, 2, padding=1)
    height, width = (1 - size % 2 for size in x.shape[2:])  # windows over the far edges are cut off there
    return F.max_pool2d(F.pad(x, (0, width, 0, height), value=-torch.inf), 3, 2)


def _block(tensors: dict[str, Tensor], x: Tensor, layer: str, place: str) -> Tensor:
    """First block of a stage, with stride 2 where the file's network has it."""

    def convolved(x: Tensor, name: str, stride: int = 1, padding: int = 0) -> Tensor:
        kernel = tensors[f"{layer}.0.{name}.weight"]
        return F.conv2d(
            x, kernel, tensors.get(f"{layer}.0.{name}.bias"), stride, padding, groups=x.shape[1] // kernel.shape[1]
        )

    def normed(x: Tensor, name: str) -> Tensor:
        return _norm(tensors, x, f"{layer}.0.{name}")

    first, second = (2, 1) if place == "conv1" else (1, 2)
    out = F.relu(normed(convolved(x, "conv1", first), "bn1"))
    out = F.relu(normed(convolved(out, "conv2", second, padding=1), "bn2"))
    out = normed(convolved(out, "conv3"), "bn3")
    if f"{layer}.0.se.fc1.weight" in tensors:
        gate = F.relu(convolved(out.mean((2, 3), keepdim=True), "se.fc1"))
        out = out * torch.sigmoid(convolved(gate, "se.fc2"))
    return F.relu(out + normed(convolved(x, "downsample.0", stride=2), "downsample.1"))
