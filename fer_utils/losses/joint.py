"""The joint loss of Tables 5 and 6 (Eq. 3, 5): a softmax term and, maybe, λ · one with centres."""

from functools import partial

import torch
from torch import Tensor, nn

from fer_utils import core
from fer_utils.losses import baselines, batch, paper

LOSS_NAMES = core.LOSSES
REDUCTIONS = ("none", "sum", "mean", "weighted_mean", "balanced")
LOSS_OPTIONS = {
    "island_softmax": ("island_weight",),
    "focal": ("focal_gamma",),
    "class_balanced": ("beta",),
    "logit_adjusted": ("tau",),
    "ldam_drw": ("max_margin", "scale", "beta", "drw_start"),
    "arcface": ("angular_margin", "scale"),
}


class JointLoss(nn.Module):
    """Softmax term + λ · term with centres (Eq. 3, 5)."""

    def __init__(self, softmax: nn.Module, cluster: nn.Module | None, cluster_weight: float):
        super().__init__()
        self.softmax, self.cluster, self.cluster_weight = softmax, cluster, cluster_weight

    @property
    def weights(self) -> Tensor:
        return self.softmax.weights

    @property
    def centers(self) -> Tensor | None:
        return None if self.cluster is None else self.cluster.centers

    def center_parameters(self) -> list[nn.Parameter]:
        """The centres if the optimiser is to train them, else an empty list."""
        return list(self.parameters())

    def set_progress(self, progress: float) -> None:
        """Tell the loss before each epoch how much of the training is done, 0–1."""
        if isinstance(self.softmax, baselines.LDAMLoss):
            self.softmax.set_progress(progress)

    def forward(self, logits: Tensor, features: Tensor, targets: Tensor) -> Tensor:
        loss = self.softmax(logits, targets)
        if self.cluster is not None:
            loss = loss + self.cluster_weight * self.cluster(features, targets)
        return loss

    def update(self, features: Tensor, targets: Tensor) -> None:
        """Move the centres, once a training step (Algorithm 1, line 9)."""
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
    reduction: str = "weighted_mean",
    weight_power: float = 1.0,
    center_distance: str = "sum",
    normalize_embedding: bool = False,
    center_init: str = "class_means",
    center_update: str = "paper",
    seed: int = 0,
    **loss_options: float,
) -> JointLoss:
    """One of `LOSS_NAMES`; README.md beside this file is the table of losses and parameters.

    Args:
        counts: training images per class, (C,).
        cluster_weight: λ of the term with centres; None: its authors' (`LAMBDAS`).
        reduction: of both terms, see `batch`; "balanced" divides both by m · W̄ (`mean_weight`).
        seed: of centres that start "normal".
        **loss_options: constants of a baseline, by the names in `LOSS_OPTIONS`.
    """
    core.check_choice("loss", name, LOSS_NAMES)
    core.check_choice("reduction", reduction, REDUCTIONS)
    core.check_choice("center_distance", center_distance, ("sum", "mean"))
    for option in loss_options:
        core.check_choice(f"option of loss {name!r}:", option, LOSS_OPTIONS.get(name, ()))
    if cluster_weight is None:
        cluster_weight = core.LAMBDAS.get(name, 0.0)
    core.require(0 <= cluster_weight < float("inf"), "cluster_weight (λ) ≥ 0", cluster_weight)
    weights = paper.class_weights(counts, weight_power if "weighted" in name else 0)  # or W = 1
    if name == "class_balanced":
        weights = baselines.effective_number_weights(counts, **loss_options)
    if reduction == "balanced":
        reduction = paper.mean_weight(counts, weights)

    shape = len(weights), embedding_dim
    centers = {"reduction": reduction, "center_init": center_init, "center_update": center_update}
    centers |= {"normalize": normalize_embedding, "gamma": gamma, "seed": seed}
    term = partial(paper.WeightedSoftmaxLoss, weights, reduction)
    softmax, cluster = term(), None
    if name == "focal":
        softmax = term(partial(baselines.focal_loss, **loss_options))
    elif name == "arcface":
        softmax = term(partial(baselines.arcface_loss, **loss_options))
    elif name in ("balanced_softmax", "logit_adjusted"):
        counts = torch.as_tensor(counts, dtype=torch.float32)
        softmax = term(partial(baselines.logit_adjusted_loss, **loss_options), counts=counts)
    elif name == "ldam_drw":
        softmax = baselines.LDAMLoss(counts, reduction, **loss_options)
    elif name == "weighted_cluster":
        cluster = paper.WeightedClusterLoss(weights, embedding_dim, alpha, **centers)
    elif name == "island_softmax":
        cluster = baselines.IslandLoss(*shape, **loss_options, **centers)
    elif name.startswith("center_"):
        cluster = paper.CenterLoss(*shape, per_dimension=center_distance == "mean", **centers)
    loss = JointLoss(softmax, cluster, cluster_weight)

    with batch.local_reduction():  # a trial refuses bad constants now, not in the first batch
        loss(torch.zeros(1, len(weights)), torch.zeros(1, embedding_dim), torch.tensor([0]))
    return loss
