"""The losses in plain Python, loop by loop as the papers print them, and batches to try them on.

A target is a distribution here: of a label, all of it on one class.
"""

import math

import torch
import torch.nn.functional as F

TABLE_3 = [74374, 133915, 24959, 13590, 5878, 3303, 24382, 3250]
FERPLUS = [8733, 7284, 3022, 3136, 536, 116, 2098, 120]
REDUCTIONS = ("none", "sum", "mean", "weighted_mean", 0.3)


def make_batch(seed=0, n=12, dim=6, classes=4, dtype=torch.float64, soft=False):
    """logits, features, targets, centers, weights."""
    random = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(*shape, generator=random, dtype=dtype)

    targets = torch.randint(classes, (n,), generator=random)
    if soft:
        votes = torch.randint(4, (n, classes), generator=random).to(dtype)  # zeros among them
        votes[:, 1] += 1
        targets = votes / votes.sum(dim=1, keepdim=True)
    weights = torch.rand(classes, generator=random, dtype=dtype) + 0.1
    return 3 * draw(n, classes), draw(n, dim), targets, draw(classes, dim), weights


def shares(targets, classes):
    return (F.one_hot(targets, classes) if targets.ndim == 1 else targets).tolist()


def dot(a, b):
    return sum(float(p) * float(q) for p, q in zip(a, b, strict=True))


def squared_distance(a, b):
    return sum((float(p) - float(q)) ** 2 for p, q in zip(a, b, strict=True))


def separation(centers, j):
    others = [center for other, center in enumerate(centers) if other != j]
    return sum(squared_distance(center, centers[j]) for center in others)


def log_loss(row, j):
    powers = [math.exp(float(z)) for z in row]
    return -math.log(powers[j] / sum(powers))


def reduced(value, targets, weights, reduction):
    """The batch's loss, from `value(i, j)` of image i for class j, which W_j weighs."""
    losses, mass = [], 0.0
    for i, row in enumerate(shares(targets, len(weights))):
        parts = [share * float(weight) for share, weight in zip(row, weights, strict=True)]
        losses.append(sum(part * value(i, j) for j, part in enumerate(parts) if part))
        mass += sum(parts)
    if reduction == "none":
        return torch.tensor(losses, dtype=torch.float64)
    divisors = {"sum": 1, "mean": len(losses), "weighted_mean": mass}
    divisor = divisors[reduction] if isinstance(reduction, str) else len(losses) * reduction
    return torch.tensor(sum(losses) / divisor, dtype=torch.float64)


def equation_9(features, targets, centers, weights, alpha, gamma, sign=1):
    """Eq. 8 and 9; with sign −1 as they are printed."""
    new = centers.clone()
    for j, center in enumerate(centers):
        for x, row in zip(features, shares(targets, len(centers)), strict=True):
            step = row[j] * weights[j] * (x - center) / (separation(centers, j) + alpha)
            new[j] += sign * gamma * step
    return new


def wens_rule(features, targets, centers, gamma):
    new = centers.clone()
    for j, center in enumerate(centers):
        column = [row[j] for row in shares(targets, len(centers))]
        pull = sum(q * (center - x) for q, x in zip(column, features, strict=True))
        new[j] -= gamma * pull / (1 + sum(column))
    return new


def assert_close(found, expected, tolerance=1e-11, note=""):
    found, expected = found.detach().double(), expected.detach().double()
    assert found.shape == expected.shape, note
    close = torch.allclose(found, expected, rtol=tolerance, atol=tolerance)
    assert close, f"{note}: found {found.tolist()} instead of {expected.tolist()}"
