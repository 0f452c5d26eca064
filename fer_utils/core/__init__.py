"""What every room needs: expressions, the paper's values, parameters, run folders, errors."""

from fer_utils.core import paper
from fer_utils.core.errors import Diverged, InputError, check_choice
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
from fer_utils.core.files import atomic_write, in_headless_kernel, project_root, resolve_path
from fer_utils.core.parameters import (
    DATA_OPTIONS,
    EXECUTION_FIELDS,
    LOSSES,
    OWN_ARCHITECTURES,
    RunParameters,
    check_names,
    notebook_parameters,
    parameters,
)
from fer_utils.core.run import Run, environment, versions

__all__ = [
    "CODINGS",
    "COLORS",
    "DATA_OPTIONS",
    "EXECUTION_FIELDS",
    "EXPRESSIONS",
    "LABELS",
    "LOG_PROBABILITIES",
    "LOSSES",
    "NUM_CLASSES",
    "OWN_ARCHITECTURES",
    "PROBABILITIES",
    "RARE",
    "SPELLINGS",
    "Diverged",
    "InputError",
    "Run",
    "RunParameters",
    "atomic_write",
    "check_choice",
    "check_names",
    "environment",
    "find_label",
    "in_headless_kernel",
    "notebook_parameters",
    "paper",
    "parameters",
    "project_root",
    "resolve_path",
    "to_labels",
    "versions",
]
