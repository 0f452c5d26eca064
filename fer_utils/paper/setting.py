"""Tables 1 to 4: approaches, network, class counts and terms, the study's beside the paper's."""

import pandas as pd

from fer_utils.expressions import EXPRESSIONS
from fer_utils.paper.values import APPROACHES, STAGES, TEST_COUNTS, TRAINING_COUNTS, VALIDATION_COUNTS

SPLITS = {"train": TRAINING_COUNTS, "validation": VALIDATION_COUNTS, "test": TEST_COUNTS}

# Table 4. Term → (in full, how this project computes it).
TERMS = {
    "ResNet": ("residual network", "torchvision's"),
    "SE-ResNet": (
        "residual network with squeeze and excitation",
        "torchvision's ResNet with SE modules, as VGGFace2's weights need it",
    ),
    "Alpha": ("Krippendorff's alpha", "nominal, multi-class, truth and prediction being the two raters"),
    "Kappa": ("Cohen's kappa", "multi-class, as the published values are too"),
    "AUC": ("area under the receiver operating characteristic curve", "one class against the rest, mean over classes"),
    "AUC-PR": (
        "area under the precision–recall curve",
        "average precision of one class against the rest, mean over classes",
    ),
}


def compare_approaches(runs: pd.DataFrame) -> pd.DataFrame:
    """Table 1: how the paper judges approaches, and what those that ran cost and reached here.

    Args:
        runs: a study's `runs.csv`.

    Returns:
        DataFrame of strings, a row an approach of the paper; the last two columns are measured, "–" where nothing ran.

    >>> runs = pd.DataFrame({"pretrained": [True], "seconds": [90.0], "accuracy": [0.5], "device": ["CPU"]})
    >>> compare_approaches(runs).iloc[-1, -2:].tolist()
    ['1.5 min on CPU', '50.0 %, 1 run']
    """
    columns = ("Human resource", "Computing resource", "Complexity", "Accuracy")
    rows = []
    for (kind, method), judged in APPROACHES.items():
        own = runs.iloc[:0] if kind == "conventional" else runs[runs["pretrained"] == ("transferred" in method)]
        measured = {"Training here, a run": "–", "Accuracy here": "–"}
        if len(own):
            device, runs_here = " and ".join(own["device"].unique()), f"{len(own)} run{'s' if len(own) > 1 else ''}"
            measured = {
                "Training here, a run": f"{own['seconds'].mean() / 60:.1f} min on {device}",
                "Accuracy here": f"{_range(100 * own['accuracy'])} %, {runs_here}",
            }
        rows.append({"Approach": kind, "Method": method, **dict(zip(columns, judged, strict=True)), **measured})
    return pd.DataFrame(rows)


def compare_networks(architectures: dict) -> pd.DataFrame:
    """Table 2: the network as it ran beside the paper's SE-ResNet-50.

    Args:
        architectures: `architecture.json` of a study of the paper's models; the pre-trained and the scratch rows of a
            base share their lines where they differ only in what is frozen.

    Returns:
        DataFrame of strings, a row a stage: `Network`, `Stage`, and for output, blocks, repeat and frozen a column of
        ours and one of the paper's ("–" for a network that Table 2 is not about); `Parameters` are ours.

    >>> stage = {"name": "stage 1", "modules": "convolution 7×7", "repeat": 1, "output": [64, 24, 24]}
    >>> tiny = {"base": "se_resnet50", "architecture": "se_resnet14", "image_size": 48}
    >>> tiny["stages"] = [stage | {"parameters": 9536, "frozen": True}]
    >>> compare_networks({"se_resnet50": tiny})[["Stage", "Output", "Output, paper"]].values.tolist()
    [['stage 1', '24×24', '112×112']]
    """
    rows = []
    for key, network in architectures.items():
        base, is_scratch = network["base"], key.endswith("-scratch")
        twin = architectures.get(base if is_scratch else f"{base}-scratch")
        alike = twin is not None and _without_frozen(twin) == _without_frozen(network)
        if alike and is_scratch:
            continue
        which = "" if alike else ", from scratch" if is_scratch else ", pre-trained"
        for place, stage in enumerate(network["stages"]):
            theirs = ("–",) * 4
            if base == "se_resnet50" and stage["name"] in STAGES:
                output, kernel, repeat, frozen = STAGES[stage["name"]]
                theirs = (output, kernel, str(repeat), "yes" if frozen else "no")
            *_, side = output = stage["output"]
            frozen = "no" if not stage["frozen"] else "yes, pre-trained rows" if alike else "yes"
            ours = (f"{side}×{side}" if len(output) == 3 else str(side), stage["modules"], str(stage["repeat"]), frozen)
            name = f"{network['architecture']}, {network['image_size']} px{which}" if place == 0 else ""
            row = {"Network": name, "Stage": stage["name"]}
            for title, our, their in zip(("Output", "Blocks", "Repeat", "Frozen"), ours, theirs, strict=True):
                row |= {title: our, f"{title}, paper": their}
            rows.append(row | {"Parameters": f"{stage['parameters']:,}"})
    return pd.DataFrame(rows)


def compare_counts(counts: pd.DataFrame) -> pd.DataFrame:
    """Table 3: images per class and split, ours beside the paper's, and the weights of Eq. 6 that follow.

    Args:
        counts: a study's `counts.csv` (columns `split`, `expression`, `images`).

    Returns:
        DataFrame, a row a class and one of the totals: `expression`, for each split its images and `<split>_published`,
        `weight` (N_min / N_c over the classes that have images; NaN for the others) and `weight_published`. A split
        that the study lacks is missing values throughout.

    >>> counts = pd.DataFrame({"split": "train", "expression": EXPRESSIONS, "images": 8})
    >>> int(compare_counts(counts)["train"].iloc[-1])
    64
    """
    table = pd.DataFrame({"expression": [*EXPRESSIONS, "total"]})
    for split, published in SPLITS.items():
        own = counts[counts["split"] == split].set_index("expression")["images"].reindex(EXPRESSIONS, fill_value=0)
        missing = split not in set(counts["split"])
        table[split] = pd.array([pd.NA] * len(table) if missing else [*own, own.sum()], dtype="Int64")
        table[f"{split}_published"] = [*published, sum(published)]
    for ending in ("", "_published"):
        training = table[f"train{ending}"].iloc[:-1].astype(float)
        training = training.where(training > 0)
        table[f"weight{ending}"] = training.min() / training  # the row of the totals has none
    return table


def printed_counts(table: pd.DataFrame) -> pd.DataFrame:
    """`compare_counts` as a paper prints it.

    >>> counts = pd.DataFrame([(s, e, 8000) for s in SPLITS for e in EXPRESSIONS])
    >>> printed_counts(compare_counts(counts.set_axis(["split", "expression", "images"], axis=1))).iloc[1, 1:3].tolist()
    ['8,000', '133,915']
    """
    names = {"train": "Training", "validation": "Validation", "test": "Test", "weight": "Weight (Eq. 6)"}
    printed = pd.DataFrame({"Expression": table["expression"]})
    for key, name in names.items():
        form = "{:.4f}".format if key == "weight" else "{:,}".format
        for column, title in ((key, name), (f"{key}_published", f"{name}, paper")):
            printed[title] = ["–" if pd.isna(value) else form(value) for value in table[column]]
    return printed


def compare_terms() -> pd.DataFrame:
    """Table 4: the paper's abbreviations, and what they stand for here.

    >>> compare_terms()["Abbreviation"].tolist()
    ['ResNet', 'SE-ResNet', 'Alpha', 'Kappa', 'AUC', 'AUC-PR']
    """
    rows = [(term, *meaning) for term, meaning in TERMS.items()]
    return pd.DataFrame(rows, columns=["Abbreviation", "Meaning", "As computed here"])


def _range(values: pd.Series) -> str:
    low, high = f"{values.min():.1f}", f"{values.max():.1f}"
    return low if low == high else f"{low}–{high}"


def _without_frozen(network: dict) -> dict:
    stages = [{key: value for key, value in stage.items() if key != "frozen"} for stage in network["stages"]]
    return {"architecture": network["architecture"], "image_size": network["image_size"], "stages": stages}
