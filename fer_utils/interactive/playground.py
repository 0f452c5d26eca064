"""The loss playground: two-dimensional embeddings of a small unequal problem, a loss each.

`train` fits one network of two layers (10 → 32 → 2 → 5) per loss, all at once, and remembers every
step, so that they can be played side by side. It also knows Eq. 8, 9 as printed, sign and all.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from fer_utils import losses
from fer_utils.core import InputError, check_choice, paper

RULES = ("paper", "autograd", "printed")
NAMES = "ABCDE"  # classes, the largest first
IMAGES, INPUTS, HIDDEN = 400, 10, 32
BLOB_DISTANCE = 1.4  # standard deviation of the blobs' means, in blobs' own
TEST_PER_CLASS = 60
BATCH = 100
LEARNING_RATE, MOMENTUM = 0.15, 0.9
LARGEST_GRADIENT = 5.0  # norm: a slider at its end may not end in NaN
FARTHEST_CENTER = 1e6  # from there on it stays where it is


class Problem(NamedTuple):
    """C classes, unequal in training and balanced in the test."""

    inputs: Tensor  # (N, F), standardised
    targets: Tensor  # (N,), 0…C−1
    test_inputs: Tensor  # (C · 60, F), class by class


def toy_problem(imbalance: float = 40.0) -> Problem:
    """Overlapping Gaussian blobs; `imbalance` is largest over smallest class in training, ≥ 1.

    Another imbalance takes more or fewer of the same images, so that a slider changes nothing else.

    >>> toy_problem(imbalance=40).targets.bincount().tolist()
    [243, 97, 38, 15, 6]
    """
    if not imbalance >= 1:
        raise InputError(f"expected imbalance ≥ 1; found {imbalance}")
    shares = imbalance ** -np.linspace(0, 1, len(NAMES))
    sizes = np.maximum(np.rint(IMAGES * shares / shares.sum()).astype(int), 1)
    train, test = [], []
    for label, size in enumerate(sizes):
        random = np.random.default_rng([0, label])
        mean = BLOB_DISTANCE * random.normal(size=INPUTS)
        blob = mean + random.normal(size=(TEST_PER_CLASS + size, INPUTS))
        test.append(blob[:TEST_PER_CLASS])
        train.append(blob[TEST_PER_CLASS:])
    inputs, test_inputs = (torch.tensor(np.concatenate(blobs)) for blobs in (train, test))
    mean = inputs.mean(0)
    scale = (inputs - mean).std(correction=0)
    inputs, test_inputs = (((part - mean) / scale).float() for part in (inputs, test_inputs))
    return Problem(inputs, torch.tensor(np.repeat(np.arange(len(NAMES)), sizes)), test_inputs)


def traces(chosen, strength=1.0, alpha=1.0, gamma=1.0, rule="paper", **options) -> dict[str, dict]:
    """loss → its trace by `train`, computed again only if something that the loss knows changed."""
    centers = {"strength": strength, "gamma": gamma, "rule": rule}
    cluster = tuple(name for name in chosen if name == "weighted_cluster")
    center = tuple(name for name in chosen if name.startswith("center"))
    others = tuple(name for name in chosen if name not in cluster + center)
    found = train(others, **options) | train(center, **centers, **options)
    found |= train(cluster, **centers, alpha=alpha, **options)
    return {name: found[name] for name in chosen}


@lru_cache(maxsize=50)
def train(
    chosen: tuple[str, ...] = tuple(paper.LOSSES),
    imbalance: float = 40.0,
    strength: float = 1.0,
    alpha: float = 1.0,
    gamma: float = 1.0,
    rule: str = "paper",
    steps: int = 25,
    seed: int = 0,
) -> dict[str, dict]:
    """Fit a network per loss by SGD with Nesterov momentum, from one start on the same batches.

    Args:
        chosen, alpha: losses; α > 0 of Eq. 4.
        strength: λ ≥ 0 of the terms with centres, in units of the paper's (0.5; 1 for cluster).
        gamma: γ ≥ 0 of Eq. 9; with "autograd" the centres' learning rate.
        rule: how centres move: "paper" (the sign corrected), "autograd" (the loss's full gradient),
            or "printed" (Eq. 8, 9 literally: γ → −γ, of the cluster loss).

    Returns:
        loss → its trace, for `at`: `layers` before the first and after each of the T `steps`,
        `path` (T + 1, C, 2) of the centres, if any, and `start`, its first step with all of them.
    """
    check_choice("rule", rule, RULES)
    if steps < 1 or not gamma >= 0:
        raise InputError(f"expected steps ≥ 1 and gamma (γ) ≥ 0; found {steps} and {gamma}")
    if not chosen:
        return {}
    problem = toy_problem(imbalance)
    inputs, targets, _ = problem
    joint, shared = [], {"embedding_dim": 2, "alpha": alpha, "seed": seed}
    shared["center_update"] = "autograd" if rule == "autograd" else "paper"
    for name in chosen:
        own = {"cluster_weight": strength * paper.RECIPE["lambda"].get(name, 0.0)}
        own["gamma"] = -gamma if (rule, name) == ("printed", "weighted_cluster") else gamma
        joint.append(losses.make_loss(name, targets.bincount(), **shared, **own))
    layers, batches = _start(len(joint), len(targets), steps, seed)
    optimizer = torch.optim.SGD(layers, LEARNING_RATE, MOMENTUM, nesterov=True)
    centers = [parameter for loss in joint for parameter in loss.center_parameters()]
    if centers:
        group = {"params": centers, "lr": gamma, "momentum": 0, "nesterov": False}
        optimizer.add_param_group(group)
    seen = [_copy(layers, joint)]
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
        seen.append(_copy(layers, joint))
    came = nn.functional.one_hot(targets)[batches].sum(1).cumsum(0)  # (T, C)
    start, traces = int((came == 0).any(1).sum()) + 1, {}
    for place, name in enumerate(chosen):
        path = [moment[-1][place] for moment in seen if moment[-1][place] is not None]
        own = [[layer[place] for layer in moment[:-1]] for moment in seen]
        traces[name] = {"problem": problem, "start": start, "layers": own}
        traces[name]["path"] = np.reshape(path, (-1, len(NAMES), 2))
    return traces


def at(trace: dict, step: int = -1) -> dict:
    """A trace as it stood after a step, for `report.figure_playground`."""
    problem, layers = trace["problem"], trace["layers"][step]
    answers = _forward(layers, problem.test_inputs)[1].argmax(-1).view(-1, TEST_PER_CLASS)
    return {
        "features": _forward(layers, problem.inputs)[0].numpy(),
        "targets": problem.targets.numpy(),
        "names": NAMES,
        "output_weight": layers[4].T.numpy(),
        "output_bias": layers[5][0].numpy(),
        "recall": (answers.numpy() == np.arange(len(NAMES))[:, None]).mean(axis=1),
        "path": trace["path"][: step % len(trace["layers"]) + 1],
        "start": trace["start"],
    }


def _start(networks: int, images: int, steps: int, seed: int) -> tuple[list[Tensor], Tensor]:
    """Weights (K, in, out) and biases (K, 1, out) of K equal networks; batches (T, B)."""
    torch.set_num_threads(1)  # several would wait for each other longer than they compute
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        linear = [nn.Linear(INPUTS, HIDDEN), nn.Linear(HIDDEN, 2), nn.Linear(2, len(NAMES))]
        batches = torch.randint(images, (steps, BATCH))
    values = [value for layer in linear for value in (layer.weight.T, layer.bias[None])]
    return [value.detach().repeat(networks, 1, 1).requires_grad_() for value in values], batches


def _forward(layers: list[Tensor], inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Features (…, N, 2) and logits (…, N, C) of one network or K."""
    hidden = torch.tanh(inputs @ layers[0] + layers[1])  # (…, N, 32)
    features = hidden @ layers[2] + layers[3]
    return features, features @ layers[4] + layers[5]


def _clip(layers: list[Tensor]) -> None:
    """Each network's own gradient, to the largest norm."""
    norms = sum(layer.grad.square().sum((1, 2)) for layer in layers).sqrt()  # (K,)
    for layer in layers:
        layer.grad *= (LARGEST_GRADIENT / norms).clamp(max=1)[:, None, None]


def _copy(layers: list[Tensor], joint: list) -> list:
    """The layers and, last, the centres of each loss or None, as they stand."""
    centers = [
        None if loss.centers is None else loss.centers.detach().numpy().copy() for loss in joint
    ]
    return [*(layer.detach().clone() for layer in layers), centers]
