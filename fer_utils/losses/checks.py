"""Checks of what a loss is given: shapes and dtypes always, values where looking at them is free.

Values (labels in range, finite features) are checked on the CPU only. Elsewhere it would make the device wait at every
step, and torch's own device assertion catches a wrong label. Under `torch.compile` it would break the graph.
"""

import torch
from torch import Tensor

from fer_utils.errors import Diverged, InputError
from fer_utils.losses.soft import is_soft


def check_logits(logits: Tensor, targets: Tensor, soft: bool = False) -> None:
    """Raise `InputError` unless `logits` is a floating (N, C) with matching labels (if `soft`, or distributions)."""
    _check_matrix("logits", logits, "(N, C)")
    if is_soft(targets) and not soft:
        raise InputError(
            f"expected targets of shape ({len(logits)},), int64 labels; found {tuple(targets.shape)} of "
            f"{targets.dtype}: this loss is defined for labels alone; distributions are for the paper's five losses, "
            "island_softmax, class_balanced, balanced_softmax and logit_adjusted"
        )
    _check_targets("logits", logits, targets, classes=logits.shape[1])
    _check_finite("logits", logits)


def check_batch(features: Tensor, targets: Tensor, centers: Tensor, weights: Tensor | None = None) -> None:
    """Raise `InputError` unless features (N, D), targets (N,) or (N, C), centers (C, D) and weights (C,) fit."""
    _check_matrix("features", features, "(N, D)")
    _check_matrix("centers", centers, "(C, D)")
    if features.shape[1] != centers.shape[1]:
        raise InputError(
            f"expected features and centers of the same size D; found features {tuple(features.shape)} "
            f"and centers {tuple(centers.shape)}"
        )
    _check_targets("features", features, targets, classes=len(centers))
    check_weights(weights, len(centers))
    _check_finite("features", features)


def check_weights(weights: Tensor | None, classes: int) -> None:
    """Raise `InputError` unless `weights` is None or a floating (C,), all > 0."""
    if weights is not None:
        check_per_class("weights", weights, classes)


def check_per_class(name: str, values: Tensor, classes: int, zero_allowed: bool = False) -> None:
    """Raise `InputError` unless `values` is a floating (C,), all > 0 (or ≥ 0)."""
    if values.shape != (classes,) or not values.is_floating_point():
        raise InputError(
            f"expected {name} of shape ({classes},), floating point, one a class; "
            f"found {tuple(values.shape)} of {values.dtype}"
        )
    if _values_are_free(values):
        in_range = (values >= 0 if zero_allowed else values > 0) & values.isfinite()
        if not in_range.all():
            raise InputError(f"expected {name} {'≥' if zero_allowed else '>'} 0, one a class; found {values.tolist()}")


def check_not_negative(name: str, value: float) -> None:
    """Raise `InputError` unless 0 ≤ value < ∞."""
    if not 0 <= value < float("inf"):
        raise InputError(f"expected {name} ≥ 0; found {value!r}")


def check_alpha(alpha: float) -> None:
    """Raise `InputError` unless α > 0."""
    if not alpha > 0:
        raise InputError(f"expected alpha > 0, it keeps the denominator of Eq. 4 from 0; found {alpha!r}")


def _check_matrix(name: str, values: Tensor, shape: str) -> None:
    if values.ndim != 2 or len(values) == 0 or not values.is_floating_point():
        raise InputError(
            f"expected {name} of shape {shape}, floating point, not empty; "
            f"found {tuple(values.shape)} of {values.dtype}"
        )


def _check_targets(name: str, values: Tensor, targets: Tensor, classes: int) -> None:
    if is_soft(targets):
        _check_distributions(name, values, targets, classes)
        return
    if targets.dtype != torch.int64 or targets.shape != values.shape[:1]:
        raise InputError(
            f"expected targets of shape ({len(values)},), int64, one a row of {name}; "
            f"found {tuple(targets.shape)} of {targets.dtype}"
        )
    if _values_are_free(targets):
        low, high = targets.aminmax()
        if low < 0 or high >= classes:
            wrong = int(low if low < 0 else high)
            raise InputError(f"expected targets in 0…{classes - 1} ({classes} classes); found {wrong}")


def _check_distributions(name: str, values: Tensor, targets: Tensor, classes: int) -> None:
    if targets.shape != (len(values), classes):
        raise InputError(
            f"expected targets of shape ({len(values)}, {classes}), a distribution over the {classes} classes for each "
            f"row of {name}; found {tuple(targets.shape)}"
        )
    if not _values_are_free(targets):
        return
    smallest, sums = targets.amin(dim=1), targets.sum(dim=1)  # (N,)
    tolerance = max(1e-5, 2 * torch.finfo(targets.dtype).eps)
    wrong = ~((smallest >= 0) & ((sums - 1).abs() <= tolerance))  # NaN is wrong too
    if wrong.any():
        row = int(wrong.nonzero()[0])
        raise InputError(
            f"expected targets that are distributions, ≥ 0 and of sum 1 in every row; found {int(wrong.sum())} of "
            f"{len(targets)} rows that are not, the first row {row} (smallest {float(smallest[row]):.4g}, sum "
            f"{float(sums[row]):.6g}); divide votes by their sum"
        )


def _check_finite(name: str, values: Tensor) -> None:
    # A finite sum has finite terms, and is forty times faster to find than `isfinite` of all of them.
    if not _values_are_free(values) or values.detach().sum(dtype=torch.float32).isfinite():
        return
    if not values.isfinite().all():
        row = int((~values.isfinite()).any(dim=1).nonzero()[0])
        raise Diverged(
            f"expected finite {name}; found NaN or infinity in row {row}: training has diverged, lower the learning "
            "rate or check the input images"
        )


def _values_are_free(values: Tensor) -> bool:
    return values.device.type == "cpu" and not torch.compiler.is_compiling()
