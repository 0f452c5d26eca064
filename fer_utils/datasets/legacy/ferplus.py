"""FER+: the votes of `label.csv` or `fer2013new.csv`, joined to its PNG folders or to FER2013's own CSV."""

from pathlib import Path

import pandas as pd

from fer_utils.datasets.legacy.checking import ON_BAD_IMAGE, open_images
from fer_utils.datasets.legacy.ferplus_lists import LABEL_FILES, read_lists
from fer_utils.datasets.legacy.ferplus_votes import VOTES, argmax_labels, majority_labels, probability_votes
from fer_utils.core import InputError, check_choice
from fer_utils.core import EXPRESSIONS, to_labels
from fer_utils.datasets.legacy.splits import count_duplicates, remove_training_leaks

LABEL_RULES = ("majority", "argmax", "probability")
_VOTE_COLUMNS = [f"votes_{EXPRESSIONS[label]}" for label in to_labels(VOTES[: len(EXPRESSIONS)], "ferplus")]
_REMEDY = "restore them (FER+'s generate_training_data.py writes them from fer2013.csv)"


def read_ferplus(
    root,
    check_images: bool = True,
    remove_leaks: bool | None = None,
    label_file: str | None = None,
    label_rule: str = "majority",
    on_bad_image: str = "raise",
) -> pd.DataFrame:
    """Read FER+ to a manifest, labelled by the taggers' votes, free of exact leaks.

    *Label rules*: ``"majority"`` is FER+'s own: single votes count as none; the image is kept if one class then has
    more than half of all votes left, those for "unknown" and "NF" (no face) included, and that class is one of the
    eight. Ties are therefore never kept. ``"argmax"`` takes the class of most votes, the first in FER+'s order among
    equals, and drops "unknown" and "NF". ``"probability"`` is FER+'s own for distributions
    (`fer_utils.datasets.ferplus_votes.probability_votes`): votes of single taggers and of minor classes are removed
    from `votes_*`, whose share of their sum is the target; the label is the class of most votes among them.

    *Label files*: FER+'s two disagree on 1,601 images. `label.csv` names the PNG files. A row of `fer2013new.csv` is
    the same row of `fer2013.csv`; where PNG folders stand, it is joined to them by its name, rows without one (173) are
    left out, and three training files stand twice, with equal votes.

    *Leaks*: every training image whose decoded pixels also stand in the validation or test folder is removed, whether
    or not the label rule keeps its twin; validation and test stay as they are. In FER+, 288 of all test images stand
    in train, 279 validation images in train and 44 test images in validation; training loses 607 images that the
    majority rule labels.

    Args:
        root: the folder that holds `data/`, or `data/` itself; or one with `fer2013new.csv` and `fer2013.csv`.
        check_images: open every listed image, usable or not; False reads the lists alone, even without the images.
        remove_leaks: remove training leaks, for which every image is opened too; None does so if `check_images`.
        label_file: ``"label.csv"`` or ``"fer2013new.csv"``; None takes the first that is there.
        label_rule: one of the rules above.
        on_bad_image: ``"raise"`` an error for an absent or undecodable image, or ``"skip"`` its row.

    Returns:
        Manifest (splits in the order train, validation, test, rows as in the list) with `votes_neutral` …
        `votes_contempt` and, from `label.csv`, `box_x`, `box_y`, `box_width`, `box_height`. In its attrs, `label_file`,
        `label_rule`, `leaks_removed` (0 where leaks stay, None where no image was opened), `duplicates`
        (`fer_utils.splits.count_duplicates` over all listed images) and `bad_images`; the last two are absent where no
        image was opened.

    Raises:
        InputError: if `root` is absent, empty, an archive or another dataset; for a missing label file, a malformed
            row, a name listed twice, an absent or unreadable image, or a split without a single usable row.

    Example:
        >>> read_ferplus("nowhere")
        Traceback (most recent call last):
        fer_utils.errors.InputError: expected a FER+ folder (data/FER2013Train, data/FER2013Valid, data/FER2013Test, \
a label.csv in each) at nowhere, found no such folder; check the path
    """
    check_choice("label_file", label_file, (None, *LABEL_FILES))
    check_choice("label_rule", label_rule, LABEL_RULES)
    check_choice("on_bad_image", on_bad_image, ON_BAD_IMAGE)
    table, lists = read_lists(Path(root), label_file)
    votes = table[list(VOTES)].to_numpy()
    if label_rule == "probability":
        votes = probability_votes(votes)
    table["label"] = majority_labels(votes) if label_rule == "majority" else argmax_labels(votes)
    table = table.drop(columns=list(VOTES))
    table[_VOTE_COLUMNS] = votes[:, : len(EXPRESSIONS)]
    table.attrs |= {"label_rule": label_rule, "leaks_removed": None}
    if remove_leaks is None:
        remove_leaks = check_images
    if check_images or remove_leaks:
        table = open_images(table, lists, on_bad_image, _REMEDY)
        if remove_leaks:
            table = remove_training_leaks(table, table["fingerprint"])
        else:
            table.attrs |= {"leaks_removed": 0, "duplicates": count_duplicates(table["fingerprint"], table["split"])}

    manifest = table[table["label"] >= 0].drop(columns="row").reset_index(drop=True)
    for split, path in lists.items():
        if not (manifest["split"] == split).any():
            raise InputError(
                f"expected usable {split} images in {path}, found none with votes enough for an expression"
                f"{' that is not also in validation or test' if split == 'train' and remove_leaks else ''}; "
                "check that file"
            )
    return manifest
