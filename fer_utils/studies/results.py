"""Runs as tables: gathered from their folders, written to `results/<study>/`, read again.

Everything that tables, figures and comparisons need is here; nothing downstream opens a run folder.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from fer_utils import datasets, metrics
from fer_utils.core import (
    EXECUTION_FIELDS,
    LOG_PROBABILITIES,
    InputError,
    Run,
    RunParameters,
    atomic_write,
    check_choice,
)
from fer_utils.studies.study import Study, load_study

RECORDED = tuple(
    name for name in RunParameters.model_fields if name not in (*EXECUTION_FIELDS, "study", "run")
)
# Where and how long a run was computed: kept as committed while its numbers stay the same.
PROVENANCE = ("seconds", "device", "git_commit")
_FILES = ("study.json", "runs.csv", "history.csv", "counts.csv", "architecture.json")


@dataclass(frozen=True)
class RunSet:
    """Runs of one study, or some of them.

    Attributes:
        name: as the user gave it: STUDY, STUDY/RUN, or STUDY/CASE (a run's name without its seed).
        about: title, note, models or variants, settings, reference, seeds, folds, dataset, drawn.
        runs: a row a run: which it is, its parameters, its metrics, what computed it.
        history: a row a run and epoch.
        counts: images of each setting (and fold), split and expression.
        architectures: base or setting → what `models.describe` says of its network.
        predictions: run, split, image, label, group, log_p_*; a row a run and image.
    """

    name: str
    about: dict
    runs: pd.DataFrame
    history: pd.DataFrame
    counts: pd.DataFrame
    architectures: dict
    predictions: pd.DataFrame

    @property
    def evaluation(self) -> str:
        """The split that the runs are scored on: "test" or "validation"."""
        return self.runs["evaluation"].iloc[0] if len(self.runs) else "test"

    def scored(self, run: str) -> pd.DataFrame:
        """A run's predictions on the split it is scored on, in the order of its images."""
        rows = self.predictions[self.predictions["run"] == run]
        return rows[rows["split"] == self.evaluation].sort_values("image")


def probabilities(rows: pd.DataFrame) -> np.ndarray:
    """Probabilities (N, 8) from the log-probabilities of rows of predictions."""
    found = np.exp(rows[list(LOG_PROBABILITIES)].to_numpy(np.float64))
    return found / found.sum(axis=1, keepdims=True)


def gather(study: Study, root: Path, names: list[str] | None = None) -> RunSet:
    """The finished runs of a study, from their folders.

    Args:
        study: the study.
        root: the checkout.
        names: its runs that must have finished; default: all.

    Raises:
        InputError: where a run has not finished.
    """
    cases = study.cases()
    names = [name for name in names or cases if name in cases]
    rows, histories, predictions, counts, architectures = [], [], [], [], {}
    counted, first = set(), None
    for name in names:
        run, case = Run(study.name, name, root), cases[name]
        manifest = datasets.read_manifest(run.require("manifest.parquet"))
        first = manifest if first is None else first
        rows.append(_row(run, case))
        histories.append(pd.read_csv(run.require("history.csv")).assign(run=name))
        if run.evaluated:
            table = pd.read_parquet(run.require("predictions.parquet")).assign(run=name)
            predictions.append(_with_groups(table, manifest))
        key = case.get("setting", case.get("base"))
        if study.models and not case["pretrained"]:
            key = f"{key}-scratch"
        architectures.setdefault(key, run.read_json("architecture.json"))
        part = {
            name: case[name] for name in ("setting", "fold") if case.get(name) not in (None, "")
        }
        if tuple(part.values()) not in counted:
            counted.add(tuple(part.values()))
            counts.append(datasets.count_table(manifest).assign(**part))
    about = study.model_dump(
        include={"title", "note", "models", "settings", "reference", "seeds", "folds", "test_looks"}
    )
    about |= {
        "study": study.name,
        "variants": list(study.variants),
        "settings": list(study.settings),
        "reference": study.reference or next(iter(study.variants), ""),
        "dataset": rows[0]["dataset"],
        "drawn": _drawn(first),
    }
    return RunSet(
        study.name,
        about,
        pd.DataFrame(rows),
        _run_first(histories),
        pd.concat(counts, ignore_index=True),
        architectures,
        _run_first(predictions),
    )


def _row(run: Run, case: dict) -> dict:
    params, environment = run.params.model_dump(), run.read_json("environment.json")
    measured = {"collapsed": False, **run.read_json("metrics.json")}
    measured.pop("confusion", None)
    recorded = {name: params[name] for name in RECORDED}
    # In a table of results `alpha` is Krippendorff's; the α of Eq. 4 stands beside λ.
    recorded = {"cluster_alpha" if n == "alpha" else n: v for n, v in recorded.items()}
    for name in ("data_options", "loss_options"):
        recorded[name] = json.dumps(recorded[name])
    weights = Path(params["weights"])
    own = weights.parent.name.startswith("identity-")
    return {
        "run": run.name,
        **{name: value for name, value in case.items() if name not in ("seed", "fold")},
        "weights": "identity" if own else weights.stem,
        **recorded,
        **measured,
        "device": environment["processor"]
        if environment["device"] == "cpu"
        else environment["device"],
        "git_commit": environment["git_commit"],
    }


def _with_groups(table: pd.DataFrame, manifest: pd.DataFrame) -> pd.DataFrame:
    """Predictions with the duplicate group of each image; −1 where it has no twin."""
    if "duplicate_group" not in manifest:
        return table.assign(group=-1)
    groups = manifest.assign(image=manifest["image"].astype(str)).set_index("image")[
        "duplicate_group"
    ]
    return table.assign(group=table["image"].map(groups).to_numpy())


def _run_first(tables: list[pd.DataFrame]) -> pd.DataFrame:
    table = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame({"run": []})
    return table[["run", *(column for column in table if column != "run")]]


def _drawn(manifest: pd.DataFrame) -> dict | None:
    """The arguments that draw a synthetic population again; None for real images."""
    if manifest.attrs["dataset"] != "synthetic":
        return None
    return {name: v for name, v in manifest.attrs.items() if name not in ("dataset", "root")}


def collect(study: Study, root: Path, finished: bool = False) -> Path:
    """Write `results/<study>/` from the study's runs.

    Rows of runs that are in the results already, and have no folder here, are kept. A run whose
    metrics are those of its committed row keeps that row, seconds and commit included.

    Args:
        study: the study.
        root: the checkout.
        finished: gather the runs that have finished, and leave gaps for the others.
    """
    folder = root / "results" / study.name
    names = list(study.cases())
    here = [name for name in names if Run(study.name, name, root).finished]
    if finished and not here:
        raise InputError(
            f"expected finished runs of {study.name!r}, found none; compute some first"
        )
    found = gather(study, root, here if finished else names)
    if (folder / "runs.csv").is_file():
        found = _merge(found, read_results(study.name, root), names)
    _write(found, folder)
    return folder


def _merge(new: RunSet, old: RunSet, names: list[str]) -> RunSet:
    known = set(new.runs["run"])
    kept = [run for run in old.runs["run"] if run in names and run not in known]
    runs = new.runs.set_index("run")
    same = _unchanged(new.runs, old.runs)
    before = old.runs.set_index("run")
    for column in PROVENANCE:
        runs.loc[same, column] = before.loc[same, column]
    history = new.history.set_index(["run", "epoch"])
    earlier = old.history.set_index(["run", "epoch"])
    rows = [key for key in history.index if key[0] in same and key in earlier.index]
    history.loc[rows, "seconds"] = earlier.loc[rows, "seconds"]
    tables = {"runs": runs.reset_index(), "history": history.reset_index()}
    tables["predictions"] = new.predictions

    def joined(name: str) -> pd.DataFrame:
        table = getattr(old, name)
        both = [tables[name], table[table["run"].isin(kept)]]
        table = pd.concat([part for part in both if len(part)], ignore_index=True)
        order = table["run"].map({run: place for place, run in enumerate(names)})
        return table.iloc[np.argsort(order, kind="stable")].reset_index(drop=True)

    counts = new.counts if not kept else pd.concat([new.counts, old.counts]).drop_duplicates()
    return RunSet(
        new.name,
        new.about,
        joined("runs"),
        joined("history"),
        counts.reset_index(drop=True),
        old.architectures | new.architectures if kept else new.architectures,
        joined("predictions"),
    )


def _unchanged(new: pd.DataFrame, old: pd.DataFrame) -> list[str]:
    """Runs that differ from their earlier row in nothing but `PROVENANCE`, up to 1e-6."""
    both = [table.set_index("run").drop(columns=list(PROVENANCE)) for table in (new, old)]
    if list(both[0].columns) != list(both[1].columns):
        return []
    same = []
    for run in both[0].index.intersection(both[1].index):
        first, second = (table.loc[run] for table in both)
        numbers = pd.to_numeric(first, errors="coerce"), pd.to_numeric(second, errors="coerce")
        close = np.isclose(*(n.to_numpy(float) for n in numbers), rtol=0, atol=1e-6)
        equal = first.astype(str).to_numpy() == second.astype(str).to_numpy()
        if (close | equal).all():
            same.append(run)
    return same


def _write(found: RunSet, folder: Path) -> None:
    for name in ("runs", "history", "counts"):
        with atomic_write(folder / f"{name}.csv") as temporary:
            getattr(found, name).to_csv(temporary, index=False)
    images = found.predictions[["image", "label", "group"]].drop_duplicates(["image", "label"])
    images = images.sort_values(["image", "label"]).reset_index(drop=True)
    key = pd.MultiIndex.from_frame(images[["image", "label"]])
    places = key.get_indexer(pd.MultiIndex.from_frame(found.predictions[["image", "label"]]))
    predictions = found.predictions.drop(columns=["label", "group"])
    predictions = predictions.assign(image=places.astype(np.int32))
    for name, table in (("images", images), ("predictions", predictions)):
        with atomic_write(folder / f"{name}.parquet") as temporary:
            table.to_parquet(temporary, index=False, compression="zstd")
    with atomic_write(folder / "architecture.json") as temporary:
        temporary.write_text(json.dumps(found.architectures, indent=2) + "\n")
    with atomic_write(folder / "study.json") as temporary:  # last: Snakemake asks for it
        temporary.write_text(json.dumps(found.about, indent=2, ensure_ascii=False) + "\n")


def read_results(study: str, root: Path) -> RunSet:
    """Read `results/<study>/`.

    Raises:
        InputError: for an unknown study, or results that are half there or damaged.
    """
    known = sorted(path.parent.name for path in (root / "results").glob("*/runs.csv"))
    if study not in known:
        raise InputError(
            f"expected results/{study}/, found {', '.join(known) or 'no results at all'}; "
            f"compute it first: make study STUDY={study}"
        )
    folder = root / "results" / study
    for name in (*_FILES, "images.parquet", "predictions.parquet"):
        if not (folder / name).is_file():
            raise InputError(
                f"results/{study}/ is half there: {name} is missing; "
                f"fetch it again, or write it: python -m fer_utils collect {study}"
            )
    try:
        images = pd.read_parquet(folder / "images.parquet")
        predictions = pd.read_parquet(folder / "predictions.parquet")
        about, architectures = (
            json.loads((folder / name).read_text(encoding="utf-8"))
            for name in ("study.json", "architecture.json")
        )
        runs, history, counts = (
            pd.read_csv(folder / f"{n}.csv") for n in ("runs", "history", "counts")
        )
        rows = images.iloc[predictions["image"]].reset_index(drop=True)
        for column in ("image", "label", "group"):
            predictions[column] = rows[column]
    except (ValueError, KeyError, IndexError, OSError) as error:
        raise InputError(f"results/{study}/ is damaged: {error}; fetch it again") from None
    if "setting" in runs:  # without settings the column is empty
        runs["setting"] = runs["setting"].astype(object).where(runs["setting"].notna(), "")
    return RunSet(study, about, runs, history, counts, architectures, predictions)


def read_run_set(name: str, root: Path) -> RunSet:
    """Runs by name, from `results/` or, where that does not know them, from `runs/`.

    Args:
        name: STUDY, STUDY/RUN, or STUDY/CASE, a run's name without its seed.
        root: the checkout.

    Raises:
        InputError: for an unknown name, or one without a finished run.
    """
    study, _, part = name.rstrip("/").partition("/")
    committed = (root / "results" / study / "runs.csv").is_file()
    found = read_results(study, root) if committed else _own_runs(study, root)
    if part:
        cases = {run: run.rpartition("-seed")[0] for run in found.runs["run"]}
        check_choice(f"run of {study}:", part, [*cases, *dict.fromkeys(cases.values())])
        chosen = [run for run, case in cases.items() if part in (run, case)]
        found = _only(found, chosen)
    _check_whole(found)
    return RunSet(name.rstrip("/"), *(getattr(found, field) for field in list(vars(found))[1:]))


def _own_runs(study: str, root: Path) -> RunSet:
    """Finished runs of one's own under `runs/<study>/`, as variants of a study without a file."""
    done = sorted(
        path.parent.name for path in (root / "runs" / study).glob("*/predictions.parquet")
    )
    done = [name for name in done if Run(study, name, root).finished]
    if not done:
        known = {path.parts[-3] for path in (root / "runs").glob("*/*/metrics.json")}
        known |= {path.parent.name for path in (root / "results").glob("*/runs.csv")}
        check_choice("study under results/ or runs/:", study, sorted(known))
        raise InputError(f"expected finished runs in runs/{study}/, found none; finish one first")
    if (root / "experiments" / f"{study}.yaml").is_file():
        return gather(load_study(study, root), root, done)

    class OwnRuns(Study):
        """A study that nobody wrote down."""

        def cases(self) -> dict[str, dict]:
            return {
                name: {"setting": "", "variant": name, "seed": Run(study, name, root).params.seed}
                for name in done
            }

    own = OwnRuns(
        name=study, title=f"Runs in runs/{study}/", note="Runs of one's own.", variants={"own": {}}
    )
    found = gather(own, root, done)
    about = found.about | {"variants": done, "reference": done[0]}
    seeds = sorted(found.runs["seed"].unique().tolist())
    return RunSet(study, about | {"seeds": seeds}, *list(vars(found).values())[2:])


def _only(found: RunSet, runs: list[str]) -> RunSet:
    kept = {
        name: getattr(found, name)[getattr(found, name)["run"].isin(runs)].reset_index(drop=True)
        for name in ("runs", "history", "predictions")
    }
    return RunSet(**(vars(found) | kept))


def _check_whole(found: RunSet) -> None:
    """Raise `InputError` for a run with missing, doubled or impossible predictions."""
    for row in found.runs.to_dict("records"):
        if row.get("diverged_in") == 1:
            continue
        rows = found.scored(row["run"])
        expected, name = row[f"{found.evaluation}_images"], f"{found.name}: run {row['run']}"
        if len(rows) != expected:
            raise InputError(
                f"{name} is incomplete: expected {expected:,} predictions, found {len(rows):,}"
            )
        twice = int(rows["image"].duplicated().sum())
        if twice:
            raise InputError(f"{name}: expected every image once, found {twice:,} again")
        metrics.check_scores(rows["label"].to_numpy(), probabilities(rows))
