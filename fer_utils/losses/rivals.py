"""Rivals of the weighted-cluster loss, from other papers, as pure functions.

Against imbalance: class-balanced weights, focal loss, logit adjustment (balanced softmax), LDAM. For telling many
people apart: the additive angular margin. (For compact classes that lie far apart: `island`.) Symbols and shapes as in
`functional`: `logits` (N, C), `targets` (N,), `weights` (C,). Half-precision inputs are computed in float32.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from fer_utils.errors import InputError, check_choice
from fer_utils.losses import checks
from fer_utils.losses.centers import at_least_float32
from fer_utils.losses.functional import class_weights, weighted_softmax_loss
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
    checks.check_not_negative("focal_gamma (γ)", focal_gamma)
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
        targets: (N,), int64 labels in 0…C−1; or q, (N, C), distributions, over which the loss is an expectation.
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
    checks.check_logits(logits, targets, soft=True)
    checks.check_per_class("counts", counts, logits.shape[1])
    checks.check_not_negative("tau (τ)", tau)
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
    checks.check_not_negative("max_margin", max_margin)
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
    checks.check_per_class("margins", margins, logits.shape[1], zero_allowed=True)
    _check_scale(scale)
    logits = at_least_float32(logits)
    handicap = _is_target(logits, targets) * (scale * margins.to(logits.dtype))  # (N, C)
    return weighted_softmax_loss(logits - handicap, targets, weights, reduction)


def arcface_loss(
    logits: Tensor, targets: Tensor, angular_margin: float = 0.5, scale: float = 30.0, reduction: str = "mean"
) -> Tensor:
    r"""Additive angular margin, ArcFace (Deng et al., CVPR 2019, Eq. 3): the true class counts as m farther away.

    $$L = -\sum_i \log \frac{e^{s \cos(\theta_{i, y_i} + m)}}
      {e^{s \cos(\theta_{i, y_i} + m)} + \sum_{j \ne y_i} e^{s \cos \theta_{ij}}}$$

    θ_ij is the angle between feature x_i and class vector w_j; logits are s cos θ_ij of a cosine classifier. Where
    θ + m > π, cos(θ + m) would rise again and reward the worst samples: there it is cos θ − m sin m, as in the authors'
    code, which falls everywhere (with a step at θ = π − m). At θ = 0 and π, where sin θ = √(1 − cos² θ) has no finite
    derivative, it is held at the square root of the smallest step of the dtype.

    Args:
        logits: s cos θ, (N, C), floating point; predict from them as they are, without the margin.
        targets: (N,), int64 labels in 0…C−1.
        angular_margin: m in 0 ≤ m ≤ π/2, radians; 0 is the plain softmax loss.
        scale: s > 0, the cosine classifier's.
        reduction: as in `weighted_softmax_loss`; there are no weights, so "weighted_mean" is "mean".

    Returns:
        float32 (float64 for float64 logits): a scalar, or (N,) with "none".

    Raises:
        InputError: as `weighted_softmax_loss`, for m outside its range and for s ≤ 0.

    >>> logits = torch.tensor([[0.0, 0.0]])  # at a right angle to both classes: −2 sin(½) for the true one
    >>> arcface_loss(logits, torch.tensor([0]), angular_margin=0.5, scale=2.0)
    tensor(1.2833)
    """
    check_choice("reduction", reduction, REDUCTIONS)
    checks.check_logits(logits, targets)
    check_angular_margin(angular_margin)
    _check_scale(scale)
    logits = at_least_float32(logits)
    cosine = logits.gather(1, targets[:, None]) / scale  # (N, 1)
    sine = (1 - cosine.square()).clamp(min=torch.finfo(cosine.dtype).eps).sqrt()
    # As differences to cos θ, so that without a margin the logits stay what they are, to the bit.
    turned = cosine * (1 - math.cos(angular_margin)) + sine * math.sin(angular_margin)
    beyond = math.sin(angular_margin) * angular_margin
    handicap = scale * torch.where(cosine > -math.cos(angular_margin), turned, beyond)  # θ < π − m
    return weighted_softmax_loss(logits - _is_target(logits, targets) * handicap, targets, reduction=reduction)


def check_angular_margin(angular_margin: float) -> None:
    """Raise `InputError` unless 0 ≤ m ≤ π/2."""
    if not 0 <= angular_margin <= math.pi / 2:
        raise InputError(f"expected angular_margin (m) in 0 ≤ m ≤ π/2, radians; found {angular_margin!r}")


def _check_scale(scale: float) -> None:
    if not 0 < scale < float("inf"):
        raise InputError(f"expected scale > 0, the cosine classifier's; found {scale!r}")


def _is_target(logits: Tensor, targets: Tensor) -> Tensor:
    """(N, C), True at every sample's own class."""
    return targets[:, None] == torch.arange(logits.shape[1], device=targets.device)
