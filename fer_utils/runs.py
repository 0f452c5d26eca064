"""A run: its parameters (`fer_utils.run_parameters`) and its folder `runs/<study>/<name>/`."""

import contextlib
import dataclasses
import fcntl
import hashlib
import json
import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import yaml

from fer_utils.errors import InputError
from fer_utils.files import replaced
from fer_utils.run_parameters import (
    CHOICES,
    PLACE,
    RunParameters,
    check_names,
    notebook_parameters,
    parameters,
)

PACKAGES = ("torch", "torchvision", "pytorch-lightning", "numpy", "pandas", "scikit-learn", "krippendorff")

__all__ = [
    "CHOICES",
    "PLACE",
    "Run",
    "RunParameters",
    "check_names",
    "environment",
    "located",
    "notebook_parameters",
    "parameters",
    "project_root",
    "versions",
]


def project_root(start: Path | str = ".") -> Path:
    """The checkout's root: the nearest folder upwards with an `experiments` folder and a `pyproject.toml`."""
    start = Path(start).resolve()
    for folder in (start, *start.parents):
        if (folder / "experiments").is_dir() and (folder / "pyproject.toml").is_file():
            return folder
    raise InputError(f"expected a folder inside the study's checkout, found {start}; change into the checkout first")


class Run:
    """The folder of one run.

    `params.yaml` (resolved), `environment.json`, `manifest.parquet`, `history.csv` (a row an epoch), `best.safetensors`
    and `centers.npy` (best epoch on validation), `last.ckpt` (to go on from), `predictions.parquet` (a row a test
    image), `features.npy`, `architecture.json`, `notebook.ipynb` (executed), and, last of all, `metrics.json`.
    Of an identity run, `verification.parquet` (a row a pair of images of people held out, if there are any) stands in
    place of predictions and features. In a run that its user stopped before its last epoch, `stopped.json` stands in
    place of `metrics.json` and says after which.

    Args:
        study, name: the folder is `runs/<study>/<name>`.
        root: the checkout; default: the one around the working directory.
    """

    def __init__(self, study: str, name: str, root: Path | str | None = None):
        self.study, self.name = study, name
        self.root = Path(root) if root else project_root()
        self.folder = self.root / "runs" / study / name

    def __repr__(self) -> str:
        return f"Run({self.study!r}, {self.name!r}, {self.status})"

    def path(self, name: str) -> Path:
        return self.folder / name

    @property
    def begun(self) -> bool:
        """Whether the run has its parameters and its manifest."""
        return self.path("params.yaml").is_file()

    @property
    def finished(self) -> bool:
        """Whether the run is complete: `metrics.json` is written last."""
        return self.path("metrics.json").is_file()

    @property
    def evaluated(self) -> bool:
        """Whether there is anything to see: not so in a finished run whose training diverged in its first epoch."""
        return self.measured.get("diverged_in") != 1

    @property
    def stopped(self) -> bool:
        """Whether its user stopped the training early: evaluated as it stood, but not finished."""
        return self.path("stopped.json").is_file()

    @property
    def status(self) -> str:
        """One of "finished", "unfinished", "stopped after epoch k of n" and "diverged in epoch k"."""
        if self.stopped:
            return "stopped after epoch {stopped_after} of {epochs}".format(**self.read_json("stopped.json"))
        if self.finished and "diverged_in" in self.measured:
            return "diverged in epoch {diverged_in}".format(**self.measured)
        return "finished" if self.finished else "unfinished"

    @property
    def measured(self) -> dict:
        """What the evaluation measured: `metrics.json`, or `stopped.json` of a run that was stopped early."""
        return self.read_json("stopped.json" if self.stopped else "metrics.json")

    def forget_evaluation(self) -> None:
        """Remove what was evaluated when the run was stopped: its weights are about to change."""
        for name in ("stopped.json", "predictions.parquet", "features.npy", "verification.parquet"):
            self.path(name).unlink(missing_ok=True)

    def require(self, name: str) -> Path:
        """Path of a file that a finished run has; `InputError` where it does not."""
        if not self.path(name).is_file():
            why = f"was {self.status}" if self.stopped else "has not finished"
            what = "run it with 03_fine_tune or `make study`"
            if self.finished and not self.evaluated:
                why, what = self.status, "lower the learning rate of another run"
            raise InputError(f"expected {name} in run {self.study}/{self.name}, found none: the run {why}; {what}")
        return self.path(name)

    def read_json(self, name: str) -> dict:
        return json.loads(self.require(name).read_text())

    def write_json(self, name: str, content: dict) -> None:
        with replaced(self.path(name)) as temporary:
            temporary.write_text(json.dumps(content, indent=2) + "\n")

    @property
    def params(self) -> dict:
        return yaml.safe_load(self.require("params.yaml").read_text())

    @property
    def resolved(self) -> RunParameters:
        """The run's parameters; one that it did not know yet, being older, counts as its default."""
        known = {field.name for field in dataclasses.fields(RunParameters)}
        return RunParameters(**{name: value for name, value in self.params.items() if name in known}).resolve()

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
        """Raise `InputError` where the folder holds a run that was begun with other parameters or weights."""
        if not self.begun:
            return
        found, wanted = dataclasses.asdict(self.resolved), dataclasses.asdict(params)
        changed = [
            f"{name}: {found[name]!r} → {wanted[name]!r}"
            for name in sorted(wanted)
            if name not in PLACE and found[name] != wanted[name]
        ]
        fingerprint = fingerprint_of(params.weights, self.root)
        if fingerprint not in (None, self.read_json("environment.json")["weights"]):
            changed.append(f"weights: {found['weights']!r} → {wanted['weights']!r}, of other content")
        if changed:
            raise InputError(
                f"run {self.study}/{self.name} was begun with other parameters ({', '.join(changed)}); "
                "give the run or study another name, or move its folder under runs/ away"
            )

    def start(self, params: RunParameters, device: str = "cpu") -> None:
        """Write `environment.json` and `params.yaml`: from here on the run has begun.

        Args:
            params: resolved.
            device: where it is computed, "cpu" or the name of a GPU.
        """
        weights = fingerprint_of(params.weights, self.root)
        self.write_json("environment.json", {**environment(self.root), "device": device, "weights": weights})
        with replaced(self.path("params.yaml")) as temporary:
            temporary.write_text(yaml.safe_dump(dataclasses.asdict(params), sort_keys=False))


def located(path: str, root: Path) -> Path:
    """A path that a user gave: `~` expanded, relative ones from the checkout's root."""
    return root / Path(path).expanduser()


def fingerprint_of(weights: str, root: Path) -> str | None:
    """What tells pre-trained weights apart: "none", "imagenet", or a file's SHA-256; None where the file is gone."""
    if weights in ("none", "imagenet"):
        return weights
    path = located(weights, root)
    if not path.is_file():
        return None
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def versions() -> str:
    """The versions that a notebook prints, without importing anything."""
    return ", ".join(
        [f"Python {platform.python_version()}", *(f"{name} {metadata.version(name)}" for name in PACKAGES)]
    )


def environment(root: Path) -> dict:
    """Versions, hardware and git commit under which a run is computed."""
    return {
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in PACKAGES},
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cores": os.cpu_count(),
        "git_commit": _git_commit(root),
    }


def _processor() -> str:
    if sys.platform == "linux":
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _git_commit(root: Path) -> str:
    git = ["git", "-C", str(root)]
    try:
        commit = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
        changed = subprocess.run([*git, "status", "--porcelain"], capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "none"
    return f"{commit} with changes" if changed else commit
