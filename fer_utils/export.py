"""A finished run's network as one file for use elsewhere: ONNX, safetensors, or `torch.export`'s pt2.

Each file takes images normalised as `fer_utils.transforms` does, holds what its user has to know (`read_metadata`), and
is compared with the PyTorch network before it appears.
"""

import importlib.util
import json
import zipfile
from importlib import metadata
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

from fer_utils import models, transforms
from fer_utils.errors import InputError, check_choice
from fer_utils.expressions import EXPRESSIONS
from fer_utils.files import replaced
from fer_utils.model_card import check_finished, evaluated_split, network_arguments, write_model_card
from fer_utils.models import FERNet
from fer_utils.runs import Run
from fer_utils.weights import load_weights, save_weights

FORMATS = ("onnx", "safetensors", "pt2")
OUTPUTS = ("logits", "features")
TOLERANCE = 1e-4  # of logits; of features relative to the largest, where that is above 1
METADATA = "fer_utils.json"  # the entry in a header (ONNX, safetensors), or the extra file's name (pt2)


def export(run: Run, format: str = "safetensors", folder: Path | str | None = None) -> Path:
    """Write a finished run's network to one file, and its model card beside it.

    The network is in evaluation mode: float32 `images` (N, 3, S, S), normalised as `fer_utils.transforms` does, to
    `logits` (N, C) and `features` (N, D). N is free, S is the run's `image_size`. What the weights want to see instead
    (`models.set_input_convention`) the network computes itself.

    Args:
        run: a finished run.
        format: "onnx", "safetensors" (weights alone: `weights.load_weights` and `load_pretrained` read it) or "pt2"
            (`torch.export`).
        folder: where to; default: `export/` in the run's folder.

    Returns:
        path `<folder>/<study>-<run>.<format>`, a whole file. Nothing is left where anything goes wrong.

    Raises:
        InputError: for an unknown format, an unknown or unfinished run, a folder that cannot be written, packages that
            are missing, or a file whose logits differ from PyTorch's by more than 1e-4. Without `onnxruntime` an ONNX
            file is not compared, and its metadata (`equality`) say so.

    >>> export(Run("explore", "first", root="."), "onxx")
    Traceback (most recent call last):
    fer_utils.errors.InputError: unknown export format 'onxx'; did you mean 'onnx'? Choose from: onnx, safetensors, pt2
    """
    check_choice("export format", format, FORMATS)
    if format == "onnx":
        _check_onnx()
    network = load_network(run)
    size = run.resolved.image_size
    images = torch.randn(5, 3, size, size, generator=torch.Generator().manual_seed(0))
    about = json.dumps({**_describe(run, network), "equality": _equality(format)}, indent=2)
    folder = Path(folder) if folder else run.path("export")
    path = folder / f"{run.study}-{run.name}.{format}"
    try:
        with replaced(path) as temporary:
            {"onnx": _write_onnx, "safetensors": _write_safetensors, "pt2": _write_pt2}[format](
                network, images, about, temporary
            )
            if format != "onnx" or _has_onnxruntime():
                for batch in (images, images[:1]):
                    _check_equal(_outputs(temporary, batch, run), network(batch), path.name)
            write_model_card(run, folder)
    except OSError as error:
        reason = error.strerror or error
        raise InputError(f"expected a folder that can be written, found {folder} ({reason}); name another") from error
    return path


def load_network(run: Run) -> FERNet:
    """The network of a finished run with its best weights, without reading any data.

    Args:
        run: a finished run.

    Returns:
        `FERNet` on the CPU, in evaluation mode, without gradients.

    Raises:
        InputError: for an unknown or unfinished run, or weights that do not fit it.
    """
    check_finished(run)
    network = _blank(run)
    load_weights(network, run.require("best.safetensors"))
    return network


def read_metadata(path: Path | str) -> dict:
    """What `export` wrote into a file besides the network, read without running it.

    Args:
        path: a file written by `export`; its ending says the format.

    Returns:
        dict: `study`, `run`, `dataset`, `git_commit`; `classes` (names in the order of the logits; None for a network
        of identities), `num_classes`; `input` (how to make the images), `input_convention` (what the network turns them
        into), `architecture`, `embedding_dim`; `network` (what `models.FERNet` needs besides the backbone),
        `box_margin` (the run's); `measured_on` (split), `metrics` (the run's `metrics.json`; None where undefined) and
        `equality`.

    Raises:
        InputError: for a missing file, another ending, or a file that `export` did not write.

    >>> read_metadata("nowhere.onnx")
    Traceback (most recent call last):
    fer_utils.errors.InputError: expected a file written by export, found none at nowhere.onnx; check the path
    """
    path = Path(path)
    check_choice("export format", path.suffix.removeprefix("."), FORMATS)
    if not path.is_file():
        raise InputError(f"expected a file written by export, found none at {path}; check the path")
    if path.suffix == ".onnx":
        _check_onnx()
    try:
        return json.loads(_read_entry(path))
    except Exception as error:  # each format's reader has its own errors for a stranger's bytes
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"expected a file written by export, found another at {path} ({reason}); export it") from error


def _blank(run: Run) -> FERNet:
    params = run.resolved
    backbone = models.build_backbone(params.architecture, params.image_size)
    return FERNet(backbone, **network_arguments(run)).eval().requires_grad_(False)


def _describe(run: Run, network: FERNet) -> dict:
    params = run.resolved
    resize, crop, _ = transforms.evaluation_transform(params.image_size).transforms
    content = {
        "study": run.study,
        "run": run.name,
        "dataset": params.dataset,
        "git_commit": run.read_json("environment.json")["git_commit"],
        "classes": EXPRESSIONS if params.target == "label" else None,
        "num_classes": network.num_classes,
        "input": {
            "name": "images",
            "dtype": "float32",
            "shape": ["N", 3, params.image_size, params.image_size],
            "channels": "RGB",
            "resize": f"shorter side to {resize.size[0]} pixels, bilinear, antialiased",
            "crop": f"centre, {crop.size[0]} × {crop.size[1]} pixels",
            "range": [0, 1],  # before the mean is taken off
            "mean": transforms.IMAGENET_MEAN,
            "std": transforms.IMAGENET_STD,
        },
        "input_convention": network.backbone.input_convention,
        "architecture": network.backbone.architecture,
        "embedding_dim": network.embedding_dim,
        "network": network_arguments(run),
        "box_margin": params.box_margin,
        "measured_on": evaluated_split(run),
        "metrics": run.read_json("metrics.json"),
    }
    return json.loads(json.dumps(content), parse_constant=lambda _: None)  # NaN is no JSON


def _equality(format: str) -> str:
    if format == "onnx" and not _has_onnxruntime():
        return "not compared with PyTorch: onnxruntime was not installed"
    engine = f"ONNX Runtime {metadata.version('onnxruntime')}" if format == "onnx" else "a reloaded copy"
    return f"logits within {TOLERANCE:g} of PyTorch {torch.__version__}, compared in {engine}"


def _write_onnx(network: FERNet, images: Tensor, about: str, path: Path) -> None:
    import onnx

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
    onnx.helper.set_model_props(model, {METADATA: about})
    onnx.save(model, path)


def _write_safetensors(network: FERNet, images: Tensor, about: str, path: Path) -> None:
    save_weights(network, path, {METADATA: about})


def _write_pt2(network: FERNet, images: Tensor, about: str, path: Path) -> None:
    program = torch.export.export(network, (images,), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},))
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # paths of this machine
    program.example_inputs = None
    with path.open("wb") as file:  # given the path, torch would put the temporary name inside
        torch.export.save(program, file, extra_files={METADATA: about})


def _read_entry(path: Path) -> str:
    if path.suffix == ".onnx":
        import onnx

        return {entry.key: entry.value for entry in onnx.load(path, load_external_data=False).metadata_props}[METADATA]
    if path.suffix == ".safetensors":
        with safe_open(path, framework="pt") as file:
            return (file.metadata() or {})[METADATA]
    with zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if name.endswith(f"/extra/{METADATA}")]
        return archive.read(names[0]).decode()


@torch.no_grad()
def _outputs(path: Path, images: Tensor, run: Run) -> list[Tensor]:
    """Logits and features of a written file."""
    if path.suffix == ".onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        return [torch.from_numpy(output) for output in session.run(OUTPUTS, {"images": images.numpy()})]
    if path.suffix == ".safetensors":
        network = _blank(run)
        load_weights(network, path)
    else:
        network = torch.export.load(path).module()
    return list(network(images))


def _check_equal(found: list[Tensor], expected: tuple[Tensor, Tensor], name: str) -> None:
    scales = (1.0, max(1.0, float(expected[1].abs().max())))
    for output, ours, theirs, scale in zip(OUTPUTS, found, expected, scales, strict=True):
        difference = float((ours - theirs).abs().max()) / scale if ours.shape == theirs.shape else float("inf")
        if not difference <= TOLERANCE:
            raise InputError(
                f"expected {output} of {name} within {TOLERANCE:g} of PyTorch's, found them {difference:.2g} apart; "
                "nothing was written: try another format, or other versions of torch and onnxscript"
            )


def _check_onnx() -> None:
    missing = [package for package in ("onnx", "onnxscript") if importlib.util.find_spec(package) is None]
    if missing:
        raise InputError(
            f"expected the packages onnx and onnxscript for the format 'onnx', found no {' and no '.join(missing)}; "
            f"install them: pip install {' '.join(missing)}"
        )


def _has_onnxruntime() -> bool:
    return importlib.util.find_spec("onnxruntime") is not None
