"""RAF-DB's single-label part: `EmoLabel/list_patition_label.txt` (spelt so) and the images below `Image/`."""

import os
from pathlib import Path

import pandas as pd

from fer_utils.datasets.legacy.checking import ON_BAD_IMAGE, to_manifest
from fer_utils.datasets.legacy.csv_rows import bad_row, check_names, check_once
from fer_utils.datasets.legacy.recognition import found_instead
from fer_utils.core import InputError, check_choice
from fer_utils.core import CODINGS, to_labels

LISTS = ("list_patition_label.txt", "list_partition_label.txt")
_PREFIXES = {"train": "train", "test": "test"}
_CODES = {str(code): code for code in CODINGS["rafdb"]}


def read_rafdb(root, check_images: bool = True, on_bad_image: str = "raise") -> pd.DataFrame:
    """Read RAF-DB to a manifest: 12,271 training and 3,068 test images of seven classes (none shows contempt).

    The dataset has no validation split: `fer_utils.splits` holds one out of training.

    Args:
        root: the folder that holds `EmoLabel/` and `Image/` (RAF-DB's `basic/`).
        check_images: open every listed image; False reads the list alone, even without the images.
        on_bad_image: ``"raise"`` an error for an absent or undecodable image, or ``"skip"`` its row.

    Returns:
        Manifest in the order of the list. Images are the aligned ones (`Image/aligned/NAME_aligned.jpg`) where that
        folder stands, else the original ones. In its attrs, `bad_images` if `check_images`.

    Raises:
        InputError: if `root` is another dataset; for a malformed row, a name listed twice, or an absent or unreadable
            image.

    Example:
        >>> read_rafdb("nowhere")
        Traceback (most recent call last):
        fer_utils.errors.InputError: expected RAF-DB (EmoLabel/list_patition_label.txt) at nowhere, found no such \
folder; check the path
    """
    check_choice("on_bad_image", on_bad_image, ON_BAD_IMAGE)
    root = Path(root)
    lists = [root / "EmoLabel" / name for name in LISTS]
    path = next(filter(os.path.isfile, lists), None)
    if path is None:
        raise InputError(f"expected RAF-DB (EmoLabel/{LISTS[0]}) at {root}, found {found_instead(root, 'rafdb')}")

    table = _read_list(path)
    aligned = os.path.isdir(root / "Image" / "aligned") or not os.path.isdir(root / "Image" / "original")
    stems = table["image"].str.removesuffix(".jpg")
    table["image"] = "Image/aligned/" + stems + "_aligned.jpg" if aligned else "Image/original/" + stems + ".jpg"
    table.attrs = {"dataset": "rafdb", "root": str(root.resolve())}
    return to_manifest(table, dict.fromkeys(_PREFIXES, path), check_images, on_bad_image)


def _read_list(path: Path) -> pd.DataFrame:
    rows, names, codes = [], [], []
    with open(path, encoding="utf-8-sig", errors="replace") as file:
        for row, line in enumerate(file, start=1):
            *name, code = line.split() or [""]
            if not name and not code:
                continue
            if len(name) != 1 or name[0].partition("_")[0] not in _PREFIXES or code not in _CODES:
                expected = f"a name that begins with {'_ or '.join(_PREFIXES)}_ and a label from 1 to {len(_CODES)}"
                raise bad_row(path, row, expected, repr(line.strip()[:80]))
            rows.append(row)
            names += name
            codes.append(_CODES[code])
    if not rows:
        raise InputError(f"expected rows of a name and a label in {path}, found none; restore it from RAF-DB")
    listed = pd.Series(names, index=rows, dtype=object)
    check_names(listed, path)
    check_once(listed, path)
    splits = [_PREFIXES[name.partition("_")[0]] for name in names]
    return pd.DataFrame({"image": names, "label": to_labels(codes, "rafdb"), "split": splits, "row": rows})
