"""Pictures of one's own: files and folders that a user names, opened as the images of a dataset are."""

import re
from pathlib import Path

import numpy as np
from PIL import Image

from fer_utils.datasets.images import load_image
from fer_utils.errors import InputError

ENDINGS = (".avif", ".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
MOST_MEGAPIXELS = 60  # decoded it takes 3 bytes a pixel, and a copy or two


def list_pictures(paths, start: Path | str = ".") -> list[Path]:
    """The picture files that a user named.

    Args:
        paths: files and folders, as a list or as one text with a comma or a new line between them (a name that holds a
            comma works if it is the only one). A folder stands for the files in it with one of `ENDINGS`, sorted.
        start: folder that relative paths start from.

    Returns:
        paths, each once, in order. What does not exist, and a folder without pictures, stay for `open_picture` to
        refuse, so that one mistake does not stop the others.

    Example:
        >>> list_pictures("a.png, b.jpg")
        [PosixPath('a.png'), PosixPath('b.jpg')]
    """
    start = Path(start)
    if isinstance(paths, str):
        whole = start / Path(paths.strip()).expanduser()
        paths = [paths] if _exists(whole) else re.split(r"[,\n]", paths)
    found = {}
    for name in paths:
        if not str(name).strip():
            continue
        path = start / Path(str(name).strip()).expanduser()
        inside = sorted(path.iterdir()) if path.is_dir() else []
        found |= dict.fromkeys([each for each in inside if each.suffix.lower() in ENDINGS] or [path])
    return list(found)


def open_picture(path: Path | str) -> np.ndarray:
    """Read one picture exactly as `datasets.images.load_image` reads a dataset's, unless it is too large.

    So a photograph stands upright (EXIF), grey and CMYK become RGB, what is transparent becomes black, and of an
    animation the first frame counts.

    Returns:
        uint8 (H, W, 3), RGB.

    Raises:
        InputError: if it is absent, a folder without pictures, no picture, damaged, or of more than `MOST_MEGAPIXELS`
            megapixels, which are not decoded.

    Example:
        >>> open_picture("nowhere.png")
        Traceback (most recent call last):
        fer_utils.errors.InputError: expected a picture at nowhere.png, found no such file; check the path
    """
    if Path(path).is_dir():
        raise InputError(f"expected pictures ({', '.join(ENDINGS)}) in {path}, found none; name another folder")
    if not Path(path).is_file():
        raise InputError(f"expected a picture at {path}, found no such file; check the path")
    try:
        with Image.open(path) as image:  # reads the header alone
            megapixels = image.width * image.height / 1e6
    except Image.DecompressionBombError:
        megapixels = None
    except Exception as error:  # Pillow's readers raise whatever a stranger's bytes lead them to
        raise InputError(f"expected a picture at {path}, found a file that is none; leave it out") from error
    if megapixels is None or megapixels > MOST_MEGAPIXELS:
        found = "more than 178" if megapixels is None else f"{megapixels:.0f}"
        raise InputError(
            f"expected a picture of at most {MOST_MEGAPIXELS} megapixels at {path}, found {found}; make it smaller"
        )
    return load_image(path)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a list of many paths is too long a name for one
        return False
