"""A small rasteriser: soft-edged implicit shapes painted onto a batch of pictures at once.

Only operations that IEEE arithmetic defines exactly (+, −, ×, ÷, √, comparisons) touch a pixel, so a picture's bytes
depend neither on which others are drawn with it nor on the machine.
"""

import numpy as np

MIN_ZOOM = 0.98  # face units from the middle of the picture to its border, in the closest view that is taken
_ROLL_MARGIN = 0.28  # sine of the strongest roll: how much a window grows so that it still holds what it shows


def column(values) -> np.ndarray:
    """(N,) numbers → (N, 1, 1) float32, ready to be combined with pixels."""
    return np.asarray(values, dtype=np.float32)[:, None, None]


def inside(distance, soft):
    """How much of a pixel lies inside a shape: 1 at signed distance ≤ −soft/2, 0 from +soft/2."""
    return np.clip(0.5 - distance / soft, 0.0, 1.0)


def between(y, top, bottom, soft):
    """Coverage of the strip top ≤ y ≤ bottom (0 where they have crossed)."""
    return np.clip(np.minimum(y - top, bottom - y) / soft + 0.5, 0.0, 1.0)


def line(distance, width, soft):
    """Coverage of a line of the given width around distance 0; thinner than a pixel it fades, but only halfway."""
    drawn = np.maximum(width, 0.6 * soft)
    peak = np.minimum(drawn / soft, 1.0)
    return np.clip((drawn - np.abs(distance) * 2) / (2 * soft) + 0.5, 0.0, peak)


def bump(x, y, radius_x, radius_y):
    """A soft spot: 1 in the middle, 0 from the ellipse's edge on."""
    u, v = x / radius_x, y / radius_y
    fall = np.maximum(1 - u * u - v * v, 0.0)
    return fall * fall


def arch(u):
    """The parabola 1 − u², cut at 0."""
    return np.maximum(1 - u * u, 0.0)


class View:
    """Where the camera stands: roll, zoom, shift, and the parallax of a turned head.

    Args:
        size: pixels a side.
        roll: (N,) tangent of half the roll angle (exact arithmetic needs no sine).
        zoom: (N,) face units from the middle to the border, at least `MIN_ZOOM`.
        shift_x, shift_y: (N,) of the face, in half pictures.
        yaw, pitch: (N,) by how much the face's nearest point moves, in face units.
    """

    def __init__(self, size, roll, zoom, shift_x, shift_y, yaw, pitch):
        self.size = size
        square = roll * roll
        self._cosine, self._sine = column((1 - square) / (1 + square) * zoom), column(2 * roll / (1 + square) * zoom)
        self._zoom2 = column(zoom * zoom)
        self._shift_x, self._shift_y = column(shift_x), column(shift_y)
        self.yaw, self.pitch = column(yaw), column(pitch)
        self.soft = column(2 * zoom / size)  # a pixel, in face units

    def coordinates(self, columns, rows):
        """Face coordinates of the pixels at (N or 1, 1, W) columns and (N or 1, H, 1) rows."""
        step = np.float32(2 / self.size)
        u = (columns + np.float32(0.5)) * step - 1 - self._shift_x
        v = (rows + np.float32(0.5)) * step - 1 - self._shift_y
        return self._cosine * u + self._sine * v, self._cosine * v - self._sine * u

    def depth(self, x, y):
        """How far a point of the face stands out, 1 in the middle to 0 at its outline."""
        return np.maximum(1 - 0.85 * (x * x) - 0.5 * (y * y), 0.0)

    def pixel(self, x, y):
        """(N, 1, 1) column and row at which a point of the face, parallax included, is seen."""
        depth = self.depth(x, y)
        x, y = x + self.yaw * depth, y + self.pitch * depth
        u = (self._cosine * x - self._sine * y) / self._zoom2 + self._shift_x
        v = (self._sine * x + self._cosine * y) / self._zoom2 + self._shift_y
        return (u + 1) * (self.size / 2), (v + 1) * (self.size / 2)


class Patch:
    """A window of the pictures to paint in: pixels (N, 3, H, W) and the coordinates of each on the face."""

    def __init__(self, view: View, pixels, columns, rows):
        self.pixels, self.soft = pixels, view.soft
        self.plain_x, self.plain_y = view.coordinates(columns, rows)  # before parallax: the head's outline
        depth = view.depth(self.plain_x, self.plain_y)
        self.x, self.y = self.plain_x - view.yaw * depth, self.plain_y - view.pitch * depth

    def take(self, chosen) -> "Patch":
        """A copy of some of the pictures, by their positions in the batch."""
        part = object.__new__(Patch)
        for name, values in vars(self).items():
            setattr(part, name, values[chosen])
        return part

    def paint(self, color, coverage):
        """Cover with an RGB colour, (N, 3, 1, 1) or (N, 3, H, W), by coverage (N, H, W) in 0–1."""
        change = color - self.pixels
        change *= coverage[:, None]
        self.pixels += change

    def shade(self, tint, coverage):
        """Multiply by an RGB tint, (N, 3, 1, 1), where coverage is 1, and by less elsewhere."""
        self.pixels *= 1 + (tint - 1) * coverage[:, None]


class Canvas:
    """A batch of pictures (N, 3, size, size), float32 RGB, 0–1, and the view they are seen through."""

    def __init__(self, count: int, view: View):
        self.view, self.size = view, view.size
        self.pixels = np.empty((count, 3, self.size, self.size), dtype=np.float32)

    def whole(self) -> Patch:
        """All pixels."""
        grid = np.arange(self.size, dtype=np.float32)
        return Patch(self.view, self.pixels, grid[None, None, :], grid[None, :, None])

    def window(self, x, y, half_width: float, half_height: float, draw) -> None:
        """Call `draw(patch)` on the windows around a point of each face, and keep what it painted.

        Windows are as large as the closest view needs, so their size does not depend on the other faces.
        """
        wide, high = half_width + _ROLL_MARGIN * half_height, half_height + _ROLL_MARGIN * half_width
        width, height = (min(self.size, int(half * self.size / MIN_ZOOM) + 3) for half in (wide, high))
        middle_column, middle_row = self.view.pixel(x, y)
        left = np.clip(np.floor(middle_column[:, 0, 0] - width / 2), 0, self.size - width).astype(int)
        top = np.clip(np.floor(middle_row[:, 0, 0] - height / 2), 0, self.size - height).astype(int)
        places = [np.s_[i, :, t : t + height, c : c + width] for i, (t, c) in enumerate(zip(top, left, strict=True))]
        pixels = np.stack([self.pixels[place] for place in places])
        columns = column(left) + np.arange(width, dtype=np.float32)[None, None, :]
        rows = column(top) + np.arange(height, dtype=np.float32)[None, :, None]
        draw(Patch(self.view, pixels, columns, rows))
        for place, part in zip(places, pixels, strict=True):
            self.pixels[place] = part
