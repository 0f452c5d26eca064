"""What becomes of the embedding while it is trained: its size, its spread, its centres, and whether it collapses."""

import math

import torch
from torch import Tensor

from fer_utils.losses.centers import center_separation, sum_by_class

# A quantity that fell below this share of what it was counts as fallen to zero.
COLLAPSED = 0.1


class CollapseWarning(UserWarning):
    """The embedding shrank to a point, or its classes to one: the run goes on, and learns nothing."""


def embedding_geometry(features: Tensor, targets: Tensor, classes: int) -> dict[str, float]:
    """Size and spread of an embedding, in its own units.

    Args:
        features: (N, D).
        targets: (N,), int64 labels in 0…C−1; classes that do not occur are left out.
        classes: C.

    Returns:
        `embedding_norm`: mean ‖x‖; `within_distance`: mean distance of a feature to its class's mean;
        `between_distance`: root mean square distance between the class means (NaN with a single class).

    >>> embedding_geometry(torch.tensor([[0.0, 3.0], [0.0, 5.0], [3.0, 4.0]]), torch.tensor([0, 0, 2]), classes=3)
    {'embedding_norm': 4.333333492279053, 'within_distance': 0.6666666865348816, 'between_distance': 3.0}
    """
    means, present = _class_means(features, targets, classes)
    return {
        "embedding_norm": float(features.norm(dim=1).mean()),
        "within_distance": float((features - means[targets]).norm(dim=1).mean()),
        "between_distance": _spread(means[present]),
    }


def center_geometry(features: Tensor, targets: Tensor, centers: Tensor | None, before: Tensor | None) -> dict:
    """Where a loss's own centres are, in the embedding's units; all NaN where the loss has none.

    Args:
        features, targets: as in `embedding_geometry`.
        centers: (C, D) now.
        before: (C, D) at the start of the epoch.

    Returns:
        `center_offset`: mean distance of a centre to the mean of its class; `center_distance`: root mean square
        distance between the centres; `center_movement`: mean distance that a centre has moved during the epoch.

    >>> features, centers = torch.tensor([[0.0], [4.0]]), torch.tensor([[1.0], [4.0]])
    >>> center_geometry(features, torch.tensor([0, 1]), centers, torch.zeros(2, 1))
    {'center_offset': 0.5, 'center_distance': 3.0, 'center_movement': 2.5}
    """
    if centers is None:
        return dict.fromkeys(("center_offset", "center_distance", "center_movement"), math.nan)
    centers = centers.detach()
    means, present = _class_means(features, targets, len(centers))
    return {
        "center_offset": float((centers - means)[present].norm(dim=1).mean()),
        "center_distance": _spread(centers),
        "center_movement": float((centers - before).norm(dim=1).mean()),
    }


def collapse(history: list[dict], first_norm: float) -> str | None:
    """What to say where the embedding has collapsed in the last epoch, else None.

    Args:
        history: a row an epoch, of `embedding_geometry`'s values.
        first_norm: mean embedding norm of the very first training batch, before any step.

    >>> collapse([{"embedding_norm": 0.1, "between_distance": 0.01}], first_norm=4.0)[:71]
    'the embedding collapsed in epoch 1: its mean norm fell to 0.1, 2.5 % of'
    >>> collapse([{"embedding_norm": 3.0, "between_distance": 0.01}], first_norm=4.0) is None
    True
    """
    widest = max(row.get("between_distance", 0.0) for row in history)
    # No wider than the untrained embedding was long: one that blew up and came back has not collapsed.
    healthy = {"mean norm": first_norm, "distance between the class means": min(widest, first_norm)}
    last = (history[-1]["embedding_norm"], history[-1]["between_distance"])
    for (what, was), now in zip(healthy.items(), last, strict=True):
        if now < COLLAPSED * was:
            return (
                f"the embedding collapsed in epoch {len(history)}: its {what} fell to {now:.2g}, "
                f"{100 * now / was:.2g} % of {was:.2g}. A term with centres pulls all features to one "
                "point: use center_init='class_means' and embedding_activation='none', lower cluster_weight (λ), or "
                "set embedding_norm='batch'; without such a term, lower learning_rate"
            )
    return None


def _class_means(features: Tensor, targets: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    counts = sum_by_class(torch.ones_like(features[:, :1]), targets, classes)  # (C, 1)
    return sum_by_class(features, targets, classes) / counts.clamp(min=1), counts[:, 0] > 0


def _spread(points: Tensor) -> float:
    if len(points) < 2:
        return math.nan
    return math.sqrt(float(center_separation(points).sum()) / (len(points) * (len(points) - 1)))
