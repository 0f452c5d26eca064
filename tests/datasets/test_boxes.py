import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from fer_utils.datasets import FaceDataset, load_images
from fer_utils.datasets.boxes import crop_box, cut_box, is_usable, with_margin
from fer_utils.errors import InputError

sizes = st.integers(1, 300)
places = st.floats(-400, 400) | st.sampled_from([math.nan, math.inf, -1.0, 0.0])
boxes = st.tuples(places, places, places, places)


@pytest.mark.parametrize(
    ("box", "margin", "expected"),
    [
        ((30, 20, 40, 40), 0, (30, 20, 70, 60)),
        ((30, 20, 40, 40), 0.1, (26, 16, 74, 64)),  # a tenth at each end
        ((30, 20, 20, 40), 0, (20, 20, 60, 60)),  # square: the longer side, about the same centre
        ((-10, 20, 40, 40), 0, (0, 20, 40, 60)),  # moved inside rather than cut
        ((80, 60, 40, 40), 0, (60, 40, 100, 80)),
        ((0, 0, 90, 90), 0, (0, 0, 90, 80)),  # higher than the image
        ((-50, -50, 500, 500), 0, (0, 0, 100, 80)),
        ((10, 10, 0.2, 0.2), 0, (10, 10, 11, 11)),
        ((10, 10, 0, 20), 0.5, (0, 0, 100, 80)),  # unusable ones: the whole image
        ((10, 10, -5, 20), 0, (0, 0, 100, 80)),
        ((100, 10, 20, 20), 0, (0, 0, 100, 80)),
        ((-20, 10, 20, 20), 0, (0, 0, 100, 80)),
        ((10, 80, 20, 20), 9, (0, 0, 100, 80)),
        ((math.nan, 10, 20, 20), 0, (0, 0, 100, 80)),
    ],
)
def test_boxes_by_hand(box, margin, expected):
    assert crop_box(100, 80, box, margin) == expected


@given(sizes, sizes, boxes, st.floats(0, 2))
def test_a_crop_is_inside_and_holds_what_the_image_has_of_the_box(width, height, box, margin):
    left, top, right, bottom = crop_box(width, height, box, margin)
    assert 0 <= left < right <= width and 0 <= top < bottom <= height
    if not is_usable(width, height, box):
        assert (left, top, right, bottom) == (0, 0, width, height)
        return
    x, y, box_width, box_height = box
    assert left <= max(x, 0) + 1 and right >= min(x + box_width, width) - 1  # to the pixel that rounding costs
    assert top <= max(y, 0) + 1 and bottom >= min(y + box_height, height) - 1
    side = max(box_width, box_height) * (1 + 2 * margin)
    assert right - left == min(max(round(side), 1), width) and bottom - top == min(max(round(side), 1), height)


def test_images_are_served_cut(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    manifest = pd.DataFrame({"image": ["a.png"] * 2, "label": 0, "split": "train"})
    manifest.attrs = {"dataset": "folder", "root": str(tmp_path)}
    with pytest.raises(InputError, match="expected a manifest with face boxes .* found no box_x; leave box_margin out"):
        with_margin(manifest, 0.1)
    manifest = manifest.assign(box_x=[3, 99], box_y=[4, 0], box_width=10, box_height=10)
    cut = with_margin(manifest, 0.1)
    face, whole = load_images(cut)
    np.testing.assert_array_equal(face, pixels[3:15, 2:14])
    np.testing.assert_array_equal(face, cut_box(pixels, (3, 4, 10, 10), 0.1))
    np.testing.assert_array_equal(whole, pixels)
    np.testing.assert_array_equal(FaceDataset(cut)[0][0].permute(1, 2, 0), face)
    np.testing.assert_array_equal(load_images(manifest)[0], pixels)  # the manifest itself is as it was
    with pytest.raises(InputError, match="at least 0, found -0.1"):
        with_margin(manifest, -0.1)
