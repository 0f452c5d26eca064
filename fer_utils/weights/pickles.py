"""A reader for pickles of NumPy arrays that runs nothing: neither Python's unpickler nor a function that a file names.

A pickle is a program for a small stack machine, and some of its instructions call any function by name. Here the
instructions are followed one by one, only those that plain containers need; a name stands for one of the few builders
below, which make arrays from checked bytes, and every other name is refused.
"""

import math
import mmap
import pickletools
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from fer_utils.errors import InputError
from fer_utils.weights.recognising import one_line

_MOST_INSTRUCTIONS = 1_000_000  # a network's file has some 20,000
_MOST_COPIES = 4  # of the file's bytes: arrays use each of theirs once or twice, a bomb one of them again and again
_DTYPES = frozenset(("b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"))
_VALUES = frozenset((
    "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINSTRING", "SHORT_BINSTRING", "BINUNICODE",
    "SHORT_BINUNICODE", "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8",
))  # fmt: skip
_CONTAINERS = {"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple}
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}


class _Refused(Exception):
    """What a pickle of arrays has no need of."""


class _Type:
    """Stands for a `numpy.dtype`: its code, and its byte order once the state is known."""

    def __init__(self, code: str, *_):
        if _text(code) not in _DTYPES:
            raise _Refused(f"an array of type {one_line(code)!r}")
        self.dtype = np.dtype(code)

    def build(self, state: tuple) -> None:
        if state[1] not in ("<", ">", "|", "=") or any(part is not None for part in state[2:5]):
            raise _Refused("an array of a structured type")
        self.dtype = self.dtype.newbyteorder(state[1])


class Array:
    """Stands for a `numpy.ndarray`, whose content comes as its state: `tensor`, in the CPU's memory and byte order."""

    tensor: Tensor | None = None

    def build(self, state: tuple) -> None:
        _, shape, kind, fortran, data = state
        data = data.encode("latin-1") if isinstance(data, str) else data  # a Python 2 string
        if min(shape, default=0) < 0 or math.prod(shape) * kind.dtype.itemsize != len(data):
            raise _Refused(f"{len(data):,} bytes for an array of shape {one_line(shape)}")
        array = np.frombuffer(data, kind.dtype).reshape(shape, order="F" if fortran else "C")
        self.tensor = torch.from_numpy(array.astype(kind.dtype.newbyteorder("="), order="C"))


def _reconstruct(*_) -> Array:
    return Array()


def _frombuffer(data: bytes, kind: _Type, shape: tuple, order: str) -> Array:
    array = Array()
    array.build((1, shape, kind, order == "F", data))
    return array


def _scalar(kind: _Type, data: bytes) -> Array:
    return _frombuffer(data, kind, (), "C")


def _encode(text: str, encoding: str) -> bytes:
    if _text(encoding) not in ("latin1", "latin-1"):
        raise _Refused(f"text in {one_line(encoding)}")
    return text.encode("latin-1")


def _ordered_dict(pairs: list = ()) -> dict:
    return _filled({}, [part for key, value in pairs for part in (key, value)])


_BUILDERS: dict[str, Callable | None] = {
    "_codecs.encode": _encode,
    "collections.OrderedDict": _ordered_dict,
    "numpy.dtype": _Type,
    "numpy.ndarray": None,  # an argument only
}
for _core in ("numpy.core", "numpy._core"):  # before and since NumPy 2
    _BUILDERS |= {f"{_core}.multiarray._reconstruct": _reconstruct, f"{_core}.multiarray.scalar": _scalar}
    _BUILDERS |= {f"{_core}.numeric._frombuffer": _frombuffer}


def read_pickle(path: str) -> object:
    """Content of a pickle of protocol 2–5: plain containers, numbers and strings, and each array as an `Array`.

    Args:
        path: of a file that is not empty. Strings of Python 2 are read as Latin-1.

    Returns:
        what the file holds.

    Raises:
        InputError: for a file that asks for anything else (it names what; nothing of the file has run), that is cut
            short or damaged.
    """
    try:
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return _follow(content, most_bytes=_MOST_COPIES * len(content))
    except _Refused as error:
        raise InputError(
            f"expected a pickle of NumPy arrays alone; found {error} in {path}: nothing of the file was run; get the "
            "weights as safetensors, a state_dict or plain arrays"
        ) from error
    except Exception as error:  # whatever bytes that somebody else chose lead to
        raise InputError(
            f"expected a whole pickle; found one cut short or damaged in {path} ({one_line(error)}): download it again"
        ) from error


def _follow(file, most_bytes: int) -> object:
    """Follow the instructions of a pickle to its end; the stack and memo are plain Python, a mark is a position."""
    stack, marks, memo, used = [], [], {}, 0

    def since_mark() -> list:
        mark = marks.pop()
        items = stack[mark:]
        del stack[mark:]
        return items

    for number, (instruction, value, _) in enumerate(pickletools.genops(file)):
        if number == _MOST_INSTRUCTIONS:
            raise _Refused(f"more than {_MOST_INSTRUCTIONS:,} instructions")
        name = instruction.name
        if name in _VALUES:
            stack.append(value)
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name == "MARK":
            marks.append(len(stack))
        elif name in ("BINPUT", "LONG_BINPUT", "MEMOIZE"):
            memo[len(memo) if name == "MEMOIZE" else value] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(memo[value])
        elif name in _CONTAINERS:
            stack.append(_CONTAINERS[name]())
        elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
            length = int(name[-1])
            stack[-length:] = [tuple(stack[-length:])]
        elif name == "TUPLE":
            stack.append(tuple(since_mark()))
        elif name in ("APPEND", "APPENDS"):
            items = [stack.pop()] if name == "APPEND" else since_mark()
            stack[-1].extend(items)
        elif name in ("SETITEM", "SETITEMS"):
            items = [stack.pop(-2), stack.pop()] if name == "SETITEM" else since_mark()
            _filled(stack[-1], items)
        elif name in ("GLOBAL", "STACK_GLOBAL"):
            wanted = value.replace(" ", ".") if name == "GLOBAL" else f"{_text(stack.pop(-2))}.{_text(stack.pop())}"
            if wanted not in _BUILDERS:
                raise _Refused(f"the global {one_line(wanted)!r}")
            stack.append(_BUILDERS[wanted])
        elif name in ("REDUCE", "BUILD"):
            parts = stack.pop()
            used += sum(len(part) for part in parts if hasattr(part, "__len__"))
            if used > most_bytes:
                raise _Refused("more content than the file has bytes")
            if name == "REDUCE":
                stack[-1] = stack[-1](*parts)
            else:
                stack[-1].build(parts)
        elif name not in ("PROTO", "FRAME", "STOP"):
            raise _Refused(f"the instruction {name}")
    return stack.pop()


def _filled(target: dict, items: list) -> dict:
    for key, value in zip(items[::2], items[1::2], strict=True):
        if not isinstance(key, (str, int)):
            raise _Refused(f"a dict with keys of type {type(key).__name__}")
        target[key] = value
    return target


def _text(value: object) -> str:
    if not isinstance(value, str):  # to hash or print a nested tuple can take forever
        raise _Refused(f"a {type(value).__name__} for a name")
    return value
