"""Networks: backbones, FERNet and freezing, weights in and out."""

# ruff: noqa: F401, I001
from fer_utils.models.backbones import IMAGENET_INPUT, build_backbone, resnet14, resnet50
from fer_utils.models.backbones import se_resnet14, se_resnet50, small_resnet, small_se_resnet
from fer_utils.models.fernet import EXPORT_FORMATS, FERNet, describe, export, freeze_stages
from fer_utils.models.fernet import load_network, se_from_resnet, write_onnx
from fer_utils.models.weights import load_pretrained, load_weights, save_weights, weights_header
