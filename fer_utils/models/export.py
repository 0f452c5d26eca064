"""A finished run's network as one file for use elsewhere, compared with PyTorch."""

import json
from importlib import metadata
from pathlib import Path

import onnx
import onnxruntime
import torch
from torch import Tensor

from fer_utils.core import EXPRESSIONS, InputError, Run, RunParameters, atomic_write, check_choice
from fer_utils.models.backbones import IMAGENET_INPUT, build_backbone
from fer_utils.models.fernet import FERNet
from fer_utils.models.weights import load_weights, save_weights

EXPORT_FORMATS = ("safetensors", "onnx")
OUTPUTS = ("logits", "features")
TOLERANCE = 1e-4  # of logits; of features relative to the largest, where that is above 1
METADATA = "fer_utils.json"  # the entry in a file's header


def export(run: Run, format: str = "safetensors", folder: Path | str | None = None) -> Path:
    """Write a finished run's network to one file.

    It takes float32 `images` (N, 3, S, S), normalised as `IMAGENET_INPUT` says, to `logits` (N, C)
    and `features` (N, D). What the weights want to see instead the network computes itself.

    Args:
        run: a finished run.
        format: one of `EXPORT_FORMATS`.
        folder: where to; default: `export/` in the run's folder.

    Returns:
        path `<folder>/<study>-<run>.<format>`.

    Raises:
        InputError: for an unknown format, an unfinished run, a folder that cannot be written, or a
            file whose outputs differ from PyTorch's by more than 1e-4; nothing is left then.
    """
    check_choice("export format", format, EXPORT_FORMATS)
    network = load_network(run)
    folder = Path(folder) if folder else run.path("export")
    path = folder / f"{run.study}-{run.name}.{format}"
    about = json.dumps(_describe(run, network, format), indent=2)
    try:
        with atomic_write(path) as temporary:
            if format == "onnx":
                write_onnx(network, run.params.image_size, temporary, {METADATA: about})
            else:
                save_weights(network, temporary, {METADATA: about})
                load_weights(_blank(run), temporary)
    except OSError as error:
        raise InputError(
            f"expected a folder that can be written, found {folder} ({error.strerror or error})"
        ) from None
    return path


def load_network(run: Run) -> FERNet:
    """The network of a finished run with its best weights: on the CPU, in evaluation mode."""
    network = _blank(run)
    load_weights(network, run.require("best.safetensors"))
    return network


def write_onnx(network: FERNet, size: int, path: Path, entries: dict[str, str]) -> None:
    """Write a network for squares of `size` pixels as ONNX, and compare it with PyTorch.

    Args:
        network: in evaluation mode.
        size: side of the images.
        path: the file.
        entries: what to keep in the file's metadata.
    """
    images = torch.randn(5, 3, size, size, generator=torch.Generator().manual_seed(0))
    program = torch.onnx.export(
        network,
        (images,),
        dynamo=True,
        verbose=False,
        input_names=["images"],
        output_names=OUTPUTS,
        dynamic_shapes=({0: "batch"},),
    )
    model = program.model_proto
    model.graph.ClearField("metadata_props")
    for node in model.graph.node:
        node.ClearField("metadata_props")  # stack traces, with paths of this machine
    onnx.helper.set_model_props(model, entries)
    onnx.save(model, path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for batch in (images, images[:1]):
        found = session.run(OUTPUTS, {"images": batch.numpy()})
        _check_equal([torch.from_numpy(output) for output in found], network(batch))


def read_metadata(path: Path | str) -> dict:
    """What `export` wrote into an ONNX file besides the network.

    Raises:
        InputError: for a missing file, or one that `export` did not write.
    """
    try:
        model = onnx.load(path, load_external_data=False)
        entries = {entry.key: entry.value for entry in model.metadata_props}
        return json.loads(entries[METADATA])
    except Exception as error:  # a stranger's bytes
        what = " ".join(str(error).split())[:80]
        raise InputError(
            f"expected an ONNX file written by export, found {path} ({what})"
        ) from None


def _blank(run: Run) -> FERNet:
    params, about = run.params, run.read_json("architecture.json")
    backbone = build_backbone(params.architecture, params.image_size)
    network = FERNet(backbone, num_classes=about["num_classes"], **_options(params))
    return network.eval().requires_grad_(False)


def _options(params: RunParameters) -> dict:
    """What `FERNet` needs besides its backbone and classes."""
    return {
        "embedding_dim": params.embedding_dim,
        "embedding_activation": params.embedding_activation,
        "embedding_norm": params.embedding_norm,
        "classifier": params.classifier,
        "logit_scale": params.loss_options.get("scale", 30.0),
    }


def _describe(run: Run, network: FERNet, format: str) -> dict:
    params = run.params
    engine = f"ONNX Runtime {metadata.version('onnxruntime')}" if format == "onnx" else "a copy"
    content = {
        "study": run.study,
        "run": run.name,
        "dataset": params.dataset,
        "git_commit": run.read_json("environment.json")["git_commit"],
        "classes": EXPRESSIONS if params.target == "label" else None,
        "num_classes": network.num_classes,
        "image_size": params.image_size,
        "crop_pct": params.crop_pct,
        "input": {"channels": "RGB", **IMAGENET_INPUT},
        "input_convention": network.backbone.input_convention,
        "architecture": network.backbone.architecture,
        "embedding_dim": network.embedding_dim,
        "network": _options(params),
        "box_margin": params.data_option("box_margin"),
        "measured_on": params.evaluation,
        "metrics": run.read_json("metrics.json"),
        "equality": f"outputs within {TOLERANCE:g} of PyTorch {torch.__version__} in {engine}",
    }
    return json.loads(json.dumps(content), parse_constant=lambda _: None)  # NaN is no JSON


def _check_equal(found: list[Tensor], expected: tuple[Tensor, Tensor]) -> None:
    scales = (1.0, max(1.0, float(expected[1].abs().max())))
    for output, ours, theirs, scale in zip(OUTPUTS, found, expected, scales, strict=True):
        difference = float((ours - theirs).abs().max()) / scale
        if not difference <= TOLERANCE:
            raise InputError(
                f"expected {output} within {TOLERANCE:g} of PyTorch's, found them {difference:.2g} "
                "apart; nothing was written: try other versions of torch and onnxscript"
            )
