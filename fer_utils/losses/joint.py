"""The five joint losses of the paper's Tables 5 and 6, and their rivals, by name."""

from torch import Tensor, nn, ones_like

from fer_utils.errors import check_choice
from fer_utils.losses import checks
from fer_utils.losses.functional import class_weights
from fer_utils.losses.modules import CenterLoss, WeightedClusterLoss, WeightedSoftmaxLoss
from fer_utils.losses.rival_modules import ArcFaceLoss, FocalLoss, IslandLoss, LDAMLoss, LogitAdjustedLoss
from fer_utils.losses.rivals import effective_number_weights

PAPER_LOSSES = ("softmax", "center_softmax", "weighted_softmax", "center_weighted_softmax", "weighted_cluster")
RIVALS = ("island_softmax", "focal", "class_balanced", "balanced_softmax", "logit_adjusted", "ldam_drw", "arcface")
LOSS_NAMES = (*PAPER_LOSSES, *RIVALS)

# What torch.nn.CrossEntropyLoss(weight=…) does: the learning rate then means the same with and without weights.
DEFAULT_REDUCTION = "weighted_mean"

# λ: section 4.3, and Cai et al.'s own for island loss.
CLUSTER_WEIGHTS = {
    "center_softmax": 0.5,
    "center_weighted_softmax": 0.5,
    "weighted_cluster": 1.0,
    "island_softmax": 0.01,
}


class JointLoss(nn.Module):
    """Softmax term + λ · term with centres (Eq. 3, 5), both under the same reduction.

    Attributes:
        weights: (C,) class weights.
        centers: (C, D), or None where the loss has no centres.

    >>> loss = make_loss("weighted_softmax", counts=[30, 10], embedding_dim=4)
    >>> loss.weights, loss.centers
    (tensor([0.3333, 1.0000]), None)
    """

    def __init__(self, softmax: WeightedSoftmaxLoss, cluster: nn.Module | None = None, cluster_weight: float = 1.0):
        """Use `make_loss`."""
        super().__init__()
        self.softmax = softmax
        self.cluster = cluster
        self.cluster_weight = cluster_weight

    @property
    def weights(self) -> Tensor:
        return self.softmax.weights

    @property
    def centers(self) -> Tensor | None:
        return None if self.cluster is None else self.cluster.centers

    def center_parameters(self) -> list[nn.Parameter]:
        """The centres if the optimiser is to train them (`center_update="autograd"`), else an empty list."""
        return [] if self.cluster is None else self.cluster.center_parameters()

    def set_progress(self, progress: float) -> None:
        """Tell the loss how much of the training is done, 0–1, before each epoch; LDAM's weights depend on it."""
        self.softmax.set_progress(progress)

    def forward(self, logits: Tensor, features: Tensor, targets: Tensor) -> Tensor:
        """Logits (N, C), features (N, D), targets (N,), or soft (N, C), → a scalar, or (N,) with reduction "none"."""
        loss = self.softmax(logits, targets)
        if self.cluster is not None:
            loss = loss + self.cluster_weight * self.cluster(features, targets)
        return loss

    def update(self, features: Tensor, targets: Tensor) -> None:
        """Move the centres, once a training batch (Algorithm 1, line 9); nothing to do where there are none."""
        if self.cluster is not None:
            self.cluster.update(features, targets)


def make_loss(
    name: str,
    counts,
    embedding_dim: int,
    *,
    cluster_weight: float | None = None,
    alpha: float = 1.0,
    gamma: float = 1.0,
    reduction: str = DEFAULT_REDUCTION,
    center_init: str = "class_means",
    center_update: str = "paper",
    seed: int = 0,
    focal_gamma: float = 2.0,
    beta: float = 0.9999,
    tau: float = 1.0,
    max_margin: float = 0.5,
    scale: float = 30.0,
    drw_start: float = 0.8,
    island_weight: float = 10.0,
    angular_margin: float = 0.5,
) -> JointLoss:
    """One of the paper's five loss settings or of their rivals; what a paper leaves open is a parameter.

    `fer_utils/losses/README.md` is the table of all: which loss, which equation, which parameters.

    Args:
        name: one of `LOSS_NAMES`: "softmax" (W = 1), "center_softmax" (Eq. 3), "weighted_softmax" (Eq. 1),
            "center_weighted_softmax", "weighted_cluster" (Eq. 5); "island_softmax", "focal", "class_balanced",
            "balanced_softmax" (logit adjustment with τ = 1), "logit_adjusted", "ldam_drw", "arcface".
        counts: training images per class, (C,), positive.
        embedding_dim: D.
        cluster_weight: λ ≥ 0; None means the paper's: 0.5 for center loss, 1 for weighted-cluster loss (and
            0.01 for island loss, its authors').
        alpha: α > 0 of Eq. 4.
        gamma: γ of Eq. 9, the centres' learning rate.
        reduction: of both terms: "none", "sum" (as printed), "mean" or "weighted_mean", which divides each term by the
            sum of its own weights. (Center loss has none, so by N. Divided by Σ W_{y_i} it would, on Table 3's counts,
            be ten times stronger than the softmax term beside it, and collapses the embedding.)
        center_init: "class_means", "normal" or "zeros", see `fer_utils.losses.modules`.
        center_update: "paper" or "autograd", see `fer_utils.losses.modules`.
        seed: of the "normal" centres.
        focal_gamma: γ ≥ 0 of the focal loss.
        beta: β in [0, 1) of the effective number: class_balanced, ldam_drw.
        tau: τ ≥ 0 of logit_adjusted.
        max_margin, drw_start: of ldam_drw, see `LDAMLoss`.
        scale: of ldam_drw and arcface, whose logits must be `scale` times cosines (`FERNet(classifier="cosine")`).
        island_weight: λ₁ ≥ 0 of island loss.
        angular_margin: m of arcface, radians.

    Returns:
        Module with `forward(logits, features, targets)`, `update(features, targets)`, to be called once a batch, and
        `set_progress(progress)`, once an epoch.

    Raises:
        InputError: for an unknown name or choice, counts that are not positive, λ < 0, α ≤ 0.

    >>> import torch
    >>> loss = make_loss("weighted_cluster", counts=[30, 10], embedding_dim=4)
    >>> logits, features, targets = torch.zeros(6, 2), torch.ones(6, 4), torch.tensor([0, 0, 0, 0, 1, 1])
    >>> value = loss(logits, features, targets)
    >>> loss.update(features, targets)
    """
    check_choice("loss", name, LOSS_NAMES)
    weights = class_weights(counts)
    if cluster_weight is None:
        cluster_weight = CLUSTER_WEIGHTS.get(name, 0.0)
    checks.check_not_negative("cluster_weight (λ)", cluster_weight)

    centers = {
        "gamma": gamma,
        "reduction": reduction,
        "center_init": center_init,
        "center_update": center_update,
        "seed": seed,
    }
    if name == "focal":
        return JointLoss(FocalLoss(len(weights), focal_gamma, reduction))
    if name in ("balanced_softmax", "logit_adjusted"):
        return JointLoss(LogitAdjustedLoss(counts, 1.0 if name == "balanced_softmax" else tau, reduction))
    if name == "ldam_drw":
        return JointLoss(LDAMLoss(counts, max_margin, scale, beta, drw_start, reduction))
    if name == "arcface":
        return JointLoss(ArcFaceLoss(len(weights), angular_margin, scale, reduction))
    if name == "class_balanced":
        return JointLoss(WeightedSoftmaxLoss(effective_number_weights(counts, beta), reduction))
    plain = name in ("softmax", "center_softmax", "island_softmax")
    softmax = WeightedSoftmaxLoss(ones_like(weights) if plain else weights, reduction)
    if name == "weighted_cluster":
        return JointLoss(softmax, WeightedClusterLoss(weights, embedding_dim, alpha, **centers), cluster_weight)
    if name == "island_softmax":
        return JointLoss(softmax, IslandLoss(len(weights), embedding_dim, island_weight, **centers), cluster_weight)
    if name.startswith("center_"):
        return JointLoss(softmax, CenterLoss(len(weights), embedding_dim, **centers), cluster_weight)
    return JointLoss(softmax)
