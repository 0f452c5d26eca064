"""A study: one file in `experiments/` → its runs and their parameters."""

import itertools
import re
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fer_utils.core import InputError, RunParameters, check_choice, check_names, paper, parameters

Values = dict[str, Any]
Base = Literal["se_resnet50", "resnet50"]
Source = Literal["imagenet", "file", "identity"]
Name = Annotated[str, Field(pattern="^[a-z0-9_]+$")]


class Study(BaseModel):
    """One file in `experiments/`: rows of the paper's tables (`models`), or `variants`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str  # the file's stem
    title: str  # what the study is, a line for tables and captions
    note: str  # what a reader of its tables must know (data, sizes, how it differs from the paper)
    models: list[int] = []  # rows of Tables 5 and 6, in the order in which they are run
    variants: dict[Name, Values] = {}  # name → run parameters; compared with each other
    settings: dict[Name, Values] = {}  # name → run parameters under which every variant is run
    reference: str = ""  # the variant that the others are compared with; default: the first
    # One run per case and seed; all of the first seed come first. A seed decides initial weights,
    # order and pre-training; the images are the same unless `data_seed` says else.
    seeds: list[Annotated[int, Field(ge=0)]] = Field([0], min_length=1)
    only_first_seed: list[str] = []  # variants that are run with the first seed alone
    folds: int = Field(0, ge=0)  # of a cross-validation, 0: none; each case is then a run a fold
    parameters: Values = {}  # run parameters shared by all runs
    pretrained: Values = {}  # of the rows with pre-training,
    scratch: Values = {}  # and without
    architectures: dict[Base, str] = {}  # the paper's base → the architecture that runs here
    # The paper's base → its pre-trained weights: `imagenet` (torchvision's, unless a file is
    # given), `file` (has to be given), or `identity`, the study's own pre-training
    weights: dict[Base, Source] = {}
    identity: Values = {}  # run parameters of that pre-training, on top of `parameters`
    threads: int = Field(1, ge=1)  # CPU threads of one run; several runs share the machine
    runs_per_gpu: int = Field(1, ge=1)  # the paper's batch of 36 does not fill one
    test_looks: int = Field(0, ge=0)  # at the test split before this recipe was final

    @property
    def notebook(self) -> str:
        """The notebook that draws the study's tables and figures."""
        return "05_paper_figures" if self.models else "08_compare_losses"

    def cases(self) -> dict[str, dict]:
        """Run name → the columns that say which run it is; in order, without pre-training runs."""
        found = {}
        folds = [{"fold": fold} for fold in range(self.folds)] or [{}]
        for seed, case, fold in itertools.product(self.seeds, self._cases(), folds):
            if seed == self.seeds[0] or case.get("variant") not in self.only_first_seed:
                key = case | fold | {"seed": seed}
                found[run_name(**key)] = key
        return found

    def _cases(self) -> list[dict]:
        if self.models:
            rows = [paper.MODELS[number] for number in self.models]
            return [{"model": m.number, "base": m.base, "pretrained": m.pretrained} for m in rows]
        pairs = itertools.product(self.settings or [""], self.variants)
        return [{"setting": setting, "variant": variant} for setting, variant in pairs]

    def runs(self, data: str = "", weights: str = "") -> dict[str, RunParameters]:
        """Run name → resolved parameters, pre-training first.

        Args:
            data: folder of the dataset, or one that holds a folder for each dataset by its name.
            weights: pre-trained weights that the user gives: a file, or a folder with a file
                `<base>.*` for each base.
        """
        identity, others = {}, {}
        for name, case in self.cases().items():
            values, base = self._values(case)
            source = values.get("weights", "none")
            if source == "identity":
                first = f"identity-{base}-seed{case['seed']}"
                identity.setdefault(first, self._identity(base, case["seed"]))
                values["weights"] = f"runs/{self.name}/{first}/best.safetensors"
            elif source in ("imagenet", "file"):
                values["weights"] = self._given(source, base, weights)
            others[name] = values
        found = {}
        for name, values in (identity | others).items():
            folder = _folder(data, values.get("dataset", "synthetic"))
            own = {"data": folder, "threads": self.threads, "study": self.name, "run": name}
            try:
                found[name] = parameters(values | own)
            except InputError as error:
                raise InputError(f"experiments/{self.name}.yaml, run {name}: {error}") from None
        return found

    def _values(self, case: dict) -> tuple[Values, str]:
        """Run parameters of a case, and the base whose pre-trained weights it takes."""
        values = {**self.parameters, "seed": case["seed"]}
        if "fold" in case:
            values |= {"protocol": "k_fold", "folds": self.folds, "fold": case["fold"]}
        if not self.models:
            values |= self.settings.get(case["setting"], {}) | self.variants[case["variant"]]
            return values, values.get("architecture", "small_se_resnet")
        model, source = paper.MODELS[case["model"]], "none"
        if model.pretrained:
            usual = "imagenet" if model.base == "resnet50" else "file"
            source = self.weights.get(model.base, usual)
        architecture = self.architectures.get(model.base, model.base)
        values |= {"architecture": architecture, "weights": source, "loss": model.loss}
        return values | (self.pretrained if model.pretrained else self.scratch), model.base

    def _identity(self, base: str, seed: int) -> Values:
        own = {"target": "subject", "loss": "softmax", "weights": "none", "seed": seed}
        own["architecture"] = self.architectures.get(base, base)
        return self.parameters | own | self.identity

    def _given(self, source: str, base: str, weights: str) -> str:
        if weights and not Path(weights).is_dir():
            return weights
        given = sorted(Path(weights).glob(f"{base}.*")) if weights else []
        if given or source == "imagenet":
            return str(given[0]) if given else source
        raise InputError(
            f"study {self.name!r} needs pre-trained weights of {base}: "
            f"make study STUDY={self.name} WEIGHTS=/folder (with {base}.safetensors, .pkl or .pth)"
        )


def _folder(data: str, dataset: str) -> str:
    """Where a dataset is: `data`, or the folder of its name in it; drawn faces need none."""
    if dataset == "synthetic":
        return ""
    own = Path(data) / dataset
    return str(own) if data and own.is_dir() else data


def run_name(seed: int, fold: int | None = None, model: int | None = None, **case) -> str:
    """Name of a run.

    >>> run_name(0, model=8), run_name(2, setting="drawn", variant="zeros", fold=1)
    ('model08-seed0', 'drawn-zeros-fold1-seed2')
    """
    if model is not None:
        return f"model{model:02d}-seed{seed}"
    part = "" if fold is None else f"fold{fold}"
    names = (case.get("setting"), case.get("variant"), part, f"seed{seed}")
    return "-".join(filter(None, names))


def load_study(name: str, root: Path) -> Study:
    """Read and check `experiments/<name>.yaml`."""
    check_choice("study", name, sorted(path.stem for path in (root / "experiments").glob("*.yaml")))
    place = f"experiments/{name}.yaml"
    try:
        content = yaml.safe_load((root / place).read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise InputError(f"expected fields such as title and models, found {content!r}")
        for key in content:
            check_choice("field", key, [key for key in Study.model_fields if key != "name"])
        study = Study(name=name, **content)
        _check_parts(study)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{place} is not valid YAML: {' '.join(str(error).split())}") from None
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        raise InputError(f"{place}, {field}: {first['msg']}; found {first['input']!r}") from None
    except InputError as error:
        raise InputError(f"{place}: {error}") from None
    return study


def _check_parts(study: Study) -> None:
    if not re.fullmatch("[A-Za-z0-9_]+", study.name):
        raise InputError(f"expected a name of letters, digits and _, found {study.name!r}")
    if bool(study.models) == bool(study.variants):
        raise InputError("expected either models or variants; found both or neither")
    if study.folds and study.models:
        raise InputError("folds are for variants; found models")
    for number in study.models:
        check_choice("model", number, paper.MODELS)
    for name in filter(None, [study.reference, *study.only_first_seed]):
        check_choice("variant", name, study.variants)
    groups = [study.parameters, study.pretrained, study.scratch, study.identity]
    for values in [*groups, *study.variants.values(), *study.settings.values()]:
        check_names(values)
