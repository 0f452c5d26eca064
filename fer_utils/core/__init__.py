"""What every room needs: expressions, the paper's values, parameters, run folders, errors."""

# ruff: noqa: F401, I001
from fer_utils.core import paper
from fer_utils.core.base import CODINGS, COLORS, EXPRESSIONS, LABELS, LOG_PROBABILITIES, NUM_CLASSES
from fer_utils.core.base import PROBABILITIES, RARE, SPELLINGS, find_label, to_labels
from fer_utils.core.base import Diverged, InputError, check_choice, one_line, require
from fer_utils.core.parameters import DATA_OPTIONS, EXECUTION_FIELDS, LAMBDAS, LOSSES
from fer_utils.core.parameters import OWN_ARCHITECTURES, RunParameters
from fer_utils.core.parameters import check_names, notebook_parameters, parameters
from fer_utils.core.run import Run, atomic_write, environment, in_headless_kernel, project_root
from fer_utils.core.run import resolve_path, versions
