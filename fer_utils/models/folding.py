"""Frozen batch norm folded into the convolution before it: one pass over the activations instead of two.

A frozen batch norm multiplies and adds the same numbers at every step, which its convolution can do as well: the result
is the same up to rounding, and the frozen stages of ResNet-50 take a third less time. Tensors and their names stay as
they are; the folded weights are made anew at every step (1.6 M of them in the paper's three stages), so they are never
out of date.
"""

import contextlib
from collections.abc import Iterable, Iterator

import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck


class FoldedConv2d(nn.Conv2d):
    """A convolution that does the work of the batch norm after it, while that is in evaluation mode."""

    norm: tuple  # of the one batch norm: in a tuple, it is no submodule a second time

    def forward(self, x: Tensor) -> Tensor:
        (norm,) = self.norm
        if not norm.folded or norm.training:
            return super().forward(x)
        scale = norm.weight / (norm.running_var + norm.eps).sqrt()
        bias = norm.bias - norm.running_mean * scale
        if self.bias is not None:
            bias = bias + self.bias * scale
        weight = self.weight * scale[:, None, None, None]
        return F.conv2d(x, weight, bias, self.stride, self.padding, self.dilation, self.groups)


class FoldedBatchNorm2d(nn.BatchNorm2d):
    """A batch norm whose convolution does its work, while it is in evaluation mode."""

    folded = True

    def forward(self, x: Tensor) -> Tensor:
        return x if self.folded and not self.training else super().forward(x)


def fold(blocks: Iterable[nn.Module]) -> None:
    """Fold the batch norms of consecutive blocks into their convolutions; in place, undone by `unfold`.

    >>> import torch
    >>> blocks = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).eval()
    >>> blocks[1].running_mean.fill_(2.0).shape, blocks(images := torch.ones(1, 3, 5, 5)).shape
    (torch.Size([4]), torch.Size([1, 4, 3, 3]))
    >>> before = blocks(images)
    >>> fold(blocks)
    >>> torch.allclose(blocks(images), before, atol=1e-6), type(blocks[0]).__name__
    (True, 'FoldedConv2d')
    """
    for convolution, norm in _pairs(list(blocks)):
        convolution.__class__, norm.__class__ = FoldedConv2d, FoldedBatchNorm2d
        convolution.norm = (norm,)


def unfold(module: nn.Module) -> None:
    """Give every convolution and batch norm inside a module its own work back."""
    for part in module.modules():
        if isinstance(part, FoldedConv2d):
            part.__class__ = nn.Conv2d
            del part.norm
        elif isinstance(part, FoldedBatchNorm2d):
            part.__class__ = nn.BatchNorm2d


@contextlib.contextmanager
def unfolded(module: nn.Module) -> Iterator[None]:
    """Within the block, every part does its own work: for looking at what comes between them."""
    norms = [part for part in module.modules() if isinstance(part, FoldedBatchNorm2d)]
    for norm in norms:
        norm.folded = False
    try:
        yield
    finally:
        for norm in norms:
            norm.folded = True


def _pairs(blocks: list[nn.Module]) -> Iterator[tuple[nn.Conv2d, nn.BatchNorm2d]]:
    """Each convolution with the batch norm that alone sees its output."""
    rows = [blocks]  # of modules that are run one after the other
    for part in (part for block in blocks for part in block.modules()):
        if isinstance(part, nn.Sequential):
            rows.append(list(part))
        elif isinstance(part, (BasicBlock, Bottleneck)):
            numbers = [number for number in (1, 2, 3) if hasattr(part, f"conv{number}")]
            rows += [[getattr(part, f"conv{number}"), getattr(part, f"bn{number}")] for number in numbers]
    for row in rows:
        for first, second in zip(row, row[1:], strict=False):
            if type(first) is nn.Conv2d and type(second) is nn.BatchNorm2d:
                yield first, second
