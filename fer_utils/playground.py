"""The loss playground: a two-dimensional embedding of a small unequal problem, trained while a slider moves.

`train` fits a network of two layers (F → 32 → 2) with any of the paper's losses in a tenth of a second and returns all
that there is to see. It also knows the paper's Eq. 8, 9 as printed, whose sign is wrong (`rule="printed"`).
"""

import contextlib
import functools
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import nn

from fer_utils import datasets, losses
from fer_utils.errors import InputError, check_choice
from fer_utils.expressions import EXPRESSIONS

RULES = ("paper", "autograd", "printed")
HIDDEN = 32
INPUTS = 10  # of the toy problem
BLOB_DISTANCE = 1.4  # standard deviation of the blobs' means, in blobs' own
TEST_PER_CLASS = 60
COMPONENTS = 40
LEARNING_RATE = 0.15
MOMENTUM = 0.9
LARGEST_GRADIENT = 5.0  # norm: a slider at its end may not end in NaN
FARTHEST_CENTER = 1e6


@dataclass(frozen=True)
class Problem:
    """A classification problem of C classes, unequal in training and balanced in the test.

    >>> Problem(np.zeros((2, 3), "float32"), np.array([0, 1]), np.zeros((2, 3)), np.array([0, 1]), ("A", "B")).names
    ('A', 'B')
    """

    inputs: np.ndarray  # (N, F) float32, standardised
    targets: np.ndarray  # (N,) int64, 0…C−1
    test_inputs: np.ndarray  # (M, F) float32
    test_targets: np.ndarray  # (M,) int64
    names: tuple[str, ...]


@dataclass(frozen=True)
class Trace:
    """What `train` saw in T steps; arrays of NumPy, so that figures need no torch.

    >>> trace = train(toy_problem(), "softmax", steps=2)
    >>> trace.path.shape, trace.means.shape, trace.losses.shape
    ((0, 5, 2), (3, 5, 2), (2,))
    """

    features: np.ndarray  # (N, 2) of the training images, after the last step
    targets: np.ndarray  # (N,)
    test_features: np.ndarray  # (M, 2)
    test_targets: np.ndarray  # (M,)
    path: np.ndarray  # (T + 1, C, 2) centres before the first and after every step; (0, C, 2) without centres
    means: np.ndarray  # (T + 1, C, 2) class means of the training features at these moments
    start: int  # first row of `path` that holds every centre: 0, but class means come as their classes do
    output_weight: np.ndarray  # (C, 2)
    output_bias: np.ndarray  # (C,)
    recall: np.ndarray  # (C,) on the test images, 0–1
    names: tuple[str, ...]
    losses: np.ndarray  # (T,) of each step's batch


def toy_problem(imbalance: float = 40.0, classes: int = 5, images: int = 400, seed: int = 0) -> Problem:
    """Overlapping Gaussian blobs in ten dimensions, their sizes geometric; 60 test images a class.

    Another imbalance takes more or fewer of the same images, so that a slider changes nothing else.

    Args:
        imbalance: largest over smallest class in the training data, ≥ 1 (after rounding to whole images, about).
        classes: C ≥ 2, named A (largest), B, C …
        images: training images in all but for rounding, at least 10 a class on average.
        seed: of the blobs' places and images.

    Raises:
        InputError: for an argument out of range.

    >>> problem = toy_problem(imbalance=40)
    >>> np.bincount(problem.targets).tolist(), np.bincount(problem.test_targets).tolist()
    ([243, 97, 38, 15, 6], [60, 60, 60, 60, 60])
    """
    _check_at_least("imbalance", imbalance, 1)
    _check_at_least("classes", classes, 2)
    _check_at_least("images", images, 10 * classes)
    sizes = imbalance ** -np.linspace(0, 1, classes)
    sizes = np.maximum(np.rint(images * sizes / sizes.sum()).astype(int), 1)
    train, test = [], []
    for label, size in enumerate(sizes):
        random = np.random.default_rng([seed, label])
        mean = BLOB_DISTANCE * random.normal(size=INPUTS)
        test.append(mean + random.normal(size=(TEST_PER_CLASS, INPUTS)))
        train.append(mean + random.normal(size=(size, INPUTS)))
    names = tuple(chr(ord("A") + label) for label in range(classes))
    targets, test_targets = np.repeat(np.arange(classes), sizes), np.repeat(np.arange(classes), TEST_PER_CLASS)
    return _standardised(np.concatenate(train), targets, np.concatenate(test), test_targets, names)


@functools.lru_cache(maxsize=4)
def drawn_faces_problem(images: int = 800, size: int = 32, seed: int = 0) -> Problem:
    """Drawn faces with Table 3's proportions, as 40 principal components of their grey pixels; drawn once.

    Labels are right (no label noise) and the faces easy (difficulty 0.1): two dimensions have enough to do.

    Args:
        images: training images, at least 64; 60 test images a class, of other people, come on top.
        size: pixels a side, at least 24.
        seed: of the population.

    Raises:
        InputError: for an argument out of range.

    >>> drawn_faces_problem(images=64, size=24).inputs.shape
    (64, 40)
    """
    manifest = datasets.read_synthetic(
        train=images, validation=0, test=TEST_PER_CLASS * len(EXPRESSIONS), image_size=size, label_noise=0.0,
        difficulty=0.1, proportions="table3", seed=seed,
    )  # fmt: skip
    grey = datasets.load_images(manifest).mean(axis=3).reshape(len(manifest), -1)  # (N + M, size²)
    labels, train = manifest["label"].to_numpy(), (manifest["split"] == "train").to_numpy()
    grey -= grey[train].mean(axis=0)
    _, _, directions = np.linalg.svd(grey[train], full_matrices=False)
    points = grey @ directions[:COMPONENTS].T
    points /= np.sqrt(points[train].std(axis=0))  # halfway to equal scales: SGD sees the small components too
    return _standardised(points[train], labels[train], points[~train], labels[~train], EXPRESSIONS)


@contextlib.contextmanager
def _one_thread():
    """Matrices this small lose time to threads, seconds where the cores are busy."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@_one_thread()
def train(
    problem: Problem,
    loss: str = "weighted_cluster",
    cluster_weight: float = 1.0,
    alpha: float = 1.0,
    gamma: float = 1.0,
    rule: str = "paper",
    center_init: str = "class_means",
    steps: int = 25,
    batch_size: int = 100,
    seed: int = 0,
) -> Trace:
    """Fit F → 32 → 2 → C by SGD with Nesterov momentum, recording the centres after every step.

    Args:
        problem: see `toy_problem`, `drawn_faces_problem`.
        loss: one of `losses.LOSS_NAMES`.
        cluster_weight: λ ≥ 0 of the term with centres.
        alpha: α > 0 of Eq. 4.
        gamma: γ ≥ 0 of Eq. 9; with "autograd" the centres' learning rate.
        rule: "paper" (Eq. 8, 9 with the sign corrected), "autograd" (the loss's full gradient) or "printed" (Eq. 8, 9
            literally: γ → −γ; weighted_cluster only). Without centres it says nothing.
        center_init: "class_means", "normal" or "zeros".
        steps: T ≥ 1; training stops earlier where a centre leaves ± 1e6.
        batch_size: images drawn at random for a step, with replacement.
        seed: of network, batches and normal centres.

    Raises:
        InputError: for an unknown choice or an argument out of range.

    >>> trace = train(toy_problem(), steps=5)
    >>> trace.path.shape, trace.features.shape, trace.recall.shape
    ((6, 5, 2), (399, 2), (5,))
    """
    check_choice("rule", rule, RULES)
    check_choice("loss", loss, losses.LOSS_NAMES)
    for name, value, least in (("gamma (γ)", gamma, 0), ("steps", steps, 1), ("batch_size", batch_size, 1)):
        _check_at_least(name, value, least)
    if rule == "printed" and loss != "weighted_cluster":
        raise InputError(f"expected the loss 'weighted_cluster' with rule 'printed' (Eq. 8, 9 are its); found {loss!r}")
    classes = len(problem.names)
    inputs, targets = torch.from_numpy(problem.inputs), torch.from_numpy(problem.targets)
    counts = targets.bincount(minlength=classes)
    joint = losses.make_loss(
        loss, counts, embedding_dim=2, cluster_weight=cluster_weight, alpha=alpha,
        gamma=-gamma if rule == "printed" else gamma, center_init=center_init,
        center_update="autograd" if rule == "autograd" else "paper", seed=seed,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        embed = nn.Sequential(nn.Linear(inputs.shape[1], HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, 2))
        output = nn.Linear(2, classes)
        batches = torch.randint(len(targets), (steps, batch_size))
    layers = [*embed.parameters(), *output.parameters()]
    optimizer = torch.optim.SGD(layers, LEARNING_RATE, MOMENTUM, nesterov=True)
    if joint.center_parameters():
        group = {"params": joint.center_parameters(), "lr": gamma, "momentum": 0, "nesterov": False}
        optimizer.add_param_group(group)
    one_hot = nn.functional.one_hot(targets, classes)  # (N, C)
    path, means, values = [], [], []

    for batch in [*batches, None]:
        with torch.no_grad():
            features = embed(inputs)  # (N, 2)
        path.append([] if joint.centers is None else joint.centers.detach().numpy().copy())
        means.append((one_hot.T.float() @ features / counts[:, None]).numpy())
        if batch is None or not np.abs(path[-1]).max(initial=0) <= FARTHEST_CENTER:  # or NaN
            break
        chosen, labels = embed(inputs[batch]), targets[batch]
        value = joint(output(chosen), chosen, labels)
        optimizer.zero_grad()
        value.backward()
        nn.utils.clip_grad_norm_(layers, LARGEST_GRADIENT)
        optimizer.step()
        joint.update(chosen.detach(), labels)
        values.append(value.item())

    seen = one_hot[batches].sum(dim=1).cumsum(dim=0)  # (T, C) images so far
    with torch.no_grad():
        test_features = embed(torch.from_numpy(problem.test_inputs))
        right = output(test_features).argmax(dim=1).numpy() == problem.test_targets
    return Trace(
        features.numpy(), problem.targets, test_features.numpy(), problem.test_targets,
        path=np.empty((0, classes, 2)) if joint.centers is None else np.array(path),
        means=np.array(means),
        start=int((seen.amin(dim=1) == 0).sum()) + 1 if center_init == "class_means" else 0,
        output_weight=output.weight.detach().numpy(),
        output_bias=output.bias.detach().numpy(),
        recall=np.bincount(problem.test_targets, right) / np.bincount(problem.test_targets),
        names=problem.names,
        losses=np.array(values),
    )  # fmt: skip


def center_steps(counts, batch_size: int = 36, separation=0.0, alpha: float = 1.0) -> pd.DataFrame:
    r"""How far one update of Eq. 8, 9 is expected to take each class's centre to its mean, in parts of the way.

    $$s_c = \frac{m N_c}{N} \cdot \frac{W_c}{D_c + \alpha}$$

    is that part for γ = 1: 1 arrives, above 2 overshoots to farther away than before. Eq. 6's W cancels N_c, so that
    all classes make the same step and none needs to be divided by its count, as Wen et al. do.

    Args:
        counts: (C,) training images per class.
        batch_size: m.
        separation: D_c ≥ 0, one number or several.
        alpha: α > 0.

    Returns:
        DataFrame, a row a class and separation: `label`, `images`, `separation`, `weighted` (W of Eq. 6) and
        `unweighted` (W = 1).

    Raises:
        InputError: for counts that are not positive, α ≤ 0, separations or a batch below 0.

    >>> center_steps([30, 10], batch_size=8, separation=3)
       label  images  separation  weighted  unweighted
    0      0      30         3.0       0.5         1.5
    1      1      10         3.0       0.5         0.5
    """
    counts, separation = np.asarray(counts), np.atleast_1d(np.asarray(separation, dtype=float))
    weights = losses.class_weights(counts).double().numpy()
    losses.checks.check_alpha(alpha)
    _check_at_least("separation", separation.min(), 0)
    _check_at_least("batch_size", batch_size, 1)
    label, place = (grid.ravel() for grid in np.indices((len(counts), len(separation))))
    table = pd.DataFrame({"label": label, "images": counts[label], "separation": separation[place]})
    step = batch_size * table["images"] / counts.sum() / (table["separation"] + alpha)
    return table.assign(weighted=step * weights[label], unweighted=step)


def _standardised(inputs, targets, test_inputs, test_targets, names) -> Problem:
    mean = inputs.mean(axis=0)
    scale = (inputs - mean).std()
    inputs, test_inputs = ((values - mean) / scale for values in (inputs, test_inputs))
    return Problem(inputs.astype(np.float32), targets, test_inputs.astype(np.float32), test_targets, tuple(names))


def _check_at_least(name: str, value: float, least: float) -> None:
    if not value >= least:
        raise InputError(f"expected {name} ≥ {least}; found {value!r}")
