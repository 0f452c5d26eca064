"""Two runs, cases or studies beside each other on the same images: is B better, or is it noise?"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from fer_utils import metrics
from fer_utils.core import InputError
from fer_utils.studies.results import RunSet, probabilities, read_run_set

# The first is what the verdict is on. On unequal test sets accuracy is the large classes'.
ORDER = ("macro_recall", "accuracy", "f1", "kappa", "alpha", "auc_pr", "auc")
SEVERAL = ORDER[:2]  # shown of many cases unless the user asks for more


@dataclass(frozen=True)
class Comparison:
    """What `compare` found.

    Attributes:
        table: a row a case and metric: case, metric, seeds, a, b, difference (b − a), low, high
            (95 % paired bootstrap over images), seeds_low, seeds_high (95 % t interval over seeds),
            p_value, p_holm (adjusted for the cases).
        verdicts: a sentence a case, on the first metric.
        notes: what a reader must know besides.
    """

    table: pd.DataFrame
    verdicts: list[str]
    notes: list[str]


def compare(a: str, b: str, root: Path, chosen: tuple[str, ...] = ()) -> Comparison:
    """Compare two sides on the same images, seed by seed.

    Where both sides are one case, these two are compared; otherwise cases of the same name are.
    Only runs of one seed (and fold) make a pair. With several seeds a claim has to hold for other
    images and for other seeds: its p-value is the larger of the two tests'.

    Args:
        a, b: STUDY, STUDY/RUN, or STUDY/CASE, from `results/` or else `runs/`.
        root: the checkout.
        chosen: metrics; default: all of one case, macro recall and accuracy of several.

    Raises:
        InputError: for unknown names or metrics, or sides that share no case or no images.
    """
    sides = read_run_set(a, root), read_run_set(b, root)
    pairs, notes = _pairs(*sides)
    chosen = tuple(chosen) or (ORDER if len(pairs) == 1 else SEVERAL)
    rows = []
    for case, runs in pairs.items():
        rows += [{"case": case, "seeds": len(runs), **row} for row in _case(sides, runs, chosen)]
    table = pd.DataFrame(rows)
    table["p_holm"] = table.groupby("metric")["p_value"].transform(metrics.holm)
    verdicts = []
    for row in table[table["metric"] == chosen[0]].to_dict("records"):
        names = (f"{row['case']} of {side.name}" if row["case"] else side.name for side in sides)
        verdicts.append(metrics.describe_verdict(row, *names, metric=chosen[0]))
    return Comparison(table, verdicts, notes)


def _pairs(a: RunSet, b: RunSet) -> tuple[dict[str, list[tuple[str, str]]], list[str]]:
    """Case → pairs of runs of one seed; and notes on what has no partner."""
    keys = [_keys(side) for side in (a, b)]
    if len({case for case, _ in keys[0]}) == len({case for case, _ in keys[1]}) == 1:
        keys = [{("", seed): run for (_, seed), run in own.items()} for own in keys]
        if len(keys[0]) == len(keys[1]) == 1:  # two single runs, whatever their seeds
            keys = [dict.fromkeys([("", "0")], *own.values()) for own in keys]
    shared = [key for key in keys[0] if key in keys[1]]
    if not shared:
        raise InputError(
            f"expected runs of the same case and seed in {a.name} and {b.name}, found "
            f"{_listed(a)} and {_listed(b)}; to compare two of them name each: STUDY/RUN"
        )
    pairs: dict[str, list[tuple[str, str]]] = {}
    for key in shared:
        pairs.setdefault(key[0], []).append((keys[0][key], keys[1][key]))
    if a.about == b.about and all(one == two for runs in pairs.values() for one, two in runs):
        raise InputError(f"expected two different sides, found the runs of {a.name} on both")
    notes = [
        f"Only in {side.name}, not compared: {', '.join(own[key] for key in alone)}."
        for side, own in zip((a, b), keys, strict=True)
        if (alone := [key for key in own if key not in shared])
    ]
    return pairs, notes


def _keys(side: RunSet) -> dict[tuple[str, str], str]:
    runs = side.runs
    if "diverged_in" in runs:
        runs = runs[~(runs["diverged_in"] == 1)]
    split = {run: run.rpartition("-seed") for run in runs["run"]}
    return {(case or seed, seed if case else "0"): run for run, (case, _, seed) in split.items()}


def _listed(side: RunSet) -> str:
    names = list(side.runs["run"])
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def _case(sides: tuple[RunSet, RunSet], runs: list, chosen: tuple[str, ...]) -> list[dict]:
    found = [on_same_images(*sides, *pair) for pair in runs]
    targets, groups = found[0][0], found[0][3]
    for other in found[1:]:
        if not np.array_equal(other[0], targets):
            raise InputError(f"expected one test set over the seeds, found others in {runs}")
    both = [np.stack([part[place] for part in found]) for place in (1, 2)]
    compared = metrics.compare_paired(targets, *both, metrics=chosen, groups=groups)
    rows = []
    for name, row in compared.to_dict("index").items():
        seeds = metrics.seed_interval(row.pop("by_seed"))
        p_value = np.nanmax([row["p_value"], seeds["p_value"]])
        own = {"seeds_low": seeds["low"], "seeds_high": seeds["high"], "p_value": p_value}
        rows.append({"metric": name, **row, **own})
    return rows


def on_same_images(a: RunSet, b: RunSet, run_a: str, run_b: str) -> tuple[np.ndarray, ...]:
    """Labels (N,), both runs' probabilities (N, 8) and duplicate groups, on the same images.

    Raises:
        InputError: where the test sets differ in images or labels.
    """
    first, second = (side.scored(run) for side, run in ((a, run_a), (b, run_b)))
    names = f"{a.name} ({run_a}) and {b.name} ({run_b})"
    for column in ("image", "label"):
        if not np.array_equal(first[column].to_numpy(), second[column].to_numpy()):
            raise InputError(
                f"expected one test set for {names}, found different {column}s "
                f"({len(first):,} and {len(second):,} images)"
            )
    parts = first["label"].to_numpy(), probabilities(first), probabilities(second)
    return *parts, first["group"].to_numpy()


def format_comparison(comparison: Comparison) -> pd.DataFrame:
    """The table as a terminal shows it: per cent and points."""
    table = comparison.table

    def interval(low: str, high: str) -> list[str]:
        both = zip(table[low], table[high], strict=True)
        return ["–" if np.isnan(x) else f"{100 * x:+.1f} to {100 * y:+.1f}" for x, y in both]

    shown = pd.DataFrame({
        "case": table["case"],
        "metric": table["metric"],
        "A": [f"{100 * value:.1f}" for value in table["a"]],
        "B": [f"{100 * value:.1f}" for value in table["b"]],
        "B − A": [f"{100 * value:+.1f}" for value in table["difference"]],
        "95 % interval": interval("low", "high"),
        "over seeds": interval("seeds_low", "seeds_high"),
        "p, Holm": [f"{value:.3f}" for value in table["p_holm"]],
        "seeds": table["seeds"],
    })  # fmt: skip
    return shown.drop(columns="case") if table["case"].nunique() == 1 else shown
