"""What the losses need from the other processes of distributed training; with one process, nothing happens."""

import contextlib
from collections.abc import Iterator

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

_alone = False


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Within the block the losses act as in a single process: for a batch that is this process's own.

    >>> with alone():
    ...     processes()
    1
    """
    global _alone
    _alone = True
    try:
        yield
    finally:
        _alone = False


def processes() -> int:
    """How many processes train together (torch.distributed's world size).

    >>> processes()
    1
    """
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() and not _alone else 1


@torch.no_grad()
def mean_over_processes(values: Tensor) -> Tensor:
    """Mean of a tensor over all processes; no gradient flows."""
    if processes() == 1:
        return values
    values = values.detach().clone()
    dist.all_reduce(values)
    return values / processes()


@torch.no_grad()
def gather(features: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """The global batch, in the order of the processes: features (N, D) and targets of all; no gradient flows.

    The processes may hold different numbers of samples.
    """
    if processes() == 1:
        return features, targets
    sizes = [torch.zeros(1, dtype=torch.int64, device=targets.device) for _ in range(processes())]
    dist.all_gather(sizes, torch.tensor([len(targets)], device=targets.device))
    sizes = [int(size) for size in sizes]
    return _gather(features, sizes), _gather(targets, sizes)


def _gather(values: Tensor, sizes: list[int]) -> Tensor:
    missing = max(sizes) - len(values)
    padded = F.pad(values, (0, 0) * (values.ndim - 1) + (0, missing)).contiguous()
    parts = [torch.empty_like(padded) for _ in sizes]
    dist.all_gather(parts, padded)
    return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])
