"""Pictures of drawn faces, so that there is something to recognise where nobody gave a picture."""

from pathlib import Path

import numpy as np
from PIL import Image

from fer_utils.datasets.synthetic import draw_manifest, read_synthetic
from fer_utils.files import replaced

SEED = 2020  # another population than any study's
FACE, GAP = 160, 30  # pixels


def draw_examples(folder: Path | str) -> list[Path]:
    """Write `portrait.png` (one drawn face) and `group.png` (eight, one of each class).

    Args:
        folder: is made.

    Returns:
        the two paths.
    """
    people = read_synthetic(train=64, validation=0, test=8, subjects=24, difficulty=0.1, label_noise=0.0, seed=SEED)
    rows = people[people["split"] == "test"].sort_values("label")
    rows.attrs = people.attrs
    faces = draw_manifest(rows, size=FACE)
    return [_write(faces[1:2], 1, Path(folder) / "portrait.png"), _write(faces, 4, Path(folder) / "group.png")]


def _write(faces: np.ndarray, columns: int, path: Path) -> Path:
    step, rows = FACE + GAP, -(-len(faces) // columns)
    picture = np.full((rows * step + GAP, columns * step + GAP, 3), 214, np.uint8)
    for k, face in enumerate(faces):
        top, left = GAP + k // columns * step, GAP + k % columns * step
        picture[top : top + FACE, left : left + FACE] = face
    with replaced(path) as temporary:
        Image.fromarray(picture).save(temporary)
    return path
