r"""Soft targets: distributions q (N, C) over the classes, such as shares of votes, where hard targets are labels (N,).

A loss or a centre rule of a soft target is its expectation over the target: what it is for label c, times q_ic, summed
over c. A distribution with all its weight on one class is that label. Soft targets are for few classes (the eight
expressions): time is O(N·C·D), memory O(N·D + N·C² + C²·D).

No matrix products: autocast and TF32 would round them, which distances do not survive.
"""

import torch
from torch import Tensor


def is_soft(targets: Tensor) -> bool:
    """Whether `targets` are distributions rather than labels.

    >>> is_soft(torch.tensor([[0.5, 0.5]])), is_soft(torch.tensor([1]))
    (True, False)
    """
    return targets.ndim == 2 and targets.is_floating_point()


def squared_distances(features: Tensor, targets: Tensor, centers: Tensor, scale: Tensor | None = None) -> Tensor:
    r"""Expected squared distance to the centres, Σ_c a_ic ‖x_i − c_c‖² with a_ic = q_ic · scale_c.

    $$\sum_c a_{ic} \lVert x_i - c_c \rVert^2 = A_i \Bigl( \lVert x_i - m_i \rVert^2
      + \frac12 \sum_{c,l} s_{ic} s_{il} \lVert c_c - c_l \rVert^2 \Bigr), \qquad
      A_i = \sum_c a_{ic}, \quad s_{ic} = a_{ic} / A_i, \quad m_i = \sum_c s_{ic} c_c$$

    Exact, without a tensor (N, C, D), and nothing cancels. Differentiable in all arguments.

    Args:
        features: x, (N, D), float32 or float64.
        targets: q, (N, C), rows of sum 1.
        centers: (C, D), float32 or float64.
        scale: (C,), > 0; None means 1.

    Returns:
        (N,), ≥ 0.

    >>> features, centers = torch.tensor([[3.0]]), torch.tensor([[0.0], [2.0]])
    >>> squared_distances(features, torch.tensor([[0.5, 0.5]]), centers)  # ½ · 3² + ½ · 1²
    tensor([5.])
    """
    parts = targets.to(features.dtype)  # (N, C)
    if scale is not None:
        parts = parts * scale
    total = parts.sum(dim=1)  # (N,)
    shares = parts / total[:, None]  # (N, C)
    origin = centers.mean(dim=0).detach()  # near everything: far from 0 the rounding of Σ s = 1 would count
    offsets = features - origin  # (N, D), becomes x − m
    for share, center in zip(shares.unbind(dim=1), (centers - origin).unbind(), strict=True):
        offsets = offsets - share[:, None] * center
    between = (centers[:, None] - centers).square().sum(dim=2)  # (C, C)
    spread = 0.5 * (shares[:, :, None] * shares[:, None] * between).sum(dim=(1, 2))  # (N,)
    return total * (offsets.square().sum(dim=1) + spread)


def sum_by_class(values: Tensor, targets: Tensor) -> Tensor:
    """Every class's sum of the rows, each by its share in the class: Σ_i q_ij v_i, (N, D) → (C, D).

    >>> sum_by_class(torch.tensor([[1.0], [2.0]]), torch.tensor([[0.5, 0.5], [0.0, 1.0]]))
    tensor([[0.5000],
            [2.5000]])
    """
    return torch.stack([(share[:, None] * values).sum(dim=0) for share in targets.to(values.dtype).unbind(dim=1)])


def pull(features: Tensor, targets: Tensor, centers: Tensor) -> Tensor:
    """What draws each centre: Σ_i q_ij (x_i − c_j), (C, D), by direct differences; no gradient is meant to flow.

    >>> pull(torch.tensor([[1.0], [2.0]]), torch.tensor([[0.5, 0.5], [0.0, 1.0]]), torch.tensor([[0.0], [2.0]]))
    tensor([[ 0.5000],
            [-0.5000]])
    """
    shares = targets.to(features.dtype).unbind(dim=1)
    return torch.stack(
        [(share[:, None] * (features - center)).sum(dim=0) for share, center in zip(shares, centers, strict=True)]
    )
