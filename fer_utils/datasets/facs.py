"""Facial expressions as action units (FACS), and action units as displacements of the face's geometry.

Every number is in face units: half a face is about 0.75 wide and 1 high, x points right, y points down.
"""

import numpy as np

from fer_utils.expressions import EXPRESSIONS, NUM_CLASSES

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
UNILATERAL = ("contempt",)

AU_NAMES = {
    1: "inner brow raiser",
    2: "outer brow raiser",
    4: "brow lowerer",
    5: "upper lid raiser",
    6: "cheek raiser",
    7: "lid tightener",
    9: "nose wrinkler",
    12: "lip corner puller",
    14: "dimpler",
    15: "lip corner depressor",
    16: "lower lip depressor",
    20: "lip stretcher",
    23: "lip tightener",
    25: "lips part",
    26: "jaw drop",
}
ACTION_UNITS = tuple(AU_NAMES)

# What a fully active unit moves. Names in `_y` grow downwards, in `_x` away from the middle of the face; lids and lips
# grow as they open; the rest are strengths (0–1) of folds, bulges and lines.
DISPLACEMENTS = {
    1: {"brow_inner_y": -0.17, "brow_middle_y": -0.07, "forehead_lines": 0.5},
    2: {"brow_outer_y": -0.14, "brow_middle_y": -0.12, "forehead_lines": 0.5},
    4: {"brow_inner_y": 0.15, "brow_middle_y": 0.11, "brow_inner_x": -0.065, "furrow": 1.0},
    5: {"upper_lid": 0.06},
    6: {"lower_lid": -0.06, "upper_lid": -0.02, "cheek": 1.0, "crows_feet": 1.0},
    7: {"lower_lid": -0.035, "upper_lid": -0.03, "lid_bag": 1.0},
    9: {
        "nose_wrinkle": 1.0,
        "nose_wing_y": -0.05,
        "nasolabial": 1.0,
        "upper_lip_y": -0.075,
        "brow_inner_y": 0.10,
        "brow_middle_y": 0.06,
        "lower_lid": -0.045,
        "upper_lid": -0.03,
        "cheek": 0.5,
    },
    12: {"corner_x": 0.09, "corner_y": -0.17, "nasolabial": 0.55, "cheek": 0.4},
    14: {"dimple": 1.0, "corner_x": 0.03, "corner_y": -0.03, "lip_thickness": -0.2},
    15: {"corner_y": 0.12, "corner_x": -0.01, "chin_boss": 0.8, "mouth_middle_y": -0.03},
    16: {"lower_lip_y": 0.075, "lower_teeth": 1.0},
    20: {"corner_x": 0.15, "corner_y": 0.05, "mouth_open": -0.02, "lower_teeth": 0.6, "mouth_square": 1.0},
    23: {"lip_thickness": -0.75, "corner_x": -0.06, "chin_boss": 0.5},
    25: {"mouth_open": 0.11},
    26: {"jaw_y": 0.12, "mouth_open": 0.19, "corner_x": -0.11},
}
LANDMARKS = tuple(dict.fromkeys(name for moves in DISPLACEMENTS.values() for name in moves))


def _prototype_matrix() -> np.ndarray:
    """(8, 2, number of action units) activations of the pure expressions; unilateral ones on side 1."""
    matrix = np.zeros((NUM_CLASSES, 2, len(ACTION_UNITS)))
    for label, expression in enumerate(EXPRESSIONS):
        for unit in PROTOTYPES[expression]:
            matrix[label, 1 if expression in UNILATERAL else slice(None), ACTION_UNITS.index(unit)] = 1.0
    return matrix


_PROTOTYPE_MATRIX = _prototype_matrix()


def activations(expression, second, second_weight, intensity, side) -> np.ndarray:
    """How active every unit is on either side of each face.

    Args:
        expression: (N,) int labels 0–7 of the expression shown.
        second: (N,) int labels of the expression blended into it.
        second_weight: (N,) weight of the second, 0 to below 0.5.
        intensity: (N,) 0–1.
        side: (N,) 0 or 1: the side (0 is left in the picture) on which a one-sided expression happens.

    Returns:
        (N, 2, number of action units) float64 in 0–1, units in the order of `ACTION_UNITS`.

    >>> happy = activations([1], [1], [0.0], [0.8], [0])
    >>> [(ACTION_UNITS[unit], float(happy[0, 0, unit])) for unit in happy[0, 0].nonzero()[0]]
    [(6, 0.8), (12, 0.8)]
    """
    weight = np.asarray(second_weight, dtype=np.float64)[:, None, None]
    blend = _PROTOTYPE_MATRIX[np.asarray(expression)] * (1 - weight) + _PROTOTYPE_MATRIX[np.asarray(second)] * weight
    mirrored = np.asarray(side)[:, None, None] == 0
    return np.where(mirrored, blend[:, ::-1], blend) * np.asarray(intensity, dtype=np.float64)[:, None, None]


def part_lips(active: np.ndarray, amount) -> np.ndarray:
    """Add unit 25, lips part, which accompanies any expression: a little, or widely in a two-sided smile.

    Args:
        active: (N, 2, number of action units) from `activations`.
        amount: (N,) 0–1.

    Returns:
        A copy of `active` with unit 25; tightened lips (unit 23) stay closed.

    >>> happy = activations([1], [1], [0.0], [1.0], [0])
    >>> float(part_lips(happy, [0.5])[0, 0, ACTION_UNITS.index(25)])
    0.5
    """
    smile = active[..., ACTION_UNITS.index(12)].min(axis=1)
    tight = active[..., ACTION_UNITS.index(23)].max(axis=1)
    parted = active.copy()
    parted[..., ACTION_UNITS.index(25)] = (np.asarray(amount) * (0.12 + 0.88 * smile) * (1 - tight))[:, None]
    return parted


def displacements(active: np.ndarray) -> dict[str, np.ndarray]:
    """Move the face's landmarks as the action units say.

    Units add up, except that the brow lowerer yields to the inner brow raiser: in FACS' combinations 1+4 and 1+2+4
    the inner brow is drawn together *and* up, which is what sad and fearful brows look like.

    Args:
        active: (N, 2, number of action units) from `activations`.

    Returns:
        landmark name → (N, 2) displacement on side 0 (left in the picture) and 1.

    >>> smile = displacements(activations([1], [1], [0.0], [1.0], [0]))
    >>> smile["corner_y"].tolist()
    [[-0.17, -0.17]]
    """
    raised, lowered = active[..., ACTION_UNITS.index(1)], ACTION_UNITS.index(4)
    moved = {name: np.zeros(active.shape[:2]) for name in LANDMARKS}
    for index, unit in enumerate(ACTION_UNITS):
        for name, distance in DISPLACEMENTS[unit].items():
            strength = active[..., index]
            if index == lowered and name.endswith("_y"):
                strength = strength * (1 - 0.85 * raised)
            moved[name] = moved[name] + distance * strength
    return moved


def label_confusion(label_noise: float) -> np.ndarray:
    r"""How often a face with label y shows expression e instead: Q(e | y).

    The mass off the diagonal falls with the squared distance of the prototypes,
    :math:`Q(e \mid y) \propto \exp(-\|p_e - p_y\|^2 / 4)`, sides counted apart, so that mild expressions (neutral,
    contempt, happy) are confused with one another, and fear with surprise.

    Args:
        label_noise: mass off the diagonal, 0 to 1.

    Returns:
        (8, 8) float64; row y sums to 1 and has 1 − label_noise on the diagonal.

    >>> confusion = label_confusion(0.3444)
    >>> EXPRESSIONS[int(confusion[4].argsort()[-2])]
    'surprise'
    """
    flat = _PROTOTYPE_MATRIX.reshape(NUM_CLASSES, -1)
    similarity = np.exp(-((flat[:, None] - flat[None]) ** 2).sum(-1) / 4)
    np.fill_diagonal(similarity, 0.0)
    confusion = label_noise * similarity / similarity.sum(1, keepdims=True)
    np.fill_diagonal(confusion, 1 - label_noise)
    return confusion
