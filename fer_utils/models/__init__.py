"""Networks: backbones, FERNet and freezing, pre-trained weights, export."""

from fer_utils.models.backbones import (
    IMAGENET_INPUT,
    build_backbone,
    get_layout,
    resnet14,
    resnet50,
    se_resnet14,
    se_resnet50,
    set_input_convention,
    set_layout,
    small_resnet,
    small_se_resnet,
)
from fer_utils.models.export import EXPORT_FORMATS, export, load_network, read_metadata, write_onnx
from fer_utils.models.fernet import FERNet, describe, freeze_stages, unfolded
from fer_utils.models.weights import load_pretrained, load_weights, save_weights, se_from_resnet

__all__ = [
    "EXPORT_FORMATS",
    "IMAGENET_INPUT",
    "FERNet",
    "build_backbone",
    "describe",
    "export",
    "freeze_stages",
    "get_layout",
    "load_network",
    "load_pretrained",
    "load_weights",
    "read_metadata",
    "resnet14",
    "resnet50",
    "save_weights",
    "se_from_resnet",
    "se_resnet14",
    "se_resnet50",
    "set_input_convention",
    "set_layout",
    "small_resnet",
    "small_se_resnet",
    "unfolded",
    "write_onnx",
]
