"""Writers of weights in the field's formats, independent of the readers."""

import numpy as np
import torch

PEOPLE = (8631, 4)  # readers drop the head, so that its features can be few


def vggface2_arrays(state):
    """As VGGFace2-pytorch stores a network: squeeze as conv4, conv5; blue first; NumPy arrays."""
    arrays = {
        name.replace(".se.fc1.", ".conv4.").replace(".se.fc2.", ".conv5."): tensor.numpy()
        for name, tensor in state.items()
    }
    arrays["conv1.weight"] = np.ascontiguousarray(arrays["conv1.weight"][:, [2, 1, 0]])
    return arrays | {
        "fc.weight": np.zeros(PEOPLE, np.float32),
        "fc.bias": np.zeros(PEOPLE[0], "f4"),
    }


def dag_tensors(state):
    """As Albanie's export names a network."""
    theirs = {"conv1": "conv1_7x7_s2", "bn1": "conv1_7x7_s2_bn"}
    for layer in (1, 2, 3, 4):
        for block in range(6):
            ours, name = f"layer{layer}.{block}", f"conv{layer + 1}_{block + 1}"
            for number, part in enumerate(("1x1_reduce", "3x3", "1x1_increase"), start=1):
                theirs[f"{ours}.conv{number}"] = f"{name}_{part}"
                theirs[f"{ours}.bn{number}"] = f"{name}_{part}_bn"
            theirs[f"{ours}.downsample.0"] = f"{name}_1x1_proj"
            theirs[f"{ours}.downsample.1"] = f"{name}_1x1_proj_bn"
            theirs[f"{ours}.se.fc1"] = f"{name}_1x1_down"
            theirs[f"{ours}.se.fc2"] = f"{name}_1x1_up"
    tensors = {
        f"{theirs[name.rpartition('.')[0]]}.{name.rpartition('.')[2]}": tensor
        for name, tensor in state.items()
    }
    head = {
        "classifier.weight": torch.zeros(*PEOPLE, 1, 1),
        "classifier.bias": torch.zeros(PEOPLE[0]),
    }
    return tensors | head


# {"a": a 2 × 3 float32 array}, protocol 2 as Python 2's cPickle writes it: names and data are byte
# strings, which Python 3 must read as Latin-1.
PYTHON2 = (
    b"\x80\x02}q\x01U\x01acnumpy.core.multiarray\n_reconstruct\nq\x02cnumpy\nndarray\nq\x03"
    b"K\x00\x85U\x01b\x87Rq\x04(K\x01K\x02K\x03\x86cnumpy\ndtype\nq\x05U\x02f4K\x00K\x01\x87Rq\x06"
    b"(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89U\x18"
    + np.arange(250, 256, dtype=np.float32).tobytes()
    + b"tbs."
)
