"""What the command line does: whole studies through Snakemake, single runs and figures through papermill."""

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from fer_utils import collecting, gpus, paper, studies
from fer_utils.errors import InputError, check_choice
from fer_utils.lab import app, lab  # noqa: F401 (commands as well)
from fer_utils.runs import Run, RunParameters, located, project_root

COUNTS = ("seeds", "seeds_missing")
STOPPED = "stopped: "  # begins the one line that says why; `study` finds it in the graph's log


def study(study: str, data: str = "", weights: str = "") -> int:
    """Compute what is missing of a study, showing one bar over all epochs, and print its table."""
    root = project_root()
    plan = studies.load(study, root)
    runs = plan.runs(data=_absolute(data), weights=_absolute(weights))
    for name, params in runs.items():
        Run(study, name, root).check_same(params)
    _check_data(study, runs, root, plan.identity_weights)
    log = root / "runs" / study / "snakemake.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    # Snakemake reads the values as YAML; quoted, any name and path stay what they are.
    config = {"study": study, "data": _absolute(data), "weights": _absolute(weights)}
    config = [f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in config.items()]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    places = gpu_places(plan, cores)
    command = [
        *(sys.executable, "-m", "snakemake", "--nolock", "--rerun-incomplete", "--rerun-triggers", "mtime"),
        *("--cores", str(cores), "--resources", f"gpu={places}", "--config", *config, f"gpus={places}"),
    ]
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGINT, _interrupt)  # a script's background job ignores it, and so would all that it starts
    with log.open("w") as output:
        process = subprocess.Popen(command, cwd=root, stdout=output, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            _watch(process, study, runs, root)
        except KeyboardInterrupt:
            os.killpg(process.pid, signal.SIGINT)  # the graph and its runs, wherever the signal came from
            process.wait()
            raise
    if process.returncode:
        _explain(log)
        return 1
    print_table(study, root)
    return 0


def _interrupt(*_) -> None:
    raise KeyboardInterrupt


def gpu_places(plan: studies.Study, cores: int) -> int:
    """How many runs of a study the GPUs take at a time; without any, the cores alone count."""
    return len(gpus.visible()) * plan.runs_per_gpu or cores


def _absolute(path: str) -> str:
    return str(Path(path).expanduser().resolve()) if path else ""


def _check_data(study: str, runs: dict[str, RunParameters], root: Path, identity: str) -> None:
    """Find a wrong data folder or weights file before anything starts."""
    waiting = [params for name, params in runs.items() if not Run(study, name, root).finished]
    for params in waiting:
        given = params.weights not in ("none", "imagenet", identity)
        if given and not located(params.weights, root).is_file():
            raise InputError(f"expected a file of pre-trained weights, found none at {params.weights}")
    real = dict.fromkeys((params.dataset, params.data) for params in waiting if params.dataset != "synthetic")
    for dataset, data in real:
        from fer_utils import datasets

        if not data:
            raise InputError(f"study {study!r} needs the {dataset} folder: make study … DATA=/path/to/it")
        datasets.read_dataset(dataset, data, check_images=False)


def _watch(process: subprocess.Popen, study: str, runs: dict[str, RunParameters], root: Path) -> None:
    from tqdm import tqdm

    def done() -> int:
        return sum(_epochs_done(Run(study, name, root), params) for name, params in runs.items())

    total = sum(params.epochs for params in runs.values())
    every = 0.5 if sys.stderr.isatty() else 30
    with tqdm(total=total, initial=done(), desc=study, unit="epoch", mininterval=every, dynamic_ncols=True) as bar:
        while process.poll() is None:
            time.sleep(0.3)
            bar.update(done() - bar.n)
        bar.update(done() - bar.n)


def _epochs_done(run: Run, params: RunParameters) -> int:
    if run.finished:
        return params.epochs
    history = run.path("history.csv")
    return max(0, len(history.read_text().splitlines()) - 1) if history.is_file() else 0


def _explain(log: Path) -> None:
    reasons = [line.split(STOPPED, 1)[1] for line in log.read_text().splitlines() if STOPPED in line]
    for reason in dict.fromkeys(reasons or [f"a step of the study failed; its output is in {log}"]):
        print(f"{STOPPED}{reason}", file=sys.stderr)


def print_table(study: str, root: Path) -> None:
    """Print the study's tables, narrow enough for a terminal, and where its figures are."""
    import pandas as pd

    folder = root / "figures" / study
    for path in sorted(folder.glob("table[56].csv")):
        beside = pd.read_csv(path)
        ours = (100 * beside[list(paper.METRICS)]).round(2).set_axis(list(paper.METRICS.values()), axis=1)
        ours.insert(0, "seeds", [f"{n} of {n + gone}" for n, gone in zip(*(beside[c] for c in COUNTS), strict=True)])
        ours.insert(0, "loss", [paper.LOSSES[loss] for loss in beside["loss"]])
        ours.insert(0, "pre-trained", beside["pretrained"].map({True: "yes", False: "no"}))
        ours.insert(0, "model", beside["model"])
        ours["paper's accuracy*"] = (100 * beside["accuracy_published"]).round(2)
        ran = beside.loc[beside["seeds"] > 0, "ran"].unique()
        print(f"\nTable {path.stem[-1]}, per cent. Ours: {', '.join(ran)}\n")
        print(ours.to_string(index=False, na_rep="–"))
        print("\n* on AffectNet, 224 px, 283,651 training images: another task; compare the order of the losses")
    for path in folder.glob("variants.csv"):
        compared = pd.read_csv(path)
        numbers = ["macro_recall", "accuracy", "f1", "difference", "low", "high"]
        compared[numbers] = (100 * compared[numbers]).round(1)
        compared["seeds"] = [f"{n} of {n + gone}" for n, gone in zip(*(compared[c] for c in COUNTS), strict=True)]
        print("\nPer cent, mean over seeds; difference of macro recall to the reference with its 95 % interval\n")
        print(compared[["setting", "variant", *numbers, "same_sign", "seeds", "collapsed"]].to_string(index=False))
    print(f"\nFigures and tables: {folder.relative_to(root)}/ (start with README.md)")


def run(study: str, run: str, data: str = "", weights: str = "") -> int:
    """One run: its notebook through papermill, the executed copy in the run folder."""
    root = project_root()
    plan = studies.load(study, root)
    runs = plan.runs(data=_absolute(data), weights=_absolute(weights))
    check_choice(f"run of study {study!r}:", run, runs)
    folder = Run(study, run, root)
    if not folder.finished:
        params = runs[run]
        if params.devices == 1:
            gpus.claim(gpus.visible(), plan.runs_per_gpu)
        notebook = "02_pretrain_identity" if params.target == "subject" else "03_fine_tune"
        try:
            execute(root / "notebooks" / f"{notebook}.ipynb", folder.path("notebook.ipynb"), dataclasses.asdict(params))
        except InputError as error:
            if not folder.finished:
                raise
            print(error, file=sys.stderr)  # it diverged: a result, with which the study goes on
    return 0


def collect(study: str, finished: bool = False) -> int:
    """Write `results/<study>/` from the study's runs, or from those that have finished: the others are gaps then."""
    root = project_root()
    plan = studies.load(study, root)
    names = [name for name in plan.names if not finished or Run(study, name, root).finished]
    if not names:
        raise InputError(f"expected finished runs of {study!r}, found none; compute some: make study STUDY={study}")
    collecting.collect(plan, names, root)
    return 0


def figures(study: str) -> int:
    """Draw everything of a study again, from `results/<study>/` alone."""
    root = project_root()
    found = sorted(path.parent.name for path in (root / "results").glob("*/study.json"))
    if study not in found:
        raise InputError(
            f"expected results/{study}/, found {', '.join(found) or 'no results at all'}; "
            f"compute it first: make study STUDY={study}"
        )
    notebook = f"{studies.load(study, root).notebook}.ipynb"
    execute(root / "notebooks" / notebook, root / "runs" / study / notebook, {"study": study})
    print(f"figures/{study}/: {', '.join(sorted(path.name for path in (root / 'figures' / study).glob('*.pdf')))}")
    return 0


def export(run: str, format: list[str]) -> int:
    """Write a finished run's network in each format, and its model card."""
    root = project_root()
    study, _, name = run.partition("/")
    if not (study and name) or "/" in name:
        raise InputError(f"expected a run as STUDY/RUN, found {run!r}; the folders under runs/ have these names")
    from fer_utils import export, model_card

    model_card.check_finished(Run(study, name, root))  # before torch, which takes seconds, is loaded
    for each in format:
        check_choice("export format", each, export.FORMATS)
    for each in format:
        path = export.export(Run(study, name, root), each)
        print(f"{path.relative_to(root)}: {export.read_metadata(path)['equality']}")
    print(path.with_name("MODEL_CARD.md").relative_to(root))
    return 0


def graft(source: str, target: str) -> int:
    """Write weights for SE-ResNet-50 that compute what those of a ResNet-50 do."""
    from fer_utils import weights

    if not target.endswith(".safetensors"):
        raise InputError(f"expected a .safetensors file to write, found {target}; for instance se_resnet50.safetensors")
    print(f"{weights.graft_gates(source, target)}: every gate at 1/2; the numbers are those of {source}")
    return 0


def compare(a: str, b: str, metric: list[str]) -> int:
    """Print two runs or two studies beside each other, and what may be said of them."""
    from fer_utils import comparing

    found = comparing.compare(a, b, project_root(), metric)
    print(f"A: {a}\nB: {b}\nPer cent, differences in points\n\n{comparing.printed(found).to_string(index=False)}\n")
    print("\n".join([*found.verdicts, *found.notes]))
    return 0


def recognise(paths: list[str], run: str = "", out: str = "", whole_picture: bool = False) -> int:
    """Write `faces.csv` and a figure of the faces in pictures; say in a line each what could not be used."""
    from fer_utils import plots, recognising

    root = project_root()
    recogniser = recognising.load_recogniser(run, root)
    files = recognising.list_pictures(paths)
    faces, notes, pictures = recognising.recognise_pictures(files, recogniser, whole_picture)
    for note in notes:
        print(note, file=sys.stderr)
    folder = Path(out) if out else root / "runs" / "recognised"
    written = recognising.save_faces(faces, recogniser.margin, folder)
    if pictures:
        written += plots.save_figure(plots.figure_recognised(pictures), folder / "faces")
    print(recogniser.limits().replace("**", ""))
    print(f"\n{len(faces)} faces in {faces['file'].nunique()} of {len(files)} pictures: {', '.join(map(str, written))}")
    return 0 if pictures else 1


def execute(notebook: Path, output: Path, values: dict) -> None:
    """Run a notebook headless with papermill; its mistakes become one `InputError` line."""
    import papermill
    from papermill.exceptions import PapermillExecutionError

    output.parent.mkdir(parents=True, exist_ok=True)
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stderr(nowhere):
        try:
            papermill.execute_notebook(
                str(notebook), str(output), values, kernel_name="python3", cwd=str(notebook.parent), progress_bar=False,
                extra_arguments=["--log-level=ERROR"],
            )  # fmt: skip
        except PapermillExecutionError as error:
            said = error.ename in ("InputError", "Diverged")
            raise InputError(error.evalue if said else f"{error.ename}: {error.evalue} (see {output})") from None
