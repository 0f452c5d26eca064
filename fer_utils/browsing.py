"""Looking into a dataset: samples page by page, what augmentation makes of one image, and other divisions.

Plain functions from choices to a figure, `browse`, `augment` and `divide`, each of which a notebook calls once and then
hands to a widget. Only the images shown are loaded.
"""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from fer_utils import plots, splits
from fer_utils.audit.weights import effective_images, weight_table
from fer_utils.datasets.images import FaceDataset, load_images
from fer_utils.datasets.manifest import SPLITS, check_manifest, class_counts, count_table
from fer_utils.datasets.votes import VOTE_COLUMNS, vote_shares
from fer_utils.errors import InputError, check_choice
from fer_utils.expressions import EXPRESSIONS, NUM_CLASSES

ALL = "all"
TWINS = (ALL, "with duplicates", "same picture, different labels")
RULES = ("as it is", "equally many of each class", "a share of each class")
PER_PAGE = 18
_SIDE = 96  # pixels, of an image on a page


def catalogue(manifest: pd.DataFrame, measured: pd.DataFrame | None = None) -> pd.DataFrame:
    """The manifest, with what there is to choose by.

    Args:
        manifest: a manifest.
        measured: `fer_utils.audit.Audit.images` of this manifest; without it no duplicates are known.

    Returns:
        The manifest's rows and attrs, and the columns `confidence` (share of an image's votes that its label got, 0–1;
        NaN without votes), `group` (of duplicates; −1 without any), `mixed` (whether the images of the group have
        different labels) and `twins`, the duplicates in a few words: label and split of one, preceded by ``=`` (the
        same pixels) or ``≈`` (a near-duplicate, or one of a near-duplicate), and how many there are besides.

    Raises:
        InputError: for an unusable manifest, votes that are missing or negative, or another manifest's audit.

    Example:
        >>> manifest = pd.DataFrame({"image": ["a", "b", "c"], "label": [0, 1, 1], "split": "train"})
        >>> measured = manifest.assign(hash=["x", "x", "y"], group=[0, 0, -1])
        >>> catalogue(manifest, measured)[["mixed", "twins"]].values.tolist()
        [[True, '= happy, train'], [True, '= neutral, train'], [False, '']]
    """
    check_manifest(manifest)
    table = manifest.reset_index(drop=True).assign(confidence=np.nan, group=-1, mixed=False, twins="")
    if set(VOTE_COLUMNS) <= set(table):
        table["confidence"] = vote_shares(table)[np.arange(len(table)), table["label"]]
    if measured is not None:
        if measured["image"].tolist()[: len(table)] != table["image"].tolist():
            raise InputError("expected the audit of this manifest, found another's; audit this one and give its images")
        table[["group", "mixed", "twins"]] = _name_twins(measured, len(table))
    table.attrs = manifest.attrs
    return table


def select(table: pd.DataFrame, expression=ALL, split=ALL, confidence=(0.0, 1.0), twins=ALL) -> pd.DataFrame:
    """The rows of a catalogue that meet every condition.

    Args:
        table: from `catalogue`.
        expression: a class, or ``"all"``.
        split: one of `SPLITS`, or ``"all"``.
        confidence: least and largest share of the votes that the label got. Images without votes have none and always
            meet it.
        twins: one of `TWINS`.

    Returns:
        The rows in the table's order; with a choice of `twins` the groups one after the other.

    Raises:
        InputError: for an unknown choice, or a confidence that is no range within 0–1.

    Example:
        >>> table = catalogue(pd.DataFrame({"image": range(3), "label": [0, 7, 7], "split": "train"}))
        >>> select(table, "contempt")["image"].tolist()
        [1, 2]
    """
    check_choice("class", expression, (ALL, *EXPRESSIONS))
    check_choice("split", split, (ALL, *SPLITS))
    check_choice("choice of twins", twins, TWINS)
    low, high = confidence
    if not 0 <= low <= high <= 1:
        raise InputError(f"expected a range of confidence within 0–1, found {low!r} to {high!r}; put the lower first")
    slack = 1e-6  # so that 7 votes of 10 are 0.7, whatever the rounding
    chosen = ~((table["confidence"] < low - slack) | (table["confidence"] > high + slack))
    if expression != ALL:
        chosen &= table["label"] == EXPRESSIONS.index(expression)
    if split != ALL:
        chosen &= table["split"] == split
    if twins == ALL:
        return table[chosen]
    chosen &= table["group"] >= 0 if twins == TWINS[1] else table["mixed"]
    return table[chosen].sort_values("group", kind="stable")


def count_pages(table: pd.DataFrame, per_page: int = PER_PAGE, **choice) -> int:
    """How many pages `browse` has for this choice (`select`'s): at least one, if an empty one.

    >>> count_pages(catalogue(pd.DataFrame({"image": range(5), "label": 0, "split": "train"})), per_page=2)
    3
    """
    return max(-(-len(select(table, **choice)) // per_page), 1)


def browse(table: pd.DataFrame, page: int = 1, per_page: int = PER_PAGE, **choice) -> Figure:
    """One page of the chosen images, each under its label, split, share of the votes and duplicates.

    Args:
        table: from `catalogue`.
        page: which, from 1.
        per_page: images on a page.
        **choice: `select`'s conditions.

    Returns:
        The page; a sentence where no image meets the conditions.

    Raises:
        InputError: as `select`; for a page that there is not; for an absent or unreadable image.

    Example:
        >>> from fer_utils import datasets
        >>> table = catalogue(datasets.read_synthetic(train=64, validation=8, test=8, image_size=32))
        >>> browse(table, page=2, per_page=6, split="test").axes[0].texts[0].get_text()
        'images 7–8 of 8, page 2 of 2'
    """
    rows = select(table, **choice)
    if rows.empty:
        return plots.figure_sentence("No image meets these conditions; widen one of them.")
    pages = -(-len(rows) // per_page)
    if not 1 <= page <= pages:
        raise InputError(f"expected a page from 1 to {pages}, found {page}; choose one of these")
    start = (page - 1) * per_page
    shown = rows.iloc[start : start + per_page]
    heading = f"images {start + 1:,}–{start + len(shown):,} of {len(rows):,}, page {page:,} of {pages:,}"
    return plots.figure_tiles(load_images(shown, _SIDE), _titles(shown), heading)


def augment(
    rows: pd.DataFrame,
    image: int = 0,
    image_size: int = 48,
    crop_scale_min: float = 0.7,
    crop_ratio=(3 / 4, 4 / 3),
    seed: int = 0,
    draws: int = 11,
) -> Figure:
    """One image as it is, and as training would see it in several epochs.

    Args:
        rows: rows of a manifest.
        image: position of the image among them.
        image_size: pixels that the network sees, a side.
        crop_scale_min: smallest area of the crop, as a fraction of the image's.
        crop_ratio: range of the crop's width / height.
        seed: of the draws.
        draws: how many.

    Raises:
        InputError: for a position or parameter out of range, or an absent or unreadable image.

    Example:
        >>> from fer_utils import datasets
        >>> manifest = datasets.read_synthetic(train=64, validation=8, test=8, image_size=32)
        >>> len(augment(manifest, draws=2).axes[0].images)
        3
    """
    from fer_utils.transforms import denormalise, train_transform  # here, so that browsing alone does without torch

    if not 0 <= image < len(rows):
        raise InputError(f"expected the position of an image from 0 to {len(rows) - 1}, found {image}; choose another")
    if not (0 < crop_scale_min <= 1 and 0 < crop_ratio[0] <= crop_ratio[1]):
        raise InputError(
            f"expected 0 < crop_scale_min ≤ 1 and a range of ratios above 0, found {crop_scale_min} and {crop_ratio}; "
            "the defaults are 0.7 and (3/4, 4/3)"
        )
    transform = train_transform(image_size, (crop_scale_min, 1.0), crop_ratio)
    faces = FaceDataset(rows.iloc[[image]], transform)
    seen = [denormalise(faces[0, seed * draws + draw][0]).permute(1, 2, 0).numpy() for draw in range(draws)]
    original = load_images(rows.iloc[[image]])[0]
    height, width, _ = original.shape
    titles = [f"original, {width} × {height}", *(f"draw {draw + 1}" for draw in range(draws))]
    heading = f"{_titles(rows.iloc[[image]])[0]}, seen at {image_size} × {image_size} pixels"
    return plots.figure_tiles([original, *seen], titles, heading)


def divide(
    manifest: pd.DataFrame, rule: str = RULES[0], per_class: int = 500, share: float = 0.1, seed: int = 0
) -> Figure:
    """Another division of the dataset, and what it does to Eq. 6's weights and the effective sample.

    Args:
        manifest: a manifest.
        rule: one of `RULES`: the manifest's own splits; the paper's, validation and test of `per_class` images of each
            class (`fer_utils.splits.paper_protocol`); or validation of a `share` of each class, drawn from training and
            validation, with the dataset's own test (`fer_utils.splits.official`).
        per_class: images of each class in validation, and in test.
        share: of each class, between 0 and 1.
        seed: draws the images.

    Raises:
        InputError: for an unknown rule, and where the data do not suffice for it.

    Example:
        >>> from fer_utils import datasets
        >>> manifest = datasets.read_synthetic(train=64, validation=8, test=8, proportions="balanced")
        >>> divide(manifest).axes[1].texts[-1].get_text()
        'effective sample: 64 of 64 images (100 %)'
    """
    divided = division(manifest, rule, per_class, share, seed)
    counts = class_counts(divided, "train")
    return plots.figure_division(count_table(divided), weight_table(counts), effective_images(counts))


def division(manifest: pd.DataFrame, rule: str, per_class: int, share: float, seed: int = 0) -> pd.DataFrame:
    """The manifest divided by `divide`'s rule; where its fingerprints are known, without the leaks that this makes."""
    check_choice("rule", rule, RULES)
    if rule == RULES[0]:
        return manifest
    if rule == RULES[1]:
        divided = splits.paper_protocol(manifest, seed, per_class)
    else:
        own_test = (manifest["split"] == "test").any()
        pooled = manifest["split"].replace("validation", "train") if own_test else manifest["split"]
        divided = splits.official(manifest.assign(split=pooled), seed, share)
    return splits.remove_training_leaks(divided, divided["fingerprint"]) if "fingerprint" in divided else divided


def _titles(rows: pd.DataFrame) -> list[str]:
    """Label and split, and in lines of their own the share of the votes and the duplicates, where any row has them."""
    lines = [rows["label"].map(_name) + ", " + rows["split"]]
    if "confidence" in rows and rows["confidence"].notna().any():
        lines.append(rows["confidence"].map(lambda share: f"{share:.0%} of the votes".replace("%", " %")))
    if "twins" in rows and (rows["twins"] != "").any():
        lines.append(rows["twins"])
    return ["\n".join(parts) for parts in zip(*lines, strict=True)]


def _name(label: int) -> str:
    return EXPRESSIONS[label] if 0 <= label < NUM_CLASSES else "unlabelled"


def _name_twins(measured: pd.DataFrame, listed: int) -> pd.DataFrame:
    """`group`, `mixed` and `twins` of the first `listed` rows, as `catalogue` describes them."""
    known = measured[measured["group"] >= 0]
    twin = _first_other(pd.factorize(known["hash"])[0])
    sign = np.where(twin >= 0, "= ", "≈ ")
    twin = known.iloc[np.where(twin >= 0, twin, _first_other(known["group"].to_numpy()))]
    more = known.groupby("group")["group"].transform("size") - 2
    words = zip(sign, twin["label"], twin["split"], more, strict=True)
    texts = [f"{sign}{_name(label)}, {split}{f' + {more}' if more else ''}" for sign, label, split, more in words]
    labelled = known[known.index < listed].groupby("group")["label"]
    found = known[["group"]].assign(mixed=labelled.transform("nunique") > 1, twins=texts)
    found = measured[[]].join(found).iloc[:listed].fillna({"group": -1, "mixed": False, "twins": ""})
    return found.astype({"group": int, "mixed": bool})


def _first_other(keys: np.ndarray) -> np.ndarray:
    """For each row the position of the first other row with the same key; −1 where there is none."""
    order = np.argsort(keys, kind="stable")
    starts = np.searchsorted(keys[order], keys)
    first, second = order[starts], order[np.minimum(starts + 1, len(keys) - 1)]
    other = np.where(first != np.arange(len(keys)), first, second)
    return np.where((keys[other] == keys) & (other != np.arange(len(keys))), other, -1)
