"""From a file's names to the backbone's, and what each naming says about layout, channel order and input."""

import re
from dataclasses import dataclass

from torch import Tensor, nn

from fer_utils.errors import InputError
from fer_utils.models import IMAGENET_INPUT, get_layout
from fer_utils.weights.headers import OWN_FORMAT, declared_input, declared_layout
from fer_utils.weights.reading import Content
from fer_utils.weights.recognising import one_line

TORCHVISION_LAYOUT = {"stride": "conv2", "pool": "padded"}
VGGFACE2_LAYOUT = {"stride": "conv1", "pool": "ceil"}
VGGFACE2_INPUT = {"range": 255, "mean": [131.0912, 103.8827, 91.4953], "std": [1.0, 1.0, 1.0]}
VGGFACE2_CLASSES = 8631
# These two were ported from TensorFlow with its input; torchvision's option transform_input converts to it.
TENSORFLOW_INPUT = {"range": 1, "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}
TENSORFLOW_PORTS = ("googlenet", "inception_v3")

_HEADS = ("embedding", "output", "fc", "classifier", "head", "heads", "aux1", "aux2", "AuxLogits")
# The input conversion, set from the convention instead, under its name of now and of older files.
_INPUT = ("input.scale", "input.shift", "input_scale", "input_shift")

_DAG_STEM = {"conv1_7x7_s2": "conv1", "conv1_7x7_s2_bn": "bn1"}
_DAG_BLOCK = re.compile(r"conv([2-5])_(\d{1,3})_(\w+)")
_DAG_PARTS = {
    "1x1_reduce": "conv1", "1x1_reduce_bn": "bn1", "3x3": "conv2", "3x3_bn": "bn2", "1x1_increase": "conv3",
    "1x1_increase_bn": "bn3", "1x1_proj": "downsample.0", "1x1_proj_bn": "downsample.1", "1x1_down": "se.fc1",
    "1x1_up": "se.fc2",
}  # fmt: skip
_VGGFACE2_SQUEEZE = re.compile(r"^(layer\d\.\d{1,3})\.conv([45])\.")
# Names in torchvision's published files that torchvision itself changes as it loads them.
_OLD_TORCHVISION = (
    (re.compile(r"(denselayer\d+\.(?:norm|conv))\.(?=[12]\.)"), r"\1"),
    (re.compile(r"(encoder_layer_\d+\.mlp)\.linear_1\."), r"\1.0."),
    (re.compile(r"(encoder_layer_\d+\.mlp)\.linear_2\."), r"\1.3."),
)


@dataclass(frozen=True)
class Weights:
    """What a file holds for one backbone, its values as they are in the file.

    Attributes:
        format: "fer_utils", "lightning", "vggface2-pytorch", "dag", "torchvision" or "safetensors".
        tensors: by the backbone's names.
        dropped: the file's names of what is left out on purpose.
        bgr: whether the first convolution expects blue, green, red.
        layout: see `models.set_layout`; empty for networks that have but one.
        input: the convention that the weights were trained with, means and deviations in red, green, blue.
        declared: whether the file or its format says so, or `input` is a guess.
        architecture: the file's word for its network, if it has one.
    """

    format: str
    tensors: dict[str, Tensor]
    dropped: list[str]
    bgr: bool
    layout: dict[str, str]
    input: dict
    declared: bool
    architecture: str = "others"


def interpret(content: Content, backbone: nn.Module, source: str) -> Weights:
    """Find a backbone's tensors in a file, and how they want to be used.

    Raises:
        InputError: for two tensors of one name, or a header that makes no sense.
    """
    own = backbone.state_dict().keys()
    inner = _inner_names(content)
    naming = _naming(content, inner)
    tensors, dropped = {}, []
    for name, tensor in content.tensors.items():
        wanted = _own_name(inner[name], naming, backbone.prefix, own)
        if is_input_conversion(wanted):
            continue
        if wanted not in own and (inner[name] == "" or wanted.removeprefix(backbone.prefix).split(".")[0] in _HEADS):
            dropped.append(name)
        elif wanted in tensors:
            raise InputError(
                f"expected each tensor once; found two for {wanted} in {source}: give the file of one network"
            )
        else:
            tensors[wanted] = tensor
    return Weights(
        tensors=tensors,
        dropped=sorted(dropped),
        architecture=one_line(content.header.get("architecture", "others")),
        **_conventions(content, naming, backbone, source),
    )


def is_input_conversion(name: str) -> bool:
    """Whether a tensor is the input conversion's, which no file needs to hold."""
    return name.endswith(_INPUT)


def _inner_names(content: Content) -> dict[str, str]:
    """Names without what wrappers put before them; empty for what lies beside the network in a checkpoint."""
    names = dict.fromkeys(content.tensors, "")
    wrapper = "network." if content.container == "lightning" else ""
    names |= {name: name.removeprefix(wrapper) for name in names if name.startswith(wrapper)}
    if all(name.startswith("module.") for name in names):  # DataParallel
        names = {name: name.removeprefix("module.") for name in names}
    return {name: inner.removeprefix("backbone.") for name, inner in names.items()}


def _naming(content: Content, inner: dict[str, str]) -> str:
    names = inner.values()
    if any(name.startswith("conv1_7x7_s2.") for name in names):
        return "dag"
    if any(_VGGFACE2_SQUEEZE.match(name) for name in names):
        return "vggface2-pytorch"
    # Without squeeze-and-excitation its names are torchvision's; only the pickle and the identities tell them apart.
    head = next((content.tensors[name] for name in inner if inner[name] == "fc.weight"), None)
    if content.container == "pickle" and (head is None or head.shape[:1] == (VGGFACE2_CLASSES,)):
        return "vggface2-pytorch"
    return "torchvision"


def _own_name(name: str, naming: str, prefix: str, own) -> str:
    if naming == "dag":
        module, _, tensor = name.rpartition(".")
        if module in _DAG_STEM:
            name = f"{_DAG_STEM[module]}.{tensor}"
        elif (match := _DAG_BLOCK.fullmatch(module)) and match[3] in _DAG_PARTS:
            name = f"layer{int(match[1]) - 1}.{int(match[2]) - 1}.{_DAG_PARTS[match[3]]}.{tensor}"
    elif naming == "vggface2-pytorch":
        name = _VGGFACE2_SQUEEZE.sub(lambda match: f"{match[1]}.se.fc{int(match[2]) - 3}.", name)
    elif name not in own:
        for pattern, replacement in _OLD_TORCHVISION:
            name = pattern.sub(replacement, name)
    return name if name in own else prefix + name


def _conventions(content: Content, naming: str, backbone: nn.Module, source: str) -> dict:
    if naming in ("dag", "vggface2-pytorch"):
        return {
            "format": naming,
            "bgr": naming == "vggface2-pytorch",
            "layout": VGGFACE2_LAYOUT,
            "input": VGGFACE2_INPUT,
            "declared": True,
        }
    own_file = content.container == "safetensors" and content.header.get("format") == OWN_FORMAT
    container = {"torch": "torchvision", "pickle": "torchvision"}.get(content.container, content.container)
    found = declared_input(content.header, source)
    guess = TENSORFLOW_INPUT if backbone.architecture in TENSORFLOW_PORTS else IMAGENET_INPUT
    return {
        "format": OWN_FORMAT if own_file else container,
        "bgr": False,
        "layout": get_layout(backbone) | declared_layout(content.header, source),
        "input": found or guess,
        "declared": found is not None,
    }
