"""Drawn faces: the data set that needs no files, and its manifest.

Labels come first: a row's label is set by the class proportions, and the expression *drawn* is taken from Q(e | label)
(`facs.label_confusion`), so some rows look like something else, as annotators' labels do.
"""

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd

from fer_utils.datasets.appearance import capture
from fer_utils.datasets.facs import activations, label_confusion
from fer_utils.datasets.portrait import draw_portraits
from fer_utils.datasets.randomness import Draws
from fer_utils.errors import InputError, check_choice
from fer_utils.expressions import NUM_CLASSES
from fer_utils.paper import TRAINING_COUNTS

HUMAN_AGREEMENT = 0.6556  # of AffectNet's annotators with each other
LEAST_PER_CLASS = 8  # training images that even the rarest expression gets
SMALLEST_IMAGE = 24
_PIXELS_AT_ONCE = 64 * 64 * 64  # a batch large enough for threads to pay, small enough for caches and memory
_ROW_COLUMNS = ("expression", "second", "second_weight", "intensity", "subject", "image")


def read_synthetic(
    train: int = 4000,
    validation: int = 400,
    test: int = 800,
    subjects: int = 300,
    image_size: int = 64,
    label_noise: float = 1 - HUMAN_AGREEMENT,
    difficulty: float = 1.0,
    proportions: str = "table3",
    seed: int = 0,
) -> pd.DataFrame:
    """The manifest of a population of drawn faces; `draw_manifest` draws any of its rows.

    Training images follow the class proportions of the paper's Table 3, rounded to the largest remainder, but no class
    gets fewer than `LEAST_PER_CLASS`; validation and test are balanced, as in the paper. An observer who recognises
    every drawn expression agrees with a share 1 − label_noise of the labels: by default human agreement on AffectNet.

    Args:
        train: training images, at least 64.
        validation: validation images, 0 or more.
        test: test images, 0 or more.
        subjects: people in all; each belongs to one split only, and splits get people in proportion to their images.
        image_size: pixels a side, at least 24.
        label_noise: share of rows whose drawn expression is not their label, 0 to 0.8.
        difficulty: scales all nuisance (pose, light, occlusion, blur, noise, faint and blended expressions);
            0 is a studio portrait at full intensity, 1 in the wild, at most 2.
        proportions: of the training classes, "table3" or "balanced" (for face-identification pre-training).
        seed: of everything; another seed is another population.

    Returns:
        DataFrame, a row an image: `image` (int), `label` (0–7), `split`, `subject` (int), `expression` (drawn, 0–7),
        `second` (the expression blended in; equal to `expression` if none), `second_weight` (below 0.5) and
        `intensity` (0–1). `attrs` holds every argument.

    Raises:
        InputError: an argument out of range.

    >>> manifest = read_synthetic(train=80, validation=8, test=16, subjects=12)
    >>> manifest.groupby("split").size().to_dict()
    {'test': 16, 'train': 80, 'validation': 8}
    """
    check_choice("class proportions", proportions, ("table3", "balanced"))
    sizes = {"train": train, "validation": validation, "test": test}
    for name, least in {"train": NUM_CLASSES * LEAST_PER_CLASS, "validation": 0, "test": 0}.items():
        _check_whole(name, sizes[name], least)
    splits = [name for name, size in sizes.items() if size]
    _check_whole("subjects", subjects, len(splits))
    _check_whole("image_size", image_size, SMALLEST_IMAGE)
    _check_whole("seed", seed, 0)
    _check_number("label_noise", label_noise, 0.0, 0.8)
    _check_number("difficulty", difficulty, 0.0, 2.0)

    shares = np.array(TRAINING_COUNTS) if proportions == "table3" else np.ones(NUM_CLASSES)
    people = _apportion(subjects, [sizes[name] for name in splits], least=1)
    parts, first_image, first_subject = [], 0, 0
    for split, split_people in zip(splits, people, strict=True):
        if split == "train":
            counts = _apportion(sizes[split], shares, LEAST_PER_CLASS)
        else:
            counts = _apportion(sizes[split], np.ones(NUM_CLASSES), 0)
        images = np.arange(first_image, first_image + sizes[split])
        draws = Draws(seed, "population", images)
        labels = np.repeat(np.arange(NUM_CLASSES), counts)[np.argsort(draws.bits("label order"))]
        turns = np.argsort(np.argsort(draws.bits("subject order"))) % split_people  # the same number of images each
        columns = {"image": images, "label": labels, "split": split, "subject": first_subject + turns}
        parts.append(pd.DataFrame(columns | _drawn_expressions(draws, labels, label_noise, difficulty)))
        first_image, first_subject = first_image + sizes[split], first_subject + int(split_people)
    manifest = pd.concat(parts, ignore_index=True)
    manifest.attrs = {
        "dataset": "synthetic",
        "root": None,
        **{name: int(size) for name, size in sizes.items()},
        "subjects": int(subjects),
        "image_size": int(image_size),
        "label_noise": float(label_noise),
        "difficulty": float(difficulty),
        "proportions": proportions,
        "seed": int(seed),
    }
    return manifest


def _drawn_expressions(draws: Draws, labels, label_noise: float, difficulty: float) -> dict[str, np.ndarray]:
    expression = draws.choice("expression", label_confusion(label_noise)[labels])
    other = draws.choice("second", np.ones(NUM_CLASSES - 1))
    other = other + (other >= expression)  # any expression but the first
    blended = draws.chance("blended", 0.35 * min(difficulty, 1.5))
    return {
        "expression": expression,
        "second": np.where(blended, other, expression),
        "second_weight": np.where(blended, draws.uniform("second weight", 0.1, 0.4), 0.0),
        "intensity": np.maximum(1 - 0.5 * difficulty * draws.uniform("intensity"), 0.2),
    }


def _apportion(total: int, shares, least: int) -> np.ndarray:
    """Split `total` in proportion to `shares` by largest remainders; who would get fewer than `least` gets that."""
    shares = np.asarray(shares, dtype=np.float64)
    counts = np.full(len(shares), least)
    free = np.ones(len(shares), dtype=bool)
    while True:
        quota = shares[free] / shares[free].sum() * (total - least * (~free).sum())
        if (quota >= least).all():
            break
        free[np.flatnonzero(free)[quota < least]] = False
    whole = np.floor(quota).astype(int)
    remainders = np.argsort(whole - quota, kind="stable")[: round(quota.sum()) - whole.sum()]
    whole[remainders] += 1
    counts[free] = whole
    return counts


def _check_whole(name: str, value, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise InputError(f"{name} must be a whole number of at least {least}, not {value!r}")


def _check_number(name: str, value, low: float, high: float) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float, np.number)) or not low <= value <= high:
        raise InputError(f"{name} must be a number from {low} to {high}, not {value!r}")


def draw_faces(
    expression, second, second_weight, intensity, subject, image, *, size: int, seed: int = 0, difficulty: float = 1.0
) -> np.ndarray:
    """Draw faces from their columns: about 550 a second and core at 64 × 64.

    Each picture is a function of its own row, `seed`, `difficulty` and `size` alone.

    Args:
        expression, second, second_weight, intensity, subject, image: (N,) each, see `read_synthetic`.
        size: pixels a side, at least 24.
        seed: of the population.
        difficulty: 0–2, see `read_synthetic`.

    Returns:
        (N, size, size, 3) uint8 RGB.

    Raises:
        InputError: size too small.

    >>> draw_faces([1], [1], [0.0], [1.0], [7], [0], size=48).shape
    (1, 48, 48, 3)
    """
    _check_whole("size", size, SMALLEST_IMAGE)
    columns = [np.asarray(values) for values in (expression, second, second_weight, intensity, subject, image)]
    pictures = np.empty((len(columns[0]), size, size, 3), dtype=np.uint8)
    batch = max(1, _PIXELS_AT_ONCE // size**2)

    def draw(start: int) -> None:
        *shown, subjects, images = (values[start : start + batch] for values in columns)
        active = activations(*shown, side=capture(seed, images, difficulty)["side"])
        pictures[start : start + batch] = draw_portraits(active, subjects, images, size, seed, difficulty)

    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:  # NumPy lets go of the interpreter's lock
        list(pool.map(draw, range(0, len(pictures), batch)))
    return pictures


def draw_manifest(rows: pd.DataFrame, size: int | None = None) -> np.ndarray:
    """Draw any rows of a manifest from `read_synthetic`, in any order.

    Args:
        rows: some rows, with the manifest's `attrs`.
        size: pixels a side; None is the manifest's own `image_size`.

    Returns:
        (N, size, size, 3) uint8 RGB.

    Raises:
        InputError: rows that are not from `read_synthetic`, or have lost their `attrs`.

    >>> manifest = read_synthetic(train=80, validation=8, test=16, subjects=12)
    >>> draw_manifest(manifest[manifest["split"] == "test"], size=32).shape
    (16, 32, 32, 3)
    """
    missing = [column for column in _ROW_COLUMNS if column not in rows.columns]
    if rows.attrs.get("dataset") != "synthetic" or missing:
        found = f"no column {missing[0]!r}" if missing else f"attrs of dataset {rows.attrs.get('dataset')!r}"
        raise InputError(f"expected rows of a manifest from read_synthetic, found {found}; take rows from it directly")
    columns = {name: rows[name].to_numpy() for name in _ROW_COLUMNS}
    size = rows.attrs["image_size"] if size is None else size
    return draw_faces(**columns, size=size, seed=rows.attrs["seed"], difficulty=rows.attrs["difficulty"])


def draw_examples(per_class: int = 6, size: int = 128, seed: int = 0) -> np.ndarray:
    """Clean portraits for looking at: full expressions, facing the camera, nothing in front, each another person.

    Args:
        per_class: faces of each expression.
        size: pixels a side.
        seed: of the population.

    Returns:
        (8, per_class, size, size, 3) uint8 RGB, expressions in the paper's order.

    >>> draw_examples(per_class=2, size=32).shape
    (8, 2, 32, 32, 3)
    """
    expression = np.repeat(np.arange(NUM_CLASSES), per_class)
    people = np.arange(len(expression))
    plain, full = np.zeros(len(people)), np.ones(len(people))
    faces = draw_faces(expression, expression, plain, full, people, people, size=size, seed=seed, difficulty=0.0)
    return faces.reshape(NUM_CLASSES, per_class, size, size, 3)
