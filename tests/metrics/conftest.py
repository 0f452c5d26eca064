"""Made labels and probabilities that the tests of metrics share."""

import numpy as np
import pytest


def made(seed=0, images=160, decimals=None, signal=0.6):
    """Unequal classes and informative probabilities; few decimals make ties."""
    random = np.random.default_rng(seed)
    targets = random.choice(8, images - 8, p=np.arange(8, 0, -1) / 36)
    targets = np.concatenate([np.arange(8), targets])
    scores = random.random((images, 8)) + signal * np.eye(8)[targets]
    scores = scores if decimals is None else np.round(scores, decimals) + 0.5
    return targets, scores / scores.sum(axis=1, keepdims=True)


EACH = np.repeat(np.arange(8), 3)
CASES = {
    "random": made(0, 300),
    "ties": made(1, 300, decimals=1),
    "perfect": (EACH, np.eye(8)[EACH]),
    "always happy": (EACH, np.eye(8)[np.ones(24, int)]),
    "uniform": (EACH, np.full((24, 8), 1 / 8)),
    "no contempt": tuple(part[made(2)[0] != 7] for part in made(2)),
    "two images": (np.array([0, 1]), np.eye(8)[[1, 0]]),
    "one class": (np.array([3, 3, 3]), np.eye(8)[[3, 3, 4]]),
    "one class, right": (np.array([3, 3]), np.eye(8)[[3, 3]]),
    "one image": (np.array([5]), np.eye(8)[[2]]),
}


@pytest.fixture(params=CASES)
def case(request):
    return CASES[request.param]


@pytest.fixture
def make():
    return made
