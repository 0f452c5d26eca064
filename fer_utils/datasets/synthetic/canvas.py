"""A small rasteriser: soft-edged implicit shapes painted onto a batch of pictures at once.

Only operations that IEEE arithmetic defines exactly (+, −, ×, ÷, √, comparisons) touch a pixel: its
bytes depend neither on the other pictures of the batch nor on the machine.
"""

import contextlib
from collections.abc import Iterator

import numpy as np

MIN_ZOOM = 0.98  # face units from the middle of a picture to its border, in the closest view
_ROLL_MARGIN = 0.28  # sine of the strongest roll: how much a window grows to hold what it shows


def color(*rgb) -> np.ndarray:
    """Three numbers 0–1 → (3, 1, 1) float32."""
    return np.array(rgb, dtype=np.float32)[:, None, None]


def column(values) -> np.ndarray:
    """Numbers (N,) or (N, K) → (N, 1, 1) or (N, K, 1, 1) float32, to be combined with pixels."""
    return np.asarray(values, dtype=np.float32)[..., None, None]


def unit(values):
    """Cut to 0–1."""
    return np.clip(values, 0, 1)


def length(x, y):
    """Of a vector."""
    return np.sqrt(x * x + y * y)


def arch(u):
    """The parabola 1 − u², cut at 0."""
    return np.maximum(1 - u * u, 0.0)


def bump(x, y, radius_x, radius_y):
    """A soft spot: 1 in the middle, 0 from the ellipse's edge on."""
    u, v = x / radius_x, y / radius_y
    fall = np.maximum(1 - u * u - v * v, 0.0)
    return fall * fall


def view(size: int, roll, zoom, shift_x, shift_y, yaw, pitch) -> dict[str, np.ndarray]:
    """How the camera sees each face, (N,), as a `Patch` wants it.

    `roll` is the tangent of half the angle (exact arithmetic needs no sine), `zoom` the face units
    from the middle to the border, shifts are in half pictures, and by `yaw` and `pitch` the face's
    nearest point moves, in face units.
    """
    square = roll * roll
    cosine, sine = (1 - square) / (1 + square) * zoom, 2 * roll / (1 + square) * zoom
    found = {"cosine": cosine, "sine": sine, "zoom2": zoom * zoom, "pixel": 2 * zoom / size}
    return found | {"shift_x": shift_x, "shift_y": shift_y, "yaw": yaw, "pitch": pitch}


def _depth(x, y):
    """How far a point of the face stands out, 1 in the middle to 0 at its outline."""
    return np.maximum(1 - 0.85 * (x * x) - 0.5 * (y * y), 0.0)


class Patch:
    """Whole pictures or a window of each, RGB 0–1, and where on the face every pixel lies.

    Args:
        pixels: float32 (N, 3, H, W); is painted on.
        face: has the values of `view` as (N, 1, 1).
        size: side of the whole pictures, of which the pixels begin at `left`, `top`, (N, 1, 1).

    `plain_x`, `plain_y`, (N, H, W) in face units, are without a turned head's parallax, for its
    outline; `x`, `y` with it. `pixel` is a pixel's size in face units: as soft edges are, unless
    they are so many times softer.
    """

    def __init__(self, pixels, face, size: int, left=0, top=0):
        self.pixels, self.face, self.size, self.pixel = pixels, face, size, face.pixel
        height, width = pixels.shape[-2:]
        columns = np.float32(left) + np.arange(width, dtype=np.float32)  # (N or 1, 1, W)
        rows = np.float32(top) + np.arange(height, dtype=np.float32)[:, None]  # (N or 1, H, 1)
        u = (columns + 0.5) * (2 / size) - 1 - face.shift_x
        v = (rows + 0.5) * (2 / size) - 1 - face.shift_y
        self.plain_x = face.cosine * u + face.sine * v
        self.plain_y = face.cosine * v - face.sine * u
        depth = _depth(self.plain_x, self.plain_y)
        self.x, self.y = self.plain_x - face.yaw * depth, self.plain_y - face.pitch * depth

    def inside(self, distance, softer=1):
        """How much of a pixel is in a shape: 1 at signed distance ≤ −soft/2, 0 from +soft/2."""
        return unit(0.5 - distance / (self.pixel * softer))

    def between(self, y, top, bottom, softer=1):
        """Coverage of the strip top ≤ y ≤ bottom (0 where they have crossed)."""
        return unit(np.minimum(y - top, bottom - y) / (self.pixel * softer) + 0.5)

    def line(self, distance, width):
        """Coverage of a line around distance 0; thinner than a pixel it fades, but only halfway."""
        drawn = np.maximum(width, 0.6 * self.pixel)
        peak = np.minimum(drawn / self.pixel, 1.0)
        return np.clip((drawn - np.abs(distance) * 2) / (2 * self.pixel) + 0.5, 0.0, peak)

    def paint(self, rgb, coverage) -> None:
        """Cover with a colour, (N, 3, 1, 1) or (N, 3, H, W), by coverage (N, H, W) in 0–1."""
        change = rgb - self.pixels
        change *= coverage[:, None]
        self.pixels += change

    def shade(self, tint, coverage) -> None:
        """Multiply by a tint, (N, 3, 1, 1), where coverage is 1, and by less elsewhere."""
        change = (tint - 1) * coverage[:, None]
        change += 1
        self.pixels *= change

    @contextlib.contextmanager
    def window(self, x, y, half_width: float, half_height: float) -> Iterator["Patch"]:
        """Windows around a point of each face, as large as any view needs; painted back after."""
        halves = half_width + _ROLL_MARGIN * half_height, half_height + _ROLL_MARGIN * half_width
        width, height = (min(self.size, int(h * self.size / MIN_ZOOM) + 3) for h in halves)
        middle_x, middle_y = self._seen_at(x, y)
        left = np.clip(np.floor(middle_x - width / 2), 0, self.size - width).astype(int)
        top = np.clip(np.floor(middle_y - height / 2), 0, self.size - height).astype(int)
        corners = enumerate(zip(top.flat, left.flat, strict=True))
        places = [np.s_[i, :, row : row + height, x : x + width] for i, (row, x) in corners]
        pixels = np.stack([self.pixels[place] for place in places])
        yield Patch(pixels, self.face, self.size, left, top)
        for place, painted in zip(places, pixels, strict=True):
            self.pixels[place] = painted

    def _seen_at(self, x, y):
        """(N, 1, 1) column and row at which a point of the face, parallax included, is seen."""
        face, depth = self.face, _depth(x, y)
        x, y = x + face.yaw * depth, y + face.pitch * depth
        u = (face.cosine * x - face.sine * y) / face.zoom2 + face.shift_x
        v = (face.sine * x + face.cosine * y) / face.zoom2 + face.shift_y
        return (u + 1) * (self.size / 2), (v + 1) * (self.size / 2)
