"""Drawn faces: a population of people, each with expressions, that needs no files.

Labels come first: class proportions set a row's label, and the expression *drawn* is taken from
Q(e | label) (`people.label_confusion`), so some rows look like something else, as annotators'
labels do.
"""

import numbers
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd

from fer_utils.core import NUM_CLASSES, InputError, check_choice, paper
from fer_utils.datasets.synthetic.faces import draw_portraits
from fer_utils.datasets.synthetic.people import Draws, label_confusion

LEAST_PER_CLASS = 8  # training images that even the rarest expression gets
SMALLEST_IMAGE = 24
_PIXELS_AT_ONCE = 64**3  # a batch large enough for threads to pay, small enough for caches
ROW_COLUMNS = ("expression", "second", "second_weight", "intensity", "subject", "image")


def read_synthetic(
    train: int = 4000,
    validation: int = 400,
    test: int = 800,
    subjects: int = 300,
    image_size: int = 64,
    label_noise: float = 1 - paper.HUMAN_AGREEMENT,
    difficulty: float = 1.0,
    proportions: str = "table3",
    seed: int = 0,
) -> pd.DataFrame:
    """The manifest of a population of drawn faces; `draw_manifest` draws any of its rows.

    Training images follow Table 3, no class below `LEAST_PER_CLASS`; validation and test are
    balanced, as in the paper.

    Args:
        subjects: people in all; each belongs to one split, which get them in proportion.
        label_noise: share of rows whose drawn expression is not their label, 0 to 0.8; what is left
            by default is human agreement on AffectNet.
        difficulty: of pose, light, occlusion, blur, noise, faint and blended expressions: 0 is a
            studio portrait at full intensity, 1 in the wild, at most 2.
        proportions: of the training classes: "table3", or "balanced" (for identities).
        seed: of everything; another seed is another population.

    Returns:
        A manifest with `subject`, `expression` (drawn, 0–7), `second` (blended in; equal to
        `expression` if none), its weight and `intensity` (0–1); `attrs` holds every argument.
    """
    check_choice("class proportions", proportions, ("table3", "balanced"))
    arguments = {
        "train": _number("train", train, NUM_CLASSES * LEAST_PER_CLASS),
        "validation": _number("validation", validation, 0),
        "test": _number("test", test, 0),
        "subjects": _number("subjects", subjects, 1 + bool(validation) + bool(test)),
        "image_size": _number("image_size", image_size, SMALLEST_IMAGE),
        "label_noise": _number("label_noise", label_noise, 0.0, 0.8),
        "difficulty": _number("difficulty", difficulty, 0.0, 2.0),
        "proportions": proportions,
        "seed": _number("seed", seed, 0),
    }
    splits = [split for split in ("train", "validation", "test") if arguments[split]]
    people = apportion(subjects, [arguments[split] for split in splits], 1)
    parts, first_image, first_subject = [], 0, 0
    for split, split_people in zip(splits, people.tolist(), strict=True):
        size, training = arguments[split], split == "train"
        by_table = training and proportions == "table3"
        shares = paper.TRAINING_COUNTS if by_table else np.ones(NUM_CLASSES)
        counts = apportion(size, shares, LEAST_PER_CLASS if training else 0)
        images = np.arange(first_image, first_image + size)
        draws = Draws(seed, "population", images)
        labels = np.repeat(np.arange(NUM_CLASSES), counts)[np.argsort(draws.bits("label order"))]
        # Everybody in turn, in random order: the same number of images each.
        turns = np.argsort(np.argsort(draws.bits("subject order"))) % split_people
        rows = pd.DataFrame({"image": images, "label": labels, "split": split})
        rows["subject"] = first_subject + turns
        parts.append(rows.assign(**_drawn_expressions(draws, labels, label_noise, difficulty)))
        first_image, first_subject = first_image + size, first_subject + split_people
    manifest = pd.concat(parts, ignore_index=True)
    manifest.attrs = {"dataset": "synthetic", "root": None, **arguments}
    return manifest


def _drawn_expressions(draws: Draws, labels, label_noise: float, difficulty: float) -> dict:
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


def _number(name: str, value, least: float, most: float = np.inf):
    """The value as an int or a float, as `least` is; `InputError` unless it is in range."""
    whole = isinstance(least, int)
    known = isinstance(value, numbers.Integral if whole else numbers.Real)
    if not known or isinstance(value, bool) or not least <= value <= most:
        limits = f"at least {least}" if most == np.inf else f"{least:g} to {most}"
        kind = "whole number" if whole else "number"
        raise InputError(f"{name} must be a {kind} of {limits}, not {value!r}")
    return type(least)(value)


def apportion(total: int, shares, floors) -> np.ndarray:
    """`total` in whole parts in proportion to `shares` (K,), by largest remainders.

    No part falls below its floor, (K,) or one for all; floors add up to `total` at most.

    >>> apportion(100, [960, 20, 20], 8).tolist()
    [84, 8, 8]
    """
    shares = np.asarray(shares, dtype=np.int64)
    parts = np.array(np.broadcast_to(floors, shares.shape), dtype=np.int64)
    free = shares > 0
    while True:
        left, whole = total - parts[~free].sum(), shares[free].sum()
        low = free & (shares * left < parts * whole)
        if not low.any():
            break
        free &= ~low  # the rest have less to share, which may push one more below its floor
    parts[free], remainders = np.divmod(shares[free] * left, max(whole, 1))
    largest = np.flatnonzero(free)[np.argsort(-remainders, kind="stable")]
    parts[largest[: total - parts.sum()]] += 1
    return parts


def draw_manifest(rows: pd.DataFrame, size: int | None = None) -> np.ndarray:
    """Draw any rows of a manifest from `read_synthetic`: uint8 RGB (N, size, size, 3).

    Each picture is a function of its own row, the manifest's `attrs` and `size` (None: its own)
    alone. 550 a second and core at 64 pixels.
    """
    missing = [column for column in ROW_COLUMNS if column not in rows.columns]
    about = rows.attrs
    if about.get("dataset") != "synthetic" or missing:
        found = f"no column {missing[0]!r}" if missing else f"dataset {about.get('dataset')!r}"
        raise InputError(f"expected rows of a manifest from read_synthetic, found {found}")
    size = _number("size", about["image_size"] if size is None else size, SMALLEST_IMAGE)
    columns = {name: rows[name].to_numpy() for name in ROW_COLUMNS}
    pictures = np.empty((len(rows), size, size, 3), dtype=np.uint8)
    batch = max(1, _PIXELS_AT_ONCE // size**2)

    def draw(start: int) -> None:
        part = {name: values[start : start + batch] for name, values in columns.items()}
        faces = draw_portraits(part, size, about["seed"], about["difficulty"])
        pictures[start : start + batch] = faces

    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:  # NumPy releases Python's lock
        list(pool.map(draw, range(0, len(pictures), batch)))
    return pictures


def draw_examples(per_class: int = 6, size: int = 128, seed: int = 0) -> np.ndarray:
    """Clean portraits of different people, (8, per_class, size, size, 3) uint8 RGB.

    Full expressions in the paper's order, facing the camera, with nothing in front.
    """
    shown = np.repeat(np.arange(NUM_CLASSES), per_class)
    rows = pd.DataFrame({"expression": shown, "second": shown, "second_weight": 0, "intensity": 1})
    rows["subject"] = rows["image"] = rows.index
    rows.attrs = {"dataset": "synthetic", "seed": seed, "difficulty": 0.0}
    return draw_manifest(rows, size).reshape(NUM_CLASSES, per_class, size, size, 3)
