"""Island loss, a rival of the weighted-cluster loss: compact classes whose centres lie in different directions.

Shapes: `features` (N, D), `targets` (N,), or (N, C) where they are soft, `centers` (C, D).
"""

import torch
from torch import Tensor

from fer_utils.errors import check_choice
from fer_utils.losses import checks
from fer_utils.losses.centers import at_least_float32, update_centers_wen
from fer_utils.losses.functional import center_loss
from fer_utils.losses.reduction import REDUCTIONS, reduce_losses


def island_loss(
    features: Tensor, targets: Tensor, centers: Tensor, island_weight: float = 10.0, reduction: str = "mean"
) -> Tensor:
    r"""Island loss (Cai et al., FG 2018, arXiv 1710.03144, Eq. 4, 5): center loss, centres in different directions.

    $$L = \frac12 \sum_i \lVert x_i - c_{y_i} \rVert_2^2 + \lambda_1 \sum_j \sum_{k \ne j}
      \left( \frac{c_k \cdot c_j}{\lVert c_k \rVert \lVert c_j \rVert} + 1 \right)$$

    The second term belongs to the batch, not to a sample: every sample carries an N-th of it, so that the sum is L.
    Differentiable in features and centres; `update_centers_island` moves the centres as the authors do. Cosines depend
    on the origin: unlike center loss, L changes when features and centres are moved together.

    Args:
        features: (N, D), floating point, finite.
        targets: (N,), int64 labels in 0…C−1; or q, (N, C), distributions.
        centers: (C, D), floating point.
        island_weight: λ₁ ≥ 0; 0 is `center_loss`. (λ, the weight of L beside the softmax loss, is the caller's.)
        reduction: "none" → (N,); "sum" as printed; "mean" and "weighted_mean" (there are no weights) divide it by N,
            both terms of it.

    Returns:
        float32 (float64 for float64 features): a scalar, or (N,) with "none".

    Raises:
        InputError: as `center_loss`, and for λ₁ < 0.

    >>> features, centers = torch.tensor([[3.0, 0.0], [0.0, 1.0]]), torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    >>> island_loss(features, torch.tensor([0, 1]), centers, island_weight=10.0, reduction="sum")  # 2 + 10 · 2
    tensor(22.)
    """
    check_choice("reduction", reduction, REDUCTIONS)
    checks.check_not_negative("island_weight (λ₁)", island_weight)
    losses = center_loss(features, targets, centers, "none")  # (N,)
    losses = losses + island_weight * island_pairs(centers) / len(losses)
    return reduce_losses(losses, targets, None, reduction)


def island_pairs(centers: Tensor) -> Tensor:
    r"""The island loss's second term without λ₁: 1 + cosine, summed over all ordered pairs of centres.

    $$\sum_j \sum_{k \ne j} (\cos(c_k, c_j) + 1)
      = \Bigl\lVert \sum_j u_j \Bigr\rVert^2 - \sum_j \lVert u_j \rVert^2 + C (C - 1)$$

    with u_j = c_j / ‖c_j‖: O(C·D) instead of O(C²·D). A centre at the origin has no direction: its cosines are 0 and it
    receives no gradient.

    Args:
        centers: (C, D), floating point.

    Returns:
        scalar in 0…2·C·(C−1).

    >>> island_pairs(torch.tensor([[2.0, 0.0], [0.0, 3.0], [-1.0, 0.0]]))  # cosines 0, 0 and −1, each twice
    tensor(4.)
    """
    units, _ = _directions(centers)
    pairs = len(centers) * (len(centers) - 1)
    return units.sum(dim=0).square().sum() - units.square().sum() + pairs


@torch.no_grad()
def update_centers_island(
    features: Tensor, targets: Tensor, centers: Tensor, gamma: float = 0.5, island_weight: float = 10.0
) -> Tensor:
    r"""The island loss's centre update after a batch (Cai et al., FG 2018, Eq. 9 and 10).

    $$c_j \leftarrow c_j - \gamma \left[ \frac{\sum_i \delta(y_i = j)(c_j - x_i)}{1 + \sum_i \delta(y_i = j)}
      + \frac{\lambda_1}{C - 1} \sum_{k \ne j} \left( \frac{c_k}{\lVert c_k \rVert \lVert c_j \rVert}
      - \frac{c_k \cdot c_j}{\lVert c_k \rVert \lVert c_j \rVert^3} c_j \right) \right]$$

    The first part is `update_centers_wen`, the second the gradient of λ₁/(2(C−1)) · `island_pairs`: with s the sum of
    all directions u_j = c_j / ‖c_j‖, it is λ₁/(C−1) · (s − (s·u_j) u_j) / ‖c_j‖, in O(C·D). It turns every centre, also
    those of classes absent from the batch; a centre at the origin has no direction and is left out of it.

    Args:
        features: (N, D), floating point, finite; no gradient flows.
        targets: (N,), int64 labels in 0…C−1; or q, (N, C), distributions.
        centers: (C, D), floating point; not modified.
        gamma: γ, the centres' own learning rate (the authors' α, 0.5).
        island_weight: λ₁ ≥ 0; 0 is `update_centers_wen`.

    Returns:
        new centres (C, D), `centers`' dtype.

    Raises:
        InputError: as `island_loss`.

    >>> centers = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    >>> update_centers_island(torch.tensor([[3.0, 0.0]]), torch.tensor([0]), centers, gamma=0.5, island_weight=0.2)
    tensor([[ 1.5000, -0.1000],
            [-0.1000,  1.0000]])
    """
    checks.check_not_negative("island_weight (λ₁)", island_weight)
    pulled = update_centers_wen(features, targets, at_least_float32(centers), gamma)  # (C, D)
    units, inverse_norms = _directions(centers)
    total = units.sum(dim=0)  # (D,)
    turn = inverse_norms * (total - (total * units).sum(dim=1, keepdim=True) * units)  # (C, D)
    return (pulled - gamma * island_weight / max(len(centers) - 1, 1) * turn).to(centers.dtype)


def _directions(centers: Tensor) -> tuple[Tensor, Tensor]:
    """Unit vectors (C, D) and 1/‖c_j‖ (C, 1), both 0 for a centre whose squared norm underflows."""
    centers = at_least_float32(centers)
    squared_norms = centers.square().sum(dim=1, keepdim=True)
    has_direction = squared_norms >= torch.finfo(centers.dtype).tiny
    # The inner choice keeps an infinite derivative, which the outer one would turn into NaN, from arising.
    inverse_norms = torch.where(has_direction, torch.where(has_direction, squared_norms, 1).rsqrt(), 0)
    return centers * inverse_norms, inverse_norms
