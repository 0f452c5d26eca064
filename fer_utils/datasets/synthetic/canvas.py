"""A small rasteriser: soft-edged implicit shapes painted onto a batch of pictures at once.

Only operations that IEEE arithmetic defines exactly (+, −, ×, ÷, √, comparisons) touch a pixel: its
bytes depend neither on the other pictures of the batch nor on the machine.
"""

import copy

import numpy as np

MIN_ZOOM = 0.98  # face units from the middle of a picture to its border, in the closest view
_ROLL_MARGIN = 0.28  # sine of the strongest roll: how much a window grows to hold what it shows


def color(*rgb) -> np.ndarray:
    """Three numbers 0–1 → (3, 1, 1) float32."""
    return np.array(rgb, dtype=np.float32)[:, None, None]


def column(values) -> np.ndarray:
    """(N,) or (N, 3) numbers → (N, 1, 1) or (N, 3, 1, 1) float32, to be combined with pixels."""
    return np.asarray(values, dtype=np.float32)[..., None, None]


def unit(values):
    """Cut to 0–1."""
    return np.clip(values, 0, 1)


def inside(distance, soft):
    """How much of a pixel is in a shape: 1 at signed distance ≤ −soft/2, 0 from +soft/2."""
    return unit(0.5 - distance / soft)


def between(y, top, bottom, soft):
    """Coverage of the strip top ≤ y ≤ bottom (0 where they have crossed)."""
    return unit(np.minimum(y - top, bottom - y) / soft + 0.5)


def line(distance, width, soft):
    """Coverage of a line around distance 0; thinner than a pixel it fades, but only halfway."""
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


def take(batch, chosen):
    """A copy of an object whose attributes are arrays (N, …), or pairs of them: some of the N."""
    part = copy.copy(batch)
    for name, values in vars(batch).items():
        pair = isinstance(values, tuple)
        setattr(part, name, tuple(v[chosen] for v in values) if pair else values[chosen])
    return part


class Patch:
    """A window of the pictures: pixels (N, 3, H, W), and where on the face each lies, (N, H, W).

    `plain_x`, `plain_y` are without a turned head's parallax, for its outline; `x`, `y` with it.
    """

    def __init__(self, canvas: "Canvas", pixels, columns, rows):
        self.pixels, self.soft = pixels, canvas.soft
        self.plain_x, self.plain_y = canvas.coordinates(columns, rows)
        depth = canvas.depth(self.plain_x, self.plain_y)
        self.x = self.plain_x - canvas.yaw * depth
        self.y = self.plain_y - canvas.pitch * depth

    def paint(self, rgb, coverage):
        """Cover with a colour, (N, 3, 1, 1) or (N, 3, H, W), by coverage (N, H, W) in 0–1."""
        change = rgb - self.pixels
        change *= coverage[:, None]
        self.pixels += change

    def shade(self, tint, coverage):
        """Multiply by a tint, (N, 3, 1, 1), where coverage is 1, and by less elsewhere."""
        self.pixels *= 1 + (tint - 1) * coverage[:, None]


class Canvas:
    """A batch of pictures (N, 3, size, size), float32 RGB 0–1, and the view of each, (N,).

    `roll` is the tangent of half the angle (exact arithmetic needs no sine), `zoom` the face units
    from the middle to the border, shifts are in half pictures, and by `yaw` and `pitch` the face's
    nearest point moves, in face units.
    """

    def __init__(self, size: int, roll, zoom, shift_x, shift_y, yaw, pitch):
        self.size = size
        self.pixels = np.empty((len(roll), 3, size, size), dtype=np.float32)
        square = roll * roll
        self._cosine = column((1 - square) / (1 + square) * zoom)
        self._sine = column(2 * roll / (1 + square) * zoom)
        self._zoom2 = column(zoom * zoom)
        self._shift_x, self._shift_y = column(shift_x), column(shift_y)
        self.yaw, self.pitch = column(yaw), column(pitch)
        self.soft = column(2 * zoom / size)  # a pixel, in face units

    def coordinates(self, columns, rows):
        """Face coordinates of pixels at (N or 1, 1, W) columns and (N or 1, H, 1) rows."""
        u = (columns + 0.5) * (2 / self.size) - 1 - self._shift_x
        v = (rows + 0.5) * (2 / self.size) - 1 - self._shift_y
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

    def whole(self) -> Patch:
        """All pixels."""
        grid = np.arange(self.size, dtype=np.float32)
        return Patch(self, self.pixels, grid[None, None, :], grid[None, :, None])

    def window(self, x, y, half_width: float, half_height: float, draw) -> None:
        """Let `draw` paint on windows around a point of each face, as large as any view needs."""
        halves = half_width + _ROLL_MARGIN * half_height, half_height + _ROLL_MARGIN * half_width
        width, height = (min(self.size, int(h * self.size / MIN_ZOOM) + 3) for h in halves)
        middle_x, middle_y = (middle[:, 0, 0] for middle in self.pixel(x, y))
        left = np.clip(np.floor(middle_x - width / 2), 0, self.size - width).astype(int)
        top = np.clip(np.floor(middle_y - height / 2), 0, self.size - height).astype(int)
        corners = enumerate(zip(top, left, strict=True))
        places = [np.s_[i, :, row : row + height, x : x + width] for i, (row, x) in corners]
        pixels = np.stack([self.pixels[place] for place in places])
        columns = column(left) + np.arange(width, dtype=np.float32)[None, None, :]
        rows = column(top) + np.arange(height, dtype=np.float32)[None, :, None]
        draw(Patch(self, pixels, columns, rows))
        for place, part in zip(places, pixels, strict=True):
            self.pixels[place] = part
