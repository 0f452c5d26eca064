"""Images in folders: RAF-DB, class folders, people; and which dataset it is that a folder holds."""

import os
import tarfile
import zipfile
from pathlib import Path

import pandas as pd

from fer_utils.core import (
    EXPRESSIONS,
    InputError,
    check_choice,
    find_label,
    require,
    to_labels,
)
from fer_utils.datasets.images import list_images, to_manifest
from fer_utils.datasets.manifest import check_names, check_rows, read_columns

TITLES = {
    "affectnet": "AffectNet", "fer2013": "FER2013", "ferplus": "FER+", "rafdb": "RAF-DB",
    "folder": "class folders",
}  # fmt: skip
SPLIT_FOLDERS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}
RAFDB_LISTS = ("list_patition_label.txt", "list_partition_label.txt")
_RAFDB_ROW = r"^(?P<image>(?P<split>train|test)_\S+)\s+(?P<label>[1-7])$"
_NUMBERS = set("01234567")
_INSIDE = "with images inside (<{0}>/*.jpg, or train/<{0}>/*.jpg and test/…)"
_CLASSES = "class folders " + _INSIDE.format("class")
_PEOPLE = "a folder a person " + _INSIDE.format("person")
_MARKS = {  # one of these, below the folder, is enough
    "ferplus": ("FER2013[TV]*", "fer2013new.csv", "data/FER2013[TV]*", "data/fer2013new.csv"),
    "affectnet": ("training.csv", "validation.csv", "train_set", "val_set", "Manually_Annotated*"),
    "rafdb": ("EmoLabel", "Image/aligned"),
    "fer2013": ("fer2013.csv", "icml_face_data.csv", "fer2013/fer2013.csv"),
}


def recognise(root: str | os.PathLike) -> str:
    """Which dataset a folder holds, by its content: a key of `TITLES`; `InputError` if none."""
    dataset = _looks_like(Path(root))
    if dataset is None:
        raise no_dataset(f"the folder of a dataset ({', '.join(TITLES.values())})", Path(root))
    return dataset


def no_dataset(expected: str, root: Path, wanted: str | None = None) -> InputError:
    """The error where something else than the dataset `wanted` stands at `root`."""
    names = _inside(root)
    if os.path.isfile(root):
        archive = zipfile.is_zipfile(root) or tarfile.is_tarfile(root)
        found = f"{'an archive; unpack it and' if archive else 'a file;'} give the folder"
    elif not os.path.isdir(root):
        found = "no such folder; check the path"
    elif not names:
        found = "an empty folder; check the path"
    else:
        some = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
        found = _misplaced(root, wanted) or f"{some}; check the path"
    return InputError(f"expected {expected} at {root}, found {found}")


def _misplaced(root: Path, wanted: str | None) -> str | None:
    """Where `wanted` is below `root`, or which other dataset stands there, if that can be told."""
    for folder in (root / name for name in _inside(root)):
        if _looks_like(folder) in (TITLES if wanted is None else {wanted}):
            return f"it one level deeper; give {folder}"
    other = _looks_like(root)
    if other in (None, wanted):
        return None
    return f"what looks like {TITLES[other]}; name that dataset, or give another folder"


def _looks_like(root: Path) -> str | None:
    for dataset, marks in _MARKS.items():
        if any(next(root.glob(mark), None) for mark in marks):
            return dataset
    folders = _inside(root, folders=True)
    splits = [name for name in folders if name.lower() in SPLIT_FOLDERS]
    if splits:
        folders = [name for split in splits for name in _inside(root / split, True)]
    classes = [name for name in folders if find_label(name) is not None or name in _NUMBERS]
    return "folder" if len(classes) > 1 and len(folders) <= 2 * len(classes) else None


def _inside(folder: Path, folders: bool = False) -> list[str]:
    """What a folder holds, or the folders in it; nothing where it may not be read."""
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return []
    return [n for n in names if n[0] != "." and os.path.isdir(folder / n)] if folders else names


def read_rafdb(root, check_images: bool = True, on_bad_image: str = "raise") -> pd.DataFrame:
    """RAF-DB's single-label part: 12,271 training, 3,068 test images of seven classes.

    None shows contempt, and there is no validation split: `official` draws one from training.
    Images are the aligned ones where these stand, else the original ones.

    Args:
        root: the folder of `EmoLabel/` and `Image/` (RAF-DB's `basic/`).
    """
    root = Path(root)
    paths = [root / "EmoLabel" / name for name in RAFDB_LISTS]
    path = next(filter(os.path.isfile, paths), None)
    if path is None:
        raise no_dataset(f"RAF-DB (EmoLabel/{RAFDB_LISTS[0]})", root, "rafdb")
    lines = read_columns(path, ["row"])["row"]
    table = lines.str.extract(_RAFDB_ROW)[["image", "label", "split"]]
    names, named = table["image"], table["image"].notna()
    check_rows(named, lines, "a name that begins with train_ or test_ and a label from 1 to 7")
    check_names(names)
    original = os.path.isdir(root / "Image/original") and not os.path.isdir(root / "Image/aligned")
    kind, ending = ("original", ".jpg") if original else ("aligned", "_aligned.jpg")
    table["image"] = f"Image/{kind}/" + names.str.removesuffix(".jpg") + ending
    table["label"] = to_labels(table["label"].astype(int), "rafdb")
    table.attrs = {"dataset": "rafdb", "root": str(root.resolve())}
    return to_manifest(table, check_images, on_bad_image)


def read_folder(
    root, check_images: bool = True, on_bad_image: str = "raise", coding: str = "affectnet"
) -> pd.DataFrame:
    """Class folders, with or without split folders above. Names decide, never their order.

    Classes go by any of `fer_utils.core.SPELLINGS`. Without split folders all images train.

    Args:
        coding: whose numbers those folders have that are called by a number alone: "affectnet" (the
            paper's order, 0 neutral … 7 contempt), "fer2013" (0 anger …) or "rafdb" (1 surprise …).
            Then ``attrs["note"]`` says so. In `0_neutral` the name counts.
    """
    check_choice("coding", coding, ("affectnet", "fer2013", "rafdb"))
    root, images = Path(root), pd.Series(list_images(root), dtype=str)
    if images.empty:
        raise no_dataset(_CLASSES, root, "folder")
    parts = images.str.split("/")
    splits = parts.str[0].str.lower().map(SPLIT_FOLDERS)
    above = int(splits.notna().any())  # whether split folders stand above the classes
    outside = images[parts.str.len() < 2 + above]
    if len(outside):
        found = f"{outside.iloc[0]!r} outside them; move it to its class"
        raise InputError(f"expected {_CLASSES} at {root}, found {found}")
    if above and splits.isna().any():
        name = parts[splits.isna()].iloc[0][0].lower()
        check_choice(f"folder beside the splits in {root}:", name, SPLIT_FOLDERS)
    names = parts.str[above]
    numbers = sorted({name for name in names if name.isdecimal()})
    found = "1 to 7, as RAF-DB numbers its classes; give coding='rafdb', or name the folders"
    plausible = coding != "affectnet" or numbers != list("1234567")
    require(plausible, f"class folders 0 to 7 at {root}", found)
    labels = {name: _class_label(root, name, coding) for name in sorted({*names})}
    table = pd.DataFrame({"image": images, "label": names.map(labels)})
    table["split"] = splits if above else "train"
    for (split, label), own in names.groupby([table["split"], table["label"]]):
        if own.nunique() > 1:  # one of them is likely to mean another class
            first, second = sorted({*own})[:2]
            found = f"{first!r} and {second!r} for {EXPRESSIONS[label]!r} ({split}); rename one"
            raise InputError(f"expected one folder a class at {root}, found {found}")
    table.attrs = {"dataset": "folder", "root": str(root.resolve())}
    if numbers:
        called = f"class folders called by numbers ({', '.join(numbers)})"
        table.attrs["note"] = f"{called} were read in the coding {coding!r}; look at some of each"
    return to_manifest(table, check_images, on_bad_image)


def _class_label(root: Path, name: str, coding: str) -> int:
    label = to_labels([int(name)], coding)[0] if name.isdecimal() else find_label(name)
    if label in (None, -1) and _misplaced(root, "folder"):
        raise no_dataset(_CLASSES, root, "folder")
    if label in (None, -1):
        check_choice(f"class folder in {root}:", name, EXPRESSIONS)
    return label


def read_identities(
    root, min_images: int = 1, check_images: bool = True, on_bad_image: str = "raise"
) -> pd.DataFrame:
    """People, a folder each (LFW, VGGFace2); nobody noted their expressions: every label is −1.

    Where `train` and `test` stand above the people, splits follow them, and the test people must be
    others; else all train. Folders that hold one folder and nothing else are passed through.

    `subject` is the folder's name. People with fewer images than `min_images`, readable or not, are
    left out, and counted in the attrs.
    """
    good = type(min_images) is int and min_images >= 1
    require(good, "min_images, a whole number from 1 up", repr(min_images))
    root, images = Path(root), pd.Series(list_images(root), dtype=str)
    if images.empty:
        raise no_dataset(_PEOPLE, root, "identities")
    parts = images.str.split("/")
    level = 0  # of the people's folders
    while parts.str.len().min() > level + 2 and parts.str[level].nunique() == 1:
        level += 1
    folders = parts.str[level].str.lower()
    above = {*folders} == {"train", "test"}  # whether these stand above the people
    level += above
    for image, depth in zip(images, parts.str.len(), strict=True):
        if depth != level + 2:
            deeper = depth > level + 2
            where = "deeper; give the folder of the people" if deeper else "outside them; move it"
            raise InputError(f"expected {_PEOPLE} at {root}, found {image} {where}")
    table = pd.DataFrame({"image": images, "label": -1, "split": folders if above else "train"})
    table["subject"] = parts.str[level]
    _check_people(root, table)

    sizes = table["subject"].value_counts()
    several, kept = int((sizes >= min_images).sum()), table["subject"].map(sizes) >= min_images
    found = f"{several} among {len(sizes)} ({sizes.max()} images at most); lower min_images"
    require(several > 1, f"two people with {min_images} images at {root}", found)
    table = table[kept].reset_index(drop=True)
    table.attrs = {"dataset": "identities", "root": str(root.resolve()), "min_images": min_images}
    table.attrs |= {"people": several, "people_left_out": len(sizes) - several}
    table.attrs["images_left_out"] = int((~kept).sum())
    return to_manifest(table, check_images, on_bad_image)


def _check_people(root: Path, table: pd.DataFrame) -> None:
    train, test = (set(table["subject"][table["split"] == split]) for split in ("train", "test"))
    names, both, found = train | test, train & test, None
    classes = sorted(name for name in names if find_label(name) is not None)
    if len(classes) > 1 and len(names) <= 2 * len(classes):
        found = f"classes of expression ({', '.join(classes[:3])}, …); name their dataset"
    elif len(names) == 1:
        found = f"{min(names)!r} alone; give the folder above"
    elif both:
        found = f"{min(both)!r} (and {len(both) - 1} more) in both; give the train folder alone"
    require(not found, f"a folder a person, others in test than in train, at {root}", found)
