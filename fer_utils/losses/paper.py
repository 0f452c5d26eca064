r"""The paper's losses, equation by equation: pure functions, then their Module twins.

Of m = N images: `logits` (N, C), `features` x_i (N, D), `targets` y_i (N,) or q_ij (N, C). Of
k = C classes: `centers` c_j (C, D), `weights` W_j (C,). `batch` explains targets and reductions; a
loss is a scalar, or (N,) with "none". Half precision is computed in float32, also under autocast;
distances are direct differences, which do not cancel. What does not fit raises `InputError`,
features that are not finite `Diverged`.
"""

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fer_utils.core import check_choice, require
from fer_utils.losses import batch
from fer_utils.losses.batch import at_least_float32


def weighted_softmax_loss(
    logits: Tensor, targets: Tensor, weights: Tensor | None = None, reduction: str | float = "mean"
) -> Tensor:
    r"""Weighted softmax loss (Eq. 1); without weights the plain one, W = 1.

    $$L = -\sum_i W_{y_i} \log \hat p_{i y_i}$$
    """
    num_classes = logits.shape[-1]
    batch.check("logits", logits, targets, num_classes)
    log_p = at_least_float32(logits).log_softmax(dim=1)  # (N, C)
    classes, parts = batch.split_targets(targets, num_classes, log_p.dtype)  # (N, K)
    if weights is not None:
        batch.check_per_class("weights", weights, num_classes)
        parts = parts * weights[classes]
    return batch.reduce(-(parts * log_p.gather(1, classes)).sum(dim=1), parts, reduction)


def center_loss(
    features: Tensor, targets: Tensor, centers: Tensor, reduction="mean", per_dimension=False
) -> Tensor:
    r"""Center loss (Eq. 2): half the squared distance of every feature to its class's centre.

    $$L = \frac12 \sum_i \lVert x_i - c_{y_i} \rVert_2^2$$

    It has no W: "weighted_mean" is "mean". `per_dimension` takes the mean over the D dimensions
    without the ½: with "mean" that is `reduce_mean(square(features - centers))`, the widely copied
    TensorFlow code, 2/D of Eq. 2 and so 256 times weaker at D = 512.
    """
    offsets, _, shares = _offsets(features, targets, centers)
    factor = 1 / features.shape[1] if per_dimension else 0.5
    losses = factor * (shares * offsets.square().sum(dim=2)).sum(dim=1)
    return batch.reduce(losses, shares, reduction)


def weighted_cluster_loss(
    features: Tensor, targets: Tensor, centers: Tensor, weights: Tensor, alpha=1.0, reduction="mean"
) -> Tensor:
    r"""Weighted-cluster loss (Eq. 4): compact classes, over centres that lie far apart.

    $$L = \frac12 \sum_i W_{y_i} \frac{\lVert x_i - c_{y_i} \rVert_2^2}{D_{y_i} + \alpha}, \qquad
      D_j = \sum_{l \ne j} \lVert c_l - c_j \rVert_2^2$$

    The paper prints "j ≠ i" under the sum; i counts images and j classes, so j ≠ y_i is meant. The
    full gradient pushes centres apart, which the paper's own update (`update_centers`) does not.
    """
    offsets, classes, shares = _offsets(features, targets, centers)
    scales = _scales(centers, weights, alpha)  # (C,)
    losses = 0.5 * (shares * scales[classes] * offsets.square().sum(dim=2)).sum(dim=1)
    return batch.reduce(losses, shares * weights[classes], reduction)


def center_separation(centers: Tensor) -> Tensor:
    r"""D_j (C,) of Eq. 4, the summed squared distance of every centre to all others.

    $$D_j = S + k \lVert c_j - \bar c \rVert^2, \qquad S = \sum_l \lVert c_l - \bar c \rVert^2$$

    with c̄ the mean centre: exact, O(C·D) instead of O(C²·D), and nothing cancels.
    """
    centers = at_least_float32(centers)
    from_mean = (centers - centers.mean(dim=0)).square().sum(dim=1)  # (C,)
    return from_mean.sum() + len(centers) * from_mean


def class_weights(counts, power: float = 1.0) -> Tensor:
    r"""Weights of the classes (C,), float32, from their numbers of training images (Eq. 6).

    $$W_c = (N_{\min} / N_c)^p$$

    The rarest weighs 1. (The paper calls it disgust; by its Table 3 it is contempt.) The power p is
    ours: 1 is Eq. 6, 0 weighs all alike.

    >>> class_weights([40, 10, 20])
    tensor([0.2500, 1.0000, 0.5000])
    """
    require(power >= 0, "power ≥ 0", power)
    counts = torch.as_tensor(counts, dtype=torch.float64)
    require(counts.ndim == 1 and len(counts) > 1, "counts of shape (C,) with C ≥ 2", counts)
    fits = ((counts > 0) & counts.isfinite()).all()
    require(fits, "counts > 0, a training image of every class at least", counts.tolist())
    return ((counts.min() / counts) ** power).float()


def mean_weight(counts, weights: Tensor) -> float:
    """W̄ = Σ N_c W_c / Σ N_c, the mean weight of a training image; for Eq. 6 it is k · N_min / N."""
    counts = torch.as_tensor(counts, dtype=torch.float64)
    return float((counts * weights).sum() / counts.sum())


@torch.no_grad()
def update_centers(
    features: Tensor, targets: Tensor, centers: Tensor, weights: Tensor, alpha=1.0, gamma=1.0
) -> Tensor:
    r"""New centres (C, D) after a batch (Eq. 8, 9), with the sign corrected.

    $$c_j \leftarrow c_j + \gamma \sum_i \delta(y_i = j) \, W_{y_i} \frac{x_i - c_j}{D_j + \alpha}$$

    As printed (x_i − c_j in Eq. 8, subtracted in Eq. 9) every centre runs away from its class. D_j
    counts as a constant. No division by the class's count is needed: with Eq. 6's weights all
    classes make the same expected step. An absent class keeps its centre.
    """
    pull, _ = _pull(features, targets, centers)
    return (centers + gamma * _scales(centers, weights, alpha)[:, None] * pull).to(centers.dtype)


@torch.no_grad()
def update_centers_wen(features: Tensor, targets: Tensor, centers: Tensor, gamma=1.0) -> Tensor:
    r"""New centres by the rule of center loss's authors (Wen et al., ECCV 2016; γ = 0.5 there).

    $$c_j \leftarrow c_j + \gamma \, \frac{\sum_i \delta(y_i = j) (x_i - c_j)}
      {1 + \sum_i \delta(y_i = j)}$$
    """
    pull, counts = _pull(features, targets, centers)
    return (centers + gamma * pull / (1 + counts)).to(centers.dtype)


def _offsets(features: Tensor, targets: Tensor, centers: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """x_i − c_j (N, K, D) to the K classes of each target (K = 1 for labels); classes, shares."""
    batch.check("features", features, targets, len(centers))
    fits = centers.shape[1:] == features.shape[1:] and centers.is_floating_point()
    require(fits, f"centers of shape (C, {features.shape[1]}), floating point", centers)
    features, centers = at_least_float32(features), at_least_float32(centers)
    classes, shares = batch.split_targets(targets, len(centers), features.dtype)
    return features[:, None] - centers[classes], classes, shares


def _scales(centers: Tensor, weights: Tensor, alpha: float) -> Tensor:
    """W_j / (D_j + α), (C,)."""
    batch.check_per_class("weights", weights, len(centers))
    require(alpha > 0, "alpha > 0, which keeps Eq. 4's denominator from 0", alpha)
    return weights / (center_separation(centers) + alpha)


def _pull(features: Tensor, targets: Tensor, centers: Tensor) -> tuple[Tensor, Tensor]:
    """Σ_i δ(y_i = j)(x_i − c_j), (C, D), and Σ_i δ(y_i = j), (C, 1), over all processes."""
    offsets, _, shares = _offsets(features, targets, centers)
    pull = batch.sum_by_class(offsets, targets, len(centers))
    counts = batch.sum_by_class(torch.ones_like(shares[:, :1]), targets, len(centers))
    return batch.sum_over_processes(pull), batch.sum_over_processes(counts)


class WeightedSoftmaxLoss(nn.Module):
    """Module twin of `weighted_softmax_loss`, or of a `function` that takes W, too.

    What else it takes for each class are `tensors` (C,): buffers, as the weights.
    """

    def __init__(self, weights=None, reduction="mean", function=weighted_softmax_loss, **tensors):
        super().__init__()
        self.reduction, self.function = reduction, function
        for name, values in {"weights": weights, **tensors}.items():
            self.register_buffer(name, values)

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        tensors = dict(self.named_buffers())
        return self.function(logits, targets, **tensors, reduction=self.reduction)


class LossWithCenters(nn.Module):
    """Centres, where they start and how they move; a subclass sets its `loss` and `rule`.

    README.md beside this file explains `center_init`, `center_update` and `normalize`. γ is the
    learning rate of `update`.
    """

    def __init__(
        self,
        num_classes: int,
        embedding_dim: int,
        weights: Tensor | None = None,
        reduction: str | float = "mean",
        center_init: str = "normal",
        center_update: str = "paper",
        normalize: bool = False,
        gamma: float = 1.0,
        seed: int = 0,
    ):
        super().__init__()
        check_choice("center_init", center_init, ("zeros", "normal", "class_means"))
        check_choice("center_update", center_update, ("paper", "autograd"))
        self.reduction, self.normalize, self.gamma = reduction, normalize, gamma
        # Its own generator: the choice of a loss must not shift a run's other random numbers.
        random = torch.Generator().manual_seed(seed)
        centers = self._scaled(torch.randn(num_classes, embedding_dim, generator=random))
        if center_init != "normal":
            centers = torch.zeros_like(centers)
        seen = torch.zeros(num_classes, 1) if center_init == "class_means" else None
        self.register_buffer("weights", weights)
        self.register_buffer("samples_seen", seen)
        if center_update == "autograd":
            self.centers = nn.Parameter(centers)
        else:
            self.register_buffer("centers", centers)

    def forward(self, features: Tensor, targets: Tensor) -> Tensor:
        classes = self._of_classes()
        loss = self.loss(self._scaled(features), targets, *classes, reduction=self.reduction)
        return loss if self.samples_seen is None else loss * (self.samples_seen >= 1).all()

    @torch.no_grad()
    def update(self, features: Tensor, targets: Tensor) -> None:
        """Move the centres, once a step, by the features that its forward passes used.

        They become a new tensor, so that `backward` may still follow.
        """
        features, trained = self._scaled(features), isinstance(self.centers, nn.Parameter)
        centers = self.centers
        if not trained:
            centers = self.rule(features, targets, *self._of_classes(), gamma=self.gamma)
        if self.samples_seen is not None:
            started = (self.samples_seen >= 1).all()
            sums, samples = _pull(features.to(centers.dtype), targets, torch.zeros_like(centers))
            seen = self.samples_seen + samples  # (C, 1)
            sums = self.samples_seen * self.centers + sums  # (C, D)
            means = sums / seen.clamp(min=torch.finfo(sums.dtype).tiny)
            self.samples_seen = torch.where(started, self.samples_seen, seen)
            centers = torch.where(started, centers, means)
        if trained:
            self.centers.data = centers.detach()
        else:
            self.centers = centers

    def _scaled(self, features: Tensor) -> Tensor:
        return F.normalize(at_least_float32(features), dim=1) if self.normalize else features

    def _of_classes(self) -> tuple[Tensor, ...]:
        return (self.centers,) if self.weights is None else (self.centers, self.weights)


class CenterLoss(LossWithCenters):
    """Module twin of `center_loss`, its centres moved by `update_centers_wen`."""

    def __init__(self, num_classes: int, embedding_dim: int, per_dimension=False, **options):
        super().__init__(num_classes, embedding_dim, **options)
        self.loss = partial(center_loss, per_dimension=per_dimension)
        self.rule = update_centers_wen


class WeightedClusterLoss(LossWithCenters):
    """Module twin of `weighted_cluster_loss`, its centres moved by `update_centers`."""

    def __init__(self, weights: Tensor, embedding_dim: int, alpha: float = 1.0, **options):
        super().__init__(len(weights), embedding_dim, weights, **options)
        self.loss = partial(weighted_cluster_loss, alpha=alpha)
        self.rule = partial(update_centers, alpha=alpha)
