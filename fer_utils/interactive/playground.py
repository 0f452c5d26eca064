"""The loss playground: two-dimensional embeddings of a small unequal problem, a loss each.

`train` fits one network of two layers (F → 32 → 2 → C) per loss, all at once, and remembers every
step, so that they can be played side by side. It also knows Eq. 8, 9 as printed, sign and all.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from fer_utils import losses
from fer_utils.core import InputError, check_choice, paper

RULES = ("paper", "autograd", "printed")
HIDDEN = 32
INPUTS = 10
BLOB_DISTANCE = 1.4  # standard deviation of the blobs' means, in blobs' own
TEST_PER_CLASS = 60
BATCH = 100
LEARNING_RATE, MOMENTUM = 0.15, 0.9
LARGEST_GRADIENT = 5.0  # norm: a slider at its end may not end in NaN
FARTHEST_CENTER = 1e6  # from there on it stays where it is


class Problem(NamedTuple):
    """A problem of C classes, unequal in training and balanced in the test."""

    inputs: np.ndarray  # (N, F) float32, standardised
    targets: np.ndarray  # (N,) int64, 0…C−1
    test_inputs: np.ndarray  # (M, F)
    test_targets: np.ndarray  # (M,)
    names: tuple[str, ...]


def toy_problem(imbalance: float = 40.0, classes: int = 5, images: int = 400) -> Problem:
    """Overlapping Gaussian blobs in ten dimensions, their sizes geometric; 60 test images a class.

    Another imbalance takes more or fewer of the same images, so that a slider changes nothing else.

    Args:
        imbalance: largest over smallest class in training, ≥ 1.
        classes: C, named A (largest), B, C …
        images: training images in all, but for rounding.

    >>> problem = toy_problem(imbalance=40)
    >>> np.bincount(problem.targets).tolist(), np.bincount(problem.test_targets).tolist()
    ([243, 97, 38, 15, 6], [60, 60, 60, 60, 60])
    """
    if not imbalance >= 1:
        raise InputError(f"expected imbalance ≥ 1; found {imbalance}")
    sizes = imbalance ** -np.linspace(0, 1, classes)
    sizes = np.maximum(np.rint(images * sizes / sizes.sum()).astype(int), 1)
    train, test = [], []
    for label, size in enumerate(sizes):
        random = np.random.default_rng([0, label])
        mean = BLOB_DISTANCE * random.normal(size=INPUTS)
        test.append(mean + random.normal(size=(TEST_PER_CLASS, INPUTS)))
        train.append(mean + random.normal(size=(size, INPUTS)))
    inputs, test_inputs = np.concatenate(train), np.concatenate(test)
    mean = inputs.mean(axis=0)
    inputs, test_inputs = (
        ((values - mean) / (inputs - mean).std()).astype(np.float32)
        for values in (inputs, test_inputs)
    )
    targets, test_targets = (
        np.repeat(np.arange(classes), count) for count in (sizes, TEST_PER_CLASS)
    )
    return Problem(inputs, targets, test_inputs, test_targets, tuple("ABCDEFGHIJ"[:classes]))


def train(
    problem: Problem,
    chosen=tuple(paper.LOSSES),
    strength: float = 1.0,
    alpha: float = 1.0,
    gamma: float = 1.0,
    rule: str = "paper",
    center_init: str = "class_means",
    steps: int = 60,
    seed: int = 0,
) -> dict[str, dict]:
    """Fit a network per loss by SGD with Nesterov momentum, from one start on the same batches.

    Args:
        problem: of `toy_problem`.
        chosen: losses, of `losses.LOSS_NAMES`.
        strength: λ ≥ 0 of the terms with centres, in units of the paper's (0.5; 1 for cluster).
        alpha: α > 0 of Eq. 4.
        gamma: γ ≥ 0 of Eq. 9; with "autograd" the centres' learning rate.
        rule: how centres move: "paper" (the sign corrected), "autograd" (the loss's full gradient),
            or "printed" (Eq. 8, 9 literally: γ → −γ, of the cluster loss).
        center_init: "class_means", "normal" or "zeros".
        steps: T ≥ 1.
        seed: of network and batches.

    Returns:
        loss → its trace, before the first and after every step: `features` (T + 1, N, 2), `path` of
        the centres (T + 1, C, 2; no rows without centres) and `start`, its first step with all of
        them; `output_weight` (T + 1, C, 2), `output_bias`, `recall` (T + 1, C); `targets`, `names`.
    """
    check_choice("rule", rule, RULES)
    if steps < 1 or not gamma >= 0:
        raise InputError(f"expected steps ≥ 1 and gamma (γ) ≥ 0; found {steps} and {gamma}")
    inputs, targets = torch.from_numpy(problem.inputs), torch.from_numpy(problem.targets)
    counts, test_inputs = targets.bincount(), torch.from_numpy(problem.test_inputs)
    joint = [
        losses.make_loss(
            name,
            counts,
            embedding_dim=2,
            cluster_weight=strength * paper.RECIPE["lambda"].get(name, 0.0),
            alpha=alpha,
            gamma=-gamma if (rule, name) == ("printed", "weighted_cluster") else gamma,
            center_init=center_init,
            center_update="autograd" if rule == "autograd" else "paper",
            seed=seed,
        )
        for name in chosen
    ]
    layers, batches = _start(inputs.shape[1], len(counts), len(joint), len(targets), steps, seed)
    optimizer = torch.optim.SGD(layers, LEARNING_RATE, MOMENTUM, nesterov=True)
    centers = [parameter for loss in joint for parameter in loss.center_parameters()]
    if centers:
        group = {"params": centers, "lr": gamma, "momentum": 0, "nesterov": False}
        optimizer.add_param_group(group)
    seen = [_look(layers, inputs, test_inputs, joint)]
    for batch in batches:
        features, logits = _forward(layers, inputs[batch])
        parts = zip(joint, logits, features, strict=True)
        optimizer.zero_grad()
        sum(loss(*part, targets[batch]) for loss, *part in parts).backward()
        _clip(layers)
        optimizer.step()
        for loss, own in zip(joint, features.detach(), strict=True):
            if loss.centers is not None and loss.centers.abs().max() < FARTHEST_CENTER:
                loss.update(own, targets[batch])
        seen.append(_look(layers, inputs, test_inputs, joint))
    came = nn.functional.one_hot(targets, len(counts))[batches].sum(1).cumsum(0)  # (T, C)
    start = int((came == 0).any(1).sum()) + 1 if center_init == "class_means" else 0
    shared = {"targets": problem.targets, "names": problem.names, "start": start}
    own = np.eye(len(counts))[problem.test_targets]  # (M, C)
    traces = {}
    for place, name in enumerate(chosen):
        features, weight, bias, answers, path = (
            np.array([moment[part][place] for moment in seen]) for part in range(5)
        )
        traces[name] = shared | {
            "features": features,
            "path": path if joint[place].centers is not None else path[:0],
            "output_weight": weight,
            "output_bias": bias,
            "recall": (answers == problem.test_targets) @ own / own.sum(axis=0),
        }
    return traces


def at(trace: dict, step: int = -1) -> dict:
    """A trace as it stood after a step, for `report.figure_playground`."""
    step = step % len(trace["features"])
    moving = ("features", "output_weight", "output_bias", "recall")
    now = {name: trace[name][step] for name in moving}
    return trace | now | {"path": trace["path"][: step + 1]}


def _start(inputs: int, classes: int, networks: int, images: int, steps: int, seed: int):
    """Weights (K, in, out) and biases (K, 1, out) of K equal networks; batches (T, B)."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        linear = [nn.Linear(inputs, HIDDEN), nn.Linear(HIDDEN, 2), nn.Linear(2, classes)]
        batches = torch.randint(images, (steps, BATCH))
    values = [value for layer in linear for value in (layer.weight.T, layer.bias[None])]
    return [value.detach().repeat(networks, 1, 1).requires_grad_() for value in values], batches


def _forward(layers: list[Tensor], inputs: Tensor) -> tuple[Tensor, Tensor]:
    hidden = torch.tanh(inputs @ layers[0] + layers[1])  # (K, N, 32)
    features = hidden @ layers[2] + layers[3]  # (K, N, 2)
    return features, features @ layers[4] + layers[5]


def _clip(layers: list[Tensor]) -> None:
    """Each network's own gradient, to the largest norm."""
    norms = sum(layer.grad.square().sum((1, 2)) for layer in layers).sqrt()  # (K,)
    for layer in layers:
        layer.grad *= (LARGEST_GRADIENT / norms).clamp(max=1)[:, None, None]


@torch.no_grad()
def _look(layers: list[Tensor], inputs: Tensor, test_inputs: Tensor, joint: list) -> tuple:
    """Features, output weights and biases, answers to the test, and centres, of K networks."""
    output = (layers[4].mT.numpy().copy(), layers[5][:, 0].numpy().copy())
    answers = _forward(layers, test_inputs)[1].argmax(-1).numpy()
    centers = [
        np.zeros_like(output[0][0]) if loss.centers is None else loss.centers.numpy().copy()
        for loss in joint
    ]
    return _forward(layers, inputs)[0].numpy(), *output, answers, centers
