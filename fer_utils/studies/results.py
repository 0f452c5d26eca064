"""Runs as tables: gathered from their folders, written to `results/<study>/`, read again.

Everything that tables, figures and comparisons need is here; nothing downstream opens a run folder.
"""

import json
import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from fer_utils import core, datasets, metrics
from fer_utils.core import LOG_PROBABILITIES, InputError, Run, atomic_write, check_choice
from fer_utils.studies.study import Study, load_study

UNRECORDED = {*core.EXECUTION_FIELDS, "study", "run"}
# Where and how long a run was computed: kept as committed while its numbers stay the same.
PROVENANCE = ["seconds", "device", "git_commit"]
FILES = (
    *("study.json", "runs.csv", "history.csv", "counts.csv", "architecture.json"),
    *("images.parquet", "predictions.parquet"),
)
READERS = {
    ".json": lambda path: json.loads(path.read_text(encoding="utf-8")),
    ".csv": lambda path: pd.read_csv(path, dtype={"setting": str}).fillna({"setting": ""}),
    ".parquet": pd.read_parquet,
}
# Columns of runs that results of earlier versions lack.
EARLIER = {"weight_power": 1.0, "protocol": "official", "folds": 5, "diverged_in": np.nan}


@dataclass(frozen=True)
class RunSet:
    """Runs of one study, or some of them."""

    name: str  # as the user gave it: STUDY, STUDY/RUN, or STUDY/CASE (no fold, no seed)
    about: dict  # title, note, models or variants, settings, reference, seeds, folds, dataset, …
    runs: pd.DataFrame  # a row a run: which it is, its parameters, its metrics, what computed it
    history: pd.DataFrame  # a row a run and epoch
    counts: pd.DataFrame  # images of each setting (and fold), split and expression
    architectures: dict  # base or setting → what `models.describe` says of its network
    predictions: pd.DataFrame  # a row a run and image: run, split, image, label, group, log_p_*


def gather(study: Study, root: Path, cases: dict[str, dict] | None = None) -> RunSet:
    """Runs of a study, by default all its `cases`, from their folders under the checkout `root`.

    Raises:
        InputError: where one has not finished, or there is none that can be scored.
    """
    rows, histories, predictions = [], {}, {}
    counts, architectures, drawn = {}, {}, {}
    for name, case in (study.cases() if cases is None else cases).items():
        run = Run(study.name, name, root)
        manifest = datasets.read_manifest(run.require("manifest.parquet"))
        drawn = drawn or manifest.attrs
        rows.append(_row(run, case))
        histories[name] = pd.read_csv(run.require("history.csv"))
        if run.evaluated:
            table = pd.read_parquet(run.require("predictions.parquet"))
            twins = manifest.get("duplicate_group", [])  # −1 of an image without
            groups = dict(zip(manifest["image"].astype(str), twins, strict=False))
            predictions[name] = table.assign(group=[groups.get(n, -1) for n in table["image"]])
        part = {key: case[key] for key in ("setting", "fold") if case.get(key, "") != ""}
        if str(part) not in counts:
            counts[str(part)] = datasets.count_table(manifest).assign(**part)
        network = case.get("setting", case.get("base"))
        network += "-scratch" if study.models and not case["pretrained"] else ""
        architectures.setdefault(network, run.read_json("architecture.json"))
    if not predictions:
        what = "expected finished runs that did not all diverge"
        raise InputError(f"{what}, found none of {study.name!r}; compute some first")
    runs = pd.DataFrame(rows)
    about = study.model_dump(
        include={"title", "note", "models", "settings", "reference", "seeds", "folds", "test_looks"}
    )
    about |= {
        "study": study.name,
        "variants": list(study.variants),
        "settings": list(study.settings),
        "reference": study.reference or next(iter(study.variants), ""),
        "dataset": runs["dataset"].iloc[0],
        "drawn": None,  # of a synthetic population: the arguments that draw it again
    }
    if about["dataset"] == "synthetic":
        about["drawn"] = {key: v for key, v in drawn.items() if key not in ("dataset", "root")}
    counts = pd.concat(counts.values(), ignore_index=True)
    history, predictions = _by_run(histories), _by_run(predictions)
    return RunSet(study.name, about, runs, history, counts, architectures, predictions)


def _row(run: Run, case: dict) -> dict:
    params, environment = run.params, run.read_json("environment.json")
    recorded = params.model_dump(exclude=UNRECORDED)
    # In a table of results `alpha` is Krippendorff's; the α of Eq. 4 stands beside λ.
    recorded = {"cluster_alpha" if n == "alpha" else n: v for n, v in recorded.items()}
    for name in ("data_options", "loss_options"):
        recorded[name] = json.dumps(recorded[name])
    measured = {"collapsed": False, "diverged_in": np.nan, **run.measured}
    measured.pop("confusion", None)
    weights = Path(params.weights)
    own = weights.parent.name.startswith("identity-")
    on_cpu = environment["device"] == "cpu"
    return {
        "run": run.name,
        **{name: value for name, value in case.items() if name not in ("seed", "fold")},
        "weights": "identity" if own else weights.stem,
        **recorded,
        **measured,
        "device": environment["processor" if on_cpu else "device"],
        "git_commit": environment["git_commit"],
    }


def _by_run(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    return pd.concat(tables, names=["run"]).reset_index(level="run").reset_index(drop=True)


def collect(study: Study, root: Path, finished: bool = False) -> Path:
    """Write `results/<study>/` from the study's runs, or from those that have `finished`.

    Rows of runs that are in the results already, and have no folder here, are kept. A run whose
    numbers are the same up to 1e-6 keeps the row that was recorded for it.
    """
    folder, cases = root / "results" / study.name, study.cases()
    done = {run: case for run, case in cases.items() if Run(study.name, run, root).finished}
    found = gather(study, root, done if finished else cases)
    if (folder / "runs.csv").is_file():
        try:
            found = _merge(found, read_results(study.name, root), list(cases))
        except InputError:  # half there or damaged
            if done != cases:
                raise
    _write(found, folder)
    return folder


def _merge(new: RunSet, old: RunSet, names: list[str]) -> RunSet:
    """New runs, and old ones without a folder here; of equal numbers what is committed stays."""
    kept = [run for run in old.runs["run"] if run in names and run not in set(new.runs["run"])]
    taken = [*_unchanged(new.runs, old.runs), *kept]

    def joined(own: pd.DataFrame, earlier: pd.DataFrame) -> pd.DataFrame:
        parts = own[~own["run"].isin(taken)], earlier[earlier["run"].isin(taken)]
        table = pd.concat([part for part in parts if len(part)], ignore_index=True)
        return table.sort_values("run", key=lambda runs: runs.map(names.index), kind="stable")

    added = [name for name in new.runs if name == "run" or name not in old.runs]
    keys = [name for name in new.counts if name != "images"]
    counts = pd.concat([new.counts, old.counts] if kept else [new.counts])
    return replace(
        new,
        runs=joined(new.runs, old.runs.merge(new.runs[added], how="left", on="run")),
        history=joined(new.history, old.history),
        counts=counts.drop_duplicates(keys),
        architectures=(old.architectures if kept else {}) | new.architectures,
        predictions=joined(new.predictions, old.predictions),
    )


def _unchanged(new: pd.DataFrame, old: pd.DataFrame) -> list[str]:
    """Runs whose earlier row says the same of all but `PROVENANCE`, up to 1e-6."""
    shared = [name for name in new if name in old and name not in PROVENANCE]
    runs = [run for run in new["run"] if run in set(old["run"])]
    both = [table.set_index("run", drop=False).loc[runs, shared] for table in (new, old)]
    same = np.ones(len(runs), dtype=bool)
    for name in shared:
        texts = [table[name].astype(str).fillna("").to_numpy() for table in both]
        numbers = [pd.to_numeric(table[name], errors="coerce").to_numpy(float) for table in both]
        same &= np.isclose(*numbers, rtol=0, atol=1e-6) | (texts[0] == texts[1])
    return [run for run, equal in zip(runs, same, strict=True) if equal]


def _write(found: RunSet, folder: Path) -> None:
    """Images are listed once, with label and group; predictions have places in that list."""
    key, rows = ["image", "label"], found.predictions
    images = rows[[*key, "group"]].drop_duplicates(key).sort_values(key, ignore_index=True)
    places = pd.MultiIndex.from_frame(images[key]).get_indexer(pd.MultiIndex.from_frame(rows[key]))
    rows = rows.drop(columns=["label", "group"]).assign(image=places.astype(np.int32))
    for name, table in (("images", images), ("predictions", rows)):
        with atomic_write(folder / f"{name}.parquet") as temporary:
            table.to_parquet(temporary, index=False, compression="zstd")
    for name in ("runs", "history", "counts"):
        with atomic_write(folder / f"{name}.csv") as temporary:
            getattr(found, name).to_csv(temporary, index=False)
    texts = {
        "architecture": json.dumps(found.architectures, indent=2),
        "study": json.dumps(found.about, indent=2, ensure_ascii=False),  # last: the graph wants it
    }
    for name, text in texts.items():
        with atomic_write(folder / f"{name}.json") as temporary:
            temporary.write_text(f"{text}\n", encoding="utf-8")


def read_results(study: str, root: Path) -> RunSet:
    """Read `results/<study>/`; `InputError` for an unknown study, half of one, or damaged files."""
    known = sorted(path.parent.name for path in (root / "results").glob("*/runs.csv"))
    if study not in known:
        raise InputError(
            f"expected results/{study}/, found {', '.join(known) or 'no results at all'}; "
            f"compute it first: make study STUDY={study}"
        )
    folder = root / "results" / study
    try:
        tables = {Path(name).stem: READERS[Path(name).suffix](folder / name) for name in FILES}
        about, architectures = tables.pop("study"), tables.pop("architecture")
        rows = tables.pop("images").iloc[tables["predictions"]["image"]].reset_index(drop=True)
        tables["predictions"][["image", "label", "group"]] = rows[["image", "label", "group"]]
        lacking = {name: value for name, value in EARLIER.items() if name not in tables["runs"]}
        tables["runs"] = tables["runs"].assign(**lacking)
        found = RunSet(study, about, architectures=architectures, **tables)
        _check_whole(found)
    except (ValueError, KeyError, IndexError, OSError) as error:
        remedy = f"fetch it again, or write it: python -m fer_utils collect {study}"
        raise InputError(f"results/{study}/ is half there or damaged: {error}; {remedy}") from None
    return found


def _check_whole(found: RunSet) -> None:
    """Raise `InputError` for a run with missing, doubled or impossible predictions."""
    runs = found.runs.set_index("run")
    for table in (found.history, found.predictions):
        if strange := set(table["run"]) - set(runs.index):
            raise InputError(f"expected a row for run {min(strange)}, found none")
    runs, split = runs[runs["diverged_in"] != 1], runs["evaluation"].iloc[0]
    rows = found.predictions[found.predictions["split"] == split]
    sizes = rows.groupby("run").size().reindex(runs.index, fill_value=0)
    for run, expected in runs[f"{split}_images"].items():
        if sizes[run] != expected:
            raise InputError(
                f"run {run} is incomplete: expected {expected:,} predictions, found {sizes[run]:,}"
            )
    twice = rows.loc[rows.duplicated(["run", "image"]), "run"]
    if len(twice):
        raise InputError(
            f"run {twice.iloc[0]}: expected every image once, found {len(twice):,} again"
        )
    p = metrics.probabilities(rows[list(LOG_PROBABILITIES)])
    metrics.check_scores(rows["label"].to_numpy(), p)


def read_run_set(name: str, root: Path) -> RunSet:
    """Runs by name, from `results/` or, where that does not know them, from `runs/`.

    A name is STUDY, STUDY/RUN, or STUDY/CASE, a run's name without its fold and seed.

    Raises:
        InputError: for an unknown name, or one without a finished run.
    """
    study, _, part = name.rstrip("/").partition("/")
    committed = (root / "results" / study / "runs.csv").is_file()
    found = read_results(study, root) if committed else _own_runs(study, root)
    tables = {key: getattr(found, key) for key in ("runs", "history", "predictions")}
    if part:
        cases = {run: re.sub(r"(-fold\d+)?-seed\d+$", "", run) for run in found.runs["run"]}
        check_choice(f"run of {study}:", part, dict.fromkeys([*cases, *cases.values()]))
        chosen = [run for run, case in cases.items() if part in (run, case)]
        for key, table in tables.items():
            tables[key] = table[table["run"].isin(chosen)].reset_index(drop=True)
        if part in cases:
            tables["runs"]["folds"] = 1  # whole, although it is alone
    return replace(found, name=name.rstrip("/"), **tables)


def _own_runs(study: str, root: Path) -> RunSet:
    """Finished runs of one's own under `runs/<study>/`, as variants of a study without a file."""
    folders = sorted(path.parent for path in (root / "runs" / study).glob("*/predictions.parquet"))
    done = [path.name for path in folders if Run(study, path.name, root).finished]
    if not done:
        known = {path.parts[-3] for path in (root / "runs").glob("*/*/metrics.json")}
        known |= {path.parent.name for path in (root / "results").glob("*/runs.csv")}
        check_choice("study under results/ or runs/:", study, sorted(known))
        raise InputError(f"expected finished runs in runs/{study}/, found none; finish one first")
    if (root / "experiments" / f"{study}.yaml").is_file():
        plan = load_study(study, root)
        cases = {run: case for run, case in plan.cases().items() if run in done}
        found = gather(plan, root, cases)
    else:
        seeds = {run: Run(study, run, root).params.seed for run in done}
        about = {"title": f"Runs in runs/{study}/", "note": "Runs of one's own."}
        about |= {"variants": dict.fromkeys(done, {}), "seeds": sorted(set(seeds.values()))}
        cases = {run: {"setting": "", "variant": run, "seed": seeds[run]} for run in done}
        found = gather(Study.model_construct(name=study, **about), root, cases)
        found = replace(found, runs=found.runs.assign(folds=1))
    _check_whole(found)
    return found
