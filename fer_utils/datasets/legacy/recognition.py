"""Which dataset stands in a folder, told by its content, and one line that says so where it is not the expected one."""

import os
import tarfile
import zipfile
from pathlib import Path

from fer_utils.core import InputError
from fer_utils.core import NUM_CLASSES, find_label

TITLES = {
    "affectnet": "AffectNet",
    "fer2013": "FER2013",
    "ferplus": "FER+",
    "rafdb": "RAF-DB",
    "folder": "class folders",
}
SPLIT_FOLDERS = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
    "testing": "test",
}
_NUMBERS = {str(label) for label in range(NUM_CLASSES)}
_FERPLUS = {"FER2013Train", "FER2013Valid", "FER2013Test", "fer2013new.csv"}
_FER2013 = {"fer2013.csv", "icml_face_data.csv"}
_AFFECTNET = {"training.csv", "validation.csv", "train_set", "val_set"}


def recognise(root) -> str:
    """Tell which dataset a folder holds.

    Args:
        root: the folder.

    Returns:
        A key of `TITLES`, which `fer_utils.datasets.read_dataset` takes.

    Raises:
        InputError: if it holds none of them.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name in ("Happy", "sadness"):
        ...         os.mkdir(f"{folder}/{name}")
        ...     recognise(folder)
        'folder'
    """
    root = Path(root)
    dataset = _looks_like(root)
    if dataset is None:
        known = ", ".join(TITLES.values())
        raise InputError(f"expected the folder of a dataset ({known}) at {root}, found {found_instead(root)}")
    return dataset


def found_instead(root: Path, wanted: str | None = None) -> str:
    """What stands at `root` instead of the dataset `wanted`, and what to do about it: the end of an error's line."""
    if not os.path.exists(root):
        return "no such folder; check the path"
    if not os.path.isdir(root):
        archive = os.path.isfile(root) and (zipfile.is_zipfile(root) or tarfile.is_tarfile(root))
        return "an archive; unpack it and give the folder" if archive else "a file; give the folder"
    names = sorted(_inside(root))
    if not names:
        return f"an empty folder; put {TITLES.get(wanted, 'the dataset')} there or check the path"
    return misplaced(root, wanted) or f"{', '.join(names[:3])}{', …' if len(names) > 3 else ''}; check the path"


def misplaced(root: Path, wanted: str | None) -> str | None:
    """Where the dataset `wanted` is below `root`, or which other one stands there; None if neither can be told."""
    for folder in (root / name for name in sorted(_inside(root))):
        if _looks_like(folder) in (TITLES if wanted is None else {wanted}):
            return f"it one level deeper; give {folder}"
    dataset = _looks_like(root)
    if dataset in (None, wanted):
        return None
    return f"what looks like {TITLES[dataset]}; give the folder of {TITLES[wanted]}, or name the right dataset"


def _looks_like(root: Path) -> str | None:
    names = _inside(root)
    if _FERPLUS & (names | _inside(root / "data")):
        return "ferplus"
    if _AFFECTNET & names or any(name.startswith("Manually_Annotated") for name in names):
        return "affectnet"
    if "EmoLabel" in names or "aligned" in _inside(root / "Image"):
        return "rafdb"
    if _FER2013 & (names | _inside(root / "fer2013")):
        return "fer2013"
    folders = _folders(root)
    if any(name.lower() in SPLIT_FOLDERS for name in folders):
        folders = [name for split in folders if split.lower() in SPLIT_FOLDERS for name in _folders(root / split)]
    classes = [name for name in folders if find_label(name) is not None or name in _NUMBERS]
    return "folder" if len(classes) > 1 and 2 * len(classes) >= len(folders) else None


def _inside(folder: Path) -> set[str]:
    """What a folder holds; nothing where there is no folder or it may not be read."""
    try:
        return {*os.listdir(folder)}
    except OSError:
        return set()


def _folders(root: Path) -> list[str]:
    return [name for name in _inside(root) if not name.startswith(".") and os.path.isdir(root / name)]
