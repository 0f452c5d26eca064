"""A study: one file in `experiments/` → its runs' parameters → `results/<study>/`, all that figures need."""

import dataclasses
import json
import re
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import yaml

from fer_utils import paper
from fer_utils.datasets import count_table, read_manifest
from fer_utils.errors import InputError, check_choice
from fer_utils.files import replaced
from fer_utils.runs import PLACE, Run, RunParameters, check_names, parameters

RECORDED = tuple(item.name for item in dataclasses.fields(RunParameters) if item.name not in (*PLACE, "study", "run"))

SOURCES = ("imagenet", "file", "identity")


@dataclass(frozen=True)
class Study:
    """One file in `experiments/`.

    Attributes:
        name: the file's stem.
        title: what the study is, a line for tables and captions.
        note: what a reader of its tables must know (data, sizes, how it differs from the paper).
        models: numbers of rows in the paper's Tables 5 and 6, in the order in which they are run.
        seeds: one run per model and seed; all models of the first seed come first.
        parameters: run parameters shared by all runs.
        pretrained, scratch: run parameters of the rows with and without pre-training.
        architectures: the paper's base → the architecture that runs here.
        weights: the paper's base → source of its pre-trained weights: `imagenet` (torchvision's, unless a file is
            given), `file` (has to be given), or `identity`, which is the study's own pre-training run.
        identity: run parameters of that pre-training (on top of `parameters`).
        threads: CPU threads of one run; several runs share the machine.
    """

    name: str
    title: str
    note: str
    models: tuple[int, ...]
    seeds: tuple[int, ...] = (0,)
    parameters: dict = field(default_factory=dict)
    pretrained: dict = field(default_factory=dict)
    scratch: dict = field(default_factory=dict)
    architectures: dict = field(default_factory=dict)
    weights: dict = field(default_factory=dict)
    identity: dict = field(default_factory=dict)
    threads: int = 1

    @property
    def identity_weights(self) -> str:
        """Where the study's own pre-training leaves its weights."""
        return f"runs/{self.name}/identity/best.safetensors"

    @property
    def names(self) -> list[str]:
        """Names of the runs, in the order in which they are to be run; pre-training first."""
        identity = ["identity"] if "identity" in self.weights.values() else []
        return identity + [f"model{number:02d}-seed{seed}" for seed in self.seeds for number in self.models]

    def runs(self, data: str = "", weights: str = "") -> dict[str, RunParameters]:
        """Run name → resolved parameters, in the order of `names`.

        Args:
            data: folder of the dataset, where the study needs one.
            weights: pre-trained weights that the user gives: a file, or a folder with `<base>.safetensors` files.

        Raises:
            InputError: for an unknown model or parameter, or a bad value.
        """
        found = {}
        for name in self.names:
            if name == "identity":
                values = {**self.parameters, "target": "subject", "loss": "softmax", **self.identity}
                values["architecture"] = self.architectures.get("se_resnet50", "se_resnet50")
            else:
                values = self._model(name, weights)
            try:
                found[name] = parameters(
                    {**values, "data": data, "threads": self.threads, "study": self.name, "run": name}
                )
            except InputError as error:
                raise InputError(f"experiments/{self.name}.yaml, run {name}: {error}") from None
        return found

    def _model(self, name: str, weights: str) -> dict:
        number, seed = _number_and_seed(name)
        check_choice("model", number, paper.MODELS)
        model = paper.MODELS[number]
        return {
            **self.parameters,
            **(self.pretrained if model.pretrained else self.scratch),
            "architecture": self.architectures.get(model.base, model.base),
            "weights": self._source(model.base, weights) if model.pretrained else "none",
            "loss": model.loss,
            "seed": seed,
        }

    def _source(self, base: str, weights: str) -> str:
        source = self.weights.get(base, "imagenet" if base == "resnet50" else "file")
        if source == "identity":
            return self.identity_weights
        folder = bool(weights) and Path(weights).is_dir()
        given = Path(weights) / f"{base}.safetensors" if folder else Path(weights)
        if weights and (given.is_file() or not folder):
            return str(given)
        if source == "imagenet":
            return source
        raise InputError(
            f"study {self.name!r} needs pre-trained weights of {base}: give WEIGHTS=/folder holding {base}.safetensors"
        )


def load(name: str, root: Path) -> Study:
    """Read and check `experiments/<name>.yaml`.

    Raises:
        InputError: for an unknown study or field, a missing field, or a file that is no YAML.
    """
    known = sorted(path.stem for path in (root / "experiments").glob("*.yaml"))
    check_choice("study", name, known)
    try:
        content = yaml.safe_load((root / "experiments" / f"{name}.yaml").read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise InputError(f"experiments/{name}.yaml is not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise InputError(f"experiments/{name}.yaml: expected fields such as title and models, found {content!r}")
    fields = [item.name for item in dataclasses.fields(Study) if item.name != "name"]
    for key in content:
        check_choice(f"field in experiments/{name}.yaml:", key, fields)
    missing = [key for key in ("title", "note", "models") if key not in content]
    if missing:
        raise InputError(
            f"experiments/{name}.yaml: expected the fields title, note and models; {missing[0]} is missing"
        )
    for key in ("parameters", "pretrained", "scratch", "identity", "weights", "architectures"):
        if not isinstance(content.get(key, {}), dict):
            raise InputError(f"experiments/{name}.yaml: {key} must be names with values, found {content[key]!r}")
    for key, choices in (("weights", SOURCES), ("architectures", None)):
        for base, value in content.get(key, {}).items():
            check_choice(f"base in experiments/{name}.yaml, {key}:", base, paper.BASES)
            if choices:
                check_choice(f"source in experiments/{name}.yaml, {key}:", value, choices)
    for key in ("models", "seeds"):
        value = content.get(key, [0])
        if not isinstance(value, list) or not value or not all(type(item) is int and item >= 0 for item in value):
            raise InputError(f"experiments/{name}.yaml: {key} must be a list such as [1, 2], found {value!r}")
    for group in ("parameters", "pretrained", "scratch", "identity"):
        check_names(content.get(group, {}))
    return Study(
        name=name, **{key: tuple(value) if isinstance(value, list) else value for key, value in content.items()}
    )


def _number_and_seed(name: str) -> tuple[int, int]:
    return tuple(int(number) for number in re.findall(r"\d+", name))


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
    for name in names:
        run = Run(study.name, name, root)
        measured, params = run.read_json("metrics.json"), run.params
        if name == "identity":  # no row of the paper's tables
            continue
        rows.append(_row(run, params, measured, study.identity_weights))
        histories.append(pd.read_csv(run.require("history.csv")).assign(run=name))
        predictions.append(pd.read_parquet(run.require("predictions.parquet")).assign(run=name))
        architecture = run.read_json("architecture.json")
        base = paper.MODELS[rows[-1]["model"]].base
        architectures.setdefault(
            f"{base}{'' if rows[-1]['pretrained'] else '-scratch'}", {"base": base, **architecture}
        )
    results = root / "results" / study.name
    _write_csv(pd.DataFrame(rows), results / "runs.csv")
    _write_csv(_run_first(histories), results / "history.csv")
    with replaced(results / "predictions.parquet") as temporary:
        table = _run_first(predictions)
        probabilities = table.select_dtypes("floating").columns
        table.astype(dict.fromkeys(probabilities, "float32")).to_parquet(temporary, index=False, compression="zstd")
    with replaced(results / "architecture.json") as temporary:
        temporary.write_text(json.dumps(architectures, indent=2) + "\n")
    manifest = read_manifest(Run(study.name, rows[0]["run"], root).require("manifest.parquet"))
    _write_csv(count_table(manifest), results / "counts.csv")
    about = {"study": study.name, "title": study.title, "note": study.note, "models": list(study.models),
             "seeds": list(study.seeds), "dataset": rows[0]["dataset"], "drawn": _drawn(manifest)}  # fmt: skip
    with replaced(results / "study.json") as temporary:
        temporary.write_text(json.dumps(about, indent=2) + "\n")
    return results


def _row(run: Run, params: dict, measured: dict, identity: str) -> dict:
    number, _ = _number_and_seed(run.name)
    environment = run.read_json("environment.json")
    return {
        "run": run.name,
        "model": number,
        "base": paper.MODELS[number].base,
        "pretrained": paper.MODELS[number].pretrained,
        "weights": "identity" if params["weights"] == identity else Path(params["weights"]).stem,
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
