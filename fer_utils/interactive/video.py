"""Expressions over time: a video file to a table, through OpenCV."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from fer_utils import datasets
from fer_utils.core import PROBABILITIES, InputError
from fer_utils.interactive.classifier import FaceClassifier
from fer_utils.interactive.pictures import recognise_image

os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # a damaged file is one line, and ours
import cv2  # noqa: E402

ENDINGS = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm")
RATE = 5.0  # frames looked at in a second
SAME_PERSON = 0.3  # overlap over union from which a face is that of the frame before
COLUMNS = (
    "frame", "time", "face", *datasets.BOX_COLUMNS, *PROBABILITIES, "expression", "sure",
)  # fmt: skip


def recognise_video(
    path: Path | str, classifier: FaceClassifier, rate: float = RATE
) -> tuple[pd.DataFrame, list[str]]:
    """Recognise the faces in a video.

    Args:
        path: the file.
        classifier: from `load_classifier`.
        rate: frames looked at in a second.

    Returns:
        DataFrame of `COLUMNS`, a row a face and frame (`time` in seconds; `face` keeps its number
        while the face stays about where it was), and what is to be said: that the file ends early,
        that the size of its frames changes.

    Raises:
        InputError: for a file without a video stream, or a rate that is not above 0.
    """
    rows, notes = [], []
    boxes, numbers, faces = np.zeros((0, 4)), [], 0
    for number, seconds, frame in sample_frames(path, rate, notes):
        picture = recognise_image(frame, classifier)
        before, boxes = boxes, picture.boxes
        numbers = _follow(before, numbers, boxes, faces)
        faces = max([faces, *numbers])
        rows += [
            (number, round(seconds, 3), face, *row[2:6], *p, *row[15:17])
            for face, row, p in zip(numbers, picture.rows(), picture.probabilities, strict=False)
        ]
    return pd.DataFrame(rows, columns=COLUMNS), notes


def sample_frames(
    path: Path | str, rate: float = RATE, notes: list[str] | None = None
) -> Iterator[tuple[int, float, np.ndarray]]:
    """Frames of a video file: number, seconds, and uint8 (H, W, 3); what is odd goes to `notes`."""
    if not rate > 0:
        raise InputError(f"expected a rate above 0 frames a second, found {rate}")
    notes = [] if notes is None else notes
    if not Path(path).is_file():
        raise InputError(f"expected a video at {path}, found no such file; check the path")
    video = cv2.VideoCapture(str(path))
    expected = max(0, int(video.get(cv2.CAP_PROP_FRAME_COUNT)))
    speed = video.get(cv2.CAP_PROP_FPS) or 25.0
    number, size, due = 0, None, 0.0
    bar = tqdm(total=expected or None, unit="frame", disable=None, delay=1, leave=False)
    try:
        while video.grab():
            seconds = number / speed
            if seconds + 1e-6 >= due:
                due += 1 / rate
                frame = video.retrieve()[1]
                if size not in (None, frame.shape):
                    notes.append(f"{path}: frames are of another size from {seconds:.1f} s on")
                size = frame.shape
                yield number, seconds, cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
            number += 1
            bar.update()
    finally:
        bar.close()
        video.release()
    if not number:
        raise InputError(f"expected a video at {path}, found no stream of frames that can be read")
    if number < 0.95 * expected:
        notes.append(f"{path}: cut short, {number:,} of {expected:,} frames could be read")


def timeline(table: pd.DataFrame, face: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Seconds (T,) and probabilities (T, 8) of one face, for `report.plot_expressions`.

    Args:
        table: of `recognise_video`.
        face: its number; default: the one seen longest.
    """
    face = table["face"].mode()[0] if face is None else face
    rows = table[table["face"] == face]
    return rows["time"].to_numpy(), rows[list(PROBABILITIES)].to_numpy(float)


def _follow(before: np.ndarray, numbers: list[int], boxes: np.ndarray, faces: int) -> list[int]:
    """A number for each box: that of the box before which it overlaps most, or a new one."""
    found: list[int] = []
    for box in boxes:
        first = np.maximum(before[:, :2], box[:2])
        last = np.minimum(before[:, :2] + before[:, 2:], box[:2] + box[2:])
        shared = (last - first).clip(min=0).prod(axis=1)
        overlap = shared / (before[:, 2:].prod(axis=1) + box[2:].prod() - shared)
        free = [number not in found for number in numbers]
        best = int(np.argmax(overlap * free)) if len(before) else -1
        if best >= 0 and free[best] and overlap[best] >= SAME_PERSON:
            found.append(numbers[best])
        else:
            faces += 1
            found.append(faces)
    return found
