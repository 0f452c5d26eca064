"""The loss playground: a two-dimensional embedding of a small unequal problem, under several losses.

`train` fits one network of two layers (F → 32 → 2 → C) per loss, all at once, and remembers every
step, so that they can be played side by side. It also knows Eq. 8, 9 as printed, sign and all.
"""

import functools
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from fer_utils import datasets, losses
from fer_utils.core import EXPRESSIONS, InputError, check_choice, paper

RULES = ("paper", "autograd", "printed")
HIDDEN = 32
INPUTS = 10  # of the toy problem
BLOB_DISTANCE = 1.4  # standard deviation of the blobs' means, in blobs' own
TEST_PER_CLASS = 60
COMPONENTS = 40  # of the drawn faces
BATCH = 100
LEARNING_RATE, MOMENTUM = 0.15, 0.9
LARGEST_GRADIENT = 5.0  # norm: a slider at its end may not end in NaN
FARTHEST_CENTER = 1e6  # from there on it stays where it is


@dataclass(frozen=True)
class Problem:
    """A classification problem of C classes, unequal in training and balanced in the test."""

    inputs: np.ndarray  # (N, F) float32, standardised
    targets: np.ndarray  # (N,) int64, 0…C−1
    test_inputs: np.ndarray  # (M, F)
    test_targets: np.ndarray  # (M,)
    names: tuple[str, ...]


@dataclass(frozen=True)
class Trace:
    """What `train` saw of one loss, before the first and after every one of T steps."""

    features: np.ndarray  # (T + 1, N, 2) of the training images
    targets: np.ndarray  # (N,)
    path: np.ndarray  # (T + 1, C, 2) centres; (0, C, 2) without
    start: int  # first step at which every centre is there
    output_weight: np.ndarray  # (T + 1, C, 2)
    output_bias: np.ndarray  # (T + 1, C)
    recall: np.ndarray  # (T + 1, C) on the test images, 0–1
    names: tuple[str, ...]

    def at(self, step: int = -1) -> dict:
        """The fields as they stood after a step, for `report.figure_playground`."""
        step = step % len(self.features)
        moving = ("features", "output_weight", "output_bias", "recall")
        return {
            **vars(self),
            **{name: getattr(self, name)[step] for name in moving},
            "path": self.path[: step + 1],
        }


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
    labels = [np.repeat(np.arange(classes), count) for count in (sizes, TEST_PER_CLASS)]
    names = tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ"[:classes])
    return _standardised(np.concatenate(train), labels[0], np.concatenate(test), labels[1], names)


@functools.cache
def faces_problem(images: int = 800) -> Problem:
    """Drawn faces in Table 3's proportions, easy and rightly labelled, as 40 principal components."""
    manifest = datasets.read_synthetic(
        train=images, validation=0, test=TEST_PER_CLASS * len(EXPRESSIONS), image_size=32,
        label_noise=0.0, difficulty=0.1, proportions="table3", seed=0,
    )  # fmt: skip
    grey = datasets.load_images(manifest).mean(axis=3).reshape(len(manifest), -1)  # (N + M, 32²)
    labels, train = manifest["label"].to_numpy(), (manifest["split"] == "train").to_numpy()
    grey -= grey[train].mean(axis=0)
    _, _, directions = np.linalg.svd(grey[train], full_matrices=False)
    points = grey @ directions[:COMPONENTS].T
    points /= np.sqrt(points[train].std(axis=0))  # SGD sees the small components too
    return _standardised(points[train], labels[train], points[~train], labels[~train], EXPRESSIONS)


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
) -> dict[str, Trace]:
    """Fit a network per loss by SGD with Nesterov momentum, on the same batches from one start.

    Args:
        problem: of `toy_problem` or `faces_problem`.
        chosen: losses, of `losses.LOSS_NAMES`.
        strength: λ ≥ 0 of the terms with centres, in units of the paper's (0.5, and 1 for cluster).
        alpha: α > 0 of Eq. 4.
        gamma: γ ≥ 0 of Eq. 9; with "autograd" the centres' learning rate.
        rule: how centres move: "paper" (the sign corrected), "autograd" (the loss's full gradient),
            or "printed" (Eq. 8, 9 literally: γ → −γ, of the cluster loss).
        center_init: "class_means", "normal" or "zeros".
        steps: T ≥ 1.
        seed: of network and batches.

    Returns:
        name of the loss → `Trace`.
    """
    check_choice("rule", rule, RULES)
    if steps < 1 or not gamma >= 0:
        raise InputError(f"expected steps ≥ 1 and gamma (γ) ≥ 0; found {steps} and {gamma}")
    inputs, targets = torch.from_numpy(problem.inputs), torch.from_numpy(problem.targets)
    test_inputs, counts = torch.from_numpy(problem.test_inputs), targets.bincount()
    joint = {
        name: losses.make_loss(
            name, counts, embedding_dim=2, alpha=alpha, center_init=center_init, seed=seed,
            cluster_weight=strength * paper.RECIPE["lambda"].get(name, 0.0),
            gamma=-gamma if (rule, name) == ("printed", "weighted_cluster") else gamma,
            center_update="autograd" if rule == "autograd" else "paper",
        )
        for name in chosen
    }  # fmt: skip
    layers, batches = _start(inputs.shape[1], len(counts), len(joint), len(targets), steps, seed)
    optimizer = torch.optim.SGD(layers, LEARNING_RATE, MOMENTUM, nesterov=True)
    for one in joint.values():
        for centers in one.center_parameters():
            group = {"params": [centers], "lr": gamma, "momentum": 0, "nesterov": False}
            optimizer.add_param_group(group)
    seen = [_look(layers, inputs, test_inputs, joint)]
    for batch in batches:
        features = _embed(layers, inputs[batch])  # (K, B, 2)
        logits, labels = features @ layers[4] + layers[5], targets[batch]
        optimizer.zero_grad()
        parts = zip(joint.values(), logits, features, strict=True)
        sum(one(*part, labels) for one, *part in parts).backward()
        _clip(layers)
        optimizer.step()
        for one, own in zip(joint.values(), features.detach(), strict=True):
            if one.centers is not None and one.centers.abs().max() < FARTHEST_CENTER:
                one.update(own, labels)
        seen.append(_look(layers, inputs, test_inputs, joint))
    shown = (nn.functional.one_hot(targets, len(counts))[batches].sum(1).cumsum(0) > 0).all(1)
    start = int((~shown).sum()) + 1 if center_init == "class_means" else 0
    return {name: _trace(problem, seen, place, start) for place, name in enumerate(joint)}


def _start(inputs: int, classes: int, networks: int, images: int, steps: int, seed: int):
    """Weights (K, in, out) and biases (K, 1, out) of K equal networks; batches (T, B)."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        linear = [nn.Linear(inputs, HIDDEN), nn.Linear(HIDDEN, 2), nn.Linear(2, classes)]
        batches = torch.randint(images, (steps, BATCH))
    values = [value for layer in linear for value in (layer.weight.T, layer.bias[None])]
    return [value.detach().repeat(networks, 1, 1).requires_grad_() for value in values], batches


def _embed(layers: list, inputs: torch.Tensor) -> torch.Tensor:
    return torch.tanh(inputs @ layers[0] + layers[1]) @ layers[2] + layers[3]  # (K, N, 2)


def _clip(layers: list) -> None:
    """Each network's own gradient, to the largest norm."""
    norms = sum(layer.grad.square().sum((1, 2)) for layer in layers).sqrt()  # (K,)
    for layer in layers:
        layer.grad *= (LARGEST_GRADIENT / norms).clamp(max=1)[:, None, None]


@torch.no_grad()
def _look(layers: list, inputs, test_inputs, joint) -> tuple:
    centers = [
        None if one.centers is None else one.centers.clone().numpy() for one in joint.values()
    ]
    answers = (_embed(layers, test_inputs) @ layers[4] + layers[5]).argmax(-1)  # (K, M)
    output = (layers[4].clone().mT.numpy(), layers[5][:, 0].clone().numpy())
    return _embed(layers, inputs).numpy(), *output, answers.numpy(), centers


def _trace(problem: Problem, seen: list[tuple], place: int, start: int) -> Trace:
    features, weight, bias, answers, path = (
        [moment[part][place] for moment in seen] for part in range(5)
    )
    right = np.array(answers) == problem.test_targets  # (T + 1, M)
    own = np.eye(len(problem.names))[problem.test_targets]  # (M, C)
    return Trace(
        features=np.array(features),
        targets=problem.targets,
        path=np.empty((0, len(problem.names), 2)) if path[0] is None else np.array(path),
        start=start,
        output_weight=np.array(weight),
        output_bias=np.array(bias),
        recall=right @ own / own.sum(axis=0),
        names=problem.names,
    )


def _standardised(inputs, targets, test_inputs, test_targets, names) -> Problem:
    mean = inputs.mean(axis=0)
    scale = (inputs - mean).std()
    inputs, test_inputs = (
        ((values - mean) / scale).astype(np.float32) for values in (inputs, test_inputs)
    )
    return Problem(inputs, targets, test_inputs, test_targets, tuple(names))
