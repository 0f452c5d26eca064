"""Datasets: readers that return manifests, the images behind these, their splits and an audit."""

# ruff: noqa: F401, I001
import inspect
import os

import pandas as pd

from fer_utils.core import InputError, check_choice
from fer_utils.datasets.affectnet import read_affectnet
from fer_utils.datasets.duplicates import Audit, audit, count_duplicates, group_held_out
from fer_utils.datasets.ferplus import read_fer2013, read_ferplus
from fer_utils.datasets.folders import read_folder, read_identities, read_rafdb, recognise
from fer_utils.datasets.images import hash_images, load_images, load_squares, remembered_checks
from fer_utils.datasets.images import with_margin
from fer_utils.datasets.manifest import SPLITS, check_manifest, class_counts, count_table
from fer_utils.datasets.manifest import read_manifest, sample_people, sample_rows, vote_shares
from fer_utils.datasets.manifest import write_manifest
from fer_utils.datasets.splits import hold_out_subjects, hold_out_within_subjects, k_fold, official
from fer_utils.datasets.splits import paper_protocol, remove_training_leaks, subsample, without
from fer_utils.datasets.synthetic import Draws, draw_examples, draw_manifest, read_synthetic

_OF_FILES = (read_affectnet, read_fer2013, read_ferplus, read_folder, read_identities, read_rafdb)
_READERS = {reader.__name__[len("read_") :]: reader for reader in (*_OF_FILES, read_synthetic)}


def read_dataset(dataset: str, root=None, **options) -> pd.DataFrame:
    """Read a dataset by its name, or by what its folder holds.

    Args:
        dataset: "affectnet", "fer2013", "ferplus", "folder", "identities", "rafdb", "synthetic", or
            "auto" (`recognise`); or, alone, a folder to be recognised.
        root: the dataset's folder; None or empty for drawn faces, which need none.
        **options: of the dataset's reader, `read_…`. All but that of drawn faces take
            `check_images` (open every listed image; False reads the lists alone, even without the
            images) and `on_bad_image` ("raise" an error for an absent or undecodable image, or
            "skip" its row, counted in ``attrs["bad_images"]``).
    """
    is_folder = os.path.exists(dataset) or os.path.dirname(dataset)
    if is_folder and not root and dataset not in _READERS:
        dataset, root = "auto", dataset
    check_choice("dataset", dataset, [*_READERS, "auto"])
    if bool(root) == (dataset == "synthetic"):
        expected = "no folder for drawn faces" if root else f"the folder of {dataset!r}"
        raise InputError(f"expected {expected}, found {root or 'none; say where it is'}")
    if dataset == "auto":
        dataset = recognise(root)
    reader = _READERS[dataset]
    names = [name for name in inspect.signature(reader).parameters if name != "root"]
    for option in options:
        check_choice(f"option of dataset {dataset!r}", option, names)
    return reader(root, **options) if root else reader(**options)
