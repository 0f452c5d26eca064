"""Where things are, how they are written (whole or not at all), and the folder of a run."""

import contextlib
import fcntl
import hashlib
import json
import os
import platform
import subprocess
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import yaml

from fer_utils.core.base import InputError
from fer_utils.core.parameters import EXECUTION_FIELDS, RunParameters, parameters

PACKAGES = (
    "torch", "torchvision", "pytorch-lightning", "numpy", "pandas", "scikit-learn", "krippendorff",
)  # fmt: skip
EVALUATION = (
    "stopped.json", "metrics.json", "predictions.parquet", "features.npy", "verification.parquet",
)  # fmt: skip
# Set by front ends in a kernel: JupyterLab, Voilà, VS Code, Colab.
_WATCHED = ("JPY_SESSION_NAME", "VOILA_APP_PORT", "VSCODE_PID", "COLAB_RELEASE_TAG")


@contextlib.contextmanager
def atomic_write(path: Path | str) -> Iterator[Path]:
    """A temporary path beside `path` (same ending) that replaces it when the block succeeds."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def project_root(start: Path | str = ".") -> Path:
    """The checkout: the nearest folder upwards with `experiments/` and `pyproject.toml`."""
    start = Path(start).resolve()
    for folder in (start, *start.parents):
        if (folder / "experiments").is_dir() and (folder / "pyproject.toml").is_file():
            return folder
    raise InputError(f"expected a folder inside the study's checkout, found {start}: go there")


def resolve_path(path: str, root: Path) -> Path:
    """A path that a user gave: `~` expanded, relative ones from the checkout's root."""
    return Path(root) / Path(path).expanduser()


def in_headless_kernel() -> bool:
    """Whether a notebook runs with nobody watching, as under papermill; False outside notebooks."""
    try:
        from IPython import get_ipython
    except ImportError:
        return False
    return hasattr(get_ipython(), "kernel") and not any(name in os.environ for name in _WATCHED)


class Run:
    """The folder of one run.

    `runs/<study>/<name>` in the checkout `root` (default: the one around the working directory)
    holds `params.yaml` (resolved), `environment.json`, `manifest.parquet`, `history.csv` (a row an
    epoch), `best.safetensors`, `centers.npy`, `last.ckpt` (to go on from), `predictions.parquet`
    (log-probabilities of validation and test; `verification.parquet` of an identity run),
    `features.npy`, `architecture.json`, `notebook.ipynb` and, last of all, `metrics.json`; or,
    where its user stopped it early, `stopped.json`.
    """

    def __init__(self, study: str, name: str, root: Path | str | None = None):
        self.study, self.name, self.title = study, name, f"run {study}/{name}"
        self.root = Path(root) if root else project_root()
        self.folder = self.root / "runs" / study / name

    def __repr__(self) -> str:
        return f"Run({self.study!r}, {self.name!r}, {self.status})"

    def path(self, name: str) -> Path:
        return self.folder / name

    @property
    def begun(self) -> bool:
        return self.path("params.yaml").is_file()

    @property
    def finished(self) -> bool:
        return self.path("metrics.json").is_file()

    @property
    def stopped(self) -> bool:
        """Whether its user stopped it early: evaluated as it stood, but not finished."""
        return self.path("stopped.json").is_file()

    @property
    def evaluated(self) -> bool:
        """Whether there is anything to see; not so if training diverged in its first epoch."""
        return self.measured.get("diverged_in") != 1

    @property
    def status(self) -> str:
        """ "finished", "unfinished", "stopped after epoch k of n" or "diverged in epoch k"."""
        if self.stopped:
            return "stopped after epoch {stopped_after} of {epochs}".format(**self.measured)
        if self.finished and "diverged_in" in self.measured:
            return "diverged in epoch {diverged_in}".format(**self.measured)
        return "finished" if self.finished else "unfinished"

    @property
    def measured(self) -> dict:
        """What the evaluation measured: `metrics.json` or `stopped.json`."""
        return self.read_json("stopped.json" if self.stopped else "metrics.json")

    @property
    def params(self) -> RunParameters:
        """The run's own parameters; `InputError` where they are of a version that is gone."""
        values = yaml.safe_load(self.require("params.yaml").read_text(encoding="utf-8"))
        try:
            return parameters(values)
        except InputError as error:
            what = "train it again under another name, or use the version it was made with"
            raise InputError(f"{self.title} was made by another version: {error}; {what}") from None

    def require(self, name: str) -> Path:
        """Path of a file that a finished run has; `InputError` where it does not."""
        if not self.path(name).is_file():
            why = f"was {self.status}" if self.stopped else "has not finished"
            what = "run it with 03_fine_tune or `make study`"
            if self.finished and not self.evaluated:
                why, what = self.status, "lower the learning rate of another run"
            raise InputError(f"expected {name} in {self.title}, found none: it {why}; {what}")
        return self.path(name)

    def read_json(self, name: str) -> dict:
        return json.loads(self.require(name).read_text(encoding="utf-8"))

    def write_json(self, name: str, content: dict) -> None:
        with atomic_write(self.path(name)) as temporary:
            temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")

    def forget_evaluation(self) -> None:
        """Remove what a stopped run was evaluated by: its weights are about to change."""
        for name in EVALUATION:
            self.path(name).unlink(missing_ok=True)

    @contextlib.contextmanager
    def locked(self):
        """Hold the run for this process, until it ends; those that train it together share it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with open(self.path(".lock"), "w") as file:
            if "LOCAL_RANK" not in os.environ:  # the first of them
                self._lock(file, fcntl.LOCK_EX)
            self._lock(file, fcntl.LOCK_SH)
            yield

    def _lock(self, file, kind: int) -> None:
        try:
            fcntl.flock(file, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            found = "is being computed by another process; wait for it or stop it"
            raise InputError(f"{self.title} {found}") from None
        except OSError as error:
            raise InputError(f"{self.title} cannot be locked: {error}") from None

    def start(self, params: RunParameters, device: str = "cpu") -> None:
        """Write `environment.json` and `params.yaml`: from here on the run has begun."""
        about = {"device": device, "weights": _fingerprint(params.weights, self.root)}
        self.write_json("environment.json", environment(self.root) | about)
        with atomic_write(self.path("params.yaml")) as temporary:
            temporary.write_text(yaml.safe_dump(params.model_dump(), sort_keys=False))

    def check_same(self, params: RunParameters, longer: bool = False) -> None:
        """Raise `InputError` where the run was begun with other parameters or weights.

        `longer` allows more epochs, where the schedule of those that are done stays the same.
        """
        if not self.begun:
            return
        found, wanted = self.params.model_dump(), params.model_dump()
        free = set(EXECUTION_FIELDS)
        if longer and params.schedule == "halve" and params.loss != "ldam_drw":
            free |= {"epochs"} if wanted["epochs"] >= found["epochs"] else set()
        changed = [
            f"{name}: {found[name]!r} → {value!r}"
            for name, value in wanted.items()
            if name not in free and found[name] != value
        ]
        weights = _fingerprint(params.weights, self.root)
        if weights not in (None, self.read_json("environment.json")["weights"]):
            changed.append(f"weights: {found['weights']!r} → {params.weights!r}, of other content")
        if changed:
            what = "give the run or study another name, or move its folder under runs/ away"
            other = f"other parameters ({', '.join(changed)})"
            raise InputError(f"{self.title} was begun with {other}; {what}")


def _fingerprint(weights: str, root: Path) -> str | None:
    """ "none", "imagenet", or the SHA-256 of a weights file; None where it is gone."""
    if weights in ("none", "imagenet"):
        return weights
    path = resolve_path(weights, root)
    if not path.is_file():
        return None
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def versions() -> str:
    """The versions that a notebook prints, without importing anything."""
    packages = (f"{name} {metadata.version(name)}" for name in PACKAGES)
    return ", ".join([f"Python {platform.python_version()}", *packages])


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
    about = Path("/proc/cpuinfo")  # on Linux
    lines = about.read_text().splitlines() if about.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _git_commit(root: Path) -> str:
    def git(*arguments: str) -> str:
        command = ["git", "-C", str(root), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        return git("rev-parse", "HEAD") + (" with changes" if git("status", "--porcelain") else "")
    except (OSError, subprocess.CalledProcessError):
        return "none"
