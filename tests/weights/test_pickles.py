"""Pickles that would run code, or fill the memory, are refused by name and leave no trace."""

import builtins
import io
import os
import pickle
import struct
import time
from collections import OrderedDict

import numpy as np
import pytest
import torch

from fer_utils import models, weights
from fer_utils.weights.pickles import read_pickle
from fer_utils.weights.reading import read

ANY = models.resnet14()


class Calls:
    """Pickles as a call of `function`."""

    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


class Built:
    """Pickles as a legal object whose state hides a call."""

    def __init__(self, payload):
        self.payload = payload

    def __reduce__(self):
        return OrderedDict, (), {"state": self.payload}


def payloads(trace):
    """By the name that the reader must say: the first that the file calls for."""
    write = f"open({str(trace)!r}, 'w')"
    return {
        "posix.system": Calls(os.system, f"touch {trace}"),
        "(builtins|__builtin__).eval": Calls(builtins.eval, write),
        "(builtins|__builtin__).getattr": Calls(getattr, Calls(eval, write), "name"),
        "numpy.load": Calls(np.load, Calls(eval, write)),
        "torch.storage._load_from_bytes": torch.zeros(2).untyped_storage(),
    }


@pytest.mark.parametrize("name", payloads(""))
@pytest.mark.parametrize("protocol", [2, 4, 5])  # GLOBAL in the first, STACK_GLOBAL in the others
@pytest.mark.parametrize("place", ["alone", "among arrays", "nested", "as a state"])
def test_nothing_runs_and_the_name_is_said(name, protocol, place, tmp_path, refused):
    payload = payloads(tmp_path / "trace")[name]
    content = {
        "alone": payload,
        "among arrays": {"conv1.weight": np.zeros(3), "fc.weight": payload},
        "nested": {"state_dict": {"conv1.weight": [(payload,)]}},
        "as a state": {"x": Built(payload)},
    }[place]
    path = tmp_path / "weights.pkl"
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    refused(f"found the global '{name}' in .*nothing of the file was run", weights.load_pretrained, ANY, path)
    assert [file.name for file in tmp_path.iterdir()] == ["weights.pkl"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\x80\x02(S'touch x'\nios\nsystem\n.", "the instruction STRING"),
        (b"\x80\x02(U\x01xios\nsystem\n.", "the instruction INST"),
        (b"\x80\x02(cos\nsystem\nU\x01xo.", "the global 'os.system'"),
        (b"\x80\x02cnumpy\ndtype\nU\x02f4\x85\x81.", "the instruction NEWOBJ"),
        (b"\x80\x02\x82\x01.", "the instruction EXT1"),
        (b"\x80\x02U\x01xQ.", "the instruction BINPERSID"),
        (b"\x80\x02Pid\n.", "the instruction PERSID"),
        (b"\x80\x05\x97.", "the instruction NEXT_BUFFER"),
        (b"\x80\x02cnumpy\ndtype\nU\x02O8\x85R.", "an array of type 'O8'"),
        (b"\x80\x02cnumpy\ndtype\nU\x02f4\x85R(K\x03U\x01<K\x01NNtb.", "an array of a structured type"),
        (b"\x80\x04K\x01\x8c\x05dtype\x93.", "a int for a name"),
        (b"\x80\x02}(K\x01\x85K\x01u.", "a dict with keys of type tuple"),
        (b"\x80\x02c_codecs\nencode\nU\x01aU\x03hex\x86R.", "text in hex"),
        (b"\x80\x04\x8c\x01\n\x8c\x05a\n\nb\r\x93.", "the global '.a b'"),
    ],
)
def test_instructions_beyond_arrays_are_refused(content, said, tmp_path, refused):
    (tmp_path / "x.pkl").write_bytes(content)
    refused(f"found {said}", read_pickle, tmp_path / "x.pkl")


def test_a_call_of_what_is_no_builder_is_refused(tmp_path, refused):
    for called in (b"U\x02f4", b"cnumpy\nndarray\n", b"}"):
        (tmp_path / "x.pkl").write_bytes(b"\x80\x02" + called + b"K\x01\x85R.")
        refused("cut short or damaged", read_pickle, tmp_path / "x.pkl")


@pytest.mark.parametrize("size", [0, 11, 13])
def test_bytes_and_shape_must_agree(size, tmp_path, refused):
    content = pickle.dumps({"a": np.zeros(3, np.float32)}, protocol=3)
    assert content.count(bytes(12)) == 1
    content = content.replace(b"C\x0c" + bytes(12), b"C" + bytes([size]) + bytes(size))
    (tmp_path / "x.pkl").write_bytes(content)
    refused(rf"{size} bytes for an array of shape \(3,\)", read_pickle, tmp_path / "x.pkl")


def shared_tuples(depth):
    """A tuple of a tuple of … twice each: a few bytes, 2 ** depth leaves."""
    out = b"K\x01"
    for _ in range(depth):
        out += b"q\x01h\x01\x86"
    return out


BOMBS = {
    "a dict key that takes forever to hash": b"}" + shared_tuples(60) + b"K\x01s",
    "a type that takes forever to hash": b"cnumpy\ndtype\n" + shared_tuples(60) + b"\x85R",
    "a name that takes forever to print": shared_tuples(60) + b"U\x01x\x93",
    "a shape that takes forever to print": (
        b"cnumpy.core.multiarray\n_reconstruct\n)R(K\x01" + shared_tuples(60) + b"\x85NNNtb"
    ),
    "a string of 2 GB": b"T" + struct.pack("<i", 2**31 - 1) + b"x",
    "bytes of 2 ** 60": b"\x8e" + struct.pack("<Q", 2**60) + b"x",
    "a place in the memo": b"}r" + struct.pack("<I", 2**32 - 1),
    "one string in a hundred thousand arrays": (
        b"T" + struct.pack("<i", 10**6) + bytes(10**6) + b"q\x01cnumpy.core.multiarray\n_reconstruct\nq\x02"
        b"cnumpy\ndtype\nU\x02u1\x85Rq\x03" + b"h\x02)R(K\x01J\x40\x42\x0f\x00\x85h\x03\x89h\x01tb" * 100_000
    ),
    "one list in many dicts": (
        b"](" + b"U\x01aK\x01\x86" * 30_000 + b"eq\x01ccollections\nOrderedDict\nq\x02" + b"h\x02h\x01\x85R" * 30_000
    ),
    "ten million marks": b"(" * 10_000_000,
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_bombs_do_not_go_off(bomb, tmp_path, refused):
    (tmp_path / "x.pkl").write_bytes(b"\x80\x04" + BOMBS[bomb] + b".")
    started = time.process_time()
    refused("expected", read, tmp_path / "x.pkl")
    assert time.process_time() - started < 5


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("name", ["posix.system", "(builtins|__builtin__).eval"])
def test_pytorch_files_that_call_are_refused(zipped, name, tmp_path, refused):
    path = tmp_path / "weights.pth"
    content = {"conv1.weight": torch.zeros(3), "fc.weight": payloads(tmp_path / "trace")[name]}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    refused(f"found the global '.*{name[-4:]}' in .*nothing of the file was run", read, path)
    assert [file.name for file in tmp_path.iterdir()] == ["weights.pth"]


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickled_whole_module_is_refused_with_advice(zipped, tmp_path, refused):
    torch.save(torch.nn.Linear(2, 2), tmp_path / "x.pth", _use_new_zipfile_serialization=zipped)
    refused(r"the global 'torch.nn.modules.linear.Linear' .*save its state_dict\(\)", read, tmp_path / "x.pth")


def test_a_plain_pickle_of_tensors_is_refused(tmp_path, refused):
    stream = io.BytesIO()
    pickle.dump({"a": torch.zeros(2)}, stream)
    (tmp_path / "x.pkl").write_bytes(stream.getvalue())
    refused("the global 'torch._utils._rebuild_tensor_v2'", read, tmp_path / "x.pkl")
