"""Geometry of the class centres and the rules that move them after a batch.

Shapes: `features` (N, D), `targets` (N,), or (N, C) where they are soft, `centers` (C, D), `weights` (C,).
"""

import torch
from torch import Tensor

from fer_utils.losses import checks, soft


def center_separation(centers: Tensor) -> Tensor:
    r"""Summed squared distance D_j of every centre to all others: the denominator of Eq. 4 without α.

    $$D_j = \sum_{l \ne j} \lVert c_l - c_j \rVert^2
      = \sum_l \lVert c_l - \bar c \rVert^2 + k \lVert c_j - \bar c \rVert^2$$

    with c̄ the mean centre: exact, O(C·D) instead of O(C²·D), and nothing cancels.

    Args:
        centers: (C, D), floating point.

    Returns:
        (C,), ≥ 0.

    >>> center_separation(torch.tensor([[0.0], [2.0], [4.0]]))
    tensor([20.,  8., 20.])
    """
    centers = at_least_float32(centers)
    from_mean = (centers - centers.mean(dim=0)).square().sum(dim=1)  # (C,)
    return from_mean.sum() + len(centers) * from_mean


@torch.no_grad()
def update_centers(
    features: Tensor, targets: Tensor, centers: Tensor, weights: Tensor, alpha: float = 1.0, gamma: float = 1.0
) -> Tensor:
    r"""The paper's centre update after a batch (Eq. 8, 9), its sign corrected.

    $$c_j \leftarrow c_j + \gamma \sum_i \delta(y_i = j) \, W_{y_i} \frac{x_i - c_j}{D_j + \alpha}$$

    with D_j of the centres before the update. As printed (Eq. 8 with x_i − c_j, subtracted in Eq. 9) every centre would
    run away from its class. The update treats D_j as a constant, so it never pushes centres apart by itself. It needs
    no division by the class's count: with W of Eq. 6 all classes make the same expected step. Of soft targets every
    sample draws every centre by its share, with Σ_i q_ij W_j (x_i − c_j) / (D_j + α).

    Args:
        features: (N, D), floating point, finite; no gradient flows.
        targets: (N,), int64 labels in 0…C−1; or q, (N, C), distributions.
        centers: (C, D), floating point; not modified.
        weights: (C,) positive class weights.
        alpha: α > 0.
        gamma: γ, the centres' own learning rate.

    Returns:
        new centres (C, D), `centers`' dtype; those of classes absent from the batch are unchanged.

    Raises:
        InputError: as `weighted_cluster_loss`.

    >>> features, centers = torch.tensor([[3.0], [1.0]]), torch.tensor([[0.0], [2.0]])
    >>> update_centers(features, torch.tensor([0, 0]), centers, torch.tensor([0.5, 1.0]))
    tensor([[0.4000],
            [2.0000]])
    """
    checks.check_batch(features, targets, centers, weights)
    checks.check_alpha(alpha)
    pull = _pull(features, targets, centers)  # (C, D)
    step = gamma * weights / (center_separation(centers) + alpha)  # (C,)
    return (centers + step[:, None] * pull).to(centers.dtype)


@torch.no_grad()
def update_centers_wen(features: Tensor, targets: Tensor, centers: Tensor, gamma: float = 1.0) -> Tensor:
    r"""Centre update of the original center loss (Wen et al., ECCV 2016, the paper's reference 20).

    $$c_j \leftarrow c_j - \gamma \, \frac{\sum_i \delta(y_i = j)(c_j - x_i)}{1 + \sum_i \delta(y_i = j)}$$

    Used with `center_loss`, for which the paper gives no update of its own. The division keeps a frequent class from
    overshooting, which Eq. 8 leaves to the weights. (Wen et al. write α for γ, and use 0.5.) Of soft targets q_ij
    stands for δ(y_i = j), above and below.

    Args:
        features: (N, D), floating point, finite; no gradient flows.
        targets: (N,), int64 labels in 0…C−1; or q, (N, C), distributions.
        centers: (C, D), floating point; not modified.
        gamma: γ, the centres' own learning rate.

    Returns:
        new centres (C, D), `centers`' dtype; those of classes absent from the batch are unchanged.

    Raises:
        InputError: as `center_loss`.

    >>> update_centers_wen(torch.tensor([[3.0], [1.0]]), torch.tensor([0, 0]), torch.tensor([[0.0], [2.0]]))
    tensor([[1.3333],
            [2.0000]])
    """
    checks.check_batch(features, targets, centers)
    pull = _pull(features, targets, centers)  # (C, D)
    counts = sum_by_class(pull.new_ones(len(features), 1), targets, len(centers))  # (C, 1)
    return (centers + gamma * pull / (1 + counts)).to(centers.dtype)


def _pull(features: Tensor, targets: Tensor, centers: Tensor) -> Tensor:
    """Σ_i δ(y_i = j)(x_i − c_j), (C, D)."""
    if soft.is_soft(targets):
        return soft.pull(at_least_float32(features), targets, at_least_float32(centers))
    return sum_by_class(offsets(features, targets, centers), targets, len(centers))


def offsets(features: Tensor, targets: Tensor, centers: Tensor) -> Tensor:
    """x_i − c_{y_i}, (N, D)."""
    return at_least_float32(features) - at_least_float32(centers).index_select(0, targets)


def sum_by_class(values: Tensor, targets: Tensor, classes: int) -> Tensor:
    """Sum of every class's rows, of soft targets by their shares in it, (N, D) → (C, D).

    >>> sum_by_class(torch.tensor([[1.0], [2.0], [3.0]]), torch.tensor([0, 2, 0]), classes=3)
    tensor([[4.],
            [0.],
            [2.]])
    """
    if soft.is_soft(targets):
        return soft.sum_by_class(values, targets)
    return values.new_zeros(classes, values.shape[1]).index_add(0, targets, values)


def at_least_float32(values: Tensor) -> Tensor:
    """Half precision → float32; what is wider stays."""
    return values if values.dtype == torch.float64 else values.float()
