"""Strict loading: every tensor accounted for before the first is copied."""

import torch
from torch import Tensor, nn

from fer_utils.errors import InputError
from fer_utils.weights.names import is_input_conversion
from fer_utils.weights.recognising import one_line

_COUNTER = "num_batches_tracked"  # batch norm's step counter, of no effect here: may be absent


def check_fit(module: nn.Module, tensors: dict[str, Tensor], source: str, architecture: str, found: str) -> None:
    """Raise `InputError` unless `tensors` are those of `module`, all of them in their shapes and nothing else."""
    own = module.state_dict()
    missing = [
        name for name in own if name not in tensors and not (name.endswith(_COUNTER) or is_input_conversion(name))
    ]
    unknown = [name for name in tensors if name not in own]
    shapes = [name for name, tensor in tensors.items() if name in own and tensor.shape != own[name].shape]
    problems = [f"{len(missing)} tensors missing ({missing[0]}, …)"] if missing else []
    problems += [f"{len(unknown)} unknown ({one_line(unknown[0])}, …)"] if unknown else []
    for name in shapes[:1]:
        sizes = f"{name} of shape {tuple(tensors[name].shape)} instead of {tuple(own[name].shape)}"
        problems.append(f"{len(shapes)} of another shape ({sizes}, …)")
    if problems:
        raise InputError(
            f"expected weights of {architecture}; found {found} in {source}: {', '.join(problems)}; choose the "
            "architecture and sizes that the file was made for"
        )


def check_finite(tensors: dict[str, Tensor], source: str) -> None:
    """Raise `InputError` for the first tensor that holds a NaN or an infinity."""
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise InputError(
                f"expected finite weights; found NaN or infinity in {name} of {source}: its training diverged or the "
                "file is damaged; take another"
            )


@torch.no_grad()
def copy_tensors(module: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Copy tensors that fit into a module's own, whatever their type and device."""
    own = module.state_dict()
    for name, tensor in tensors.items():
        own[name].copy_(tensor)
