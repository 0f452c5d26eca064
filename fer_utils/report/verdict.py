"""What a study compares, models or variants with all their runs, and what comes of it.

Is a loss worth its training? Cases are scored, compared in pairs and with softmax adjusted for
free; sentences say no more than that.
"""

from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from fer_utils import metrics
from fer_utils.core import EXPRESSIONS, LABELS, LOG_PROBABILITIES, RARE, InputError, paper
from fer_utils.report.page import NAMES, format_interval, percent

SHOWN = ("accuracy", "macro_recall", "recall_disgust", "recall_contempt")
MAIN = ("macro_recall", *paper.METRICS)  # the verdict is on the first
CENTRAL = "weighted_cluster"
# The paper's two: weights help, and the cluster term helps beyond them.
CLAIMS = (("softmax", "weighted_softmax"), ("softmax", CENTRAL), ("weighted_softmax", CENTRAL))


@dataclass(frozen=True, eq=False)
class Case:
    """A model or a variant under one setting: S seeds, folds joined, on N images."""

    panel: str  # what it is compared in: network and start, or setting
    name: str  # as tables show it
    loss: str
    power: float  # of W_c
    model: int | None  # the paper's number
    runs: pd.DataFrame  # rows of `runs`
    images: pd.DataFrame = field(repr=False)  # image, label, group (of duplicates); N rows
    log_p: np.ndarray = field(repr=False)  # (S, N, 8)
    counts: np.ndarray = field(repr=False)  # (N, 8) training images of the image's network
    taus: dict = field(repr=False)  # run → τ of its own validation images; empty without any
    temperatures: dict = field(repr=False)  # likewise
    adjusted: np.ndarray = field(repr=False)  # `log_p` after logit adjustment, each run by its τ
    cooled: np.ndarray = field(repr=False)  # `log_p`, each run's by its temperature

    @property
    def second(self) -> str:
        """What stands against accuracy; on a test of equal classes accuracy is macro recall."""
        counts = self.images["label"].value_counts()
        return "rare_recall" if counts.min() > 0.9 * counts.max() else "macro_recall"

    @property
    def base(self) -> str:
        """The paper's network that it stands for; "" for a variant."""
        return paper.MODELS[self.model].base if self.model else ""

    @property
    def title(self) -> str:
        """What it is called beside the cases of all panels, in any study."""
        return f"model {self.model}" if self.model else f"{self.panel}: {self.name}".strip(": ")

    @property
    def seeds(self) -> list[int]:
        return sorted(self.runs["seed"].unique())

    @property
    def labels(self) -> np.ndarray:
        return self.images["label"].to_numpy()

    def score(self, log_p=None, chosen=SHOWN, **options) -> pd.DataFrame:
        """`metrics.bootstrap` of `log_p` (default its own), duplicates drawn together.

        And "rare_recall", the mean recall of disgust and contempt, where there are images of them.
        """
        p = _normal(self.log_p if log_p is None else log_p)
        labels, groups = self.labels, self.images["group"].to_numpy()
        found = metrics.bootstrap(labels, p, chosen, groups=groups, **options)
        rare = np.isin(labels, [LABELS[name] for name in RARE])
        if rare.any():
            part, options["groups"] = (labels[rare], p[:, rare]), groups[rare]
            found.loc["rare_recall"] = metrics.bootstrap(*part, ["macro_recall"], **options).iloc[0]
        return found

    def paired(self, other: "Case") -> pd.DataFrame:
        """Its runs of seeds that the other has; where each has one seed alone, of that."""
        alone = len(self.seeds) == len(other.seeds) == 1
        return self.runs[self.runs["seed"].isin(other.seeds) | alone]

    def compare(self, other: "Case", chosen=SHOWN) -> pd.DataFrame:
        """`metrics.compare_paired` of this less the other, over the seeds of both.

        Raises:
            InputError: where they were scored on other images.
        """
        _check_same_images(other, self)
        pairs = (other, self), (self, other)
        both = (a.log_p[np.isin(a.seeds, a.paired(b)["seed"])] for a, b in pairs)
        groups = self.images["group"]
        return metrics.compare_paired(self.labels, *map(_normal, both), chosen, groups=groups)


def _check_same_images(first: Case, other: Case) -> None:
    keys = ["image", "label"]
    if not first.images[keys].equals(other.images[keys]):
        found = f"{len(first.images):,} and {len(other.images):,} that differ"
        raise InputError(
            f"expected the images of {first.name} and {other.name} to be the same, found {found}; "
            "name one split"
        )


def _normal(log_p: np.ndarray) -> np.ndarray:
    return np.exp(metrics.apply_temperature(log_p, 1.0))  # of float16, so normalised again


def _log_p(rows: pd.DataFrame) -> np.ndarray:
    return rows[list(LOG_PROBABILITIES)].to_numpy(np.float64)


def panels(cases: list[Case]) -> dict[str, list[Case]]:
    """The cases by panel."""
    names = dict.fromkeys(case.panel for case in cases)
    return {name: [case for case in cases if case.panel == name] for name in names}


def join_runs(sets: list):
    """Several `studies.RunSet`s as one, their runs and variants named after the study."""
    tables = {name: [] for name in ("runs", "history", "counts", "predictions")}
    for one in sets:
        for name, parts in tables.items():
            part = getattr(one, name)
            part = part.merge(one.runs[["run"]], how="cross") if name == "counts" else part
            study, named = one.name.split("/")[0], {"run", "variant"} & set(part)
            parts.append(part.assign(**{key: f"{study}/" + part[key] for key in named}))
    return replace(sets[0], **{name: pd.concat(parts) for name, parts in tables.items()})


def read_cases(results) -> list[Case]:
    """The cases of a `studies.RunSet`, in its order, the paper's pre-trained models first.

    A run that diverged before there was anything to score is left out, and so is a seed of which
    a fold is missing.

    Raises:
        InputError: where the cases of a panel were scored on other images.
    """
    runs = results.runs[results.runs["diverged_in"] != 1]
    keys = ["model"] if "model" in runs else ["setting", "variant"]
    predictions = results.predictions.merge(runs[["run", "seed", "evaluation"]], on="run")
    cases = []
    for _, own in runs.groupby(keys, sort=False):
        folds = own["folds"].iloc[0] if (own["protocol"] == "k_fold").all() else 1
        own = own[own.groupby("seed")["run"].transform("size") == folds]
        if len(own):
            rows = predictions[predictions["run"].isin(own["run"])]
            cases.append(_case(own, rows, results.counts))
    if keys == ["model"]:
        cases.sort(key=lambda case: (not paper.MODELS[case.model].pretrained, case.model))
    for first, *others in panels(cases).values():
        for case in others:
            _check_same_images(first, case)
    return cases


def _case(runs: pd.DataFrame, rows: pd.DataFrame, counts: pd.DataFrame) -> Case:
    first, seeds = runs.iloc[0], runs["seed"].nunique()
    scored = rows[rows["split"] == rows["evaluation"]].sort_values(["seed", "image"])
    held = rows[(rows["split"] == "validation") & (rows["evaluation"] != "validation")]
    trained_on = {run["run"]: _counts(counts, run) for run in runs.to_dict("records")}
    log_p, taus, temperatures = _log_p(scored), {}, {}
    adjusted, cooled = log_p.copy(), log_p.copy()
    for run, own in held.groupby("run") if set(held["run"]) == set(trained_on) else ():
        chosen_on, mine = (_log_p(own), own["label"].to_numpy()), scored["run"] == run
        taus[run] = metrics.choose_tau(*chosen_on, trained_on[run])
        temperatures[run] = metrics.fit_temperature(*chosen_on)
        adjusted[mine] = metrics.logit_adjust(log_p[mine], trained_on[run], taus[run])
        cooled[mine] /= temperatures[run]
    if "model" in first:
        start = "pre-trained" if first["pretrained"] else "from scratch"
        panel, name = f"{first['architecture']}, {start}", NAMES[first["loss"]]
    else:
        panel, variant = first["setting"].replace("_", ", "), first["variant"]
        name = NAMES.get(variant, variant.replace("_", " "))
    if (scored.groupby(["image", "label"]).size() != seeds).any():
        raise InputError(f"expected the images of {name} to be the same for every seed")
    images, shape = scored.iloc[: len(scored) // seeds], (seeds, -1, len(EXPRESSIONS))
    return Case(
        panel=panel,
        name=name,
        loss=first["loss"],
        power=first["weight_power"],
        model=first.get("model"),
        runs=runs,
        images=images[["image", "label", "group"]].reset_index(drop=True),
        log_p=log_p.reshape(shape),
        counts=np.stack(images["run"].map(trained_on).to_list()),
        taus=taus,
        temperatures=temperatures,
        adjusted=adjusted.reshape(shape),
        cooled=cooled.reshape(shape),
    )


def _counts(counts: pd.DataFrame, run: dict) -> np.ndarray:
    """Training images of each class, from the rows of `counts` that are about a run."""
    own = counts[counts["split"] == "train"]
    for name in [name for name in ("setting", "fold", "run") if name in own and name in run]:
        own = own[own[name].fillna("") == run[name]]
    return own.set_index("expression")["images"].reindex(EXPRESSIONS, fill_value=0).to_numpy()


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


def compare(a, b, chosen=()) -> pd.DataFrame:
    """Two `studies.RunSet`s on the same images, seed by seed: is b better, or is it noise?

    Where both sides are one case, these two are compared; otherwise cases of the same name are.
    With several seeds a claim has to hold for other images and for other seeds: its p-value is
    the larger of the two tests'. `chosen` are metrics, by default all of one case, macro recall
    and accuracy of several.

    Returns:
        The `differences`, with `case`, `seeds` (how many), `seeds_low`, `seeds_high` (95 % t
        interval over them) and `p_holm` (adjusted for the cases); `attrs["said"]`: the verdicts
        on the first metric in words, and which runs had no partner.

    Raises:
        InputError: for unknown metrics, or sides that share no case or no images.
    """
    sides = [{case.title: case for case in read_cases(side)} for side in (a, b)]
    if all(len(side) == 1 for side in sides):
        sides = [{"": case} for side in sides for case in side.values()]
    pairs = {name: (one, sides[1][name]) for name, one in sides[0].items() if name in sides[1]}
    pairs = {name: (one, other) for name, (one, other) in pairs.items() if len(one.paired(other))}
    if not pairs:
        raise InputError(
            f"expected runs of the same case and seed in {a.name} and {b.name}, found none; "
            "to compare two of them name each: STUDY/RUN"
        )
    used_a = [run for one, other in pairs.values() for run in one.paired(other)["run"]]
    used_b = [run for one, other in pairs.values() for run in other.paired(one)["run"]]
    if a.about == b.about and used_a == used_b:
        raise InputError(f"expected two different sides, found the runs of {a.name} on both")
    chosen = chosen or (MAIN if len(pairs) == 1 else MAIN[:2])
    table = differences([(other, one) for one, other in pairs.values()], chosen)
    by_seed = table.pop("by_seed")
    seeds = pd.DataFrame([metrics.seed_interval(values) for values in by_seed])
    table = table.assign(case=np.repeat([*pairs], len(chosen)), seeds=by_seed.map(len))
    table["seeds_low"], table["seeds_high"] = seeds["low"], seeds["high"]
    table["p_value"] = np.fmax(table["p_value"], seeds["p_value"])
    table["p_holm"] = table.groupby("metric")["p_value"].transform(metrics.holm)
    said = []
    for row in table[table["metric"] == chosen[0]].to_dict("records"):
        names = (f"{row['case']} of {side.name}".removeprefix(" of ") for side in (a, b))
        said.append(metrics.describe_verdict(row, *names, metric=chosen[0]))
    for side, used in ((a, used_a), (b, used_b)):
        if alone := [run for run in side.runs["run"] if run not in used]:
            said.append(f"Only in {side.name}, not compared: {', '.join(alone)}.")
    table.attrs["said"] = said
    return table


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
