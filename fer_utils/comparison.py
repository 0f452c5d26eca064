"""Variants of a study beside each other: mean and spread over seeds, and the paired difference to a reference."""

import math

import pandas as pd

from fer_utils.errors import check_choice
from fer_utils.metrics import over_seeds

COMPARED = {"macro_recall": "Macro recall", "accuracy": "Accuracy", "f1": "F1"}


def compare_variants(
    runs: pd.DataFrame, reference: str, metric: str = "macro_recall", variants=None, seeds=None
) -> pd.DataFrame:
    """Each variant of each setting, over its seeds, beside the reference of the same setting and seeds.

    A seed fixes initial weights, order and augmentation, so two variants of one seed are a pair, and the interval is
    that of the paired differences: mean ± t · s / √n with n − 1 degrees of freedom. With three seeds t is 4.3: only a
    difference that every seed shows stands out.

    Args:
        runs: `runs.csv` of a study with variants, metrics as fractions 0–1.
        reference: the variant that the others are compared with.
        metric: column that is compared: macro_recall, accuracy or f1.
        variants, seeds: those that the study plans (`study.json`); default: all that occur in `runs`.

    Returns:
        DataFrame, a row a setting and variant: `setting`, `variant`, `seeds` and `seeds_missing` (counts; a variant
        that was not run in a setting stays as a row of NaN), `collapsed` (runs whose embedding collapsed), for each of
        `COMPARED` mean and `_sd` (NaN with one seed), and `difference`, `low`, `high` (95 %), `same_sign` (seeds whose
        difference has the sign of the mean; 0 for no difference), over the `pairs` of which both runs are there.

    Raises:
        InputError: for an unknown reference or metric.

    >>> rows = [("a", 0, 0.2), ("a", 1, 0.3), ("b", 0, 0.4), ("b", 1, 0.5)]
    >>> runs = pd.DataFrame(rows, columns=["variant", "seed", "accuracy"]).assign(setting="s", collapsed=False)
    >>> runs = runs.assign(macro_recall=runs["accuracy"], f1=runs["accuracy"])
    >>> compare_variants(runs, "a")[["variant", "macro_recall", "difference", "same_sign"]].round(3).values.tolist()
    [['a', 0.25, 0.0, 0], ['b', 0.45, 0.2, 2]]
    """
    check_choice("metric", metric, COMPARED)
    variants = list(dict.fromkeys(runs["variant"])) if variants is None else list(variants)
    check_choice("reference", reference, variants)
    planned = runs["seed"].nunique() if seeds is None else len(seeds)
    rows = []
    for setting, group in runs.fillna({"setting": ""}).groupby("setting", sort=False):
        base = group[group["variant"] == reference].set_index("seed")
        for variant in variants:
            own = group[group["variant"] == variant].set_index("seed")
            row = {"setting": setting, "variant": variant, "seeds": len(own), "seeds_missing": planned - len(own)}
            row["collapsed"] = int(own["collapsed"].sum())
            for name in COMPARED:
                row |= {name: own[name].mean(skipna=False), f"{name}_sd": own[name].std()}
            rows.append(row | _paired(own[metric].sub(base[metric]).dropna()))
    return pd.DataFrame(rows)


def _paired(differences: pd.Series) -> dict:
    if differences.empty:
        return {"difference": math.nan, "low": math.nan, "high": math.nan, "same_sign": 0, "pairs": 0}
    found = over_seeds(differences)
    kept = {name: found[name] for name in ("low", "high", "same_sign")}
    return {"difference": found["mean"], **kept, "pairs": found["seeds"]}


def printed_comparison(table: pd.DataFrame, reference: str, metric: str = "macro_recall") -> pd.DataFrame:
    """`compare_variants` as a paper prints it: per cent, mean ± standard deviation over seeds, differences in points.

    Args:
        table: what `compare_variants` returns.
        reference: its reference.
        metric: its metric.
    """
    rows = []
    for row in table.to_dict("records"):
        beside = "–" if math.isnan(row["difference"]) else f"{100 * row['difference']:+.1f}"
        if not math.isnan(row["low"]):
            beside += f" [{100 * row['low']:+.1f}, {100 * row['high']:+.1f}]"
        rows.append({
            "Setting": row["setting"].replace("_", ", "),
            "Variant": row["variant"].replace("_", " "),
            **{title: _mean_sd(row, name) for name, title in COMPARED.items()},
            f"{COMPARED[metric]} against the reference": "reference" if row["variant"] == reference else beside,
            "Seeds of that sign": "" if row["variant"] == reference else f"{row['same_sign']} of {row['pairs']}",
            "Collapsed": f"{row['collapsed']} of {row['seeds']}"
            + (f" ({row['seeds_missing']} missing)" if row["seeds_missing"] else ""),
        })  # fmt: skip
    return pd.DataFrame(rows)


def _mean_sd(row: dict, name: str) -> str:
    if math.isnan(row[name]):
        return "–"
    spread = "" if math.isnan(row[f"{name}_sd"]) else f" ± {100 * row[f'{name}_sd']:.1f}"
    return f"{100 * row[name]:.1f}{spread}"
