"""The rasteriser's shapes cover what geometry says, and random numbers depend on name and index alone."""

import numpy as np
import pytest

from fer_utils.datasets.drawing import Canvas, View, between, column, inside, line
from fer_utils.datasets.randomness import Draws


def view(size, roll=0.0, zoom=1.0, shift=0.0, yaw=0.0, count=1):
    return View(size, *(np.full(count, value) for value in (roll, zoom, shift, shift, yaw, 0.0)))


@pytest.mark.parametrize("roll", [0.0, 0.14])
@pytest.mark.parametrize("size", [24, 64])
def test_a_disc_has_the_area_of_a_circle(size, roll):
    canvas = Canvas(1, view(size, roll=roll, zoom=1.2))
    patch = canvas.whole()
    patch.pixels[:] = 0
    radius = np.sqrt(patch.plain_x**2 + patch.plain_y**2)
    patch.paint(np.float32(1.0), inside(radius - 0.8, patch.soft))
    pixel = 2 * 1.2 / size
    assert canvas.pixels[0, 0].sum() * pixel**2 == pytest.approx(np.pi * 0.8**2, rel=0.01)


def test_lines_and_strips_have_their_width():
    y = np.linspace(-1, 1, 4001)
    step, soft = y[1] - y[0], 0.05
    assert line(y, 0.2, soft).sum() * step == pytest.approx(0.2, rel=0.01)
    assert between(y, -0.3, 0.5, soft).sum() * step == pytest.approx(0.8, rel=0.01)
    assert between(y, 0.5, -0.5, soft).max() == 0
    assert 0.4 < line(y, 0.0, soft).max() < 1, "a hairline is faint, but there"


def test_windows_paint_where_the_whole_picture_would():
    camera = view(64, roll=0.1, zoom=1.1, shift=0.05, yaw=0.2, count=3)
    whole, windowed = Canvas(3, camera), Canvas(3, camera)
    whole.pixels[:] = windowed.pixels[:] = 0.5

    def spot(patch):
        distance = np.sqrt((patch.x - 0.3) ** 2 + (patch.y + 0.1) ** 2) - 0.2
        patch.paint(np.float32(1.0), inside(distance, patch.soft))

    spot(whole.whole())
    windowed.window(column([0.3] * 3), column([-0.1] * 3), 0.28, 0.28, spot)
    np.testing.assert_array_equal(whole.pixels, windowed.pixels)
    assert windowed.pixels.max() == 1


def test_pixel_is_where_coordinates_say():
    camera = view(128, roll=0.08, zoom=1.05, shift=-0.1)
    grid = np.arange(128, dtype=np.float32)
    x, y = camera.coordinates(grid[None, None, :], grid[None, :, None])
    at_column, at_row = camera.pixel(column([0.4]), column([-0.2]))
    nearest = np.unravel_index(((x - 0.4) ** 2 + (y + 0.2) ** 2)[0].argmin(), (128, 128))
    assert abs(nearest[0] + 0.5 - at_row.item()) <= 1 and abs(nearest[1] + 0.5 - at_column.item()) <= 1


def test_random_numbers_are_well_spread_and_independent():
    draws = Draws(0, "image", np.arange(20_000))
    a, b, normal = draws.uniform("a"), draws.uniform("b"), draws.normal("c", 2.0)
    other_seed, other_stream = Draws(1, "image", np.arange(20_000)), Draws(0, "subject", np.arange(20_000))
    assert np.histogram(a, 10, (0, 1))[0] == pytest.approx(2000, abs=200)
    assert normal.std() == pytest.approx(2.0, rel=0.03) and abs(normal.mean()) < 0.06
    for other in (b, np.roll(a, 1), other_seed.uniform("a"), other_stream.uniform("a")):
        assert abs(np.corrcoef(a, other)[0, 1]) < 0.03
    shares = np.bincount(draws.choice("d", [1, 2, 5]), minlength=3) / 20_000
    assert shares == pytest.approx([0.125, 0.25, 0.625], abs=0.02)


def test_random_numbers_depend_on_the_index_alone():
    whole, part = Draws(5, "image", [9, 4, 7]), Draws(5, "image", [7])
    assert whole.uniform("x")[2] == part.uniform("x")[0]
    assert whole.choice("y", [1, 1, 1, 1])[2] == part.choice("y", [1, 1, 1, 1])[0]
