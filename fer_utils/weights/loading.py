"""Pre-trained weights into a backbone, whatever file they come in."""

import contextlib
import copy
import dataclasses
import os
from collections.abc import Iterator

from torch import Tensor, nn
from torchvision.models import ResNet50_Weights, WeightsEnum, get_model_weights

from fer_utils.architectures import INPUT_CONVENTIONS, TORCHVISION
from fer_utils.errors import InputError, check_choice
from fer_utils.models import IMAGENET_INPUT, get_layout, set_input_convention, set_layout
from fer_utils.weights.fitting import check_finite, check_fit, copy_tensors
from fer_utils.weights.names import TENSORFLOW_PORTS, TORCHVISION_LAYOUT, Weights, interpret
from fer_utils.weights.plausibility import plausibility
from fer_utils.weights.reading import Content, read
from fer_utils.weights.recognising import one_line
from fer_utils.weights.selftest import NOT_AVAILABLE, self_test

# Version 1, the weights of the paper's time; version 2 came in 2021 with a longer recipe.
IMAGENET_WEIGHTS = ResNet50_Weights.IMAGENET1K_V1


def load_pretrained(backbone: nn.Module, source: str | os.PathLike, input_convention: str = "native") -> dict:
    """Load pre-trained weights into a backbone, strictly, and check with numbers that they are used as they were made.

    Nothing in a file is run. The kind of file and its naming are found by content: VGGFace2-pytorch's pickles
    ("vggface2-pytorch"), Albanie's exports ("dag"), PyTorch files in torchvision's names ("torchvision"), Lightning
    checkpoints of this project ("lightning"), files of `save_weights` ("fer_utils") and any other safetensors file in
    torchvision's names ("safetensors"). A file that does not say how its network was laid out leaves the backbone's
    layout as it is, and is taken to expect ImageNet's normalisation.

    Args:
        backbone: from `models.build_backbone`; changed in place, its layout too, or not at all if anything fails.
        source: "none" (stays as it is), "imagenet" (torchvision's own weights, fetched by torchvision; of ResNet-50
            version 1) or the path of a file.
        input_convention: "native": the network converts its images to what the weights were trained with; "paper": it
            sees them normalised as in section 4.3, whatever the weights.

    Returns:
        JSON-serialisable report: `source`, `format` ("none" or one of the above), `layout` (see `models.set_layout`),
        `matched` (number of tensors), `dropped` (names of tensors left out: head, loss), `input_convention` (in use
        now, see `models.set_input_convention`), `native_input` (what the weights were trained with; None for "none"),
        `self_test` (what was recomputed, and the largest relative deviation; or "not available") and `plausible` (a
        line about an input convention that the file does not declare).

    Raises:
        InputError: if there is no such file, it is no file of weights, asks for code to be run, is damaged, does not
            fit the backbone or holds NaN; if the weights cannot be fetched; or if the network computes other numbers
            than the file's tensors give.
        OSError: if the file cannot be read.

    >>> from fer_utils.models import build_backbone
    >>> load_pretrained(build_backbone("se_resnet14"), "none")["matched"]
    0
    """
    check_choice("input_convention", input_convention, INPUT_CONVENTIONS)
    source = str(source)
    if source == "none":
        nothing = {"source": source, "format": "none", "layout": get_layout(backbone), "matched": 0, "dropped": []}
        unknown = {"native_input": None, "self_test": NOT_AVAILABLE, "plausible": NOT_AVAILABLE}
        return nothing | {"input_convention": backbone.input_convention} | unknown
    weights = _fetch_imagenet(backbone) if source == "imagenet" else interpret(read(source), backbone, source)
    _check_layout(backbone, weights, source)
    check_fit(backbone, weights.tensors, source, backbone.architecture, weights.architecture)
    check_finite(weights.tensors, source)
    convention = weights.input if input_convention == "native" else IMAGENET_INPUT
    with _unchanged_on_failure(backbone):
        copy_tensors(backbone, in_rgb(weights.tensors, backbone) if weights.bgr else weights.tensors)
        if get_layout(backbone):
            set_layout(backbone, **weights.layout)
        set_input_convention(backbone, convention)
        checked = self_test(backbone, weights, convention, source)
    declared = "declared by the file or its format"
    return {
        "source": source,
        "format": weights.format,
        "layout": get_layout(backbone),
        "matched": len(weights.tensors),
        "dropped": weights.dropped,
        "input_convention": backbone.input_convention,
        "native_input": weights.input,
        "self_test": checked,
        "plausible": declared if weights.declared else plausibility(backbone, weights.input),
    }


def in_rgb(tensors: dict[str, Tensor], backbone: nn.Module) -> dict[str, Tensor]:
    """Tensors of a network that expects blue, green, red, with its first convolution turned to red, green, blue."""
    first = f"{backbone.prefix}conv1.weight"
    return tensors | {first: tensors[first][:, [2, 1, 0]]}


def _fetch_imagenet(backbone: nn.Module) -> Weights:
    name = backbone.architecture
    if name != "resnet50" and name not in TORCHVISION:
        raise InputError(
            f"expected resnet50 or another network of torchvision's for the source 'imagenet'; found {name}: give a "
            "file of its weights"
        )
    published: WeightsEnum = IMAGENET_WEIGHTS if name == "resnet50" else get_model_weights(name).DEFAULT
    try:
        tensors = published.get_state_dict(progress=False, check_hash=True, weights_only=True, map_location="cpu")
    except Exception as error:  # no network, a wrong checksum, an earlier download cut short
        raise InputError(
            f"expected to fetch the ImageNet weights from {published.url}; found {one_line(error)}: give the path of a "
            "local file instead"
        ) from error
    weights = interpret(Content("torch", dict(tensors)), backbone, "imagenet")
    convention = weights.input
    if name not in TENSORFLOW_PORTS:  # of these the transforms state what comes before transform_input
        transforms = published.transforms()
        convention = {"range": 1, "mean": list(transforms.mean), "std": list(transforms.std)}
    return dataclasses.replace(weights, layout=TORCHVISION_LAYOUT, input=convention, declared=True)


def _check_layout(backbone: nn.Module, weights: Weights, source: str) -> None:
    if not get_layout(backbone) and weights.layout.items() - TORCHVISION_LAYOUT.items():
        raise InputError(
            f"expected weights in torchvision's layout for {backbone.architecture}, which has no other; found "
            f"{weights.layout} in {source}: choose the architecture that the file was made for"
        )


@contextlib.contextmanager
def _unchanged_on_failure(backbone: nn.Module) -> Iterator[None]:
    state = copy.deepcopy(backbone.state_dict())
    layout, convention = get_layout(backbone), backbone.input_convention
    try:
        yield
    except BaseException:
        copy_tensors(backbone, state)
        if layout:
            set_layout(backbone, **layout)
        backbone.input_convention = convention
        raise
