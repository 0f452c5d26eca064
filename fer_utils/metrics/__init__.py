"""Scores of probabilities, their intervals, paired tests, post-hoc adjustment and verification."""

# ruff: noqa: F401, I001
from fer_utils.metrics.intervals import bootstrap, compare_paired, describe_verdict, holm
from fer_utils.metrics.intervals import seed_interval, verdict
from fer_utils.metrics.posthoc import TAUS, apply_temperature, choose_tau, fit_temperature
from fer_utils.metrics.posthoc import compare_at_equal_accuracy, logit_adjust
from fer_utils.metrics.posthoc import operating_curve, probabilities
from fer_utils.metrics.scores import METRICS, calibration_error, check_scores, confusion_matrix
from fer_utils.metrics.scores import evaluate, per_class, recall_per_class, reliability
from fer_utils.metrics.scores import restrict_answers, wilson_interval
from fer_utils.metrics.verification import cosine_similarities, make_pairs, pixel_embeddings
from fer_utils.metrics.verification import roc_curve, verify
