"""The audit's table: what was looked for, how often it was found, where, and what to do about it."""

import numpy as np
import pandas as pd

from fer_utils.audit.images import MIN_SIDE
from fer_utils.audit.twins import RELATIONS, twin_flags

IMAGE_CHECKS = {
    "unreadable": ("absent or undecodable", "copy it anew, or skip it: on_bad_image='skip'"),
    "tiny": (f"image or face box below {MIN_SIDE} pixels", "look whether a face can be seen"),
    "constant": ("one grey level throughout", "drop it: there is no face"),
    "odd_mode": ("neither 8-bit grey nor 8-bit RGB", "look at a few as load_image decodes them"),
    "grey_in_colour": ("grey among coloured images", "train on grey, or check that no class has more of them"),
    "turned": ("turned by EXIF data", "check that boxes are those of the upright image"),
    "box_outside": ("face box empty or outside the image", "check the coordinates; crops are clamped"),
}
LABEL_CHECKS = {
    "exact_mixed": ("the same pixels under different labels", "expect no model to be right on all of them"),
    "near_mixed": ("near-duplicates under different labels", "expect no model to be right on all of them"),
}
_TWINS = {"exact": "the same pixels", "near": "a near-duplicate, none exact,"}
_EXAMPLES = 3


def check_table(images: pd.DataFrame, pairs: pd.DataFrame, listed: int) -> pd.DataFrame:
    """Count what every check finds.

    Args:
        images: `fer_utils.audit.images.measure_images`' table, first the manifest's rows, then unlisted images.
        pairs: near pairs, rows of `images`.
        listed: how many rows are the manifest's.

    Returns:
        DataFrame, a row a check, indexed by its key: `check` (in words), `count` (images of the manifest), `share` (of
        them, or of the split in question; NaN where that is empty), `all_files` (the same count over all rows),
        `examples` (up to three images) and `action`. Keys are those of `IMAGE_CHECKS`, ``exact_test_in_train`` and
        the like for each of `RELATIONS` (``exact_within_test`` inside a split), the same with ``near``, and those of
        `LABEL_CHECKS`.
    """
    within = pairs[pairs["second"] < listed]  # `first` is the smaller
    here, everywhere = images.iloc[:listed], images
    counted, total = _find(here, within), _find(everywhere, pairs)
    rows = {}
    for key, (check, split, action) in _checks().items():
        found, base = counted[key], listed if split is None else int((here["split"] == split).sum())
        rows[key] = {
            "check": check,
            "count": int(found.sum()),
            "share": found.sum() / base if base else np.nan,
            "all_files": int(total[key].sum()),
            "examples": ", ".join(map(str, here["image"][found].head(_EXAMPLES))),
            "action": action,
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("key")


def relation_key(kind: str, one: str, other: str) -> str:
    """The table's key for images of split `one` with a twin in `other`.

    >>> relation_key("exact", "test", "train"), relation_key("near", "test", "test")
    ('exact_test_in_train', 'near_within_test')
    """
    return f"{kind}_within_{one}" if one == other else f"{kind}_{one}_in_{other}"


def _checks() -> dict[str, tuple[str, str | None, str]]:
    """Key → words, the split whose images are counted (None: all), and what to do."""
    checks = {key: (check, None, action) for key, (check, action) in IMAGE_CHECKS.items()}
    for kind, words in _TWINS.items():
        remedy = "remove_training_leaks" if kind == "exact" else "remove_near_leaks"
        for one, other in RELATIONS:
            check = f"{one} image with {words} in {other}" if one != other else f"{one} image with {words} beside it"
            if other == "train" != one:
                action = f"remove its twins from training: splits.{remedy}"
            elif one == other:
                action = "know that such a picture counts more than once"
            else:
                action = "say so; neither split may change"
            checks[relation_key(kind, one, other)] = (check, one, action)
    return checks | {key: (check, None, action) for key, (check, action) in LABEL_CHECKS.items()}


def _find(images: pd.DataFrame, pairs: pd.DataFrame) -> dict[str, np.ndarray]:
    """Key → bool array (N,), which images the check finds."""
    found = {key: images[key].to_numpy() for key in IMAGE_CHECKS}
    exact, near = twin_flags(images, pairs)
    splits = images["split"].to_numpy()
    for one, other in RELATIONS:
        found[relation_key("exact", one, other)] = (splits == one) & exact[other]
        found[relation_key("near", one, other)] = (splits == one) & near[other]
    labels = images["label"]
    comparable = (labels >= 0) & ~images["unreadable"]
    varieties = labels[comparable].groupby(images["hash"]).nunique()
    found["exact_mixed"] = (comparable & (images["hash"].map(varieties) > 1)).to_numpy()
    first, second = labels.to_numpy()[pairs["first"]], labels.to_numpy()[pairs["second"]]
    mixed = pairs[(first != second) & (first >= 0) & (second >= 0)]
    found["near_mixed"] = np.isin(np.arange(len(images)), mixed[["first", "second"]])
    return found
