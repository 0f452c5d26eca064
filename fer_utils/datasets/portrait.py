"""A drawn face, from background to sensor noise: the layers in the order they are painted."""

import numpy as np

from fer_utils.datasets.appearance import capture, identity
from fer_utils.datasets.drawing import Canvas, Patch, View, arch, between, bump, column, inside, line
from fer_utils.datasets.facs import displacements, part_lips
from fer_utils.datasets.features import WHITE, draw_eye_and_brow, draw_forehead, draw_lower_face, draw_nose

_SKULL_TOP, _EYE_LEVEL = -1.02, -0.08


def draw_portraits(active, subjects, images, size: int, seed: int, difficulty: float) -> np.ndarray:
    """Draw faces whose action units are given.

    Args:
        active: (N, 2, number of action units), see `facs.activations`.
        subjects: (N,) int, who is drawn.
        images: (N,) int, the picture's index: pose, light, background, occlusion, noise.
        size: pixels a side.
        seed: int ≥ 0.
        difficulty: strength of everything that `appearance.capture` draws.

    Returns:
        (N, size, size, 3) uint8 RGB.

    >>> from fer_utils.datasets.facs import ACTION_UNITS
    >>> draw_portraits(np.zeros((1, 2, len(ACTION_UNITS))), [0], [0], size=32, seed=0, difficulty=0.0).shape
    (1, 32, 32, 3)
    """
    person, shot = identity(seed, subjects), capture(seed, images, difficulty)
    view = View(size, *(shot[name] for name in ("roll", "zoom", "shift_x", "shift_y", "yaw", "pitch")))
    face = _assemble(person, shot, displacements(part_lips(active, shot["parted"])))
    canvas = Canvas(len(active), view)
    whole = canvas.whole()
    _draw_background(whole, face)
    _draw_head(whole, face)
    eye_x, brow_y = face["eye_x"], face["eye_y"] - 0.13
    canvas.window(0.0 * eye_x, face["eye_y"] - face["brow_gap"] - 0.22, 0.48, 0.20, lambda p: draw_forehead(p, face))
    for side in (0, 1):
        draw_one = lambda p, side=side: draw_eye_and_brow(p, face, side)  # noqa: E731
        canvas.window(eye_x * (1 if side else -1), brow_y, 0.33, 0.40, draw_one)
    canvas.window(0.0 * eye_x, face["nose_y"] - 0.22, 0.30, 0.42, lambda p: draw_nose(p, face))
    canvas.window(0.0 * eye_x, face["mouth_y"] - 0.02, 0.62, 0.52, lambda p: draw_lower_face(p, face))
    _draw_front_hair(whole, face)
    _light(whole, face)
    for worn, draw in (("glasses", _draw_glasses), ("lock", _draw_lock), ("hand", _draw_hand)):
        chosen = np.flatnonzero(shot[worn])  # few: only their pictures are worked on
        if len(chosen):
            part = whole.take(chosen)
            draw(part, _take(face, chosen))
            canvas.pixels[chosen] = part.pixels
    return _develop(canvas.pixels, face, shot)


def _assemble(person: dict, shot: dict, moved: dict) -> dict:
    """Everything the layers read, shaped to combine with pixels."""
    face = {}
    for name, values in (person | shot).items():
        face[name] = np.asarray(values, dtype=np.float32)[..., None, None] if values.ndim == 2 else column(values)
    expressive = person["expressive"][:, None]
    moved = {name: values * expressive for name, values in moved.items()}
    face |= {name: (column(values[:, 0]), column(values[:, 1])) for name, values in moved.items()}

    def mean(name):
        return column(moved[name].mean(axis=1))

    skin = face["skin"]
    rose = np.array([0.80, 0.36, 0.38], dtype=np.float32)[:, None, None]
    face["lip"] = skin * np.array([0.88, 0.62, 0.62], dtype=np.float32)[:, None, None]
    face["lip"] = face["lip"] + (rose * (1.05 - 0.5 * face["tone"][:, None]) - face["lip"]) * face["lips"][:, None]
    # On dark skin a fold must be darker still to be seen.
    face["fold"] = np.array([0.60, 0.47, 0.43], dtype=np.float32)[:, None, None] * (1.05 - 0.35 * face["tone"][:, None])
    face["shadow"] = np.array([0.84, 0.74, 0.72], dtype=np.float32)[:, None, None] + np.zeros_like(skin)
    face["shade_side"] = np.where(face["light_x"] > 0, -1.0, 1.0).astype(np.float32)

    smile = np.clip(-np.maximum(*face["corner_y"]) / 0.17, 0, 1)  # on both sides
    jaw = np.clip(mean("jaw_y") / 0.12, 0, 1)
    opening = np.maximum(mean("mouth_open"), 0)
    face["gape_up"] = 0.35 * opening - 0.25 * mean("upper_lip_y")
    face["gape_down"] = 0.65 * opening + 0.65 * mean("lower_lip_y")
    face["lip_raise"] = 0.55 * mean("upper_lip_y")
    thickness = 1 + np.maximum(mean("lip_thickness"), -0.8)
    face["lip_upper"], face["lip_lower"] = face["lip_upper"] * thickness, face["lip_lower"] * thickness
    square = np.clip(mean("mouth_square"), 0, 1)
    face["roundness"] = np.clip(0.75 * jaw + 0.25 * square + 0.4 * np.clip(mean("lower_teeth"), 0, 1), 0, 1)
    face["mouth_y_moved"] = mean("mouth_middle_y") + 0.45 * mean("upper_lip_y")
    face["upper_teeth"] = 0.035 + 0.05 * smile
    face["upper_teeth_shown"] = np.clip(0.25 + smile + 0.5 * square - mean("upper_lip_y") * 8, 0, 1)
    face["lower_teeth_shown"] = np.clip(mean("lower_teeth"), 0, 1)
    face["jaw"] = mean("jaw_y")
    return face


def _take(face: dict, chosen) -> dict:
    return {
        name: tuple(side[chosen] for side in value) if isinstance(value, tuple) else value[chosen]
        for name, value in face.items()
    }


def _egg(x, y, half_width, top, bottom, square, taper):
    """An egg's level: below 1 inside. `square` (0–1) makes the outline boxier, `taper` narrows it downwards."""
    below = y > _EYE_LEVEL
    t = (y - _EYE_LEVEL) / np.where(below, bottom - _EYE_LEVEL, _EYE_LEVEL - top)
    s = x / half_width * (1 + taper * np.where(below, t * t, 0))
    s, t = s * s, t * t
    return (1 - square) * np.sqrt(s + t) + square * np.sqrt(np.sqrt(s * s + t * t))


def _draw_background(patch: Patch, face: dict) -> None:
    x, y = patch.plain_x, patch.plain_y
    ramp = np.clip(y * 0.4 + 0.5, 0, 1)[:, None]
    patch.pixels[:] = face["background"] + (face["background_end"] - face["background"]) * ramp
    spot = bump(x - face["spot_x"], y - face["spot_y"], 0.9, 0.7) * face["clutter"] * 0.6
    patch.paint(face["background_end"][:, ::-1], spot)


def _draw_head(patch: Patch, face: dict) -> None:
    """Hair behind the head, neck, shoulders, ears, and the head itself with its beard and blush."""
    x, y, soft = patch.plain_x, patch.plain_y, patch.soft
    volume = face["hair_volume"]
    back = _egg(
        x + 0.3 * face["yaw"],
        y,
        face["face_width"] + volume,
        _SKULL_TOP - volume,
        face["hair_bottom"],
        face["hair_square"],
        0.0,
    )
    patch.paint(face["hair"] * 0.85, inside((back - 1) * 0.6, soft * 1.5) * (volume > 0))
    neck = inside(np.abs(x) - 0.40 - 0.08 * arch(y - 1.4), soft) * inside(0.5 - y, soft)
    patch.paint(face["skin"] * face["shadow"] * 0.9, neck)
    patch.paint(face["clothes"], inside((1.06 + 0.42 * np.maximum(np.abs(x) - 0.34, 0) - y), soft))
    ear_x, ear_y = (np.abs(x + 0.12 * face["yaw"]) - face["face_width"] * 0.99) / 0.11, (y - 0.03) / face["ear"]
    patch.paint(face["skin"] * 0.86, inside((np.sqrt(ear_x * ear_x + ear_y * ear_y) - 1) * 0.11, soft))
    level = _egg(x, y, face["face_width"], _SKULL_TOP, face["chin_y"] + face["jaw"], face["jaw_square"], face["taper"])
    skull = inside((level - 1) * face["face_width"], soft)
    patch.paint(face["skin"], skull)
    patch.shade(face["shadow"], skull * np.clip((level - 0.72) * 2.2, 0, 1) * 0.7)
    blush = bump(np.abs(patch.x) - 0.42, patch.y - 0.25, 0.24, 0.18)
    patch.shade(np.array([1.03, 0.86, 0.86], dtype=np.float32)[:, None, None], blush * skull * 0.55)
    fx, fy = patch.x, patch.y
    jawline = np.clip((fy - 0.30 + 0.55 * arch(fx / 0.62) * (fy < 0.95) - 0.30) * 4, 0, 1)
    patch.paint(face["hair"], skull * jawline * face["beard"] * 0.85)
    lip = bump(fx, fy - face["mouth_y"] + 0.125, 0.30, 0.085)
    patch.paint(face["hair"], np.minimum(lip * 1.8, 1) * face["moustache"] * 0.8)


def _draw_front_hair(patch: Patch, face: dict) -> None:
    x, y, soft, volume = patch.plain_x, patch.plain_y, patch.soft, face["hair_volume"]
    cap = _egg(
        x, y, face["face_width"] + 0.8 * volume + 0.01, _SKULL_TOP - volume, face["hair_bottom"] + 0.3, 0.15, 0.0
    )
    fx = patch.x
    hairline = face["hairline"] + face["hairline_slope"] * fx + face["hairline_curve"] * fx * fx
    covered = inside((cap - 1) * 0.7, soft) * inside(patch.y - hairline, soft * 2)
    sheen = bump(cap - 0.82, patch.y + 0.7, 0.14, 0.5) * 0.35
    patch.paint(face["hair"] * (1 + sheen)[:, None], covered * np.where(volume > 0.03, 1.0, 0.8))
    patch.shade(
        face["shadow"], between(patch.y, hairline, hairline + 0.07, soft * 3) * (cap < 1) * (volume > 0.03) * 0.8
    )


def _light(patch: Patch, face: dict) -> None:
    """One light on a rounded head: brighter where it faces the light, darker where it turns away."""
    x, y = patch.plain_x, patch.plain_y
    toward = (x * face["light_x"] * 1.2 + y * face["light_y"]) * arch(np.minimum(np.abs(x) * 0.55, 1))
    patch.pixels *= (1 + np.clip(toward, -1.2, 1.2) * face["light_strength"])[:, None]


def _draw_glasses(patch: Patch, face: dict) -> None:
    x, y, soft = patch.x, patch.y, patch.soft
    u, v = (np.abs(x) - face["eye_x"] - 0.005) / 0.235, (y - face["eye_y"] - 0.03) / 0.185
    u, v = u * u, v * v
    rim = (np.sqrt(np.sqrt(u * u + v * v)) - 1) * 0.2
    lens = inside(rim, soft)
    patch.paint(np.float32(0.08), lens * np.where(face["sunglasses"] > 0, np.float32(0.88), np.float32(0.04)))
    patch.paint(WHITE, lens * np.clip(1 - np.abs(x * 0.8 + y + 0.03 - 0.3 * (x > 0)) * 9, 0, 1) * 0.22)
    width = face["glasses_width"]
    bridge = line(y - face["eye_y"] + 0.02 + 0.8 * x * x, width, soft) * inside(np.abs(x) - face["eye_x"] + 0.235, soft)
    side = between(np.abs(x), face["eye_x"] + 0.23, face["face_width"], soft)
    temple = line(y - face["eye_y"] + 0.03, width, soft) * side
    patch.paint(face["clothes"] * 0.35, np.maximum(np.maximum(line(rim, width, soft), bridge), temple) * 0.95)


def _draw_lock(patch: Patch, face: dict) -> None:
    """A lock of hair over brow and eye."""
    t = (patch.plain_y + 1.0) / 1.1
    middle = face["lock_side"] * (0.10 + 0.45 * t * t)
    strand = inside(np.abs(patch.plain_x - middle) - 0.17 * arch(t), patch.soft) * between(t, 0, 1, patch.soft)
    patch.paint(face["hair"] * 0.9, strand * (face["hair_volume"] > 0))


def _draw_hand(patch: Patch, face: dict) -> None:
    """Four fingers over the chin or a corner of the mouth."""
    x, y = patch.plain_x, patch.plain_y
    for finger in range(4):
        along = x - face["hand_x"] - 0.15 * (finger - 1.5) - 0.25 * face["hand_x"] * (y - face["hand_y"])
        over = np.minimum(y - face["hand_y"] - 0.05 * (finger - 1.3) ** 2, 0)  # above the finger's tip
        distance = np.sqrt(along * along + over * over) - 0.078
        patch.paint(face["skin"] * 0.93, inside(distance, patch.soft))
        patch.shade(face["fold"], line(distance, 0.02, patch.soft) * 0.8)


def _develop(pixels: np.ndarray, face: dict, shot: dict) -> np.ndarray:
    """The camera: exposure, colour cast, contrast, blur, noise; then bytes."""
    grey = (pixels * np.array([0.299, 0.587, 0.114], dtype=np.float32)[:, None, None]).sum(axis=1, keepdims=True)
    grey_shot = shot["grey"]
    pixels[grey_shot] = grey[grey_shot]
    cast = np.where(grey_shot[:, None], 1.0, shot["cast"]).astype(np.float32)[..., None, None]
    pixels *= cast * face["exposure"][:, None]
    pixels -= np.float32(0.5)
    pixels *= face["contrast"][:, None]
    pixels += np.float32(0.5)
    _blur(pixels, shot["blur"])
    _add_noise(pixels, shot)
    pixels *= np.float32(255)
    pixels += np.float32(0.5)
    return np.ascontiguousarray(np.clip(pixels, 0, 255).astype(np.uint8).transpose(0, 2, 3, 1))


def _blur(pixels: np.ndarray, amount: np.ndarray) -> None:
    """Mix the blurred pictures with their own 1-2-1 average, once along each axis, at a reach that grows with size."""
    reach = max(1, pixels.shape[-1] // 64)
    chosen = np.flatnonzero(amount > 0)
    weight = np.minimum(amount[chosen], 1.0).astype(np.float32)[:, None, None, None] * np.float32(0.5)
    for axis in (2, 3):
        part = np.moveaxis(pixels[chosen], axis, -1)
        padded = np.concatenate([part[..., :1]] * reach + [part] + [part[..., -1:]] * reach, axis=-1)
        mean = (padded[..., : -2 * reach] + padded[..., 2 * reach :]) * np.float32(0.5)
        pixels[chosen] = np.moveaxis(part + (mean - part) * weight, -1, axis)


def _add_noise(pixels: np.ndarray, shot: dict) -> None:
    """Uniform noise from a hash of (picture, pixel): the channels share the 32 bits of one hash."""
    chosen = np.flatnonzero(shot["noise"] > 0)
    place = np.arange(pixels[0, 0].size, dtype=np.uint32) * np.uint32(0x9E3779B1)
    bits = place[None] ^ shot["noise_key"][chosen][:, None]
    for multiplier in (0x7FEB352D, 0x846CA68B):
        bits = (bits ^ (bits >> np.uint32(16))) * np.uint32(multiplier)
    bits ^= bits >> np.uint32(15)
    scale = (shot["noise"][chosen] * 12**0.5 / 256).astype(np.float32)[:, None]
    levels = [((bits >> np.uint32(s)) & np.uint32(255)).astype(np.float32) - np.float32(127.5) for s in (0, 8, 16, 24)]
    for channel in range(3):  # mostly brightness, a little colour
        noise = (levels[channel] * np.float32(0.5) + levels[3] * np.float32(0.87)) * scale
        pixels[chosen, channel] += noise.reshape(len(chosen), *pixels.shape[-2:])
