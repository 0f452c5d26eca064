"""The confusion matrix to click on, without a browser."""

import numpy as np
import pytest

from fer_utils import plots, widgets

CONFUSION = np.arange(64).reshape(8, 8)


@pytest.fixture
def explorer():
    """The widget's grid, its slider, and what its plain function was asked to draw."""
    asked = []

    def draw(cell, confidence):
        asked.append((cell, confidence))
        return plots.new_figure(1, 1)

    box = widgets.explore_confusion(CONFUSION, draw, ("fear", "surprise"))
    (grid, slider), picture = box.children[0].children, box.children[1]
    assert asked == [(("fear", "surprise"), (0.0, 1.0))] and "alt=" in picture.value
    return grid, slider, asked


def test_a_click_draws_the_cell_once(explorer):
    grid, _, asked = explorer
    grid.cells["sad", "anger"].click()
    assert asked[1:] == [(("sad", "anger"), (0.0, 1.0))]
    assert (grid.true.value, grid.predicted.value) == ("sad", "anger")
    grid.cells["sad", "anger"].click()
    assert len(asked) == 2  # it is already there


def test_a_class_and_a_confidence_filter(explorer):
    grid, slider, asked = explorer
    grid.true.value = "any"
    slider.value = (0.5, 0.9)
    grid.predicted.value = "happy"
    assert asked[1:] == [
        (("any", "surprise"), (0.0, 1.0)), (("any", "surprise"), (0.5, 0.9)), (("any", "happy"), (0.5, 0.9)),
    ]  # fmt: skip


def test_cells_say_and_show_how_many(explorer):
    grid, _, _ = explorer
    button = grid.cells["happy", "neutral"]
    assert button.description == "8" and button.tooltip == "happy, predicted neutral: 8 images, 9% of happy"
    shades = [int(grid.cells[name, name].style.button_color[1:3], 16) for name in ("neutral", "happy")]
    assert shades == sorted(shades, reverse=True)  # 0 of 28 is paler than 9 of 92


@pytest.mark.parametrize(
    ("cell", "marked"), [(("fear", "surprise"), 1), (("fear", "any"), 8), (("any", "fear"), 8), (("any", "any"), 0)]
)
def test_what_is_chosen_is_marked(cell, marked):
    grid = widgets.ConfusionGrid(CONFUSION, cell)
    assert sum("2px" in button.layout.border_top for button in grid.cells.values()) == marked
