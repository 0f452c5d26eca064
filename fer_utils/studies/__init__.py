"""Studies: a file in `experiments/` → runs → `results/`; comparing runs."""

from fer_utils.studies.results import (
    Comparison,
    RunSet,
    collect,
    compare,
    format_comparison,
    gather,
    probabilities,
    read_results,
    read_run_set,
)
from fer_utils.studies.run_all import draw_figures, execute_notebook, run_one, run_study
from fer_utils.studies.study import Study, load_study

__all__ = [
    "Comparison", "RunSet", "Study", "collect", "compare", "draw_figures", "execute_notebook",
    "format_comparison", "gather", "load_study", "probabilities", "read_results", "read_run_set",
    "run_one", "run_study",
]  # fmt: skip
