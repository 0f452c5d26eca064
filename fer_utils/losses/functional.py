"""The paper's losses as pure functions.

Symbols: m samples (N in the shapes), k classes (C), d the embedding's size (D). A batch holds `features` x_i (N, D) and
`targets` y_i (N,); `centers` c_j (C, D) and `weights` W_j (C,) belong to the classes.

Targets may be soft: distributions q_i over the classes, (N, C), each ≥ 0 and of sum 1. A loss is then its expectation
over them; all weight on one class is that label.

Half-precision inputs are computed in float32 (also under autocast), distances are squared direct differences, and
nothing needs more memory than O(N·D + C·D) (soft targets: see `soft`).
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from fer_utils.errors import InputError, check_choice
from fer_utils.expressions import EXPRESSIONS, NUM_CLASSES
from fer_utils.losses import checks, soft
from fer_utils.losses.centers import at_least_float32, center_separation, offsets
from fer_utils.losses.reduction import REDUCTIONS, reduce_losses


def class_weights(counts) -> Tensor:
    r"""Weight of every class, from its number of training images (Eq. 6).

    $$W_c = N_{\min} / N_c$$

    so the rarest class weighs 1 and every other less. (The paper calls disgust the smallest class; by its Table 3 it is
    contempt.)

    Args:
        counts: images per class, (C,): tensor, array or sequence of positive numbers.

    Returns:
        float32 tensor (C,) in (0, 1].

    Raises:
        InputError: if `counts` is not one-dimensional or holds a class without images.

    >>> class_weights([40, 10, 20])
    tensor([0.2500, 1.0000, 0.5000])
    """
    counts = torch.as_tensor(counts, dtype=torch.float64)
    if counts.ndim != 1 or len(counts) < 2:
        raise InputError(f"expected counts of shape (C,) with C ≥ 2, one number a class; found {tuple(counts.shape)}")
    for label, count in enumerate(counts.tolist()):
        if not 0 < count < float("inf"):
            name = f"{EXPRESSIONS[label]!r} (class {label})" if len(counts) == NUM_CLASSES else f"class {label}"
            raise InputError(
                f"expected at least one training image in every class; found {count:g} for {name}: "
                "add images of it or choose a split that holds every class"
            )
    return (counts.min() / counts).float()


def weighted_softmax_loss(
    logits: Tensor, targets: Tensor, weights: Tensor | None = None, reduction: str = "mean"
) -> Tensor:
    r"""Weighted softmax loss (Eq. 1), the cross-entropy of every sample times the weight of its class.

    $$L = -\sum_i W_{y_i} \log \hat p_i, \qquad
      \text{soft targets:} \quad L = -\sum_i \sum_c q_{ic} W_c \log \hat p_{ic}$$

    Args:
        logits: (N, C), floating point, before the softmax.
        targets: (N,), int64 labels in 0…C−1; or q, (N, C), distributions.
        weights: (C,) positive class weights, see `class_weights`; None means W = 1 (the plain softmax loss).
        reduction: "none" → (N,); "sum" as printed; "mean" divides the sum by N; "weighted_mean" by Σ W_{y_i}, which is
            what `torch.nn.CrossEntropyLoss(weight=…)` does. On Table 3's counts a weighted mean is ten times a mean, so
            the choice decides the effective learning rate. Of soft targets it divides by Σ_i Σ_c q_ic W_c, of which
            labels are a case; `torch.nn.CrossEntropyLoss` divides weighted losses of distributions by N, as "mean".

    Returns:
        float32 (float64 for float64 logits): a scalar, or (N,) with "none".

    Raises:
        InputError: for wrong shapes or dtypes, labels out of range, rows that are no distribution or an unknown
            reduction.

    >>> logits = torch.tensor([[2.0, 0.0], [0.0, 0.0]])
    >>> weighted_softmax_loss(logits, torch.tensor([0, 1]), torch.tensor([0.5, 1.0]), reduction="none")
    tensor([0.0635, 0.6931])
    >>> weighted_softmax_loss(logits, torch.tensor([[1.0, 0.0], [0.6, 0.4]]), torch.tensor([0.5, 1.0]), "none")
    tensor([0.0635, 0.4852])
    """
    check_choice("reduction", reduction, REDUCTIONS)
    checks.check_logits(logits, targets, soft=True)
    checks.check_weights(weights, logits.shape[-1])
    logits = at_least_float32(logits)
    if soft.is_soft(targets):
        losses = F.cross_entropy(logits, targets.to(logits.dtype), weights, reduction="none")  # (N,), weighted
    else:
        losses = F.cross_entropy(logits, targets, reduction="none")  # (N,)
        if weights is not None:
            losses = losses * weights[targets]
    return reduce_losses(losses, targets, weights, reduction)


def center_loss(features: Tensor, targets: Tensor, centers: Tensor, reduction: str = "mean") -> Tensor:
    r"""Center loss (Eq. 2): half the squared distance of every feature to the centre of its class.

    $$L = \frac12 \sum_i \lVert x_i - c_{y_i} \rVert_2^2, \qquad
      \text{soft targets:} \quad L = \frac12 \sum_i \sum_c q_{ic} \lVert x_i - c_c \rVert_2^2$$

    Differentiable in features and centres; `update_centers_wen` moves the centres as its authors do.

    Args:
        features: (N, D), floating point, finite.
        targets: (N,), int64 labels in 0…C−1; or q, (N, C), distributions.
        centers: (C, D), floating point.
        reduction: as in `weighted_softmax_loss`; Eq. 2 has no weights, so "weighted_mean" is "mean".

    Returns:
        float32 (float64 for float64 features): a scalar, or (N,) with "none".

    Raises:
        InputError: for wrong shapes or dtypes, labels out of range, rows that are no distribution, features that are
            not finite.

    >>> features = torch.tensor([[3.0, 4.0], [1.0, 0.0]])
    >>> center_loss(features, torch.tensor([0, 1]), centers=torch.zeros(2, 2), reduction="none")
    tensor([12.5000,  0.5000])
    >>> center_loss(features[:1], torch.tensor([[0.5, 0.5]]), centers=torch.tensor([[0.0, 0.0], [3.0, 0.0]]))
    tensor(10.2500)
    """
    check_choice("reduction", reduction, REDUCTIONS)
    checks.check_batch(features, targets, centers)
    if soft.is_soft(targets):
        losses = 0.5 * soft.squared_distances(at_least_float32(features), targets, at_least_float32(centers))  # (N,)
    else:
        losses = 0.5 * offsets(features, targets, centers).square().sum(dim=1)  # (N,)
    return reduce_losses(losses, targets, None, reduction)


def weighted_cluster_loss(
    features: Tensor,
    targets: Tensor,
    centers: Tensor,
    weights: Tensor,
    alpha: float = 1.0,
    reduction: str = "mean",
) -> Tensor:
    r"""Weighted-cluster loss (Eq. 4), the paper's contribution: compact classes, over centres that lie far apart.

    $$L = \frac12 \sum_i W_{y_i} \frac{\lVert x_i - c_{y_i} \rVert_2^2}{D_{y_i} + \alpha}, \qquad
      D_j = \sum_{l \ne j} \lVert c_l - c_j \rVert_2^2$$

    and of soft targets

    $$L = \frac12 \sum_i \sum_c q_{ic} W_c \frac{\lVert x_i - c_c \rVert_2^2}{D_c + \alpha}$$

    The paper prints the sum over "j ≠ i"; i counts samples and j classes, so j ≠ y_i is meant. The loss is
    differentiable in the centres too: its full gradient pushes them apart, which the paper's own update
    (`update_centers`) does not.

    Args:
        features: (N, D), floating point, finite.
        targets: (N,), int64 labels in 0…C−1; or q, (N, C), distributions.
        centers: (C, D), floating point.
        weights: (C,) positive class weights, see `class_weights`.
        alpha: α > 0, keeps the denominator from 0.
        reduction: as in `weighted_softmax_loss`.

    Returns:
        float32 (float64 for float64 features): a scalar, or (N,) with "none".

    Raises:
        InputError: as `center_loss`, and for α ≤ 0.

    >>> features, centers = torch.tensor([[3.0], [1.0]]), torch.tensor([[0.0], [2.0]])
    >>> weighted_cluster_loss(features, torch.tensor([0, 1]), centers, torch.tensor([0.5, 1.0]), reduction="none")
    tensor([0.4500, 0.1000])
    >>> weighted_cluster_loss(features[:1], torch.tensor([[0.8, 0.2]]), centers, torch.tensor([0.5, 1.0]))
    tensor(0.3800)
    """
    check_choice("reduction", reduction, REDUCTIONS)
    checks.check_batch(features, targets, centers, weights)
    checks.check_alpha(alpha)
    scale = weights / (center_separation(centers) + alpha)  # (C,)
    if soft.is_soft(targets):
        losses = 0.5 * soft.squared_distances(at_least_float32(features), targets, at_least_float32(centers), scale)
    else:
        losses = 0.5 * scale[targets] * offsets(features, targets, centers).square().sum(dim=1)  # (N,)
    return reduce_losses(losses, targets, weights, reduction)
