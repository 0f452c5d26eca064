"""A drawn face: who it is, how the picture is taken, and its layers in the order of painting."""

from functools import partial
from types import SimpleNamespace

import numpy as np

from fer_utils.datasets.synthetic import canvas, features
from fer_utils.datasets.synthetic.canvas import arch, between, bump, color, inside, line, unit
from fer_utils.datasets.synthetic.draws import Draws

# Anchors of the colour ramps, RGB 0–1; a person's colour lies anywhere between neighbours.
SKIN = (
    (0.98, 0.86, 0.77), (0.95, 0.77, 0.64), (0.84, 0.62, 0.46),
    (0.68, 0.47, 0.33), (0.52, 0.34, 0.24), (0.40, 0.26, 0.19),
)  # fmt: skip
HAIR = (
    (0.10, 0.08, 0.08), (0.22, 0.14, 0.10), (0.38, 0.23, 0.13),
    (0.55, 0.27, 0.13), (0.80, 0.60, 0.31), (0.72, 0.71, 0.70),
)  # fmt: skip
IRIS = ((0.24, 0.14, 0.08), (0.36, 0.22, 0.11), (0.34, 0.42, 0.22), (0.26, 0.44, 0.62))
# How far hair stands off the skull, how low it falls behind the head, how square its outline is,
# where the hairline is in the middle, how it falls to the sides, its slope (a parting).
_HAIR_COLUMNS = ("volume", "bottom", "square", "line", "curve", "slope")
HAIR_STYLES = np.array([
    (0.00, 0.10, 0.1, -9.00, 0.0, 0.00, 0.08),  # bald; last, how often the style occurs
    (0.025, 0.02, 0.1, -0.78, 0.95, 0.00, 0.14),  # buzzed
    (0.09, 0.12, 0.2, -0.76, 0.90, 0.12, 0.22),  # short
    (0.10, 0.35, 0.3, -0.60, 0.22, 0.03, 0.12),  # fringe
    (0.27, 0.42, 0.0, -0.74, 0.80, 0.00, 0.10),  # afro
    (0.15, 0.95, 0.6, -0.74, 1.00, 0.15, 0.16),  # bob
    (0.13, 1.90, 0.5, -0.80, 1.25, -0.10, 0.18),  # long
])  # fmt: skip
# What people differ in: name of the draw, mean and standard deviation.
PROPORTIONS = {
    "face_width": ("face width", 0.71, 0.028), "chin_y": ("chin", 0.97, 0.035),
    "eye_x": ("eye spacing", 0.335, 0.016), "eye_y": ("eye height", -0.10, 0.018),
    "eye_width": ("eye width", 0.198, 0.010), "eye_open": ("eye opening", 0.094, 0.006),
    "eye_tilt": ("eye tilt", 0.0, 0.012), "brow_gap": ("brow gap", 0.235, 0.014),
    "brow_length": ("brow length", 0.34, 0.015), "brow_arch": ("brow arch", 0.035, 0.010),
    "nose_y": ("nose length", 0.285, 0.022), "nose_width": ("nose width", 0.158, 0.014),
    "mouth_y": ("mouth height", 0.545, 0.018), "mouth_width": ("mouth width", 0.305, 0.016),
    "lip_upper": ("upper lip", 0.046, 0.006), "lip_lower": ("lower lip", 0.064, 0.008),
}  # fmt: skip
# The same: name of the draw, lowest and highest.
RANGES = {
    "lips": ("lip colour", 0.25, 0.75), "jaw_square": ("jaw square", 0.05, 0.5),
    "taper": ("taper", 0.16, 0.42), "ear": ("ear", 0.12, 0.17),
    "brow_width": ("brow width", 0.045, 0.085), "expressive": ("expressiveness", 0.9, 1.12),
    "beard": ("beard", 0.15, 0.9), "moustache": ("moustache", 0.2, 0.95),
}  # fmt: skip
_SKULL_TOP, _EYE_LEVEL = -1.02, -0.08


def _ramp(anchors, position) -> np.ndarray:
    """(N, 3): the colour at `position` (N,) in 0–1 along the anchors."""
    marks = np.linspace(0, 1, len(anchors))
    return np.stack([np.interp(position, marks, c) for c in np.array(anchors).T], axis=-1)


def identity(seed: int, subjects) -> dict[str, np.ndarray]:
    """What makes a person, of subjects (N,): name → (N,), or (N, 3) for colours (RGB 0–1)."""
    draws = Draws(seed, "subject", subjects)
    tone = draws.uniform("skin tone")
    style = HAIR_STYLES[draws.choice("hair style", HAIR_STYLES[:, -1])]
    dark = np.where(draws.chance("dark hair", 0.25 + 0.6 * tone), 0.35, 1.0)
    hair = _ramp(HAIR, dark * draws.uniform("hair colour"))
    person = {
        "tone": tone,
        "skin": unit(_ramp(SKIN, tone) * (1 + draws.normal("skin tint", 0.02)[:, None])),
        "hair": hair,
        "brow": hair * 0.55 + 0.02,
        "iris": _ramp(IRIS, draws.uniform("iris") * np.where(tone > 0.5, 0.3, 1.0)),
        "clothes": np.stack([draws.uniform(f"clothes {c}", 0.12, 0.75) for c in "rgb"], axis=-1),
    }
    for name, (draw, mean, deviation) in PROPORTIONS.items():
        person[name] = mean + draws.normal(draw, deviation)
    for name, (draw, low, high) in RANGES.items():
        person[name] = draws.uniform(draw, low, high)
    bearded = draws.chance("bearded", 0.28) & (style[:, 1] < 0.5)
    for name in ("beard", "moustache"):
        person[name] = np.where(bearded, person[name], 0.0)
    return person | {f"hair_{name}": style[:, i] for i, name in enumerate(_HAIR_COLUMNS)}


def capture(seed: int, images, difficulty: float) -> dict[str, np.ndarray]:
    """What in pictures (N,) is neither person nor expression: name → (N,), or (N, 3) for colours.

    Difficulty 0 is a studio portrait, facing the camera, 1 in the wild.
    """
    draws = Draws(seed, "image", images)
    uniform, normal, chance = draws.uniform, draws.normal, draws.chance
    moderate = min(difficulty, 1.5)

    def rgb(name: str, scale: float) -> np.ndarray:
        return np.stack([normal(f"{name} {c}", scale) for c in "rgb"], axis=-1)

    base = unit(uniform("background", 0.25, 0.88)[:, None] + rgb("background", 0.08))
    noise = np.where(chance("noisy", 0.6), uniform("noise", 0.01, 0.07), 0.0)
    blur = np.where(chance("blurred", 0.45 * moderate), uniform("blur", 0.2, 1.0), 0.0)
    return {
        "roll": np.clip(normal("roll", 0.05) * moderate, -0.14, 0.14),
        "yaw": np.clip(normal("yaw", 0.11) * moderate, -0.3, 0.3),
        "pitch": np.clip(normal("pitch", 0.07) * moderate, -0.2, 0.2),
        "zoom": np.maximum(1.05 + normal("zoom", 0.07) * moderate, 0.98),
        "shift_x": normal("shift x", 0.05) * moderate,
        "shift_y": normal("shift y", 0.05) * moderate,
        "gaze_x": normal("gaze x", 0.020) * moderate,
        "gaze_y": normal("gaze y", 0.010) * moderate,
        "light_x": 0.35 + (normal("light x", 1.0) - 0.35) * min(difficulty, 1.0),
        "light_y": -0.5 + normal("light y", 0.3) * moderate,
        "light_strength": 0.13 + uniform("light strength", -0.05, 0.22) * moderate,
        "exposure": np.clip(1 + normal("exposure", 0.16) * moderate, 0.45, 1.5),
        "contrast": np.clip(1 + normal("contrast", 0.16) * moderate, 0.5, 1.5),
        "cast": 1 + rgb("cast", 0.055) * moderate,
        "grey": chance("grey", 0.12 * moderate),
        "background": base,
        "background_end": unit(base + rgb("end", 0.10)),
        "spot_x": uniform("spot x", -1.2, 1.2),
        "spot_y": uniform("spot y", -1.2, 1.2),
        "clutter": uniform("clutter", 0.3, 1.0) * min(difficulty, 1.0),
        "side": chance("side", 0.5),
        "parted": np.where(chance("parted", 0.6), uniform("part", 0.35, 1.0), 0.0),
        "glasses": chance("glasses", 0.20 * moderate),
        "sunglasses": chance("sunglasses", 0.12),
        "glasses_width": uniform("glasses width", 0.022, 0.045),
        "hand": chance("hand", 0.10 * moderate),
        "hand_x": uniform("hand x", -0.75, 0.75),
        "hand_y": uniform("hand y", 0.50, 0.90),
        "lock": chance("lock", 0.12 * moderate),
        "lock_side": np.where(chance("lock side", 0.5), 1.0, -1.0),
        "blur": blur * moderate,
        "noise": noise * moderate,
        "noise_key": (draws.bits("noise key") >> np.uint64(32)).astype(np.uint32),
    }


def draw_portraits(rows: dict, size: int, seed: int, difficulty: float) -> np.ndarray:
    """One batch of faces, (N, size, size, 3) uint8 RGB; `rows` as of `draw_faces`."""
    person, shot = identity(seed, rows["subject"]), capture(seed, rows["image"], difficulty)
    shown = (rows[name] for name in ("expression", "second", "second_weight", "intensity"))
    active = features.activations(*shown, shot["side"], shot["parted"])
    face = _assemble(person, shot, features.displacements(active))
    camera = ("roll", "zoom", "shift_x", "shift_y", "yaw", "pitch")
    pictures = canvas.Canvas(size, *(shot[name] for name in camera))
    whole, center = pictures.whole(), 0.0 * face.eye_x
    _draw_background(whole, face)
    _draw_head(whole, face)
    forehead, brow = face.eye_y - face.brow_gap - 0.22, face.eye_y - 0.13
    pictures.window(center, forehead, 0.48, 0.20, partial(features.draw_forehead, face=face))
    for side, x in enumerate((-face.eye_x, face.eye_x)):
        pictures.window(x, brow, 0.33, 0.40, partial(features.draw_eye, face=face, side=side))
    nose, mouth = face.nose_y - 0.22, face.mouth_y - 0.02
    pictures.window(center, nose, 0.30, 0.42, partial(features.draw_nose, face=face))
    pictures.window(center, mouth, 0.62, 0.52, partial(features.draw_lower_face, face=face))
    _draw_front_hair(whole, face)
    _light(whole, face)
    for worn, draw in (("glasses", _draw_glasses), ("lock", _draw_lock), ("hand", _draw_hand)):
        chosen = np.flatnonzero(shot[worn])  # few: only their pictures are worked on
        if len(chosen):
            part = canvas.take(whole, chosen)
            draw(part, canvas.take(face, chosen))
            pictures.pixels[chosen] = part.pixels
    return _develop(pictures.pixels, face, shot)


def _assemble(person: dict, shot: dict, moved: dict) -> SimpleNamespace:
    """Everything that the layers read, shaped to combine with pixels."""
    column = canvas.column
    face = SimpleNamespace(**{name: column(values) for name, values in (person | shot).items()})
    moved = {name: values * person["expressive"][:, None] for name, values in moved.items()}
    for name, values in moved.items():
        setattr(face, name, (column(values[:, 0]), column(values[:, 1])))
    for name in ("forehead_lines", "furrow", "nose_wrinkle", "chin_boss"):  # in the middle
        setattr(face, name, unit(sum(getattr(face, name)) * 0.5))

    def mean(name):
        return column(moved[name].mean(axis=1))

    tone = face.tone[:, None]
    lip = face.skin * color(0.88, 0.62, 0.62)
    rose = color(0.80, 0.36, 0.38) * (1.05 - 0.5 * tone)
    face.lip = lip + (rose - lip) * face.lips[:, None]
    # On dark skin a fold must be darker still to be seen.
    face.fold = color(0.60, 0.47, 0.43) * (1.05 - 0.35 * tone)
    face.shadow = color(0.84, 0.74, 0.72) + np.zeros_like(face.skin)
    face.shade_side = np.where(face.light_x > 0, -1.0, 1.0).astype(np.float32)

    smile = unit(-np.maximum(*face.corner_y) / 0.17)  # on both sides
    jaw = unit(mean("jaw_y") / 0.12)
    opening = np.maximum(mean("mouth_open"), 0)
    face.gape_up = 0.35 * opening - 0.25 * mean("upper_lip_y")
    face.gape_down = 0.65 * opening + 0.65 * mean("lower_lip_y")
    face.lip_raise = 0.55 * mean("upper_lip_y")
    thickness = 1 + np.maximum(mean("lip_thickness"), -0.8)
    face.lip_upper, face.lip_lower = face.lip_upper * thickness, face.lip_lower * thickness
    square = unit(mean("mouth_square"))
    face.lower_teeth_shown = unit(mean("lower_teeth"))
    face.roundness = unit(0.75 * jaw + 0.25 * square + 0.4 * face.lower_teeth_shown)
    face.mouth_y_moved = mean("mouth_middle_y") + 0.45 * mean("upper_lip_y")
    face.upper_teeth = 0.035 + 0.05 * smile
    face.upper_teeth_shown = unit(0.25 + smile + 0.5 * square - mean("upper_lip_y") * 8)
    face.jaw = mean("jaw_y")
    return face


def _egg(x, y, half_width, top, bottom, square, taper):
    """An egg's level: below 1 inside. `square` (0–1) makes it boxier, `taper` narrows it below."""
    below = y > _EYE_LEVEL
    t = (y - _EYE_LEVEL) / np.where(below, bottom - _EYE_LEVEL, _EYE_LEVEL - top)
    s = x / half_width * (1 + taper * np.where(below, t * t, 0))
    s, t = s * s, t * t
    return (1 - square) * np.sqrt(s + t) + square * np.sqrt(np.sqrt(s * s + t * t))


def _draw_background(patch, face) -> None:
    x, y = patch.plain_x, patch.plain_y
    ramp = unit(y * 0.4 + 0.5)[:, None]
    patch.pixels[:] = face.background + (face.background_end - face.background) * ramp
    spot = bump(x - face.spot_x, y - face.spot_y, 0.9, 0.7) * face.clutter * 0.6
    patch.paint(face.background_end[:, ::-1], spot)


def _draw_head(patch, face) -> None:
    """Hair behind the head, neck, shoulders, ears, and the head itself with beard and blush."""
    x, y, soft, volume = patch.plain_x, patch.plain_y, patch.soft, face.hair_volume
    behind, top = x + 0.3 * face.yaw, _SKULL_TOP - volume
    half = face.face_width + volume
    back = _egg(behind, y, half, top, face.hair_bottom, face.hair_square, 0.0)
    patch.paint(face.hair * 0.85, inside((back - 1) * 0.6, soft * 1.5) * (volume > 0))
    neck = inside(np.abs(x) - 0.40 - 0.08 * arch(y - 1.4), soft) * inside(0.5 - y, soft)
    patch.paint(face.skin * face.shadow * 0.9, neck)
    patch.paint(face.clothes, inside(1.06 + 0.42 * np.maximum(np.abs(x) - 0.34, 0) - y, soft))
    ear_x = (np.abs(x + 0.12 * face.yaw) - face.face_width * 0.99) / 0.11
    ear_y = (y - 0.03) / face.ear
    ear = (np.sqrt(ear_x * ear_x + ear_y * ear_y) - 1) * 0.11
    patch.paint(face.skin * 0.86, inside(ear, soft))
    chin = face.chin_y + face.jaw
    level = _egg(x, y, face.face_width, _SKULL_TOP, chin, face.jaw_square, face.taper)
    skull = inside((level - 1) * face.face_width, soft)
    patch.paint(face.skin, skull)
    patch.shade(face.shadow, skull * unit((level - 0.72) * 2.2) * 0.7)
    fx, fy = patch.x, patch.y
    blush = bump(np.abs(fx) - 0.42, fy - 0.25, 0.24, 0.18)
    patch.shade(color(1.03, 0.86, 0.86), blush * skull * 0.55)
    jawline = unit((fy - 0.30 + 0.55 * arch(fx / 0.62) * (fy < 0.95) - 0.30) * 4)
    patch.paint(face.hair, skull * jawline * face.beard * 0.85)
    lip = bump(fx, fy - face.mouth_y + 0.125, 0.30, 0.085)
    patch.paint(face.hair, np.minimum(lip * 1.8, 1) * face.moustache * 0.8)


def _draw_front_hair(patch, face) -> None:
    soft, volume = patch.soft, face.hair_volume
    half, bottom = face.face_width + 0.8 * volume + 0.01, face.hair_bottom + 0.3
    cap = _egg(patch.plain_x, patch.plain_y, half, _SKULL_TOP - volume, bottom, 0.15, 0.0)
    x, y = patch.x, patch.y
    hairline = face.hair_line + face.hair_slope * x + face.hair_curve * x * x
    covered = inside((cap - 1) * 0.7, soft) * inside(y - hairline, soft * 2)
    sheen = bump(cap - 0.82, y + 0.7, 0.14, 0.5) * 0.35
    patch.paint(face.hair * (1 + sheen)[:, None], covered * np.where(volume > 0.03, 1.0, 0.8))
    edge = between(y, hairline, hairline + 0.07, soft * 3)
    patch.shade(face.shadow, edge * (cap < 1) * (volume > 0.03) * 0.8)


def _light(patch, face) -> None:
    """One light on a rounded head: brighter where it faces the light, darker turned away."""
    x, y = patch.plain_x, patch.plain_y
    toward = (x * face.light_x * 1.2 + y * face.light_y) * arch(np.minimum(np.abs(x) * 0.55, 1))
    patch.pixels *= (1 + np.clip(toward, -1.2, 1.2) * face.light_strength)[:, None]


def _draw_glasses(patch, face) -> None:
    x, y, soft, width = patch.x, patch.y, patch.soft, face.glasses_width
    reach = np.abs(x)
    u, v = (reach - face.eye_x - 0.005) / 0.235, (y - face.eye_y - 0.03) / 0.185
    u, v = u * u, v * v
    rim = (np.sqrt(np.sqrt(u * u + v * v)) - 1) * 0.2
    lens = inside(rim, soft)
    darkness = np.where(face.sunglasses > 0, np.float32(0.88), np.float32(0.04))
    patch.paint(np.float32(0.08), lens * darkness)
    streak = unit(1 - np.abs(x * 0.8 + y + 0.03 - 0.3 * (x > 0)) * 9)
    patch.paint(color(1.0, 1.0, 1.0), lens * streak * 0.22)
    bridge = line(y - face.eye_y + 0.02 + 0.8 * x * x, width, soft)
    bridge = bridge * inside(reach - face.eye_x + 0.235, soft)
    temple = line(y - face.eye_y + 0.03, width, soft)
    temple = temple * between(reach, face.eye_x + 0.23, face.face_width, soft)
    frame = np.maximum(np.maximum(line(rim, width, soft), bridge), temple)
    patch.paint(face.clothes * 0.35, frame * 0.95)


def _draw_lock(patch, face) -> None:
    """A lock of hair over brow and eye."""
    t = (patch.plain_y + 1.0) / 1.1
    middle = face.lock_side * (0.10 + 0.45 * t * t)
    strand = inside(np.abs(patch.plain_x - middle) - 0.17 * arch(t), patch.soft)
    strand = strand * between(t, 0, 1, patch.soft)
    patch.paint(face.hair * 0.9, strand * (face.hair_volume > 0))


def _draw_hand(patch, face) -> None:
    """Four fingers over the chin or a corner of the mouth."""
    x, y = patch.plain_x, patch.plain_y
    for finger in range(4):
        along = x - face.hand_x - 0.15 * (finger - 1.5) - 0.25 * face.hand_x * (y - face.hand_y)
        above = np.minimum(y - face.hand_y - 0.05 * (finger - 1.3) ** 2, 0)  # of the finger's tip
        distance = np.sqrt(along * along + above * above) - 0.078
        patch.paint(face.skin * 0.93, inside(distance, patch.soft))
        patch.shade(face.fold, line(distance, 0.02, patch.soft) * 0.8)


def _develop(pixels: np.ndarray, face, shot: dict) -> np.ndarray:
    """The camera: exposure, colour cast, contrast, blur, noise; then bytes."""
    grey = (pixels * color(0.299, 0.587, 0.114)).sum(axis=1, keepdims=True)
    grey_shot = shot["grey"]
    pixels[grey_shot] = grey[grey_shot]
    cast = canvas.column(np.where(grey_shot[:, None], 1.0, shot["cast"]))
    pixels *= cast * face.exposure[:, None]
    pixels[:] = (pixels - 0.5) * face.contrast[:, None] + 0.5
    _blur(pixels, shot["blur"])
    _add_noise(pixels, shot["noise"], shot["noise_key"])
    levels = np.clip(pixels * 255 + 0.5, 0, 255).astype(np.uint8)
    return np.ascontiguousarray(levels.transpose(0, 2, 3, 1))


def _blur(pixels: np.ndarray, amount: np.ndarray) -> None:
    """Mix blurred pictures with their own 1-2-1 average along each axis."""
    reach = max(1, pixels.shape[-1] // 64)
    chosen = np.flatnonzero(amount > 0)
    weight = canvas.column(np.minimum(amount[chosen], 1.0))[:, None] * 0.5
    for axis in (2, 3):
        part = np.moveaxis(pixels[chosen], axis, -1)
        padded = np.pad(part, [(0, 0)] * 3 + [(reach, reach)], mode="edge")
        mean = (padded[..., : -2 * reach] + padded[..., 2 * reach :]) * 0.5
        pixels[chosen] = np.moveaxis(part + (mean - part) * weight, -1, axis)


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
