"""From a study's finished runs to `results/<study>/`, all that tables, figures and paired tests need."""

import dataclasses
import json
from pathlib import Path

import pandas as pd

from fer_utils.datasets import count_table, read_manifest
from fer_utils.files import replaced
from fer_utils.runs import PLACE, Run, RunParameters
from fer_utils.studies import Study

RECORDED = tuple(item.name for item in dataclasses.fields(RunParameters) if item.name not in (*PLACE, "study", "run"))


def collect(study: Study, names: list[str], root: Path) -> Path:
    """Gather the finished runs of a study into `results/<study>/`; see README for the files and their columns.

    Everything is written in one go from run folders; nothing downstream opens a run folder again.

    Args:
        study: the study.
        names: its runs.
        root: the checkout.

    Returns:
        The results folder.

    Raises:
        InputError: where a run has not finished.
    """
    rows, histories, predictions, architectures = [], [], [], {}
    first = {}  # setting → its first run; they differ in seed and loss, not in data
    for name in names:
        run = Run(study.name, name, root)
        measured, params = {"collapsed": False, **run.read_json("metrics.json")}, dataclasses.asdict(run.resolved)
        if name == "identity":  # no row of the paper's tables
            continue
        rows.append(_row(study, run, params, measured))
        histories.append(pd.read_csv(run.require("history.csv")).assign(run=name))
        if run.evaluated:
            predictions.append(pd.read_parquet(run.require("predictions.parquet")).assign(run=name))
        architecture = run.read_json("architecture.json")
        case = study.case(name)
        if study.models:
            base = case["base"]
            key = f"{base}{'' if case['pretrained'] else '-scratch'}"
            architectures.setdefault(key, {"base": base, **architecture})
        else:
            architectures.setdefault(case["setting"], architecture)
        first.setdefault(case.get("setting", ""), run)
    results = root / "results" / study.name
    _write_csv(pd.DataFrame(rows), results / "runs.csv")
    _write_csv(_run_first(histories), results / "history.csv")
    with replaced(results / "predictions.parquet") as temporary:
        table = _run_first(predictions)
        probabilities = table.select_dtypes("floating").columns
        table.astype(dict.fromkeys(probabilities, "float32")).to_parquet(temporary, index=False, compression="zstd")
    with replaced(results / "architecture.json") as temporary:
        temporary.write_text(json.dumps(architectures, indent=2) + "\n")
    manifests = {setting: read_manifest(run.require("manifest.parquet")) for setting, run in first.items()}
    tables = [count_table(part).assign(**({"setting": name} if name else {})) for name, part in manifests.items()]
    _write_csv(pd.concat(tables), results / "counts.csv")
    manifest = next(iter(manifests.values()))
    about = {
        "study": study.name,
        "title": study.title,
        "note": study.note,
        "models": list(study.models),
        "variants": list(study.variants),
        "settings": list(study.settings),
        "reference": study.reference or next(iter(study.variants), ""),
        "seeds": list(study.seeds),
        "dataset": rows[0]["dataset"],
        "drawn": _drawn(manifest),
    }
    with replaced(results / "study.json") as temporary:
        temporary.write_text(json.dumps(about, indent=2) + "\n")
    return results


def _row(study: Study, run: Run, params: dict, measured: dict) -> dict:
    environment = run.read_json("environment.json")
    return {
        "run": run.name,
        **study.case(run.name),
        "weights": "identity" if params["weights"] == study.identity_weights else Path(params["weights"]).stem,
        # `alpha` in a table of results is Krippendorff's; the α of Eq. 4 stands beside λ.
        **{"cluster_alpha" if name == "alpha" else name: params[name] for name in RECORDED},
        **{name: value for name, value in measured.items() if name != "confusion"},
        "device": environment["processor"] if environment["device"] == "cpu" else environment["device"],
        "git_commit": environment["git_commit"],
    }


def _run_first(tables: list[pd.DataFrame]) -> pd.DataFrame:
    table = pd.concat(tables, ignore_index=True)
    return table[["run", *(column for column in table if column != "run")]]


def _drawn(manifest: pd.DataFrame) -> dict | None:
    """The arguments that draw a synthetic population again; None for real images."""
    if manifest.attrs["dataset"] != "synthetic":
        return None
    return {name: value for name, value in manifest.attrs.items() if name not in ("dataset", "root")}


def _write_csv(table: pd.DataFrame, path: Path) -> None:
    with replaced(path) as temporary:
        table.to_csv(temporary, index=False)
