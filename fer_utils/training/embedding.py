"""What becomes of the embedding in training: size, spread and centres, and collapse."""

import math

import torch
from torch import Tensor

from fer_utils.losses import center_separation, sum_by_class

COLLAPSED = 0.1  # what fell below this share of what it was counts as fallen to zero


class CollapseWarning(UserWarning):
    """The embedding shrank to a point, or its classes to one; the run learns nothing now."""


def embedding_stats(features: Tensor, targets: Tensor, classes: int) -> dict[str, float]:
    """Size and spread of an embedding, in its own units.

    Args:
        features: (N, D).
        targets: (N,), int64 labels in 0…C−1; classes that do not occur are left out.
        classes: C.

    Returns:
        `embedding_norm`: mean ‖x‖; `within_distance`: mean distance to the class's mean;
        `between_distance`: root mean square distance between class means (NaN with one class).

    >>> features = torch.tensor([[0.0, 3.0], [0.0, 5.0], [3.0, 4.0]])
    >>> stats = embedding_stats(features, torch.tensor([0, 0, 2]), classes=3)
    >>> {name: round(value, 3) for name, value in stats.items()}
    {'embedding_norm': 4.333, 'within_distance': 0.667, 'between_distance': 3.0}
    """
    means, present = _class_means(features, targets, classes)
    return {
        "embedding_norm": float(features.norm(dim=1).mean()),
        "within_distance": float((features - means[targets]).norm(dim=1).mean()),
        "between_distance": _spread(means[present]),
    }


def center_stats(
    features: Tensor, targets: Tensor, centers: Tensor | None, before: Tensor | None
) -> dict[str, float]:
    """Where a loss's own centres (C, D) are, in the embedding's units; NaN where it has none.

    Returns:
        `center_offset`: mean distance of a centre to its class's mean; `center_distance`: root mean
        square distance between centres; `center_movement`: mean distance moved in the epoch.
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


def find_collapse(history: list[dict], first_norm: float) -> str | None:
    """What to say where the embedding has collapsed in the last epoch, else None.

    Args:
        history: a row an epoch, with `embedding_stats`' values.
        first_norm: mean embedding norm of the very first training batch.
    """
    widest = max(row.get("between_distance", 0.0) for row in history)
    # No wider than the untrained embedding was long: what blew up and came back has not collapsed.
    healthy = {"embedding_norm": first_norm, "between_distance": min(widest, first_norm)}
    for name, was in healthy.items():
        now = history[-1][name]
        if now < COLLAPSED * was:
            return (
                f"the embedding collapsed in epoch {len(history)}: its {name} fell to {now:.2g}, "
                f"{100 * now / was:.2g} % of {was:.2g}. A term with centres pulls all features to "
                "one point: use center_init='class_means', lower cluster_weight (λ) or set "
                "embedding_norm='batch'; without such a term, lower learning_rate"
            )
    return None


def _class_means(features: Tensor, targets: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    counts = sum_by_class(torch.ones_like(features[:, :1]), targets, classes)  # (C, 1)
    return sum_by_class(features, targets, classes) / counts.clamp(min=1), counts[:, 0] > 0


def _spread(points: Tensor) -> float:
    if len(points) < 2:
        return math.nan
    pairs = len(points) * (len(points) - 1)
    return math.sqrt(float(center_separation(points).sum()) / pairs)
