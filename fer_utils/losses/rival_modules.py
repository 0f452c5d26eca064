"""Module twins of the rivals' functions, in the interface of the paper's losses."""

import torch
from torch import Tensor

from fer_utils.errors import InputError
from fer_utils.losses import checks, distributed, island, rivals
from fer_utils.losses.functional import class_weights
from fer_utils.losses.modules import CenterLoss, WeightedSoftmaxLoss


class FocalLoss(WeightedSoftmaxLoss):
    """Module twin of `focal_loss`, without class weights.

    Args:
        num_classes: C.
        focal_gamma: γ ≥ 0 of the focal loss.
        reduction: as in `weighted_softmax_loss`.

    >>> FocalLoss(num_classes=2, focal_gamma=0.0)(torch.zeros(1, 2), torch.tensor([0]))
    tensor(0.6931)
    """

    def __init__(self, num_classes: int, focal_gamma: float = 2.0, reduction: str = "mean"):
        super().__init__(torch.ones(num_classes), reduction)
        checks.check_not_negative("focal_gamma (γ)", focal_gamma)
        self.focal_gamma = focal_gamma

    def _losses(self, logits: Tensor, targets: Tensor) -> Tensor:
        return rivals.focal_loss(logits, targets, self.focal_gamma, reduction="none")


class LogitAdjustedLoss(WeightedSoftmaxLoss):
    """Module twin of `logit_adjusted_loss`; with τ = 1 it is the balanced softmax.

    Args:
        counts: training images per class, (C,), positive.
        tau: τ ≥ 0.
        reduction: as in `weighted_softmax_loss`.

    >>> loss = LogitAdjustedLoss([30, 10])
    >>> loss(torch.zeros(1, 2), torch.tensor([1]))  # −ln(10 / 40)
    tensor(1.3863)
    """

    def __init__(self, counts, tau: float = 1.0, reduction: str = "mean"):
        super().__init__(torch.ones_like(class_weights(counts)), reduction)
        checks.check_not_negative("tau (τ)", tau)
        self.tau = tau
        self.register_buffer("counts", torch.as_tensor(counts, dtype=torch.float32))

    def _losses(self, logits: Tensor, targets: Tensor) -> Tensor:
        return rivals.logit_adjusted_loss(logits, targets, self.counts, self.tau, reduction="none")


class LDAMLoss(WeightedSoftmaxLoss):
    """Module twin of `ldam_loss` with deferred re-weighting (DRW): plain at first, class-balanced weights at the end.

    Args:
        counts: training images per class, (C,), positive.
        max_margin: margin of the rarest class, on the cosine.
        scale: what the network's cosine classifier multiplies its cosines with.
        beta: of `effective_number_weights`, the weights after the switch.
        drw_start: share of the training, 0–1, after which they count (the authors': 160 of 200 epochs, 0.8).
        reduction: as in `weighted_softmax_loss`.

    >>> loss = LDAMLoss([30, 10])
    >>> loss.set_progress(0.5), loss.weights
    (None, tensor([1., 1.]))
    >>> loss.set_progress(0.9), loss.weights
    (None, tensor([0.5004, 1.4996]))
    """

    def __init__(
        self,
        counts,
        max_margin: float = 0.5,
        scale: float = 30.0,
        beta: float = 0.9999,
        drw_start: float = 0.8,
        reduction: str = "mean",
    ):
        super().__init__(torch.ones_like(class_weights(counts)), reduction)
        if not 0 <= drw_start <= 1:
            raise InputError(f"expected drw_start in 0…1, a share of the training; found {drw_start!r}")
        self.scale, self.drw_start = scale, drw_start
        self.register_buffer("margins", rivals.ldam_margins(counts, max_margin))
        self.register_buffer("deferred_weights", rivals.effective_number_weights(counts, beta))

    def set_progress(self, progress: float) -> None:
        """Choose the weights for this share of the training, 0 (start) to 1 (end)."""
        deferred = progress >= self.drw_start
        self.weights = self.deferred_weights.clone() if deferred else torch.ones_like(self.deferred_weights)

    def _losses(self, logits: Tensor, targets: Tensor) -> Tensor:
        return rivals.ldam_loss(logits, targets, self.margins, self.scale, self.weights, reduction="none")


class ArcFaceLoss(WeightedSoftmaxLoss):
    """Module twin of `arcface_loss`.

    Args:
        num_classes: C.
        angular_margin: m, radians.
        scale: what the network's cosine classifier multiplies its cosines with.
        reduction: as in `weighted_softmax_loss`.

    >>> ArcFaceLoss(num_classes=2, angular_margin=0.5, scale=2.0)(torch.zeros(1, 2), torch.tensor([0]))
    tensor(1.2833)
    """

    def __init__(self, num_classes: int, angular_margin: float = 0.5, scale: float = 30.0, reduction: str = "mean"):
        super().__init__(torch.ones(num_classes), reduction)
        rivals.check_angular_margin(angular_margin)
        self.angular_margin, self.scale = angular_margin, scale

    def _losses(self, logits: Tensor, targets: Tensor) -> Tensor:
        return rivals.arcface_loss(logits, targets, self.angular_margin, self.scale, reduction="none")


class IslandLoss(CenterLoss):
    """Module twin of `island_loss`; `update` moves the centres by its authors' rule (`update_centers_island`).

    Args:
        num_classes: C.
        embedding_dim: D.
        island_weight: λ₁ ≥ 0, of the term that turns the centres away from each other.
        **options: as of `CenterLoss`.

    >>> IslandLoss(2, 1, island_weight=0.5, center_init="zeros")(torch.tensor([[2.0]]), torch.tensor([0]))
    tensor(3.)
    """

    def __init__(self, num_classes: int, embedding_dim: int, island_weight: float = 10.0, **options):
        super().__init__(num_classes, embedding_dim, **options)
        checks.check_not_negative("island_weight (λ₁)", island_weight)
        self.island_weight = island_weight

    def _losses(self, features: Tensor, targets: Tensor) -> Tensor:
        # The pair term is one for the global batch, and each of its samples carries an equal share.
        share = (
            distributed.mean_over_processes(torch.tensor(float(len(features)), device=features.device))
            * distributed.processes()
        )
        pairs = island.island_pairs(self.centers)
        return super()._losses(features, targets) + self.island_weight * pairs / share

    def _moved_centers(self, features: Tensor, targets: Tensor) -> Tensor:
        return island.update_centers_island(features, targets, self.centers, self.gamma, self.island_weight)
