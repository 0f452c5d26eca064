import pytest

from fer_utils import recognising, runs
from fer_utils.training import fit

TINY = {
    "train_images": 64, "validation_images": 16, "test_images": 16, "image_size": 32, "subjects": 12, "epochs": 1,
    "batch_size": 16, "threads": 1, "difficulty": 0.0, "device": "cpu", "embedding_norm": "batch",
    "embedding_activation": "relu", "classifier": "cosine",
}  # fmt: skip


@pytest.fixture(scope="package")
def run(tmp_path_factory):
    """A run unlike the default in all that a file could get wrong, in a checkout of its own."""
    root = tmp_path_factory.mktemp("root")
    (root / "experiments").mkdir()
    (root / "pyproject.toml").touch()
    return fit(runs.parameters(TINY), root=root)


@pytest.fixture(scope="package")
def recogniser(run):
    return recognising.load_recogniser("explore/first", run.root)


@pytest.fixture(scope="package")
def drawn(tmp_path_factory):
    """A portrait, and a group of eight; no real face is needed: the detector finds drawn ones."""
    return recognising.draw_examples(tmp_path_factory.mktemp("drawn"))
