"""Writers of weight files, independent of the readers: names by loops, a Python 2 pickle by bytes."""

import struct

import numpy as np
import torch

from fer_utils import models

HEAD = (8631, 4)  # as many identities as VGGFace2 has


def random_state(name, seed=0):
    """Tensors under torchvision's names, in RGB, as published files have them."""
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for key, tensor in models.build_backbone(name).state_dict().items():
        if not key.endswith(("tracked", "scale", "shift")):
            state[key] = torch.rand(tensor.shape, generator=generator) * 0.2 + 0.01
    return state


def vggface2_arrays(state):
    """As VGGFace2-pytorch stores it: squeeze as conv4 and conv5, blue first, NumPy arrays."""
    arrays = {
        name.replace(".se.fc1.", ".conv4.").replace(".se.fc2.", ".conv5."): tensor.numpy()
        for name, tensor in state.items()
    }
    arrays["conv1.weight"] = np.ascontiguousarray(arrays["conv1.weight"][:, [2, 1, 0]])
    head = {"fc.weight": np.zeros(HEAD, np.float32), "fc.bias": np.zeros(HEAD[0], np.float32)}
    return arrays | head


def dag_tensors(state):
    """As Albanie's export names it."""
    modules = {"conv1": "conv1_7x7_s2", "bn1": "conv1_7x7_s2_bn"}
    for layer in (1, 2, 3, 4):
        for block in range(6):
            ours, theirs = f"layer{layer}.{block}", f"conv{layer + 1}_{block + 1}"
            for number, part in enumerate(("1x1_reduce", "3x3", "1x1_increase"), start=1):
                modules[f"{ours}.conv{number}"] = f"{theirs}_{part}"
                modules[f"{ours}.bn{number}"] = f"{theirs}_{part}_bn"
            modules[f"{ours}.downsample.0"] = f"{theirs}_1x1_proj"
            modules[f"{ours}.downsample.1"] = f"{theirs}_1x1_proj_bn"
            modules[f"{ours}.se.fc1"] = f"{theirs}_1x1_down"
            modules[f"{ours}.se.fc2"] = f"{theirs}_1x1_up"
    tensors = {"classifier.weight": torch.zeros(*HEAD, 1, 1)}
    for name, tensor in state.items():
        module, _, part = name.rpartition(".")
        tensors[f"{modules[module]}.{part}"] = tensor
    return tensors


def python2_pickle(arrays):
    """Protocol 2 as Python 2's cPickle writes it: byte strings for names and data."""
    out = bytearray(b"\x80\x02}(")
    for name, array in arrays.items():
        out += b"U" + bytes([len(name)]) + name.encode("latin-1")
        out += b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01("
        for size in array.shape:
            out += b"M" + struct.pack("<H", size)
        out += b"tcnumpy\ndtype\nU\x02f4K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xff"
        out += b"J\xff\xff\xff\xffK\x00tb\x89T" + struct.pack("<I", array.nbytes)
        out += array.tobytes() + b"tb"
    return bytes(out + b"u.")
