"""The network that is fine-tuned (Table 2): backbone, embedding, output layer; freezing of stages.

Stages are numbered as in Table 2: 1 is the first convolution, the others are residual stages.
"""

import contextlib
from collections import OrderedDict
from collections.abc import Iterable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck

from fer_utils.core import InputError, check_choice
from fer_utils.models.backbones import Stage, build_backbone

MIN_IMAGE_SIZE = 32
# The base of Tables 5 and 6 that a network of ours stands for.
BASES = {
    name: f"{gates}resnet50"
    for gates in ("se_", "")
    for name in (f"{gates}resnet50", f"{gates}resnet14", f"small_{gates}resnet")
}


class FERNet(nn.Module):
    """Images (N, 3, H, W) → logits (N, C) and features (N, D), the paper's "deep feature" x_i.

    Args:
        backbone: a name (see `build_backbone`), or a module with `num_features`.
        embedding_dim: D.
        num_classes: C.
        embedding_activation: "none" or "relu"; the paper does not say.
        embedding_norm: "none", or "batch": batch norm without scale and shift, which keeps any loss
            from shrinking all features to a point.
        classifier: "linear" (the paper's) or "cosine": logits are `logit_scale` times the cosine of
            features and class vectors, which margin losses expect.
        logit_scale: of the cosine classifier.

    >>> network = FERNet("small_resnet", embedding_dim=16).eval()
    >>> logits, features = network(torch.zeros(2, 3, 32, 32))
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
        check_choice("classifier", classifier, ("linear", "cosine"))
        check_choice("embedding_activation", embedding_activation, ("none", "relu"))
        check_choice("embedding_norm", embedding_norm, ("none", "batch"))
        self.backbone = build_backbone(backbone) if isinstance(backbone, str) else backbone
        if not hasattr(self.backbone, "num_features"):
            raise InputError(
                "expected a backbone with the attribute num_features, found "
                f"{type(self.backbone).__name__}: build it with build_backbone(name)"
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

    Nothing is recorded for the backward pass before the first stage that is trained. A frozen batch
    norm is folded into its convolution.

    Args:
        model: changed in place.
        n: 0 (train everything) to the network's number of stages; the paper freezes 3 of 5.

    Raises:
        InputError: for any other `n`.
    """
    stages = model.stages()
    if not isinstance(n, int) or not 0 <= n <= len(stages):
        raise InputError(
            f"expected a number of frozen stages from 0 to {len(stages)}, which "
            f"{model.backbone.architecture} has; found {n!r}"
        )
    model.frozen_stages = n
    _unfold(model)
    for number, stage in enumerate(stages, start=1):
        for parameter in stage.parameters():
            parameter.requires_grad_(number > n)
        if number <= n:
            _fold(stage.blocks)
    return model.train(model.training)


class _FoldedConv2d(nn.Conv2d):
    """A convolution that does the work of the frozen batch norm after it: one pass, not two.

    The folded weights are made anew at every step, so they are never out of date.
    """

    norm: tuple  # of the one batch norm: in a tuple, it is no submodule a second time

    def forward(self, x: Tensor) -> Tensor:
        (norm,) = self.norm
        if not norm.folded or norm.training:
            return super().forward(x)
        scale = norm.weight / (norm.running_var + norm.eps).sqrt()
        bias = norm.bias - norm.running_mean * scale
        weight = self.weight * scale[:, None, None, None]
        return F.conv2d(x, weight, bias, self.stride, self.padding, self.dilation, self.groups)


class _FoldedBatchNorm2d(nn.BatchNorm2d):
    folded = True

    def forward(self, x: Tensor) -> Tensor:
        return x if self.folded and not self.training else super().forward(x)


def _fold(blocks: Iterable[nn.Module]) -> None:
    for convolution, norm in _pairs(list(blocks)):
        if convolution.bias is None:
            convolution.__class__, norm.__class__ = _FoldedConv2d, _FoldedBatchNorm2d
            convolution.norm = (norm,)


def _unfold(module: nn.Module) -> None:
    for part in module.modules():
        if isinstance(part, _FoldedConv2d):
            part.__class__ = nn.Conv2d
            del part.norm
        elif isinstance(part, _FoldedBatchNorm2d):
            part.__class__ = nn.BatchNorm2d


@contextlib.contextmanager
def unfolded(module: nn.Module) -> Iterator[None]:
    """Within the block every part does its own work: to look at what comes between them."""
    norms = [part for part in module.modules() if isinstance(part, _FoldedBatchNorm2d)]
    for norm in norms:
        norm.folded = False
    try:
        yield
    finally:
        for norm in norms:
            norm.folded = True


def _pairs(blocks: list[nn.Module]) -> Iterator[tuple[nn.Conv2d, nn.BatchNorm2d]]:
    """Each convolution with the batch norm that alone sees its output."""
    rows = [blocks]  # of modules that run one after the other
    for part in (part for block in blocks for part in block.modules()):
        if isinstance(part, nn.Sequential):
            rows.append(list(part))
        elif isinstance(part, (BasicBlock, Bottleneck)):
            numbers = [number for number in (1, 2, 3) if hasattr(part, f"conv{number}")]
            rows += [[getattr(part, f"conv{n}"), getattr(part, f"bn{n}")] for n in numbers]
    for row in rows:
        for first, second in zip(row, row[1:], strict=False):
            if type(first) is nn.Conv2d and type(second) is nn.BatchNorm2d:
                yield first, second


@torch.no_grad()
def describe(model: FERNet, image_size: int) -> dict:
    """The live model, as Table 2 and Fig. 1 show it: a real forward pass tells the sizes.

    Args:
        model: not changed.
        image_size: side in pixels, at least 32.

    Returns:
        JSON-serialisable dict: `base`, `architecture`, `image_size`, `frozen_stages`,
        `embedding_dim`, `num_classes`, and `stages`, a list of dicts with `name`, `modules`,
        `repeat`, `output` (sizes without N), `parameters`, `frozen`.
    """
    if image_size < MIN_IMAGE_SIZE:
        raise InputError(f"expected an image_size of at least {MIN_IMAGE_SIZE}; found {image_size}")
    rows = [(f"stage {number}", stage) for number, stage in enumerate(model.stages(), start=1)]
    pooled = f"{model.backbone.pooling}, fully connected"
    rows.append(("embedding", Stage([model.embedding], pooled)))
    rows.append(("output", Stage([model.output], "fully connected, softmax")))
    outputs = {}

    def keep(name: str):
        return lambda module, args, out: outputs.__setitem__(name, list(out.shape[1:]))

    hooks = [stage.blocks[-1].register_forward_hook(keep(name)) for name, stage in rows]
    training = model.training
    try:
        model.eval()(next(model.parameters()).new_zeros(1, 3, image_size, image_size))
    finally:
        model.train(training)
        for hook in hooks:
            hook.remove()
    stages = [
        {
            "name": name,
            "modules": stage.words,
            "repeat": stage.repeat,
            "output": outputs[name],
            "parameters": sum(parameter.numel() for parameter in stage.parameters()),
            "frozen": not any(parameter.requires_grad for parameter in stage.parameters()),
        }
        for name, stage in rows
    ]
    architecture = model.backbone.architecture
    return {
        "base": BASES.get(architecture, architecture),
        "architecture": architecture,
        "image_size": image_size,
        "frozen_stages": model.frozen_stages,
        "embedding_dim": model.embedding_dim,
        "num_classes": model.num_classes,
        "stages": stages,
    }
