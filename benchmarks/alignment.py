"""Does it help to turn a face upright? Accuracy on rotated and shifted faces, three ways to cut.

    python benchmarks/alignment.py FERPLUS_FOLDER

Validation images of FER+, enlarged four times, with their edge repeated around them, are turned
or moved. "Given" takes the middle of the picture, as large as the face was; "detected" the box
that the detector finds, "aligned" that box with the eyes level; where none is found, the middle.
"""

import sys

import cv2
import numpy as np
import pandas as pd

from fer_utils import datasets
from fer_utils.interactive.classifier import load_classifier
from fer_utils.interactive.detector import crop_face, find_faces

FACES, SIDE = 1000, 192  # 4 × 48 pixels
AROUND = SIDE // 2
CHANGES = {
    "as it is": (0, 0),
    "15° turned": (15, 0),
    "30° turned": (30, 0),
    "15 % moved": (0, 0.15),
}


def change(face: np.ndarray, degrees: float, shift: float) -> np.ndarray:
    """A face turned and moved to the right, in a picture twice as wide."""
    large = cv2.resize(face, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    picture = cv2.copyMakeBorder(large, *[AROUND] * 4, cv2.BORDER_REPLICATE)
    turn = cv2.getRotationMatrix2D((SIDE, SIDE), degrees, 1.0)
    turn[0, 2] += shift * SIDE
    return cv2.warpAffine(picture, turn, picture.shape[:2], borderMode=cv2.BORDER_REPLICATE)


def cut(picture: np.ndarray, margin: float) -> dict[str, np.ndarray]:
    """The three crops of a picture's face."""
    middle = picture[AROUND:-AROUND, AROUND:-AROUND]
    faces = find_faces(picture)
    if not len(faces):
        return dict.fromkeys(("given", "detected", "aligned"), middle)
    largest = faces[faces[:, 2:4].prod(axis=1).argmax()]
    crops = {
        name: crop_face(picture, largest, margin, name == "aligned")
        for name in ("detected", "aligned")
    }
    return {"given": middle} | crops


def main(folder: str) -> None:
    """Print the table."""
    manifest = datasets.read_dataset("ferplus", folder)
    rows = manifest[manifest["split"] == "validation"].sample(FACES, random_state=0)
    rows.attrs = manifest.attrs
    images, labels, recogniser = [*datasets.load_images(rows)], rows["label"], load_classifier()
    table = {}
    for name, (degrees, shift) in CHANGES.items():
        signs = np.random.default_rng(0).choice([-1, 1], FACES)
        pictures = [change(i, s * degrees, s * shift) for i, s in zip(images, signs, strict=True)]
        crops = pd.DataFrame([cut(picture, recogniser.margin) for picture in pictures])
        answers = {way: recogniser.classify([*own]).argmax(axis=1) for way, own in crops.items()}
        table[name] = {way: f"{np.mean(found == labels):.1%}" for way, found in answers.items()}
    print(pd.DataFrame(table).T.to_markdown())


if __name__ == "__main__":
    main(sys.argv[1])
