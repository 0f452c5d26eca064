"""The command line and the graph, on a tiny study in a checkout of its own, as a user runs them."""

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import yaml

ROOT = Path(__file__).parents[1]
TINY = {
    "title": "Tiny",
    "note": "Nothing to learn from.",
    "models": [6, 1],
    "architectures": {"se_resnet50": "se_resnet14"},
    "weights": {"se_resnet50": "identity"},
    "parameters": {
        "train_images": 64, "validation_images": 16, "test_images": 16, "image_size": 32, "subjects": 12, "epochs": 1,
        "batch_size": 16,
    },
    "identity": {"validation_images": 0, "test_images": 0},
}  # fmt: skip


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    root = tmp_path_factory.mktemp("a studÿ") / "check out"
    root.mkdir()
    for name in ("pyproject.toml", "Snakefile"):
        shutil.copy(ROOT / name, root)
    for name in ("notebooks", "experiments"):
        shutil.copytree(ROOT / name, root / name)
    write(root, "tiny", TINY)
    return root


def write(root, name, study):
    (root / "experiments" / f"{name}.yaml").write_text(yaml.safe_dump(study))


def call(checkout, *arguments):
    return subprocess.run([sys.executable, "-m", "fer_utils", *arguments], cwd=checkout, capture_output=True, text=True)


@pytest.fixture(scope="module")
def studied(checkout):
    answer = call(checkout, "study", "tiny")
    log = (checkout / "runs/tiny/snakemake.log").read_text()
    assert answer.returncode == 0, answer.stderr + log
    return answer


def test_one_command_makes_runs_results_tables_and_figures(checkout, studied):
    assert "Table 5" in studied.stdout and "figures/tiny/" in studied.stdout
    results = pd.read_csv(checkout / "results/tiny/runs.csv")
    assert sorted(results["run"]) == ["model01-seed0", "model06-seed0"]
    assert results.set_index("model")["weights"].to_dict() == {6: "identity", 1: "none"}
    assert {path.name for path in (checkout / "results/tiny").iterdir()} == {
        "runs.csv", "history.csv", "predictions.parquet", "architecture.json", "counts.csv", "study.json",
    }  # fmt: skip
    drawn = {path.stem for path in (checkout / "figures/tiny").glob("*.pdf")}
    every = {f"fig{number:02d}" for number in range(1, 13)}
    assert {name.split("_")[0] for name in drawn} == every - {"fig09"}  # one loss has no rank


def test_a_second_call_trains_nothing(checkout, studied):
    before = {path: path.stat().st_mtime_ns for path in (checkout / "runs/tiny").glob("*/*.*")}
    started = time.perf_counter()
    assert call(checkout, "study", "tiny").returncode == 0
    assert time.perf_counter() - started < 15
    assert before == {path: path.stat().st_mtime_ns for path in (checkout / "runs/tiny").glob("*/*.*")}


def test_committed_results_are_no_excuse_not_to_run(checkout, studied):
    shutil.move(checkout / "runs/tiny/model01-seed0", checkout / "aside")
    try:
        command = [
            sys.executable,
            "-m",
            "snakemake",
            "--dry-run",
            "--rerun-triggers",
            "mtime",
            "--config",
            "study=tiny",
        ]
        plan = subprocess.run(command, cwd=checkout, capture_output=True, text=True)
        assert "run_model01_seed0" in plan.stdout and "run_model06_seed0" not in plan.stdout
    finally:
        shutil.move(checkout / "aside", checkout / "runs/tiny/model01-seed0")


def test_figures_come_from_results_alone(checkout, studied):
    shutil.move(checkout / "runs", checkout / "elsewhere")
    shutil.rmtree(checkout / "figures")
    try:
        answer = call(checkout, "figures", "tiny")
        assert answer.returncode == 0 and "fig05_learning_curves_se_resnet50.pdf" in answer.stdout
        assert (checkout / "figures/tiny/README.md").is_file()
    finally:
        shutil.rmtree(checkout / "runs")
        shutil.move(checkout / "elsewhere", checkout / "runs")


def interrupt(checkout, by, epochs):
    """Start the study "long", and send it a signal once its history has so many epochs."""
    process = subprocess.Popen(
        [sys.executable, "-m", "fer_utils", "study", "long"], cwd=checkout, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    history = checkout / "runs/long/model01-seed0/history.csv"
    while process.poll() is None and not (history.is_file() and len(pd.read_csv(history)) >= epochs):
        time.sleep(0.05)
    process.send_signal(by)  # to the command alone: it passes the word on
    _, stderr = process.communicate(timeout=180)  # on a busy machine the kernel takes its time
    assert process.returncode == 130 and "the same command goes on" in stderr
    return pd.read_csv(history)


def test_an_interrupted_study_goes_on_where_it_was(checkout):
    write(checkout, "long", {**TINY, "models": [1], "weights": {}, "parameters": {**TINY["parameters"], "epochs": 80}})
    killed = interrupt(checkout, signal.SIGTERM, epochs=1)
    stopped = interrupt(checkout, signal.SIGINT, epochs=len(killed) + 1)
    assert 0 < len(killed) < len(stopped) < 80
    assert call(checkout, "run", "long", "model01-seed0").returncode == 0
    finished = pd.read_csv(checkout / "runs/long/model01-seed0/history.csv")
    assert len(finished) == 80
    for part in (
        killed,
        stopped,
    ):  # an epoch without its checkpoint yet is trained again: the same numbers
        rows = (table.drop(columns=["seconds", "input_wait"]) for table in (finished[: len(part)], part))
        pd.testing.assert_frame_equal(*rows, check_exact=True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["study", "tiny", "--data", "."], "drawn faces need no folder"),
        (["study", "demmo"], "unknown study 'demmo'; did you mean 'demo'?"),
        (["study", "ferplus_smoke"], "needs the ferplus folder"),
        (["study", "ferplus_smoke", "--data", "no/such/folder"], "no/such/folder"),
        (["study", "ferplus_smoke", "--data", "notebooks"], "notebooks"),
        (["study", "ferplus_smoke", "--weights", "nowhere.safetensors"], "nowhere.safetensors"),
        (["run", "tiny", "model11-seed0"], "unknown run of study 'tiny': 'model11-seed0'; did you mean"),
        (["figures", "nothing"], "expected results/nothing/"),
        (["collect", "ferplus_smoke"], "expected metrics.json in run ferplus_smoke/"),
    ],
)
def test_a_mistake_is_one_line_and_a_status(checkout, studied, arguments, message):
    answer = call(checkout, *arguments)
    assert answer.returncode == 2
    assert answer.stderr.startswith("stopped: ") and answer.stderr.count("\n") == 1 and message in answer.stderr


def test_a_mistake_inside_a_run_comes_up_through_the_graph(checkout, studied):
    write(checkout, "tiny", {**TINY, "models": [6, 1, 3], "parameters": {**TINY["parameters"], "epochs": 2}})
    try:
        answer = call(checkout, "study", "tiny")
        assert answer.returncode == 2 and "epochs: 1 → 2" in answer.stderr and answer.stderr.count("\n") == 1
        assert pd.read_csv(checkout / "runs/tiny/model01-seed0/history.csv")["epoch"].tolist() == [1]
    finally:
        write(checkout, "tiny", TINY)
