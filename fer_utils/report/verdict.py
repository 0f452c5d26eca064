"""Is a loss worth its training? What a study shows of it, and what has to stand beside that."""

from dataclasses import replace

import numpy as np
import pandas as pd

from fer_utils import metrics
from fer_utils.core import LABELS, NUM_CLASSES, RARE, paper
from fer_utils.report.cases import SHOWN, Case, panels
from fer_utils.report.page import format_interval, percent

CENTRAL = "weighted_cluster"
# The paper's two: weights help, and the cluster term helps beyond them.
CLAIMS = (("softmax", "weighted_softmax"), ("softmax", CENTRAL), ("weighted_softmax", CENTRAL))


def free_case(cases: list[Case]) -> Case | None:
    """A panel's plain softmax, whose adjustment costs no training."""
    return next((case for case in cases if case.loss == "softmax"), None)


def operating_curves(cases: list[Case]) -> pd.DataFrame:
    """Each panel's free line: `panel`, `tau` of logit adjustment from 0 to 1.5, `accuracy` of its
    softmax then, and of its `Case.second` `recall`, `low`, `high`."""
    rows = []
    for case in filter(None, map(free_case, panels(cases).values())):
        for tau in metrics.TAUS[::4]:
            log_p = metrics.logit_adjust(case.log_p, case.counts, tau)
            found = case.score(log_p, ("accuracy", "macro_recall"), resamples=500)
            accuracy, recall = found.loc["accuracy", "value"], found.loc[case.second]
            rows.append((case.panel, tau, accuracy, *recall))
    return pd.DataFrame(rows, columns=["panel", "tau", "accuracy", "recall", "low", "high"])


def score_table(cases: list[Case], chosen=SHOWN, adjusted=True, **options) -> pd.DataFrame:
    """A row a case, and one for each panel's softmax adjusted with the τ of validation.

    Columns: `panel`, `model`, `name`, `loss` ("" where nothing was trained), `power` of W_c,
    `seeds`, `tau` (mean over runs), `second`, and `<metric>`, `<metric>_low`, `<metric>_high`.
    """
    rows = []
    for panel, own in panels(cases).items():
        planned = [(case, case.name, case.loss, None, np.nan) for case in own]
        free = free_case(own)
        if adjusted and free is not None and free.taus:
            tau = np.mean(list(free.taus.values()))
            planned.append((free, f"{free.name} + logit adjustment", "", free.adjusted(), tau))
        for case, name, loss, log_p, tau in planned:
            row = {"panel": panel, "model": case.model, "name": name, "loss": loss}
            row |= {"power": case.power, "seeds": len(case.seeds), "tau": tau}
            row["second"] = case.second
            for metric, (value, low, high) in case.score(log_p, chosen, **options).iterrows():
                row |= {metric: value, f"{metric}_low": low, f"{metric}_high": high}
            rows.append(row)
    return pd.DataFrame(rows)


def against_free(cases: list[Case]):
    """Every case with its panel's plain softmax, but that itself."""
    for own in panels(cases).values():
        free = free_case(own)
        yield from ((case, free) for case in own if free is not None and case is not free)


def at_equal_accuracy(cases: list[Case]) -> pd.DataFrame:
    """Macro recall of every trained case less that of its panel's softmax line at its accuracy.

    As it was trained, and, as curve against curve, `adjusted` with its own τ of validation. On a
    test of equal classes, where accuracy is macro recall, less softmax at its τ of validation.
    """
    rows = []
    for case, free in against_free(cases):
        against = _above_line if case.second == "macro_recall" else _above_point
        if against is _above_point and not free.taus:
            continue
        for adjusted in (False, True) if case.taus else (False,):
            one = replace(case, log_p=case.adjusted()) if adjusted else case
            head = {"panel": case.panel, "name": case.name, "loss": case.loss}
            rows.append(head | {"adjusted": adjusted} | against(free, one))
    return judge(pd.DataFrame(rows))


def _above_point(free: Case, case: Case) -> dict:
    point = replace(free, log_p=free.adjusted())
    found = case.compare(point, ("macro_recall",)).iloc[0].to_dict()
    head = {"at": "its τ of validation", "tau": np.mean(list(free.taus.values()))}
    return head | {"accuracy": found.pop("b"), "free_accuracy": found.pop("a")} | found


def _above_line(free: Case, case: Case) -> dict:
    labels, counts, by_seed = free.labels, free.counts, []
    for line, own in zip(free.log_p, case.log_p, strict=False):
        at = metrics.operating_curve(own, labels, counts, [0.0]).iloc[0]
        curve = metrics.operating_curve(line, labels, counts)
        by_seed.append(at["macro_recall"] - metrics.curve_at_accuracy(curve, at["accuracy"]))
    both, groups = (free.log_p, counts, case.log_p), free.images["group"]
    found = metrics.compare_at_equal_accuracy(labels, *both, groups=groups)
    return {"at": "the same accuracy"} | found | {"by_seed": by_seed}


def paired_claims(cases: list[Case], reference: str = "softmax") -> pd.DataFrame:
    """The paper's claims on macro recall; of a study without its losses, all less the reference."""
    rows = []
    for panel, own in panels(cases).items():
        by_loss = {case.loss: case for case in reversed(own) if case.power == 1}
        pairs = [(by_loss[a], by_loss[b]) for a, b in CLAIMS if a in by_loss and b in by_loss]
        first = next((case for case in own if case.name == reference.replace("_", " ")), own[0])
        for a, b in pairs or [(first, case) for case in own if case is not first]:
            found = b.compare(a, ("macro_recall",)).iloc[0].to_dict()
            rows.append({"panel": panel, "name": b.name, "against": a.name} | found)
    return judge(pd.DataFrame(rows))


def judge(table: pd.DataFrame) -> pd.DataFrame:
    """With `p_holm` over all rows, the extremes of the seeds in place of `by_seed`, and `state`."""
    if table.empty:
        return table
    ends = {"seeds_low": table["by_seed"].map(min), "seeds_high": table["by_seed"].map(max)}
    table = table.drop(columns="by_seed").assign(p_holm=metrics.holm(table["p_value"]), **ends)
    return table.assign(state=[metrics.verdict(row) for row in table.to_dict("records")])


def say_verdict(table: pd.DataFrame) -> str:
    """One sentence from `at_equal_accuracy`, on the paper's loss, else on all."""
    if table.empty:
        need = "on a test of equal classes predictions of validation images, to choose τ"
        return f"No verdict: it takes a softmax beside another loss, and {need}."
    own = table[~table["adjusted"]]
    own = own[own["loss"] == CENTRAL] if (own["loss"] == CENTRAL).any() else own
    told, alone = [], own["name"].nunique() == 1
    for row in own.to_dict("records"):
        where = row["panel"] if alone else f"{row['panel']} {row['name']}"
        gap = format_interval(row["difference"], row["low"], row["high"], signed=True)
        both = f" at {percent(row['accuracy'])} and {percent(row['free_accuracy'])} % accuracy"
        gap += "" if row.get("equal", True) else both
        told.append(f"{where}: {row['state']}, {gap}".strip(": "))
    name = own["name"].iloc[0] if alone else "every loss"
    return (
        f"Macro recall of {name} against softmax with post-hoc logit adjustment, which costs no "
        f"training, at {own['at'].iloc[0]}: {'; '.join(told)} points "
        "(95 % intervals; tested with Holm's correction)."
    )


def say_claims(table: pd.DataFrame) -> str:
    """What `paired_claims` come to, state by state."""
    told = {}
    for row in table.to_dict("records"):
        where = f" ({row['panel']})" if row["panel"] else ""
        told.setdefault(row["state"], []).append(f"{row['name']} against {row['against']}{where}")
    states = "; ".join(f"{state}: {', '.join(pairs)}" for state, pairs in told.items())
    return f"Macro recall, {states}." if told else "There was no pair of losses to compare."


def say_protocol(results, cases: list[Case]) -> list[str]:
    """Lines on a `studies.RunSet`: images, seeds, size, looks at the test split, what is amiss."""
    about, runs = results.about, results.runs
    counts = np.bincount(cases[0].labels, minlength=NUM_CLASSES)
    rare = " and ".join(f"{counts[LABELS[name]]:,} of {name}" for name in RARE)
    images = f"{np.count_nonzero(counts)} classes, {counts.sum():,} images scored, {rare}."
    if (cases[0].runs["protocol"] == "k_fold").any():
        images += f" {cases[0].runs['folds'].max():.0f}-fold cross-validation: each once a seed."
    kept = [f"the best epoch by validation {name}" for name in runs["selection"].unique()]
    kept = " and ".join(kept).replace("best epoch by validation last", "last epoch")
    seeds = f"Seeds {', '.join(map(str, about['seeds']))}; {kept}. Values are means over seeds;"
    looks = f"once for each of {len(runs)} runs"
    if about.get("test_looks"):
        looks += f", and {about['test_looks']} times before the recipe was final"
    if (runs["evaluation"] == "validation").all():
        looks = "never: all is scored on validation images"
    seeds += " intervals are 95 %, over images, duplicates together."
    lines = [about["note"], images, seeds, _reduced(runs), f"The test split was looked at {looks}."]
    for what, names in _amiss(about, runs, cases):
        more = f" and {len(names) - 6} more" * (len(names) > 6)
        lines += [f"{what}: {'; '.join(names[:6])}{more}."] if names else []
    return [line for line in lines if line]


def _amiss(about: dict, runs: pd.DataFrame, cases: list[Case]):
    if "diverged_in" in runs:
        yield "Diverged in training", runs.loc[runs["diverged_in"].notna(), "run"].tolist()
    yield "Embedding collapsed", runs.loc[runs["collapsed"].astype(bool), "run"].tolist()
    there = set(runs["model"] if "model" in runs else runs["variant"])
    planned = about.get("models") or about.get("variants", [])
    yield "Planned, and not there", [str(name) for name in planned if name not in there]
    without = [f"{case.panel}: {case.name}".strip(": ") for case in cases if not case.taus]
    yield "Without other validation images, so out of post-hoc rows", without
    free = free_case(cases)
    bound = [] if free is None else [run for run, tau in free.taus.items() if tau.bound]
    yield "The τ of validation is at its bound", bound


def _reduced(runs: pd.DataFrame) -> str:
    """What is smaller than in the paper; "" for a study of its size."""
    kinds = runs.drop_duplicates(["dataset", "image_size", "architecture"])
    if (kinds["dataset"] == "affectnet").all() and (kinds["image_size"] == 224).all():
        return ""
    kinds = kinds[["dataset", "train_images", "image_size", "architecture"]].to_numpy()
    ours = "; ".join(f"{a}, {n:,} training images, {px} px, {b}" for a, n, px, b in kinds)
    theirs = f"AffectNet's ({sum(paper.TRAINING_COUNTS):,} training images, 224 px)"
    return (
        f"Reduced: {ours}. Published values are {theirs}, another task: compare the order of the "
        "losses, not the numbers."
    )


def say_calibration(cases: list[Case]) -> str:
    """What temperature scaling does to the first softmax; "" where there is none to scale."""
    case = free_case(cases)
    if case is None or not case.taus:
        return ""
    cooled = case.log_p / case.by_image["temperature"]
    both = [case.score(log_p, ("ece",), resamples=1) for log_p in (None, cooled)]
    before, after = (percent(found.loc["ece", "value"]) for found in both)
    return (
        "Temperature scaling, fitted on validation, takes softmax's expected calibration error "
        f"from {before} to {after} points and changes no prediction."
    )
