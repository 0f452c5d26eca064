"""Time of every table and figure of a study of twenty models and three seeds, from its results alone.

    python benchmarks/bench_figures.py [--csv PATH] [--keep FOLDER] [--quick]

The study is made up: the committed predictions of ferplus_smoke (6 runs of 3,137 images), disturbed anew for every
model and seed, so that its tables are as long as those of `experiments/ferplus_cpu.yaml` and its numbers mean nothing.
A row a part: the notebook's cells in one process, and the whole command, which starts a kernel and keeps the executed
notebook. Processor time counts where others use the cores; the network library must not have been loaded.
"""

import argparse
import contextlib
import io
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from fer_utils import paper
from fer_utils.expressions import EXPRESSIONS
from fer_utils.files import replaced
from fer_utils.metrics import count_confusion, evaluate, macro_recall, recall_per_class
from fer_utils.runs import environment

ROOT = Path(__file__).resolve().parents[1]
SOURCE = "ferplus_smoke"  # its runs of these models lend their predictions to models of the same kind of loss
STUDY, SEEDS = "ferplus_cpu", (0, 1, 2)
LENDERS = {"softmax": 16, "center_softmax": 16, "weighted_softmax": 18, "center_weighted_softmax": 18}
LENDER = 20
NOISE = 0.4  # of the logits, between seeds
LOSS_OF_SCRATCH = 0.4  # by which logits shrink
PROBABILITIES = [f"p_{name}" for name in EXPRESSIONS]

MOST_SECONDS = 20  # promised of the whole study


def make_study(root: Path, models=tuple(paper.MODELS), seeds=SEEDS) -> Path:
    """A checkout with the results of the made-up study, and what draws them; returns its results folder."""
    for name in ("notebooks/05_paper_figures.ipynb", "pyproject.toml"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, root / name)
    plan = (ROOT / "experiments/ferplus_smoke.yaml").read_text(encoding="utf-8")
    (root / "experiments").mkdir()
    (root / f"experiments/{STUDY}.yaml").write_text(plan, encoding="utf-8")
    there, here = ROOT / "results" / SOURCE, root / "results" / STUDY
    shutil.copytree(there, here)
    runs, history, predictions = (
        read(there / name)
        for read, name in (
            (pd.read_csv, "runs.csv"),
            (pd.read_csv, "history.csv"),
            (pd.read_parquet, "predictions.parquet"),
        )
    )
    made = [_make_run(number, seed, runs, history, predictions) for seed in seeds for number in models]
    for name, tables in zip(("runs.csv", "history.csv"), zip(*(run[:2] for run in made), strict=True), strict=True):
        pd.concat(tables).to_csv(here / name, index=False)
    pd.concat([run[2] for run in made]).to_parquet(here / "predictions.parquet", index=False)
    about = json.loads((here / "study.json").read_text(encoding="utf-8"))
    about |= {"study": STUDY, "title": "Made up, to be measured", "models": list(models), "seeds": list(seeds)}
    (here / "study.json").write_text(json.dumps(about), encoding="utf-8")
    stages = json.loads((here / "architecture.json").read_text(encoding="utf-8"))
    network = stages["se_resnet50-scratch"]
    frozen = [stage | {"frozen": place < 3} for place, stage in enumerate(network["stages"])]
    stages["se_resnet50"] = network | {"frozen_stages": 3, "stages": frozen}
    (here / "architecture.json").write_text(json.dumps(stages), encoding="utf-8")
    return here


def _make_run(number: int, seed: int, runs: pd.DataFrame, history: pd.DataFrame, predictions: pd.DataFrame) -> tuple:
    """Rows of the three tables for one model and seed."""
    model = paper.MODELS[number]
    lender = runs[runs["model"] == LENDERS.get(model.loss, LENDER)].iloc[0]
    random, name = np.random.default_rng([number, seed]), f"model{number:02d}-seed{seed}"
    table = predictions[predictions["run"] == lender["run"]].copy()
    logits = np.log(table[PROBABILITIES].to_numpy() + 1e-6) * (1 if model.pretrained else LOSS_OF_SCRATCH)
    logits += random.normal(0, NOISE * (2 if "center" in model.loss else 1), logits.shape)
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    table[PROBABILITIES], table["run"] = probabilities.astype("float32"), name
    scores = evaluate(table["label"], probabilities / probabilities.sum(axis=1, keepdims=True))
    confusion = count_confusion(table["label"], probabilities.argmax(axis=1))
    row = lender.to_dict() | {"run": name, "model": number, "base": model.base, "pretrained": model.pretrained}
    row |= {"loss": model.loss, "seed": seed, "architecture": "resnet50" if model.base == "resnet50" else "se_resnet14"}
    row |= {key: scores[key] for key in paper.METRICS} | {"macro_recall": macro_recall(confusion)}
    row |= {f"recall_{name}": recall for name, recall in zip(EXPRESSIONS, recall_per_class(confusion), strict=True)}
    curve = history[history["run"] == lender["run"]].assign(run=name)
    for column in ("train_loss", "validation_loss", "validation_accuracy"):
        curve[column] = curve[column] * random.uniform(0.9, 1.1, len(curve)) + 0.02 * (number % 5)
    return pd.DataFrame([row]), curve, table


def draw(root: Path) -> None:
    """The cells of the notebook, one after the other, in this process."""
    notebook = json.loads((root / "notebooks/05_paper_figures.ipynb").read_text(encoding="utf-8"))
    cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    code = "\n".join(cells).replace("%matplotlib inline", "").replace('study: str = "demo"', f"study: str = {STUDY!r}")
    with contextlib.chdir(root / "notebooks"), contextlib.redirect_stdout(io.StringIO()):
        exec(compile(code, "05_paper_figures", "exec"), {"display": lambda *_: None, "__name__": "notebook"})
    if "torch" in sys.modules:
        raise SystemExit("expected figures without torch, but a cell has imported it")


def timed(part: str, command: list[str], root: Path) -> dict:
    """A row of the table: seconds of a process and of those that it started."""
    before, wall = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    subprocess.run(command, check=True, cwd=root, env=environment, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"part": part, "wall_s": time.perf_counter() - wall, "processor_s": processor}


def main(arguments: list[str] | None = None) -> pd.DataFrame:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--csv", type=Path, default=Path(__file__).with_suffix(".csv"), help="where the table goes")
    parser.add_argument("--keep", type=Path, help="folder for the made-up study and its figures, to look at")
    parser.add_argument("--quick", action="store_true", help="two models, to see that it runs; measures nothing")
    parser.add_argument("--draw", type=Path, help=argparse.SUPPRESS)  # what the measured process is called with
    options = parser.parse_args(arguments)
    if options.draw:
        return draw(options.draw)

    models, seeds = ((6, 10), (0,)) if options.quick else (tuple(paper.MODELS), SEEDS)
    with tempfile.TemporaryDirectory() as folder:
        root = options.keep or Path(folder)
        make_study(root, models, seeds)
        rows = [
            timed("cells", [sys.executable, __file__, "--draw", str(root)], root),
            timed("command", [sys.executable, "-m", "fer_utils", "figures", STUDY], root),
        ]
    here = environment(ROOT)
    size = {"models": len(models), "seeds": len(seeds), "processor": here["processor"], "cores": here["cores"]}
    table = pd.DataFrame([row | size for row in rows])
    with replaced(options.csv) as temporary:
        table.to_csv(temporary, index=False)
    print(table.to_string(index=False, float_format="{:.1f}".format))
    if not options.quick:
        print(f"{table['processor_s'].max():.1f} s of processor time at most; promised: {MOST_SECONDS} s")
    return table


if __name__ == "__main__":
    main()
