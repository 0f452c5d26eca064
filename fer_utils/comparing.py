"""Two runs or two studies beside each other, from `results/` alone: is b better than a, or is it noise?"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from fer_utils import metrics
from fer_utils.errors import InputError, check_choice
from fer_utils.results import Side, on_same_images, read_side

# Averages over classes come first: on an unequal test set the accuracy is the large classes'.
ORDER = (
    "macro_recall",
    "f1",
    "auc_pr",
    "auc",
    "accuracy",
    "kappa",
    "alpha",
    "top2",
    "ece",
    "brier",
    "kappa_ovr",
    "alpha_ovr",
)
SEVERAL = ("macro_recall", "accuracy")  # shown of many cases unless the user asks for more


@dataclass(frozen=True)
class Comparison:
    """What `compare` found.

    Attributes:
        table: a row a case (model, or setting and variant) and metric: `case`, `metric`; `seeds` (pairs that were
            compared) of `planned`; `a`, `b` (means over these), `difference` (b − a), `low`, `high` (95 % paired
            bootstrap over images); `seeds_low`, `seeds_high` (95 % t interval over seeds), `same_sign`; `p_value`,
            `p_holm` (adjusted for the cases), `test`. NaN where no pair is there.
        verdicts: a sentence a case, on the first metric.
        notes: what a reader must know besides: small classes, missing runs.
    """

    table: pd.DataFrame
    verdicts: list
    notes: list


def compare(a: str, b: str, root: Path, chosen=()) -> Comparison:
    """Compare two sides on the same images, seed by seed.

    Where both sides are one case (a run, a model, a variant), these two are compared, whatever they are. Otherwise
    cases of the same name are, model with model and variant with variant, and only runs of one seed make a pair. A
    pair that misses a run is counted and named, not left out in silence.

    With several seeds a claim has to hold for other images and for other seeds, so its p-value is the larger of the
    bootstrap's over images and the t-test's over seeds. Holm's correction counts the cases, not the metrics: the
    verdict is on the first metric, to be chosen before the numbers are seen.

    Args:
        a, b: STUDY, STUDY/RUN, or STUDY/CASE, a run's name without its seed.
        root: the checkout.
        chosen: metrics (`metrics.METRICS`); default: all of one case, macro recall and accuracy of several.

    Raises:
        InputError: for unknown names or metrics, an incomplete run, other classes, another test set, or sides that
            share nothing.
    """
    for name in chosen:
        check_choice("metric", name, metrics.METRICS)
    sides = read_side(a, root), read_side(b, root)
    pairs = _pairs(*sides)
    chosen = tuple(chosen) or (ORDER if len(pairs) == 1 else SEVERAL)
    rows, claims, notes = [], {}, _notes(*sides, pairs)
    for case, planned in pairs.items():
        there = [pair[1:] for pair in planned if None not in pair]
        found, claims[case] = _compare_case(*sides, there, chosen)
        rows += [{"case": case, "seeds": len(there), "planned": len(planned), **row} for row in found]
        notes.append(claims[case].pop("small", ""))
        names = (f"{case} of {side.name}" if len(pairs) > 1 else side.name for side in sides)
        claims[case] |= {"planned": len(planned), **dict(zip("ab", names, strict=True))}
    table = pd.DataFrame(rows)
    table["p_holm"] = table.groupby("metric")["p_value"].transform(metrics.holm)
    verdicts = [
        metrics.verdict(
            row | {"p_value": row["p_holm"]},
            metric=chosen[0],
            comparisons=max(1, table.loc[table["metric"] == chosen[0], "p_value"].count()),
            **claims[row["case"]],
        )
        for row in table[table["metric"] == chosen[0]].to_dict("records")
    ]
    return Comparison(table, verdicts, list(dict.fromkeys(filter(None, notes))))


def printed(comparison: Comparison) -> pd.DataFrame:
    """The table as a terminal shows it: per cent and points, but Brier's score as it is."""
    rows = []
    for row in comparison.table.to_dict("records"):
        metric = row["metric"]
        rows.append({
            "case": row["case"],
            "metric": metrics.METRICS[metric],
            "A": metrics.amount(row["a"], metric, "", signed=False),
            "B": metrics.amount(row["b"], metric, "", signed=False),
            "B − A": metrics.amount(row["difference"], metric, ""),
            "95 % interval": _interval(row["low"], row["high"], metric),
            "over seeds": _interval(row["seeds_low"], row["seeds_high"], metric),
            "p": metrics.p_text(row["p_value"]),
            "p, Holm": metrics.p_text(row["p_holm"]),
            "test": row["test"],
            "seeds": f"{row['seeds']} of {row['planned']}",
        })  # fmt: skip
    table = pd.DataFrame(rows)
    return table.drop(columns=[name for name in ("case", "p, Holm") if table["case"].nunique() == 1])


def _pairs(a: Side, b: Side) -> dict:
    """Case → a triple for each planned pair: seed, run of a, run of b; None where a run is not there."""
    single, alone = len(a.planned) == len(b.planned) == 1, len(a.cases) == len(b.cases) == 1
    keys = []
    for side in (a, b):
        own = {run: ("" if alone else case, 0 if single else seed) for run, (case, seed) in side.planned.items()}
        keys.append({key: run for run, key in own.items()})
    shared = {case for case, _ in keys[0]} & {case for case, _ in keys[1]}
    pairs = {}
    for key in dict.fromkeys([*keys[0], *keys[1]]):
        if key[0] in shared:
            runs = (own.get(key) for own in keys)
            there = (run if run in side.predictions else None for run, side in zip(runs, (a, b), strict=True))
            pairs.setdefault(key[0], []).append((key[1], *there))
    whole = [pair[1:] for planned in pairs.values() for pair in planned if None not in pair]
    if not whole:
        raise InputError(
            f"expected runs of the same model (or setting and variant) and seed in {a.name} and {b.name}, found "
            f"{_listed(a)} and {_listed(b)}; to compare two of them name each: STUDY/RUN"
        )
    if a.study == b.study and all(first == second for first, second in whole):
        raise InputError(f"expected two different sides, found the runs of {a.name} on both")
    return pairs


def _listed(side: Side) -> str:
    names = list(side.predictions)
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def _notes(a: Side, b: Side, pairs: dict) -> list[str]:
    """What is on one side alone: seeds that a case misses, and cases."""
    notes = []
    for case, planned in pairs.items():
        for side, place in ((a, 1), (b, 2)):
            gone = [str(pair[0]) for pair in planned if pair[place] is None]
            if gone:
                notes.append(f"Missing in {'/'.join(filter(None, (side.name, case)))}: seed {', '.join(gone)}.")
    for side in (a, b):
        alone = [case for case in side.cases if case not in pairs]
        if alone and "" not in pairs:
            notes.append(f"Only in {side.name}, not compared: {', '.join(alone)}.")
    return notes


def _compare_case(a: Side, b: Side, there: list, chosen: tuple) -> tuple[list[dict], dict]:
    """Rows of the table, a metric each, and what the verdict on the first is made of."""
    if not there:
        empty = dict.fromkeys(("a", "b", "difference", "low", "high", "seeds_low", "seeds_high", "p_value"), np.nan)
        return [{"metric": name, **empty, "same_sign": 0, "test": ""} for name in chosen], {}
    found = [on_same_images(a, first, b, second) for first, second in there]
    for run, _ in there[1:]:
        on_same_images(a, there[0][0], a, run)  # one test set over the seeds too
    targets = found[0][0]
    both = [np.stack([part[place] for part in found]) for place in (1, 2)]
    compared = metrics.compare_paired(targets, *both, metrics=chosen)
    scores = [[metrics.summarise(targets, part, chosen) for part in side] for side in both]
    rows, claim = [], {"supports": np.bincount(targets, minlength=8), "small": metrics.small_classes(targets)}
    for name, row in compared.to_dict("index").items():
        differences = [second[name] - first[name] for first, second in zip(*scores, strict=True)]
        seeds = metrics.over_seeds(differences)
        row |= {"seeds_low": seeds["low"], "seeds_high": seeds["high"], "same_sign": seeds["same_sign"]}
        if seeds["p_value"] > row["p_value"]:
            row |= {"p_value": seeds["p_value"], "test": "t over seeds"}
        rows.append({"metric": name, **row})
        if name == chosen[0]:
            claim["seeds"] = seeds
    return rows, claim


def _interval(low: float, high: float, metric: str) -> str:
    if np.isnan(low):
        return "–"
    return " to ".join(metrics.amount(bound, metric, "") for bound in (low, high))
