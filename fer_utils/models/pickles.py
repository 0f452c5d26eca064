"""A reader for pickles of NumPy arrays: every name that a file may call is on a short list."""

import _codecs
import collections
import pickle

import numpy as np
import torch
from numpy._core import multiarray, numeric
from torch import Tensor

from fer_utils.core import InputError

_ALLOWED = {
    ("_codecs", "encode"): _codecs.encode,
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("numpy", "dtype"): np.dtype,
    ("numpy", "ndarray"): np.ndarray,
}
for _core in ("numpy.core", "numpy._core"):  # before and since NumPy 2
    _ALLOWED[f"{_core}.multiarray", "_reconstruct"] = multiarray._reconstruct
    _ALLOWED[f"{_core}.multiarray", "scalar"] = multiarray.scalar
    _ALLOWED[f"{_core}.numeric", "_frombuffer"] = numeric._frombuffer


class _Refused(Exception):
    """What a pickle of arrays has no need of."""


class _ArrayUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str):
        if (module, name) not in _ALLOWED:
            raise _Refused(f"the global {f'{module}.{name}'[:80]!r}")
        return _ALLOWED[module, name]


def read_pickle(path: str) -> object:
    """Content of a pickle of containers, numbers, strings and NumPy arrays, which become tensors.

    Args:
        path: strings of Python 2 are read as Latin-1.

    Raises:
        InputError: for a file that asks for anything else (nothing of it has run), or is damaged.
    """
    try:
        with open(path, "rb") as file:
            return _to_tensors(_ArrayUnpickler(file, encoding="latin1").load())
    except _Refused as error:
        raise InputError(
            f"expected a pickle of NumPy arrays alone, found {error} in {path}: nothing of the "
            "file was run; get the weights as safetensors or a state_dict"
        ) from None
    except Exception as error:  # whatever bytes that somebody else chose lead to
        what = " ".join(str(error).split())[:80]
        raise InputError(
            f"expected a whole pickle, found a damaged one: {path} ({what}); download it again"
        ) from None


def _to_tensors(content: object) -> object:
    if isinstance(content, dict):
        return {key: _to_tensors(value) for key, value in content.items()}
    if not isinstance(content, (np.ndarray, np.generic)):
        return content
    array = np.asarray(content)
    if array.dtype.kind not in "biuf":
        raise _Refused(f"an array of type {array.dtype}")
    return _tensor(array)


def _tensor(array: np.ndarray) -> Tensor:
    return torch.from_numpy(array.astype(array.dtype.newbyteorder("="), order="C"))
