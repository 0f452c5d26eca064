"""A drawn face: a small rasteriser, the face's layers in the order of painting, then the camera.

Soft-edged implicit shapes are painted onto a batch of pictures at once. Only operations that IEEE
arithmetic defines exactly (+, −, ×, ÷, √, comparisons) touch a pixel: its bytes depend neither on
the other pictures of the batch nor on the machine. In face units half a face is about 0.75 wide and
1 high, x points right, y down. A `face` holds (N, 1, 1) numbers, (N, 3, 1, 1) colours, and
displacements (N, 2, 1, 1): left and right in the picture.
"""

import contextlib
from collections.abc import Iterator
from types import SimpleNamespace

import numpy as np

from fer_utils.datasets.synthetic import people

MIN_ZOOM = 0.98  # face units from the middle of a picture to its border, in the closest view
_ROLL_MARGIN = 0.28  # sine of the strongest roll: how much a window grows to hold what it shows


def color(*rgb) -> np.ndarray:
    """Three numbers 0–1 → (3, 1, 1) float32."""
    return np.array(rgb, dtype=np.float32)[:, None, None]


def column(values) -> np.ndarray:
    """Numbers (N,) or (N, K) → (N, 1, 1) or (N, K, 1, 1) float32, to be combined with pixels."""
    return np.asarray(values, dtype=np.float32)[..., None, None]


def unit(values):
    return np.clip(values, 0, 1)


def length(x, y):
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
    from the middle to the border; shifts are in half pictures, yaw and pitch in face units.
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

    `pixels`, float32 (N, 3, H, W), are painted on; they begin at `left`, `top`, (N, 1, 1), of whole
    pictures of side `size`. `face` has the values of `view` as (N, 1, 1). `plain_x`, `plain_y`,
    (N, H, W), are without a turned head's parallax, for its outline; `x`, `y` with it. Edges are as
    soft as a `pixel` is large, or so many times softer.
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


WHITE, BLACK, LASH = color(1.0, 1.0, 1.0), color(0.05, 0.04, 0.05), color(0.12, 0.08, 0.08)
SCLERA, TEETH = color(0.96, 0.95, 0.94), color(0.97, 0.95, 0.91)
THROAT, TONGUE = color(0.25, 0.06, 0.07), color(0.78, 0.36, 0.36)
_SKULL_TOP, _EYE_LEVEL = -1.02, -0.08


def draw_portraits(rows: dict, size: int, seed: int, difficulty: float) -> np.ndarray:
    """One batch of faces, (N, size, size, 3) uint8 RGB; `rows` as of `draw_manifest`."""
    person = people.identity(seed, rows["subject"])
    shot = people.capture(seed, rows["image"], difficulty)
    shown = (rows[name] for name in ("expression", "second", "second_weight", "intensity"))
    active = people.activations(*shown, shot["side"], shot["parted"])
    seen = (shot[name] for name in ("roll", "zoom", "shift_x", "shift_y", "yaw", "pitch"))
    shot |= view(size, *seen)
    face = _assemble(person | shot, people.displacements(active))
    pixels = np.empty((len(active), 3, size, size), dtype=np.float32)
    whole, center = Patch(pixels, face, size), 0.0 * face.eye_spacing
    _draw_background(whole, face)
    _draw_head(whole, face)
    with whole.window(center, face.eye_height - face.brow_gap - 0.22, 0.48, 0.20) as patch:
        _draw_forehead(patch, face)
    for side, x in enumerate((-face.eye_spacing, face.eye_spacing)):
        with whole.window(x, face.eye_height - 0.13, 0.33, 0.40) as patch:
            _draw_eye(patch, face, side)
    with whole.window(center, face.nose_length - 0.22, 0.30, 0.42) as patch:
        _draw_nose(patch, face)
    with whole.window(center, face.mouth_height - 0.02, 0.62, 0.52) as patch:
        _draw_lower_face(patch, face)
    _draw_front_hair(whole, face)
    _light(whole, face)
    for worn, draw in (("glasses", _draw_glasses), ("lock", _draw_lock), ("hand", _draw_hand)):
        chosen = np.flatnonzero(shot[worn])  # few: only their pictures are worked on
        own = SimpleNamespace(**{name: values[chosen] for name, values in vars(face).items()})
        patch = Patch(pixels[chosen], own, size)
        draw(patch, own)
        pixels[chosen] = patch.pixels
    return _develop(pixels, face, shot)


def _assemble(traits: dict, moved: dict) -> SimpleNamespace:
    moved = {name: values * traits["expressiveness"][:, None] for name, values in moved.items()}
    columns = {name: column(values) for name, values in (traits | moved).items()}
    face = SimpleNamespace(**columns)
    for name in ("forehead_lines", "furrow", "nose_wrinkle", "chin_boss"):  # in the middle
        setattr(face, name, unit(getattr(face, name).sum(axis=1) * 0.5))
    mean = SimpleNamespace(**{name: column(values.mean(axis=1)) for name, values in moved.items()})

    tone = face.tone[:, None]
    lip = face.skin * color(0.88, 0.62, 0.62)
    rose = color(0.80, 0.36, 0.38) * (1.05 - 0.5 * tone)
    face.lip = lip + (rose - lip) * face.lip_colour[:, None]
    # On dark skin a fold must be darker still to be seen.
    face.fold = color(0.60, 0.47, 0.43) * (1.05 - 0.35 * tone)
    face.shadow = color(0.84, 0.74, 0.72) + np.zeros_like(face.skin)
    face.shade_side = np.where(face.light_x > 0, -1.0, 1.0).astype(np.float32)

    smile = unit(-face.corner_y.max(axis=1) / 0.17)  # on both sides
    opening, square = np.maximum(mean.mouth_open, 0), unit(mean.mouth_square)
    thickness = 1 + np.maximum(mean.lip_thickness, -0.8)
    face.upper_lip, face.lower_lip = face.upper_lip * thickness, face.lower_lip * thickness
    face.gape_up = 0.35 * opening - 0.25 * mean.upper_lip_y
    face.gape_down = 0.65 * opening + 0.65 * mean.lower_lip_y
    face.lip_raise = 0.55 * mean.upper_lip_y
    face.lower_teeth_shown = unit(mean.lower_teeth)
    jaw = unit(mean.jaw_y / 0.12)
    face.roundness = unit(0.75 * jaw + 0.25 * square + 0.4 * face.lower_teeth_shown)
    face.mouth_moved = mean.mouth_middle_y + 0.45 * mean.upper_lip_y
    face.upper_teeth = 0.035 + 0.05 * smile
    face.upper_teeth_shown = unit(0.25 + smile + 0.5 * square - mean.upper_lip_y * 8)
    face.jaw = mean.jaw_y
    return face


def _egg(x, y, half_width, top, bottom, square, taper):
    """An egg's level: below 1 inside. `square` (0–1) makes it boxier, `taper` narrows it below."""
    below = y > _EYE_LEVEL
    t = (y - _EYE_LEVEL) / np.where(below, bottom - _EYE_LEVEL, _EYE_LEVEL - top)
    s = x / half_width * (1 + taper * np.where(below, t * t, 0))
    s, t = s * s, t * t
    return (1 - square) * np.sqrt(s + t) + square * np.sqrt(length(s, t))


def _draw_background(patch, face) -> None:
    x, y = patch.plain_x, patch.plain_y
    ramp = unit(y * 0.4 + 0.5)[:, None]
    patch.pixels[:] = face.background + (face.background_end - face.background) * ramp
    spot = bump(x - face.spot_x, y - face.spot_y, 0.9, 0.7) * face.clutter * 0.6
    patch.paint(face.background_end[:, ::-1], spot)


def _draw_head(patch, face) -> None:
    x, y, volume = patch.plain_x, patch.plain_y, face.hair_volume
    behind, top = x + 0.3 * face.yaw, _SKULL_TOP - volume
    half = face.face_width + volume
    back = _egg(behind, y, half, top, face.hair_bottom, face.hair_square, 0.0)
    patch.paint(face.hair * 0.85, patch.inside((back - 1) * 0.6, 1.5) * (volume > 0))
    neck = patch.inside(np.abs(x) - 0.40 - 0.08 * arch(y - 1.4)) * patch.inside(0.5 - y)
    patch.paint(face.skin * face.shadow * 0.9, neck)
    patch.paint(face.clothes, patch.inside(1.06 + 0.42 * np.maximum(np.abs(x) - 0.34, 0) - y))
    ear_x = (np.abs(x + 0.12 * face.yaw) - face.face_width * 0.99) / 0.11
    ear = (length(ear_x, (y - 0.03) / face.ear) - 1) * 0.11
    patch.paint(face.skin * 0.86, patch.inside(ear))
    chin = face.chin + face.jaw
    level = _egg(x, y, face.face_width, _SKULL_TOP, chin, face.jaw_square, face.taper)
    skull = patch.inside((level - 1) * face.face_width)
    patch.paint(face.skin, skull)
    patch.shade(face.shadow, skull * unit((level - 0.72) * 2.2) * 0.7)
    x, y = patch.x, patch.y
    blush = bump(np.abs(x) - 0.42, y - 0.25, 0.24, 0.18)
    patch.shade(color(1.03, 0.86, 0.86), blush * skull * 0.55)
    jawline = unit((y - 0.30 + 0.55 * arch(x / 0.62) * (y < 0.95) - 0.30) * 4)
    patch.paint(face.hair, skull * jawline * face.beard * 0.85)
    lip = bump(x, y - face.mouth_height + 0.125, 0.30, 0.085)
    patch.paint(face.hair, np.minimum(lip * 1.8, 1) * face.moustache * 0.8)


def _draw_forehead(patch, face) -> None:
    x, height = patch.x, patch.y - face.eye_height + face.brow_gap
    for level in (-0.20, -0.275):
        curve = level - 0.05 + 0.22 * (x * x) - 0.035 * arch(x / 0.15)
        crease = patch.line(height - curve, 0.020)
        patch.shade(face.fold, crease * arch(x / 0.42) * face.forehead_lines)


def _draw_eye(patch, face, side: int) -> None:
    y, outwards = patch.y, 1 if side else -1
    x = outwards * patch.x  # grows away from the nose
    u = (x - face.eye_spacing) / face.eye_width  # −1 at the inner corner, 1 at the outer
    curve = arch(u) * (1.08 - 0.16 * u)
    middle = face.eye_height - face.eye_tilt * u
    top = middle - (face.eye_opening + face.upper_lid[:, side]) * curve
    bottom = middle + (0.62 * face.eye_opening + face.lower_lid[:, side]) * curve

    hollow = bump(x - face.eye_spacing + 0.03, y - face.eye_height + 0.05, 0.27, 0.19)
    patch.shade(face.shadow, hollow * 0.45)
    _draw_lid_folds(patch, face, side, u, middle, bottom)

    opening = patch.between(y, top, bottom) * patch.inside(np.abs(u) - 1, 6)
    patch.paint(SCLERA * (0.88 + 0.12 * unit((y - top) / 0.05))[:, None], opening)
    iris_x = x - face.eye_spacing + 0.008 - outwards * face.gaze_x
    iris_y = y - face.eye_height + 0.018 - face.gaze_y
    radius = length(iris_x, iris_y)
    patch.paint(face.iris * 0.5, patch.inside(radius - 0.089) * opening)
    patch.paint(face.iris * (1.15 + 4.0 * iris_y)[:, None], patch.inside(radius - 0.075) * opening)
    patch.paint(BLACK, patch.inside(radius - 0.041) * opening)
    glint = length(iris_x + outwards * 0.024, iris_y + 0.028) - 0.017
    patch.paint(WHITE, patch.inside(glint) * opening)

    lashes = patch.line(y - top, 0.026 + 0.014 * (u + 1) * curve)
    patch.paint(LASH, lashes * patch.inside(np.abs(u - 0.03) - 1.04, 6))
    patch.shade(face.fold, patch.line(y - bottom, 0.012) * patch.inside(np.abs(u) - 0.95, 6) * 0.7)
    _draw_brow(patch, face, side, x, y)


def _draw_lid_folds(patch, face, side: int, u, middle, bottom) -> None:
    """The crease over the eye, the bag of tightened lids, the raised cheek and its crow's feet."""
    y = patch.y
    crease = middle - 0.045 - (face.eye_opening + 0.35 * face.upper_lid[:, side]) * arch(u)
    near = patch.inside(np.abs(u) - 1, 6)
    patch.shade(face.fold, patch.line(y - crease, 0.014) * near * 0.75)
    bag = patch.line(y - (bottom + 0.028 + 0.012 * arch(u)), 0.018)
    patch.shade(face.fold, bag * arch(u) * (0.9 * unit(face.lid_bag[:, side])))
    cheek = patch.line(y - (middle + 0.055 + 0.055 * arch(u * 0.8)), 0.022)
    patch.shade(face.fold, cheek * arch((u - 0.15) / 1.15) * (0.85 * unit(face.cheek[:, side])))
    beyond = u - 1.12
    span = patch.between(beyond, 0.0, 0.42, 5) * unit(face.crows_feet[:, side])
    for slope in (-0.16, 0.02, 0.2):
        foot = patch.line(y - middle - slope * beyond - 0.12 * slope, 0.013)
        patch.shade(face.fold, foot * span * 0.8)


def _draw_brow(patch, face, side: int, x, y) -> None:
    inner_x = face.brow_inner_x[:, side]
    extent = face.brow_length - inner_x * 0.6
    t = (x - 0.135 - inner_x) / extent  # 0 at the inner end, 1 at the outer
    base = face.eye_height - face.brow_gap
    inner = base + 0.015 + face.brow_inner_y[:, side]
    control = base - 2 * face.brow_arch + 1.25 * face.brow_middle_y[:, side]
    outer = base + 0.02 + face.brow_outer_y[:, side]
    rest = 1 - t
    curve = rest * rest * inner + 2 * t * rest * control + t * t * outer  # quadratic, Bézier's
    slope = 2 * (rest * (control - inner) + t * (outer - control)) / extent
    width = face.brow_width * (1 - 0.62 * t * t) * (0.8 + 0.2 * unit(t * 5))
    stroke = patch.line((y - curve) / np.sqrt(1 + slope * slope), width)
    patch.paint(face.brow, stroke * patch.between(t, 0.0, 1.0, 3) * 0.93)


def _draw_nose(patch, face) -> None:
    x, y = patch.x - face.yaw * 0.22, patch.y - face.pitch * 0.15
    lift = face.nose_wing_y.sum(axis=1) * 0.5
    tip, width, away = face.nose_length + 0.6 * lift, face.nose_width, face.shade_side
    patch.shade(face.shadow, bump(x - 0.075 * away, y - tip + 0.17, 0.065, 0.30) * 0.65)
    patch.shade(face.shadow, bump(x, y - tip - 0.035, width * 1.35, 0.085) * 0.9)
    patch.paint(WHITE, bump(x + 0.015 * away, y - tip + 0.16, 0.035, 0.26) * 0.20)
    patch.paint(WHITE, bump(x + 0.02 * away, y - tip + 0.045, 0.055, 0.05) * 0.32)
    under = patch.line(y - tip - 0.052 + 0.05 * (x / width) ** 2, 0.017)
    patch.shade(face.fold, under * arch(x / (0.62 * width)))
    reach = np.abs(x)
    wing_x, wing_y = (reach - 0.72 * width) / (0.33 * width), (y - face.nose_length - lift) / 0.062
    wing = patch.line((length(wing_x, wing_y) - 1) * 0.055, 0.02)
    patch.shade(face.fold, wing * unit(wing_x * 1.6 + 0.1))
    nostril = length((reach - 0.42 * width) / 0.042, (y - tip - 0.028) / 0.021) - 1
    patch.shade(face.fold * 0.45, patch.inside(nostril * 0.021) * 0.85)

    height = patch.y - face.eye_height
    furrows = patch.line(np.abs(patch.x) - 0.05 + 0.12 * (height + 0.2), 0.024)
    patch.shade(face.fold * 0.9, furrows * arch((height + 0.19) / 0.13) * face.furrow)
    for level, extent in ((-0.055, 0.10), (0.010, 0.12), (0.075, 0.12)):
        wrinkle = patch.line(height - level + 0.45 * reach - 0.03, 0.021) * arch(reach / extent)
        patch.shade(face.fold * 0.9, wrinkle * face.nose_wrinkle)


def _draw_lower_face(patch, face) -> None:
    x, y = patch.x, patch.y
    right, reach = x > 0, np.abs(x)

    def sided(pair):
        return np.where(right, pair[:, 1], pair[:, 0])

    corner, half = sided(face.corner_y), face.mouth_width + sided(face.corner_x)
    higher, lower = face.corner_y.min(axis=1), face.corner_y.max(axis=1)
    shared = np.minimum(lower, 0) + np.maximum(higher, 0)  # 0 when one corner moves alone
    middle = face.mouth_height + face.mouth_moved - 0.30 * shared
    corner_y = middle + corner

    start_x, start_y = face.nose_width + 0.055, face.nose_length - 0.055
    span = np.maximum(corner_y + 0.03 - start_y, 0.2)  # beside the corner, however high it is
    t = (y - start_y) / span
    fold = start_x + (half + 0.075 - start_x) * t + 0.16 * t * (1 - t)
    tilt = (half + 0.235 - start_x - 0.32 * t) / span
    crease = patch.line((reach - fold) / np.sqrt(1 + tilt * tilt), 0.026)
    strength = unit(sided(face.nasolabial)) * 0.95 + 0.10
    patch.shade(face.fold, crease * patch.between(t, 0, 1, 4) * strength)
    away, drop = reach - half, y - corner_y
    dimple = unit(sided(face.dimple))
    hollow = patch.line(away - 0.055 + 3.2 * drop * drop, 0.030)
    patch.shade(face.fold * 0.85, hollow * arch(drop / 0.13) * dimple)
    patch.shade(face.shadow, bump(away - 0.09, drop, 0.10, 0.13) * dimple)
    patch.shade(face.fold, bump(away, drop, 0.055, 0.045) * 0.6)
    chin = patch.line(y - middle - 0.165 - 0.25 * x * x, 0.020) * arch(x / 0.17)
    patch.shade(face.fold, chin * (0.25 + 0.7 * face.chin_boss))
    _draw_mouth(patch, face, middle + corner * (x / half) ** 2, reach / half)


def _draw_mouth(patch, face, middle, u) -> None:
    """Lips, teeth and tongue around the closed lips' `middle`; u = ±1 at the corners."""
    y, profile = patch.y, arch(u)
    gape = profile * (1 - face.roundness) + np.sqrt(profile) * face.roundness
    top, bottom = middle - face.gape_up * gape, middle + face.gape_down * gape
    upper = top - face.upper_lip * gape * (1 - 0.25 * arch(u / 0.28)) + face.lip_raise * profile
    lower = bottom + face.lower_lip * gape
    within = patch.inside(u - 1, 4)
    patch.shade(face.shadow, patch.between(y, lower, lower + 0.05) * within * profile)
    patch.paint(face.lip * 0.88, patch.between(y, upper, middle) * within)
    patch.paint(face.lip, patch.between(y, middle, lower) * within)
    gloss = bump(patch.x, y - bottom - face.lower_lip * 0.5, 0.13, 0.035)
    patch.paint(WHITE, gloss * within * 0.28 * unit(face.lower_lip * 20))
    hollow = patch.between(y, top, bottom) * within * unit((bottom - top) / patch.pixel)
    patch.paint(THROAT, hollow)
    patch.paint(TONGUE, hollow * bump(patch.x, y - bottom - 0.02, 0.17, 0.09) * 0.9)
    teeth = patch.inside(y - top - face.upper_teeth)
    patch.paint(TEETH, hollow * teeth * face.upper_teeth_shown)
    patch.paint(TEETH * 0.95, hollow * patch.inside(bottom - y - 0.035) * face.lower_teeth_shown)
    patch.shade(face.fold * 0.5, patch.line(y - top, 0.020) * patch.inside(u - 1.03, 4) * 0.85)


def _draw_front_hair(patch, face) -> None:
    volume = face.hair_volume
    half, bottom = face.face_width + 0.8 * volume + 0.01, face.hair_bottom + 0.3
    cap = _egg(patch.plain_x, patch.plain_y, half, _SKULL_TOP - volume, bottom, 0.15, 0.0)
    x, y = patch.x, patch.y
    hairline = face.hair_line + face.hair_slope * x + face.hair_curve * x * x
    covered = patch.inside((cap - 1) * 0.7) * patch.inside(y - hairline, 2)
    sheen = bump(cap - 0.82, y + 0.7, 0.14, 0.5) * 0.35
    patch.paint(face.hair * (1 + sheen)[:, None], covered * np.where(volume > 0.03, 1.0, 0.8))
    edge = patch.between(y, hairline, hairline + 0.07, 3)
    patch.shade(face.shadow, edge * (cap < 1) * (volume > 0.03) * 0.8)


def _light(patch, face) -> None:
    x, y = patch.plain_x, patch.plain_y
    toward = (x * face.light_x * 1.2 + y * face.light_y) * arch(np.minimum(np.abs(x) * 0.55, 1))
    patch.pixels *= (1 + np.clip(toward, -1.2, 1.2) * face.light_strength)[:, None]


def _draw_glasses(patch, face) -> None:
    x, y, width = patch.x, patch.y, face.glasses_width
    reach = np.abs(x)
    u, v = (reach - face.eye_spacing - 0.005) / 0.235, (y - face.eye_height - 0.03) / 0.185
    rim = (np.sqrt(length(u * u, v * v)) - 1) * 0.2
    lens = patch.inside(rim)
    darkness = np.where(face.sunglasses > 0, np.float32(0.88), np.float32(0.04))
    patch.paint(np.float32(0.08), lens * darkness)
    streak = unit(1 - np.abs(x * 0.8 + y + 0.03 - 0.3 * (x > 0)) * 9)
    patch.paint(WHITE, lens * streak * 0.22)
    bridge = patch.line(y - face.eye_height + 0.02 + 0.8 * x * x, width)
    bridge = bridge * patch.inside(reach - face.eye_spacing + 0.235)
    temple = patch.line(y - face.eye_height + 0.03, width)
    temple = temple * patch.between(reach, face.eye_spacing + 0.23, face.face_width)
    frame = np.maximum(np.maximum(patch.line(rim, width), bridge), temple)
    patch.paint(face.clothes * 0.35, frame * 0.95)


def _draw_lock(patch, face) -> None:
    t = (patch.plain_y + 1.0) / 1.1
    middle = face.lock_side * (0.10 + 0.45 * t * t)
    strand = patch.inside(np.abs(patch.plain_x - middle) - 0.17 * arch(t))
    strand = strand * patch.between(t, 0, 1)
    patch.paint(face.hair * 0.9, strand * (face.hair_volume > 0))


def _draw_hand(patch, face) -> None:
    x, y = patch.plain_x, patch.plain_y
    for finger in range(4):
        along = x - face.hand_x - 0.15 * (finger - 1.5) - 0.25 * face.hand_x * (y - face.hand_y)
        above = np.minimum(y - face.hand_y - 0.05 * (finger - 1.3) ** 2, 0)  # of the finger's tip
        distance = length(along, above) - 0.078
        patch.paint(face.skin * 0.93, patch.inside(distance))
        patch.shade(face.fold, patch.line(distance, 0.02) * 0.8)


def _develop(pixels: np.ndarray, face, shot: dict) -> np.ndarray:
    """The camera: exposure, colour cast, contrast, blur, noise; then bytes."""
    grey = shot["grey"]
    pixels[grey] = (pixels[grey] * color(0.299, 0.587, 0.114)).sum(axis=1, keepdims=True)
    cast = column(np.where(grey[:, None], 1.0, shot["cast"]))
    pixels *= cast * face.exposure[:, None]
    pixels[:] = (pixels - 0.5) * face.contrast[:, None] + 0.5
    _blur(pixels, shot["blur"])
    _add_noise(pixels, shot["noise"], shot["noise_key"])
    levels = np.clip(pixels * 255 + 0.5, 0, 255).astype(np.uint8)
    return levels.transpose(0, 2, 3, 1)


def _blur(pixels: np.ndarray, amount: np.ndarray) -> None:
    size, chosen = pixels.shape[-1], np.flatnonzero(amount > 0)
    reach = max(1, size // 64)
    before = np.maximum(np.arange(size) - reach, 0)
    after = np.minimum(np.arange(size) + reach, size - 1)
    weight = column(np.minimum(amount[chosen], 1.0))[:, None] * 0.5
    for axis in (2, 3):
        part = pixels[chosen]
        mean = (part.take(before, axis) + part.take(after, axis)) * 0.5
        pixels[chosen] = part + (mean - part) * weight


def _add_noise(pixels: np.ndarray, amount: np.ndarray, keys: np.ndarray) -> None:
    """Uniform noise from a hash of (picture, pixel): the channels share the 32 bits of one hash."""
    chosen = np.flatnonzero(amount > 0)
    place = np.arange(pixels[0, 0].size, dtype=np.uint32) * np.uint32(0x9E3779B1)
    bits = place[None] ^ keys[chosen][:, None]
    for multiplier in (0x7FEB352D, 0x846CA68B):
        bits = (bits ^ (bits >> 16)) * np.uint32(multiplier)
    bits ^= bits >> 15
    scale = (amount[chosen] * 12**0.5 / 256).astype(np.float32)[:, None]
    octets = [((bits >> shift) & 255).astype(np.float32) - 127.5 for shift in (0, 8, 16, 24)]
    for channel in range(3):  # mostly brightness, a little colour
        noise = (octets[channel] * 0.5 + octets[3] * 0.87) * scale
        pixels[chosen, channel] += noise.reshape(len(chosen), *pixels.shape[-2:])
