"""Tensors by name, and what is said about them, out of every container that weights come in."""

import json
import pickletools
import re
import warnings
from dataclasses import dataclass, field

import torch
from safetensors import safe_open
from torch import Tensor

from fer_utils.errors import InputError
from fer_utils.weights.headers import OWN_FORMAT
from fer_utils.weights.pickles import Array, read_pickle
from fer_utils.weights.recognising import one_line, recognise, refusal

_WRAPPERS = ("state_dict", "model_state_dict", "model")  # keys under which training scripts save a state dict
_LEGACY_PICKLES = 5  # in a row: magic number, version, machine, the object, names of its storages
_GLOBAL = re.compile(r"GLOBAL (\S+)")  # in PyTorch's refusal


@dataclass(frozen=True)
class Content:
    """A file of weights as it is: names, values and channel order are the file's own.

    Attributes:
        container: "safetensors", "torch", "lightning" or "pickle".
        tensors: dense, on the CPU.
        header: the file's metadata.
    """

    container: str
    tensors: dict[str, Tensor]
    header: dict[str, str] = field(default_factory=dict)


def read(path: str) -> Content:
    """Read a file of weights without running anything of it.

    Raises:
        InputError: for any file that holds no tensors by name, or is cut short or damaged.
        OSError: if the file cannot be read.
    """
    kind = recognise(path)
    if kind == "pickle":
        return Content("pickle", _state_dict(read_pickle(path), path))
    if kind == "safetensors":
        return _read_safetensors(path)
    content = _load_torch(path, mapped=kind == "torch")
    lightning = isinstance(content, dict) and "pytorch-lightning_version" in content
    tensors = _state_dict(content, path)
    return Content("lightning", tensors, _own_header(content, path)) if lightning else Content("torch", tensors)


def _read_safetensors(path: str) -> Content:
    try:
        with safe_open(path, framework="pt") as file:
            return Content(
                "safetensors",
                {name: file.get_tensor(name) for name in file.keys()},  # noqa: SIM118
                file.metadata() or {},
            )
    except Exception as error:  # SafetensorError, and what torch says of a type that it lacks
        raise refusal(
            f"a safetensors file cut short or damaged ({one_line(error)})", path, "download it again"
        ) from error


def _load_torch(path: str, mapped: bool) -> object:
    try:
        if not mapped:
            _check_legacy(path)
        with warnings.catch_warnings(action="ignore"):  # of what a file holds besides
            return torch.load(path, weights_only=True, map_location="cpu", mmap=mapped)
    except Exception as error:  # whatever bytes that somebody else chose lead to
        if found := _GLOBAL.search(str(error)):
            raise InputError(
                f"expected a PyTorch file of tensors alone; found the global {one_line(found[1])!r} in {path}: nothing "
                "of the file was run; load it where its code is at home and save its state_dict()"
            ) from error
        reason = one_line(str(error).partition(". ")[0]) or type(error).__name__
        raise refusal(f"a PyTorch file cut short or damaged ({reason})", path, "download it again") from error


def _check_legacy(path: str) -> None:
    """Find a file cut short before PyTorch takes half a name for an unknown one."""
    with open(path, "rb") as file:
        for _ in range(_LEGACY_PICKLES):
            for _ in pickletools.genops(file):
                pass


def _state_dict(content: object, path: str) -> dict[str, Tensor]:
    """The tensors by name in what a file holds: at the top or under one of the usual keys."""
    if isinstance(content, dict):
        content = next((content[key] for key in _WRAPPERS if isinstance(content.get(key), dict)), content)
    if not isinstance(content, dict) or not content:
        found = "nothing" if content == {} else f"a {type(content).__name__}"
        raise InputError(f"expected tensors by name; found {found} in {path}: give the file of a state_dict")
    content = {name: value.tensor if isinstance(value, Array) else value for name, value in content.items()}
    for name, value in content.items():
        if not isinstance(name, str) or not _is_plain(value):
            raise InputError(
                f"expected tensors by name; found a {type(value).__name__} under {one_line(name)!r} in {path}: save "
                "the state_dict alone, or under 'state_dict'"
            )
    return content


def _is_plain(value: object) -> bool:
    dense = isinstance(value, Tensor) and value.layout is torch.strided and not value.is_quantized
    return dense and value.device.type == "cpu"


def _own_header(checkpoint: dict, path: str) -> dict[str, str]:
    """Header that `ExpressionModule` leaves in a checkpoint; checkpoints older than it have none."""
    if "fer_utils" not in checkpoint:
        return {}
    try:
        found = checkpoint["fer_utils"]
        values = {key: json.dumps(found[key]) for key in ("layout", "input_convention")}
        return {"format": OWN_FORMAT, "architecture": str(found["architecture"]), **values}
    except Exception as error:  # whatever stands there instead
        raise refusal("a checkpoint with a damaged header", path, "write it again") from error
