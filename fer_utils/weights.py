"""Pre-trained weights, read and written as safetensors (no pickle: nothing in a file can run).

Reading is strict: every tensor of the backbone must be in the file, in its shape; a head is left out on purpose and
the report says so. Strides and padding are set to what the weights were trained with (`models.set_layout`), and the
network converts its input to what they expect (`models.set_input_convention`).
"""

import json
import os
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision.models import ResNet50_Weights

from fer_utils.errors import InputError
from fer_utils.files import replaced
from fer_utils.models import IMAGENET_INPUT, Backbone, FERNet, get_layout, set_input_convention, set_layout

OWN_FORMAT = "fer_utils"
HEADS = ("embedding.", "output.", "fc.", "classifier.")
# May be absent: batch norm's step counter (of no effect here), and the input conversion, set from the header instead.
OPTIONAL = ("num_batches_tracked", "input_scale", "input_shift")

# Version 1, the weights of the paper's time; version 2 came in 2021 with a longer recipe.
IMAGENET_WEIGHTS = ResNet50_Weights.IMAGENET1K_V1


def load_pretrained(backbone: Backbone, source: str | os.PathLike) -> dict:
    """Load pre-trained weights into a backbone.

    Args:
        backbone: from `models.build_backbone`; changed in place, its layout too.
        source: "none" (stays as it is), "imagenet" (torchvision's ResNet-50, version 1, fetched by torchvision) or the
            path of a safetensors file: one written by `save_weights`, or any with torchvision's names.

    Returns:
        report: `source`, `format` ("none", "torchvision", "fer_utils" or "safetensors"), `layout` (see
        `models.set_layout`), `matched` (number of tensors), `dropped` (names of tensors left out) and
        `input_convention` (see `models.set_input_convention`; ImageNet's if the file does not say).

    Raises:
        InputError: if the file is missing, is no safetensors file or does not fit the backbone, or cannot be fetched.

    >>> from fer_utils.models import build_backbone
    >>> load_pretrained(build_backbone("se_resnet14"), "none")["matched"]
    0
    """
    source = str(source)
    if source == "none":
        return _report(source, "none", backbone, matched=0, dropped=[])
    if source == "imagenet":
        tensors, metadata = _fetch_imagenet(backbone), {}
        layout, file_format, convention = {"stride": "conv2", "pool": "padded"}, "torchvision", IMAGENET_INPUT
    else:
        tensors, metadata = _read(source)
        file_format = OWN_FORMAT if metadata.get("format") == OWN_FORMAT else "safetensors"
        layout, convention = _layout(metadata, backbone), _input_convention(metadata)

    prefix = "backbone." if any(name.startswith("backbone.") for name in tensors) else ""
    dropped = sorted(name for name in tensors if name.removeprefix(prefix).startswith(HEADS))
    found = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name not in dropped}
    matched = _load_strictly(backbone, found, source, metadata)
    set_layout(backbone, **layout)
    set_input_convention(backbone, convention)
    return _report(source, file_format, backbone, matched, dropped)


def save_weights(model: FERNet, path: str | os.PathLike, metadata: dict[str, str] | None = None) -> Path:
    """Write a model's weights, with its architecture and layout, so that the file is whole or absent.

    Args:
        model: its state goes to `backbone.*`, `embedding.*`, `output.*`.
        path: a `.safetensors` file. An existing file is replaced at once or not at all.
        metadata: more to keep in the header, strings.

    Returns:
        the path.

    Raises:
        OSError: if it cannot be written.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = save_weights(FERNet("se_resnet14"), Path(folder) / "best.safetensors")
    ...     load_weights(FERNet("se_resnet14"), path)["architecture"]
    'se_resnet14'
    """
    path = Path(path)
    header = {
        **(metadata or {}),
        "format": OWN_FORMAT,
        "architecture": model.backbone.architecture,
        "layout": json.dumps(get_layout(model.backbone)),
        "input_convention": json.dumps(model.backbone.input_convention),
    }
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    with replaced(path) as temporary:
        save_file(tensors, temporary, metadata=header)
    return path


def load_weights(model: FERNet, path: str | os.PathLike) -> dict[str, str]:
    """Load a whole model, head included, from a file written by `save_weights`.

    Args:
        model: of the same architecture, embedding and classes; changed in place.
        path: the file.

    Returns:
        the file's metadata.

    Raises:
        InputError: if the file is missing, no safetensors file, not written by `save_weights` or does not fit.
    """
    tensors, metadata = _read(str(path))
    if metadata.get("format") != OWN_FORMAT:
        raise InputError(f"expected a file written by save_weights; found other weights in {path}: use load_pretrained")
    _load_strictly(model, tensors, str(path), metadata)
    set_layout(model.backbone, **json.loads(metadata["layout"]))
    set_input_convention(model.backbone, _input_convention(metadata))
    return metadata


def _fetch_imagenet(backbone: Backbone) -> dict[str, Tensor]:
    if backbone.architecture != "resnet50":
        raise InputError(
            f"expected resnet50 for the source 'imagenet'; found {backbone.architecture}: give a file of its weights"
        )
    try:
        return IMAGENET_WEIGHTS.get_state_dict(progress=False, check_hash=True)
    except (OSError, RuntimeError) as error:  # no network, or a wrong checksum
        raise InputError(
            f"expected to fetch the ImageNet weights from {IMAGENET_WEIGHTS.url}; found {_one_line(error)}: "
            "give the path of a local safetensors file instead"
        ) from error


def _read(path: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a safetensors file."""
    if not Path(path).is_file():
        raise InputError(f"expected 'none', 'imagenet' or the path of a safetensors file; found no file {path!r}")
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except SafetensorError as error:
        raise InputError(
            f"expected a whole safetensors file; found {_what_is(path)} in {path} ({_one_line(error)}): download or "
            "convert it again"
        ) from error


def _what_is(path: str) -> str:
    with open(path, "rb") as file:
        start = file.read(64).lstrip()
    if not start:
        return "nothing"
    if start.startswith(b"<"):
        return "a web page (a dead link?)"
    if start.startswith((b"PK", b"\x80")):
        return "a pickle or PyTorch file"
    return f"{os.path.getsize(path):,} bytes that are not, or not a whole one"


def _load_strictly(module: nn.Module, tensors: dict[str, Tensor], source: str, metadata: dict[str, str]) -> int:
    """Copy `tensors` into `module`, all of them and nothing missing; returns their number."""
    own = module.state_dict()
    missing = [name for name in own if name not in tensors and not name.endswith(OPTIONAL)]
    unknown = [name for name in tensors if name not in own]
    shapes = [name for name, tensor in tensors.items() if name in own and tensor.shape != own[name].shape]
    if missing or unknown or shapes:
        expected = getattr(module, "architecture", None) or module.backbone.architecture
        problems = [f"{len(missing)} tensors missing ({missing[0]}, …)"] if missing else []
        problems += [f"{len(unknown)} unknown ({unknown[0]}, …)"] if unknown else []
        problems += [
            f"{name} of shape {tuple(tensors[name].shape)} instead of {tuple(own[name].shape)}" for name in shapes[:1]
        ]
        raise InputError(
            f"expected weights of {expected}; found {metadata.get('architecture', 'others')} in {source}: "
            f"{', '.join(problems)}; choose the architecture and sizes that the file was made for"
        )
    module.load_state_dict(tensors, strict=False)  # completeness is checked above, except for OPTIONAL
    return len(tensors)


def _layout(metadata: dict[str, str], backbone: Backbone) -> dict[str, str]:
    """Layout the weights were trained in: what the header says, else the one `backbone` has."""
    if metadata.get("format") == OWN_FORMAT:
        return json.loads(metadata["layout"])
    layout = get_layout(backbone)
    prose = metadata.get("architecture", "")
    if "first 1x1" in prose:
        layout["stride"] = "conv1"
    if "max-pool padding 1" in prose:
        layout["pool"] = "padded"
    return layout


def _input_convention(metadata: dict[str, str]) -> dict:
    if "input_convention" in metadata:
        return json.loads(metadata["input_convention"])
    if "mean_rgb_0_255" in metadata:
        mean = [float(value) for value in metadata["mean_rgb_0_255"].split(",")]
        return {"range": 255, "mean": mean, "std": [1.0, 1.0, 1.0]}
    return IMAGENET_INPUT


def _report(source: str, file_format: str, backbone: Backbone, matched: int, dropped: list[str]) -> dict:
    return {
        "source": source,
        "format": file_format,
        "layout": get_layout(backbone),
        "matched": matched,
        "dropped": dropped,
        "input_convention": backbone.input_convention,
    }


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
