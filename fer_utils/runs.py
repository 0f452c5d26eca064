"""A run: its parameters (`fer_utils.run_parameters`) and its folder `runs/<study>/<name>/`."""

import contextlib
import dataclasses
import fcntl
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

__all__ = [
    "CHOICES",
    "PLACE",
    "Run",
    "RunParameters",
    "check_names",
    "environment",
    "notebook_parameters",
    "parameters",
    "project_root",
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

    Args:
        study, name: the folder is `runs/<study>/<name>`.
        root: the checkout; default: the one around the working directory.
    """

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
