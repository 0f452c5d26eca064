"""A start for SE-ResNet-50 from weights of ResNet-50, for whoever has no SE-ResNet-50 to start from."""

import os
from pathlib import Path

import torch
from torch import nn

from fer_utils.errors import check_choice
from fer_utils.models import FERNet, set_input_convention, set_layout
from fer_utils.models.backbones import SEBottleneck
from fer_utils.weights.loading import load_pretrained
from fer_utils.weights.own import save_weights

GRAFTED = {"se_resnet50": "resnet50", "se_resnet14": "resnet14"}


def graft_gates(
    source: str | os.PathLike, target: str | os.PathLike, architecture: str = "se_resnet50", seed: int = 0
) -> Path:
    """Write weights of an SE-ResNet that computes what a pre-trained ResNet of the same shape computes.

    Every gate begins at sigmoid(0) = 1/2, whatever the image, and the batch norm before it is doubled, so the product
    is unchanged, bit for bit. The gates are then free to learn, in `02_pretrain_identity` for instance. These are not
    VGGFace2's weights: they know what the ResNet knew.

    Args:
        source: weights of the ResNet, anything that `load_pretrained` reads.
        target: a `.safetensors` file, as `save_weights` writes it, with the source's layout and input convention.
        architecture: "se_resnet50" (from ResNet-50) or "se_resnet14" (from our resnet14).
        seed: of the gates' first layer, which is random and without effect until the second has learnt.

    Returns:
        the path of `target`.

    Raises:
        InputError: for an unknown architecture, or a source that `load_pretrained` refuses.
        OSError: if `target` cannot be written.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     resnet = save_weights(FERNet("resnet14"), Path(folder) / "resnet14.safetensors")
    ...     graft_gates(resnet, Path(folder) / "se_resnet14.safetensors", "se_resnet14").name
    'se_resnet14.safetensors'
    """
    check_choice("architecture", architecture, GRAFTED)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        plain, gated = FERNet(GRAFTED[architecture]), FERNet(architecture)
    report = load_pretrained(plain.backbone, source)
    set_layout(gated.backbone, **report["layout"])
    set_input_convention(gated.backbone, report["native_input"] or plain.backbone.input_convention)
    gated.backbone.load_state_dict(plain.backbone.state_dict(), strict=False)  # all but the gates
    for block in gated.backbone.modules():
        if isinstance(block, SEBottleneck):
            nn.init.zeros_(block.se.fc2.weight)
            with torch.no_grad():
                block.bn3.weight.mul_(2)
                block.bn3.bias.mul_(2)
    return save_weights(gated, target, {"grafted_from": GRAFTED[architecture]})
