r"""Other authors' losses as pure functions; symbols, shapes and errors are those of `paper`.

Against imbalance: focal loss, class-balanced weights, logit adjustment, LDAM. For compact classes:
island loss. For telling people apart: an angular margin. `options` are `weights` and `reduction`.
"""

import math
from functools import partial

import torch
from torch import Tensor

from fer_utils.core import require
from fer_utils.losses import batch, paper
from fer_utils.losses.batch import at_least_float32
from fer_utils.losses.paper import weighted_softmax_loss


def effective_number_weights(counts, beta: float = 0.9999) -> Tensor:
    """Class-balanced weights (Cui et al., CVPR 2019): W_c ∝ (1 − β) / (1 − β^{n_c}), of sum C.

    β = 0 weighs all classes alike; β → 1 tends to Eq. 6, but for the scale.
    """
    require(0 <= beta < 1, "beta in 0 ≤ β < 1", beta)
    paper.class_weights(counts)  # checks them
    counts = torch.as_tensor(counts, dtype=torch.float64)
    log_beta = torch.tensor(beta, dtype=torch.float64).log()  # −∞ for β = 0
    inverse = -1 / torch.expm1(counts * log_beta)  # does not cancel at β near 1
    return (len(counts) * inverse / inverse.sum()).float()


def focal_loss(
    logits: Tensor, targets: Tensor, focal_gamma=2.0, weights=None, reduction="mean"
) -> Tensor:
    """Focal loss (Lin et al., ICCV 2017), softmax form: −W_y (1 − p_y)^γ log p_y; labels alone."""
    require(0 <= focal_gamma < math.inf, "focal_gamma ≥ 0", focal_gamma)
    batch.check("logits", logits, targets, logits.shape[-1], soft=False)
    losses = weighted_softmax_loss(logits, targets, reduction="none")  # −log p_y
    # 1 − p_y without cancelling, held off 0, where its power may have no finite derivative.
    wrong = (-torch.expm1(-losses)).clamp(min=torch.finfo(losses.dtype).tiny)
    parts = torch.ones_like(losses) if weights is None else weights[targets]
    return batch.reduce(parts * wrong**focal_gamma * losses, parts, reduction)


def logit_adjusted_loss(
    logits: Tensor, targets: Tensor, counts: Tensor, tau=1.0, **options
) -> Tensor:
    """Logit adjustment (Menon et al., ICLR 2021): −log softmax(z + τ log π)_y, π_j = n_j / Σ n.

    τ = 1 is the balanced softmax (Ren et al., NeurIPS 2020). Predict from z as it is.
    """
    require(0 <= tau < math.inf, "tau ≥ 0", tau)
    batch.check_per_class("counts", counts, logits.shape[-1])
    log_prior = (counts / counts.sum()).log()  # (C,)
    return weighted_softmax_loss(at_least_float32(logits) + tau * log_prior, targets, **options)


def ldam_loss(logits: Tensor, targets: Tensor, margins: Tensor, scale=30.0, **options) -> Tensor:
    """LDAM (Cao et al., NeurIPS 2019): softmax loss of z − s Δ_y, of the true class alone.

    Logits z = s cos θ of a cosine classifier; `margins` Δ_j ∝ n_j^{−1/4}. Labels alone.
    """
    require(0 < scale < math.inf, "scale > 0", scale)
    batch.check_per_class("margins", margins, logits.shape[-1])
    return weighted_softmax_loss(_behind(logits, targets, scale * margins), targets, **options)


def arcface_loss(
    logits: Tensor, targets: Tensor, angular_margin=0.5, scale=30.0, **options
) -> Tensor:
    """ArcFace (Deng et al., CVPR 2019): softmax loss with s cos(θ_y + m) for the true class.

    Logits z = s cos θ of a cosine classifier. Beyond θ + m = π, where cos(θ + m) would rise again,
    it is cos θ − m sin m, as in the authors' code. Labels alone.
    """
    require(0 <= angular_margin <= math.pi / 2, "angular_margin in 0…π/2", angular_margin)
    require(0 < scale < math.inf, "scale > 0", scale)
    logits = at_least_float32(logits)
    cosines = logits / scale  # (N, C)
    # Held off 0: at θ = 0 and π the sine's derivative in the cosine is infinite.
    sines = (1 - cosines.square()).clamp(min=torch.finfo(cosines.dtype).eps).sqrt()
    turned = cosines * (1 - math.cos(angular_margin)) + sines * math.sin(angular_margin)
    beyond = math.sin(angular_margin) * angular_margin
    behind = torch.where(cosines > -math.cos(angular_margin), turned, beyond)
    return weighted_softmax_loss(_behind(logits, targets, scale * behind), targets, **options)


def _behind(logits: Tensor, targets: Tensor, margins: Tensor) -> Tensor:
    """Logits (N, C) less the margin, (C,) or (N, C), of each image's own class."""
    batch.check("logits", logits, targets, logits.shape[-1], soft=False)
    own = targets[:, None] == torch.arange(logits.shape[1], device=targets.device)
    return at_least_float32(logits) - own * margins


def island_loss(
    features: Tensor, targets: Tensor, centers: Tensor, island_weight=10.0, reduction="mean"
) -> Tensor:
    """Island loss (Cai et al., FG 2018): center loss + λ₁ Σ_j Σ_{l≠j} (cos(c_j, c_l) + 1).

    The second term belongs to the batch; each of its images carries an N-th.
    """
    require(0 <= island_weight < math.inf, "island_weight ≥ 0", island_weight)
    losses = paper.center_loss(features, targets, centers, "none")
    units, _ = _directions(centers)
    pairs = units.sum(dim=0).square().sum() - units.square().sum() + len(units) * (len(units) - 1)
    share = island_weight * pairs / (len(losses) * batch.world_size())
    return batch.reduce(losses + share, torch.ones_like(losses), reduction)


@torch.no_grad()
def update_centers_island(
    features: Tensor, targets: Tensor, centers: Tensor, gamma=0.5, island_weight=10.0
) -> Tensor:
    """New centres by Cai et al.'s rule: `update_centers_wen`, less γ λ₁ / (2C − 2) · ∂pairs/∂c."""
    pulled = paper.update_centers_wen(features, targets, at_least_float32(centers), gamma)
    units, norms = _directions(centers)
    total = units.sum(dim=0)  # (D,)
    turn = (total - (total * units).sum(dim=1, keepdim=True) * units) / norms  # ½ ∂pairs/∂c
    return (pulled - gamma * island_weight / (len(centers) - 1) * turn).to(centers.dtype)


def _directions(centers: Tensor) -> tuple[Tensor, Tensor]:
    """Unit vectors (C, D) and norms (C, 1); of a centre at the origin 0 and infinity."""
    centers = at_least_float32(centers)
    norms = centers.norm(dim=1, keepdim=True)
    norms = torch.where(norms > 0, norms, math.inf)
    return centers / norms, norms


class LDAMLoss(paper.WeightedSoftmaxLoss):
    """Module twin of `ldam_loss`, with class-balanced weights from `drw_start` (0–1) on (DRW)."""

    def __init__(self, counts, reduction, max_margin=0.5, scale=30.0, beta=0.9999, drw_start=0.8):
        require(0 <= drw_start <= 1, "drw_start in 0…1, a share of the training", drw_start)
        margins = max_margin * paper.class_weights(counts, power=0.25)
        function = partial(ldam_loss, scale=scale)
        super().__init__(torch.ones(len(margins)), reduction, function, margins=margins)
        self.counts, self.drw_start = counts, drw_start
        self.deferred_weights = effective_number_weights(counts, beta)

    def set_progress(self, progress: float) -> None:
        weights = self.deferred_weights
        if progress < self.drw_start:
            weights = torch.ones_like(weights)
        self.weights.copy_(weights)
        if isinstance(self.reduction, float):
            self.reduction = paper.mean_weight(self.counts, weights)


class IslandLoss(paper.LossWithCenters):
    """Module twin of `island_loss`, its centres moved by `update_centers_island`."""

    def __init__(self, num_classes: int, embedding_dim: int, island_weight=10.0, **options):
        super().__init__(num_classes, embedding_dim, **options)
        self.loss = partial(island_loss, island_weight=island_weight)
        self.rule = partial(update_centers_island, island_weight=island_weight)
