"""Expressions as action units (FACS), what these move, and the parts of a face that are moved.

In face units: half a face is about 0.75 wide and 1 high, x points right, y down. A `face` holds
(N, 1, 1) numbers, (N, 3, 1, 1) colours, and pairs of displacements: left and right in the picture.
"""

import numpy as np

from fer_utils.core import EXPRESSIONS, NUM_CLASSES
from fer_utils.datasets.synthetic.canvas import arch, between, bump, color, inside, line, unit

# Ekman & Friesen's prototypes. Contempt is the one that happens on one side of the face only.
PROTOTYPES = {
    "neutral": (),
    "happy": (6, 12),
    "sad": (1, 4, 15),
    "surprise": (1, 2, 5, 26),
    "fear": (1, 2, 4, 5, 7, 20, 26),
    "disgust": (9, 15, 16),
    "anger": (4, 5, 7, 23),
    "contempt": (12, 14),
}

# What a fully active unit moves. Names in `_y` grow downwards, in `_x` away from the middle of the
# face; lids and lips grow as they open; the rest are strengths (0–1) of folds, bulges and lines.
DISPLACEMENTS = {
    1: {"brow_inner_y": -0.17, "brow_middle_y": -0.07, "forehead_lines": 0.5},  # inner brow raiser
    2: {"brow_outer_y": -0.14, "brow_middle_y": -0.12, "forehead_lines": 0.5},  # outer brow raiser
    4: {"brow_inner_y": 0.15, "brow_middle_y": 0.11, "brow_inner_x": -0.065,
        "furrow": 1.0},  # brow lowerer
    5: {"upper_lid": 0.06},  # upper lid raiser
    6: {"lower_lid": -0.06, "upper_lid": -0.02, "cheek": 1.0, "crows_feet": 1.0},  # cheek raiser
    7: {"lower_lid": -0.035, "upper_lid": -0.03, "lid_bag": 1.0},  # lid tightener
    9: {"nose_wrinkle": 1.0, "nose_wing_y": -0.05, "nasolabial": 1.0, "upper_lip_y": -0.075,
        "brow_inner_y": 0.10, "brow_middle_y": 0.06, "lower_lid": -0.045, "upper_lid": -0.03,
        "cheek": 0.5},  # nose wrinkler
    12: {"corner_x": 0.09, "corner_y": -0.17, "nasolabial": 0.55, "cheek": 0.4},  # smile
    14: {"dimple": 1.0, "corner_x": 0.03, "corner_y": -0.03, "lip_thickness": -0.2},  # dimpler
    15: {"corner_y": 0.12, "corner_x": -0.01, "chin_boss": 0.8,
         "mouth_middle_y": -0.03},  # lip corner depressor
    16: {"lower_lip_y": 0.075, "lower_teeth": 1.0},  # lower lip depressor
    20: {"corner_x": 0.15, "corner_y": 0.05, "mouth_open": -0.02, "lower_teeth": 0.6,
         "mouth_square": 1.0},  # lip stretcher
    23: {"lip_thickness": -0.75, "corner_x": -0.06, "chin_boss": 0.5},  # lip tightener
    25: {"mouth_open": 0.11},  # lips part
    26: {"jaw_y": 0.12, "mouth_open": 0.19, "corner_x": -0.11},  # jaw drop
}  # fmt: skip
ACTION_UNITS = tuple(DISPLACEMENTS)

WHITE, BLACK, LASH = color(1.0, 1.0, 1.0), color(0.05, 0.04, 0.05), color(0.12, 0.08, 0.08)
SCLERA, TEETH = color(0.96, 0.95, 0.94), color(0.97, 0.95, 0.91)
THROAT, TONGUE = color(0.25, 0.06, 0.07), color(0.78, 0.36, 0.36)


def _prototype_matrix() -> np.ndarray:
    """(8, 2, units) activations of the pure expressions; one-sided ones on the right."""
    matrix = np.zeros((NUM_CLASSES, 2, len(ACTION_UNITS)))
    for label, expression in enumerate(EXPRESSIONS):
        for unit_number in PROTOTYPES[expression]:
            sides = 1 if expression == "contempt" else slice(None)
            matrix[label, sides, ACTION_UNITS.index(unit_number)] = 1.0
    return matrix


_PROTOTYPE_MATRIX = _prototype_matrix()


def label_confusion(label_noise: float) -> np.ndarray:
    """How often a face with label y shows expression e instead: Q(e | y), (8, 8), rows sum to 1.

    The mass off the diagonal, `label_noise`, falls with the distance of the prototypes, as
    exp(−‖p_e − p_y‖² / 4): mild expressions are confused with one another, fear with surprise.
    """
    flat = _PROTOTYPE_MATRIX.reshape(NUM_CLASSES, -1)
    similarity = np.exp(-((flat[:, None] - flat[None]) ** 2).sum(-1) / 4)
    np.fill_diagonal(similarity, 0.0)
    confusion = label_noise * similarity / similarity.sum(1, keepdims=True)
    np.fill_diagonal(confusion, 1 - label_noise)
    return confusion


def activations(expression, second, second_weight, intensity, side, parted) -> np.ndarray:
    """How active every unit is on either side of each face: (N, 2, units) in 0–1; arguments (N,).

    A one-sided expression happens on `side` (0: left in the picture). Lips part by `parted` (0–1)
    in any expression, widely in a smile; tightened ones (unit 23) stay closed.
    """
    weight, intensity = second_weight[:, None, None], intensity[:, None, None]
    active = _PROTOTYPE_MATRIX[expression] * (1 - weight) + _PROTOTYPE_MATRIX[second] * weight
    active = np.where(side[:, None, None] == 0, active[:, ::-1], active) * intensity
    smile = active[..., ACTION_UNITS.index(12)].min(axis=1)
    tight = active[..., ACTION_UNITS.index(23)].max(axis=1)
    opened = parted * (0.12 + 0.88 * smile) * (1 - tight)
    active[..., ACTION_UNITS.index(25)] = opened[:, None]
    return active


def displacements(active: np.ndarray) -> dict[str, np.ndarray]:
    """Landmark → (N, 2) displacement, left and right, by units (N, 2, units).

    Units add up, except that the brow lowerer yields to the inner brow raiser: in FACS'
    combinations 1+4 and 1+2+4 the inner brow is drawn together *and* up, as in sadness and fear.
    """
    raised, lowered = active[..., ACTION_UNITS.index(1)], ACTION_UNITS.index(4)
    moved = {}
    for place, moves in enumerate(DISPLACEMENTS.values()):
        for name, distance in moves.items():
            strength = active[..., place]
            if place == lowered and name.endswith("_y"):
                strength = strength * (1 - 0.85 * raised)
            moved[name] = moved.get(name, 0.0) + distance * strength
    return moved


def draw_forehead(patch, face) -> None:
    """The lines that raised brows fold into the forehead."""
    x, height = patch.x, patch.y - face.eye_y + face.brow_gap
    for level in (-0.20, -0.275):
        curve = level - 0.05 + 0.22 * (x * x) - 0.035 * arch(x / 0.15)
        crease = line(height - curve, 0.020, patch.soft)
        patch.shade(face.fold, crease * arch(x / 0.42) * face.forehead_lines)


def draw_eye(patch, face, side) -> None:
    """One eye with its lids, and the brow above it."""
    y, soft, outwards = patch.y, patch.soft, 1 if side else -1
    x = outwards * patch.x  # grows away from the nose
    u = (x - face.eye_x) / face.eye_width  # −1 at the inner corner, 1 at the outer
    curve = arch(u) * (1.08 - 0.16 * u)
    middle = face.eye_y - face.eye_tilt * u
    top = middle - (face.eye_open + face.upper_lid[side]) * curve
    bottom = middle + (0.62 * face.eye_open + face.lower_lid[side]) * curve

    patch.shade(face.shadow, bump(x - face.eye_x + 0.03, y - face.eye_y + 0.05, 0.27, 0.19) * 0.45)
    _draw_lid_folds(patch, face, side, u, middle, bottom)

    opening = between(y, top, bottom, soft) * inside(np.abs(u) - 1, soft * 6)
    patch.paint(SCLERA * (0.88 + 0.12 * unit((y - top) / 0.05))[:, None], opening)
    iris_x = x - face.eye_x + 0.008 - outwards * face.gaze_x
    iris_y = y - face.eye_y + 0.018 - face.gaze_y
    radius = np.sqrt(iris_x * iris_x + iris_y * iris_y)
    patch.paint(face.iris * 0.5, inside(radius - 0.089, soft) * opening)
    patch.paint(face.iris * (1.15 + 4.0 * iris_y)[:, None], inside(radius - 0.075, soft) * opening)
    patch.paint(BLACK, inside(radius - 0.041, soft) * opening)
    glint_x, glint_y = iris_x + outwards * 0.024, iris_y + 0.028
    glint = np.sqrt(glint_x * glint_x + glint_y * glint_y) - 0.017
    patch.paint(WHITE, inside(glint, soft) * opening)

    lashes = line(y - top, 0.026 + 0.014 * (u + 1) * curve, soft)
    patch.paint(LASH, lashes * inside(np.abs(u - 0.03) - 1.04, soft * 6))
    patch.shade(face.fold, line(y - bottom, 0.012, soft) * inside(np.abs(u) - 0.95, soft * 6) * 0.7)
    _draw_brow(patch, face, side, x, y)


def _draw_lid_folds(patch, face, side, u, middle, bottom) -> None:
    """The crease over the eye, the bag of tightened lids, the raised cheek and its crow's feet."""
    y, soft = patch.y, patch.soft
    crease = middle - 0.045 - (face.eye_open + 0.35 * face.upper_lid[side]) * arch(u)
    near = inside(np.abs(u) - 1, soft * 6)
    patch.shade(face.fold, line(y - crease, 0.014, soft) * near * 0.75)
    bag = bottom + 0.028 + 0.012 * arch(u)
    patch.shade(face.fold, line(y - bag, 0.018, soft) * arch(u) * (0.9 * unit(face.lid_bag[side])))
    cheek = middle + 0.055 + 0.055 * arch(u * 0.8)
    raised = 0.85 * unit(face.cheek[side])
    patch.shade(face.fold, line(y - cheek, 0.022, soft) * arch((u - 0.15) / 1.15) * raised)
    beyond = u - 1.12
    span = between(beyond, 0.0, 0.42, soft * 5) * unit(face.crows_feet[side])
    for slope in (-0.16, 0.02, 0.2):
        foot = line(y - middle - slope * beyond - 0.12 * slope, 0.013, soft)
        patch.shade(face.fold, foot * span * 0.8)


def _draw_brow(patch, face, side, x, y) -> None:
    length = face.brow_length - face.brow_inner_x[side] * 0.6
    t = (x - 0.135 - face.brow_inner_x[side]) / length  # 0 at the inner end, 1 at the outer
    base = face.eye_y - face.brow_gap
    inner = base + 0.015 + face.brow_inner_y[side]
    control = base - 2 * face.brow_arch + 1.25 * face.brow_middle_y[side]
    outer = base + 0.02 + face.brow_outer_y[side]
    rest = 1 - t
    curve = rest * rest * inner + 2 * t * rest * control + t * t * outer  # quadratic, Bézier's
    slope = 2 * (rest * (control - inner) + t * (outer - control)) / length
    width = face.brow_width * (1 - 0.62 * t * t) * (0.8 + 0.2 * unit(t * 5))
    stroke = line((y - curve) / np.sqrt(1 + slope * slope), width, patch.soft)
    patch.paint(face.brow, stroke * between(t, 0.0, 1.0, patch.soft * 3) * 0.93)


def draw_nose(patch, face) -> None:
    """Nose, the furrow between the brows, and the wrinkles across the bridge."""
    x, y, soft = patch.x - face.yaw * 0.22, patch.y - face.pitch * 0.15, patch.soft
    lift = (face.nose_wing_y[0] + face.nose_wing_y[1]) * 0.5
    tip, width, away = face.nose_y + 0.6 * lift, face.nose_width, face.shade_side
    patch.shade(face.shadow, bump(x - 0.075 * away, y - tip + 0.17, 0.065, 0.30) * 0.65)
    patch.shade(face.shadow, bump(x, y - tip - 0.035, width * 1.35, 0.085) * 0.9)
    patch.paint(WHITE, bump(x + 0.015 * away, y - tip + 0.16, 0.035, 0.26) * 0.20)
    patch.paint(WHITE, bump(x + 0.02 * away, y - tip + 0.045, 0.055, 0.05) * 0.32)
    under = line(y - tip - 0.052 + 0.05 * (x / width) ** 2, 0.017, soft)
    patch.shade(face.fold, under * arch(x / (0.62 * width)))
    reach = np.abs(x)
    wing_x, wing_y = (reach - 0.72 * width) / (0.33 * width), (y - face.nose_y - lift) / 0.062
    wing = np.sqrt(wing_x * wing_x + wing_y * wing_y) - 1
    patch.shade(face.fold, line(wing * 0.055, 0.02, soft) * unit(wing_x * 1.6 + 0.1))
    nostril_x, nostril_y = (reach - 0.42 * width) / 0.042, (y - tip - 0.028) / 0.021
    nostril = (np.sqrt(nostril_x * nostril_x + nostril_y * nostril_y) - 1) * 0.021
    patch.shade(face.fold * 0.45, inside(nostril, soft) * 0.85)

    height = patch.y - face.eye_y
    furrows = line(np.abs(patch.x) - 0.05 + 0.12 * (height + 0.2), 0.024, soft)
    patch.shade(face.fold * 0.9, furrows * arch((height + 0.19) / 0.13) * face.furrow)
    for level, extent in ((-0.055, 0.10), (0.010, 0.12), (0.075, 0.12)):
        wrinkle = line(height - level + 0.45 * reach - 0.03, 0.021, soft) * arch(reach / extent)
        patch.shade(face.fold * 0.9, wrinkle * face.nose_wrinkle)


def draw_lower_face(patch, face) -> None:
    """The folds from nose to mouth, dimples, chin, and the mouth."""
    x, y, soft = patch.x, patch.y, patch.soft
    right, reach = x > 0, np.abs(x)

    def sided(pair):
        return np.where(right, pair[1], pair[0])

    corner, half = sided(face.corner_y), face.mouth_width + sided(face.corner_x)
    higher, lower = np.minimum(*face.corner_y), np.maximum(*face.corner_y)
    shared = np.minimum(lower, 0) + np.maximum(higher, 0)  # 0 when one corner moves alone
    middle = face.mouth_y + face.mouth_y_moved - 0.30 * shared
    corner_y = middle + corner

    start_x, start_y = face.nose_width + 0.055, face.nose_y - 0.055
    span = np.maximum(corner_y + 0.03 - start_y, 0.2)  # beside the corner, however high it is
    t = (y - start_y) / span
    fold = start_x + (half + 0.075 - start_x) * t + 0.16 * t * (1 - t)
    tilt = (half + 0.235 - start_x - 0.32 * t) / span
    crease = line((reach - fold) / np.sqrt(1 + tilt * tilt), 0.026, soft)
    strength = unit(sided(face.nasolabial)) * 0.95 + 0.10
    patch.shade(face.fold, crease * between(t, 0, 1, soft * 4) * strength)
    away, drop = reach - half, y - corner_y
    dimple = unit(sided(face.dimple))
    hollow = line(away - 0.055 + 3.2 * drop * drop, 0.030, soft)
    patch.shade(face.fold * 0.85, hollow * arch(drop / 0.13) * dimple)
    patch.shade(face.shadow, bump(away - 0.09, drop, 0.10, 0.13) * dimple)
    patch.shade(face.fold, bump(away, drop, 0.055, 0.045) * 0.6)
    chin = line(y - middle - 0.165 - 0.25 * x * x, 0.020, soft) * arch(x / 0.17)
    patch.shade(face.fold, chin * (0.25 + 0.7 * face.chin_boss))
    _draw_mouth(patch, face, middle + corner * (x / half) ** 2, reach / half)


def _draw_mouth(patch, face, middle, u) -> None:
    """Lips, teeth and tongue around the closed lips' `middle`; u = ±1 at the corners."""
    y, soft, profile = patch.y, patch.soft, arch(u)
    gape = profile * (1 - face.roundness) + np.sqrt(profile) * face.roundness
    top, bottom = middle - face.gape_up * gape, middle + face.gape_down * gape
    upper = top - face.lip_upper * gape * (1 - 0.25 * arch(u / 0.28)) + face.lip_raise * profile
    lower = bottom + face.lip_lower * gape
    within = inside(u - 1, soft * 4)
    patch.shade(face.shadow, between(y, lower, lower + 0.05, soft) * within * profile)
    patch.paint(face.lip * 0.88, between(y, upper, middle, soft) * within)
    patch.paint(face.lip, between(y, middle, lower, soft) * within)
    gloss = bump(patch.x, y - bottom - face.lip_lower * 0.5, 0.13, 0.035)
    patch.paint(WHITE, gloss * within * 0.28 * unit(face.lip_lower * 20))
    hollow = between(y, top, bottom, soft) * within * unit((bottom - top) / soft)
    patch.paint(THROAT, hollow)
    patch.paint(TONGUE, hollow * bump(patch.x, y - bottom - 0.02, 0.17, 0.09) * 0.9)
    teeth = inside(y - top - face.upper_teeth, soft)
    patch.paint(TEETH, hollow * teeth * face.upper_teeth_shown)
    patch.paint(TEETH * 0.95, hollow * inside(bottom - y - 0.035, soft) * face.lower_teeth_shown)
    patch.shade(face.fold * 0.5, line(y - top, 0.020, soft) * inside(u - 1.03, soft * 4) * 0.85)
