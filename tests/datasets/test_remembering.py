"""Checks of images that are remembered: never anything else than decoding again would say."""

import os

import pandas as pd
import pytest
from PIL import Image

from fer_utils import datasets
from fer_utils.datasets import checking
from fer_utils.errors import InputError
from tests.datasets import trees


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """A dataset, a function that reads it as a run does, and the names of the images that it decoded."""
    root, decoded = tmp_path / "faces", []
    root.mkdir()
    trees.folder(root)
    opener = checking.image_opener

    def counting(table):
        load = opener(table)
        return lambda name: (decoded.append(name), load(name))[1]

    monkeypatch.setattr(checking, "image_opener", counting)

    def read(**options):
        decoded.clear()
        with datasets.remembered_checks(tmp_path / "checks"):
            return datasets.read_folder(root, **options)

    return root, read, decoded


def test_unchanged_files_are_decoded_once(tree):
    root, read, decoded = tree
    first = read()
    assert len(decoded) == 4
    pd.testing.assert_frame_equal(read(), first)
    assert decoded == []
    pd.testing.assert_frame_equal(datasets.read_folder(root), first)  # outside nothing is remembered
    assert len(decoded) == 4


def test_a_changed_file_is_decoded_again(tree):
    root, read, decoded = tree
    before = read()
    path = root / "train/angry/2.jpg"
    size, changed = path.stat().st_size, path.stat().st_mtime_ns
    Image.new("RGB", (9, 9), "red").save(path)
    path.write_bytes(path.read_bytes().ljust(size, b"\0"))  # no larger than before, and a little later
    os.utime(path, ns=(changed + 1, changed + 1))
    after = read()
    assert decoded == ["train/angry/2.jpg"]
    assert (before["fingerprint"] != after["fingerprint"]).sum() == 1


def test_bad_and_absent_images_are_found_every_time(tree):
    root, read, decoded = tree
    read()
    (root / "valid/Sad/3.png").write_text("no picture")
    for _ in range(2):
        assert read(on_bad_image="skip").attrs["bad_images"]["names"] == ["valid/Sad/3.png"]
        assert decoded == ["valid/Sad/3.png"]
        with pytest.raises(InputError, match="3.png"):
            read()


def test_a_damaged_store_is_as_good_as_none(tree, tmp_path):
    _, read, decoded = tree
    first = read()
    (store,) = (tmp_path / "checks").iterdir()
    store.write_bytes(b"PAR1 cut short")
    pd.testing.assert_frame_equal(read(), first)
    assert len(decoded) == 4
    assert read() is not None and decoded == []
