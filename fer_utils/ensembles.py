"""Several finished runs as one classifier: the mean of their probabilities for the same images.

An ensemble costs as many networks as it has members, so it stands in a table of its own, never among single runs.
"""

import numpy as np
import pandas as pd

from fer_utils.errors import InputError
from fer_utils.expressions import EXPRESSIONS
from fer_utils.paper import BASES, LOSSES, MODELS
from fer_utils.scoring import score

COLUMNS = [f"p_{name}" for name in EXPRESSIONS]
PRINTED = {"accuracy": "Accuracy", "f1": "F1", "macro_recall": "Macro recall"}


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
        DataFrame, a row an ensemble: `model`, or `setting` and `variant`; `members`, its number of runs;
        `scoring.score`'s numbers but the confusion matrix; and the means of `PRINTED` over the members alone,
        `<metric>_alone`. Models and variants of one seed are left out.

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
        alone = {f"{metric}_alone": group[metric].mean() for metric in PRINTED}
        rows.append({**dict(zip(case, key, strict=True)), "members": len(group), **scores, **alone})
    return pd.DataFrame(rows)


def printed_ensembles(table: pd.DataFrame) -> pd.DataFrame:
    """`over_seeds` as a paper prints it: per cent, in brackets the mean of the members, each alone.

    Args:
        table: what `over_seeds` returns.

    >>> row = {"model": 6, "members": 3, **{metric: 0.5 for metric in PRINTED}}
    >>> row |= {f"{metric}_alone": 0.45 for metric in PRINTED}
    >>> printed_ensembles(pd.DataFrame([row])).loc[0].tolist()
    ['6', 'SE-ResNet-50, pre-trained, softmax', '3', '50.0 (45.0)', '50.0 (45.0)', '50.0 (45.0)']
    """
    rows = []
    for row in table.to_dict("records"):
        if "model" in row:
            model = MODELS[row["model"]]
            start = "pre-trained" if model.pretrained else "from scratch"
            case = {"No.": str(row["model"]), "Model": f"{BASES[model.base]}, {start}, {LOSSES[model.loss]}"}
        else:
            case = {"Setting": str(row["setting"]).replace("_", ", "), "Variant": row["variant"].replace("_", " ")}
        numbers = {
            f"{title} (alone)": f"{100 * row[metric]:.1f} ({100 * row[f'{metric}_alone']:.1f})"
            for metric, title in PRINTED.items()
        }
        rows.append({**case, "Members": str(row["members"]), **numbers})
    return pd.DataFrame(rows)
