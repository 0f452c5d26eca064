"""The numbers in the artists of the figures that look into one run."""

import numpy as np
import pytest

from fer_utils import plots
from fer_utils.errors import InputError


def axes():
    return plots.new_figure().subplots()


def test_overlay_is_grey_where_the_heatmap_is_0_and_its_line_surrounds_half_of_its_maximum():
    heatmap = np.zeros((9, 9))
    heatmap[4, 4] = 1
    ax = plots.plot_overlay(axes(), np.full((9, 9, 3), 200, np.uint8), heatmap)
    picture, heat = ax.images
    assert (picture.get_array() == 200).all() and picture.cmap.name == "gray"
    assert np.array_equal(heat.get_alpha() > 0, heatmap > 0)
    (line,) = ax.collections[0].get_paths()
    assert np.abs(line.vertices - 4).sum(axis=1).max() == 0.5
    assert not plots.plot_overlay(axes(), np.zeros((9, 9), np.uint8), np.zeros((9, 9))).collections


@pytest.mark.parametrize(
    ("image", "heatmap", "message"),
    [
        (np.zeros((4, 4)), np.zeros((4, 4)), r"expected a uint8 image .*, found float64 \(4, 4\)"),
        (np.zeros((4, 4), np.uint8), np.zeros((4, 5)), r"of the image's size \(4, 4\), found \(4, 5\)"),
        (np.zeros((4, 4), np.uint8), np.full((4, 4), 2), "from 0 to 1 .* with values 2 to 2"),
        (np.zeros((4, 4), np.uint8), np.full((4, 4), np.nan), "with values nan to nan"),
    ],
    ids=["float image", "another size", "above 1", "nan"],
)
def test_overlay_names_bad_input(image, heatmap, message):
    with pytest.raises(InputError, match=message):
        plots.plot_overlay(axes(), image, heatmap)
