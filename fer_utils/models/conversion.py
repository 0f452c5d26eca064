"""The small module in front of every network: from what the transforms deliver to what the weights want to see."""

import torch
from torch import Tensor, nn

# What the transforms deliver, and what networks expect unless their weights say otherwise: RGB in 0…1, minus the mean,
# over the standard deviation (section 4.3).
IMAGENET_INPUT = {"range": 1, "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}


class InputConversion(nn.Module):
    """Images (N, 3, H, W) normalised as `IMAGENET_INPUT` says → the same images under another convention.

    One multiplication and one addition a channel, so that transforms stay the same whatever the weights.
    """

    def __init__(self):
        super().__init__()
        self.register_buffer("scale", torch.ones(3, 1, 1))
        self.register_buffer("shift", torch.zeros(3, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        return images * self.scale + self.shift


def set_input_convention(backbone: nn.Module, convention: dict) -> nn.Module:
    """Make a network convert its images to what its weights were trained with.

    Args:
        backbone: from `build_backbone`, changed in place.
        convention: `range` (largest pixel value: 1 or 255), `mean` and `std` (three numbers each, RGB, in that range).

    Returns:
        the backbone.

    >>> from fer_utils.models import resnet14
    >>> backbone = set_input_convention(resnet14(), {"range": 255, "mean": [124, 117, 104], "std": [1, 1, 1]})
    >>> backbone.input.scale.flatten()
    tensor([58.3950, 57.1200, 57.3750])
    """
    mean, std = torch.tensor(IMAGENET_INPUT["mean"]), torch.tensor(IMAGENET_INPUT["std"])
    new_mean, new_std = torch.tensor(convention["mean"]), torch.tensor(convention["std"])
    backbone.input_convention = convention
    backbone.input.scale.copy_((convention["range"] * std / new_std)[:, None, None])
    backbone.input.shift.copy_(((convention["range"] * mean - new_mean) / new_std)[:, None, None])
    return backbone
