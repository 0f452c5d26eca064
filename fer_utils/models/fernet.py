"""The network that is fine-tuned (Table 2): backbone, embedding, output layer; freezing of stages.

Stages are numbered as in Table 2: 1 is the first convolution, the others are residual stages.
"""

from collections import OrderedDict
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fer_utils.core import OWN_ARCHITECTURES, InputError, check_choice
from fer_utils.models.backbones import Stage, build_backbone


class FERNet(nn.Module):
    """Images (N, 3, H, W) → logits (N, C) and features (N, D), the paper's "deep feature" x_i.

    Args:
        backbone: a name, or a module from `build_backbone`.
        embedding_dim: D.
        num_classes: C.
        embedding_activation: "none" or "relu"; the paper does not say.
        embedding_norm: "none", or "batch": batch norm without scale and shift, which keeps any loss
            from shrinking all features to a point.
        classifier: "linear" (the paper's) or "cosine": logits are `logit_scale` times the cosine of
            features and class vectors, which margin losses expect.
        logit_scale: of the cosine classifier.
    """

    def __init__(
        self,
        backbone: str | nn.Module,
        embedding_dim: int = 512,
        num_classes: int = 8,
        embedding_activation: str = "none",
        embedding_norm: str = "none",
        classifier: str = "linear",
        logit_scale: float = 30.0,
    ):
        super().__init__()
        check_choice("classifier", classifier, ("linear", "cosine"))
        check_choice("embedding_activation", embedding_activation, ("none", "relu"))
        check_choice("embedding_norm", embedding_norm, ("none", "batch"))
        self.backbone = build_backbone(backbone) if isinstance(backbone, str) else backbone
        self.embedding_dim, self.num_classes = embedding_dim, num_classes
        embedding = OrderedDict(linear=nn.Linear(self.backbone.num_features, embedding_dim))
        if embedding_norm == "batch":
            embedding["norm"] = nn.BatchNorm1d(embedding_dim, affine=False)
        if embedding_activation == "relu":
            embedding["activation"] = nn.ReLU()
        self.embedding = nn.Sequential(embedding)
        if classifier == "cosine":
            self.output = CosineClassifier(embedding_dim, num_classes, logit_scale)
        else:
            self.output = nn.Linear(embedding_dim, num_classes)
        self.frozen_stages = 0

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        features = self.embedding(self.backbone(images))  # (N, D)
        return self.output(features), features

    def stages(self) -> list[Stage]:
        """The backbone's stages, in order."""
        return self.backbone.stages()

    def train(self, mode: bool = True) -> "FERNet":
        """As `nn.Module.train`, but frozen stages keep their batch-norm statistics."""
        super().train(mode)
        for stage in self.stages()[: self.frozen_stages]:
            for block in stage.blocks:
                block.eval()
        return self


class CosineClassifier(nn.Linear):
    """Output layer without bias: features (N, D) → `scale` · cosines with class vectors, (N, C)."""

    def __init__(self, embedding_dim: int, num_classes: int, scale: float = 30.0):
        super().__init__(embedding_dim, num_classes, bias=False)
        self.scale = scale

    def forward(self, features: Tensor) -> Tensor:
        return self.scale * F.linear(F.normalize(features), F.normalize(self.weight))


def freeze_stages(model: FERNet, n: int = 3) -> FERNet:
    """Freeze stages 1…n: weights, batch-norm statistics and autograd graph; unfreeze the others.

    Nothing is recorded for the backward pass before the first stage that is trained. The paper
    freezes 3 stages of 5.
    """
    stages = model.stages()
    if not isinstance(n, int) or not 0 <= n <= len(stages):
        raise InputError(
            f"expected a number of frozen stages from 0 to {len(stages)}, which "
            f"{model.backbone.architecture} has; found {n!r}"
        )
    model.frozen_stages = n
    for number, stage in enumerate(stages, start=1):
        for parameter in stage.parameters():
            parameter.requires_grad_(number > n)
    return model.train(model.training)


@torch.no_grad()
def describe(model: FERNet, image_size: int) -> dict:
    """The live model, as Table 2 and Fig. 1 show it: a real forward pass tells the sizes.

    JSON-serialisable. `base` is the network of Tables 5 and 6; a stage's `output` leaves out N.
    """
    if image_size < 32:
        raise InputError(f"expected an image_size of at least 32, found {image_size}")
    stages = {f"stage {number}": stage for number, stage in enumerate(model.stages(), start=1)}
    pooled = f"{model.backbone.pooling}, fully connected"
    stages["embedding"] = Stage([model.embedding], pooled)
    stages["output"] = Stage([model.output], "fully connected, softmax")
    rows, hooks = [], []
    for name, stage in stages.items():
        row = {
            "name": name,
            "modules": stage.words,
            "repeat": stage.repeat,
            "parameters": sum(parameter.numel() for parameter in stage.parameters()),
            "frozen": not any(parameter.requires_grad for parameter in stage.parameters()),
        }
        rows.append(row)
        hooks.append(stage.blocks[-1].register_forward_hook(partial(_note_output, row)))
    training = model.training
    model.eval()(next(model.parameters()).new_zeros(1, 3, image_size, image_size))
    model.train(training)
    for hook in hooks:
        hook.remove()
    base = architecture = model.backbone.architecture
    if architecture in OWN_ARCHITECTURES:
        base = "se_resnet50" if "se_" in architecture else "resnet50"
    return {
        "base": base,
        "architecture": architecture,
        "image_size": image_size,
        "frozen_stages": model.frozen_stages,
        "embedding_dim": model.embedding_dim,
        "num_classes": model.num_classes,
        "stages": rows,
    }


def _note_output(row: dict, module: nn.Module, inputs: tuple, output: Tensor) -> None:
    row["output"] = list(output.shape[1:])
