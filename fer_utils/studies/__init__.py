"""Studies: a file in `experiments/` → runs → `results/`."""

from fer_utils.studies.results import RunSet, collect, gather, read_results, read_run_set
from fer_utils.studies.run_all import draw_figures, execute_notebook, run_one, run_study
from fer_utils.studies.study import Study, load_study

__all__ = [
    "RunSet", "Study", "collect", "draw_figures", "execute_notebook", "gather", "load_study",
    "read_results", "read_run_set", "run_one", "run_study",
]  # fmt: skip
