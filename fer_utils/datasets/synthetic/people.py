"""Who is drawn, how the picture is taken, and what an expression moves: numbers, nothing painted.

In face units (see `faces`). All names are those of random numbers: to rename one is to redraw
every face.
"""

import zlib

import numpy as np

from fer_utils.core import EXPRESSIONS, LABELS, NUM_CLASSES

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX1, _MIX2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)

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

# Normal traits of a person: mean and standard deviation; uniform ones: lowest and highest.
PROPORTIONS = {
    "face width": (0.71, 0.028), "chin": (0.97, 0.035), "eye spacing": (0.335, 0.016),
    "eye height": (-0.10, 0.018), "eye width": (0.198, 0.010), "eye opening": (0.094, 0.006),
    "eye tilt": (0.0, 0.012), "brow gap": (0.235, 0.014), "brow length": (0.34, 0.015),
    "brow arch": (0.035, 0.010), "nose length": (0.285, 0.022), "nose width": (0.158, 0.014),
    "mouth height": (0.545, 0.018), "mouth width": (0.305, 0.016), "upper lip": (0.046, 0.006),
    "lower lip": (0.064, 0.008),
}  # fmt: skip
RANGES = {
    "lip colour": (0.25, 0.75), "jaw square": (0.05, 0.5), "taper": (0.16, 0.42),
    "ear": (0.12, 0.17), "brow width": (0.045, 0.085), "expressiveness": (0.9, 1.12),
    "beard": (0.15, 0.9), "moustache": (0.2, 0.95),
}  # fmt: skip
# Of a picture: mean, standard deviation in the wild, least and most.
CAMERA = {
    "roll": (0, 0.05, -0.14, 0.14), "yaw": (0, 0.11, -0.3, 0.3), "pitch": (0, 0.07, -0.2, 0.2),
    "zoom": (1.05, 0.07, 0.98, 2), "shift x": (0, 0.05, -1, 1), "shift y": (0, 0.05, -1, 1),
    "gaze x": (0, 0.020, -1, 1), "gaze y": (0, 0.010, -1, 1), "light y": (-0.5, 0.3, -9, 9),
    "exposure": (1, 0.16, 0.45, 1.5), "contrast": (1, 0.16, 0.5, 1.5),
}  # fmt: skip
PLACES = {
    "spot x": (-1.2, 1.2), "spot y": (-1.2, 1.2), "glasses width": (0.022, 0.045),
    "hand x": (-0.75, 0.75), "hand y": (0.50, 0.90),
}  # fmt: skip
OCCASIONS = {"grey": 0.12, "glasses": 0.20, "hand": 0.10, "lock": 0.12}  # how often, in the wild

# Ekman & Friesen's prototypes, in action units of FACS: 1 inner and 2 outer brow raiser, 4 brow
# lowerer, 5 upper lid raiser, 6 cheek raiser, 7 lid tightener, 9 nose wrinkler, 12 smile, 14
# dimpler, 15 lip corner depressor, 16 lower lip depressor, 20 lip stretcher, 23 lip tightener,
# 25 lips part, 26 jaw drop. Contempt is the one that happens on one side of the face only.
PROTOTYPES = {
    "neutral": (), "happy": (6, 12), "sad": (1, 4, 15), "surprise": (1, 2, 5, 26),
    "fear": (1, 2, 4, 5, 7, 20, 26), "disgust": (9, 15, 16), "anger": (4, 5, 7, 23),
    "contempt": (12, 14),
}  # fmt: skip
UNITS = 27  # numbers of action units, from 0
# How far each fully active unit moves a landmark. Names in `_y` grow downwards, in `_x` away from
# the middle of the face; lids and lips grow as they open; the rest are strengths (0–1) of folds,
# bulges and lines. Unit 0 is the brow lowerer as far as unit 1 lets it.
LANDMARKS = {
    "brow_inner_y": {1: -0.17, 0: 0.15, 9: 0.10}, "brow_inner_x": {4: -0.065},
    "brow_middle_y": {1: -0.07, 2: -0.12, 0: 0.11, 9: 0.06}, "brow_outer_y": {2: -0.14},
    "forehead_lines": {1: 0.5, 2: 0.5}, "furrow": {4: 1},
    "upper_lid": {5: 0.06, 6: -0.02, 7: -0.03, 9: -0.03}, "lid_bag": {7: 1},
    "lower_lid": {6: -0.06, 7: -0.035, 9: -0.045}, "crows_feet": {6: 1},
    "cheek": {6: 1, 9: 0.5, 12: 0.4}, "nasolabial": {9: 1, 12: 0.55},
    "nose_wrinkle": {9: 1}, "nose_wing_y": {9: -0.05},
    "corner_x": {12: 0.09, 14: 0.03, 15: -0.01, 20: 0.15, 23: -0.06, 26: -0.11},
    "corner_y": {12: -0.17, 14: -0.03, 15: 0.12, 20: 0.05}, "dimple": {14: 1},
    "upper_lip_y": {9: -0.075}, "lower_lip_y": {16: 0.075}, "lower_teeth": {16: 1, 20: 0.6},
    "lip_thickness": {14: -0.2, 23: -0.75}, "chin_boss": {15: 0.8, 23: 0.5},
    "mouth_open": {20: -0.02, 25: 0.11, 26: 0.19}, "mouth_square": {20: 1},
    "mouth_middle_y": {15: -0.03}, "jaw_y": {26: 0.12},
}  # fmt: skip

_ACTIVE = np.array([np.isin(np.arange(UNITS), PROTOTYPES[name]) for name in EXPRESSIONS], float)
_ACTIVE = np.stack([_ACTIVE, _ACTIVE], axis=1)  # (8, 2, UNITS): on the left and on the right
_ACTIVE[LABELS["contempt"], 0] = 0


class Draws:
    """Named random numbers for items (N,): pure functions of (seed, stream, item's index, name).

    A stream is what is drawn for, e.g. "subject".

    >>> both, second = Draws(0, "image", [3, 8]), Draws(0, "image", [8])
    >>> bool(both.uniform("yaw")[1] == second.uniform("yaw")[0])
    True
    """

    def __init__(self, seed: int, stream: str, indices):
        start = np.array([seed], dtype=np.uint64) * _GOLDEN + np.uint64(zlib.crc32(stream.encode()))
        places = np.asarray(indices).astype(np.uint64) + np.uint64(1)
        self._state = _mix(_mix(start) + places * _GOLDEN)  # (N,)

    def bits(self, name: str) -> np.ndarray:
        """(N,) uint64."""
        return _mix(self._state + np.array([zlib.crc32(name.encode())], dtype=np.uint64) * _GOLDEN)

    def uniform(self, name: str, low: float = 0.0, high: float = 1.0) -> np.ndarray:
        """(N,) float64 in [low, high)."""
        return low + (high - low) * ((self.bits(name) >> np.uint64(11)) * 2.0**-53)

    def normal(self, name: str, scale: float = 1.0) -> np.ndarray:
        """(N,) float64 of standard deviation `scale`: a sum of four, never beyond 3.5 scales."""
        return sum(self.uniform(f"{name}/{k}", -1.0, 1.0) for k in range(4)) * (scale * 0.75**0.5)

    def chance(self, name: str, probability) -> np.ndarray:
        """(N,) bool, true with the probability given (a number, or one an item)."""
        return self.uniform(name) < probability

    def choice(self, name: str, weights) -> np.ndarray:
        """(N,) int: a place in `weights` (K,), or in the item's row of (N, K), in proportion."""
        edges = np.cumsum(np.atleast_2d(np.asarray(weights, dtype=np.float64)), axis=-1)
        return (self.uniform(name)[:, None] * edges[:, -1:] >= edges[:, :-1]).sum(-1)


def _mix(state: np.ndarray) -> np.ndarray:
    """Steele, Lea & Flood's splitmix64 finaliser: uint64 in, well scrambled uint64 out."""
    state = (state ^ (state >> np.uint64(30))) * _MIX1
    state = (state ^ (state >> np.uint64(27))) * _MIX2
    return state ^ (state >> np.uint64(31))


def identity(seed: int, subjects) -> dict[str, np.ndarray]:
    """What makes a person, of subjects (N,): name → (N,), or (N, 3) for colours (RGB 0–1)."""
    draws = Draws(seed, "subject", subjects)
    person = _traits(draws, PROPORTIONS, RANGES)
    style = HAIR_STYLES[draws.choice("hair style", HAIR_STYLES[:, -1])]
    person |= {f"hair_{name}": style[:, i] for i, name in enumerate(_HAIR_COLUMNS)}
    bearded = draws.chance("bearded", 0.28) & (person["hair_bottom"] < 0.5)
    person |= {name: np.where(bearded, person[name], 0.0) for name in ("beard", "moustache")}
    tone = draws.uniform("skin tone")
    dark = np.where(draws.chance("dark hair", 0.25 + 0.6 * tone), 0.35, 1.0)
    hair = _ramp(HAIR, dark * draws.uniform("hair colour"))
    skin = _ramp(SKIN, tone) * (1 + draws.normal("skin tint", 0.02)[:, None])
    return person | {
        "tone": tone,
        "skin": np.clip(skin, 0, 1),
        "hair": hair,
        "brow": hair * 0.55 + 0.02,
        "iris": _ramp(IRIS, draws.uniform("iris") * np.where(tone > 0.5, 0.3, 1.0)),
        "clothes": np.stack([draws.uniform(f"clothes {c}", 0.12, 0.75) for c in "rgb"], axis=-1),
    }


def capture(seed: int, images, difficulty: float) -> dict[str, np.ndarray]:
    """What in pictures (N,) is neither person nor expression: name → (N,), (N, 3) for colours."""
    draws = Draws(seed, "image", images)
    mild, moderate = min(difficulty, 1.0), min(difficulty, 1.5)

    def rgb(name: str, scale: float) -> np.ndarray:
        return np.stack([draws.normal(f"{name} {c}", scale) for c in "rgb"], axis=-1)

    def sometimes(event: str, chance: float, name: str, low: float, high: float) -> np.ndarray:
        return np.where(draws.chance(event, chance), draws.uniform(name, low, high), 0.0)

    background = draws.uniform("background", 0.25, 0.88)[:, None] + rgb("background", 0.08)
    background = np.clip(background, 0, 1)
    shot = _traits(draws, CAMERA, PLACES, moderate)
    shot |= {name: draws.chance(name, share * moderate) for name, share in OCCASIONS.items()}
    return shot | {
        "light_x": 0.35 + (draws.normal("light x", 1.0) - 0.35) * mild,
        "light_strength": 0.13 + draws.uniform("light strength", -0.05, 0.22) * moderate,
        "cast": 1 + rgb("cast", 0.055) * moderate,
        "background": background,
        "background_end": np.clip(background + rgb("end", 0.10), 0, 1),
        "clutter": draws.uniform("clutter", 0.3, 1.0) * mild,
        "side": draws.chance("side", 0.5),
        "parted": sometimes("parted", 0.6, "part", 0.35, 1.0),
        "sunglasses": draws.chance("sunglasses", 0.12),
        "lock_side": np.where(draws.chance("lock side", 0.5), 1.0, -1.0),
        "blur": sometimes("blurred", 0.45 * moderate, "blur", 0.2, 1.0) * moderate,
        "noise": sometimes("noisy", 0.6, "noise", 0.01, 0.07) * moderate,
        "noise_key": (draws.bits("noise key") >> np.uint64(32)).astype(np.uint32),
    }


def _traits(draws: Draws, normal: dict, uniform: dict, scale: float = 1.0) -> dict:
    found = {}
    for name, (mean, deviation, *limits) in normal.items():
        value = mean + draws.normal(name, deviation) * scale
        found[name] = np.clip(value, *limits) if limits else value
    found |= {name: draws.uniform(name, *limits) for name, limits in uniform.items()}
    return {name.replace(" ", "_"): value for name, value in found.items()}


def _ramp(anchors, position) -> np.ndarray:
    """(N, 3): the colour at `position` (N,) in 0–1 along the anchors."""
    marks = np.linspace(0, 1, len(anchors))
    return np.stack([np.interp(position, marks, c) for c in np.array(anchors).T], axis=-1)


def label_confusion(label_noise: float) -> np.ndarray:
    """How often a face with label y shows expression e instead: Q(e | y), (8, 8), rows sum to 1.

    Off the diagonal, `label_noise` in all, it falls with the distance of the prototypes, as
    exp(−‖p_e − p_y‖² / 4): fear is confused with surprise.
    """
    flat = _ACTIVE.reshape(NUM_CLASSES, -1)
    similarity = np.exp(-((flat[:, None] - flat[None]) ** 2).sum(-1) / 4)
    np.fill_diagonal(similarity, 0.0)
    confusion = label_noise * similarity / similarity.sum(1, keepdims=True)
    np.fill_diagonal(confusion, 1 - label_noise)
    return confusion


def activations(expression, second, second_weight, intensity, side, parted) -> np.ndarray:
    """How active every unit is on either side of each face: (N, 2, UNITS) in 0–1; arguments (N,).

    A one-sided expression happens on `side` (0: left in the picture). Lips part by `parted` (0–1)
    in any expression, widely in a smile; tightened ones stay closed.
    """
    weight, intensity = second_weight[:, None, None], intensity[:, None, None]
    active = _ACTIVE[expression] * (1 - weight) + _ACTIVE[second] * weight
    active = np.where(side[:, None, None] == 0, active[:, ::-1], active) * intensity
    smile, tight = active[..., 12].min(axis=1), active[..., 23].max(axis=1)
    active[..., 25] = (parted * (0.12 + 0.88 * smile) * (1 - tight))[:, None]
    return active


def displacements(active: np.ndarray) -> dict[str, np.ndarray]:
    """Landmark → (N, 2) displacement, left and right, by units (N, 2, UNITS).

    Units add up, except that the brow lowerer yields to the inner brow raiser: in FACS'
    combinations 1+4 and 1+2+4 the inner brow is drawn together *and* up, as in sadness and fear.
    """
    active = active.copy()
    active[..., 0] = active[..., 4] * (1 - 0.85 * active[..., 1])
    return {
        name: sum(distance * active[..., unit] for unit, distance in moves.items())
        for name, moves in LANDMARKS.items()
    }
