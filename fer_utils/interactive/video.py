"""Expressions over time: a video file to a table, through OpenCV."""

import os
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from tqdm import tqdm

from fer_utils import datasets
from fer_utils.core import EXPRESSIONS, PROBABILITIES, InputError
from fer_utils.interactive.classifier import FaceClassifier
from fer_utils.interactive.pictures import recognise_image

ENDINGS = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm")
RATE = 5.0  # frames looked at in a second
SAME_PERSON = 0.3  # overlap over union from which a face is that of the frame before
COLUMNS = (
    "frame", "time", "face", *datasets.BOX_COLUMNS, *PROBABILITIES, "expression", "sure",
)  # fmt: skip
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # a damaged file is one line, and ours


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
        while it stays about where it was), and sentences: the file ends early, its frames change
        their size.

    Raises:
        InputError: for a file without a video stream, or a rate that is not above 0.
    """
    rows, notes, boxes, numbers, known = [], [], np.zeros((0, 4)), [], 0
    for frame, seconds, image in sample_frames(path, rate, notes):
        picture = recognise_image(image, classifier)
        numbers = _follow(boxes, numbers, picture.faces[:, :4], known)
        boxes, known = picture.faces[:, :4], max([known, *numbers])
        for face, box, p, sure in zip(
            numbers, boxes, picture.probabilities, picture.sure, strict=True
        ):
            rows.append((frame, seconds, face, *box, *p, EXPRESSIONS[p.argmax()], sure))
    return pd.DataFrame(rows, columns=COLUMNS), notes


def sample_frames(
    path: Path | str, rate: float, notes: list[str]
) -> Iterator[tuple[int, float, np.ndarray]]:
    """Frames of a video: number, seconds, and uint8 (H, W, 3); what is odd goes to `notes`."""
    if not rate > 0:
        raise InputError(f"expected a rate above 0 frames a second, found {rate}")
    if not Path(path).is_file():
        raise InputError(f"expected a video at {path}, found no such file; check the path")
    video = cv2.VideoCapture(str(path))
    expected = max(0, int(video.get(cv2.CAP_PROP_FRAME_COUNT)))
    per_second = video.get(cv2.CAP_PROP_FPS) or 25.0
    number, size, due = 0, None, 0.0
    with tqdm(total=expected or None, unit="frame", disable=None, delay=1, leave=False) as bar:
        while video.grab():
            seconds = number / per_second
            if seconds >= due - 1e-6:
                due += 1 / rate
                frame = video.retrieve()[1]
                if size not in (None, frame.shape):
                    notes.append(f"{path}: frames are of another size from {seconds:.1f} s on")
                size = frame.shape
                yield number, round(seconds, 3), cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
            number += 1
            bar.update()
    if not number:
        raise InputError(f"expected a video at {path}, found no stream of frames that can be read")
    if number < 0.95 * expected:
        notes.append(f"{path}: cut short, {number:,} of {expected:,} frames could be read")


def timeline(table: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Seconds (T,) and probabilities (T, 8) of the face seen longest; NaN where it is not seen."""
    rows = table[table["face"] == table["face"].mode()[0]].set_index("time")
    rows = rows.reindex(table["time"].unique())
    return rows.index.to_numpy(), rows[list(PROBABILITIES)].to_numpy(float)


def _follow(before: np.ndarray, numbers: list[int], boxes: np.ndarray, known: int) -> list[int]:
    """A number for each box: that of the box before that it overlaps most, or a new one."""
    found: list[int] = []
    for box in boxes:
        first = np.maximum(before[:, :2], box[:2])
        last = np.minimum(before[:, :2] + before[:, 2:], box[:2] + box[2:])
        shared = (last - first).clip(min=0).prod(axis=1)
        overlap = shared / (before[:, 2:].prod(axis=1) + box[2:].prod() - shared)
        overlap[[number in found for number in numbers]] = 0
        if overlap.max(initial=0) >= SAME_PERSON:
            found.append(numbers[overlap.argmax()])
        else:
            known += 1
            found.append(known)
    return found
