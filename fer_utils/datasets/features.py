"""Eyes, brows, nose, mouth and the folds around them: the parts of a drawn face that the action units move.

A `face` maps names to (N, 1, 1) numbers and (N, 3, 1, 1) colours; a landmark's displacement is a pair, one a side.
"""

import numpy as np

from fer_utils.datasets.drawing import Patch, arch, between, bump, inside, line


def _color(*rgb) -> np.ndarray:
    return np.array(rgb, dtype=np.float32)[:, None, None]


SCLERA, TEETH, THROAT, TONGUE = (
    _color(0.96, 0.95, 0.94),
    _color(0.97, 0.95, 0.91),
    _color(0.25, 0.06, 0.07),
    _color(0.78, 0.36, 0.36),
)
WHITE, BLACK, LASH = _color(1.0, 1.0, 1.0), _color(0.05, 0.04, 0.05), _color(0.12, 0.08, 0.08)


def draw_forehead(patch: Patch, face: dict) -> None:
    """The lines that raised brows fold into the forehead."""
    strength = np.clip((face["forehead_lines"][0] + face["forehead_lines"][1]) * 0.5, 0, 1)
    x, height = patch.x, patch.y - face["eye_y"] + face["brow_gap"]
    fade = arch(x / 0.42)
    for level in (-0.20, -0.275):
        curve = level - 0.05 + 0.22 * (x * x) - 0.035 * arch(x / 0.15)
        patch.shade(face["fold"], line(height - curve, 0.020, patch.soft) * fade * strength)


def draw_eye_and_brow(patch: Patch, face: dict, side: int) -> None:
    """One eye with its lids, and the brow above it; side 0 is left in the picture."""
    x, y, soft = (patch.x if side else -patch.x), patch.y, patch.soft  # x now grows away from the nose
    u = (x - face["eye_x"]) / face["eye_width"]  # −1 at the inner corner, 1 at the outer
    curve = arch(u) * (1.08 - 0.16 * u)
    middle = face["eye_y"] - face["eye_tilt"] * u
    top = middle - (face["eye_open"] + face["upper_lid"][side]) * curve
    bottom = middle + (0.62 * face["eye_open"] + face["lower_lid"][side]) * curve

    patch.shade(face["shadow"], bump(x - face["eye_x"] + 0.03, y - face["eye_y"] + 0.05, 0.27, 0.19) * 0.45)
    _draw_lid_folds(patch, face, side, u, middle, bottom)

    open_eye = between(y, top, bottom, soft) * inside(np.abs(u) - 1, soft * 6)
    patch.paint(SCLERA * (0.88 + 0.12 * np.clip((y - top) / 0.05, 0, 1))[:, None], open_eye)
    gaze_x = face["gaze_x"] if side else -face["gaze_x"]
    iris_x, iris_y = x - face["eye_x"] + 0.008 - gaze_x, y - face["eye_y"] + 0.018 - face["gaze_y"]
    radius = np.sqrt(iris_x * iris_x + iris_y * iris_y)
    patch.paint(face["iris"] * 0.5, inside(radius - 0.089, soft) * open_eye)
    patch.paint(face["iris"] * (1.15 + 4.0 * iris_y)[:, None], inside(radius - 0.075, soft) * open_eye)
    patch.paint(BLACK, inside(radius - 0.041, soft) * open_eye)
    glint_x, glint_y = iris_x + (0.024 if side else -0.024), iris_y + 0.028
    patch.paint(WHITE, inside(np.sqrt(glint_x * glint_x + glint_y * glint_y) - 0.017, soft) * open_eye)

    lashes = line(y - top, 0.026 + 0.014 * (u + 1) * curve, soft) * inside(np.abs(u - 0.03) - 1.04, soft * 6)
    patch.paint(LASH, lashes)
    patch.shade(face["fold"], line(y - bottom, 0.012, soft) * inside(np.abs(u) - 0.95, soft * 6) * 0.7)
    _draw_brow(patch, face, side, x, y)


def _draw_lid_folds(patch, face, side, u, middle, bottom) -> None:
    """The crease over the eye, the bag of tightened lids, the raised cheek and its crow's feet."""
    y, soft, near = patch.y, patch.soft, inside(np.abs(u) - 1, patch.soft * 6)
    crease = middle - 0.045 - (face["eye_open"] + 0.35 * face["upper_lid"][side]) * arch(u)
    patch.shade(face["fold"], line(y - crease, 0.014, soft) * near * 0.75)
    bag = bottom + 0.028 + 0.012 * arch(u)
    patch.shade(face["fold"], line(y - bag, 0.018, soft) * arch(u) * (0.9 * np.clip(face["lid_bag"][side], 0, 1)))
    cheek = np.clip(face["cheek"][side], 0, 1)
    fold = middle + 0.055 + 0.055 * arch(u * 0.8)
    patch.shade(face["fold"], line(y - fold, 0.022, soft) * arch((u - 0.15) / 1.15) * (0.85 * cheek))
    beyond = u - 1.12
    span = between(beyond, 0.0, 0.42, soft * 5) * np.clip(face["crows_feet"][side], 0, 1)
    for slope in (-0.16, 0.02, 0.2):
        patch.shade(face["fold"], line(y - middle - slope * beyond - 0.12 * slope, 0.013, soft) * span * 0.8)


def _draw_brow(patch, face, side, x, y) -> None:
    length = face["brow_length"] - face["brow_inner_x"][side] * 0.6
    t = (x - 0.135 - face["brow_inner_x"][side]) / length  # 0 at the inner end, 1 at the outer
    base = face["eye_y"] - face["brow_gap"]
    inner = base + 0.015 + face["brow_inner_y"][side]
    control = base - 2 * face["brow_arch"] + 1.25 * face["brow_middle_y"][side]
    outer = base + 0.02 + face["brow_outer_y"][side]
    rest = 1 - t
    curve = rest * rest * inner + 2 * t * rest * control + t * t * outer  # a quadratic Bézier curve
    slope = 2 * (rest * (control - inner) + t * (outer - control)) / length
    width = face["brow_width"] * (1 - 0.62 * t * t) * (0.8 + 0.2 * np.clip(t * 5, 0, 1))
    stroke = line((y - curve) / np.sqrt(1 + slope * slope), width, patch.soft)
    patch.paint(face["brow"], stroke * between(t, 0.0, 1.0, patch.soft * 3) * 0.93)


def draw_nose(patch: Patch, face: dict) -> None:
    """Nose, the furrow between the brows, and the wrinkles across the bridge."""
    x, y, soft = patch.x - face["yaw"] * 0.22, patch.y - face["pitch"] * 0.15, patch.soft
    lift = (face["nose_wing_y"][0] + face["nose_wing_y"][1]) * 0.5
    tip, width, away = face["nose_y"] + 0.6 * lift, face["nose_width"], face["shade_side"]
    patch.shade(face["shadow"], bump(x - 0.075 * away, y - tip + 0.17, 0.065, 0.30) * 0.65)
    patch.shade(face["shadow"], bump(x, y - tip - 0.035, width * 1.35, 0.085) * 0.9)
    patch.paint(WHITE, bump(x + 0.015 * away, y - tip + 0.16, 0.035, 0.26) * 0.20)
    patch.paint(WHITE, bump(x + 0.02 * away, y - tip + 0.045, 0.055, 0.05) * 0.32)
    patch.shade(face["fold"], line(y - tip - 0.052 + 0.05 * (x / width) ** 2, 0.017, soft) * arch(x / (0.62 * width)))
    mirrored = np.abs(x)
    wing_x, wing_y = (mirrored - 0.72 * width) / (0.33 * width), (y - face["nose_y"] - lift) / 0.062
    radius = np.sqrt(wing_x * wing_x + wing_y * wing_y)
    outer_half = np.clip(wing_x * 1.6 + 0.1, 0, 1)
    patch.shade(face["fold"], line((radius - 1) * 0.055, 0.02, soft) * outer_half)
    nostril_x, nostril_y = (mirrored - 0.42 * width) / 0.042, (y - tip - 0.028) / 0.021
    hole = inside((np.sqrt(nostril_x * nostril_x + nostril_y * nostril_y) - 1) * 0.021, soft)
    patch.shade(face["fold"] * 0.45, hole * 0.85)

    furrow = np.clip((face["furrow"][0] + face["furrow"][1]) * 0.5, 0, 1)
    height = patch.y - face["eye_y"]
    folds = line(np.abs(patch.x) - 0.05 + 0.12 * (height + 0.2), 0.024, soft) * arch((height + 0.19) / 0.13)
    patch.shade(face["fold"] * 0.9, folds * furrow)
    wrinkle = np.clip((face["nose_wrinkle"][0] + face["nose_wrinkle"][1]) * 0.5, 0, 1)
    for level, reach in ((-0.055, 0.10), (0.010, 0.12), (0.075, 0.12)):
        bent = line(height - level + 0.45 * mirrored - 0.03, 0.021, soft) * arch(mirrored / reach)
        patch.shade(face["fold"] * 0.9, bent * wrinkle)


def draw_lower_face(patch: Patch, face: dict) -> None:
    """The folds from nose to mouth, dimples, chin, and the mouth."""
    x, y, soft = patch.x, patch.y, patch.soft
    right, reach = x > 0, np.abs(x)

    def sided(name):
        return np.where(right, face[name][1], face[name][0])

    corner = sided("corner_y")
    half = face["mouth_width"] + sided("corner_x")
    higher, lower = np.minimum(*face["corner_y"]), np.maximum(*face["corner_y"])
    shared = np.minimum(lower, 0) + np.maximum(higher, 0)  # what both corners do; 0 when one moves alone
    middle = face["mouth_y"] + face["mouth_y_moved"] - 0.30 * shared
    corner_y = middle + corner

    start_x, start_y = face["nose_width"] + 0.055, face["nose_y"] - 0.055
    span = np.maximum(corner_y + 0.03 - start_y, 0.2)  # however high the corner, the fold passes beside it
    t = (y - start_y) / span
    fold = start_x + (half + 0.075 - start_x) * t + 0.16 * t * (1 - t)
    tilt = (half + 0.235 - start_x - 0.32 * t) / span
    strength = np.clip(sided("nasolabial"), 0, 1) * 0.95 + 0.10
    crease = line((reach - fold) / np.sqrt(1 + tilt * tilt), 0.026, soft)
    patch.shade(face["fold"], crease * between(t, 0, 1, soft * 4) * strength)
    away, drop = reach - half, y - corner_y
    dimple = np.clip(sided("dimple"), 0, 1)
    patch.shade(face["fold"] * 0.85, line(away - 0.055 + 3.2 * drop * drop, 0.030, soft) * arch(drop / 0.13) * dimple)
    patch.shade(face["shadow"], bump(away - 0.09, drop, 0.10, 0.13) * dimple)
    patch.shade(face["fold"], bump(away, drop, 0.055, 0.045) * 0.6)
    chin = np.clip((face["chin_boss"][0] + face["chin_boss"][1]) * 0.5, 0, 1)
    patch.shade(
        face["fold"], line(y - middle - 0.165 - 0.25 * x * x, 0.020, soft) * arch(x / 0.17) * (0.25 + 0.7 * chin)
    )
    _draw_mouth(patch, face, middle + corner * (x / half) ** 2, reach / half)


def _draw_mouth(patch, face, middle, u) -> None:
    """Lips, teeth and tongue around the curve `middle` (y of the closed lips), u = ±1 at the corners."""
    y, soft, profile = patch.y, patch.soft, arch(u)
    roundness = face["roundness"]
    gape = profile * (1 - roundness) + np.sqrt(profile) * roundness
    top, bottom = middle - face["gape_up"] * gape, middle + face["gape_down"] * gape
    upper = top - face["lip_upper"] * gape * (1 - 0.25 * arch(u / 0.28)) + face["lip_raise"] * profile
    lower = bottom + face["lip_lower"] * gape
    within = inside(u - 1, soft * 4)
    patch.shade(face["shadow"], between(y, lower, lower + 0.05, soft) * within * profile)
    patch.paint(face["lip"] * 0.88, between(y, upper, middle, soft) * within)
    patch.paint(face["lip"], between(y, middle, lower, soft) * within)
    gloss = bump(patch.x, y - bottom - face["lip_lower"] * 0.5, 0.13, 0.035)
    patch.paint(WHITE, gloss * within * 0.28 * np.clip(face["lip_lower"] * 20, 0, 1))
    hollow = between(y, top, bottom, soft) * within * np.clip((bottom - top) / soft, 0, 1)
    patch.paint(THROAT, hollow)
    patch.paint(TONGUE, hollow * bump(patch.x, y - bottom - 0.02, 0.17, 0.09) * 0.9)
    patch.paint(TEETH, hollow * inside(y - top - face["upper_teeth"], soft) * face["upper_teeth_shown"])
    patch.paint(TEETH * 0.95, hollow * inside(bottom - y - 0.035, soft) * face["lower_teeth_shown"])
    patch.shade(face["fold"] * 0.5, line(y - top, 0.020, soft) * inside(u - 1.03, soft * 4) * 0.85)
