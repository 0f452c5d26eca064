"""Class folders: ``root/<class>/*``, with or without ``train/``, ``val/`` and ``test/`` above."""

import os
from pathlib import Path

import pandas as pd

from fer_utils.datasets.legacy.checking import ON_BAD_IMAGE, to_manifest
from fer_utils.datasets.legacy.listing import list_images
from fer_utils.datasets.legacy.recognition import SPLIT_FOLDERS, found_instead, misplaced
from fer_utils.core import InputError, check_choice
from fer_utils.core import EXPRESSIONS, find_label, to_labels

CODINGS = ("affectnet", "fer2013", "rafdb")
_EXPECTED = "class folders with images inside (<class>/*.jpg, or train/<class>/*.jpg and test/<class>/*.jpg)"


def read_folder(
    root, check_images: bool = True, on_bad_image: str = "raise", coding: str = "affectnet"
) -> pd.DataFrame:
    """Read a folder of class folders to a manifest. Names decide the class, never their alphabetical order.

    Args:
        root: the folder.
        check_images: open every image; False reads the list of files alone.
        on_bad_image: ``"raise"`` an error for an undecodable image, or ``"skip"`` it.
        coding: whose numbers the folders have that are called by a number alone: ``"affectnet"`` (the paper's order, 0
            neutral … 7 contempt), ``"fer2013"`` (0 anger …) or ``"rafdb"`` (1 surprise …). Folders with names do not
            need it, nor does ``0_neutral``, where the name counts.

    Returns:
        Manifest in the order of the paths. Classes go by any of `fer_utils.expressions.SPELLINGS`; without split
        folders every image is for training. In its attrs, `note` where folders are called by numbers alone and, if
        `check_images`, `bad_images`.

    Raises:
        InputError: if `root` is absent, empty or holds no images; for a folder with images that is no class or split,
            numbers that are RAF-DB's rather than the paper's, two folders of one class, an image outside the class
            folders, or an unreadable image.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name in ("Train/happiness/1.jpg", "Train/Angry/1.jpg", "Test/0_neutral/1.jpg"):
        ...         os.makedirs(os.path.dirname(f"{folder}/{name}"))
        ...         open(f"{folder}/{name}", "w").close()
        ...     read_folder(folder, check_images=False)[["image", "label", "split"]].values.tolist()
        [['Test/0_neutral/1.jpg', 0, 'test'], ['Train/Angry/1.jpg', 6, 'train'], ['Train/happiness/1.jpg', 1, 'train']]
    """
    check_choice("on_bad_image", on_bad_image, ON_BAD_IMAGE)
    check_choice("coding", coding, CODINGS)
    root = Path(root)
    images = list_images(root) if os.path.isdir(root) else []
    if not images:
        raise InputError(f"expected {_EXPECTED} at {root}, found {found_instead(root, 'folder')}")
    splits, names = _splits_and_names(root, images)
    numbers = sorted({name for name in names if name.isdecimal()})
    if coding == "affectnet" and numbers == list("1234567"):
        raise InputError(
            f"expected class folders 0 to 7 in the paper's order at {root}, found 1 to 7, as RAF-DB numbers its "
            "classes; give coding='rafdb' if they are RAF-DB's, or name the folders by their classes"
        )
    labels = {name: _label(root, name, coding) for name in sorted({*names})}
    _check_once(root, {*zip(splits, names, strict=True)}, labels)

    table = pd.DataFrame({"image": images, "label": [labels[name] for name in names], "split": splits})
    table.attrs = {"dataset": "folder", "root": str(root.resolve())}
    if numbers:
        table.attrs["note"] = (
            f"class folders called by numbers ({', '.join(numbers)}) were read in the coding {coding!r}; numbers do "
            "not say whose they are: look at samples of each class"
        )
    return to_manifest(table, {}, check_images, on_bad_image)


def _splits_and_names(root: Path, images: list[str]) -> tuple[list[str], list[str]]:
    """Split and class folder of each image, out of its path."""
    paths = [image.split("/") for image in images]
    split_above = any(len(path) > 1 and path[0].lower() in SPLIT_FOLDERS for path in paths)
    for image, path in zip(images, paths, strict=True):
        if len(path) < 2 + split_above:
            raise InputError(f"expected {_EXPECTED} at {root}, found {image!r} outside them; move it to its class")
        if split_above:
            check_choice(f"folder beside the split folders in {root}:", path[0].lower(), SPLIT_FOLDERS)
    if not split_above:
        return ["train"] * len(images), [path[0] for path in paths]
    return [SPLIT_FOLDERS[path[0].lower()] for path in paths], [path[1] for path in paths]


def _label(root: Path, name: str, coding: str) -> int:
    label = to_labels([int(name)], coding)[0] if name.isdecimal() else find_label(name)
    if label is None or label < 0:
        found = misplaced(root, "folder")
        if found:
            raise InputError(f"expected {_EXPECTED} at {root}, found {found}")
        check_choice(f"class folder in {root}:", name, EXPRESSIONS)
    return label


def _check_once(root: Path, folders: set[tuple[str, str]], labels: dict[str, int]) -> None:
    """No split has two folders of one class: one of them is likely to mean another."""
    seen = {}
    for split, name in sorted(folders):
        other = seen.setdefault((split, labels[name]), name)
        if other != name:
            raise InputError(
                f"expected one folder a class at {root}, found {other!r} and {name!r} for "
                f"{EXPRESSIONS[labels[name]]!r} ({split}); rename or merge them"
            )
