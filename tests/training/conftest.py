"""A tiny run on drawn faces, quick on one thread."""

import pytest
import torch

from fer_utils import training
from fer_utils.core import parameters

TINY = {
    "study": "test", "run": "one", "train_images": 72, "validation_images": 40, "test_images": 40,
    "image_size": 32, "epochs": 2, "batch_size": 24, "learning_rate": 0.02, "device": "cpu",
    "threads": 1, "embedding_dim": 16, "data_options": {"subjects": 20},
}  # fmt: skip


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture
def tiny():
    """Run parameters as a dict, for `fit`."""
    return dict(TINY)


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A finished run of the weighted-cluster loss, not to be changed."""
    return training.fit(parameters(TINY), tmp_path_factory.mktemp("finished"))
