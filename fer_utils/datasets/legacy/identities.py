"""People in folders, a folder a person (LFW, VGGFace2): what a network is pre-trained on."""

import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd

from fer_utils.datasets.legacy.checking import ON_BAD_IMAGE, to_manifest
from fer_utils.datasets.legacy.listing import list_images
from fer_utils.core import InputError, check_choice
from fer_utils.core import find_label

_EXPECTED = "a folder a person with images inside (<person>/*.jpg, or train/<person>/*.jpg and test/<person>/*.jpg)"


def read_identities(root, min_images: int = 1, check_images: bool = True, on_bad_image: str = "raise") -> pd.DataFrame:
    """Read a folder of people to a manifest; nobody noted their expressions, so every label is −1.

    Where `train` and `test` folders stand above the people, the splits follow them, and the test people must be others
    (VGGFace2's are); else all images are for training. Folders that hold nothing but one folder (VGGFace2's `data/`)
    are passed through.

    Args:
        root: the folder.
        min_images: people with fewer images (readable or not) are left out.
        check_images: open every image that is kept; False reads the list of files alone.
        on_bad_image: ``"raise"`` an error for an undecodable image, or ``"skip"`` it.

    Returns:
        Manifest in the order of the paths, with `subject` (the folder's name). In its attrs: `min_images`, `people`,
        `people_left_out`, `images_left_out` and, if `check_images`, `bad_images`.

    Raises:
        InputError: if `root` is absent, empty, an archive, or holds classes of expression instead of people; for an
            image outside a person's folder, a person in both splits, fewer than two people with `min_images` images, or
            an unreadable image.

    Example:
        >>> import os
        >>> import tempfile
        >>> from PIL import Image
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name in ("Ada/1.png", "Ada/2.png", "Bo/1.png", "Cy/1.png", "Cy/2.png"):
        ...         os.makedirs(os.path.dirname(f"{folder}/{name}"), exist_ok=True)
        ...         Image.new("L", (4, 4)).save(f"{folder}/{name}")
        ...     manifest = read_identities(folder, min_images=2)
        >>> manifest["subject"].tolist(), manifest.attrs["people_left_out"]
        (['Ada', 'Ada', 'Cy', 'Cy'], 1)
    """
    if not isinstance(min_images, int) or isinstance(min_images, bool) or min_images < 1:
        raise InputError(f"expected min_images, a whole number of at least 1; found {min_images!r}")
    check_choice("on_bad_image", on_bad_image, ON_BAD_IMAGE)
    root = Path(root)
    images = list_images(root) if root.is_dir() else []
    if not images:
        raise InputError(f"expected {_EXPECTED} at {root}, found {_describe(root)}")
    manifest = pd.DataFrame({"image": images, "label": -1, **_splits_and_people(images, root)})
    _check_people(manifest, root)

    numbers, _ = pd.factorize(manifest["subject"])
    sizes = np.bincount(numbers)
    kept = (sizes >= min_images)[numbers]
    people = int((sizes >= min_images).sum())
    if people < 2:
        raise InputError(
            f"expected two people or more with at least {min_images} images each at {root}, found {people} among "
            f"{len(sizes)} ({sizes.max()} images at most); lower min_images"
        )
    manifest = manifest[kept].reset_index(drop=True)
    manifest.attrs = {
        "dataset": "identities",
        "root": str(root.resolve()),
        "min_images": min_images,
        "people": people,
        "people_left_out": len(sizes) - people,
        "images_left_out": int((~kept).sum()),
    }
    return to_manifest(manifest, {}, check_images, on_bad_image)


def sample_people(manifest: pd.DataFrame, people: int = 5, per_person: int = 8, seed: int = 0) -> pd.DataFrame:
    """Random rows of random people, person by person, for looking at; those who fill their row go first.

    Args:
        manifest: a manifest with `subject`.
        people: how many.
        per_person: images of each, or all there are.
        seed: draws both.

    Example:
        >>> manifest = pd.DataFrame({"image": range(5), "label": -1, "split": "train", "subject": list("abbcc")})
        >>> sample_people(manifest, people=2, per_person=2)["subject"].tolist()
        ['b', 'b', 'c', 'c']
    """
    rows = manifest.sample(frac=1, random_state=seed).groupby("subject").head(per_person)
    fullest = rows["subject"].value_counts(sort=False).sort_values(ascending=False, kind="stable").index[:people]
    rows = rows[rows["subject"].isin(fullest)].sort_values("subject", kind="stable").reset_index(drop=True)
    rows.attrs = manifest.attrs
    return rows


def _splits_and_people(images: list[str], root: Path) -> dict[str, list[str]]:
    """The columns `split` and `subject`, out of the paths."""
    paths = [image.split("/") for image in images]
    level = 0  # of the people's folders
    while min(map(len, paths)) > level + 2 and len({path[level] for path in paths}) == 1:
        level += 1
    split = level if {path[level].lower() for path in paths} == {"train", "test"} else None
    level += split is not None
    for image, path in zip(images, paths, strict=True):
        if len(path) < level + 2:
            raise InputError(f"expected {_EXPECTED} at {root}, found {image} outside them; move it to its person")
        if len(path) > level + 2:
            raise InputError(f"expected {_EXPECTED} at {root}, found {image} deeper; give the folder of the people")
    return {
        "split": ["train" if split is None else path[split].lower() for path in paths],
        "subject": [path[level] for path in paths],
    }


def _check_people(manifest: pd.DataFrame, root: Path) -> None:
    by_split = {split: set(rows.unique()) for split, rows in manifest.groupby("split")["subject"]}
    names = set().union(*by_split.values())
    classes = {name for name in names if find_label(name) is not None}
    if len(classes) > 1 and 2 * len(classes) >= len(names):
        raise InputError(
            f"expected a folder a person at {root}, found classes of expression ({', '.join(sorted(classes)[:3])}, …); "
            "name the dataset that these are, or give a folder of people"
        )
    if len(names) == 1:
        raise InputError(f"expected two people or more at {root}, found {names.pop()!r} alone; give the folder above")
    twice = by_split.get("train", set()) & by_split.get("test", set())
    if twice:
        raise InputError(
            f"expected other people in test than in train at {root}, found {min(twice)!r} (and {len(twice) - 1} more) "
            "in both; give the train folder alone"
        )


def _describe(root: Path) -> str:
    """What stands at `root` instead of people, and what to do about it."""
    if not root.exists():
        return "no such folder; check the path"
    if root.is_file():
        archive = zipfile.is_zipfile(root) or tarfile.is_tarfile(root)
        return "an archive; unpack it and give the folder" if archive else "a file; give the folder"
    names = sorted(entry.name for entry in root.iterdir())
    if not names:
        return "an empty folder; put the images there or check the path"
    return f"no image but {', '.join(names[:3])}{', …' if len(names) > 3 else ''}; check the path"
