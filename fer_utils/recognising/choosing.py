"""The runs that a face can be recognised with."""

from pathlib import Path

from fer_utils.runs import Run, project_root

FIRST_RUNS = ("demo/model10-seed0", "demo/*", "explore/first")  # what `make study` leaves, then what 03_fine_tune does


def finished_runs(root: Path | str | None = None) -> list[str]:
    """STUDY/RUN of every finished run of expressions, those of `FIRST_RUNS` first."""
    runs = Path(root or project_root()) / "runs"
    found = [path for pattern in (*FIRST_RUNS, "*/*") for path in sorted(runs.glob(f"{pattern}/metrics.json"))]
    names = dict.fromkeys(path.parts[-3:-1] for path in found)
    found = [Run(study, name, root) for study, name in names]
    return [f"{run.study}/{run.name}" for run in found if run.evaluated and run.resolved.target == "label"]
