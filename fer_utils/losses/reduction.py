"""From a loss for every sample to the loss of a batch, in one process or over all processes of distributed training."""

from torch import Tensor

from fer_utils.losses import distributed
from fer_utils.losses.soft import is_soft

REDUCTIONS = ("none", "sum", "mean", "weighted_mean")


def reduce_losses(losses: Tensor, targets: Tensor, weights: Tensor | None, reduction: str) -> Tensor:
    """Losses (N,), already weighted, → a scalar, or (N,) with "none"; see `weighted_softmax_loss`.

    >>> import torch
    >>> losses, weights = torch.tensor([0.5, 1.0]), torch.tensor([0.5, 1.0])
    >>> reduce_losses(losses, torch.tensor([0, 1]), weights, "weighted_mean")
    tensor(1.)
    """
    if reduction == "none":
        return losses
    if reduction == "sum":
        return losses.sum()
    return losses.sum() / _divisor(losses, targets, weights, reduction)


def reduce_over_processes(losses: Tensor, targets: Tensor, weights: Tensor | None, reduction: str) -> Tensor:
    """As `reduce_losses`, with the divisor of the global batch, so that distributed training is exact.

    Distributed training averages gradients over R processes. The mean over processes of what this returns is the loss
    of the global batch under any reduction: the sum of the process's own losses, divided by the global divisor / R.
    Left to themselves, R processes would average R weighted means of different divisors, which is another loss.
    """
    if reduction == "none" or distributed.processes() == 1:
        return reduce_losses(losses, targets, weights, reduction)
    if reduction == "sum":
        return losses.sum() * distributed.processes()
    return losses.sum() / distributed.mean_over_processes(_divisor(losses, targets, weights, reduction))


def _divisor(losses: Tensor, targets: Tensor, weights: Tensor | None, reduction: str) -> Tensor:
    if reduction == "mean" or weights is None:
        return losses.new_tensor(float(len(losses)))
    if is_soft(targets):
        return (targets.to(losses.dtype) * weights).sum()
    return weights[targets].sum()
