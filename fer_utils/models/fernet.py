"""The network that is fine-tuned (Table 2): a backbone, the embedding, the output layer; and the freezing of stages.

Stages are numbered as in Table 2: 1 is the 7×7 convolution, 2–5 are torchvision's `layer1` (with the pool before it)
to `layer4`. Other networks of torchvision's have stages of their own, see `fer_utils.models.zoo`.
"""

from collections import OrderedDict

import torch.nn.functional as F
from torch import Tensor, nn

from fer_utils.errors import InputError, check_choice
from fer_utils.models.backbones import build_backbone
from fer_utils.models.folding import fold, unfold
from fer_utils.models.stages import Stage

EMBEDDING_ACTIVATIONS = ("none", "relu")
EMBEDDING_NORMS = ("none", "batch")
CLASSIFIERS = ("linear", "cosine")


class FERNet(nn.Module):
    """Backbone, embedding and output layer (Table 2): images (N, 3, H, W) → logits (N, C) and features (N, D).

    The features are the paper's "deep feature" x_i, which center loss and weighted-cluster loss act on.

    Args:
        backbone: a name (see `build_backbone`), or a module with `num_features`.
        embedding_dim: D.
        num_classes: C.
        embedding_activation: "none" or "relu"; the paper does not say.
        embedding_norm: "none", or "batch": batch norm without scale and shift before the activation. It fixes the
            features' total scatter, so no loss can shrink them all to a point. Needs at least two images a batch in
            training.
        classifier: "linear" (the paper's) or "cosine": logits are `logit_scale` times the cosine of features and class
            vectors, which margin losses such as LDAM expect.
        logit_scale: of the cosine classifier.

    Raises:
        InputError: for an unknown choice or a module without `num_features`.

    >>> import torch
    >>> logits, features = FERNet("resnet14", embedding_dim=16).eval()(torch.zeros(2, 3, 32, 32))
    >>> logits.shape, features.shape
    (torch.Size([2, 8]), torch.Size([2, 16]))
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
        check_choice("classifier", classifier, CLASSIFIERS)
        check_choice("embedding_activation", embedding_activation, EMBEDDING_ACTIVATIONS)
        check_choice("embedding_norm", embedding_norm, EMBEDDING_NORMS)
        self.backbone = build_backbone(backbone) if isinstance(backbone, str) else backbone
        if not hasattr(self.backbone, "num_features"):
            raise InputError(
                "expected a backbone with the attribute num_features (length of its pooled output); "
                f"found {type(self.backbone).__name__}: build it with build_backbone(name)"
            )
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
        """As `nn.Module.train`, but frozen stages stay in evaluation mode: their batch-norm statistics are fixed."""
        super().train(mode)
        if self.frozen_stages:
            for stage in self.stages()[: self.frozen_stages]:
                for module in stage.modules():
                    module.eval()
        return self


class CosineClassifier(nn.Linear):
    """Output layer without bias: features (N, D) → `scale` · cos(features, class vectors), (N, C).

    >>> import torch
    >>> torch.nn.init.eye_((layer := CosineClassifier(2, 2, scale=10.0)).weight).shape
    torch.Size([2, 2])
    >>> layer(torch.tensor([[3.0, 4.0]])).tolist()
    [[6.0, 8.0]]
    """

    def __init__(self, embedding_dim: int, num_classes: int, scale: float = 30.0):
        super().__init__(embedding_dim, num_classes, bias=False)
        self.scale = scale

    def forward(self, features: Tensor) -> Tensor:
        return self.scale * F.linear(F.normalize(features), F.normalize(self.weight))


def freeze_stages(model: FERNet, n: int = 3) -> FERNet:
    """Freeze stages 1…n: weights, batch-norm statistics and autograd graph; unfreeze the others.

    As neither the images nor a frozen parameter needs a gradient, autograd records nothing before the first stage that
    is trained: that saves its memory and its backward pass. (Gradients for the images can still be asked for.) A frozen
    batch norm is folded into its convolution (`fer_utils.models.folding`).

    Args:
        model: changed in place.
        n: 0 (train everything) to the network's number of stages (train embedding and output only); the paper freezes
            3 of 5.

    Returns:
        the model.

    Raises:
        InputError: for any other `n`.

    >>> model = freeze_stages(FERNet("resnet14"), 3)
    >>> model.backbone.layer2[0].conv1.weight.requires_grad, model.backbone.layer3[0].conv1.weight.requires_grad
    (False, True)
    """
    stages = model.stages()
    if not isinstance(n, int) or not 0 <= n <= len(stages):
        raise InputError(
            f"expected a number of frozen stages from 0 to {len(stages)}, which {model.backbone.architecture} has; "
            f"found {n!r}"
        )
    model.frozen_stages = n
    unfold(model)
    for number, stage in enumerate(stages, start=1):
        for parameter in stage.parameters():
            parameter.requires_grad_(number > n)
        if number <= n:
            fold(stage.blocks)
    return model.train(model.training)
