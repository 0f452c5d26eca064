"""Is a loss better than another on the same images, or is it noise?"""

from typing import NamedTuple

import numpy as np
import pandas as pd

from fer_utils.expressions import EXPRESSIONS, NUM_CLASSES
from fer_utils.metrics import holm, macro_recall_difference, mcnemar, over_seeds, p_text, verdict
from fer_utils.metrics.checks import check_same_images
from fer_utils.paper.values import BASES, LOSSES, MODELS

# The paper's two claims: weights help, and the cluster term helps beyond the weights.
PAIRS = (("softmax", "weighted_softmax"), ("softmax", "weighted_cluster"), ("weighted_softmax", "weighted_cluster"))
PROBABILITIES = [f"p_{name}" for name in EXPRESSIONS]


def paired_tests(predictions: pd.DataFrame, runs: pd.DataFrame, models=None, seeds=None) -> pd.DataFrame:
    """The paper's claims on the same test images, a row a pair of runs of one base, pre-training and seed.

    Args:
        predictions: `predictions.parquet`.
        runs: `runs.csv`.
        models, seeds: those that the study plans (`study.json`); default: all that occur in `runs`. A planned pair of
            which a run is missing stays as a row of NaN, so that a gap is seen.

    Returns:
        DataFrame: `base`, `pretrained`, `seed`, `loss_a`, `loss_b`; `difference`, `low`, `high` (macro recall, b − a,
        with a 95 % paired bootstrap interval); `only_a`, `only_b` (images that one run alone has right), `p_value`
        (exact McNemar, of accuracy), and `p_holm`, the same corrected for the number of rows.

    Raises:
        InputError: where two runs of a pair were tested on other images or labels.

    >>> runs = pd.DataFrame({"run": ["a", "b"], "model": [6, 8], "seed": [0, 0]})
    >>> predictions = pd.DataFrame({"run": ["a"] * 2 + ["b"] * 2, "image": ["x", "y"] * 2, "label": [0, 1, 0, 1]})
    >>> predictions[[f"p_{name}" for name in EXPRESSIONS]] = [[1.0] + [0.0] * 7] * 3 + [[0.0, 1.0] + [0.0] * 6]
    >>> paired_tests(predictions, runs)[["loss_b", "difference", "only_b"]].values.tolist()
    [['weighted_softmax', 0.5, 1]]
    """
    table = pd.DataFrame([
        {**claim._asdict(), "seed": seed, **_tested(pair)}
        for claim, pairs in _claims(predictions, runs, models, seeds).items()
        for seed, pair in pairs.items()
    ])  # fmt: skip
    return table if table.empty else table.assign(p_holm=holm(table["p_value"]))


def paired_claims(predictions: pd.DataFrame, runs: pd.DataFrame, models=None, seeds=None) -> pd.DataFrame:
    """The paper's claims over all seeds, with what may be said of each.

    A claim has to hold for other images and for other seeds: its p-value is the larger of the paired bootstrap's over
    images and the t-test's over seeds (with one seed, the former), and Holm's correction counts all claims.

    Args:
        predictions, runs, models, seeds: as in `paired_tests`.

    Returns:
        DataFrame, a row a base, pre-training and pair of losses: `base`, `pretrained`, `loss_a`, `loss_b`; `seeds`,
        `seeds_missing` (counts); `difference`, `low`, `high` (macro recall, b − a, mean over the seeds that are there,
        95 % paired bootstrap over images); `seeds_low`, `seeds_high` (95 % t interval over seeds, NaN with one),
        `same_sign` (seeds with the sign of the mean); `p_value`, `p_holm`; `verdict`, a sentence. NaN where no seed has
        both runs.

    Raises:
        InputError: where the runs of a claim were tested on other images or labels.

    >>> runs = pd.DataFrame({"run": ["a", "b"], "model": [6, 8], "seed": [0, 0]})
    >>> predictions = pd.DataFrame({"run": ["a"] * 2 + ["b"] * 2, "image": ["x", "y"] * 2, "label": [0, 1, 0, 1]})
    >>> predictions[[f"p_{name}" for name in EXPRESSIONS]] = [[1.0] + [0.0] * 7] * 3 + [[0.0, 1.0] + [0.0] * 6]
    >>> paired_claims(predictions, runs)["seeds"].tolist()
    [1]
    """
    rows, rest = [], []
    for claim, pairs in _claims(predictions, runs, models, seeds).items():
        there = [pair for pair in pairs.values() if pair]
        row = {**claim._asdict(), "seeds": len(there), "seeds_missing": len(pairs) - len(there)}
        row |= dict.fromkeys(("difference", "low", "high", "seeds_low", "seeds_high"), np.nan)
        row |= {"same_sign": 0, "p_value": np.nan}
        said = {"a": LOSSES[claim.loss_a], "b": LOSSES[claim.loss_b], "planned": len(pairs)}
        if there:
            targets, *both = (np.stack(part) for part in zip(*there, strict=True))  # (S, N)
            over = over_seeds([_tested(pair)["difference"] for pair in there])
            row |= macro_recall_difference(targets[0], *both)
            row |= {"seeds_low": over["low"], "seeds_high": over["high"], "same_sign": over["same_sign"]}
            row["p_value"] = float(np.fmax(row["p_value"], over["p_value"]))
            said |= {"seeds": over, "supports": np.bincount(targets[0], minlength=NUM_CLASSES)}
        rows.append(row)
        rest.append(said)
    if not rows:
        return pd.DataFrame()
    table = pd.DataFrame(rows)
    table["p_holm"] = holm(table["p_value"])
    comparisons = max(1, table["p_value"].count())
    table["verdict"] = [
        verdict(row | {"p_value": row["p_holm"]}, comparisons=comparisons, **said)
        for row, said in zip(table.to_dict("records"), rest, strict=True)
    ]
    return table


class Claim(NamedTuple):
    """Loss b is better than loss a on one base, with or without pre-training."""

    base: str
    pretrained: bool
    loss_a: str
    loss_b: str


def _claims(predictions: pd.DataFrame, runs: pd.DataFrame, models, seeds) -> dict:
    """Claim → seed → labels and both runs' predicted labels, (N,) each, images in one order; None for a gap."""
    models = list(dict.fromkeys(runs["model"])) if models is None else list(models)
    seeds = sorted(set(runs["seed"])) if seeds is None else list(seeds)
    numbers = {(MODELS[n].base, MODELS[n].pretrained, MODELS[n].loss): n for n in models}
    guesses = predictions[PROBABILITIES].to_numpy().argmax(axis=1)
    tables = predictions[["image", "label"]].assign(guess=guesses).groupby(predictions["run"])
    by_run = {run: table.set_index("image").sort_index() for run, table in tables}
    ran = {(run.model, run.seed): run.run for run in runs.itertuples()}
    claims = {}
    for base, pretrained in dict.fromkeys(key[:2] for key in numbers):
        first = None
        for loss_a, loss_b in PAIRS:
            pair = [numbers.get((base, pretrained, loss)) for loss in (loss_a, loss_b)]
            if None in pair:
                continue
            own = claims[Claim(base, pretrained, loss_a, loss_b)] = dict.fromkeys(seeds)
            for seed in seeds:
                names = [ran.get((number, seed)) for number in pair]
                if None not in names:
                    a, b = (by_run[name] for name in names)
                    first = (names[0], a) if first is None else first
                    for name, table in zip(names, (a, b), strict=True):
                        check_same_images(first[1]["label"], table["label"], f"{first[0]} and {name}")
                    own[seed] = a["label"].to_numpy(), a["guess"].to_numpy(), b["guess"].to_numpy()
    return claims


def _tested(pair) -> dict:
    """One pair of runs: macro recall's difference and McNemar's test; NaN for a gap."""
    names = ("difference", "low", "high", "only_a", "only_b", "p_value")
    if pair is None:
        return dict.fromkeys(names, np.nan)
    change, test = macro_recall_difference(*pair), mcnemar(*pair)
    return dict(zip(names, (*(change[name] for name in names[:3]), *test.values()), strict=True))


def printed_tests(tests: pd.DataFrame) -> pd.DataFrame:
    """`paired_tests` as a paper prints it, differences in points, "–" for what was not run.

    >>> printed_tests(pd.DataFrame())
    Empty DataFrame
    Columns: []
    Index: []
    """
    return pd.DataFrame(
        {
            **_head(row),
            "Seed": str(row["seed"]),
            "Comparison": _comparison(row),
            "Macro recall": _change(row),
            "Right only in the first": "–" if np.isnan(row["only_b"]) else f"{row['only_b']:.0f}",
            "Right only in the second": "–" if np.isnan(row["only_a"]) else f"{row['only_a']:.0f}",
            "McNemar p": p_text(row["p_value"]),
            "p, Holm": p_text(row["p_holm"]),
        }
        for row in tests.to_dict("records")
    )


def printed_claims(claims: pd.DataFrame) -> pd.DataFrame:
    """`paired_claims` as a paper prints it, differences in points, "–" for what was not run.

    >>> printed_claims(pd.DataFrame()).empty
    True
    """
    return pd.DataFrame(
        {
            **_head(row),
            "Comparison": _comparison(row),
            "Macro recall": _change(row),
            "Over seeds": _change(row, "seeds_low", "seeds_high") if row["seeds"] > 1 else "–",
            "Seeds of that sign": f"{row['same_sign']} of {row['seeds']}"
            + (f" ({row['seeds_missing']} missing)" if row["seeds_missing"] else ""),
            "p, Holm": p_text(row["p_holm"]),
            "Verdict": row["verdict"],
        }
        for row in claims.to_dict("records")
    )


def _head(row: dict) -> dict:
    return {"Base": BASES[row["base"]], "Pre-trained": "yes" if row["pretrained"] else "no"}


def _comparison(row: dict) -> str:
    return f"{LOSSES[row['loss_b']]} against {LOSSES[row['loss_a']]}"


def _change(row: dict, low: str = "low", high: str = "high") -> str:
    if np.isnan(row["difference"]):
        return "–"
    return f"{100 * row['difference']:+.2f} [{100 * row[low]:+.2f}, {100 * row[high]:+.2f}]"
