"""Decoding against pixels written down by hand, boxes, squares, and the cache of fingerprints."""

import math
import os
import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from fer_utils import datasets
from fer_utils.core import InputError, raster
from fer_utils.core.raster import crop_box, open_image
from fer_utils.datasets import images, load_images, load_squares
from tests.datasets import trees


def manifest_of(folder, names, **columns):
    manifest = pd.DataFrame({"image": names, "label": 0, "split": "train", **columns})
    manifest.attrs = {"dataset": "folder", "root": str(folder)}
    return manifest


@pytest.fixture
def noise():
    return np.random.default_rng(0).integers(0, 256, (5, 7, 5, 3), dtype=np.uint8)


@pytest.fixture
def files(tmp_path, noise):
    names = [f"{number}.png" for number in range(len(noise))]
    for name, pixels in zip(names, noise, strict=True):
        Image.fromarray(pixels).save(tmp_path / name)
    return manifest_of(tmp_path, names)


def decode(path, image, **options):
    image.save(path, **options)
    pixels = open_image(path)
    assert pixels.dtype == np.uint8 and pixels.shape[2] == 3
    return pixels


def palette():
    image = Image.fromarray(np.array([[0, 1]], dtype=np.uint8)).convert("P")
    image.putpalette([1, 2, 3, 200, 100, 50])
    return image


RED, BLUE = (Image.new("RGB", (1, 1), color) for color in ("red", "blue"))
WIDE = np.array([[0, 257, 100 * 257, 65535]], dtype=np.uint16)
CLEAR = np.array([[[200, 100, 50, a] for a in (255, 0, 128)]], dtype=np.uint8)


@pytest.mark.parametrize(
    "image, ending, options, expected",
    [
        (Image.fromarray(np.array([[7, 9]], dtype=np.uint8)), "png", {}, [[7] * 3, [9] * 3]),
        (Image.fromarray(np.array([[True, False]])), "png", {}, [[255] * 3, [0] * 3]),
        (palette(), "png", {}, [[1, 2, 3], [200, 100, 50]]),
        (palette(), "png", {"transparency": 1}, [[1, 2, 3], [0, 0, 0]]),
        (Image.fromarray(WIDE), "png", {}, [[0] * 3, [1] * 3, [100] * 3, [255] * 3]),
        (Image.fromarray(CLEAR), "png", {}, [[200, 100, 50], [0, 0, 0], [100, 50, 25]]),
        (RED, "gif", {"save_all": True, "append_images": [BLUE]}, [[255, 0, 0]]),
        (RED, "bmp", {}, [[255, 0, 0]]),
        (RED, "tif", {}, [[255, 0, 0]]),
        (RED, "webp", {"lossless": True}, [[255, 0, 0]]),
    ],
)
def test_every_mode_is_decoded_alike(tmp_path, image, ending, options, expected):
    assert decode(tmp_path / f"a.{ending}", image, **options)[0].tolist() == expected


def test_exif_orientation_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned by 90° clockwise
    pixels = np.zeros((2, 3, 3), dtype=np.uint8)
    pixels[0, 0] = 255  # upper left, which turning moves to the upper right
    decoded = decode(tmp_path / "a.png", Image.fromarray(pixels), exif=exif)
    assert decoded.shape == (3, 2, 3)
    assert decoded[0, 1].tolist() == [255] * 3 and decoded.sum() == 3 * 255


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n"


@pytest.mark.parametrize("content", [b"", b"text", b"\x89PNG\r\n\x1a\n", b"GIF89a", EPS])
def test_unreadable_files_are_named_in_one_line(tmp_path, content, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))  # where an interpreter of PostScript would be
    (tmp_path / "gs").write_text(f"#!/bin/sh\n: > {tmp_path}/ran\n")
    (tmp_path / "gs").chmod(0o755)
    (tmp_path / "bad.jpg").write_bytes(content)
    with pytest.raises(InputError, match="readable image at .*bad.jpg") as error:
        open_image(tmp_path / "bad.jpg")
    assert "\n" not in str(error.value) and not (tmp_path / "ran").exists()


def test_truncated_floating_point_and_huge_ones(tmp_path, noise):
    path = tmp_path / "a.jpg"
    Image.fromarray(noise[0]).resize((64, 64)).save(path)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(InputError, match="a.jpg.*truncated"):
        open_image(path)
    Image.fromarray(np.zeros((2, 2), dtype=np.float32)).save(tmp_path / "b.tif")
    with pytest.raises(InputError, match="floating-point"):
        open_image(tmp_path / "b.tif")
    Image.new("1", (10_000, 5_001)).save(tmp_path / "c.png")
    with pytest.raises(InputError, match="10000 × 5001 pixels, expected 50 million"):
        open_image(tmp_path / "c.png")


def test_load_images(files, noise, tmp_path):
    np.testing.assert_array_equal(load_images(files), noise)
    np.testing.assert_array_equal(load_images(files.iloc[[3, 1]]), noise[[3, 1]])
    assert load_images(files, size=4).shape == (5, 4, 4, 3)
    Image.new("RGB", (3, 4), (10, 20, 30)).save(tmp_path / "0.png")
    assert [image.shape for image in load_images(files)[:2]] == [(4, 3, 3), (7, 5, 3)]
    with pytest.raises(InputError, match="absent.png, found no such file"):
        load_images(manifest_of(tmp_path, ["absent.png"]))
    files.attrs = {}
    with pytest.raises(InputError, match="attrs"):
        load_images(files)


def test_squares_are_grey_where_all_images_are(files, noise, tmp_path):
    squares = load_squares(files, 5)
    np.testing.assert_array_equal(squares, noise[:, 1:6])  # the centre
    np.testing.assert_array_equal(raster.to_square(noise[0], 5), squares[0])
    for name in files["image"][:4]:
        Image.open(tmp_path / name).convert("L").save(tmp_path / name)
    assert load_squares(files, 3).shape == (5, 3, 3, 3)
    grey = load_squares(files.iloc[:4], 5)
    assert grey.shape == (4, 5, 5, 1)
    np.testing.assert_array_equal(grey[0], load_images(files.iloc[:1])[0, 1:6, :, :1])


def test_drawn_faces_are_those_of_the_generator(monkeypatch):
    drawn = datasets.read_synthetic(train=80, validation=8, test=16, subjects=12, image_size=24)
    monkeypatch.setattr(images, "_DRAWN", 7)
    np.testing.assert_array_equal(load_images(drawn), datasets.draw_manifest(drawn))
    rows = drawn.iloc[[90, 3]]
    np.testing.assert_array_equal(load_squares(rows, 32), datasets.draw_manifest(rows, size=32))


def test_hashes_are_equal_exactly_where_pixels_are(tmp_path, noise):
    Image.fromarray(noise[0]).save(tmp_path / "a.png")
    Image.fromarray(noise[0]).save(tmp_path / "b.bmp")
    noise[1] = noise[0]
    noise[1, 6, 4, 2] ^= 1
    Image.fromarray(noise[1]).save(tmp_path / "c.png")
    Image.fromarray(noise[0].reshape(5, 7, 3)).save(tmp_path / "d.png")  # other sides
    names = ["a.png", "b.bmp", "c.png", "d.png"]
    a, b, c, d = datasets.hash_images(manifest_of(tmp_path, names))
    assert a == b and len({a, c, d}) == 3


@pytest.mark.parametrize(
    "box, margin, expected",
    [
        ((30, 20, 40, 40), 0, (30, 20, 70, 60)),
        ((30, 20, 40, 40), 0.1, (26, 16, 74, 64)),  # a tenth at each end
        ((30, 20, 20, 40), 0, (20, 20, 60, 60)),  # the longer side, about the same centre
        ((-10, 20, 40, 40), 0, (0, 20, 40, 60)),  # moved inside rather than cut
        ((80, 60, 40, 40), 0, (60, 40, 100, 80)),
        ((0, 0, 90, 90), 0, (0, 0, 90, 80)),  # higher than the image
        ((10, 10, 0.2, 0.2), 0, (10, 10, 11, 11)),
        ((10, 10, 0, 20), 0.5, (0, 0, 100, 80)),  # unusable ones: the whole image
        ((100, 10, 20, 20), 0, (0, 0, 100, 80)),
        ((-20, 10, 20, 20), 0, (0, 0, 100, 80)),
        ((math.nan, 10, 20, 20), 0, (0, 0, 100, 80)),
        ((10, 10, math.inf, 20), 0, (0, 0, 100, 80)),
    ],
)
def test_boxes_by_hand(box, margin, expected):
    assert crop_box(100, 80, box, margin) == expected


def test_images_are_served_cut(files, noise):
    with pytest.raises(InputError, match="box_x"):
        datasets.with_margin(files, 0.1)
    boxed = files.assign(box_x=[1, 99, 0, 0, 0], box_y=2, box_width=2, box_height=2)
    cut = load_images(datasets.with_margin(boxed, 0.5))
    np.testing.assert_array_equal(cut[0], noise[0, 1:5, 0:4])
    np.testing.assert_array_equal(cut[1], noise[1])
    np.testing.assert_array_equal(load_images(boxed), noise)
    with pytest.raises(InputError, match="-0.5"):
        datasets.with_margin(boxed, -0.5)


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """A dataset, a function that reads it with a cache, and the names of what was decoded."""
    root, decoded, opener = tmp_path / "faces", [], images.image_opener
    trees.folder(root)

    def counting(table):
        load = opener(table)
        return lambda name: (decoded.append(name), load(name))[1]

    monkeypatch.setattr(images, "image_opener", counting)

    def read(**options):
        decoded.clear()
        with datasets.remembered_checks(tmp_path / "checks"):
            return datasets.read_folder(root, **options)

    return root, read, decoded


def test_unchanged_files_are_decoded_once(tree, tmp_path, monkeypatch):
    root, read, decoded = tree
    first = read()
    assert len(decoded) == 4
    pd.testing.assert_frame_equal(read(), first)
    assert decoded == []
    datasets.read_folder(root)  # outside nothing is remembered
    assert len(decoded) == 4
    (store,) = (tmp_path / "checks").iterdir()
    store.write_text('{"cut')  # a damaged store is as good as none
    assert read().equals(first) and len(decoded) == 4
    monkeypatch.setattr("PIL.__version__", "99")  # which may decode otherwise
    assert read().equals(first) and len(decoded) == 4


def test_a_copy_of_equal_size_and_time_is_noticed(tree):
    root, read, decoded = tree
    test, train = root / "TEST/contempt/4.jpg", root / "train/angry/2.jpg"
    size = max(test.stat().st_size, train.stat().st_size)
    for path in (test, train):
        path.write_bytes(path.read_bytes().ljust(size, b"\0"))
    before, times = read(), train.stat()
    shutil.copyfile(test, train)
    os.utime(train, ns=(times.st_atime_ns, times.st_mtime_ns))
    after = read()
    assert decoded == ["train/angry/2.jpg"]
    assert before["fingerprint"].is_unique and not after["fingerprint"].is_unique


def test_bad_images_are_found_every_time(tree):
    root, read, decoded = tree
    read()
    (root / "valid/Sad/3.png").write_text("no picture")
    for _ in range(2):
        assert read(on_bad_image="skip").attrs["bad_images"]["names"] == ["valid/Sad/3.png"]
        assert decoded == ["valid/Sad/3.png"]
        with pytest.raises(InputError, match="3.png"):
            read()
