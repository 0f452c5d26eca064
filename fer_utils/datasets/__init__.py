"""One reader per dataset, each returning a manifest (`fer_utils.datasets.manifest`), and the images behind it.

The parts load when first used: drawing faces reads no file, and nothing here imports torch before an image of a
`FaceDataset` is asked for.
"""

import importlib
import inspect
import os

from fer_utils.datasets.manifest import (
    check_manifest,
    class_counts,
    count_table,
    read_manifest,
    sample_rows,
    write_manifest,
)
from fer_utils.errors import InputError, check_choice

_HOMES = {
    "FaceDataset": "images",
    "load_images": "images",
    "read_affectnet": "affectnet",
    "read_fer2013": "fer2013",
    "read_ferplus": "ferplus",
    "read_folder": "folder",
    "read_identities": "identities",
    "read_rafdb": "rafdb",
    "read_synthetic": "synthetic",
    "recognise": "recognition",
    "remembered_checks": "remembering",
    "sample_people": "identities",
}
_READERS = {
    name: f"read_{name}" for name in ("affectnet", "fer2013", "ferplus", "folder", "identities", "rafdb", "synthetic")
}

__all__ = [
    "check_manifest",
    "class_counts",
    "count_table",
    "read_dataset",
    "read_manifest",
    "sample_rows",
    "write_manifest",
    *_HOMES,
]


def read_dataset(dataset, root=None, **options):
    """Read a dataset by its name, or one that its folder's content tells (`recognise`).

    Args:
        dataset: ``"affectnet"``, ``"fer2013"``, ``"ferplus"``, ``"folder"``, ``"identities"``, ``"rafdb"`` or
            ``"synthetic"``; or, alone, the folder of any but the last and identities.
        root: the dataset's folder; None (or empty) for drawn faces, which need none.
        **options: passed on to the dataset's reader, `read_…`.

    Returns:
        The manifest; ``attrs["dataset"]`` says which it is.

    Raises:
        InputError: for an unknown dataset or option, a folder that is not given or not needed, and whatever the
            reader finds wrong.

    Example:
        >>> read_dataset("ferpluss", "data/ferplus")
        Traceback (most recent call last):
        fer_utils.errors.InputError: unknown dataset 'ferpluss'; did you mean 'ferplus'? Choose from: ...
    """
    if not root and dataset not in _READERS and (os.path.exists(dataset) or os.path.dirname(dataset)):
        dataset, root = __getattr__("recognise")(dataset), dataset
    check_choice("dataset", dataset, _READERS)
    reader = __getattr__(_READERS[dataset])
    parameters = inspect.signature(reader).parameters
    for option in options:
        check_choice(f"option of dataset {dataset!r}", option, [name for name in parameters if name != "root"])
    if "root" not in parameters:
        if root:
            raise InputError(
                f"expected no folder for the dataset {dataset!r}, whose faces are drawn, found {str(root)!r}; "
                "leave the folder out or name the dataset that it holds"
            )
        return reader(**options)
    if not root:
        raise InputError(f"expected the folder of the dataset {dataset!r}, found none; say where its images are")
    return reader(root, **options)


def __getattr__(name: str):
    if name in _HOMES:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
