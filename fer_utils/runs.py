"""A run: its parameters, every one explicit and checked, and its folder `runs/<study>/<name>/`."""

import contextlib
import dataclasses
import fcntl
import json
import os
import platform
import subprocess
import sys
import typing
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import yaml

from fer_utils import paper
from fer_utils.errors import InputError, check_choice
from fer_utils.files import replaced

CHOICES = {
    "dataset": ("synthetic", "ferplus"),
    "target": ("label", "subject"),
    "architecture": ("se_resnet50", "resnet50", "se_resnet14", "resnet14"),
    "embedding_activation": ("none", "relu"),
    "embedding_norm": ("none", "batch"),
    "loss": tuple(paper.LOSSES),
    "reduction": ("sum", "mean", "weighted_mean"),
    "center_init": ("zeros", "normal", "class_means"),
    "center_update": ("paper", "autograd"),
    "selection": ("f1", "accuracy"),
    "precision": ("32-true", "bf16-mixed", "16-mixed"),
    "device": ("auto", "cpu", "cuda"),
}
# Where and how a run is computed, not what: free to change between a start and its resumption.
PLACE = ("data", "weights", "threads", "workers", "device")


@dataclass
class RunParameters:
    """Everything that decides a run; `None` is resolved by the paper's recipe (see `resolve`)."""

    study: str = "explore"
    run: str = "first"
    dataset: str = "synthetic"
    data: str = ""
    target: str = "label"
    train_images: int = 4000
    validation_images: int = 400
    test_images: int = 800
    subjects: int = 300
    difficulty: float = 0.1
    image_size: int = 48
    architecture: str = "se_resnet14"
    weights: str = "none"
    embedding_activation: str = "none"
    embedding_norm: str = "none"
    frozen_stages: int | None = None
    loss: str = "weighted_cluster"
    cluster_weight: float | None = None
    alpha: float = 1.0
    gamma: float = 1.0
    reduction: str = "weighted_mean"
    center_init: str = "class_means"
    center_update: str = "paper"
    epochs: int = 8
    batch_size: int | None = None
    learning_rate: float | None = None
    momentum: float = 0.9
    weight_decay: float = 5e-4
    halve_every: int = 10
    crop_scale_min: float = 0.7
    selection: str = "f1"
    seed: int = 0
    data_seed: int = 0
    precision: str = "32-true"
    device: str = "auto"
    threads: int = 0
    workers: int = 0

    def resolve(self) -> "RunParameters":
        """Check every value and fill what is `None` from the paper's recipe (Sec. 4.3).

        Learning rate 0.001 and batch 36 with pre-trained weights, 0.01 and 30 without; stages 1–3 frozen only with
        pre-trained weights; λ = 1 for the weighted-cluster loss, 0.5 for centre loss.

        Raises:
            InputError: for a value outside its choices, type or range.
        """
        for field in dataclasses.fields(self):
            self._check_type(field)
        for name, choices in CHOICES.items():
            check_choice(name, getattr(self, name), choices)
        pretrained = self.weights != "none"
        recipe = {
            "frozen_stages": 3 if pretrained else 0,
            "cluster_weight": 1.0
            if self.loss == "weighted_cluster"
            else 0.5
            if self.loss.startswith("center")
            else 0.0,
            "batch_size": 36 if pretrained else 30,
            "learning_rate": 0.001 if pretrained else 0.01,
        }
        resolved = dataclasses.replace(
            self, **{name: value for name, value in recipe.items() if getattr(self, name) is None}
        )
        resolved._check_ranges()
        return resolved

    def _check_type(self, field: dataclasses.Field) -> None:
        value = getattr(self, field.name)
        allowed = typing.get_args(field.type) or (field.type,)
        if float in allowed and isinstance(value, int) and not isinstance(value, bool):
            setattr(self, field.name, float(value))
        elif type(value) not in allowed:
            wanted = " or ".join("nothing" if kind is type(None) else kind.__name__ for kind in allowed)
            raise InputError(f"parameter {field.name!r} must be {wanted}, got {value!r}")

    def _check_ranges(self) -> None:
        at_least = {
            "train_images": 0, "validation_images": 0, "test_images": 0, "image_size": 32, "subjects": 3, "difficulty": 0, "frozen_stages": 0,
            "cluster_weight": 0, "gamma": 0, "epochs": 1, "batch_size": 2, "momentum": 0, "weight_decay": 0,
            "halve_every": 1, "seed": 0, "data_seed": 0, "threads": 0, "workers": 0,
        }  # fmt: skip
        for name, lowest in at_least.items():
            if not getattr(self, name) >= lowest:
                raise InputError(f"parameter {name!r} must be at least {lowest}, got {getattr(self, name)}")
        for name in ("alpha", "learning_rate"):
            if not getattr(self, name) > 0:
                raise InputError(f"parameter {name!r} must be greater than 0, got {getattr(self, name)}")
        if not 0 < self.crop_scale_min <= 1:
            raise InputError(f"parameter 'crop_scale_min' must lie in (0, 1], got {self.crop_scale_min}")
        if self.frozen_stages > 5:
            raise InputError(f"parameter 'frozen_stages' must be 0 to 5 (the network has 5), got {self.frozen_stages}")
        for name in ("study", "run"):
            value = getattr(self, name)
            if not value or value.startswith(".") or set(value) & set('/\\:*?"<>|'):
                raise InputError(f'parameter {name!r} names a folder: no slashes or any of :*?"<>|, got {value!r}')


def check_names(names, known=None) -> None:
    """Raise `InputError` for the first name that is no parameter (of a run, or of `known`), with the nearest right one.

    >>> check_names(["learning_rat"])
    Traceback (most recent call last):
    fer_utils.errors.InputError: unknown parameter 'learning_rat'; did you mean 'learning_rate'? Choose from: ...
    """
    known = known or [field.name for field in dataclasses.fields(RunParameters)]
    for name in names:
        check_choice("parameter", name, known)


def parameters(values: dict) -> RunParameters:
    """Strict run parameters from a dict: unknown names, types and ranges are refused, defaults filled in.

    >>> parameters({"loss": "softmax", "weights": "none"}).learning_rate
    0.01
    """
    check_names(values)
    return RunParameters(**values).resolve()


def notebook_parameters(namespace: dict) -> dict:
    """The parameters of a notebook, out of its `globals()` as they stand right after its parameters cell.

    Papermill defines whatever it is given, a misspelt name too, and only warns. A notebook that calls this before
    it defines anything else itself knows every such name: all public plain values are parameters.

    Args:
        namespace: `globals()` of the notebook.

    Returns:
        dict name → value, for `parameters` (or `check_names`) to judge.
    """
    plain = (type(None), bool, int, float, str, list, tuple, dict)
    ipython = {"In", "Out", "exit", "quit", "get_ipython"}
    return {
        name: value
        for name, value in namespace.items()
        if not name.startswith("_") and name not in ipython and type(value) in plain
    }


def project_root(start: Path | str = ".") -> Path:
    """The checkout's root: the nearest folder upwards with an `experiments` folder and a `pyproject.toml`."""
    start = Path(start).resolve()
    for folder in (start, *start.parents):
        if (folder / "experiments").is_dir() and (folder / "pyproject.toml").is_file():
            return folder
    raise InputError(f"expected a folder inside the study's checkout, found {start}; change into the checkout first")


class Run:
    """The folder of one run; see DESIGN in README for the files in it."""

    def __init__(self, study: str, name: str, root: Path | str | None = None):
        self.study, self.name = study, name
        self.root = Path(root) if root else project_root()
        self.folder = self.root / "runs" / study / name

    def __repr__(self) -> str:
        return f"Run({self.study!r}, {self.name!r}, {'finished' if self.finished else 'unfinished'})"

    def path(self, name: str) -> Path:
        return self.folder / name

    @property
    def finished(self) -> bool:
        """Whether the run is complete: `metrics.json` is written last."""
        return self.path("metrics.json").is_file()

    def require(self, name: str) -> Path:
        """Path of a file that a finished run has; `InputError` where it does not."""
        if not self.path(name).is_file():
            raise InputError(
                f"expected {name} in run {self.study}/{self.name}, found none: the run has not finished; "
                "run it with 03_fine_tune or `make study`"
            )
        return self.path(name)

    def read_json(self, name: str) -> dict:
        return json.loads(self.require(name).read_text())

    def write_json(self, name: str, content: dict) -> None:
        with replaced(self.path(name)) as temporary:
            temporary.write_text(json.dumps(content, indent=2) + "\n")

    @property
    def params(self) -> dict:
        return yaml.safe_load(self.require("params.yaml").read_text())

    @contextlib.contextmanager
    def locked(self):
        """Hold the run for this process; the lock ends with the process, however it ends.

        Raises:
            InputError: where another process holds it.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with open(self.path(".lock"), "w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise InputError(
                    f"run {self.study}/{self.name} is being computed by another process; wait for it or stop it"
                ) from None
            yield

    def check_same(self, params: RunParameters) -> None:
        """Raise `InputError` where the folder holds a run that was begun with other parameters."""
        if not self.path("params.yaml").is_file():
            return
        found, wanted = self.params, dataclasses.asdict(params)
        changed = [
            f"{name}: {found.get(name)!r} → {wanted.get(name)!r}"
            for name in sorted(found.keys() | wanted.keys())
            if name not in PLACE and found.get(name) != wanted.get(name)
        ]
        if changed:
            raise InputError(
                f"run {self.study}/{self.name} was begun with other parameters ({', '.join(changed)}); "
                "give the run or study another name, or move its folder under runs/ away"
            )

    def start(self, params: RunParameters) -> None:
        """Write `environment.json` and `params.yaml`: from here on the run has begun."""
        self.write_json("environment.json", environment(self.root))
        with replaced(self.path("params.yaml")) as temporary:
            temporary.write_text(yaml.safe_dump(dataclasses.asdict(params), sort_keys=False))


def environment(root: Path) -> dict:
    """Versions, hardware and git commit under which a run is computed."""
    packages = ("torch", "torchvision", "pytorch-lightning", "numpy", "pandas", "scikit-learn", "krippendorff")
    return {
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in packages},
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cores": os.cpu_count(),
        "device": _gpu() or "cpu",
        "git_commit": _git_commit(root),
    }


def _processor() -> str:
    if sys.platform == "linux":
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _gpu() -> str | None:
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else None


def _git_commit(root: Path) -> str:
    git = ["git", "-C", str(root)]
    try:
        commit = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
        changed = subprocess.run([*git, "status", "--porcelain"], capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "none"
    return f"{commit} with changes" if changed else commit
