"""What every room needs: expressions, the paper's values, parameters, run folders, errors."""

# ruff: noqa: F401
from fer_utils.core import paper
from fer_utils.core.errors import Diverged, InputError, check_choice, one_line
from fer_utils.core.expressions import (
    CODINGS,
    COLORS,
    EXPRESSIONS,
    LABELS,
    LOG_PROBABILITIES,
    NUM_CLASSES,
    PROBABILITIES,
    RARE,
    SPELLINGS,
    find_label,
    to_labels,
)
from fer_utils.core.parameters import (
    DATA_OPTIONS,
    EXECUTION_FIELDS,
    LAMBDAS,
    LOSSES,
    OWN_ARCHITECTURES,
    RunParameters,
    check_names,
    notebook_parameters,
    parameters,
)
from fer_utils.core.run import (
    Run,
    atomic_write,
    environment,
    in_headless_kernel,
    project_root,
    resolve_path,
    versions,
)
