"""Computing studies: all of one through Snakemake, one run through papermill; GPUs."""

import contextlib
import errno
import fcntl
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from fer_utils import datasets
from fer_utils.core import InputError, Run, RunParameters, check_choice, project_root, resolve_path
from fer_utils.studies.study import Study, load_study

Plan = list[tuple[Run, RunParameters]]

STOPPED = "stopped: "  # begins the one line that says why; found again in the graph's log
LITTLE = 32 << 20  # bytes: with less left, a failure without a reason is the disk's
_CLAIMED = []  # open lock files: a claim ends with the process, however it ends


def run_study(name: str, data: str = "", weights: str = "") -> int:
    """Compute what is missing of a study under one bar over all epochs; exit status.

    Raises:
        InputError: for data that are not there, or parameters, weights or images other than those
            that its runs were begun with.
    """
    root = project_root()
    study = load_study(name, root)
    data, weights = _absolute(data), _absolute(weights)
    plan = [(Run(name, run, root), own) for run, own in study.runs(data, weights).items()]
    with _alone(root / "runs" / name):
        for run, params in plan:
            run.check_same(params)
        if _up_to_date(study, plan, root):
            return 0
        _check_data(plan, root)
        command = [sys.executable, "-m", "snakemake", "--nolock", "--rerun-incomplete"]
        command += ["--rerun-triggers", "mtime", "--cores", "all", "--config"]
        # Snakemake reads the values as YAML; quoted, any name and path stay what they are.
        for key, value in {"study": name, "data": data, "weights": weights}.items():
            command.append(f"{key}={json.dumps(value, ensure_ascii=False)}")
        if places := len(visible_gpus()) * study.runs_per_gpu:
            command += ["--resources", f"gpu={places}"]
        log = root / "runs" / name / "snakemake.log"
        failed = _watch(command, plan, root, log) != 0
    if failed:
        _explain(log)
    return int(failed)


@contextlib.contextmanager
def _alone(folder: Path):
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise InputError(
                f"study {folder.name} is being computed by another process; wait for it or stop it"
            ) from None
        yield


def _up_to_date(study: Study, plan: Plan, root: Path) -> bool:
    """Whether the graph would find nothing to do: Snakemake itself takes seconds to say so."""
    results = root / "results" / study.name / "study.json"
    page = root / "figures" / study.name / "README.md"
    sources = [run.path("metrics.json") for run, _ in plan]
    sources.append(root / "experiments" / f"{study.name}.yaml")
    notebook = root / "notebooks" / f"{study.notebook}.ipynb"
    if not all(path.is_file() for path in (results, page, notebook, *sources)):
        return False

    def changed(*paths: Path) -> float:
        return max(path.stat().st_mtime for path in paths)

    return changed(*sources) <= changed(results) and changed(results, notebook) <= changed(page)


def _check_data(plan: Plan, root: Path) -> None:
    """Find absent data or weights, and images that changed, before anything starts."""
    made_here = {run.folder for run, _ in plan}
    waiting = [params for run, params in plan if not run.finished]
    for params in waiting:
        path = resolve_path(params.weights, root)
        given = params.weights not in ("none", "imagenet") and path.parent not in made_here
        if given and not path.is_file():
            raise InputError(f"expected a file of pre-trained weights, found none: {path}")

    def source(params: RunParameters) -> tuple[str, str, str]:
        return params.dataset, params.data, params.label_rule

    for dataset, data, rule in dict.fromkeys(map(source, waiting)):
        if dataset == "synthetic":
            continue
        if not data:
            raise InputError(f"the study needs the {dataset} folder: make study … DATA=/path")
        begun = [run for run, own in plan if run.begun and source(own) == (dataset, data, rule)]
        options = {"check_images": bool(begun), "on_bad_image": "skip"}
        if dataset == "ferplus":
            options |= {"label_rule": rule, "remove_leaks": False}
        with datasets.remembered_checks(root / ".cache" / "checks"):
            now = datasets.read_dataset(dataset, data, **options)
        for run in begun:
            _check_images(run, now)


def _check_images(run: Run, now: pd.DataFrame) -> None:
    """Raise `InputError` unless all images that a run was begun with are what they were."""
    then = datasets.read_manifest(run.path("manifest.parquet"))
    columns = ["image", "label", "subject", "fingerprint"]
    columns = [name for name in columns if name in then and name in now]
    keys = [pd.MultiIndex.from_frame(table[columns]) for table in (then, now)]
    changed = then["image"][~keys[0].isin(keys[1])]
    if len(changed):
        raise InputError(
            f"run {run.study}/{run.name} was begun with other images: {len(changed):,} of "
            f"{len(then):,} are gone, changed or labelled otherwise, the first {changed.iloc[0]}; "
            "restore them, or give the study another name"
        )


def _watch(command: list[str], plan: Plan, root: Path, log: Path) -> int:
    """Run the graph, showing epochs done and the run being trained; its exit status."""
    # A script's background job ignores SIGINT, and so would all that it starts.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.default_int_handler)
    total, done = sum(params.epochs for _, params in plan), _epochs_done(plan)
    with log.open("w") as output:
        process = subprocess.Popen(
            command, cwd=root, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        with tqdm(total=total, initial=done, unit="epoch", smoothing=0.05) as bar:
            while process.poll() is None:
                active = [run.name for run, _ in plan if run.begun and not run.finished]
                words = ", ".join(active[:2]) or "preparing"
                bar.set_description(words, refresh=sys.stderr.isatty())  # no line a look in a log
                bar.update(_epochs_done(plan) - bar.n)
                time.sleep(0.3)
            bar.update(_epochs_done(plan) - bar.n)
    except KeyboardInterrupt:
        os.killpg(process.pid, signal.SIGINT)  # the graph and its runs
        process.wait()
        raise
    return process.returncode


def _epochs_done(plan: Plan) -> int:
    done = sum(params.epochs for run, params in plan if run.finished)
    histories = (run.path("history.csv") for run, _ in plan if not run.finished)
    texts = (path.read_text() for path in histories if path.is_file())
    return done + sum(max(0, len(text.splitlines()) - 1) for text in texts)


def _explain(log: Path) -> None:
    lines = log.read_text(errors="replace").splitlines()
    reasons = [line.split(STOPPED, 1)[1] for line in lines if STOPPED in line]
    if not reasons and shutil.disk_usage(log.parent).free < LITTLE:
        raise OSError(errno.ENOSPC, "disk full")
    for reason in dict.fromkeys(reasons or [f"a step of the study failed; its output is in {log}"]):
        print(f"{STOPPED}{reason}", file=sys.stderr)


def _absolute(path: str) -> str:
    return str(Path(path).expanduser().resolve()) if path else ""


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
            quiet = {"progress_bar": False, "extra_arguments": ["--log-level=ERROR"]}
            where = {"kernel_name": "python3", "cwd": str(notebook.parent)}
            papermill.execute_notebook(str(notebook), str(output), values, **where, **quiet)
        except PapermillExecutionError as error:
            if os.strerror(errno.ENOSPC) in error.evalue:
                raise OSError(errno.ENOSPC, error.evalue) from None
            said = error.ename in ("InputError", "Diverged")
            what = error.evalue if said else f"{error.ename}: {error.evalue} (see {output})"
            raise InputError(what) from None


def draw_figures(name: str, root: Path) -> Path:
    """Draw a study's page, tables and figures again, from `results/<study>/` alone.

    The notebook's code runs in this process: papermill and a kernel would take as long again.
    """
    notebook = root / "notebooks" / f"{load_study(name, root).notebook}.ipynb"
    names = {}
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
            if cell["cell_type"] == "code":
                lines = [line for line in cell["source"] if not line.startswith("%")]
                exec("".join(lines), names)
            if "parameters" in cell["metadata"].get("tags", []):
                names["study"] = name
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
    """Let this process and its children see one GPU: the first with the fewest runs; its name.

    None, nothing being changed, where there is no choice; `InputError` where `runs_per_gpu` runs
    are on each. `folder` is that of the lock files, by default the user's own cache.
    """
    if len(gpus) < 2:
        return None
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = folder or cache / "fer_utils" / "gpus"
    folder.mkdir(parents=True, exist_ok=True)
    for place, gpu in itertools.product(range(runs_per_gpu), gpus):
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
