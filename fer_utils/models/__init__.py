"""The paper's networks: backbones, `FERNet` with its embedding, freezing, and a live description (Table 2, Fig. 1)."""

from fer_utils.models.backbones import (
    ARCHITECTURES,
    IMAGENET_INPUT,
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
    set_input_convention,
    set_layout,
)
from fer_utils.models.description import BASES, MIN_IMAGE_SIZE, describe
from fer_utils.models.fernet import EMBEDDING_ACTIVATIONS, EMBEDDING_NORMS, NUM_STAGES, FERNet, freeze_stages

__all__ = [
    "ARCHITECTURES",
    "BASES",
    "EMBEDDING_ACTIVATIONS",
    "EMBEDDING_NORMS",
    "IMAGENET_INPUT",
    "MIN_IMAGE_SIZE",
    "NUM_STAGES",
    "POOLS",
    "STRIDES",
    "Backbone",
    "FERNet",
    "SEBottleneck",
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
