"""What users name, and what they have: every odd file gives a picture or a sentence."""

import re

import numpy as np
import pytest
from PIL import Image

from fer_utils.errors import InputError
from fer_utils.recognising import list_pictures, open_picture

UPRIGHT = np.zeros((6, 9, 3), np.uint8)
MAGENTA = Image.new("CMYK", (9, 6), (0, 255, 0, 0))
UPRIGHT[:2], UPRIGHT[:, :3] = (250, 10, 10), (20, 20, 240)


def save(path, image, **options):
    image.save(path, **options)
    return path


def rotated(folder):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held on its side
    return save(folder / "rotated.png", Image.fromarray(np.rot90(UPRIGHT, 1)), exif=exif)


def animated(folder):
    frames = [Image.new("RGB", (9, 6), colour) for colour in ("white", "black", "red")]
    return save(folder / "animated.gif", frames[0], save_all=True, append_images=frames[1:])


def transparent(folder):
    image = Image.fromarray(UPRIGHT).convert("RGBA")
    image.putpixel((0, 0), (255, 255, 255, 0))
    return save(folder / "transparent.png", image)


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (rotated, UPRIGHT),
        (animated, np.full((6, 9, 3), 255)),
        (transparent, np.where(np.arange(54).reshape(6, 9, 1) == 0, 0, UPRIGHT)),
        (lambda folder: save(folder / "grey.png", Image.new("L", (9, 6), 77)), np.full((6, 9, 3), 77)),
        (lambda folder: save(folder / "cmyk.tif", MAGENTA), np.full((6, 9, 3), (255, 0, 255))),
    ],
    ids=["rotated", "animated", "transparent", "grey", "cmyk"],
)  # fmt: skip
def test_odd_pictures_are_opened_as_in_training(make, expected, tmp_path):
    picture = open_picture(make(tmp_path))
    assert picture.dtype == np.uint8
    np.testing.assert_array_equal(picture, expected)


def text(folder):
    (folder / "text.jpg").write_text("not a picture")
    return folder / "text.jpg"


def cut_off(folder):
    path = save(folder / "cut.png", Image.effect_noise((64, 64), 50))
    path.write_bytes(path.read_bytes()[:900])
    return path


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")  # as datasets.images sets it for programs
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (text, "expected a picture at .*text.jpg, found a file that is none; leave it out"),
        (lambda folder: folder / "gone.png", "expected a picture at .*gone.png, found no such file; check the path"),
        (lambda folder: folder, r"expected pictures \(.*\.png.*\) in .*, found none; name another folder"),
        (cut_off, "expected a readable image at .*cut.png"),
        (
            lambda folder: save(folder / "huge.png", Image.new("1", (10_000, 10_000))),
            "expected a picture of at most 60 megapixels at .*huge.png, found 100; make it smaller",
        ),
        (
            lambda folder: save(folder / "bomb.png", Image.new("1", (20_000, 20_000))),
            "expected a picture of at most 60 megapixels at .*bomb.png, found more than 178; make it smaller",
        ),
    ],
    ids=["text", "missing", "empty-folder", "cut-off", "100-megapixels", "400-megapixels"],
)
def test_what_cannot_be_used_is_one_sentence(make, message, tmp_path):
    with pytest.raises(InputError, match=message) as error:
        open_picture(make(tmp_path))
    assert "\n" not in str(error.value)


@pytest.fixture
def folder(tmp_path):
    for name in ("b.JPG", "a.png", "notes.txt", "one, two.png"):
        (tmp_path / name).touch()
    (tmp_path / "empty").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        ("", []),
        (" a.png ,b.JPG\n\ngone.png", ["a.png", "b.JPG", "gone.png"]),
        ("one, two.png", ["one, two.png"]),
        (["one, two.png", "a.png", "a.png"], ["one, two.png", "a.png"]),
        (".", ["a.png", "b.JPG", "one, two.png"]),
        ("empty", ["empty"]),
        ("a.png," + ",".join(["x" * 99] * 9), ["a.png", "x" * 99]),
    ],
    ids=["nothing", "text", "a-comma-in-the-name", "list", "folder", "empty-folder", "long"],
)
def test_list_pictures(paths, expected, folder):
    assert list_pictures(paths, folder) == [folder / name for name in expected]


def test_a_path_from_home(folder, monkeypatch):
    monkeypatch.setenv("HOME", str(folder))
    assert [path.name for path in list_pictures("~/a.png", "/elsewhere")] == ["a.png"]
    assert not re.search("~", str(list_pictures("~/a.png")[0]))
