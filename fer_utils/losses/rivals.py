"""Rivals of the weighted-cluster loss, from other papers, as pure functions.

Against imbalance: class-balanced weights, focal loss, logit adjustment (balanced softmax), LDAM. For compact classes
that lie far apart: island loss. Symbols and shapes as in `functional`: `logits` (N, C), `features` (N, D), `targets`
(N,), `centers` (C, D), `weights` (C,). Half-precision inputs are computed in float32.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from fer_utils.errors import InputError, check_choice
from fer_utils.losses import checks
from fer_utils.losses.centers import at_least_float32, update_centers_wen
from fer_utils.losses.functional import center_loss, class_weights, weighted_softmax_loss
from fer_utils.losses.reduction import REDUCTIONS, reduce_losses


def effective_number_weights(counts, beta: float = 0.9999) -> Tensor:
    r"""Class-balanced weights: inverse of a class's effective number of images (Cui et al., CVPR 2019, Prop. 1).

    $$W_c = C \, \frac{1 / E_c}{\sum_j 1 / E_j}, \qquad E_c = \frac{1 - \beta^{n_c}}{1 - \beta}$$

    β = 0 weighs all classes alike; β → 1 tends to weights proportional to 1/n_c, which are Eq. 6's of the reproduced
    paper but for the scale: these sum to C, as in the authors' code, where Eq. 6's largest is 1.

    Args:
        counts: n, images per class, (C,): tensor, array or sequence of positive numbers.
        beta: β in [0, 1).

    Returns:
        float32 tensor (C,), positive, of sum C.

    Raises:
        InputError: as `class_weights`, and unless 0 ≤ β < 1.

    >>> effective_number_weights([1, 2], beta=0.5)
    tensor([1.2000, 0.8000])
    """
    class_weights(counts)  # for its checks
    if not 0 <= beta < 1:
        raise InputError(f"expected beta (β) in 0 ≤ β < 1; found {beta!r}")
    counts = torch.as_tensor(counts, dtype=torch.float64)
    log_beta = torch.tensor(beta, dtype=torch.float64, device=counts.device).log()  # −∞ for β = 0
    inverse = -1 / torch.expm1(counts * log_beta)  # 1 / (1 − βⁿ), without cancelling at β near 1
    return (len(counts) * inverse / inverse.sum()).float()


def focal_loss(
    logits: Tensor, targets: Tensor, focal_gamma: float = 2.0, weights: Tensor | None = None, reduction: str = "mean"
) -> Tensor:
    r"""Focal loss (Lin et al., ICCV 2017, Eq. 5), in softmax form: samples that are already right count little.

    $$L = -\sum_i W_{y_i} (1 - p_{y_i})^\gamma \log p_{y_i}$$

    with p = softmax(logits), where the authors use a sigmoid for each class. 1 − p is taken in log-space, from the
    logits of the other classes: its power has a finite gradient for any γ, also at p = 1.

    Args:
        logits: (N, C), floating point, before the softmax.
        targets: (N,), int64 labels in 0…C−1.
        focal_gamma: γ ≥ 0; 0 is `weighted_softmax_loss`.
        weights: (C,) positive class weights W (the authors' α_t); None means W = 1.
        reduction: as in `weighted_softmax_loss`; "weighted_mean" divides by Σ W_{y_i}.

    Returns:
        float32 (float64 for float64 logits): a scalar, or (N,) with "none".

    Raises:
        InputError: as `weighted_softmax_loss`, and for γ < 0.

    >>> logits = torch.tensor([[2.0, 0.0], [0.0, 0.0]])
    >>> focal_loss(logits, torch.tensor([0, 1]), focal_gamma=2.0, reduction="none")
    tensor([0.0018, 0.1733])
    """
    check_choice("reduction", reduction, REDUCTIONS)
    checks.check_logits(logits, targets)
    checks.check_weights(weights, logits.shape[1])
    _check_not_negative("focal_gamma (γ)", focal_gamma)
    logits = at_least_float32(logits)
    of_others = logits.masked_fill(_is_target(logits, targets), torch.finfo(logits.dtype).min)
    log_wrong = of_others.logsumexp(dim=1) - logits.logsumexp(dim=1)  # log(1 − p_y), (N,)
    losses = (focal_gamma * log_wrong).exp() * F.cross_entropy(logits, targets, reduction="none")  # (N,)
    if weights is not None:
        losses = losses * weights[targets]
    return reduce_losses(losses, targets, weights, reduction)


def logit_adjusted_loss(
    logits: Tensor, targets: Tensor, counts: Tensor, tau: float = 1.0, reduction: str = "mean"
) -> Tensor:
    r"""Logit-adjusted softmax loss (Menon et al., ICLR 2021, Eq. 10): the class priors enter training, not the test.

    $$L = -\sum_i \log \frac{\pi_{y_i}^\tau e^{z_{i, y_i}}}{\sum_j \pi_j^\tau e^{z_{ij}}}, \qquad
      \pi_j = n_j / \textstyle\sum_l n_l$$

    τ = 1 is the balanced softmax (Ren et al., NeurIPS 2020, Eq. 4).

    Args:
        logits: z, (N, C), floating point; predict from them as they are, without the adjustment.
        targets: (N,), int64 labels in 0…C−1.
        counts: n, training images per class, (C,), floating point, positive.
        tau: τ ≥ 0; 0 is the plain softmax loss.
        reduction: as in `weighted_softmax_loss`; there are no weights, so "weighted_mean" is "mean".

    Returns:
        float32 (float64 for float64 logits): a scalar, or (N,) with "none".

    Raises:
        InputError: as `weighted_softmax_loss`, for counts that do not fit or are not positive, and for τ < 0.

    >>> logit_adjusted_loss(torch.zeros(2, 2), torch.tensor([0, 1]), torch.tensor([3.0, 1.0]), reduction="none")
    tensor([0.2877, 1.3863])
    """
    check_choice("reduction", reduction, REDUCTIONS)
    checks.check_logits(logits, targets)
    _check_per_class("counts", counts, logits.shape[1])
    _check_not_negative("tau (τ)", tau)
    logits = at_least_float32(logits)
    log_prior = (counts / counts.sum()).log().to(logits.dtype)  # (C,)
    return weighted_softmax_loss(logits + tau * log_prior, targets, reduction=reduction)


def ldam_margins(counts, max_margin: float = 0.5) -> Tensor:
    r"""Label-distribution-aware margins (Cao et al., NeurIPS 2019, Eq. 13): the rarer a class, the wider its margin.

    $$\Delta_j = \Delta_{\max} \left( n_{\min} / n_j \right)^{1/4}$$

    Args:
        counts: n, images per class, (C,): tensor, array or sequence of positive numbers.
        max_margin: Δ_max ≥ 0, the margin of the rarest class, in units of a cosine.

    Returns:
        float32 tensor (C,) in [0, Δ_max].

    Raises:
        InputError: as `class_weights`, and for Δ_max < 0.

    >>> ldam_margins([16, 1], max_margin=0.5)
    tensor([0.2500, 0.5000])
    """
    _check_not_negative("max_margin", max_margin)
    return max_margin * class_weights(counts) ** 0.25


def ldam_loss(
    logits: Tensor,
    targets: Tensor,
    margins: Tensor,
    scale: float = 30.0,
    weights: Tensor | None = None,
    reduction: str = "mean",
) -> Tensor:
    r"""LDAM loss (Cao et al., NeurIPS 2019, Eq. 13): softmax loss in which the true class starts behind by its margin.

    $$L = -\sum_i W_{y_i} \log
      \frac{e^{z_{i, y_i} - s \Delta_{y_i}}}{e^{z_{i, y_i} - s \Delta_{y_i}} + \sum_{j \ne y_i} e^{z_{ij}}}$$

    z are the scaled outputs of a cosine classifier, s·cos(w_j, x_i). (Eq. 13 has unscaled outputs; the scale s is of
    the authors' code, which multiplies outputs and margins by it.)

    Args:
        logits: z, (N, C), floating point, already multiplied by `scale`.
        targets: (N,), int64 labels in 0…C−1.
        margins: Δ, (C,), floating point, ≥ 0, see `ldam_margins`; all 0 is `weighted_softmax_loss`.
        scale: s > 0, the cosine classifier's.
        weights: (C,) positive class weights (deferred re-weighting), None means W = 1.
        reduction: as in `weighted_softmax_loss`; "weighted_mean" divides by Σ W_{y_i}.

    Returns:
        float32 (float64 for float64 logits): a scalar, or (N,) with "none".

    Raises:
        InputError: as `weighted_softmax_loss`, for margins that do not fit or are negative, and for s ≤ 0.

    >>> ldam_loss(torch.zeros(2, 2), torch.tensor([0, 1]), torch.tensor([0.0, 0.1]), scale=10.0, reduction="none")
    tensor([0.6931, 1.3133])
    """
    check_choice("reduction", reduction, REDUCTIONS)
    checks.check_logits(logits, targets)
    _check_per_class("margins", margins, logits.shape[1], zero_allowed=True)
    if not 0 < scale < float("inf"):
        raise InputError(f"expected scale > 0, the cosine classifier's; found {scale!r}")
    logits = at_least_float32(logits)
    handicap = _is_target(logits, targets) * (scale * margins.to(logits.dtype))  # (N, C)
    return weighted_softmax_loss(logits - handicap, targets, weights, reduction)


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
        targets: (N,), int64 labels in 0…C−1.
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
    _check_not_negative("island_weight (λ₁)", island_weight)
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
        targets: (N,), int64 labels in 0…C−1.
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
    _check_not_negative("island_weight (λ₁)", island_weight)
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


def _is_target(logits: Tensor, targets: Tensor) -> Tensor:
    """(N, C), True at every sample's own class."""
    return targets[:, None] == torch.arange(logits.shape[1], device=targets.device)


def _check_not_negative(name: str, value: float) -> None:
    if not 0 <= value < float("inf"):
        raise InputError(f"expected {name} ≥ 0; found {value!r}")


def _check_per_class(name: str, values: Tensor, classes: int, zero_allowed: bool = False) -> None:
    if values.shape != (classes,) or not values.is_floating_point():
        raise InputError(
            f"expected {name} of shape ({classes},), floating point, one a class; "
            f"found {tuple(values.shape)} of {values.dtype}"
        )
    if values.device.type == "cpu" and not torch.compiler.is_compiling():
        in_range = (values >= 0 if zero_allowed else values > 0) & values.isfinite()
        if not in_range.all():
            raise InputError(f"expected {name} {'≥' if zero_allowed else '>'} 0, one a class; found {values.tolist()}")
