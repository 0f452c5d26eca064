"""Runs as tables: gathered from their folders, written to `results/<study>/`, read, compared.

Everything that tables, figures and comparisons need is here; nothing downstream opens a run folder.
"""

import json
from dataclasses import dataclass, replace
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
PROVENANCE = ["seconds", "device", "git_commit"]
FILES = (
    *("study.json", "runs.csv", "history.csv", "counts.csv", "architecture.json"),
    *("images.parquet", "predictions.parquet"),
)
# The first is what the verdict is on. On unequal test sets accuracy is the large classes'.
ORDER = ("macro_recall", "accuracy", "f1", "kappa", "alpha", "auc_pr", "auc")
SEVERAL = ORDER[:2]  # shown of many cases unless the user asks for more


@dataclass(frozen=True)
class RunSet:
    """Runs of one study, or some of them."""

    name: str  # as the user gave it: STUDY, STUDY/RUN, or STUDY/CASE (a run's name, no seed)
    about: dict  # title, note, models or variants, settings, reference, seeds, folds, dataset, …
    runs: pd.DataFrame  # a row a run: which it is, its parameters, its metrics, what computed it
    history: pd.DataFrame  # a row a run and epoch
    counts: pd.DataFrame  # images of each setting (and fold), split and expression
    architectures: dict  # base or setting → what `models.describe` says of its network
    predictions: pd.DataFrame  # a row a run and image: run, split, image, label, group, log_p_*

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
    return metrics.probabilities(rows[list(LOG_PROBABILITIES)])


def gather(study: Study, root: Path, names: list[str] | None = None) -> RunSet:
    """The runs `names` of a study, or all, from their folders under the checkout `root`.

    Raises:
        InputError: where one has not finished.
    """
    cases = study.cases()
    return _gather(study, {name: cases[name] for name in names or cases if name in cases}, root)


def _gather(study: Study, cases: dict[str, dict], root: Path) -> RunSet:
    rows, histories, predictions = [], [], []
    counts, architectures, drawn = {}, {}, {}
    for name, case in cases.items():
        run = Run(study.name, name, root)
        manifest = datasets.read_manifest(run.require("manifest.parquet"))
        drawn = drawn or manifest.attrs
        rows.append(_row(run, case))
        histories.append(pd.read_csv(run.require("history.csv")).assign(run=name))
        if run.evaluated:
            table = pd.read_parquet(run.require("predictions.parquet"))
            predictions.append(table.assign(run=name, group=_groups(table["image"], manifest)))
        part = {key: case[key] for key in ("setting", "fold") if case.get(key, "") != ""}
        if str(part) not in counts:
            counts[str(part)] = datasets.count_table(manifest).assign(**part)
        network = case.get("setting", case.get("base"))
        network += "-scratch" if study.models and not case["pretrained"] else ""
        architectures.setdefault(network, run.read_json("architecture.json"))
    about = study.model_dump(
        include={"title", "note", "models", "settings", "reference", "seeds", "folds", "test_looks"}
    )
    about |= {
        "study": study.name,
        "variants": list(study.variants),
        "settings": list(study.settings),
        "reference": study.reference or next(iter(study.variants), ""),
        "dataset": rows[0]["dataset"],
        "drawn": None,  # of a synthetic population: the arguments that draw it again
    }
    if drawn["dataset"] == "synthetic":
        about["drawn"] = {key: v for key, v in drawn.items() if key not in ("dataset", "root")}
    runs, counts = pd.DataFrame(rows), pd.concat(counts.values(), ignore_index=True)
    tables = _joined(histories), counts, architectures, _joined(predictions)
    return RunSet(study.name, about, runs, *tables)


def _row(run: Run, case: dict) -> dict:
    params, environment = run.params.model_dump(), run.read_json("environment.json")
    recorded = {name: params[name] for name in RECORDED}
    # In a table of results `alpha` is Krippendorff's; the α of Eq. 4 stands beside λ.
    recorded = {"cluster_alpha" if n == "alpha" else n: v for n, v in recorded.items()}
    for name in ("data_options", "loss_options"):
        recorded[name] = json.dumps(recorded[name])
    measured = {"collapsed": False, **run.measured}
    measured.pop("confusion", None)
    weights = Path(params["weights"])
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


def _groups(images: pd.Series, manifest: pd.DataFrame):
    """The duplicate group of each image; −1 where it has no twin."""
    if "duplicate_group" not in manifest:
        return -1
    groups = zip(manifest["image"].astype(str), manifest["duplicate_group"], strict=True)
    return images.map(dict(groups))


def _joined(tables: list[pd.DataFrame]) -> pd.DataFrame:
    table = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame({"run": []})
    return table[["run", *(column for column in table if column != "run")]]


def collect(study: Study, root: Path, finished: bool = False) -> Path:
    """Write `results/<study>/` from the study's runs, or from those that have `finished`.

    Rows of runs that are in the results already, and have no folder here, are kept. A run whose
    numbers are the same up to 1e-6 keeps the row that was recorded for it.

    Raises:
        InputError: where nothing, or not everything that was asked for, has finished.
    """
    folder, names = root / "results" / study.name, list(study.cases())
    here = [name for name in names if Run(study.name, name, root).finished]
    if finished and not here:
        raise InputError(
            f"expected finished runs of {study.name!r}, found none; compute some first"
        )
    found = gather(study, root, here if finished else names)
    if (folder / "runs.csv").is_file():
        try:
            found = _merge(found, read_results(study.name, root), names)
        except InputError:  # half there or damaged
            if here != names:
                raise
    _write(found, folder)
    return folder


def _merge(new: RunSet, old: RunSet, names: list[str]) -> RunSet:
    """New runs, and old ones without a folder here; of equal numbers what is committed stays."""
    same = _unchanged(new.runs, old.runs)
    kept = [run for run in old.runs["run"] if run in names and run not in set(new.runs["run"])]
    runs, before = (table.set_index("run") for table in (new.runs, old.runs))
    order = {run: place for place, run in enumerate(names)}
    columns = [name for name in runs if name in before]
    runs.loc[same, columns] = before.loc[same, columns]

    def joined(own: pd.DataFrame, earlier: pd.DataFrame, taken: list[str]) -> pd.DataFrame:
        parts = own[~own["run"].isin(taken)], earlier[earlier["run"].isin(taken)]
        table = pd.concat([part for part in parts if len(part)], ignore_index=True)
        return table.iloc[np.argsort(table["run"].map(order), kind="stable")]

    keys = [name for name in new.counts if name != "images"]
    counts = pd.concat([new.counts, old.counts] if kept else [new.counts])
    return replace(
        new,
        runs=joined(runs.reset_index(), old.runs, kept),
        history=joined(new.history, old.history, [*same, *kept]),
        counts=counts.drop_duplicates(keys),
        architectures=(old.architectures if kept else {}) | new.architectures,
        predictions=joined(new.predictions, old.predictions, [*same, *kept]),
    )


def _unchanged(new: pd.DataFrame, old: pd.DataFrame) -> list[str]:
    """Runs whose earlier row says the same of all but `PROVENANCE`, up to 1e-6."""
    shared = [name for name in new if name in old and name not in PROVENANCE]
    runs = [run for run in new["run"] if run in set(old["run"])]
    both = [table.set_index("run", drop=False).loc[runs, shared] for table in (new, old)]
    same = np.ones(len(runs), dtype=bool)
    for name in shared:
        texts = [table[name].astype(str).to_numpy() for table in both]
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
    remedy = f"fetch it again, or write it: python -m fer_utils collect {study}"
    for name in FILES:
        if not (folder / name).is_file():
            raise InputError(f"results/{study}/ is half there: {name} is missing; {remedy}")
    try:
        about, architectures = (
            json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
            for name in ("study", "architecture")
        )
        images, predictions = (
            pd.read_parquet(folder / f"{name}.parquet") for name in ("images", "predictions")
        )
        runs, history, counts = (
            pd.read_csv(folder / f"{name}.csv") for name in ("runs", "history", "counts")
        )
        rows = images.iloc[predictions["image"]].reset_index(drop=True)
        for column in ("image", "label", "group"):
            predictions[column] = rows[column]
        if "setting" in runs:  # without settings the column is empty
            runs["setting"] = runs["setting"].astype(object).where(runs["setting"].notna(), "")
        found = RunSet(study, about, runs, history, counts, architectures, predictions)
        _check_whole(found)
    except (ValueError, KeyError, IndexError, OSError) as error:
        raise InputError(f"results/{study}/ is damaged: {error}; {remedy}") from None
    return found


def _check_whole(found: RunSet) -> None:
    """Raise `InputError` for a run with missing, doubled or impossible predictions."""
    runs = found.runs.set_index("run")
    for table in (found.history, found.predictions):
        if strange := set(table["run"]) - set(runs.index):
            raise InputError(f"expected a row for run {min(strange)}, found none")
    if "diverged_in" in runs:
        runs = runs[runs["diverged_in"] != 1]
    rows = found.predictions[found.predictions["split"] == found.evaluation]
    sizes = rows.groupby("run").size().reindex(runs.index, fill_value=0)
    for run, expected in runs[f"{found.evaluation}_images"].items():
        if sizes[run] != expected:
            raise InputError(
                f"run {run} is incomplete: expected {expected:,} predictions, found {sizes[run]:,}"
            )
    twice = rows.loc[rows.duplicated(["run", "image"]), "run"]
    if len(twice):
        raise InputError(
            f"run {twice.iloc[0]}: expected every image once, found {len(twice):,} again"
        )
    metrics.check_scores(rows["label"].to_numpy(), probabilities(rows))


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
    cases = {run: run.rpartition("-seed")[0] for run in found.runs["run"]}
    chosen = list(cases)
    if part:
        check_choice(f"run of {study}:", part, [*cases, *dict.fromkeys(cases.values())])
        chosen = [run for run, case in cases.items() if part in (run, case)]
    tables = {}
    for key in ("runs", "history", "predictions"):
        table = getattr(found, key)
        tables[key] = table[table["run"].isin(chosen)].reset_index(drop=True)
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
        found = gather(load_study(study, root), root, done)
    else:
        about = {"title": f"Runs in runs/{study}/", "note": "Runs of one's own."}
        seeds = {run: Run(study, run, root).params.seed for run in done}
        about |= {"variants": dict.fromkeys(done, {}), "seeds": sorted(set(seeds.values()))}
        cases = {run: {"setting": "", "variant": run, "seed": seeds[run]} for run in done}
        found = _gather(Study.model_construct(name=study, **about), cases, root)
    _check_whole(found)
    return found


@dataclass(frozen=True)
class Comparison:
    """What `compare` found.

    `table` has a row a case and metric: case, metric, seeds, a, b, difference (b − a), low, high
    (95 % paired bootstrap over images), seeds_low, seeds_high (95 % t interval over seeds),
    p_value, p_holm (adjusted for the cases).
    """

    table: pd.DataFrame
    verdicts: list[str]  # a sentence a case, on the first metric
    notes: list[str]  # what a reader must know besides


def compare(a: str, b: str, root: Path, chosen: tuple[str, ...] = ()) -> Comparison:
    """Two sides on the same images, seed by seed: is B better than A, or is it noise?

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
    rows = [row for case, runs in pairs.items() for row in _compare_case(sides, case, runs, chosen)]
    table = pd.DataFrame(rows)
    table["p_holm"] = table.groupby("metric")["p_value"].transform(metrics.holm)
    verdicts = []
    for row in table[table["metric"] == chosen[0]].to_dict("records"):
        names = (f"{row['case']} of {side.name}" if row["case"] else side.name for side in sides)
        verdicts.append(metrics.describe_verdict(row, *names, metric=chosen[0]))
    return Comparison(table, verdicts, notes)


def _pairs(a: RunSet, b: RunSet) -> tuple[dict[str, list[tuple[str, str]]], list[str]]:
    """Case → pairs of runs of one seed; and notes on what has no partner."""
    sides = [_by_case_and_seed(side) for side in (a, b)]
    if all(len({case for case, _ in side}) == 1 for side in sides):
        sides = [{("", seed): run for (_, seed), run in side.items()} for side in sides]
        if all(len(side) == 1 for side in sides):  # two single runs, whatever their seeds
            sides = [{("", ""): next(iter(side.values()))} for side in sides]
    pairs: dict[str, list[tuple[str, str]]] = {}
    for case, seed in sides[0]:
        if (case, seed) in sides[1]:
            pairs.setdefault(case, []).append(tuple(side[case, seed] for side in sides))
    if not pairs:
        found = " and ".join(", ".join(list(side.values())[:4]) for side in sides)
        raise InputError(
            f"expected runs of the same case and seed in {a.name} and {b.name}, found {found}; "
            "to compare two of them name each: STUDY/RUN"
        )
    if a.about == b.about and all(one == two for runs in pairs.values() for one, two in runs):
        raise InputError(f"expected two different sides, found the runs of {a.name} on both")
    notes = []
    for side, own, other in zip((a, b), sides, reversed(sides), strict=True):
        if alone := [run for key, run in own.items() if key not in other]:
            notes.append(f"Only in {side.name}, not compared: {', '.join(alone)}.")
    return pairs, notes


def _by_case_and_seed(side: RunSet) -> dict[tuple[str, str], str]:
    runs = side.runs
    if "diverged_in" in runs:
        runs = runs[runs["diverged_in"] != 1]
    split = {run: run.rpartition("-seed") for run in runs["run"]}
    return {(case or seed, seed if case else ""): run for run, (case, _, seed) in split.items()}


def _compare_case(sides, case: str, runs: list, chosen: tuple[str, ...]) -> list[dict]:
    """A row a metric, from pairs of runs."""
    targets, first, second, groups = zip(*(on_same_images(*sides, *p) for p in runs), strict=True)
    if not all(np.array_equal(other, targets[0]) for other in targets):
        raise InputError(f"expected one test set over the seeds, found others in {runs}")
    compared = metrics.compare_paired(
        targets[0], np.stack(first), np.stack(second), metrics=chosen, groups=groups[0]
    )
    rows = []
    for name, row in compared.to_dict("index").items():
        seeds = metrics.seed_interval(row.pop("by_seed"))
        row |= {"seeds_low": seeds["low"], "seeds_high": seeds["high"]}
        row["p_value"] = np.nanmax([row["p_value"], seeds["p_value"]])
        rows.append({"case": case, "seeds": len(runs), "metric": name, **row})
    return rows


def on_same_images(a: RunSet, b: RunSet, run_a: str, run_b: str) -> tuple[np.ndarray, ...]:
    """Labels (N,), both runs' probabilities (N, 8) and duplicate groups, on the same images.

    Raises:
        InputError: where the test sets differ in images or labels.
    """
    first, second = a.scored(run_a), b.scored(run_b)
    for column in ("image", "label"):
        if not np.array_equal(first[column], second[column]):
            raise InputError(
                f"expected one test set for {a.name} ({run_a}) and {b.name} ({run_b}), found "
                f"different {column}s ({len(first):,} and {len(second):,} images)"
            )
    groups = first["group"].to_numpy()
    return first["label"].to_numpy(), probabilities(first), probabilities(second), groups


def format_comparison(comparison: Comparison) -> pd.DataFrame:
    """The table as a terminal shows it: per cent and points."""
    table = comparison.table

    def interval(low: str, high: str) -> list[str]:
        both = zip(100 * table[low], 100 * table[high], strict=True)
        return ["–" if np.isnan(x) else f"{x:+.1f} to {y:+.1f}" for x, y in both]

    shown = pd.DataFrame({
        "case": table["case"],
        "metric": table["metric"],
        "A": (100 * table["a"]).map("{:.1f}".format),
        "B": (100 * table["b"]).map("{:.1f}".format),
        "B − A": (100 * table["difference"]).map("{:+.1f}".format),
        "95 % interval": interval("low", "high"),
        "over seeds": interval("seeds_low", "seeds_high"),
        "p, Holm": table["p_holm"].map("{:.3f}".format),
        "seeds": table["seeds"],
    })  # fmt: skip
    return shown.drop(columns="case") if table["case"].nunique() == 1 else shown
