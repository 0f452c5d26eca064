"""Is a loss worth its training? Set against what costs nothing: logit adjustment of softmax."""

import numpy as np
import pandas as pd

from fer_utils import metrics
from fer_utils.report.cases import SHOWN, Case, panels
from fer_utils.report.page import format_interval

CENTRAL = "weighted_cluster"
# The paper's two: weights help, and the cluster term helps beyond them.
CLAIMS = (("softmax", "weighted_softmax"), ("softmax", CENTRAL), ("weighted_softmax", CENTRAL))


def free_case(cases: list[Case]) -> Case | None:
    """A panel's plain softmax, whose adjustment costs no training."""
    return next((case for case in cases if case.loss == "softmax"), None)


def operating_curve(case: Case) -> pd.DataFrame:
    """Accuracy, and macro recall with its interval, as `tau` of logit adjustment rises to 1.5."""
    rows = []
    for tau in metrics.TAUS[::4]:
        log_p = metrics.logit_adjust(case.log_p, case.counts, tau)
        found = case.score(log_p, ("accuracy", "macro_recall"), resamples=500)
        rows.append((tau, found.loc["accuracy", "value"], *found.loc["macro_recall"]))
    return pd.DataFrame(rows, columns=["tau", "accuracy", "macro_recall", "low", "high"])


def score_table(cases: list[Case], chosen=SHOWN, adjusted=True, **options) -> pd.DataFrame:
    """A row a case, and one for each panel's softmax adjusted with the τ of validation.

    Returns:
        DataFrame: `panel`, `model`, `name`, `loss` ("" where nothing was trained), `power` (of
        W_c), `seeds`, `tau` (mean over runs), and `<metric>`, `<metric>_low`, `<metric>_high`.
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
            for metric, (value, low, high) in case.score(log_p, chosen, **options).iterrows():
                row |= {metric: value, f"{metric}_low": low, f"{metric}_high": high}
            rows.append(row)
    return pd.DataFrame(rows)


def at_equal_accuracy(cases: list[Case]) -> pd.DataFrame:
    """Macro recall of every trained case less that of its panel's softmax line at its accuracy.

    As it was trained, and, as curve against curve, adjusted with its own τ of validation.

    Returns:
        DataFrame: `panel`, `name`, `loss`, `adjusted`, what `metrics.compare_at_equal_accuracy`
        finds, and what `judge` adds.
    """
    rows = []
    for panel, own in panels(cases).items():
        free = free_case(own)
        for case in own if free is not None else ():
            planned = [(False, case.log_p), (True, case.adjusted() if case.taus else None)]
            for adjusted, log_p in planned:
                if case is not free and log_p is not None:
                    head = {"panel": panel, "name": case.name, "loss": case.loss}
                    rows.append(head | {"adjusted": adjusted} | _above_line(free, log_p))
    return judge(pd.DataFrame(rows))


def _above_line(free: Case, log_p: np.ndarray) -> dict:
    labels, by_seed = free.labels, []
    for line, own in zip(free.log_p, log_p, strict=False):
        curve = metrics.operating_curve(line, labels, free.counts)
        at = metrics.operating_curve(own, labels, free.counts, [0.0]).iloc[0]
        there = metrics.curve_at_accuracy(curve, at["accuracy"])
        by_seed.append(at["macro_recall"] - there)
    groups = free.images["group"]
    line = free.log_p, free.counts
    found = metrics.compare_at_equal_accuracy(labels, *line, log_p, groups=groups)
    return found | {"by_seed": by_seed}


def paired_claims(cases: list[Case], reference: str = "softmax") -> pd.DataFrame:
    """The paper's claims on macro recall; of a study without its losses, all less the reference.

    Returns:
        DataFrame: `panel`, `name`, `against`, what `metrics.compare_paired` finds, and what
        `judge` adds.
    """
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
        return "No verdict: the study has no softmax beside another loss under equal conditions."
    own = table[~table["adjusted"]]
    own = own[own["loss"] == CENTRAL] if (own["loss"] == CENTRAL).any() else own
    told, alone = [], own["name"].nunique() == 1
    for row in own.to_dict("records"):
        where = row["panel"] if alone else f"{row['panel']} {row['name']}"
        gap = format_interval(row["difference"], row["low"], row["high"], signed=True)
        told.append(f"{where}: {row['state']}, {gap}".strip(": "))
    name = own["name"].iloc[0] if alone else "every loss"
    return (
        f"Macro recall of {name} against softmax with post-hoc logit adjustment, which costs no "
        f"training, at the same accuracy or better: {'; '.join(told)} points (95 % intervals)."
    )
