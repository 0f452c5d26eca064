"""Training: loaders and augmentation, the LightningModule (Algorithm 1), and `fit`."""

# ruff: noqa: F401, I001
from fer_utils.core import parameters
from fer_utils.training.augmentation import change, crop, evaluation_input
from fer_utils.training.augmentation import square_side, training_input
from fer_utils.training.data import FaceDataset, prepare_manifest
from fer_utils.training.fitting import Interrupted, build, fit
from fer_utils.training.module import CollapseWarning
