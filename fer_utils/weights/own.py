"""Our own files: a whole model as safetensors, with what is needed to build it again in the header."""

import json
import os
from pathlib import Path

from safetensors.torch import save_file

from fer_utils.errors import InputError
from fer_utils.files import replaced
from fer_utils.models import FERNet, get_layout, set_input_convention, set_layout
from fer_utils.weights.fitting import check_fit, copy_tensors
from fer_utils.weights.headers import OWN_FORMAT, declared_input, declared_layout
from fer_utils.weights.names import is_input_conversion
from fer_utils.weights.reading import read
from fer_utils.weights.recognising import one_line


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
        model: of the same architecture, embedding and classes; changed in place, and only if all fits.
        path: the file.

    Returns:
        the file's metadata.

    Raises:
        InputError: if the file is missing, not written by `save_weights`, damaged or does not fit.
        OSError: if the file cannot be read.
    """
    path = str(path)
    content = read(path)
    header = content.header
    if content.container != "safetensors" or header.get("format") != OWN_FORMAT:
        raise InputError(f"expected a file written by save_weights; found other weights in {path}: use load_pretrained")
    tensors = {name: tensor for name, tensor in content.tensors.items() if not is_input_conversion(name)}
    layout, convention = declared_layout(header, path), declared_input(header, path)
    found = one_line(header.get("architecture", "others"))
    check_fit(model, tensors, path, model.backbone.architecture, found)
    copy_tensors(model, tensors)
    if layout:
        set_layout(model.backbone, **layout)
    set_input_convention(model.backbone, convention)
    return header
