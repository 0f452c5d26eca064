"""Whether a guessed input convention is plausible: batch norm remembers how much contrast the weights were trained on.

Where a file does not declare what its network expects, ImageNet's normalisation is a guess. The running variance of the
first batch norm tells a wrong range: of ImageNet weights for pixels of 0–255, this mosaic varies 1.2 times as much as
the training images did (drawn faces 0.9, LFW 0.5), and 0.0004 times where they get normalised pixels. Channel order,
stride and pool leave no such trace: all their combinations lie within what another dataset changes.
"""

import torch
from torch import nn

from fer_utils.weights.selftest import NOT_AVAILABLE, bottleneck_resnet

_FACTOR = 10


@torch.no_grad()
def plausibility(backbone: nn.Module, convention: dict) -> str:
    """Compare the contrast after the first convolution, on a mosaic of random greys, with the one in training.

    Args:
        backbone: loaded; not changed.
        convention: guessed, see `models.set_input_convention`.

    Returns:
        a line that begins with "yes" or "no", or "not available" for a network that is no ResNet of bottlenecks.
    """
    network = bottleneck_resnet(backbone)
    if network is None:
        return NOT_AVAILABLE
    like = network.conv1.weight
    greys = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0)).to(like)
    pixels = greys.repeat_interleave(16, 2).repeat_interleave(16, 3)  # (4, 1, 128, 128)
    mean, std = (like.new_tensor(convention[key])[:, None, None] for key in ("mean", "std"))
    variance = network.conv1((convention["range"] * pixels - mean) / std).var((0, 2, 3))
    ratio = float((variance / network.bn1.running_var.clamp(min=1e-12)).median())
    found = f"a mosaic varies {ratio:.2g} times as much after the first convolution as the training images did"
    if 1 / _FACTOR < ratio < _FACTOR:
        return f"yes: {found}"
    return (
        f"no: {found}; the weights seem to expect pixels in another range, which the file does not say: write it into "
        "its header (mean_rgb_0_255)"
    )
