"""The paper's published values, their audit, and a study's results beside them."""

from fer_utils.paper.audit import audit_published, printed_audit
from fer_utils.paper.beside import beside_published, models_of, printed_table, say_intervals
from fer_utils.paper.cells import compare_cells, printed_cells
from fer_utils.paper.claims import printed_published_claims, published_claims
from fer_utils.paper.gains import class_gains, printed_gains
from fer_utils.paper.paired import paired_claims, paired_tests, printed_claims, printed_tests
from fer_utils.paper.protocol import check_paper_models, missing_runs, say_protocol, say_reduced, say_verdicts
from fer_utils.paper.ranks import critical_difference, friedman_p, printed_ranks, rank_losses, say_blocks
from fer_utils.paper.report import Report
from fer_utils.paper.setting import compare_approaches, compare_counts, compare_networks, compare_terms, printed_counts
from fer_utils.paper.tables import to_latex, to_markdown, write_table
from fer_utils.paper.values import (
    APPROACHES,
    BASES,
    CONFUSIONS,
    HUMAN_AGREEMENT,
    LOSSES,
    METRICS,
    MODELS,
    PRETRAINING,
    RECALLS,
    RECIPE,
    RIVALS,
    STAGES,
    TEST_COUNTS,
    TRAINING_COUNTS,
    VALIDATION_COUNTS,
    PaperModel,
)

__all__ = [
    "Report",
    "APPROACHES",
    "BASES",
    "CONFUSIONS",
    "HUMAN_AGREEMENT",
    "LOSSES",
    "METRICS",
    "MODELS",
    "PRETRAINING",
    "RECALLS",
    "RECIPE",
    "RIVALS",
    "STAGES",
    "TEST_COUNTS",
    "TRAINING_COUNTS",
    "VALIDATION_COUNTS",
    "PaperModel",
    "audit_published",
    "beside_published",
    "check_paper_models",
    "class_gains",
    "compare_approaches",
    "compare_cells",
    "compare_counts",
    "compare_networks",
    "compare_terms",
    "critical_difference",
    "friedman_p",
    "missing_runs",
    "models_of",
    "paired_claims",
    "paired_tests",
    "printed_audit",
    "printed_cells",
    "printed_claims",
    "printed_counts",
    "printed_gains",
    "printed_published_claims",
    "printed_ranks",
    "printed_table",
    "printed_tests",
    "published_claims",
    "rank_losses",
    "say_blocks",
    "say_intervals",
    "say_protocol",
    "say_reduced",
    "say_verdicts",
    "to_latex",
    "to_markdown",
    "write_table",
]
