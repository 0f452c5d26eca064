"""Several finished runs as one classifier: the mean of their probabilities for the same images.

An ensemble costs as many networks as it has members, so it stands in a table of its own, never among single runs.
"""

import numpy as np
import pandas as pd

from fer_utils.errors import InputError
from fer_utils.expressions import EXPRESSIONS
from fer_utils.scoring import score

COLUMNS = [f"p_{name}" for name in EXPRESSIONS]


def mean_predictions(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """The mean of several runs' predictions.

    Args:
        tables: run → its `predictions.parquet`: `image`, `label`, `p_neutral` … `p_contempt`, in any order of rows.

    Returns:
        DataFrame like one of them, in the order of the first.

    Raises:
        InputError: for fewer than two runs, or runs evaluated on other images or labels.

    >>> one = pd.DataFrame({"image": ["a"], "label": [0], **{name: [0.0] for name in COLUMNS}})
    >>> both = mean_predictions({"x": one.assign(p_neutral=1.0), "y": one.assign(p_happy=1.0)})
    >>> both[["p_neutral", "p_happy"]].values.tolist()
    [[0.5, 0.5]]
    """
    if len(tables) < 2:
        raise InputError(f"expected two runs or more for an ensemble, found {len(tables)}; name its members")
    (first, own), *others = tables.items()
    keys, total = own[["image", "label"]].reset_index(drop=True), own[COLUMNS].to_numpy(np.float64)
    for name, other in others:
        matched = keys.merge(other, on=["image", "label"], how="inner", validate="one_to_one")
        if not len(keys) == len(matched) == len(other):
            raise InputError(
                f"expected the same test images and labels in runs {first} and {name}, found {len(keys)} and "
                f"{len(other)}, of which {len(matched)} are the same; take runs of one test split"
            )
        total = total + matched[COLUMNS].to_numpy(np.float64)
    return keys.assign(**dict(zip(COLUMNS, (total / len(tables)).T, strict=True)))


def over_seeds(runs: pd.DataFrame, predictions: pd.DataFrame) -> pd.DataFrame:
    """An ensemble of the seeds of each model, or of each variant in its setting.

    Args:
        runs: a study's `runs.csv`.
        predictions: its `predictions.parquet`, a row an image and run.

    Returns:
        DataFrame, a row an ensemble: `model`, or `setting` and `variant`; `members`, its number of runs; and
        `scoring.score`'s numbers but the confusion matrix. Models and variants of one seed are left out.

    Raises:
        InputError: as `mean_predictions`.
    """
    case, rows = ["model"] if "model" in runs else ["setting", "variant"], []
    for key, group in runs.groupby(case, sort=False, dropna=False):
        if len(group) < 2:
            continue
        tables = {name: predictions[predictions["run"] == name] for name in group["run"]}
        mean = mean_predictions(tables)
        scores = score(mean["label"].to_numpy(), mean[COLUMNS].to_numpy())
        scores.pop("confusion")
        rows.append({**dict(zip(case, key, strict=True)), "members": len(group), **scores})
    return pd.DataFrame(rows)
