"""A study: one file in `experiments/` → its runs and their parameters."""

import dataclasses
import re
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from fer_utils import paper
from fer_utils.errors import InputError, check_choice
from fer_utils.runs import RunParameters, check_names, parameters

SOURCES = ("imagenet", "file", "identity")


@dataclass(frozen=True)
class Study:
    """One file in `experiments/`.

    Attributes:
        name: the file's stem.
        title: what the study is, a line for tables and captions.
        note: what a reader of its tables must know (data, sizes, how it differs from the paper).
        models: numbers of rows in the paper's Tables 5 and 6, in the order in which they are run. Or else:
        variants: name → run parameters that the study compares with each other.
        settings: name → run parameters under which every variant is run (data, network, weights); may be left out.
        reference: the variant that the others are compared with; default: the first.
        seeds: one run per model or variant and seed; all of the first seed come first.
        parameters: run parameters shared by all runs.
        pretrained, scratch: run parameters of the rows with and without pre-training.
        architectures: the paper's base → the architecture that runs here.
        weights: the paper's base → source of its pre-trained weights: `imagenet` (torchvision's, unless a file is
            given), `file` (has to be given), or `identity`, which is the study's own pre-training run.
        identity: run parameters of that pre-training (on top of `parameters`).
        threads: CPU threads of one run; several runs share the machine.
        runs_per_gpu: runs that share a GPU: the paper's batch of 36 does not fill one.
    """

    name: str
    title: str
    note: str
    models: tuple[int, ...] = ()
    variants: dict = field(default_factory=dict)
    settings: dict = field(default_factory=dict)
    reference: str = ""
    seeds: tuple[int, ...] = (0,)
    parameters: dict = field(default_factory=dict)
    pretrained: dict = field(default_factory=dict)
    scratch: dict = field(default_factory=dict)
    architectures: dict = field(default_factory=dict)
    weights: dict = field(default_factory=dict)
    identity: dict = field(default_factory=dict)
    threads: int = 1
    runs_per_gpu: int = 1

    @property
    def identity_weights(self) -> str:
        """Where the study's own pre-training leaves its weights."""
        return f"runs/{self.name}/identity/best.safetensors"

    @property
    def names(self) -> list[str]:
        """Names of the runs, in the order in which they are to be run; pre-training first."""
        groups = (self.parameters, *self.settings.values(), *self.variants.values())
        sources = [*self.weights.values(), *(group.get("weights") for group in groups)]
        identity = ["identity"] if "identity" in sources else []
        return identity + [run_name(*key) for key in self._cases]

    @property
    def notebook(self) -> str:
        """The notebook that draws the study's tables and figures."""
        return "05_paper_figures" if self.models else "08_compare_losses"

    @property
    def _cases(self) -> list[tuple]:
        if self.models:
            return [(number, seed) for seed in self.seeds for number in self.models]
        settings = self.settings or {"": {}}
        return [(setting, variant, seed) for seed in self.seeds for setting in settings for variant in self.variants]

    def runs(self, data: str = "", weights: str = "") -> dict[str, RunParameters]:
        """Run name → resolved parameters, in the order of `names`.

        Args:
            data: folder of the dataset, where the study needs one.
            weights: pre-trained weights that the user gives: a file, or a folder with a file `<base>.*` for each base.

        Raises:
            InputError: for an unknown model or parameter, or a bad value.
        """
        found, cases = {}, {run_name(*key): key for key in self._cases}
        for name in self.names:
            if name == "identity":
                values = {**self.parameters, "target": "subject", "loss": "softmax", "weights": "none", **self.identity}
                values["architecture"] = self.architectures.get("se_resnet50", "se_resnet50")
            elif self.models:
                values = self._model(*cases[name], weights)
            else:
                values = self._variant(*cases[name], weights)
            folder = data if self._real(values) or not self.settings else ""
            try:
                found[name] = parameters(
                    {**values, "data": folder, "threads": self.threads, "study": self.name, "run": name}
                )
            except InputError as error:
                raise InputError(f"experiments/{self.name}.yaml, run {name}: {error}") from None
        return found

    def case(self, run: str) -> dict:
        """The columns that say in a table of results which run this is."""
        key = next(key for key in self._cases if run_name(*key) == run)
        if self.models:
            model = paper.MODELS[key[0]]
            return {"model": key[0], "base": model.base, "pretrained": model.pretrained}
        return {"setting": key[0], "variant": key[1]}

    @staticmethod
    def _real(values: dict) -> bool:
        return values.get("dataset", "synthetic") != "synthetic"

    def _variant(self, setting: str, variant: str, seed: int, weights: str) -> dict:
        values = {**self.parameters, **self.settings.get(setting, {}), **self.variants[variant], "seed": seed}
        source = values.get("weights", "none")
        if source in SOURCES:
            values["weights"] = self._given(source, values.get("architecture", "se_resnet14"), weights)
        return values

    def _model(self, number: int, seed: int, weights: str) -> dict:
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
        return self._given(self.weights.get(base, "imagenet" if base == "resnet50" else "file"), base, weights)

    def _given(self, source: str, base: str, weights: str) -> str:
        if source == "identity":
            return self.identity_weights
        if weights and not Path(weights).is_dir():
            return weights
        given = sorted(Path(weights).glob(f"{base}.*")) if weights else []
        if given:
            return str(given[0])
        if source == "imagenet":
            return source
        data = " DATA=/path/to/it" if self._real(self.parameters) else ""
        raise InputError(
            f"study {self.name!r} needs pre-trained weights of {base}: make study STUDY={self.name}{data} "
            f"WEIGHTS=/folder (holding {base}.safetensors, .pkl or .pth)"
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
    kind = "variants" if "variants" in content else "models"
    missing = [key for key in ("title", "note", kind) if key not in content]
    if missing:
        raise InputError(
            f"experiments/{name}.yaml: expected the fields title, note and models (or variants); "
            f"{missing[0]} is missing"
        )
    if content.get("variants", {"one": {}}) == {}:
        raise InputError(f"experiments/{name}.yaml: expected at least one variant, found none")
    if "models" in content and "variants" in content:
        raise InputError(f"experiments/{name}.yaml: expected models or variants, found both")
    for key in ("parameters", "pretrained", "scratch", "identity", "weights", "architectures", "variants", "settings"):
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
    share = content.get("runs_per_gpu", 1)
    if type(share) is not int or share < 1:
        raise InputError(f"experiments/{name}.yaml: runs_per_gpu must be a whole number from 1, found {share!r}")
    for group in ("parameters", "pretrained", "scratch", "identity"):
        check_names(content.get(group, {}))
    for key in ("variants", "settings"):
        for part, values in content.get(key, {}).items():
            if not isinstance(values, dict) or not isinstance(part, str) or not re.fullmatch("[a-z0-9_]+", part):
                raise InputError(
                    f"experiments/{name}.yaml, {key}: expected a name of a–z, 0–9 and _ with run parameters, "
                    f"found {part!r}: {values!r}"
                )
            check_names(values)
    if content.get("reference"):
        check_choice(f"reference in experiments/{name}.yaml:", content["reference"], content.get("variants", {}))
    return Study(
        name=name, **{key: tuple(value) if isinstance(value, list) else value for key, value in content.items()}
    )


def run_name(*key) -> str:
    """Name of a run: (model, seed) or (setting, variant, seed).

    >>> run_name(8, 0), run_name("drawn", "zeros", 2), run_name("", "zeros", 2)
    ('model08-seed0', 'drawn-zeros-seed2', 'zeros-seed2')
    """
    *case, seed = key
    if len(case) == 1:
        return f"model{case[0]:02d}-seed{seed}"
    return "-".join([*filter(None, case), f"seed{seed}"])
