"""Studies: a file in `experiments/` → runs → `results/`; comparing runs."""

from fer_utils.studies.compare import Comparison, compare, format_comparison, on_same_images
from fer_utils.studies.results import (
    RunSet,
    collect,
    gather,
    probabilities,
    read_results,
    read_run_set,
)
from fer_utils.studies.run_all import (
    STOPPED,
    claim_gpu,
    draw_figures,
    execute_notebook,
    run_one,
    run_study,
    visible_gpus,
)
from fer_utils.studies.study import Study, load_study, run_name

__all__ = [
    "STOPPED",
    "Comparison",
    "RunSet",
    "Study",
    "claim_gpu",
    "collect",
    "compare",
    "draw_figures",
    "execute_notebook",
    "format_comparison",
    "gather",
    "load_study",
    "on_same_images",
    "probabilities",
    "read_results",
    "read_run_set",
    "run_name",
    "run_one",
    "run_study",
    "visible_gpus",
]
