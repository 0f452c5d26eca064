"""Weights in and out of networks: our own files, and pre-trained ones in the field's formats.

Nothing in a file is ever run. What a format says about names, layout, channel order and input
stands here.
"""

import _codecs
import collections
import copy
import json
import pickle
import re
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy._core import multiarray
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision import models as zoo

from fer_utils.core import InputError, atomic_write, check_choice, one_line, require
from fer_utils.models import backbones
from fer_utils.models.backbones import IMAGENET_INPUT, TORCHVISION_LAYOUT, VGGFACE2_LAYOUT

OWN_FORMAT = "fer_utils"
VGGFACE2_INPUT = {"range": 255, "mean": [131.0912, 103.8827, 91.4953], "std": [1.0, 1.0, 1.0]}
VGGFACE2_PEOPLE = 8631

_LEGACY_TORCH = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19"  # what torch.save wrote first before 1.6
_BLAMED = re.compile(r"GLOBAL \S+|WeightsUnpickler error: .*")
_NESTED = ("state_dict", "model_state_dict", "model", "net")  # where training scripts put tensors
_WRAPPERS = re.compile(r"^(network\.|module\.)*(backbone\.)?")
_HEADS = ("embedding", "output", "fc", "classifier", "head", "heads")
_INPUT = ("input.scale", "input.shift")  # follow from the convention
_DAG_NAME = re.compile(r"conv([2-5])_(\d{1,3})_(\w+)\.(\w+)")
_DAG_PARTS = {
    "1x1_reduce": "conv1", "1x1_reduce_bn": "bn1", "3x3": "conv2", "3x3_bn": "bn2",
    "1x1_increase": "conv3", "1x1_increase_bn": "bn3", "1x1_proj": "downsample.0",
    "1x1_proj_bn": "downsample.1", "1x1_down": "se.fc1", "1x1_up": "se.fc2",
}  # fmt: skip
_VGGFACE2_SQUEEZE = re.compile(r"^(layer\d\.\d{1,3})\.conv([45])\.")


class _File(NamedTuple):
    kind: str  # as in a report, or "pickle"
    tensors: dict[str, Tensor]
    header: dict[str, str] = {}
    layout: dict[str, str] = {}  # or a part of it
    convention: dict | None = None  # None: the file does not say


def weights_header(backbone: nn.Module) -> dict[str, str]:
    """What a file, or a checkpoint, must say of a network besides its tensors."""
    return {
        "format": OWN_FORMAT,
        "architecture": backbone.architecture,
        "layout": json.dumps(backbone.layout),
        "input_convention": json.dumps(backbone.input.convention),
    }


def save_weights(
    model: nn.Module, path: Path | str, metadata: dict[str, str] | None = None
) -> Path:
    """Write a whole model as safetensors; `metadata` joins `weights_header` in the header."""
    header = (metadata or {}) | weights_header(model.backbone)
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    with atomic_write(path) as temporary:
        save_file(tensors, temporary, metadata=header)
    return Path(path)


def load_weights(model: nn.Module, path: Path | str) -> dict[str, str]:
    """Load a whole model from a file of `save_weights`, or nothing; returns the file's header."""
    file = _read(path)
    require(file.kind == OWN_FORMAT, "a file of save_weights", f"another: {path}")
    _fill(model, file, file.convention, path)
    return file.header


def load_pretrained(backbone: nn.Module, source: Path | str, input_convention="native") -> dict:
    """Load pre-trained weights into a backbone, all or none; a file's content tells its kind.

    Args:
        source: "none", "imagenet" (torchvision's, fetched by it; of ResNet-50 version 1) or a path.
        input_convention: "native": images as the weights were trained with (as `IMAGENET_INPUT`
            where a file does not say); "paper": normalised as in Sec. 4.3, whatever the weights.

    Returns:
        JSON-serialisable: `source`, `format` ("none", "vggface2-pytorch", "dag" (Albanie's),
        "torchvision", "lightning", "fer_utils" (our own), "safetensors"), `layout`, `matched`
        (number of tensors), `dropped` (names left out: heads), `input_convention` (in use),
        `native_input`.
    """
    check_choice("input_convention", input_convention, ("native", "paper"))
    report = {"format": "none", "matched": 0, "dropped": [], "native_input": None}
    if source != "none":
        file = _fetch_imagenet(backbone) if source == "imagenet" else _read(source)
        file, dropped = _rename(file, backbone, source)
        native = file.convention or IMAGENET_INPUT
        _fill(backbone, file, native if input_convention == "native" else IMAGENET_INPUT, source)
        report = {"format": file.kind, "matched": len(file.tensors), "dropped": dropped}
        report |= {"native_input": native}
    used = {"layout": backbone.layout, "input_convention": backbone.input.convention}
    return {"source": str(source), **report, **used}


def _read(path: Path | str) -> _File:
    """A file of weights, tensors by its own names; its kind is found by its first bytes."""
    require(Path(path).is_file(), "a file of weights", f"none at {path}")
    with open(path, "rb") as file:
        start = file.read(16)
    try:
        if start[8:9] == b"{":
            return _read_safetensors(path)
        if start.startswith(b"PK") or _LEGACY_TORCH in start:
            return _read_torch(path)
        if start.startswith(b"\x80"):
            return _File("pickle", _by_name(read_pickle(path)))
        raise ValueError("none of these")
    except Exception as error:  # whatever bytes that somebody else chose lead to
        blamed = _BLAMED.search(str(error))  # without PyTorch's advice to run it after all
        what = one_line(blamed[0] if blamed else error)
        raise InputError(
            "expected weights as safetensors, .pth or .pkl, whole, with tensors by name alone; "
            f"found {what} in {path}: nothing of it was run; unpack an archive, download it "
            "again, or save a state_dict()"
        ) from None


def _read_safetensors(path: Path | str) -> _File:
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        header = file.metadata() or {}
    if header.get("format") == OWN_FORMAT:
        return _File(OWN_FORMAT, tensors, header, *_declared(header))
    prose, convention = header.get("architecture", ""), None
    layout = {"stride": "conv1"} if "first 1x1" in prose else {}
    layout |= {"pool": "padded"} if "max-pool padding 1" in prose else {}
    if "mean_rgb_0_255" in header:
        mean = [float(value) for value in header["mean_rgb_0_255"].split(",")]
        convention = {"range": 255, "mean": mean, "std": [1.0, 1.0, 1.0]}
        backbones.InputConversion().set(convention)
    return _File("safetensors", tensors, header, layout, convention)


def _read_torch(path: Path | str) -> _File:
    # As an open file, whose name says nothing.
    with warnings.catch_warnings(action="ignore"), open(path, "rb") as file:
        content = torch.load(file, weights_only=True, map_location="cpu")
    tensors = _by_name(content)
    if "pytorch-lightning_version" not in content:
        return _File("torchvision", tensors)
    header = content.get("fer_utils", {})
    declared = _declared(header) if "layout" in header else ()
    return _File("lightning", tensors, header, *declared)


def _declared(header: dict) -> tuple[dict, dict]:
    parts = (header["layout"], header["input_convention"])
    # Checkpoints once held them as they are.
    layout, convention = (json.loads(part) if isinstance(part, str) else part for part in parts)
    if layout not in ({}, *backbones.LAYOUTS):
        raise ValueError(f"the layout {layout}")
    backbones.InputConversion().set(convention)
    return layout, convention


def _by_name(content: object) -> dict[str, Tensor]:
    """The tensors of what a file holds: at the top or under one of the usual keys."""
    if not isinstance(content, dict):
        raise TypeError(f"a {type(content).__name__}")
    nested = (content[key] for key in _NESTED if isinstance(content.get(key), dict))
    content = next(nested, content)
    for name, value in content.items():
        plain = isinstance(value, Tensor) and value.layout is torch.strided
        if not plain or not isinstance(name, str):
            raise TypeError(f"a {type(value).__name__} under {name!r}")
    return content


def _fetch_imagenet(backbone: nn.Module) -> _File:
    name = backbone.architecture
    theirs = name == "resnet50" or isinstance(backbone, backbones.TorchvisionBackbone)
    require(theirs, "a network of torchvision's for 'imagenet'", name)
    published = zoo.get_model_weights(name).DEFAULT
    if name == "resnet50":
        published = zoo.ResNet50_Weights.IMAGENET1K_V1  # of the paper's time
    try:
        tensors = zoo.get_model(name, weights=published, progress=False).state_dict()
    except Exception as error:  # no network, a wrong checksum, an earlier download cut short
        found = f"{one_line(error)}: give the path of a local file instead"
        expected = f"to fetch the ImageNet weights from {published.url}"
        raise InputError(f"expected {expected}, found {found}") from None
    shown = published.transforms()
    convention = {"range": 1, "mean": list(shown.mean), "std": list(shown.std)}
    return _File("torchvision", tensors, {}, TORCHVISION_LAYOUT, convention)


def _rename(file: _File, backbone: nn.Module, source: Path | str) -> tuple[_File, list[str]]:
    """The file with tensors by the backbone's names and in RGB, and the names left out."""
    inside = "network." if file.kind == "lightning" else ""  # beside it are loss and averages
    names = {n: _WRAPPERS.sub("", n, count=1) for n in file.tensors if n.startswith(inside)}
    file, own = _recognise(file, names.values()), backbone.state_dict().keys()
    tensors, dropped = {}, list(file.tensors.keys() - names.keys())
    for name, inner in names.items():
        wanted = _own_name(inner, file.kind)
        wanted = wanted if wanted in own else backbone.prefix + wanted
        require(wanted not in tensors, "each tensor once", f"two for {wanted} in {source}")
        if wanted not in own and inner.split(".")[0] in _HEADS:
            dropped.append(name)
        elif not wanted.endswith(_INPUT):
            tensors[wanted] = file.tensors[name]
    if file.kind == "vggface2-pytorch" and "conv1.weight" in tensors:
        tensors["conv1.weight"] = tensors["conv1.weight"][:, [2, 1, 0]]  # from BGR
    return file._replace(tensors=tensors), sorted(dropped)


def _recognise(file: _File, names: Iterable[str]) -> _File:
    head, kind = file.tensors.get("fc.weight"), file.kind
    if any(name.startswith("conv1_7x7_s2.") for name in names):
        kind = "dag"
    elif any(_VGGFACE2_SQUEEZE.match(name) for name in names):
        kind = "vggface2-pytorch"
    elif kind == "pickle":  # without squeeze-and-excitation the number of people tells
        faces = head is None or len(head) == VGGFACE2_PEOPLE
        kind = "vggface2-pytorch" if faces else "torchvision"
    if kind in ("dag", "vggface2-pytorch"):
        return file._replace(kind=kind, layout=VGGFACE2_LAYOUT, convention=VGGFACE2_INPUT)
    return file._replace(kind=kind)


def _own_name(name: str, kind: str) -> str:
    """A tensor's name as torchvision has it, in its `ResNet` with squeeze-and-excitation `se`."""
    if kind == "vggface2-pytorch":
        return _VGGFACE2_SQUEEZE.sub(lambda m: f"{m[1]}.se.fc{int(m[2]) - 3}.", name)
    match = _DAG_NAME.fullmatch(name) if kind == "dag" else None
    if match and match[3] in _DAG_PARTS:
        layer, block = int(match[1]) - 1, int(match[2]) - 1
        return f"layer{layer}.{block}.{_DAG_PARTS[match[3]]}.{match[4]}"
    return name.replace("conv1_7x7_s2_bn.", "bn1.").replace("conv1_7x7_s2.", "conv1.")


def _fill(module: nn.Module, file: _File, convention: dict, source: Path | str) -> None:
    backbone = getattr(module, "backbone", module)
    own = {name: t for name, t in module.state_dict().items() if name.endswith(_INPUT)}
    try:
        for name, tensor in file.tensors.items():
            if not tensor.isfinite().all():
                raise ValueError(f"NaN or infinity in {name}")
        if not backbone.layout and file.layout not in ({}, TORCHVISION_LAYOUT):
            raise ValueError(f"the layout {file.layout}")
        copy.deepcopy(module).load_state_dict(own | file.tensors)
    except (RuntimeError, ValueError) as error:
        what = f"{one_line(error, 400)}; choose the architecture that the file was made for"
        expected = f"weights of {backbone.architecture}"
        raise InputError(f"expected {expected}, found in {source}: {what}") from None
    module.load_state_dict(own | file.tensors)
    backbone.input.set(convention)
    if backbone.layout:
        backbone.layout |= file.layout


def _frombuffer(data: bytes, dtype: np.dtype, shape: tuple, order: str) -> np.ndarray:
    """As NumPy's of the same name, which is a function that a file could change."""
    return np.frombuffer(data, dtype).reshape(shape, order=order)


# Every name that a pickle may call.
_ALLOWED = {
    ("_codecs", "encode"): _codecs.encode,
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("numpy", "dtype"): np.dtype,
    ("numpy", "ndarray"): np.ndarray,
}
for _core in ("numpy.core", "numpy._core"):  # before and since NumPy 2
    _ALLOWED[f"{_core}.multiarray", "_reconstruct"] = multiarray._reconstruct
    _ALLOWED[f"{_core}.multiarray", "scalar"] = multiarray.scalar
    _ALLOWED[f"{_core}.numeric", "_frombuffer"] = _frombuffer


class _ArrayUnpickler(pickle.Unpickler):
    """Of containers, numbers, strings (Python 2's as Latin-1) and NumPy arrays, nothing else."""

    def find_class(self, module: str, name: str):
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"the global '{module}.{name}'")
        return _ALLOWED[module, name]


def read_pickle(path: Path | str) -> object:
    """Content of a pickle, arrays as tensors; an error, and nothing has run, for any other file."""
    with open(path, "rb") as file:
        return _to_tensors(_ArrayUnpickler(file, encoding="latin1").load())


def _to_tensors(content: object) -> object:
    if isinstance(content, dict):
        return {key: _to_tensors(value) for key, value in content.items()}
    if not isinstance(content, (np.ndarray, np.generic)):
        return content
    array = np.asarray(content)
    return torch.from_numpy(array.astype(array.dtype.newbyteorder("="), order="C"))
