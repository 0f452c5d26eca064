"""What kind of file it is, by its content and never its name: three containers of weights, and a line for the rest."""

import os
import zipfile
from pathlib import Path

from fer_utils.errors import InputError

_LEGACY_TORCH = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # the pickled magic number that torch.save wrote before 1.6
_LARGEST_HEADER = 100_000_000  # of a safetensors file, as its own reader allows
_LONGEST_LINE = 200
_UNPACK = "unpack it and give the file inside"
_AGAIN = "download it again"
_OTHERS = (
    (b"\x1f\x8b", "a gzip archive", _UNPACK),
    (b"BZh", "a bzip2 archive", _UNPACK),
    (b"\xfd7zXZ\x00", "an xz archive", _UNPACK),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", _UNPACK),
    (b"Rar!", "a RAR archive", _UNPACK),
    (b"\x89HDF\r\n", "an HDF5 file (of Keras?)", "convert it to safetensors in torchvision's names"),
    (b"version https://git-lfs", "a Git LFS pointer instead of the file", "fetch it with git lfs pull"),
)


def recognise(path: str) -> str:
    """Kind of the file at `path`: "safetensors", "torch" (a zip), "legacy torch" or "pickle".

    Raises:
        InputError: for anything else, which it names.
        OSError: if the file cannot be read.
    """
    if os.path.isdir(path):
        raise refusal("a folder", path, "give a file in it")
    if not Path(path).is_file():
        raise InputError(f"expected 'none', 'imagenet' or the path of a file of weights; found no file {path!r}")
    with open(path, "rb") as file:
        start, size = file.read(512), os.path.getsize(path)
    if not start:
        raise refusal("an empty file", path, _AGAIN)
    header = int.from_bytes(start[:8], "little")
    if start[8:9] == b"{" and header <= _LARGEST_HEADER:
        if 8 + header > size:
            raise refusal("a safetensors file cut short", path, _AGAIN)
        return "safetensors"
    if start.startswith(b"PK\x03\x04"):
        _check_zip(path)
        return "torch"
    if start.startswith(_LEGACY_TORCH):
        return "legacy torch"
    if start[0] == 0x80 and start[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return "pickle"
    if start.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"<"):
        raise refusal("a web page", path, "its link is dead or needs a login; find another")
    if start[257:262] == b"ustar":
        raise refusal("a tar archive", path, _UNPACK)
    for magic, what, advice in _OTHERS:
        if start.startswith(magic):
            raise refusal(what, path, advice)
    raise refusal(f"{size:,} bytes of an unknown kind", path, _AGAIN)


def _check_zip(path: str) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except Exception as error:  # whatever zipfile meets in bytes that somebody else chose
        raise refusal("a PyTorch or zip file cut short or damaged", path, _AGAIN) from error
    parts = {entry.filename.rpartition("/")[2] for entry in entries}
    # PyTorch never compresses, so a compressed entry is no record of its.
    if "data.pkl" not in parts or any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise refusal("a zip archive", path, _UNPACK)
    if "constants.pkl" in parts:
        raise refusal("a TorchScript network", path, "save its state_dict() instead")


def refusal(what: str, path: str, advice: str) -> InputError:
    """The error for a file that holds something else."""
    return InputError(
        f"expected weights as safetensors, a PyTorch file or a pickle of arrays; found {what} in {path}: {advice}"
    )


def one_line(text: object) -> str:
    """Somebody else's text in one line of bounded length, to be quoted.

    >>> one_line("first\\nsecond")
    'first second'
    """
    line = " ".join(str(text).split())
    return line if len(line) <= _LONGEST_LINE else f"{line[:_LONGEST_LINE]}…"
