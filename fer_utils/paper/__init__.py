"""The paper's published values, their audit, and a study's results beside them."""

from fer_utils.paper.audit import audit_published
from fer_utils.paper.beside import beside_published, models_of, printed_table
from fer_utils.paper.paired import paired_claims, paired_tests, printed_claims, printed_tests
from fer_utils.paper.report import Report
from fer_utils.paper.tables import to_latex, to_markdown, write_table
from fer_utils.paper.values import (
    BASES,
    HUMAN_AGREEMENT,
    LOSSES,
    METRICS,
    MODELS,
    PRETRAINING,
    RECALLS,
    RECIPE,
    RIVALS,
    TEST_COUNTS,
    TRAINING_COUNTS,
    VALIDATION_COUNTS,
    PaperModel,
)

__all__ = [
    "Report",
    "BASES",
    "HUMAN_AGREEMENT",
    "LOSSES",
    "METRICS",
    "MODELS",
    "PRETRAINING",
    "RECALLS",
    "RECIPE",
    "RIVALS",
    "TEST_COUNTS",
    "TRAINING_COUNTS",
    "VALIDATION_COUNTS",
    "PaperModel",
    "audit_published",
    "beside_published",
    "models_of",
    "paired_claims",
    "paired_tests",
    "printed_claims",
    "printed_table",
    "printed_tests",
    "to_latex",
    "to_markdown",
    "write_table",
]
