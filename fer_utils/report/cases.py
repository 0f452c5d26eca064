"""What a study compares: models or variants, each with the predictions of all its runs."""

from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from fer_utils import metrics
from fer_utils.core import EXPRESSIONS, LABELS, LOG_PROBABILITIES, RARE, InputError, paper

NAMES = paper.LOSSES | paper.BASELINES
KEYS = ("run", "variant")
# Columns that results of earlier versions lack.
EARLIER = {"weight_power": 1.0, "protocol": "official", "folds": 1, "diverged_in": np.nan}
SHOWN = ("accuracy", "macro_recall", "recall_disgust", "recall_contempt")


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
    def seeds(self) -> list[int]:
        return sorted(self.runs["seed"].unique())

    @property
    def labels(self) -> np.ndarray:
        return self.images["label"].to_numpy()

    def score(self, log_p=None, chosen=SHOWN, **options) -> pd.DataFrame:
        """`metrics.bootstrap` of `log_p` (default its own), duplicates drawn together.

        And "rare_recall", the mean recall of disgust and contempt, where there are images of them.
        """
        p = _probabilities(self.log_p if log_p is None else log_p)
        labels, groups = self.labels, self.images["group"].to_numpy()
        found = metrics.bootstrap(labels, p, chosen, groups=groups, **options)
        rare = np.isin(labels, [LABELS[name] for name in RARE])
        if rare.any():
            part, options["groups"] = (labels[rare], p[:, rare]), groups[rare]
            found.loc["rare_recall"] = metrics.bootstrap(*part, ["macro_recall"], **options).iloc[0]
        return found

    def compare(self, other: "Case", chosen=SHOWN) -> pd.DataFrame:
        """`metrics.compare_paired` of this less the other, over the seeds of both."""
        pairs = (other, self), (self, other)
        both = (_probabilities(a.log_p[np.isin(a.seeds, b.seeds)]) for a, b in pairs)
        return metrics.compare_paired(self.labels, *both, chosen, groups=self.images["group"])


def _probabilities(log_p: np.ndarray) -> np.ndarray:
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
            named = {key: one.name.split("/")[0] + "/" + part[key] for key in part if key in KEYS}
            parts.append(part.assign(**named))
    return replace(sets[0], **{name: pd.concat(parts) for name, parts in tables.items()})


def read_cases(results) -> list[Case]:
    """The cases of a `studies.RunSet`, in its order, the paper's pre-trained models first.

    A run that diverged before there was anything to score is left out, and so is a seed of which
    a fold is missing.

    Raises:
        InputError: where the cases of a panel were scored on other images.
    """
    runs = results.runs.assign(**{key: results.runs.get(key, EARLIER[key]) for key in EARLIER})
    runs = runs[runs["diverged_in"] != 1]
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
            if not first.images.equals(case.images):
                both = f"the images of {first.name} and {case.name}"
                found = f"{len(first.images):,} and {len(case.images):,} that differ"
                raise InputError(f"expected {both} to be the same, found {found}; name one split")
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
