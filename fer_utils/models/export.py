"""A finished run's network as one file for use elsewhere: safetensors, or ONNX that was tried."""

import json
from pathlib import Path

import onnx
import onnxruntime
import torch

from fer_utils.core import EXPRESSIONS, InputError, Run, atomic_write, check_choice
from fer_utils.models.backbones import IMAGENET_INPUT, build_backbone
from fer_utils.models.fernet import FERNet
from fer_utils.models.weights import load_weights, save_weights

EXPORT_FORMATS = ("safetensors", "onnx")
OUTPUTS = ["logits", "features"]
METADATA = "fer_utils.json"  # the entry in a file's header
HEAD = {"embedding_dim", "embedding_activation", "embedding_norm", "classifier"}
DESCRIBED = {"dataset", "image_size", "crop_pct", "architecture", "embedding_dim"}


def export(run: Run, format: str = "safetensors", folder: Path | str | None = None) -> Path:
    """Write a finished run's network to `<folder>/<study>-<run>.<format>`.

    It takes float32 `images` (N, 3, S, S), normalised as `IMAGENET_INPUT` says, to `logits` (N, C)
    and `features` (N, D). What the weights want to see instead the network computes itself. The
    default folder is `export/` in the run's. `InputError` where ONNX differs from PyTorch.
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
    """Write a network in evaluation mode for `size` × `size` pixels as ONNX, compared with PyTorch.

    `entries` are kept in the file's metadata.
    """
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
                if not torch.allclose(ours, theirs, rtol=1e-3, atol=1e-4):
                    raise InputError(
                        f"expected outputs within 1e-3 of PyTorch's, found {path.name} further "
                        "apart: not written; try other versions of torch and onnxscript"
                    )
    return path


def _head(run: Run) -> dict:
    """What `FERNet` needs besides backbone and classes."""
    scale = run.params.loss_options.get("scale", 30.0)
    return run.params.model_dump(include=HEAD) | {"logit_scale": scale}


def _describe(run: Run, network: FERNet) -> dict:
    people = run.params.target == "subject"
    content = {
        "study": run.study,
        "run": run.name,
        **run.params.model_dump(include=DESCRIBED),
        "git_commit": run.read_json("environment.json")["git_commit"],
        "classes": None if people else EXPRESSIONS,
        "num_classes": network.num_classes,
        "input": {"channels": "RGB", **IMAGENET_INPUT},
        "input_convention": network.backbone.input.convention,
        "network": _head(run),
        "box_margin": run.params.data_option("box_margin"),
        "measured_on": "validation" if people else run.params.evaluation,
        "metrics": run.read_json("metrics.json"),
    }
    return json.loads(json.dumps(content), parse_constant=lambda _: None)  # NaN is no JSON
