"""The images behind a manifest: one decode path for files, the generator for drawn faces, and torch's map-style view.

Torch is imported only when an item of a `FaceDataset` is asked for, so that readers and figures do without it.
"""

import hashlib
import os
import warnings
from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
from PIL import Image, ImageOps
from tqdm import tqdm

from fer_utils.datasets.legacy.boxes import BOX_COLUMNS, cut_box
from fer_utils.datasets.legacy.manifest import check_manifest
from fer_utils.datasets.legacy.votes import vote_shares
from fer_utils.core import InputError
from fer_utils.core import EXPRESSIONS

MEMORY_LIMIT = 2**30  # bytes of decoded pixels that a FaceDataset keeps
# A picture is small enough for Pillow or refused by it with an error; half-way there is nothing to warn about. Set for
# the whole program, because threads that set and reset warnings around each picture would do so to each other.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
_CHUNK = 256  # faces drawn at once: enough to be vectorised, small enough for the cache and a progress bar


def load_image(path: str | os.PathLike) -> np.ndarray:
    """Decode one image file; every image of the project passes through here.

    The EXIF orientation is applied; grey is repeated into three channels; palettes are resolved; of 16 bits the upper
    8 are kept (rounded); what is transparent becomes black, as in zero-padded crops; of an animation the first frame.

    Args:
        path: any file that Pillow reads.

    Returns:
        uint8 array (H, W, 3), RGB.

    Raises:
        InputError: if the file is absent or cannot be decoded to its end.

    Example:
        >>> load_image("nowhere.png")
        Traceback (most recent call last):
        fer_utils.errors.InputError: expected an image at nowhere.png, found no such file; restore it or drop its row
    """
    try:
        with Image.open(path) as image:
            return np.array(_to_rgb(ImageOps.exif_transpose(image)))
    except FileNotFoundError:
        raise InputError(f"expected an image at {path}, found no such file; restore it or drop its row") from None
    except Exception as error:  # Pillow's decoders raise whatever a stranger's bytes lead them to
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(
            f"expected a readable image at {path}, found one that cannot be decoded ({reason}); "
            "copy it anew or drop its row"
        ) from error


def load_images(manifest: pd.DataFrame, size: int | None = None) -> np.ndarray | list[np.ndarray]:
    """The images of a manifest, or of any rows of one, in its order.

    Args:
        manifest: a manifest, or a selection of its rows (which keeps its attrs).
        size: side length to which every image is resized (bilinear, antialiased); None leaves the sizes alone.

    Returns:
        uint8 array (N, H, W, 3), or, where the sizes differ, a list of N arrays (H, W, 3).

    Raises:
        InputError: if the manifest has lost its attrs, or an image is absent or unreadable.

    Example:
        >>> import tempfile
        >>> manifest = pd.DataFrame({"image": ["grey.png"], "label": [0], "split": ["test"]})
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Image.new("L", (2, 2), 7).save(f"{folder}/grey.png")
        ...     manifest.attrs = {"dataset": "folder", "root": folder}
        ...     load_images(manifest)[0, 0, 0].tolist()
        [7, 7, 7]
    """
    images = list(_each_image(manifest, size))
    return np.stack(images) if len({image.shape for image in images}) == 1 else images


def hash_images(manifest: pd.DataFrame) -> list[str]:
    """A fingerprint of every image's decoded pixels and size: equal exactly where the images are, pixel for pixel.

    Args:
        manifest: a manifest, or a selection of its rows.

    Returns:
        list of N hexadecimal strings (128-bit BLAKE2).

    Raises:
        InputError: as `load_images`.

    Example:
        >>> import tempfile
        >>> manifest = pd.DataFrame({"image": ["a.png", "b.bmp", "c.png"]})
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name, mode, colour in (("a.png", "L", 7), ("b.bmp", "RGB", (7, 7, 7)), ("c.png", "L", 8)):
        ...         Image.new(mode, (2, 2), colour).save(f"{folder}/{name}")
        ...     manifest.attrs = {"dataset": "folder", "root": folder}
        ...     a, b, c = hash_images(manifest)
        >>> a == b, a == c
        (True, False)
    """
    return [fingerprint(image) for image in _each_image(manifest)]


def fingerprint(image: np.ndarray) -> str:
    """The hash of one decoded image, see `hash_images`."""
    return hashlib.blake2b(str(image.shape).encode() + image.tobytes(), digest_size=16).hexdigest()


def image_opener(manifest: pd.DataFrame) -> Callable[[object], np.ndarray]:
    """The function from an entry of the column `image` to the pixels, for every dataset but drawn faces.

    Images are files below ``attrs["root"]`` or, where ``attrs["pixels"]`` names a file of FER2013's form, its rows.

    Raises:
        InputError: if the manifest has lost its attrs, or that file is no such file.
    """
    root = manifest.attrs.get("root")
    if root is None:
        raise InputError(
            "expected a manifest whose attrs say where its images are (attrs['root']), found none; "
            "some pandas operations drop the attrs: copy them from the manifest that the reader returned"
        )
    if "pixels" in manifest.attrs:
        from fer_utils.datasets.legacy.pixel_rows import PixelRows

        return PixelRows(os.path.join(root, manifest.attrs["pixels"])).load
    return lambda name: load_image(os.path.join(root, name))


def row_opener(manifest: pd.DataFrame) -> Callable[[int], np.ndarray]:
    """The function from a row's position to its pixels: from the pack, cut to the face box if so asked, or whole."""
    if "pack" in manifest.attrs:
        from fer_utils.datasets.legacy.packed import PackedImages

        return PackedImages(manifest).__getitem__
    load, names, margin = image_opener(manifest), manifest["image"].tolist(), manifest.attrs.get("box_margin")
    if margin is None:
        return lambda row: load(names[row])
    boxes = manifest[[*BOX_COLUMNS]].to_numpy()
    return lambda row: cut_box(load(names[row]), boxes[row], margin)


class FaceDataset:
    """A manifest as a map-style dataset for `torch.utils.data.DataLoader`.

    Images that together take up to `MEMORY_LIMIT` (FER+, drawn faces) are decoded or drawn once, at construction,
    where a bad file stops the program with one line and from where forked workers share them; others at each access.
    Of a packed manifest they are taken from the pack, kept in memory up to the same limit.

    Args:
        manifest: the rows to serve.
        transform: called with a uint8 tensor (3, H, W); None serves that tensor itself.
        target: ``"label"``; ``"votes"``, soft targets (`fer_utils.datasets.votes.vote_shares`); or another column (say
            ``"subject"``), whose values are then numbered 0 … S−1 in sorted order.
        classes: the values to number, where they are not those of this manifest: the validation set of an
            identification task takes the training set's `classes`.

    Attributes:
        classes: list of the target's values; a target is an index into it.
        targets: list of N ints; of votes a float32 array (N, 8).

    Raises:
        InputError: for an unusable manifest, an absent target column, a target that is missing or not among
            `classes`, or an unreadable image.

    ``dataset[i]`` is ``(image, target)``. ``dataset[(i, seed)]`` draws the transform's random numbers from `seed`
    alone, whatever the worker and the order, and leaves torch's generator as it was.

    Example:
        >>> import tempfile
        >>> manifest = pd.DataFrame({"image": ["grey.png"], "label": [5], "split": ["test"]})
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Image.new("L", (4, 3), 7).save(f"{folder}/grey.png")
        ...     manifest.attrs = {"dataset": "folder", "root": folder}
        ...     image, target = FaceDataset(manifest)[0]
        >>> tuple(image.shape), image.dtype, target
        ((3, 3, 4), torch.uint8, 5)
    """

    def __init__(self, manifest: pd.DataFrame, transform=None, target: str = "label", classes=None):
        self.manifest = check_manifest(manifest)
        self.transform = transform
        self.classes = _target_classes(manifest, target) if classes is None else list(classes)
        self.targets = _number(manifest, target, self.classes)
        if "pack" in manifest.attrs:
            from fer_utils.datasets.legacy.packed import PackedImages

            self._images = PackedImages(manifest)
        else:
            self._images = load_images(manifest) if _fits_in_memory(manifest) else None

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, key):
        import torch  # here, so that the readers beside this class do without

        index, seed = key if isinstance(key, tuple) else (key, None)
        target = self.targets[index]
        pixels = self._images[index] if self._images is not None else load_images(self.manifest.iloc[[index]])[0]
        image = torch.from_numpy(pixels).permute(2, 0, 1).contiguous()  # (H, W, 3) → (3, H, W), a copy
        if self.transform is None:
            return image, target
        if seed is None:
            return self.transform(image), target
        with torch.random.fork_rng(devices=[]):
            # Not torch.manual_seed: that also seeds every GPU, whose state is not restored, and takes 25 times as long.
            torch.default_generator.manual_seed(int(seed))
            return self.transform(image), target


def _each_image(manifest: pd.DataFrame, size: int | None = None) -> Iterator[np.ndarray]:
    """Yield uint8 arrays (H, W, 3), with a progress bar in a terminal if it takes longer than a second."""
    drawn = manifest.attrs.get("dataset") == "synthetic" and "pack" not in manifest.attrs
    with tqdm(total=len(manifest), desc="faces" if drawn else "images", disable=None, delay=1, leave=False) as bar:
        if drawn:
            from fer_utils.datasets.synthetic import draw_manifest

            for start in range(0, len(manifest), _CHUNK):
                faces = draw_manifest(manifest.iloc[start : start + _CHUNK], size=size)
                yield from faces
                bar.update(len(faces))
        else:
            load = row_opener(manifest)
            for row in range(len(manifest)):
                image = load(row)
                yield image if size is None else _resize(image, size)
                bar.update()


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16-bit grey; older Pillows open it as 32-bit integers
        wide = np.clip(np.asarray(image, dtype=np.float64), 0, 65535)
        image = Image.fromarray(np.rint(wide / 257).astype(np.uint8))
    elif image.mode == "F":
        raise ValueError("floating-point pixels, whose range is unknown")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "black"), image)
    return image.convert("RGB")


def _resize(image: np.ndarray, size: int) -> np.ndarray:
    return np.array(Image.fromarray(image).resize((size, size), Image.Resampling.BILINEAR))


def _fits_in_memory(manifest: pd.DataFrame) -> bool:
    """Estimate from a few images spread over the manifest."""
    sample = np.unique(np.linspace(0, len(manifest) - 1, 16).astype(int))
    sizes = [image.nbytes for image in load_images(manifest.iloc[sample])]
    return np.mean(sizes) * len(manifest) <= MEMORY_LIMIT


def _target_classes(manifest: pd.DataFrame, target: str) -> list:
    if target in ("label", "votes"):
        return list(EXPRESSIONS)
    if target not in manifest.columns:
        raise InputError(
            f"expected the target {target!r} among the manifest's columns, found {', '.join(manifest.columns)}; "
            "choose one of these"
        )
    return sorted(manifest[target].dropna().unique().tolist())


def _number(manifest: pd.DataFrame, target: str, classes: list) -> list[int] | np.ndarray:
    if target == "votes":
        return vote_shares(manifest)
    if target == "label":
        return [int(label) for label in manifest["label"]]
    numbers = {value: number for number, value in enumerate(classes)}
    unknown = ~manifest[target].isin(classes)
    if unknown.any():
        first = manifest[target][unknown].tolist()[0]
        raise InputError(
            f"expected every {target} to be one of {len(classes)} known ones, found {first!r} "
            f"and {int(unknown.sum()) - 1} more rows; drop these rows or take the classes from a manifest that has them"
        )
    return [numbers[value] for value in manifest[target].tolist()]
