"""The network that is fine-tuned (Table 2): backbone, embedding, output layer; freezing, export.

Stages are numbered as in Table 2: 1 is the first convolution, the others are residual stages.
"""

import json
from collections import OrderedDict
from functools import partial
from pathlib import Path

import onnx
import onnxruntime
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fer_utils.core import EXPRESSIONS, InputError, Run, atomic_write, check_choice, require
from fer_utils.models import backbones
from fer_utils.models.backbones import Stage, build_backbone
from fer_utils.models.weights import load_pretrained, load_weights, save_weights

EXPORT_FORMATS = ("safetensors", "onnx")
OUTPUTS = ["logits", "features"]
METADATA = "fer_utils.json"  # the entry in an exported file's header


class FERNet(nn.Module):
    """Images (N, 3, H, W) → logits (N, C) and features (N, D), the paper's "deep feature" x_i.

    Args:
        backbone: a name, or a module from `build_backbone`.
        embedding_dim, num_classes: D and C.
        embedding_activation: "none" or "relu"; the paper does not say.
        embedding_norm: "none", or "batch": batch norm without scale and shift, which keeps any loss
            from shrinking all features to a point.
        classifier: "linear" (the paper's) or "cosine" (`logit_scale` times the cosine of features
            and class vectors), which margin losses expect.
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
    """Freeze stages 1…n (3 of 5 in the paper): weights, batch-norm statistics and autograd graph.

    All others are unfrozen. Nothing is recorded for the backward pass before the first of them.
    """
    stages = model.stages()
    has = f"from 0 to {len(stages)}, which {model.backbone.architecture} has"
    good = isinstance(n, int) and 0 <= n <= len(stages)
    require(good, f"a number of frozen stages {has}", repr(n))
    model.frozen_stages = n
    for number, stage in enumerate(stages, start=1):
        for parameter in stage.parameters():
            parameter.requires_grad_(number > n)
    return model.train(model.training)


@torch.no_grad()
def describe(model: FERNet, image_size: int) -> dict:
    """The live model, as Table 2 and Fig. 1 show it, for JSON: a forward pass tells the sizes.

    `base` is the network of Tables 5 and 6; a stage's `output` leaves out N.
    """
    require(image_size >= 32, "an image_size of at least 32", image_size)
    stages = {f"stage {number}": stage for number, stage in enumerate(model.stages(), start=1)}
    stages["embedding"] = Stage([model.embedding], f"{model.backbone.pooling}, fully connected")
    stages["output"] = Stage([model.output], "fully connected, softmax")
    rows, hooks = [], []

    def note_output(row: dict, module: nn.Module, inputs: tuple, output: Tensor) -> None:
        row["output"] = list(output.shape[1:])

    for name, stage in stages.items():
        weights = stage.parameters()
        row = {"name": name, "modules": stage.words, "repeat": stage.repeat}
        row["parameters"] = sum(weight.numel() for weight in weights)
        row["frozen"] = not any(weight.requires_grad for weight in weights)
        rows.append(row)
        hooks.append(stage.blocks[-1].register_forward_hook(partial(note_output, row)))
    training = model.training
    model.eval()(next(model.parameters()).new_zeros(1, 3, image_size, image_size))
    model.train(training)
    for hook in hooks:
        hook.remove()
    base = architecture = model.backbone.architecture
    if not isinstance(model.backbone, backbones.TorchvisionBackbone):
        base = "se_resnet50" if "se_" in architecture else "resnet50"
    found = {"base": base, "architecture": architecture, "image_size": image_size}
    own = {name: getattr(model, name) for name in ("frozen_stages", "embedding_dim", "num_classes")}
    return found | own | {"stages": rows}


def se_from_resnet(source: Path | str, target: Path | str, architecture="se_resnet50") -> Path:
    """Write weights of an SE-ResNet that computes what a pre-trained ResNet computes.

    Every gate begins at sigmoid(0) = 1/2 and the batch norm before it is doubled, so the product is
    the same, bit for bit; the gates are then free to learn. `source` is as of `load_pretrained`.
    """
    check_choice("architecture", architecture, ("se_resnet50", "se_resnet14"))
    require(Path(target).suffix == ".safetensors", "a .safetensors file to write", target)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # of the gates' first layer, without effect until the second learns
        plain, gated = FERNet(architecture.removeprefix("se_")), FERNet(architecture)
    report = load_pretrained(plain.backbone, source)
    gated.backbone.layout = report["layout"]
    gated.backbone.input.set(report["input_convention"])
    gated.backbone.load_state_dict(plain.backbone.state_dict(), strict=False)  # all but the gates
    for block in gated.backbone.modules():
        if isinstance(block, backbones.SEBottleneck):
            nn.init.zeros_(block.se.fc2.weight)
            block.bn3.weight.data *= 2
            block.bn3.bias.data *= 2
    return save_weights(gated, target, {"grafted_from": plain.backbone.architecture})


def export(run: Run, format: str = "safetensors", folder: Path | str | None = None) -> Path:
    """Write a finished run's network to `<folder>/<study>-<run>.<format>`, `export/` in the run's.

    It takes float32 `images` (N, 3, S, S), normalised as `IMAGENET_INPUT` says, to `logits` (N, C)
    and `features` (N, D). `InputError` where ONNX differs from PyTorch.
    """
    check_choice("export format", format, EXPORT_FORMATS)
    network = load_network(run)
    entries = {METADATA: json.dumps(_describe(run, network), indent=2)}
    path = Path(folder or run.path("export")) / f"{run.study}-{run.name}.{format}"
    try:
        if format == "onnx":
            return write_onnx(network, run.params.image_size, path, entries)
        return save_weights(network, path, entries)
    except OSError as error:
        raise InputError(f"expected to write to {path.parent}, found {error}") from None


def load_network(run: Run) -> FERNet:
    """The network of a finished run with its best weights: on the CPU, in evaluation mode."""
    path, built = run.require("best.safetensors"), run.read_json("architecture.json")
    backbone = build_backbone(run.params.architecture, run.params.image_size)
    network = FERNet(backbone, num_classes=built["num_classes"], **_head(run))
    load_weights(network, path)
    return network.eval().requires_grad_(False)


@torch.no_grad()
def write_onnx(network: FERNet, size: int, path: Path, entries: dict[str, str]) -> Path:
    """Write a network in evaluation mode for images of a size as ONNX, compared with PyTorch."""
    images = torch.randn(5, 3, size, size, generator=torch.Generator().manual_seed(0))
    named = {"input_names": ["images"], "output_names": OUTPUTS, "dynamic_shapes": ({0: "batch"},)}
    program = torch.onnx.export(network, (images,), dynamo=True, verbose=False, **named)
    model = program.model_proto
    for part in (model.graph, *model.graph.node):
        part.ClearField("metadata_props")  # stack traces, with paths of this machine
    onnx.helper.set_model_props(model, entries)
    with atomic_write(path) as temporary:
        onnx.save(model, temporary)
        session = onnxruntime.InferenceSession(temporary, providers=["CPUExecutionProvider"])
        for batch in (images, images[:1]):
            found = map(torch.from_numpy, session.run(OUTPUTS, {"images": batch.numpy()}))
            for ours, theirs in zip(found, network(batch), strict=True):
                alike = torch.allclose(ours, theirs, rtol=1e-3, atol=1e-4)
                what = "further apart: not written; try other versions of torch and onnxscript"
                require(alike, "outputs within 1e-3 of PyTorch's", f"{path.name} {what}")
    return path


def _head(run: Run) -> dict:
    names = {"embedding_dim", "embedding_activation", "embedding_norm", "classifier"}
    scale = run.params.loss_options.get("scale", 30.0)
    return run.params.model_dump(include=names) | {"logit_scale": scale}


def _describe(run: Run, network: FERNet) -> dict:
    people = run.params.target == "subject"
    names = {"dataset", "image_size", "crop_pct", "flip_tta", "architecture", "embedding_dim"}
    content = {
        "study": run.study,
        "run": run.name,
        **run.params.model_dump(include=names),
        "git_commit": run.read_json("environment.json")["git_commit"],
        "classes": None if people else EXPRESSIONS,
        "num_classes": network.num_classes,
        "input": {"channels": "RGB", **backbones.IMAGENET_INPUT},
        "input_convention": network.backbone.input.convention,
        "network": _head(run),
        "box_margin": run.params.data_option("box_margin"),
        "measured_on": "validation" if people else run.params.evaluation,
        "metrics": run.read_json("metrics.json"),
    }
    return json.loads(json.dumps(content), parse_constant=lambda _: None)  # NaN is no JSON
