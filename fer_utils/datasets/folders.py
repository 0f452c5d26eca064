"""Images in folders: RAF-DB, class folders, people; and which dataset it is that a folder holds."""

import os
import tarfile
import zipfile
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from fer_utils.core import EXPRESSIONS, LABELS, InputError, check_choice, find_label, to_labels
from fer_utils.datasets.images import list_images, to_manifest
from fer_utils.datasets.lists import check_names, check_rows, read_columns

TITLES = {"affectnet": "AffectNet", "fer2013": "FER2013", "ferplus": "FER+", "rafdb": "RAF-DB"}
TITLES["folder"] = "class folders"
SPLIT_FOLDERS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}
RAFDB_LISTS = ("list_patition_label.txt", "list_partition_label.txt")
_RAFDB_ROW = r"^(?P<image>(?P<split>train|test)_\S+)\s+(?P<label>[1-7])$"
_NUMBERS = {str(label) for label in LABELS.values()}
_CLASSES = "class folders with images inside (<class>/*.jpg, or train/<class>/*.jpg and test/…)"
_PEOPLE = (
    "a folder a person with images inside (<person>/*.jpg, or train/<person>/*.jpg and test/…)"
)
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
    if os.path.isfile(root):
        archive = zipfile.is_zipfile(root) or tarfile.is_tarfile(root)
        found = f"{'an archive; unpack it and' if archive else 'a file;'} give the folder"
    elif not os.path.isdir(root):
        found = "no such folder; check the path"
    elif not _inside(root):
        found = "an empty folder; check the path"
    else:
        names = _inside(root)
        some = f"{', '.join(names[:3])}{', …' if len(names) > 3 else ''}; check the path"
        found = _misplaced(root, wanted) or some
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
    folders = _folders(root)
    splits = [name for name in folders if name.lower() in SPLIT_FOLDERS]
    if splits:
        folders = [name for split in splits for name in _folders(root / split)]
    classes = [name for name in folders if find_label(name) is not None or name in _NUMBERS]
    return "folder" if _mostly(classes, folders) else None


def _mostly(classes: Iterable[str], names: Iterable[str]) -> bool:
    """Whether these names of folders are those of classes."""
    return len(classes) > 1 and len(names) <= 2 * len(classes)


def _inside(folder: Path) -> list[str]:
    """What a folder holds; nothing where there is no folder or it may not be read."""
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []


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
    root = Path(root)
    paths = [root / "EmoLabel" / name for name in RAFDB_LISTS]
    path = next(filter(os.path.isfile, paths), None)
    if path is None:
        raise no_dataset(f"RAF-DB (EmoLabel/{RAFDB_LISTS[0]})", root, "rafdb")
    lines = read_columns(path, ["row"])["row"]
    table = lines.str.extract(_RAFDB_ROW)[["image", "label", "split"]]
    expected = "a name that begins with train_ or test_ and a label from 1 to 7"
    check_rows(table["image"].notna(), lines, expected)
    names = table["image"]
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

    Args:
        root: the folder.
        coding: whose numbers those folders have that are called by a number alone: "affectnet" (the
            paper's order, 0 neutral … 7 contempt), "fer2013" (0 anger …) or "rafdb" (1 surprise …).
            In `0_neutral` the name counts.

    Returns:
        Manifest in the order of the paths; classes go by any of `fer_utils.core.SPELLINGS`. Without
        split folders all images train. ``attrs["note"]`` where folders are called by numbers.
    """
    check_choice("coding", coding, ("affectnet", "fer2013", "rafdb"))
    root = Path(root)
    images = _list_images(root, _CLASSES, "folder")
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
    if coding == "affectnet" and numbers == list("1234567"):
        found = "1 to 7, as RAF-DB numbers its classes; give coding='rafdb', or name the folders"
        raise InputError(f"expected class folders 0 to 7 at {root}, found {found}")
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


def _list_images(root: Path, expected: str, wanted: str) -> pd.Series:
    images = list_images(root) if os.path.isdir(root) else []
    if not images:
        raise no_dataset(expected, root, wanted)
    return pd.Series(images)


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

    Args:
        root: the folder.
        min_images: people with fewer images, readable or not, are left out.

    Returns:
        Manifest in the order of the paths, with `subject`, the folder's name. In its attrs
        `min_images`, `people`, `people_left_out` and `images_left_out`.
    """
    if not isinstance(min_images, int) or isinstance(min_images, bool) or min_images < 1:
        raise InputError(f"expected min_images, a whole number from 1 up; found {min_images!r}")
    root = Path(root)
    images = _list_images(root, _PEOPLE, "identities")
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
    return to_manifest(table, check_images, on_bad_image)


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
