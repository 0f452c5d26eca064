"""Module twins of the functions: they hold class weights and centres, so both travel in a checkpoint.

Centre initialisations (`center_init`), on which the strength of the term at the start wholly depends:

- "normal": standard normal. In 512 dimensions D_j ≈ 2·(C−1)·512, so the weighted-cluster term starts some 7,000 times
  weaker than center loss (eight classes).
- "zeros": D_j = 0, a full-strength pull of every feature to the origin; from scratch it can collapse the embedding.
- "class_means": every centre is the mean of all features of its class that `update` has been given, until each class
  has occurred. Up to then the term is 0; from the next batch on it counts, and the centres move by their rule. Of soft
  targets it is the mean weighted by q, and a class has occurred when its shares add up to one image.

Centre rules (`center_update`):

- "paper": `update`, called once a batch, moves the centres by the paper's rule (Wen et al.'s for center loss). They are
  a buffer, and constants of the loss.
- "autograd": the centres are a Parameter, trained by the full gradient of the loss (for Eq. 4 it includes the
  denominator, which pushes centres apart). Give `center_parameters()` to the optimiser as a group of its own:
  `{"params": loss.center_parameters(), "lr": gamma, "momentum": 0, "weight_decay": 0}`. The gradient is that of the
  reduced loss (with λ), so a step is smaller than the paper's by the reduction's divisor.

In distributed training every Module returns its share of the global batch's loss (see `reduction`), and `update` moves
the centres with the global batch: all processes hold the same centres, those of one process with the whole batch.
"""

import torch
from torch import Tensor, nn

from fer_utils.errors import check_choice
from fer_utils.losses import checks, distributed, functional
from fer_utils.losses.centers import sum_by_class, update_centers, update_centers_wen
from fer_utils.losses.reduction import REDUCTIONS, reduce_over_processes

CENTER_INITS = ("normal", "zeros", "class_means")
CENTER_UPDATES = ("paper", "autograd")


class WeightedSoftmaxLoss(nn.Module):
    """Module twin of `weighted_softmax_loss` (Eq. 1); a rival's classification term overrides `_losses`.

    Args:
        weights: (C,) class weights, kept as the buffer `weights`; None means W = 1.
        reduction: as in `weighted_softmax_loss`.

    >>> loss = WeightedSoftmaxLoss(functional.class_weights([30, 10]))
    >>> loss(torch.zeros(2, 2), torch.tensor([0, 1]))
    tensor(0.4621)
    """

    def __init__(self, weights: Tensor | None = None, reduction: str = "mean"):
        super().__init__()
        check_choice("reduction", reduction, REDUCTIONS)
        self.reduction = reduction
        self.register_buffer("weights", weights)

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Logits (N, C) and targets (N,), or soft (N, C), → loss."""
        return reduce_over_processes(self._losses(logits, targets), targets, self.weights, self.reduction)

    def set_progress(self, progress: float) -> None:
        """Hear before each epoch how much of the training is done, 0–1; nothing depends on it here."""

    def _losses(self, logits: Tensor, targets: Tensor) -> Tensor:
        """(N,), weighted but not reduced."""
        return functional.weighted_softmax_loss(logits, targets, self.weights, "none")


class LossWithCenters(nn.Module):
    """Centres, their initialisation and their movement; a subclass adds the loss and the paper's rule."""

    def __init__(
        self,
        num_classes: int,
        embedding_dim: int,
        gamma: float,
        reduction: str,
        center_init: str,
        center_update: str,
        seed: int,
        weights: Tensor | None = None,
    ):
        super().__init__()
        check_choice("reduction", reduction, REDUCTIONS)
        check_choice("center_init", center_init, CENTER_INITS)
        check_choice("center_update", center_update, CENTER_UPDATES)
        self.gamma = gamma
        self.reduction = reduction
        self.center_init = center_init
        self.center_update = center_update
        self.register_buffer("weights", weights)
        if center_init == "normal":
            # A generator of its own: the choice of loss must not shift the random numbers of anything else in a run.
            centers = torch.randn(num_classes, embedding_dim, generator=torch.Generator().manual_seed(seed))
        else:
            centers = torch.zeros(num_classes, embedding_dim)
        if center_update == "autograd":
            self.centers = nn.Parameter(centers)
        else:
            self.register_buffer("centers", centers)
        if center_init == "class_means":
            self.register_buffer("samples_seen", torch.zeros(num_classes, 1))  # (C, 1), those the means stand for

    def center_parameters(self) -> list[nn.Parameter]:
        """The centres if the optimiser is to train them, else an empty list."""
        return [self.centers] if self.center_update == "autograd" else []

    def forward(self, features: Tensor, targets: Tensor) -> Tensor:
        """Features (N, D) and targets (N,), or soft (N, C), → loss."""
        losses = self._losses(features, targets)  # (N,)
        loss = reduce_over_processes(losses, targets, self.weights, self.reduction)
        if self.center_init == "class_means":
            loss = loss * self._has_means()
        return loss

    @torch.no_grad()
    def update(self, features: Tensor, targets: Tensor) -> None:
        """Move the centres once a batch, after the forward pass, with the features (N, D) it used.

        Under gradient accumulation call it once a step, with the features of all its batches. In distributed training
        every process calls it with its own features; the centres move by those of all. The centres become a new tensor,
        so `backward` of the same batch may still follow.
        """
        trained = self.center_update == "autograd"
        if trained and self.center_init != "class_means":
            return
        features, targets = distributed.gather(features.detach(), targets)
        centers = self.centers if trained else self._moved_centers(features, targets)
        if self.center_init == "class_means":
            centers = self._until_means(features, targets, centers)
        if trained:
            self.centers.data = centers.detach()
        else:
            self.centers = centers

    def _losses(self, features: Tensor, targets: Tensor) -> Tensor:
        """(N,), weighted but not reduced."""
        raise NotImplementedError

    def _moved_centers(self, features: Tensor, targets: Tensor) -> Tensor:
        raise NotImplementedError

    def _has_means(self) -> Tensor:
        return (self.samples_seen >= 1).all()

    def _until_means(self, features: Tensor, targets: Tensor, centers: Tensor) -> Tensor:
        """Running class means until every class has occurred, from then on `centers`. Waits for no device."""
        started = self._has_means()
        features = features.to(centers.dtype)
        new_samples = sum_by_class(torch.ones_like(features[:, :1]), targets, len(centers))  # (C, 1)
        samples = self.samples_seen + new_samples
        sums = self.samples_seen * self.centers + sum_by_class(features, targets, len(centers))  # (C, D)
        self.samples_seen = torch.where(started, self.samples_seen, samples)
        return torch.where(started, centers, sums / samples.clamp(min=torch.finfo(sums.dtype).tiny))


class CenterLoss(LossWithCenters):
    """Module twin of `center_loss` (Eq. 2); `update` moves the centres by Wen et al.'s rule (`update_centers_wen`).

    Args:
        num_classes: C.
        embedding_dim: D.
        gamma: γ, the centres' learning rate.
        reduction: as in `weighted_softmax_loss`.
        center_init: "normal", "zeros" or "class_means", see the module.
        center_update: "paper" or "autograd", see the module.
        seed: of the "normal" centres.

    >>> loss = CenterLoss(num_classes=2, embedding_dim=1, center_init="zeros")
    >>> features, targets = torch.tensor([[2.0], [4.0]]), torch.tensor([0, 0])
    >>> loss(features, targets)
    tensor(5.)
    >>> loss.update(features, targets)
    >>> loss.centers
    tensor([[2.],
            [0.]])
    """

    def __init__(
        self,
        num_classes: int,
        embedding_dim: int,
        gamma: float = 1.0,
        reduction: str = "mean",
        center_init: str = "normal",
        center_update: str = "paper",
        seed: int = 0,
    ):
        super().__init__(num_classes, embedding_dim, gamma, reduction, center_init, center_update, seed)

    def _losses(self, features: Tensor, targets: Tensor) -> Tensor:
        return functional.center_loss(features, targets, self.centers, "none")

    def _moved_centers(self, features: Tensor, targets: Tensor) -> Tensor:
        return update_centers_wen(features, targets, self.centers, self.gamma)


class WeightedClusterLoss(LossWithCenters):
    """Module twin of `weighted_cluster_loss` (Eq. 4); `update` moves the centres by Eq. 8, 9 (`update_centers`).

    Args:
        weights: (C,) class weights.
        embedding_dim: D.
        alpha: α > 0.
        gamma: γ, the centres' learning rate.
        reduction: as in `weighted_softmax_loss`.
        center_init: "normal", "zeros" or "class_means", see the module.
        center_update: "paper" or "autograd", see the module.
        seed: of the "normal" centres.

    >>> loss = WeightedClusterLoss(torch.tensor([0.5, 1.0]), embedding_dim=1, center_init="zeros")
    >>> features, targets = torch.tensor([[2.0], [4.0]]), torch.tensor([0, 1])
    >>> loss(features, targets)
    tensor(4.5000)
    >>> loss.update(features, targets)
    >>> loss.centers
    tensor([[1.],
            [4.]])
    """

    def __init__(
        self,
        weights: Tensor,
        embedding_dim: int,
        alpha: float = 1.0,
        gamma: float = 1.0,
        reduction: str = "mean",
        center_init: str = "normal",
        center_update: str = "paper",
        seed: int = 0,
    ):
        checks.check_alpha(alpha)
        super().__init__(len(weights), embedding_dim, gamma, reduction, center_init, center_update, seed, weights)
        self.alpha = alpha

    def _losses(self, features: Tensor, targets: Tensor) -> Tensor:
        return functional.weighted_cluster_loss(features, targets, self.centers, self.weights, self.alpha, "none")

    def _moved_centers(self, features: Tensor, targets: Tensor) -> Tensor:
        return update_centers(features, targets, self.centers, self.weights, self.alpha, self.gamma)
