"""A stage: the part of a network that is frozen, described and drawn as one."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

from torch import nn

# Class of a block → the words for it in tables and figures; any other parameterised block goes by its class's name.
_WORDS = {
    "BasicBlock": "basic block",
    "BasicConv2d": "convolution",
    "Bottleneck": "bottleneck",
    "CNBlock": "ConvNeXt block",
    "EncoderBlock": "encoder block",
    "FusedMBConv": "fused MBConv",
    "InvertedResidual": "inverted residual",
    "MaxPool2d": "max-pool",
    "MaxVitBlock": "MaxViT block",
    "PatchMerging": "patch merging",
    "PatchMergingV2": "patch merging",
    "ResBottleneckBlock": "bottleneck",
    "SEBottleneck": "SE bottleneck",
    "SwinTransformerBlock": "Swin block",
    "SwinTransformerBlockV2": "Swin block",
    "_DenseBlock": "dense block",
    "_InvertedResidual": "inverted residual",
}
_UNSAID = (nn.BatchNorm2d, nn.LayerNorm)  # with parameters, but no block of their own


@dataclass
class Stage:
    """Consecutive blocks of a network.

    Attributes:
        blocks: modules in the order in which they are run; the last one's output is the stage's.
        others: modules and parameters that belong to the stage besides.
        channels_last: whether the output is (N, H, W, C) instead of (N, C, H, W).
    """

    blocks: list[nn.Module]
    others: tuple = ()
    channels_last: bool = False

    def parameters(self) -> Iterator[nn.Parameter]:
        """Every parameter of the stage."""
        for part in chain(self.blocks, self.others):
            yield from [part] if isinstance(part, nn.Parameter) else part.parameters()

    def modules(self) -> list[nn.Module]:
        """The blocks and the modules besides."""
        return [part for part in chain(self.blocks, self.others) if isinstance(part, nn.Module)]

    def describe(self) -> tuple[str, int]:
        """What the stage is made of, and how often its main block stands in it.

        >>> Stage([nn.Conv2d(3, 64, 7), nn.BatchNorm2d(64), nn.ReLU()]).describe()
        ('convolution 7×7', 1)
        """
        words = [word for block in self.blocks if (word := _word(block))]
        return ", ".join(dict.fromkeys(words)), words.count(words[-1])


def _word(block: nn.Module) -> str | None:
    name = type(block).__name__
    if name in _WORDS:
        return _WORDS[name]
    if isinstance(block, nn.Conv2d):
        return "convolution " + "×".join(map(str, block.kernel_size))
    return name if any(True for _ in block.parameters()) and not isinstance(block, _UNSAID) else None
