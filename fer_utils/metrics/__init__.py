"""Scores of probabilities, their intervals, paired tests, post-hoc adjustment and verification."""
# ruff: noqa: F401

from fer_utils.metrics.intervals import seed_interval, wilson_interval
from fer_utils.metrics.paired import compare_paired, describe_verdict, holm, verdict
from fer_utils.metrics.posthoc import (
    TAUS,
    apply_temperature,
    choose_tau,
    compare_at_equal_accuracy,
    curve_at_accuracy,
    fit_temperature,
    logit_adjust,
    operating_curve,
    probabilities,
)
from fer_utils.metrics.scores import (
    METRICS,
    bootstrap,
    calibration_error,
    check_scores,
    confusion_matrix,
    evaluate,
    per_class,
    recall_per_class,
    reliability,
    restrict_answers,
)
from fer_utils.metrics.verification import (
    cosine_similarities,
    make_pairs,
    pixel_embeddings,
    roc_curve,
    verify,
)
