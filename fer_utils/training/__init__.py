"""Training: loaders and augmentation, the LightningModule (Algorithm 1), and `fit`."""

from fer_utils.core import parameters
from fer_utils.training.augmentation import (
    change,
    crop,
    evaluation_input,
    square_side,
    training_input,
)
from fer_utils.training.data import FaceDataset, prepare_manifest
from fer_utils.training.fitting import Interrupted, build, fit
from fer_utils.training.recorder import CollapseWarning

__all__ = [
    "CollapseWarning", "FaceDataset", "Interrupted", "build", "change", "crop", "evaluation_input",
    "fit", "parameters", "prepare_manifest", "square_side",
    "training_input",
]  # fmt: skip
