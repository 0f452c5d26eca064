"""Who is drawn (identity: a function of the subject) and how the picture was taken (capture: of the image)."""

import numpy as np

from fer_utils.datasets.randomness import Draws

# Anchors of the colour ramps, RGB 0–1; a person's colour lies anywhere between neighbours.
SKIN = (
    (0.98, 0.86, 0.77),
    (0.95, 0.77, 0.64),
    (0.84, 0.62, 0.46),
    (0.68, 0.47, 0.33),
    (0.52, 0.34, 0.24),
    (0.40, 0.26, 0.19),
)
HAIR = (
    (0.10, 0.08, 0.08),
    (0.22, 0.14, 0.10),
    (0.38, 0.23, 0.13),
    (0.55, 0.27, 0.13),
    (0.80, 0.60, 0.31),
    (0.72, 0.71, 0.70),
)
IRIS = ((0.24, 0.14, 0.08), (0.36, 0.22, 0.11), (0.34, 0.42, 0.22), (0.26, 0.44, 0.62))
# Hair styles: how far it stands off the skull, how low it falls behind the head, how square its outline is, where the
# hairline is in the middle, how it falls to the sides, its slope (a parting), and how often the style occurs.
HAIR_STYLES = {
    "bald": (0.00, 0.10, 0.1, -9.00, 0.0, 0.00, 0.08),
    "buzzed": (0.025, 0.02, 0.1, -0.78, 0.95, 0.00, 0.14),
    "short": (0.09, 0.12, 0.2, -0.76, 0.90, 0.12, 0.22),
    "fringe": (0.10, 0.35, 0.3, -0.60, 0.22, 0.03, 0.12),
    "afro": (0.27, 0.42, 0.0, -0.74, 0.80, 0.00, 0.10),
    "bob": (0.15, 0.95, 0.6, -0.74, 1.00, 0.15, 0.16),
    "long": (0.13, 1.90, 0.5, -0.80, 1.25, -0.10, 0.18),
}
_STYLES = np.array(list(HAIR_STYLES.values()))


def _ramp(anchors, position) -> np.ndarray:
    """(N, 3): the colour at `position` (N,) in 0–1 along the anchors."""
    marks = np.linspace(0, 1, len(anchors))
    return np.stack([np.interp(position, marks, channel) for channel in np.array(anchors).T], axis=-1)


def identity(seed: int, subjects) -> dict[str, np.ndarray]:
    """Everything that makes a person: proportions, skin, hair, brows, beard.

    Args:
        seed: int ≥ 0, the population.
        subjects: (N,) int.

    Returns:
        name → (N,) float64, or (N, 3) for colours (RGB 0–1).

    >>> person = identity(0, [5, 5])
    >>> bool((person["skin"][0] == person["skin"][1]).all())
    True
    """
    draws = Draws(seed, "subject", subjects)
    tone = draws.uniform("skin tone")
    style = _STYLES[draws.choice("hair style", _STYLES[:, -1])]
    hair = _ramp(HAIR, np.where(draws.chance("dark hair", 0.25 + 0.6 * tone), 0.35, 1.0) * draws.uniform("hair colour"))
    bearded = draws.chance("bearded", 0.28) & (style[:, 1] < 0.5)
    person = {
        "skin": np.clip(_ramp(SKIN, tone) * (1 + draws.normal("skin tint", 0.02)[:, None]), 0, 1),
        "tone": tone,
        "hair": hair,
        "brow": hair * 0.55 + 0.02,
        "iris": _ramp(IRIS, draws.uniform("iris") * np.where(tone > 0.5, 0.3, 1.0)),
        "lips": draws.uniform("lip colour", 0.25, 0.75),
        "face_width": 0.71 + draws.normal("face width", 0.028),
        "chin_y": 0.97 + draws.normal("chin", 0.035),
        "jaw_square": draws.uniform("jaw square", 0.05, 0.5),
        "taper": draws.uniform("taper", 0.16, 0.42),
        "ear": draws.uniform("ear", 0.12, 0.17),
        "eye_x": 0.335 + draws.normal("eye spacing", 0.016),
        "eye_y": -0.10 + draws.normal("eye height", 0.018),
        "eye_width": 0.198 + draws.normal("eye width", 0.010),
        "eye_open": 0.094 + draws.normal("eye opening", 0.006),
        "eye_tilt": draws.normal("eye tilt", 0.012),
        "brow_gap": 0.235 + draws.normal("brow gap", 0.014),
        "brow_width": draws.uniform("brow width", 0.045, 0.085),
        "brow_length": 0.34 + draws.normal("brow length", 0.015),
        "brow_arch": 0.035 + draws.normal("brow arch", 0.010),
        "nose_y": 0.285 + draws.normal("nose length", 0.022),
        "nose_width": 0.158 + draws.normal("nose width", 0.014),
        "mouth_y": 0.545 + draws.normal("mouth height", 0.018),
        "mouth_width": 0.305 + draws.normal("mouth width", 0.016),
        "lip_upper": 0.046 + draws.normal("upper lip", 0.006),
        "lip_lower": 0.064 + draws.normal("lower lip", 0.008),
        "beard": np.where(bearded, draws.uniform("beard", 0.15, 0.9), 0.0),
        "moustache": np.where(bearded, draws.uniform("moustache", 0.2, 0.95), 0.0),
        "expressive": draws.uniform("expressiveness", 0.9, 1.12),
        "clothes": np.stack([draws.uniform(f"clothes {c}", 0.12, 0.75) for c in "rgb"], axis=-1),
    }
    names = ("hair_volume", "hair_bottom", "hair_square", "hairline", "hairline_curve", "hairline_slope")
    return person | dict(zip(names, style.T, strict=False))


def capture(seed: int, images, difficulty: float) -> dict[str, np.ndarray]:
    """Everything in a picture that is neither the person nor the expression, in proportion to `difficulty`.

    Args:
        seed: int ≥ 0.
        images: (N,) int, the image's index.
        difficulty: 0 (a studio portrait, facing the camera) to 1 (in the wild) and beyond.

    Returns:
        name → (N,) float64 or bool, or (N, 3) for colours.

    >>> bool(capture(0, [1, 2, 3], difficulty=0.0)["yaw"].any())
    False
    """
    draws = Draws(seed, "image", images)
    hard = float(difficulty)
    moderate = min(hard, 1.5)
    noisy = draws.chance("noisy", 0.6)
    light = draws.normal("light x", 1.0)
    lightness, hue = (
        draws.uniform("background", 0.25, 0.88),
        np.stack([draws.normal(f"background {c}", 0.08) for c in "rgb"], axis=-1),
    )
    base = np.clip(lightness[:, None] + hue, 0, 1)
    return {
        "roll": np.clip(draws.normal("roll", 0.05) * moderate, -0.14, 0.14),
        "yaw": np.clip(draws.normal("yaw", 0.11) * moderate, -0.3, 0.3),
        "pitch": np.clip(draws.normal("pitch", 0.07) * moderate, -0.2, 0.2),
        "zoom": np.maximum(1.05 + draws.normal("zoom", 0.07) * moderate, 0.98),
        "shift_x": draws.normal("shift x", 0.05) * moderate,
        "shift_y": draws.normal("shift y", 0.05) * moderate,
        "gaze_x": draws.normal("gaze x", 0.020) * moderate,
        "gaze_y": draws.normal("gaze y", 0.010) * moderate,
        "light_x": 0.35 + (light - 0.35) * min(hard, 1.0),
        "light_y": -0.5 + draws.normal("light y", 0.3) * moderate,
        "light_strength": 0.13 + draws.uniform("light strength", -0.05, 0.22) * moderate,
        "exposure": np.clip(1 + draws.normal("exposure", 0.16) * moderate, 0.45, 1.5),
        "contrast": np.clip(1 + draws.normal("contrast", 0.16) * moderate, 0.5, 1.5),
        "cast": 1 + np.stack([draws.normal(f"cast {c}", 0.055) for c in "rgb"], axis=-1) * moderate,
        "grey": draws.chance("grey", 0.12 * moderate),
        "background": base,
        "background_end": np.clip(base + np.stack([draws.normal(f"end {c}", 0.10) for c in "rgb"], axis=-1), 0, 1),
        "spot_x": draws.uniform("spot x", -1.2, 1.2),
        "spot_y": draws.uniform("spot y", -1.2, 1.2),
        "clutter": draws.uniform("clutter", 0.3, 1.0) * min(hard, 1.0),
        "side": draws.chance("side", 0.5),
        "parted": np.where(draws.chance("parted", 0.6), draws.uniform("part", 0.35, 1.0), 0.0),
        "glasses": draws.chance("glasses", 0.20 * moderate),
        "sunglasses": draws.chance("sunglasses", 0.12),
        "glasses_width": draws.uniform("glasses width", 0.022, 0.045),
        "hand": draws.chance("hand", 0.10 * moderate),
        "hand_x": draws.uniform("hand x", -0.75, 0.75),
        "hand_y": draws.uniform("hand y", 0.50, 0.90),
        "lock": draws.chance("lock", 0.12 * moderate),
        "lock_side": np.where(draws.chance("lock side", 0.5), 1.0, -1.0),
        "blur": np.where(draws.chance("blurred", 0.45 * moderate), draws.uniform("blur", 0.2, 1.0), 0.0) * moderate,
        "noise": np.where(noisy, draws.uniform("noise", 0.01, 0.07), 0.0) * moderate,
        "noise_key": (draws.bits("noise key") >> np.uint64(32)).astype(np.uint32),
    }
