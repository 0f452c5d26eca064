"""Weights in and out of networks: our own files, and pre-trained ones in the field's formats.

Nothing in a file is ever run. What a format says about layout, channel order and input is here.
"""

import json
import math
import os
import re
import warnings
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision.models import ResNet50_Weights, get_model_weights

from fer_utils.core import InputError, atomic_write, check_choice
from fer_utils.models.backbones import (
    IMAGENET_INPUT,
    POOLS,
    STRIDES,
    SEBottleneck,
    get_layout,
    set_input_convention,
    set_layout,
    torchvision_architectures,
)
from fer_utils.models.fernet import FERNet
from fer_utils.models.pickles import read_pickle

OWN_FORMAT = "fer_utils"
VGGFACE2_LAYOUT = {"stride": "conv1", "pool": "ceil"}
TORCHVISION_LAYOUT = {"stride": "conv2", "pool": "padded"}
VGGFACE2_INPUT = {"range": 255, "mean": [131.0912, 103.8827, 91.4953], "std": [1.0, 1.0, 1.0]}
VGGFACE2_CLASSES = 8631
# Ported from TensorFlow with its input.
TENSORFLOW_INPUT = {"range": 1, "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}
TENSORFLOW_PORTS = ("googlenet", "inception_v3")
SE_TWINS = {"se_resnet50": "resnet50", "se_resnet14": "resnet14"}

_WRAPPERS = ("state_dict", "model", "net", "model_state_dict")
_HEADS = ("embedding", "output", "fc", "classifier", "head", "heads", "aux1", "aux2", "AuxLogits")
_INPUT = ("input.scale", "input.shift")  # set from the convention instead
_DAG_STEM = {"conv1_7x7_s2": "conv1", "conv1_7x7_s2_bn": "bn1"}
_DAG_BLOCK = re.compile(r"conv([2-5])_(\d{1,3})_(\w+)")
_DAG_PARTS = {
    "1x1_reduce": "conv1",
    "1x1_reduce_bn": "bn1",
    "3x3": "conv2",
    "3x3_bn": "bn2",
    "1x1_increase": "conv3",
    "1x1_increase_bn": "bn3",
    "1x1_proj": "downsample.0",
    "1x1_proj_bn": "downsample.1",
    "1x1_down": "se.fc1",
    "1x1_up": "se.fc2",
}
_VGGFACE2_SQUEEZE = re.compile(r"^(layer\d\.\d{1,3})\.conv([45])\.")
# Names in torchvision's published files that torchvision itself changes as it loads them.
_OLD_TORCHVISION = (
    (re.compile(r"(denselayer\d+\.(?:norm|conv))\.(?=[12]\.)"), r"\1"),
    (re.compile(r"(encoder_layer_\d+\.mlp)\.linear_1\."), r"\1.0."),
    (re.compile(r"(encoder_layer_\d+\.mlp)\.linear_2\."), r"\1.3."),
)


@dataclass
class _File:
    """Tensors by the file's names, its kind ("pickle", "torch", "lightning", …) and its header."""

    kind: str
    tensors: dict[str, Tensor]
    header: dict[str, str] = field(default_factory=dict)


def save_weights(
    model: FERNet, path: str | os.PathLike, metadata: dict[str, str] | None = None
) -> Path:
    """Write a whole model as safetensors, with what is needed to build it again in the header.

    Args:
        model: its state goes to `backbone.*`, `embedding.*`, `output.*`.
        path: replaced at once or not at all.
        metadata: more to keep in the header, strings.
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
    with atomic_write(path) as temporary:
        save_file(tensors, temporary, metadata=header)
    return path


def load_weights(model: FERNet, path: str | os.PathLike) -> dict[str, str]:
    """Load a whole model, head included, from a file written by `save_weights`; its header.

    Args:
        model: of the same architecture, embedding and classes; changed only if all fits.
        path: the file.

    Raises:
        InputError: if the file is missing, not ours, damaged or does not fit.
    """
    path = str(path)
    file = _read(path)
    if file.header.get("format") != OWN_FORMAT:
        raise InputError(f"expected a file written by save_weights, found other weights in {path}")
    tensors = {name: t for name, t in file.tensors.items() if not name.endswith(_INPUT)}
    layout, convention = _declared_layout(file.header, path), _declared_input(file.header, path)
    _check_fit(model, tensors, path, model.backbone.architecture)
    _copy(model, tensors)
    if layout:
        set_layout(model.backbone, **layout)
    set_input_convention(model.backbone, convention)
    return file.header


def load_pretrained(
    backbone: nn.Module, source: str | os.PathLike, input_convention: str = "native"
) -> dict:
    """Load pre-trained weights into a backbone, strictly.

    Kind and naming are found by content: VGGFace2-pytorch's pickles ("vggface2-pytorch"), Albanie's
    exports ("dag"), PyTorch files in torchvision's names ("torchvision"), Lightning checkpoints
    ("lightning"), our own ("fer_utils") and other safetensors in torchvision's names. A file that
    says nothing of layout and input leaves the layout, and is taken to expect `IMAGENET_INPUT`.

    Args:
        backbone: from `build_backbone`; changed in place, or not at all if anything fails.
        source: "none", "imagenet" (torchvision's, fetched by it; of ResNet-50 version 1) or a path.
        input_convention: "native": images as the weights were trained with; "paper": normalised as
            in Sec. 4.3, whatever the weights.

    Returns:
        JSON-serialisable: `source`, `format`, `layout`, `matched` (number of tensors), `dropped`
        (names left out: heads), `input_convention` (in use), `native_input` (None for "none").

    Raises:
        InputError: for a file that is missing, of another kind, damaged, does not fit or holds NaN;
            if it asks for code to be run; if weights cannot be fetched.
    """
    check_choice("input_convention", input_convention, ("native", "paper"))
    source = str(source)
    report = {"source": source, "format": "none", "matched": 0, "dropped": [], "native_input": None}
    if source != "none":
        file = _fetch_imagenet(backbone) if source == "imagenet" else _read(source)
        naming, inner = _naming(file)
        tensors, dropped = _rename(file, naming, inner, backbone, source)
        layout, native = _conventions(file, naming, backbone, source)
        _check_layout(backbone, layout, source)
        _check_fit(backbone, tensors, source, backbone.architecture)
        _copy(backbone, tensors)
        if get_layout(backbone):
            set_layout(backbone, **layout)
        set_input_convention(backbone, native if input_convention == "native" else IMAGENET_INPUT)
        own = file.header.get("format") == OWN_FORMAT and file.kind == "safetensors"
        kinds = {"torch": "torchvision", "pickle": "torchvision"}
        name = naming if naming != "torchvision" else kinds.get(file.kind, file.kind)
        report |= {"format": OWN_FORMAT if own else name, "matched": len(tensors)}
        report |= {"dropped": dropped, "native_input": native}
    return report | {
        "layout": get_layout(backbone),
        "input_convention": backbone.input_convention,
    }


def se_from_resnet(
    source: str | os.PathLike,
    target: str | os.PathLike,
    architecture: str = "se_resnet50",
    seed: int = 0,
) -> Path:
    """Write weights of an SE-ResNet that computes what a pre-trained ResNet computes.

    Every gate begins at sigmoid(0) = 1/2 and the batch norm before it is doubled, so the product is
    the same, bit for bit; the gates are then free to learn. These are not VGGFace2's weights.

    Args:
        source: weights of the ResNet, anything that `load_pretrained` reads.
        target: a `.safetensors` file.
        architecture: "se_resnet50" (from ResNet-50) or "se_resnet14" (from resnet14).
        seed: of the gates' first layer, without effect until the second has learnt.
    """
    check_choice("architecture", architecture, SE_TWINS)
    if Path(target).suffix != ".safetensors":
        raise InputError(f"expected a .safetensors file to write, found {target}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        plain, gated = FERNet(SE_TWINS[architecture]), FERNet(architecture)
    report = load_pretrained(plain.backbone, source)
    set_layout(gated.backbone, **report["layout"])
    set_input_convention(gated.backbone, report["native_input"] or IMAGENET_INPUT)
    gated.backbone.load_state_dict(plain.backbone.state_dict(), strict=False)  # all but the gates
    for block in gated.backbone.modules():
        if isinstance(block, SEBottleneck):
            nn.init.zeros_(block.se.fc2.weight)
            with torch.no_grad():
                block.bn3.weight.mul_(2)
                block.bn3.bias.mul_(2)
    return save_weights(gated, target, {"grafted_from": SE_TWINS[architecture]})


def _read(path: str) -> _File:
    """Tensors by name out of any file of weights; its kind is found by its first bytes."""
    if not Path(path).is_file():
        raise InputError(f"expected a file of weights, found none at {path}")
    with open(path, "rb") as file:
        start = file.read(16)
    if start[8:9] == b"{":
        return _read_safetensors(path)
    if start[:2] == b"PK" or (start[:1] == b"\x80" and b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19" in start):
        return _read_torch(path)
    if start[:1] == b"\x80":
        return _File("pickle", _by_name(read_pickle(path), path))
    raise InputError(
        f"expected weights as safetensors, .pth or .pkl; {path} is none of these: "
        "unpack an archive first, and download again what may be cut short"
    )


def _read_safetensors(path: str) -> _File:
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return _File("safetensors", tensors, file.metadata() or {})
    except Exception as error:
        raise InputError(
            f"expected a whole safetensors file, found a damaged one: {path} ({error})"
        ) from None


def _read_torch(path: str) -> _File:
    try:
        with warnings.catch_warnings(action="ignore"):  # of what a file holds besides
            content = torch.load(path, weights_only=True, map_location="cpu")
    except Exception as error:  # whatever bytes that somebody else chose lead to
        what = " ".join(str(error).split())[:200]
        raise InputError(
            f"expected a PyTorch file of tensors alone, whole; found another in {path}: nothing of "
            f"it was run; save its state_dict() where it was made ({what})"
        ) from None
    if isinstance(content, dict) and "pytorch-lightning_version" in content:
        about = content.get("fer_utils", {})
        header = {"format": OWN_FORMAT} | {
            key: value if key == "architecture" else json.dumps(value)
            for key, value in about.items()
        }
        return _File("lightning", _by_name(content, path), header if about else {})
    return _File("torch", _by_name(content, path))


def _by_name(content: object, path: str) -> dict[str, Tensor]:
    if isinstance(content, dict):
        nested = (content[key] for key in _WRAPPERS if isinstance(content.get(key), dict))
        content = next(nested, content)
    if not isinstance(content, dict) or not content:
        raise InputError(f"expected tensors by name, found a {type(content).__name__} in {path}")
    for name, value in content.items():
        plain = isinstance(value, Tensor) and value.layout is torch.strided
        if not isinstance(name, str) or not plain or value.is_quantized:
            raise InputError(
                f"expected tensors by name, found a {type(value).__name__} under "
                f"{str(name)[:80]!r} in {path}: save the state_dict alone"
            )
    return content


def _naming(file: _File) -> tuple[str, dict[str, str]]:
    """Whose names a file has, and its names without what wrappers put before them.

    Of a checkpoint, what lies beside the network has an empty name.
    """
    names = {name: name for name in file.tensors}
    if file.kind == "lightning":
        wrapped = (name for name in names if name.startswith("network."))
        names = dict.fromkeys(names, "") | {n: n.removeprefix("network.") for n in wrapped}
    if all(name.startswith("module.") for name in names):  # DataParallel
        names = {name: name.removeprefix("module.") for name in names}
    names = {name: inner.removeprefix("backbone.") for name, inner in names.items()}
    if any(name.startswith("conv1_7x7_s2.") for name in names.values()):
        return "dag", names
    if any(_VGGFACE2_SQUEEZE.match(name) for name in names.values()):
        return "vggface2-pytorch", names
    # Without squeeze-and-excitation its names are torchvision's; the pickle and the number of
    # identities tell them apart.
    head = next((file.tensors[name] for name, inner in names.items() if inner == "fc.weight"), None)
    of_faces = head is None or head.shape[:1] == (VGGFACE2_CLASSES,)
    return "vggface2-pytorch" if file.kind == "pickle" and of_faces else "torchvision", names


def _rename(file: _File, naming: str, inner: dict, backbone: nn.Module, source: str):
    """Tensors by the backbone's names, in RGB; and the file's names that are left out."""
    own = backbone.state_dict().keys()
    tensors, dropped = {}, []
    for name, tensor in file.tensors.items():
        wanted = _own_name(inner[name], naming, backbone.prefix, own)
        if wanted.endswith(_INPUT):
            continue
        head = inner[name] == "" or wanted.removeprefix(backbone.prefix).split(".")[0] in _HEADS
        if wanted not in own and head:
            dropped.append(name)
        elif wanted in tensors:
            raise InputError(f"expected each tensor once, found two for {wanted} in {source}")
        else:
            tensors[wanted] = tensor
    if naming == "vggface2-pytorch" and "conv1.weight" in tensors:
        tensors["conv1.weight"] = tensors["conv1.weight"][:, [2, 1, 0]]  # from BGR
    return tensors, sorted(dropped)


def _own_name(name: str, naming: str, prefix: str, own) -> str:
    if naming == "dag":
        module, _, tensor = name.rpartition(".")
        if module in _DAG_STEM:
            name = f"{_DAG_STEM[module]}.{tensor}"
        elif (match := _DAG_BLOCK.fullmatch(module)) and match[3] in _DAG_PARTS:
            name = f"layer{int(match[1]) - 1}.{int(match[2]) - 1}.{_DAG_PARTS[match[3]]}.{tensor}"
    elif naming == "vggface2-pytorch":
        name = _VGGFACE2_SQUEEZE.sub(lambda m: f"{m[1]}.se.fc{int(m[2]) - 3}.", name)
    elif name not in own:
        for pattern, replacement in _OLD_TORCHVISION:
            name = pattern.sub(replacement, name)
    return name if name in own else prefix + name


def _conventions(file: _File, naming: str, backbone: nn.Module, source: str) -> tuple[dict, dict]:
    """Layout and input convention that the weights were trained with."""
    if naming in ("dag", "vggface2-pytorch"):
        return VGGFACE2_LAYOUT, VGGFACE2_INPUT
    if source == "imagenet":
        return TORCHVISION_LAYOUT, json.loads(file.header["input_convention"])
    guess = TENSORFLOW_INPUT if backbone.architecture in TENSORFLOW_PORTS else IMAGENET_INPUT
    layout = get_layout(backbone) | _declared_layout(file.header, source)
    return layout, _declared_input(file.header, source) or guess


def _fetch_imagenet(backbone: nn.Module) -> _File:
    name = backbone.architecture
    if name != "resnet50" and name not in torchvision_architectures():
        raise InputError(
            f"expected resnet50 or a network of torchvision's for 'imagenet', found {name}: "
            "give a file of its weights"
        )
    published = get_model_weights(name).DEFAULT
    if name == "resnet50":
        published = ResNet50_Weights.IMAGENET1K_V1  # of the paper's time
    try:
        tensors = published.get_state_dict(
            progress=False, check_hash=True, weights_only=True, map_location="cpu"
        )
    except Exception as error:  # no network, a wrong checksum, an earlier download cut short
        raise InputError(
            f"expected to fetch the ImageNet weights from {published.url} ({error}): "
            "give the path of a local file instead"
        ) from None
    convention = TENSORFLOW_INPUT
    if name not in TENSORFLOW_PORTS:
        shown = published.transforms()
        convention = {"range": 1, "mean": list(shown.mean), "std": list(shown.std)}
    return _File("torch", dict(tensors), {"input_convention": json.dumps(convention)})


def _declared_layout(header: dict[str, str], source: str) -> dict[str, str]:
    """The layout, or that part of it, that a header names."""
    if header.get("format") == OWN_FORMAT:
        layout = _from_header(header, "layout", source)
        allowed = {"stride": STRIDES, "pool": POOLS}
        right = isinstance(layout, dict) and set(layout) in (set(), set(allowed))
        if not right or any(value not in allowed[key] for key, value in layout.items()):
            raise InputError(f"expected stride and pool in the header of {source}, found {layout}")
        return layout
    prose = header.get("architecture", "")
    layout = {"stride": "conv1"} if "first 1x1" in prose else {}
    return layout | ({"pool": "padded"} if "max-pool padding 1" in prose else {})


def _declared_input(header: dict[str, str], source: str) -> dict | None:
    """The input convention that a header states, or None."""
    if header.get("format") == OWN_FORMAT:
        convention = _from_header(header, "input_convention", source)
    elif "mean_rgb_0_255" in header:
        listed = {"mean": f"[{header['mean_rgb_0_255']}]"}
        mean = _from_header(listed, "mean", source)
        convention = {"range": 255, "mean": mean, "std": [1.0, 1.0, 1.0]}
    else:
        return None
    try:
        numbers = [convention["range"], *convention["std"], *convention["mean"]]
        right = len(convention["mean"]) == len(convention["std"]) == 3
        right = right and all(map(math.isfinite, numbers)) and min(numbers[:4]) > 0
    except (KeyError, OverflowError, TypeError):
        right = False
    if not right:
        raise InputError(
            f"expected range, mean and std in the header of {source}, got {convention}"
        )
    return convention


def _from_header(header: dict[str, str], key: str, source: str) -> object:
    try:
        return json.loads(header[key])
    except (KeyError, RecursionError, ValueError):
        found = str(header.get(key))[:80]
        raise InputError(f"expected {key} as JSON in the header of {source}, got {found}") from None


def _check_layout(backbone: nn.Module, layout: dict, source: str) -> None:
    if not get_layout(backbone) and layout.items() - TORCHVISION_LAYOUT.items():
        raise InputError(
            f"expected weights in torchvision's layout for {backbone.architecture}, found {layout} "
            f"in {source}: choose the architecture that the file was made for"
        )


def _check_fit(module: nn.Module, tensors: dict[str, Tensor], source: str, name: str) -> None:
    """Raise `InputError` unless `tensors` are those of `module`, all of them, and finite."""
    own = module.state_dict()
    free = ("num_batches_tracked", *_INPUT)
    missing = [key for key in own if key not in tensors and not key.endswith(free)]
    unknown = [key for key in tensors if key not in own]
    shapes = [key for key, t in tensors.items() if key in own and t.shape != own[key].shape]
    problems = [f"{len(missing)} tensors missing ({missing[0]}, …)"] if missing else []
    problems += [f"{len(unknown)} unknown ({unknown[0][:80]}, …)"] if unknown else []
    for key in shapes[:1]:
        sizes = f"{key}: {tuple(tensors[key].shape)} instead of {tuple(own[key].shape)}"
        problems.append(f"{len(shapes)} of another shape ({sizes}, …)")
    if problems:
        raise InputError(
            f"expected weights of {name}, found others in {source}: {', '.join(problems)}; choose "
            "the architecture and sizes that the file was made for"
        )
    for key, tensor in tensors.items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise InputError(f"expected finite weights, found NaN or infinity in {key} of {source}")


@torch.no_grad()
def _copy(module: nn.Module, tensors: dict[str, Tensor]) -> None:
    own = module.state_dict()
    for name, tensor in tensors.items():
        own[name].copy_(tensor)
