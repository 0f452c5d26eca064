"""Pictures to a table, a row a face; to a CSV file; and, corrected by hand, to a manifest."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from PIL import Image
from tqdm import tqdm

from fer_utils.datasets.boxes import BOX_COLUMNS, cut_box, with_margin
from fer_utils.datasets.manifest import write_manifest
from fer_utils.errors import InputError
from fer_utils.expressions import EXPRESSIONS, LABELS
from fer_utils.files import replaced
from fer_utils.recognising.detection import find_faces
from fer_utils.recognising.pictures import open_picture

if TYPE_CHECKING:
    from fer_utils.recognising.models import Recogniser

COLUMNS = ("file", "face", *BOX_COLUMNS, "detection", "label", *(f"p_{name}" for name in EXPRESSIONS))
SHOWN_SIDE = 640  # pixels of the copy of a picture that is kept to be looked at


@dataclass(frozen=True)
class Picture:
    """One picture and what was recognised in it.

    Attributes:
        path: the file.
        faces: the rows of it, see `COLUMNS`: `face` counts from 1, left to right; boxes are in pixels of the upright
            picture; `detection` is the detector's score, missing where the whole picture was taken for a face.
        note: a sentence where there is something to say (no face found, no picture), else "".
        crops: uint8 (N, S, S, 3), what the network was shown.
        heatmaps: float32 (N, S, S), Grad-CAM of the predicted class; None where the network has none.
        shown: uint8 (H, W, 3), the picture made smaller; None if it could not be read.
        scale: pixels of `shown` to one of the picture.
    """

    path: Path
    faces: pd.DataFrame
    note: str = ""
    crops: np.ndarray | None = None
    heatmaps: np.ndarray | None = None
    shown: np.ndarray | None = None
    scale: float = 1.0


def locate_faces(
    path: Path | str, whole_picture: bool = False, find: Callable[[np.ndarray], np.ndarray] = find_faces
) -> tuple[np.ndarray | None, np.ndarray, str]:
    """Find the faces in one picture.

    Args:
        path: the file.
        whole_picture: where no face is found, take the whole picture for one.
        find: a picture (H, W, 3) → boxes and scores (N, 5).

    Returns:
        the picture, uint8 (H, W, 3), or None for a file that cannot be used; boxes and scores (N, 5), the boxes in
        whole pixels; and a sentence where there is something to say, else "".
    """
    try:
        image = open_picture(path)
    except InputError as error:
        return None, np.zeros((0, 5)), str(error)
    found, note = find(image), ""
    if not len(found):
        note = f"no face found in {path}"
        if whole_picture:
            height, width = image.shape[:2]
            found, note = np.array([[0, 0, width, height, np.nan]]), f"{note}: the whole picture was taken for one"
    found[:, :4] = found[:, :4].round()
    return image, found, note


def recognise_picture(
    path: Path | str,
    recogniser: "Recogniser",
    whole_picture: bool = False,
    explain: bool = True,
    find: Callable[[np.ndarray], np.ndarray] = find_faces,
) -> Picture:
    """Find the faces in one picture and recognise each.

    Args:
        path: the file.
        recogniser: from `load_recogniser`.
        whole_picture, find: as in `locate_faces`.
        explain: whether to compute Grad-CAM.

    Returns:
        `Picture`; a file that cannot be used has no faces and a `note`.
    """
    path = Path(path)
    image, found, note = locate_faces(path, whole_picture, find)
    if image is None:
        return Picture(path, _table(path, found, np.zeros((0, len(EXPRESSIONS)))), note)
    crops = [cut_box(image, box, recogniser.margin) for box in found[:, :4]]
    probabilities, seen = recogniser.recognise(crops)
    heatmaps = recogniser.explain(crops, probabilities.argmax(1)) if explain else None
    height, width = image.shape[:2]
    scale = min(1.0, SHOWN_SIDE / max(width, height))
    size = [max(1, round(side * scale)) for side in (width, height)]
    shown = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0))
    return Picture(path, _table(path, found, probabilities), note, seen, heatmaps, shown, scale)


def recognise_pictures(
    paths: list[Path], recogniser: "Recogniser", whole_picture: bool = False, keep: int = 8
) -> tuple[pd.DataFrame, list[str], list[Picture]]:
    """Recognise many pictures, in memory for one and those that are kept.

    Args:
        paths: files, see `list_pictures`.
        recogniser, whole_picture: as in `recognise_picture`.
        keep: how many of the pictures with a face to keep, to be looked at; Grad-CAM is computed for these alone.

    Returns:
        the table of all faces (`COLUMNS`), the notes, and the pictures kept.
    """
    tables, notes, kept = [], [], []
    for path in tqdm(paths, desc="pictures", unit="picture", disable=None, delay=1, leave=False):
        picture = recognise_picture(path, recogniser, whole_picture, explain=len(kept) < keep)
        tables.append(picture.faces)
        if picture.note:
            notes.append(picture.note)
        if len(picture.faces) and len(kept) < keep:
            kept.append(picture)
    return join_faces(tables), notes, kept


def join_faces(tables: list[pd.DataFrame]) -> pd.DataFrame:
    """The tables of several pictures as one, `COLUMNS`; without a row where no picture has a face."""
    found = [table for table in tables if len(table)]
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame(columns=COLUMNS)


def save_faces(faces: pd.DataFrame, margin: float, folder: Path | str) -> list[Path]:
    """Write `faces.csv`, a row a face with probabilities of four digits, and, of any faces, `manifest.parquet`.

    Args:
        faces: columns `COLUMNS`; `label` as corrected by hand.
        margin: see `to_manifest`.
        folder: is made.

    Returns:
        the paths.

    Raises:
        InputError: if they cannot be written.
    """
    paths = [Path(folder) / "faces.csv"]
    try:
        with replaced(paths[0]) as temporary:
            faces.to_csv(temporary, index=False, float_format="%.4f")
        if len(faces):
            paths.append(Path(folder) / "manifest.parquet")
            write_manifest(to_manifest(faces, margin), paths[1])
    except OSError as error:
        reason = error.strerror or error
        raise InputError(f"expected a folder that can be written, found {folder} ({reason}); name another") from error
    return paths


def to_manifest(faces: pd.DataFrame, margin: float, split: str = "test") -> pd.DataFrame:
    """The table as a manifest, to be written with `datasets.write_manifest`: a run or an audit takes it.

    Args:
        faces: columns `COLUMNS`; `label` as corrected by hand.
        margin: the recogniser's, with which the faces are cut from their pictures again.
        split: of all rows.

    Returns:
        a manifest: `image`, `label` (0–7), `split`, boxes.

    Raises:
        InputError: for a table without rows.

    Example:
        >>> row = {"file": "/a/b.png", "face": 1, "label": "happy", **dict.fromkeys(BOX_COLUMNS, 8)}
        >>> manifest = to_manifest(pd.DataFrame([row]), margin=0.1)
        >>> manifest[["image", "label", "split"]].values.tolist(), manifest.attrs["root"]
        ([['b.png', 1, 'test']], '/a')
    """
    if not len(faces):
        raise InputError("expected at least one face, found none; name pictures with faces")
    files = [os.path.abspath(file) for file in faces["file"]]
    root = os.path.commonpath([os.path.dirname(file) for file in files])
    manifest = pd.DataFrame({"image": [os.path.relpath(file, root) for file in files]})
    manifest["label"] = faces["label"].map(LABELS).to_numpy()
    manifest["split"] = split
    manifest[[*BOX_COLUMNS]] = faces[[*BOX_COLUMNS]].to_numpy()
    manifest.attrs = {"dataset": "folder", "root": root}
    return with_margin(manifest, margin)


def _table(path: Path, found: np.ndarray, probabilities: np.ndarray) -> pd.DataFrame:
    table = pd.DataFrame({"file": str(path), "face": range(1, len(found) + 1)})
    table[[*BOX_COLUMNS]] = found[:, :4].astype(int)
    table["detection"] = found[:, 4]
    table["label"] = np.array(EXPRESSIONS)[probabilities.argmax(1)]
    table[[f"p_{name}" for name in EXPRESSIONS]] = probabilities
    return table
