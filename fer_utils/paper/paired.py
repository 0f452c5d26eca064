"""Is a loss better than another on the same images, or is it noise?"""

import pandas as pd

from fer_utils.expressions import EXPRESSIONS
from fer_utils.metrics import macro_recall_difference, mcnemar
from fer_utils.paper.values import BASES, LOSSES, MODELS

# The paper's two claims: weights help, and the cluster term helps beyond the weights.
PAIRS = (("softmax", "weighted_softmax"), ("softmax", "weighted_cluster"), ("weighted_softmax", "weighted_cluster"))


def paired_tests(predictions: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """The paper's claims on the same test images, a row a pair of runs of one base, pre-training and seed.

    Args:
        predictions: `predictions.parquet`.
        runs: `runs.csv`.

    Returns:
        DataFrame: `base`, `pretrained`, `seed`, `loss_a`, `loss_b`; `difference`, `low`, `high` (macro recall, b − a,
        with a 95 % paired bootstrap interval); `only_a`, `only_b` (images that one run alone has right) and `p_value`
        (exact McNemar, of accuracy). P-values are not corrected for the number of rows.

    >>> runs = pd.DataFrame({"run": ["a", "b"], "model": [6, 8], "seed": [0, 0]})
    >>> predictions = pd.DataFrame({"run": ["a"] * 2 + ["b"] * 2, "image": ["x", "y"] * 2, "label": [0, 1, 0, 1]})
    >>> predictions[[f"p_{name}" for name in EXPRESSIONS]] = [[1.0] + [0.0] * 7] * 3 + [[0.0, 1.0] + [0.0] * 6]
    >>> paired_tests(predictions, runs)[["loss_b", "difference", "only_b"]].values.tolist()
    [['weighted_softmax', 0.5, 1]]
    """
    guesses = predictions[[f"p_{name}" for name in EXPRESSIONS]].to_numpy().argmax(axis=1)
    by_run = dict(list(predictions[["image", "label"]].assign(guess=guesses).groupby(predictions["run"])))
    found = {}
    for run in runs.itertuples():
        model = MODELS[run.model]
        found[model.base, model.pretrained, run.seed, model.loss] = by_run[run.run].set_index("image")
    rows = []
    for base, pretrained, seed in dict.fromkeys(key[:3] for key in found):
        for loss_a, loss_b in PAIRS:
            a, b = (found.get((base, pretrained, seed, loss)) for loss in (loss_a, loss_b))
            if a is None or b is None:
                continue
            b = b.loc[a.index]
            test = mcnemar(a["label"], a["guess"], b["guess"])
            rows.append({
                "base": base, "pretrained": pretrained, "seed": seed, "loss_a": loss_a, "loss_b": loss_b,
                **macro_recall_difference(a["label"], a["guess"], b["guess"]),
                "only_a": test["b"], "only_b": test["c"], "p_value": test["p_value"],
            })  # fmt: skip
    return pd.DataFrame(rows)


def printed_tests(tests: pd.DataFrame) -> pd.DataFrame:
    """`paired_tests` as a paper prints it, differences in points.

    >>> printed_tests(pd.DataFrame())
    Empty DataFrame
    Columns: []
    Index: []
    """
    return pd.DataFrame(
        {
            "Base": BASES[row["base"]],
            "Pre-trained": "yes" if row["pretrained"] else "no",
            "Seed": str(row["seed"]),
            "Comparison": f"{LOSSES[row['loss_b']]} against {LOSSES[row['loss_a']]}",
            "Macro recall": f"{100 * row['difference']:+.2f} [{100 * row['low']:+.2f}, {100 * row['high']:+.2f}]",
            "Right only in the first": f"{row['only_b']}",
            "Right only in the second": f"{row['only_a']}",
            "McNemar p": "< 0.0001" if row["p_value"] < 1e-4 else f"{row['p_value']:.4f}",
        }
        for row in tests.to_dict("records")
    )
