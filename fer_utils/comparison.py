"""Variants of a study beside each other: mean and spread over seeds, and the paired difference to a reference."""

import math

import pandas as pd

from fer_utils.errors import InputError, check_choice

COMPARED = {"macro_recall": "Macro recall", "accuracy": "Accuracy", "f1": "F1"}


def compare_variants(runs: pd.DataFrame, reference: str, metric: str = "macro_recall") -> pd.DataFrame:
    """Each variant of each setting, over its seeds, beside the reference of the same setting and seeds.

    A seed fixes initial weights, order and augmentation, so two variants of one seed are a pair, and the interval is
    that of the paired differences: mean ± t · s / √n with n − 1 degrees of freedom. With three seeds t is 4.3: only a
    difference that every seed shows stands out.

    Args:
        runs: `runs.csv` of a study with variants, metrics as fractions 0–1.
        reference: the variant that the others are compared with.
        metric: column that is compared: macro_recall, accuracy or f1.

    Returns:
        DataFrame, a row a setting and variant: `setting`, `variant`, `seeds`, `collapsed` (runs whose embedding
        collapsed), for each of `COMPARED` mean and `_sd` (NaN with one seed), and `difference`, `low`, `high` (95 %),
        `same_sign` (seeds whose difference has the sign of the mean; 0 for no difference).

    Raises:
        InputError: for an unknown reference or metric, or a variant whose seeds are not the reference's.

    >>> rows = [("a", 0, 0.2), ("a", 1, 0.3), ("b", 0, 0.4), ("b", 1, 0.5)]
    >>> runs = pd.DataFrame(rows, columns=["variant", "seed", "accuracy"]).assign(setting="s", collapsed=False)
    >>> runs = runs.assign(macro_recall=runs["accuracy"], f1=runs["accuracy"])
    >>> compare_variants(runs, "a")[["variant", "macro_recall", "difference", "same_sign"]].round(3).values.tolist()
    [['a', 0.25, 0.0, 0], ['b', 0.45, 0.2, 2]]
    """
    check_choice("metric", metric, COMPARED)
    check_choice("reference", reference, dict.fromkeys(runs["variant"]))
    rows = []
    for setting, group in runs.fillna({"setting": ""}).groupby("setting", sort=False):
        base = group[group["variant"] == reference].set_index("seed")
        for variant, own in group.groupby("variant", sort=False):
            own = own.set_index("seed")
            if sorted(own.index) != sorted(base.index):
                raise InputError(
                    f"expected the same seeds of {variant} and {reference} in setting {setting!r}, "
                    f"found {sorted(own.index)} and {sorted(base.index)}"
                )
            row = {"setting": setting, "variant": variant, "seeds": len(own), "collapsed": int(own["collapsed"].sum())}
            for name in COMPARED:
                row |= {name: own[name].mean(), f"{name}_sd": own[name].std()}
            rows.append(row | _paired(own[metric] - base[metric].loc[own.index]))
    return pd.DataFrame(rows)


def _paired(differences: pd.Series) -> dict:
    from scipy.stats import t

    mean, n = differences.mean(), len(differences)
    half = t.ppf(0.975, n - 1) * differences.std() / math.sqrt(n) if n > 1 else math.nan
    same = int((differences * mean > 0).sum())
    return {"difference": mean, "low": mean - half, "high": mean + half, "same_sign": same}


def printed_comparison(table: pd.DataFrame, reference: str, metric: str = "macro_recall") -> pd.DataFrame:
    """`compare_variants` as a paper prints it: per cent, mean ± standard deviation over seeds, differences in points.

    Args:
        table: what `compare_variants` returns.
        reference: its reference.
        metric: its metric.
    """
    rows = []
    for row in table.to_dict("records"):
        beside = f"{100 * row['difference']:+.1f}"
        if not math.isnan(row["low"]):
            beside += f" [{100 * row['low']:+.1f}, {100 * row['high']:+.1f}]"
        rows.append({
            "Setting": row["setting"].replace("_", ", "),
            "Variant": row["variant"].replace("_", " "),
            **{title: _mean_sd(row, name) for name, title in COMPARED.items()},
            f"{COMPARED[metric]} against the reference": "reference" if row["variant"] == reference else beside,
            "Seeds of that sign": "" if row["variant"] == reference else f"{row['same_sign']} of {row['seeds']}",
            "Collapsed": f"{row['collapsed']} of {row['seeds']}",
        })  # fmt: skip
    return pd.DataFrame(rows)


def _mean_sd(row: dict, name: str) -> str:
    spread = "" if math.isnan(row[f"{name}_sd"]) else f" ± {100 * row[f'{name}_sd']:.1f}"
    return f"{100 * row[name]:.1f}{spread}"
