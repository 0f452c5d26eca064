"""What every loss does with a batch: check it, read its targets, reduce over its images.

Targets are labels, int64 (N,), or distributions q over the classes, floating point (N, C), such as
shares of votes. A loss of a distribution is its expectation, Σ_c q_c · (loss for class c).

Reductions of losses l_i, already weighted by W, of m images: "none" l_i; "sum" Σ l_i, as the paper
prints it; "mean" Σ l_i / m; "weighted_mean" Σ l_i / Σ W_{y_i}, as `torch.nn.CrossEntropyLoss`; or a
number w, Σ l_i / (m w): with W̄, the mean weight of a training image, this is `make_loss`'s
"balanced". Only then do both Eq. 6 and λ hold as printed (README.md beside this file says why).

In distributed training a batch is that of all processes: the mean over them of each one's loss,
along which they step, is the loss of the global batch, and all move their centres alike.
"""

import contextlib
from collections.abc import Iterator

import torch
import torch.distributed as dist
from torch import Tensor

from fer_utils.core import Diverged, check_choice, require

_local = False


def split_targets(targets: Tensor, num_classes: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Classes (N, K) and their shares (N, K): of a label one class of share 1, of a q all C."""
    if targets.ndim == 1:
        return targets[:, None], torch.ones_like(targets[:, None], dtype=dtype)
    classes = torch.arange(num_classes, device=targets.device).expand_as(targets)
    return classes, targets.to(dtype)


def reduce(losses: Tensor, parts: Tensor, reduction: str | float) -> Tensor:
    """Losses (N,) → a scalar, or (N,) with "none"; `parts`, q W (N, K), is what images count."""
    if reduction == "none":
        return losses
    total = losses.sum() * world_size()  # the mean over processes takes it back
    if reduction == "sum":
        return total
    divisor = parts.sum() if reduction == "weighted_mean" else losses.new_full((), len(losses))
    if isinstance(reduction, float):
        divisor = divisor * reduction
    else:
        check_choice("reduction", reduction, ("none", "sum", "mean", "weighted_mean"))
    return total / sum_over_processes(divisor)


def sum_by_class(values: Tensor, targets: Tensor, num_classes: int) -> Tensor:
    """Σ_i q_ij v_i of every class j: (N, D), or (N, K, D) where v differs by class, → (C, D)."""
    if values.ndim == 2:
        values = values[:, None]
    classes, shares = split_targets(targets, num_classes, values.dtype)
    parts = (shares[:, :, None] * values).flatten(0, 1)  # (N·K, D)
    return values.new_zeros(num_classes, values.shape[2]).index_add(0, classes.flatten(), parts)


def at_least_float32(values: Tensor) -> Tensor:
    return values if values.dtype == torch.float64 else values.float()


def world_size() -> int:
    """How many processes train together; 1 within `local_reduction`."""
    return dist.get_world_size() if dist.is_initialized() and not _local else 1


@contextlib.contextmanager
def local_reduction() -> Iterator[None]:
    """Within the block a batch is this process's own, as in validation."""
    global _local
    _local = True
    try:
        yield
    finally:
        _local = False


@torch.no_grad()
def sum_over_processes(values: Tensor) -> Tensor:
    """Sum over all processes, without a gradient and without making the host wait."""
    if world_size() > 1:
        values = values.detach().clone()
        dist.all_reduce(values)
    return values


def check(name: str, rows: Tensor, targets: Tensor, num_classes: int, soft=True) -> None:
    """Refuse rows that are no finite (N, ·), and targets that do not fit them.

    Values are read on the CPU alone: elsewhere every step would wait for the device.
    """
    fits = rows.ndim == 2 and len(rows) > 0 and rows.is_floating_point()
    require(fits, f"{name} of two dimensions, floating point, not empty", rows)
    labels = targets.dtype == torch.int64 and targets.shape == (len(rows),)
    fits = targets.is_floating_point() and targets.shape == (len(rows), num_classes)
    kinds = f"({len(rows)},) int64" + f" or ({len(rows)}, {num_classes}) floating point" * soft
    require(labels or (fits and soft), f"targets of shape {kinds}", targets)
    if not _is_readable(rows):
        return
    if labels:
        right = (targets >= 0) & (targets < num_classes)
    else:
        tolerance = max(1e-5, 2 * torch.finfo(targets.dtype).eps)
        right = (targets >= 0).all(dim=1) & ((targets.sum(dim=1) - 1).abs() <= tolerance)
    wrong = targets[~right]
    kinds = f"in 0…{num_classes - 1}" if labels else "≥ 0 and of sum 1"
    require(len(wrong) == 0, f"targets {kinds}", wrong[:1].tolist())
    # A finite sum has finite terms, and is found forty times faster than `isfinite` of them.
    if not rows.detach().sum(dtype=torch.float32).isfinite() and not rows.isfinite().all():
        raise Diverged(f"expected finite {name}; training has diverged, lower the learning rate")


def check_per_class(name: str, values: Tensor, num_classes: int) -> None:
    """Refuse values that are no floating (C,), all of them finite and > 0."""
    fits = values.shape == (num_classes,) and values.is_floating_point()
    require(fits, f"{name} of shape ({num_classes},), floating point", values)
    if _is_readable(values):
        fits = bool(((values > 0) & values.isfinite()).all())
        require(fits, f"{name} > 0 and finite", values.tolist())


def _is_readable(values: Tensor) -> bool:
    return values.device.type == "cpu" and not torch.compiler.is_compiling()
