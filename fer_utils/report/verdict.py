"""Is a loss worth its training? What a study shows of it, and what has to stand beside that."""

from dataclasses import replace

import numpy as np
import pandas as pd

from fer_utils import metrics
from fer_utils.core import EXPRESSIONS, RARE, paper
from fer_utils.report.cases import SHOWN, Case, panels
from fer_utils.report.page import TEMPLATES, format_interval, percent

CENTRAL = "weighted_cluster"
# The paper's two: weights help, and the cluster term helps beyond them.
CLAIMS = (("softmax", "weighted_softmax"), ("softmax", CENTRAL), ("weighted_softmax", CENTRAL))


def free_case(cases: list[Case]) -> Case | None:
    """A panel's plain softmax, whose adjustment costs no training."""
    return next((case for case in cases if case.loss == "softmax"), None)


def against_free(cases: list[Case]) -> list[tuple[Case, Case]]:
    """Every case with its panel's plain softmax, but that itself."""
    free = {panel: free_case(own) for panel, own in panels(cases).items()}
    pairs = [(case, free[case.panel]) for case in cases]
    return [(case, softmax) for case, softmax in pairs if softmax not in (None, case)]


def operating_curves(cases: list[Case]) -> pd.DataFrame:
    """Each panel's free line: `panel`, `tau` of logit adjustment from 0 to 1.5, `accuracy` of its
    softmax then, and of its `Case.second` `recall`, `low`, `high`."""
    rows = []
    for case in filter(None, map(free_case, panels(cases).values())):
        for tau in metrics.TAUS[::4]:
            log_p = metrics.logit_adjust(case.log_p, case.counts, tau)
            found = case.score(log_p, ("accuracy", "macro_recall"), resamples=500)
            rows.append((case.panel, tau, found["value"]["accuracy"], *found.loc[case.second]))
    return pd.DataFrame(rows, columns=["panel", "tau", "accuracy", "recall", "low", "high"])


def score_table(cases: list[Case], chosen=SHOWN, adjusted=True, **options) -> pd.DataFrame:
    """A row a case, and one for each panel's softmax adjusted with the τ of validation.

    Columns: `panel`, `model`, `name`, `loss` ("" where nothing was trained), `power` of W_c,
    `seeds`, `tau` (mean over runs), `second`, and `<metric>`, `<metric>_low`, `<metric>_high`.
    """
    rows = []
    for own in panels(cases).values():
        planned = [(case, case.name, case.loss, None, np.nan) for case in own]
        free = free_case(own)
        if adjusted and free is not None and free.taus:
            tau = np.mean(list(free.taus.values()))
            planned.append((free, f"{free.name} + logit adjustment", "", free.adjusted, tau))
        for case, name, loss, log_p, tau in planned:
            row = {"panel": case.panel, "model": case.model, "name": name, "loss": loss}
            row |= {"power": case.power, "seeds": len(case.seeds), "tau": tau}
            row["second"] = case.second
            for metric, (value, low, high) in case.score(log_p, chosen, **options).iterrows():
                row |= {metric: value, f"{metric}_low": low, f"{metric}_high": high}
            rows.append(row)
    return pd.DataFrame(rows)


def differences(pairs, chosen=("macro_recall",)) -> pd.DataFrame:
    """A row a metric of each pair of cases: the first less the second, on the same images."""
    rows = []
    for case, other in pairs:
        head = {"panel": case.panel, "name": case.name, "loss": case.loss, "against": other.name}
        for metric, found in case.compare(other, chosen).to_dict("index").items():
            rows.append(head | {"metric": metric} | found)
    return pd.DataFrame(rows)


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
            one = replace(case, log_p=case.adjusted) if adjusted else case
            head = {"panel": case.panel, "name": case.name, "loss": case.loss}
            rows.append(head | {"adjusted": adjusted} | against(free, one))
    return judge(pd.DataFrame(rows))


def _above_point(free: Case, case: Case) -> dict:
    point = replace(free, log_p=free.adjusted)
    found = case.compare(point, ("macro_recall",)).iloc[0].to_dict()
    head = {"at": "its τ of validation", "tau": np.mean(list(free.taus.values()))}
    return head | {"accuracy": found.pop("b"), "free_accuracy": found.pop("a")} | found


def _above_line(free: Case, case: Case) -> dict:
    def compare(line, own, **draws):
        return metrics.compare_at_equal_accuracy(free.labels, line, free.counts, own, **draws)

    found = compare(free.log_p, case.log_p, groups=free.images["group"])
    pairs = zip(free.log_p, case.log_p, strict=False)
    by_seed = [compare(*pair, resamples=1)["difference"] for pair in pairs]
    return {"at": "the same accuracy"} | found | {"by_seed": by_seed}


def paired_claims(cases: list[Case], reference: str = "softmax") -> pd.DataFrame:
    """The paper's claims on macro recall; of a study without its losses, all less the reference."""
    pairs = []
    for own in panels(cases).values():
        by_loss = {case.loss: case for case in reversed(own) if case.power == 1}
        claims = [(by_loss[b], by_loss[a]) for a, b in CLAIMS if a in by_loss and b in by_loss]
        first = next((case for case in own if case.name == reference.replace("_", " ")), own[0])
        pairs += claims or [(case, first) for case in own if case is not first]
    return judge(differences(pairs))


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
        if not row.get("equal", True):
            both = percent(row["accuracy"]), percent(row["free_accuracy"])
            gap += f" at {' and '.join(both)} % accuracy"
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


def say_calibration(cases: list[Case]) -> str:
    """What temperature scaling does to the first softmax; "" where there is none to scale."""
    case = free_case(cases)
    if case is None or not case.taus:
        return ""
    both = [case.score(log_p, ("ece",), resamples=1) for log_p in (None, case.cooled)]
    before, after = (percent(found.loc["ece", "value"]) for found in both)
    return (
        "Temperature scaling, fitted on validation, takes softmax's expected calibration error "
        f"from {before} to {after} points and changes no prediction."
    )


def say_protocol(results, cases: list[Case]) -> list[str]:
    """Lines on a `studies.RunSet`: images, seeds, size, looks at the test split, what is amiss."""
    runs, first = results.runs, cases[0]
    kinds = runs.drop_duplicates(["dataset", "image_size", "architecture"])
    text = TEMPLATES.get_template("protocol.md.j2").render(
        about=results.about,
        counts=dict(zip(EXPRESSIONS, np.bincount(first.labels, minlength=8).tolist(), strict=True)),
        rare=RARE,
        folds=int(first.runs["folds"].max()) if (first.runs["protocol"] == "k_fold").any() else 0,
        selections=runs["selection"].unique().tolist(),
        kinds=kinds.to_dict("records"),
        published=sum(paper.TRAINING_COUNTS),
        tested=(runs["evaluation"] != "validation").any(),
        runs=len(runs),
        amiss=_amiss(results, cases),
    )
    return [line for line in text.splitlines() if line]


def _amiss(results, cases: list[Case]) -> dict[str, list]:
    about, runs = results.about, results.runs
    planned = about.get("models") or about.get("variants", [])
    there = set(runs["model"] if "model" in runs else runs["variant"])
    fitted = [
        (f"{what} of {run}", value)
        for case in cases
        for what, values in (("τ", case.taus), ("temperature", case.temperatures))
        for run, value in values.items()
        if case.loss == "softmax"
    ]
    return {
        "Diverged in training": runs["run"][runs.get("diverged_in", runs["run"].isna()) > 0],
        "Embedding collapsed": runs["run"][runs["collapsed"].astype(bool)],
        "Planned, and not there": [name for name in planned if name not in there],
        "Without other validation images, so out of post-hoc rows": [
            f"{case.panel}: {case.name}".strip(": ") for case in cases if not case.taus
        ],
        "At the end of what was searched on validation": [
            name for name, value in fitted if value.bound
        ],
    }
