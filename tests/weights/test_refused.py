"""Every other kind of file that stands where weights should: one clear line each, and never a crash."""

import bz2
import gzip
import io
import lzma
import os
import pickle
import random
import tarfile
import zipfile

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save as safetensors_bytes

from fer_utils import models, weights
from fer_utils.errors import InputError
from fer_utils.weights.reading import read
from tests.weights.writers import python2_pickle


def archived(kind):
    stream = io.BytesIO()
    if kind == "tar":
        with tarfile.open(fileobj=stream, mode="w") as archive:
            archive.addfile(tarfile.TarInfo("weights.pkl"))
    else:
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED if kind == "zip" else zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("weights/data.pkl" if kind == "compressed" else "weights.pkl", b"\x80\x02}." * 20)
    return stream.getvalue()


def torch_bytes(content, **options):
    stream = io.BytesIO()
    torch.save(content, stream, **options)
    return stream.getvalue()


def torchscript():
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name in ("x/data.pkl", "x/constants.pkl", "x/code/__torch__.py"):
            archive.writestr(name, b"\x80\x02}.")
    return stream.getvalue()


PAGE = b"<!DOCTYPE html><html>Not found</html>"
TENSORS = {"a": torch.arange(6.0).reshape(3, 2), "b": torch.arange(4), "c": torch.tensor(3.0)}
ARRAYS = {name: tensor.numpy() for name, tensor in TENSORS.items()}
FILES = {
    "safetensors": safetensors_bytes(TENSORS, {"format": "fer_utils", "layout": "{}"}),
    "zipped PyTorch": torch_bytes(TENSORS),
    "legacy PyTorch": torch_bytes({"state_dict": TENSORS, "epoch": 3}, _use_new_zipfile_serialization=False),
    "Python 2 pickle": python2_pickle({"a": ARRAYS["a"], "c": ARRAYS["c"]}),
    "Python 3 pickle": pickle.dumps(ARRAYS, protocol=2),
    "protocol 5": pickle.dumps({"state_dict": ARRAYS, "x": [1.5, None, True, (1, 2, 3, 4)]}, protocol=5),
}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "found an empty file in .*download it again"),
        (PAGE, "found a web page in .*link is dead"),
        (b"\xef\xbb\xbf\r\n " + PAGE, "found a web page"),
        (b"<?xml version='1.0'?><Error/>", "found a web page"),
        (archived("zip"), "found a zip archive in .*unpack it"),
        (archived("compressed"), "found a zip archive"),
        (torchscript(), r"found a TorchScript network in .*save its state_dict\(\)"),
        (archived("tar"), "found a tar archive in .*unpack it"),
        (gzip.compress(PAGE), "found a gzip archive in .*unpack it"),
        (bz2.compress(PAGE), "found a bzip2 archive"),
        (lzma.compress(PAGE), "found an xz archive"),
        (b"\x89HDF\r\n\x1a\n" + bytes(50), "found an HDF5 file"),
        (b"version https://git-lfs.github.com/spec/v1\n", "found a Git LFS pointer"),
        (bytes(range(200)), "found 200 bytes of an unknown kind"),
        (b"\x80", "found 1 bytes of an unknown kind"),
        (b"PK\x03\x04" + bytes(80), "found a PyTorch or zip file cut short or damaged"),
        (FILES["safetensors"][:50], "found a safetensors file cut short"),
        (FILES["safetensors"][:-5], "found a safetensors file cut short or damaged"),
        (FILES["zipped PyTorch"][:-200], "found a PyTorch or zip file cut short or damaged"),
        (FILES["legacy PyTorch"][:-5], "found a PyTorch file cut short or damaged"),
        (FILES["legacy PyTorch"][:150], "found a PyTorch file cut short or damaged"),
        (FILES["Python 2 pickle"][:100], "expected a whole pickle; found one cut short or damaged"),
        (FILES["Python 3 pickle"][:-1], "expected a whole pickle; found one cut short or damaged"),
    ],
    ids=lambda value: value if isinstance(value, str) else "bytes",  # archives hold the time: names must not
)
def test_other_files_are_named(content, message, tmp_path, refused):
    path = tmp_path / "senet50_ft_weight.pkl"
    path.write_bytes(content)
    refused(message, weights.load_pretrained, models.resnet14(), path)
    refused(message, weights.load_weights, models.FERNet("resnet14"), path)


def test_a_missing_file_and_a_folder(tmp_path, refused):
    refused("found no file '.*absent'", weights.load_pretrained, models.resnet14(), tmp_path / "absent")
    refused("found a folder in .*give a file in it", weights.load_pretrained, models.resnet14(), tmp_path)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads everything")
def test_a_file_that_may_not_be_read_is_an_oserror(tmp_path):
    (tmp_path / "x.pth").write_bytes(FILES["zipped PyTorch"])
    (tmp_path / "x.pth").chmod(0)
    with pytest.raises(PermissionError):
        weights.load_pretrained(models.resnet14(), tmp_path / "x.pth")


def test_a_file_that_cannot_be_read_is_an_oserror(tmp_path, monkeypatch):
    (tmp_path / "x.pth").write_bytes(FILES["zipped PyTorch"])

    def closed(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", closed)
    with pytest.raises(PermissionError):
        read(str(tmp_path / "x.pth"))


@pytest.mark.parametrize("kind", FILES)
def test_the_files_to_be_damaged_are_whole(kind, tmp_path):
    (tmp_path / "x").write_bytes(FILES[kind])
    for name, tensor in read(str(tmp_path / "x")).tensors.items():
        assert torch.equal(tensor, TENSORS[name])


def damaged(content, random):
    content = bytearray(content)
    for _ in range(random.choice((1, 1, 2, 4))):
        place = random.randrange(len(content) + 1)
        change = random.choice(("flip", "flip", "byte", "cut", "insert", "delete"))
        if change == "cut":
            content = content[: max(place, 1)]
        elif change == "insert":
            content[place:place] = random.randbytes(random.randrange(9))
        elif change == "delete":
            del content[place : place + random.randrange(9)]
        elif place < len(content):
            content[place] = random.randrange(256) if change == "byte" else content[place] ^ 1 << random.randrange(8)
    return bytes(content)


@pytest.mark.parametrize("kind", FILES)
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], database=None)
@given(seed=st.integers(0, 2**32))
def test_a_damaged_file_ends_in_tensors_or_in_our_own_error(kind, seed, tmp_path):
    (tmp_path / "x").write_bytes(damaged(FILES[kind], random.Random(seed)))
    try:
        tensors = read(str(tmp_path / "x")).tensors
    except InputError as error:
        assert "\n" not in str(error)
    else:
        assert all(isinstance(tensor, torch.Tensor) for tensor in tensors.values())


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], database=None)
@given(
    start=st.sampled_from([b"", b"\x80\x02", b"\x80\x04", b"PK\x03\x04", b"\x10" + bytes(7) + b"{"]), rest=st.binary()
)
def test_random_bytes_end_in_our_own_error(start, rest, tmp_path, refused):
    (tmp_path / "x").write_bytes(start + rest)
    with pytest.raises(InputError):
        weights.load_pretrained(BACKBONE, tmp_path / "x")


BACKBONE = models.resnet14()


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], database=None)
@given(data=st.data())
def test_arrays_come_back_as_numpy_has_them(protocol, data, tmp_path):
    shape = data.draw(st.lists(st.integers(1, 4), max_size=4))
    kind = data.draw(st.sampled_from(["f4", ">f4", "f8", "f2", "i8", ">i2", "u1", "?"]))
    array = np.asarray(np.random.default_rng(0).integers(0, 2, shape), dtype=kind)
    array = data.draw(st.sampled_from([array, np.asfortranarray(array), array.T]))
    (tmp_path / "x").write_bytes(pickle.dumps({"a": array, "again": array, "other": array.copy()}, protocol))
    for tensor in read(str(tmp_path / "x")).tensors.values():
        assert tuple(tensor.shape) == array.shape
        assert np.array_equal(tensor.numpy(), array)
