"""What can be measured on one image, for all images: each file is decoded once, through the project's one decode path.

Files are read by threads: Pillow gives up Python's lock while it decodes, and threads, unlike processes, work the same
in a notebook, in a script and on every system.
"""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
from PIL import Image
from tqdm import tqdm

from fer_utils.datasets.boxes import BOX_COLUMNS, cut_box
from fer_utils.datasets.images import fingerprint, image_opener, load_images
from fer_utils.datasets.listing import list_images
from fer_utils.errors import InputError
from fer_utils.expressions import NUM_CLASSES

FACE_SIZE = 64  # pixels, of the mean faces
THUMBNAIL_SIZE = 32  # pixels, at which faces are compared
MIN_SIDE = 32  # pixels: a face below it is tiny
MIN_CONTRAST = 2.0  # grey levels of 255 (standard deviation): an image below it is constant, compression noise aside
PLAIN_MODES = ("L", "RGB")

_CHUNK = 256
_ORIENTATION = 0x0112
_MEASURED = {
    "error": "",
    "mode": "",
    "turned": False,
    "width": 0,
    "height": 0,
    "grey": False,
    "mean": np.nan,
    "std": np.nan,
    "hash": "",
}


def measure_images(manifest: pd.DataFrame, workers: int | None = None) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """Decode every image of a manifest once and measure it; an unreadable one is a row that says so.

    Args:
        manifest: a manifest, or rows of one. Faces are what `fer_utils.datasets.boxes.cut_box` cuts by its boxes, where
            it has them, else whole images.
        workers: threads that read files; None takes one a core.

    Returns:
        the measures, a DataFrame with a row an image in the manifest's order; the faces' thumbnails, uint8
        (N, 32, 32), grey, zeros where unreadable; and the mean face of each class, float (8, 64, 64), grey levels
        0–255, NaN without images. Columns of the measures:

        - `image`, `label`, `split`: the manifest's.
        - `error`: why the image cannot be decoded, empty where it can.
        - `mode`: Pillow's name of the file's pixel format, with "+alpha" where transparency stands beside it; `turned`:
          the file's EXIF data turn or mirror it.
        - `width`, `height`: pixels, upright.
        - `grey`: all three decoded channels are equal; `mean`, `std`: of the grey levels, 0–255.
        - `hash`: `fer_utils.datasets.images.hash_images` of the whole image, empty where unreadable.
        - `unreadable`, `tiny` (the image, or its face box, has a side below 32 pixels), `constant` (`std` below 2),
          `odd_mode` (neither 8-bit grey nor 8-bit RGB, or with alpha), `grey_in_colour` (grey, while most images of
          the dataset are not), `box_outside` (the face box is empty or leaves the image).

    Raises:
        InputError: if the manifest does not say where its images are.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Image.new("CMYK", (20, 40)).save(f"{folder}/a.jpg")
        ...     manifest = pd.DataFrame({"image": ["a.jpg", "b.jpg"], "label": 0, "split": "train"})
        ...     manifest.attrs = {"root": folder}
        ...     images, thumbnails, mean_faces = measure_images(manifest)
        >>> images[["mode", "height", "tiny", "odd_mode", "unreadable"]].values.tolist(), thumbnails.shape
        ([['CMYK', 40, True, True, False], ['', 0, False, False, True]], (2, 32, 32))
    """
    thumbnails = np.zeros((len(manifest), THUMBNAIL_SIZE, THUMBNAIL_SIZE), np.uint8)
    sums, counts = np.zeros((NUM_CLASSES, FACE_SIZE, FACE_SIZE)), np.zeros(NUM_CLASSES)
    labels = manifest["label"].tolist()
    boxes = manifest[list(BOX_COLUMNS)].to_numpy(dtype=float) if set(BOX_COLUMNS) <= set(manifest) else None
    margin = manifest.attrs.get("box_margin", 0)
    rows = []
    with tqdm(total=len(manifest), desc="images", disable=None, delay=1, leave=False) as bar:
        for header, pixels in _each_decoded(manifest, workers):
            row = len(rows)
            if pixels is not None:
                header |= _measure(pixels)
                face = _face(pixels if boxes is None else cut_box(pixels, boxes[row], margin))  # (64, 64)
                thumbnails[row] = face.reshape(THUMBNAIL_SIZE, 2, THUMBNAIL_SIZE, 2).mean(axis=(1, 3)).round()
                if labels[row] >= 0:
                    sums[labels[row]] += face
                    counts[labels[row]] += 1
            rows.append(_MEASURED | header)
            bar.update()
    images = manifest[["image", "label", "split"]].reset_index(drop=True)
    images = pd.concat([images, pd.DataFrame(rows, columns=list(_MEASURED))], axis=1)
    counts[counts == 0] = np.nan
    return _with_flags(images, boxes), thumbnails, sums / counts[:, None, None]


def unlisted_images(manifest: pd.DataFrame) -> pd.DataFrame:
    """Image files of the dataset that its manifest does not list: dropped by the label rule, or as leaks, or forgotten.

    Only folders directly below the dataset's root whose listed images are all of one split are searched, since their
    other files then belong to that split too. A dataset whose folders mix the splits has no such files.

    Args:
        manifest: a manifest.

    Returns:
        DataFrame like a manifest, `label` −1 in every row; its attrs are the manifest's.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     os.mkdir(f"{folder}/train")
        ...     for name in ("listed", "dropped"):
        ...         Image.new("L", (48, 48)).save(f"{folder}/train/{name}.png")
        ...     manifest = pd.DataFrame({"image": ["train/listed.png"], "label": [0], "split": ["train"]})
        ...     manifest.attrs = {"root": folder}
        ...     unlisted_images(manifest).values.tolist()
        [['train/dropped.png', -1, 'train']]
    """
    found = []
    root = manifest.attrs.get("root")
    if _has_files(manifest) and root:
        listed = set(manifest["image"])
        folders = manifest["image"].str.partition("/")[0]
        for folder, splits in manifest.groupby(folders)["split"].unique().items():
            path = os.path.join(root, folder)
            if len(splits) == 1 and os.path.isdir(path):
                names = (f"{folder}/{name}" for name in list_images(path))
                found += [(name, -1, splits[0]) for name in names if name not in listed]
    unlisted = pd.DataFrame(found, columns=["image", "label", "split"])
    unlisted.attrs = manifest.attrs
    return unlisted


def _has_files(manifest: pd.DataFrame) -> bool:
    """Whether each image is a file of its own; drawn faces have none, and FER2013's are rows of one."""
    return manifest.attrs.get("dataset") != "synthetic" and "pixels" not in manifest.attrs


def _each_decoded(manifest: pd.DataFrame, workers: int | None) -> Iterator[tuple[dict, np.ndarray | None]]:
    """Yield what the file says of the image, and its pixels, uint8 (H, W, 3), or None."""
    if manifest.attrs.get("dataset") == "synthetic":
        for start in range(0, len(manifest), _CHUNK):
            for pixels in load_images(manifest.iloc[start : start + _CHUNK]):
                yield {"mode": "RGB"}, pixels
        return
    load, root = image_opener(manifest), manifest.attrs["root"] if _has_files(manifest) else None
    names = manifest["image"].tolist()
    with ThreadPoolExecutor(workers or os.cpu_count()) as pool:
        for start in range(0, len(names), _CHUNK):  # in chunks, so that no more than that many wait in memory
            yield from pool.map(lambda name: _decode(load, name, root), names[start : start + _CHUNK])


def _decode(load: Callable, name, root: str | None) -> tuple[dict, np.ndarray | None]:
    try:
        pixels = load(name)
    except InputError as error:
        return {"error": str(error)}, None
    if root is None:
        return {"mode": "L"}, pixels
    with Image.open(os.path.join(root, name)) as image:  # the header alone: Pillow decodes when asked for pixels
        transparent = image.mode in PLAIN_MODES and image.has_transparency_data
        # Pillow decodes a whole PNG to look for EXIF data behind its pixels, where none is ever written.
        exif = image.getexif() if image.format != "PNG" or "exif" in image.info else {}
        return {"mode": image.mode + "+alpha" * transparent, "turned": exif.get(_ORIENTATION, 1) != 1}, pixels


def _measure(pixels: np.ndarray) -> dict:
    height, width, _ = pixels.shape
    grey = bool((pixels[..., 0] == pixels[..., 1]).all() and (pixels[..., 1] == pixels[..., 2]).all())
    levels = pixels[..., 0] if grey else np.asarray(Image.fromarray(pixels).convert("L"))
    return {
        "width": width,
        "height": height,
        "grey": grey,
        "mean": float(levels.mean()),
        "std": float(levels.std()),
        "hash": fingerprint(pixels),
    }


def _face(pixels: np.ndarray) -> np.ndarray:
    """uint8 (H, W, 3) → grey (64, 64)."""
    image = Image.fromarray(pixels).convert("L")
    return np.asarray(image.resize((FACE_SIZE, FACE_SIZE), Image.Resampling.BILINEAR))


def _with_flags(images: pd.DataFrame, boxes: np.ndarray | None) -> pd.DataFrame:
    readable = images["error"] == ""
    side = images[["width", "height"]].min(axis=1)
    outside = np.zeros(len(images), bool)
    if boxes is not None:
        x, y, width, height = boxes.T  # a missing box compares as False throughout
        side = np.fmin(side, np.fmin(width, height))
        right, bottom = x + width > images["width"], y + height > images["height"]
        outside = (x < 0) | (y < 0) | right | bottom | (width <= 0) | (height <= 0)
    coloured = readable & ~images["grey"]
    return images.assign(
        unreadable=~readable,
        tiny=readable & (side < MIN_SIDE),
        constant=readable & (images["std"] < MIN_CONTRAST),
        odd_mode=readable & ~images["mode"].isin(PLAIN_MODES),
        grey_in_colour=readable & images["grey"] & (2 * coloured.sum() > readable.sum()),
        box_outside=readable & outside,
    )
