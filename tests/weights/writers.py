"""Writers of every kind of file, independent of the readers: names by loops, Python 2's pickles byte by byte."""

import struct

import numpy as np
import torch

from fer_utils import models
from tests.test_models import randomised

BGR = [2, 1, 0]
HEAD = (8631, 4)  # as many identities as VGGFace2 has; readers drop it, so the features can be few


def random_state(name, seed=0):
    """Tensors of an architecture under torchvision's names, in channel order RGB, as published files have them."""
    state = randomised(models.build_backbone(name), seed)[1]
    return {name: tensor.float() for name, tensor in state.items() if not name.endswith(("tracked", "scale", "shift"))}


def vggface2_arrays(state):
    """The same network as VGGFace2-pytorch stores it: squeeze as conv4 and conv5, blue first, NumPy arrays."""
    arrays = {
        name.replace(".se.fc1.", ".conv4.").replace(".se.fc2.", ".conv5."): tensor.numpy()
        for name, tensor in state.items()
    }
    arrays["conv1.weight"] = np.ascontiguousarray(arrays["conv1.weight"][:, BGR])
    return arrays | {"fc.weight": np.zeros(HEAD, np.float32), "fc.bias": np.zeros(HEAD[0], np.float32)}


def dag_tensors(state):
    """The same network as Albanie's export names it."""
    tensors = {"classifier.weight": torch.zeros(*HEAD, 1, 1), "classifier.bias": torch.zeros(HEAD[0])}

    def give(ours, theirs):
        for name in state:
            if name.rpartition(".")[0] == ours:
                tensors[f"{theirs}.{name.rpartition('.')[2]}"] = state[name]

    give("conv1", "conv1_7x7_s2")
    give("bn1", "conv1_7x7_s2_bn")
    for layer in (1, 2, 3, 4):
        for block in range(6):
            ours, theirs = f"layer{layer}.{block}", f"conv{layer + 1}_{block + 1}"
            for number, part in enumerate(("1x1_reduce", "3x3", "1x1_increase"), start=1):
                give(f"{ours}.conv{number}", f"{theirs}_{part}")
                give(f"{ours}.bn{number}", f"{theirs}_{part}_bn")
            give(f"{ours}.downsample.0", f"{theirs}_1x1_proj")
            give(f"{ours}.downsample.1", f"{theirs}_1x1_proj_bn")
            give(f"{ours}.se.fc1", f"{theirs}_1x1_down")
            give(f"{ours}.se.fc2", f"{theirs}_1x1_up")
    assert len(tensors) == len(state) + 2
    return tensors


def python2_pickle(arrays):
    """Protocol 2 as Python 2's cPickle writes it: byte strings for names and data, repeated objects from the memo."""
    out, memo = bytearray(b"\x80\x02}q\x00("), {}

    def remembered(key, write):
        if key in memo:
            out.extend(b"h" + bytes([memo[key]]))
            return
        write()
        memo[key] = len(memo) + 1
        out.extend(b"q" + bytes([memo[key]]))

    def string(text):
        out.extend(b"U" + bytes([len(text)]) + text)

    def whole(number):
        out.extend(b"K" + bytes([number]) if number < 256 else b"M" + struct.pack("<H", number))

    def float32():
        remembered("dtype", lambda: out.extend(b"cnumpy\ndtype\n"))
        string(b"f4")
        out.extend(b"K\x00K\x01\x87R(K\x03")
        string(b"<")
        out.extend(b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb")

    for name, array in arrays.items():
        string(name.encode("latin-1"))
        remembered("reconstruct", lambda: out.extend(b"cnumpy.core.multiarray\n_reconstruct\n"))
        remembered("ndarray", lambda: out.extend(b"cnumpy\nndarray\n"))
        out.extend(b"K\x00\x85U\x01b\x87R(K\x01(")
        for size in array.shape:
            whole(size)
        out.extend(b"t")
        remembered("float32", float32)
        out.extend(b"\x89T" + struct.pack("<I", array.nbytes) + array.tobytes() + b"tb")
    return bytes(out + b"u.")
