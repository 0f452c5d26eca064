"""The last step of every reader: each listed image is there and decodes, or the user hears which does not."""

import contextlib
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
from tqdm import tqdm

from fer_utils.datasets.legacy.images import fingerprint, image_opener
from fer_utils.datasets.legacy.manifest import check_manifest
from fer_utils.datasets.legacy.remembering import recall, remember
from fer_utils.core import InputError

ON_BAD_IMAGE = ("raise", "skip")
_NAMED = 100  # bad images whose names the attrs keep
_BATCH = 64  # images a task of a thread: enough that small ones take longer than handing them over


def to_manifest(table: pd.DataFrame, lists: Mapping, check_images: bool, on_bad_image: str) -> pd.DataFrame:
    """A reader's table as a manifest, its images opened if `check_images`; see `open_images` for the arguments."""
    if check_images:
        table = open_images(table, lists, on_bad_image)
    return check_manifest(table.drop(columns="row", errors="ignore").reset_index(drop=True))


def open_images(table: pd.DataFrame, lists: Mapping, on_bad_image: str, remedy: str = "restore them") -> pd.DataFrame:
    """Open every image of a table that a reader has made.

    Args:
        table: a manifest, or a table on its way to one, with attrs; `row` is where each image stands in its list.
        lists: split → path of the list that names its images; empty where nothing but the folder lists them.
        on_bad_image: ``"raise"`` an error for an absent or undecodable image, or ``"skip"`` its row.
        remedy: what to do about absent images.

    Returns:
        the rows whose images are good, with the column `fingerprint` (`fer_utils.datasets.images.hash_images`) and
        ``attrs["bad_images"]`` (`count`, and `names` of the first 100).

    Raises:
        InputError: naming the first bad image and its row; or if no image is good.
    """
    absent = _absent(table)
    if on_bad_image == "raise" and absent.any():
        place = int(absent.argmax())
        raise InputError(
            f"expected every image that is listed, found {absent.sum()} absent, the first "
            f"{_path(table, place)}{_where(table, place, lists, ' ({} row {})')}; {remedy}, "
            "or leave them out with on_bad_image='skip'"
        )

    load = image_opener(table)

    def open_batch(places) -> list[str | InputError]:
        return [_attempt(load, names[place]) for place in places]

    hashes = recall(table)
    known = hashes.astype(bool)
    todo, names = np.flatnonzero(~absent & ~known).tolist(), table["image"].tolist()
    batches = [todo[start : start + _BATCH] for start in range(0, len(todo), _BATCH)]
    bar = tqdm(total=len(todo), desc="images", disable=None, delay=1, leave=False)
    pool = ThreadPoolExecutor(min(16, os.cpu_count() or 1))  # decoders let go of the interpreter's lock
    with bar, pool, contextlib.closing(pool.map(open_batch, batches)) as results:  # closed, it opens no further batch
        for places, batch in zip(batches, results, strict=True):
            bar.update(len(places))
            for place, result in zip(places, batch, strict=True):
                if not isinstance(result, InputError):
                    hashes[place] = result
                elif on_bad_image == "raise":
                    raise InputError(f"{_where(table, place, lists, '{} row {}: ')}{result}") from result

    good = hashes.astype(bool)
    if not known[good].all():
        remember(table, hashes)
    if not good.any():
        raise InputError(
            f"expected readable images at {table.attrs['root']}, found {len(good)} listed and none of them readable; "
            "check that it is the folder of the images"
        )
    bad = table["image"][~good].tolist()
    table = table[good].assign(fingerprint=hashes[good])
    table.attrs |= {"bad_images": {"count": len(bad), "names": bad[:_NAMED]}}
    return table


def _attempt(load, name) -> str | InputError:
    try:
        return fingerprint(load(name))
    except InputError as error:
        return error


def _absent(table: pd.DataFrame) -> np.ndarray:
    """Which images have no file: one listing a folder, not one look-up an image, is quick on a network disk as well."""
    if "pixels" in table.attrs:
        return np.zeros(len(table), dtype=bool)
    root, listings, absent = table.attrs["root"], {}, []
    for image in table["image"].tolist():
        folder, _, name = image.rpartition("/")
        if folder not in listings:
            try:
                listings[folder] = {*os.listdir(os.path.join(root, folder))}
            except (OSError, ValueError):
                listings[folder] = set()
        # The look-up settles what a listing spells otherwise: upper and lower case, composed and decomposed accents.
        absent.append(name not in listings[folder] and not os.path.exists(os.path.join(root, image)))
    return np.array(absent)


def _path(table: pd.DataFrame, place: int) -> str:
    return os.path.join(table.attrs["root"], table["image"].iloc[place])


def _where(table: pd.DataFrame, place: int, lists: Mapping, form: str) -> str:
    """Path and row of the list that names an image, in `form`; nothing where there is no list."""
    return form.format(lists[table["split"].iloc[place]], table["row"].iloc[place]) if lists else ""
