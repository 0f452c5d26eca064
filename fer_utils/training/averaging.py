"""An exponential moving average of a network's weights, which validation and test use in their place."""

import copy

import torch
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn


class WeightAverage(nn.Module):
    """A copy of a network whose trained weights follow those of the original, and its batch-norm statistics too.

    After step n = 0, 1, … each becomes d · itself + (1 − d) · the original, d being the smaller of `decay` and
    (1 + n) / (10 + n), so that the first weights are soon forgotten. (torch's `AveragedModel` asks its step counter
    once a tensor, and a GPU would be waited for each time.)

    Args:
        network: copied; frozen weights stay as they are here.
        decay: 0–1.

    >>> network = nn.Linear(1, 1, bias=False)
    >>> _ = nn.init.zeros_(network.weight)
    >>> average = WeightAverage(network, decay=0.999)
    >>> _ = nn.init.ones_(network.weight)
    >>> average.update(network, step=0)
    >>> round(average.network.weight.item(), 6)
    0.9
    """

    def __init__(self, network: nn.Module, decay: float):
        super().__init__()
        self.decay = decay
        self.network = copy.deepcopy(network).requires_grad_(False)

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """Follow the original, after its optimiser's step (counted from 0)."""
        pairs = [
            (own, other)
            for own, other in zip(self.network.parameters(), network.parameters(), strict=True)
            if other.requires_grad
        ]
        for own, other in zip(self.network.buffers(), network.buffers(), strict=True):
            if other.is_floating_point():
                pairs.append((own, other))
            else:  # the number of batches that a batch norm has seen
                own.copy_(other)
        average = get_ema_multi_avg_fn(min(self.decay, (1 + step) / (10 + step)))
        average(*map(list, zip(*pairs, strict=True)), None)
