"""Images in folders: RAF-DB, class folders, people; and which dataset it is that a folder holds."""

import os
import tarfile
import zipfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from fer_utils.core import (
    CODINGS,
    EXPRESSIONS,
    NUM_CLASSES,
    InputError,
    check_choice,
    find_label,
    to_labels,
)
from fer_utils.datasets.lists import ON_BAD_IMAGE, check_names, check_once, list_images, to_manifest
from fer_utils.datasets.pixel_rows import bad_row

TITLES = {"affectnet": "AffectNet", "fer2013": "FER2013", "ferplus": "FER+", "rafdb": "RAF-DB"}
TITLES["folder"] = "class folders"
SPLIT_FOLDERS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}
RAFDB_LISTS = ("list_patition_label.txt", "list_partition_label.txt")
_RAFDB_CODES = {str(code): code for code in CODINGS["rafdb"]}
_NUMBERS = {str(label) for label in range(NUM_CLASSES)}
_CLASSES = "class folders with images inside (<class>/*.jpg, or train/<class>/*.jpg and test/…)"
_PEOPLE = (
    "a folder a person with images inside (<person>/*.jpg, or train/<person>/*.jpg and test/…)"
)
_FERPLUS = ("FER2013Train", "FER2013Valid", "FER2013Test", "fer2013new.csv")
_FER2013 = ("fer2013.csv", "icml_face_data.csv")
_MARKS = {  # one of these, below the folder, is enough
    "ferplus": (*_FERPLUS, *(f"data/{name}" for name in _FERPLUS)),
    "affectnet": ("training.csv", "validation.csv", "train_set", "val_set"),
    "rafdb": ("EmoLabel", "Image/aligned"),
    "fer2013": (*_FER2013, *(f"fer2013/{name}" for name in _FER2013)),
}


def recognise(root: str | os.PathLike) -> str:
    """Which dataset a folder holds, by its content: a key of `TITLES`; `InputError` if none."""
    root = Path(root)
    dataset = _looks_like(root)
    if dataset is None:
        raise no_dataset(f"the folder of a dataset ({', '.join(TITLES.values())})", root)
    return dataset


def no_dataset(expected: str, root: Path, wanted: str | None = None) -> InputError:
    """The error where something else than `wanted` stands at `root`."""
    return InputError(f"expected {expected} at {root}, found {found_instead(root, wanted)}")


def found_instead(root: Path, wanted: str | None = None) -> str:
    """What stands at `root` instead of `wanted`, and what to do: the end of an error's line."""
    if not os.path.exists(root):
        return "no such folder; check the path"
    if not os.path.isdir(root):
        archive = os.path.isfile(root) and (zipfile.is_zipfile(root) or tarfile.is_tarfile(root))
        return f"{'an archive; unpack it and' if archive else 'a file;'} give the folder"
    names = sorted(_inside(root))
    if not names:
        return f"an empty folder; put {TITLES.get(wanted, 'the images')} there or check the path"
    some = f"{', '.join(names[:3])}{', …' if len(names) > 3 else ''}; check the path"
    return _misplaced(root, wanted) or some


def _misplaced(root: Path, wanted: str | None) -> str | None:
    """Where `wanted` is below `root`, or which other dataset stands there, if that can be told."""
    for folder in (root / name for name in sorted(_inside(root))):
        if _looks_like(folder) in (TITLES if wanted is None else {wanted}):
            return f"it one level deeper; give {folder}"
    other = _looks_like(root)
    if other in (None, wanted):
        return None
    right = f"give the folder of {TITLES[wanted]}, or " if wanted in TITLES else ""
    return f"what looks like {TITLES[other]}; {right}name the right dataset"


def _looks_like(root: Path) -> str | None:
    for dataset, marks in _MARKS.items():
        if any(os.path.exists(root / mark) for mark in marks):
            return dataset
    if any(name.startswith("Manually_Annotated") for name in _inside(root)):
        return "affectnet"
    folders = _folders(root)
    splits = [name for name in folders if name.lower() in SPLIT_FOLDERS]
    if splits:
        folders = [name for split in splits for name in _folders(root / split)]
    classes = [name for name in folders if find_label(name) is not None or name in _NUMBERS]
    return "folder" if _mostly(classes, folders) else None


def _mostly(classes: Iterable[str], names: Iterable[str]) -> bool:
    """Whether these names of folders are those of classes."""
    return len(classes) > 1 and len(names) <= 2 * len(classes)


def _inside(folder: Path) -> set[str]:
    """What a folder holds; nothing where there is no folder or it may not be read."""
    try:
        return {*os.listdir(folder)}
    except OSError:
        return set()


def _folders(root: Path) -> list[str]:
    return [n for n in _inside(root) if not n.startswith(".") and os.path.isdir(root / n)]


def read_rafdb(root, check_images: bool = True, on_bad_image: str = "raise") -> pd.DataFrame:
    """RAF-DB's single-label part: 12,271 training, 3,068 test images of seven classes.

    None shows contempt, and there is no validation split: `official` draws one from training.

    Args:
        root: the folder of `EmoLabel/` and `Image/` (RAF-DB's `basic/`).

    Returns:
        Manifest in the order of the list, of the aligned images where these stand, else of the
        original ones.
    """
    check_choice("on_bad_image", on_bad_image, ON_BAD_IMAGE)
    root = Path(root)
    paths = [root / "EmoLabel" / name for name in RAFDB_LISTS]
    path = next(filter(os.path.isfile, paths), None)
    if path is None:
        raise no_dataset(f"RAF-DB (EmoLabel/{RAFDB_LISTS[0]})", root, "rafdb")
    table = _read_rafdb_list(path)
    stems = table["image"].str.removesuffix(".jpg")
    original = os.path.isdir(root / "Image/original") and not os.path.isdir(root / "Image/aligned")
    kind, ending = ("original", ".jpg") if original else ("aligned", "_aligned.jpg")
    table["image"] = f"Image/{kind}/" + stems + ending
    table.attrs = {"dataset": "rafdb", "root": str(root.resolve())}
    return to_manifest(table, {"train": path, "test": path}, check_images, on_bad_image)


def _read_rafdb_list(path: Path) -> pd.DataFrame:
    found = []
    with open(path, encoding="utf-8-sig", errors="replace") as file:
        for row, line in enumerate(file, start=1):
            words = line.split()
            split = words[0].partition("_")[0] if words else None
            if not words:
                continue
            if len(words) != 2 or split not in ("train", "test") or words[1] not in _RAFDB_CODES:
                expected = "a name that begins with train_ or test_ and a label from 1 to 7"
                raise bad_row(path, row, expected, repr(line.strip()[:80]))
            found.append((words[0], _RAFDB_CODES[words[1]], split, row))
    if not found:
        raise InputError(f"expected rows of a name and a label in {path}, found none; restore it")
    table = pd.DataFrame(found, columns=["image", "label", "split", "row"])
    names = table.set_index("row")["image"]
    check_names(names, path)
    check_once(names, path)
    return table.assign(label=to_labels(table["label"], "rafdb"))


def read_folder(
    root, check_images: bool = True, on_bad_image: str = "raise", coding: str = "affectnet"
) -> pd.DataFrame:
    """Class folders, with or without split folders above. Names decide, never their order.

    Args:
        root: the folder.
        coding: whose numbers those folders have that are called by a number alone: "affectnet" (the
            paper's order, 0 neutral … 7 contempt), "fer2013" (0 anger …) or "rafdb" (1 surprise …).
            In `0_neutral` the name counts.

    Returns:
        Manifest in the order of the paths; classes go by any of `fer_utils.core.SPELLINGS`. Without
        split folders all images train. ``attrs["note"]`` where folders are called by numbers.
    """
    check_choice("on_bad_image", on_bad_image, ON_BAD_IMAGE)
    check_choice("coding", coding, ("affectnet", "fer2013", "rafdb"))
    root, images = Path(root), _list(root, _CLASSES, "folder")
    splits, names = _splits_and_classes(root, images)
    numbers = sorted({name for name in names if name.isdecimal()})
    if coding == "affectnet" and numbers == list("1234567"):
        found = "1 to 7, as RAF-DB numbers its classes; give coding='rafdb', or name the folders"
        raise InputError(f"expected class folders 0 to 7 at {root}, found {found}")
    labels = {name: _class_label(root, name, coding) for name in sorted({*names})}
    table = pd.DataFrame({"image": images, "label": [labels[n] for n in names], "split": splits})
    _check_one_folder_a_class(root, table.assign(name=names))
    table.attrs = {"dataset": "folder", "root": str(root.resolve())}
    if numbers:
        table.attrs["note"] = (
            f"class folders called by numbers ({', '.join(numbers)}) were read in the coding "
            f"{coding!r}; look at samples of each class"
        )
    return to_manifest(table, {}, check_images, on_bad_image)


def _list(root: Path, expected: str, wanted: str) -> list[str]:
    images = list_images(root) if os.path.isdir(root) else []
    if not images:
        raise no_dataset(expected, root, wanted)
    return images


def _splits_and_classes(root: Path, images: list[str]) -> tuple[list[str], list[str]]:
    """Split and class folder of each image, out of its path."""
    paths = [image.split("/") for image in images]
    split_above = any(len(path) > 1 and path[0].lower() in SPLIT_FOLDERS for path in paths)
    for image, path in zip(images, paths, strict=True):
        if len(path) < 2 + split_above:
            found = f"{image!r} outside them; move it to its class"
            raise InputError(f"expected {_CLASSES} at {root}, found {found}")
        if split_above:
            check_choice(f"folder beside the splits in {root}:", path[0].lower(), SPLIT_FOLDERS)
    if not split_above:
        return ["train"] * len(images), [path[0] for path in paths]
    return [SPLIT_FOLDERS[path[0].lower()] for path in paths], [path[1] for path in paths]


def _class_label(root: Path, name: str, coding: str) -> int:
    label = to_labels([int(name)], coding)[0] if name.isdecimal() else find_label(name)
    if label is None or label < 0:
        if _misplaced(root, "folder"):
            raise no_dataset(_CLASSES, root, "folder")
        check_choice(f"class folder in {root}:", name, EXPRESSIONS)
    return label


def _check_one_folder_a_class(root: Path, table: pd.DataFrame) -> None:
    """Of two folders of one class in a split, one is likely to mean another."""
    for (split, label), names in table.groupby(["split", "label"])["name"]:
        if names.nunique() > 1:
            first, second = sorted(names.unique())[:2]
            found = f"{first!r} and {second!r} for {EXPRESSIONS[label]!r} ({split}); rename one"
            raise InputError(f"expected one folder a class at {root}, found {found}")


def read_identities(
    root, min_images: int = 1, check_images: bool = True, on_bad_image: str = "raise"
) -> pd.DataFrame:
    """People, a folder each (LFW, VGGFace2); nobody noted their expressions: every label is −1.

    Where `train` and `test` stand above the people, splits follow them, and the test people must be
    others; else all train. Folders that hold one folder and nothing else are passed through.

    Args:
        root: the folder.
        min_images: people with fewer images, readable or not, are left out.

    Returns:
        Manifest in the order of the paths, with `subject`, the folder's name. In its attrs
        `min_images`, `people`, `people_left_out` and `images_left_out`.
    """
    if not isinstance(min_images, int) or isinstance(min_images, bool) or min_images < 1:
        raise InputError(f"expected min_images, a whole number from 1 up; found {min_images!r}")
    check_choice("on_bad_image", on_bad_image, ON_BAD_IMAGE)
    root, images = Path(root), _list(root, _PEOPLE, "identities")
    splits, people = _splits_and_people(root, images)
    table = pd.DataFrame({"image": images, "label": -1, "split": splits, "subject": people})
    _check_people(root, table)

    numbers = pd.factorize(table["subject"])[0]
    sizes = np.bincount(numbers)
    several, kept = int((sizes >= min_images).sum()), (sizes >= min_images)[numbers]
    if several < 2:
        found = f"{several} among {len(sizes)} ({sizes.max()} images at most); lower min_images"
        raise InputError(f"expected two people with {min_images} images at {root}, found {found}")
    table = table[kept].reset_index(drop=True)
    table.attrs = {
        "dataset": "identities",
        "root": str(root.resolve()),
        "min_images": min_images,
        "people": several,
        "people_left_out": len(sizes) - several,
        "images_left_out": int((~kept).sum()),
    }
    return to_manifest(table, {}, check_images, on_bad_image)


def _splits_and_people(root: Path, images: list[str]) -> tuple[list[str], list[str]]:
    """Split and person of each image, out of its path."""
    paths = [image.split("/") for image in images]
    level = 0  # of the people's folders
    while min(map(len, paths)) > level + 2 and len({path[level] for path in paths}) == 1:
        level += 1
    split_above = {path[level].lower() for path in paths} == {"train", "test"}
    person = level + split_above
    for image, path in zip(images, paths, strict=True):
        if len(path) != person + 2:
            found = "outside them; move it to its person"
            if len(path) > person + 2:
                found = "deeper; give the folder of the people"
            raise InputError(f"expected {_PEOPLE} at {root}, found {image} {found}")
    splits = [path[level].lower() if split_above else "train" for path in paths]
    return splits, [path[person] for path in paths]


def _check_people(root: Path, table: pd.DataFrame) -> None:
    train, test = (set(table["subject"][table["split"] == split]) for split in ("train", "test"))
    names, both = train | test, train & test
    classes = sorted(name for name in names if find_label(name) is not None)
    found = None
    if _mostly(classes, names):
        found = f"classes of expression ({', '.join(classes[:3])}, …); name their dataset"
    elif len(names) == 1:
        found = f"{min(names)!r} alone; give the folder above"
    elif both:
        found = f"{min(both)!r} (and {len(both) - 1} more) in both; give the train folder alone"
    if found:
        raise InputError(
            f"expected a folder a person, others in test than in train, at {root}, found {found}"
        )
