"""Networks: backbones, FERNet and freezing, pre-trained weights, export."""

# ruff: noqa: F401
from fer_utils.models.backbones import (
    IMAGENET_INPUT,
    build_backbone,
    resnet14,
    resnet50,
    se_resnet14,
    se_resnet50,
    small_resnet,
    small_se_resnet,
)
from fer_utils.models.export import EXPORT_FORMATS, export, load_network, write_onnx
from fer_utils.models.fernet import FERNet, describe, freeze_stages
from fer_utils.models.weights import (
    load_pretrained,
    load_weights,
    save_weights,
    se_from_resnet,
    weights_header,
)
