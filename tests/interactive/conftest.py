"""The shipped recogniser, and a run of a network that has hardly learnt."""

import pytest

from fer_utils import training
from fer_utils.interactive.classifier import load_classifier

TINY = {
    "study": "a",
    "run": "b",
    "dataset": "synthetic",
    "architecture": "small_se_resnet",
    "image_size": 32,
    "epochs": 1,
    "train_images": 80,
    "validation_images": 24,
    "test_images": 24,
    "threads": 1,
}


@pytest.fixture(scope="session")
def shipped():
    return load_classifier(threads=1)


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    root = tmp_path_factory.mktemp("checkout")
    (root / "experiments").mkdir()
    (root / "pyproject.toml").touch()
    return training.fit(TINY, root)
