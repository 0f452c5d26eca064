"""Computing studies: all of one through Snakemake, one run through papermill; GPUs."""

import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from tqdm import tqdm

from fer_utils import datasets
from fer_utils.core import InputError, Run, RunParameters, check_choice, project_root, resolve_path
from fer_utils.studies.study import load_study

STOPPED = "stopped: "  # begins the one line that says why; found again in the graph's log
_CLAIMED = []  # open lock files: a claim ends with the process, however it ends


def run_study(name: str, data: str = "", weights: str = "") -> int:
    """Compute what is missing of a study under one bar over all epochs; exit status.

    Raises:
        InputError: for a study that is being computed already, or data that are not there.
    """
    root = project_root()
    study = load_study(name, root)
    data, weights = _absolute(data), _absolute(weights)
    runs = study.runs(data, weights)
    for run, params in runs.items():
        Run(name, run, root).check_same(params)
    _check_data(name, runs, root)
    folder = root / "runs" / name
    folder.mkdir(parents=True, exist_ok=True)
    # Snakemake reads the values as YAML; quoted, any name and path stay what they are.
    config = {"study": name, "data": data, "weights": weights}
    quoted = [f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in config.items()]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    places = len(visible_gpus()) * study.runs_per_gpu or cores
    command = [
        *(sys.executable, "-m", "snakemake", "--nolock", "--rerun-incomplete"),
        *("--rerun-triggers", "mtime", "--cores", str(cores)),
        *("--resources", f"gpu={places}", "--config", *quoted),
    ]
    with _alone(folder):
        returncode = _watch(command, root, runs, folder / "snakemake.log")
    if returncode:
        _explain(folder / "snakemake.log")
    return int(bool(returncode))


@contextlib.contextmanager
def _alone(folder: Path):
    with open(folder / ".lock", "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise InputError(
                f"study {folder.name} is being computed by another process; wait for it or stop it"
            ) from None
        yield


def _watch(command: list[str], root: Path, runs: dict[str, RunParameters], log: Path) -> int:
    """Run the graph, showing epochs done and the run being trained; its exit status."""

    def interrupt(*_) -> None:
        raise KeyboardInterrupt

    # A script's background job ignores SIGINT, and so would all that it starts.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, interrupt)
    folders = {name: Run(params.study, name, root) for name, params in runs.items()}
    total = sum(params.epochs for params in runs.values())
    with log.open("w") as output:
        process = subprocess.Popen(
            command, cwd=root, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            with tqdm(total=total, unit="epoch", dynamic_ncols=True, smoothing=0.05) as bar:
                while True:
                    ended = process.poll() is not None
                    _show(bar, runs, folders)
                    if ended:
                        return process.returncode
                    time.sleep(0.3)
        except KeyboardInterrupt:
            os.killpg(process.pid, signal.SIGINT)  # the graph and its runs
            process.wait()
            raise


def _show(bar: tqdm, runs: dict[str, RunParameters], folders: dict[str, Run]) -> None:
    done = {name: _epochs_done(folders[name], params) for name, params in runs.items()}
    if not bar.n and not bar.initial:  # what an earlier call did takes no time now
        bar.initial = bar.n = sum(done.values())
    bar.update(sum(done.values()) - bar.n)
    training = [n for n, run in folders.items() if run.folder.is_dir() and not run.finished]
    bar.set_description(", ".join(training[:2]) or "preparing")


def _epochs_done(run: Run, params: RunParameters) -> int:
    if run.finished:
        return params.epochs
    history = run.path("history.csv")
    return max(0, len(history.read_text().splitlines()) - 1) if history.is_file() else 0


def _explain(log: Path) -> None:
    lines = log.read_text(errors="replace").splitlines()
    reasons = [line.split(STOPPED, 1)[1] for line in lines if STOPPED in line]
    for reason in dict.fromkeys(reasons or [f"a step of the study failed; its output is in {log}"]):
        print(f"{STOPPED}{reason}", file=sys.stderr)


def _absolute(path: str) -> str:
    return str(Path(path).expanduser().resolve()) if path else ""


def _check_data(name: str, runs: dict[str, RunParameters], root: Path) -> None:
    """Find a wrong data folder or weights file before anything starts."""
    waiting = {run: p for run, p in runs.items() if not Run(name, run, root).finished}
    own = {f"runs/{name}/{run}/best.safetensors" for run in runs}
    for params in waiting.values():
        given = params.weights not in ("none", "imagenet", *own)
        if given and not resolve_path(params.weights, root).is_file():
            raise InputError(
                f"expected a file of pre-trained weights, found none: {params.weights}"
            )
    real = [(p.dataset, p.data) for p in waiting.values() if p.dataset != "synthetic"]
    for dataset, data in dict.fromkeys(real):
        if not data:
            raise InputError(f"study {name!r} needs the {dataset} folder: make study … DATA=/path")
        datasets.read_dataset(dataset, data, check_images=False)


def run_one(study: str, run: str, data: str = "", weights: str = "") -> int:
    """One run: its notebook through papermill, the executed copy in the run folder."""
    root = project_root()
    plan = load_study(study, root)
    runs = plan.runs(_absolute(data), _absolute(weights))
    check_choice(f"run of study {study!r}:", run, runs)
    folder, params = Run(study, run, root), runs[run]
    if folder.finished:
        return 0
    if params.device != "cpu" and params.devices == 1:
        claim_gpu(visible_gpus(), plan.runs_per_gpu)
    notebook = "02_pretrain_identity" if params.target == "subject" else "03_fine_tune"
    source = root / "notebooks" / f"{notebook}.ipynb"
    try:
        execute_notebook(source, folder.path("notebook.ipynb"), params.model_dump())
    except InputError as error:
        if not folder.finished:
            raise
        print(error, file=sys.stderr)  # it diverged: a result, with which the study goes on
    return 0


def execute_notebook(notebook: Path, output: Path, values: dict) -> None:
    """Run a notebook headless with papermill; its mistakes become one `InputError` line."""
    import papermill  # takes a second to load
    from papermill.exceptions import PapermillExecutionError

    output.parent.mkdir(parents=True, exist_ok=True)
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stderr(nowhere):
        try:
            papermill.execute_notebook(
                str(notebook),
                str(output),
                values,
                kernel_name="python3",
                cwd=str(notebook.parent),
                progress_bar=False,
                extra_arguments=["--log-level=ERROR"],
            )
        except PapermillExecutionError as error:
            said = error.ename in ("InputError", "Diverged")
            what = error.evalue if said else f"{error.ename}: {error.evalue} (see {output})"
            raise InputError(what) from None


def draw_figures(name: str, root: Path) -> Path:
    """Draw a study's page, tables and figures again, from `results/<study>/` alone."""
    notebook = f"{load_study(name, root).notebook}.ipynb"
    output = root / "runs" / name / notebook
    execute_notebook(root / "notebooks" / notebook, output, {"study": name})
    return root / "figures" / name / "README.md"


def visible_gpus() -> list[str]:
    """The GPUs this process may use, as `CUDA_VISIBLE_DEVICES` names them; asks the driver."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [name.strip() for name in named.split(",") if name.strip()]
    if not shutil.which("nvidia-smi"):
        return []
    query = ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"]
    return subprocess.run(query, capture_output=True, text=True).stdout.split()


def claim_gpu(gpus: list[str], runs_per_gpu: int = 1, folder: Path | None = None) -> str | None:
    """Let this process and its children see one GPU: the first with the fewest runs.

    Args:
        gpus: as `visible_gpus` names them.
        runs_per_gpu: runs that may share one.
        folder: of the lock files; default: the user's own cache folder.

    Returns:
        The GPU's name, or None, nothing being changed, where there is no choice.

    Raises:
        InputError: where every place is taken.
    """
    if len(gpus) < 2:
        return None
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = folder or cache / "fer_utils" / "gpus"
    folder.mkdir(parents=True, exist_ok=True)
    for place in range(runs_per_gpu):
        for gpu in gpus:
            file = (folder / f"{gpu.replace('/', '_')}-{place}").open("w")
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                file.close()
                continue
            _CLAIMED.append(file)
            os.environ["CUDA_VISIBLE_DEVICES"] = gpu
            return gpu
    raise InputError(
        f"expected a free GPU among {', '.join(gpus)}, found runs on all; wait for one"
    )
