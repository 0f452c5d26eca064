"""The paper's networks: backbones, `FERNet` with its embedding, freezing, and a live description (Table 2, Fig. 1)."""

from fer_utils.models.backbones import (
    POOLS,
    STRIDES,
    Backbone,
    SEBottleneck,
    build_backbone,
    get_layout,
    resnet14,
    resnet50,
    se_resnet14,
    se_resnet50,
    set_layout,
)
from fer_utils.models.conversion import IMAGENET_INPUT, InputConversion, set_input_convention
from fer_utils.models.description import BASES, MIN_IMAGE_SIZE, describe
from fer_utils.models.fernet import EMBEDDING_ACTIVATIONS, EMBEDDING_NORMS, FERNet, freeze_stages
from fer_utils.models.stages import Stage
from fer_utils.models.zoo import TorchvisionBackbone

__all__ = [
    "BASES",
    "EMBEDDING_ACTIVATIONS",
    "EMBEDDING_NORMS",
    "IMAGENET_INPUT",
    "MIN_IMAGE_SIZE",
    "POOLS",
    "STRIDES",
    "Backbone",
    "FERNet",
    "InputConversion",
    "SEBottleneck",
    "Stage",
    "TorchvisionBackbone",
    "build_backbone",
    "describe",
    "freeze_stages",
    "get_layout",
    "resnet14",
    "resnet50",
    "se_resnet14",
    "se_resnet50",
    "set_input_convention",
    "set_layout",
]
