"""A reader for pickles of NumPy arrays: every name that a file may call is on a short list."""

import _codecs
import collections
import pickle

import numpy as np
import torch
from numpy._core import multiarray


def _frombuffer(data: bytes, dtype: np.dtype, shape: tuple, order: str) -> np.ndarray:
    """As NumPy's of the same name, which is a function that a file could change."""
    return np.frombuffer(data, dtype).reshape(shape, order=order)


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
    def find_class(self, module: str, name: str):
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"the global '{module}.{name}'")
        return _ALLOWED[module, name]


def read_pickle(path: str) -> object:
    """Content of a pickle of containers, numbers, strings and NumPy arrays, which become tensors.

    Strings of Python 2 are read as Latin-1. Raises an exception of some kind for a file that is
    damaged, or asks for anything else: nothing of that has run then.
    """
    with open(path, "rb") as file:
        return _to_tensors(_ArrayUnpickler(file, encoding="latin1").load())


def _to_tensors(content: object) -> object:
    if isinstance(content, dict):
        return {key: _to_tensors(value) for key, value in content.items()}
    if not isinstance(content, (np.ndarray, np.generic)):
        return content
    array = np.asarray(content)
    return torch.from_numpy(array.astype(array.dtype.newbyteorder("="), order="C"))


def one_line(text: object, longest: int = 160) -> str:
    """Somebody else's text, fit to be quoted in an error."""
    line = " ".join(str(text).split()) or type(text).__name__
    return line if len(line) <= longest else f"{line[:longest]}…"
