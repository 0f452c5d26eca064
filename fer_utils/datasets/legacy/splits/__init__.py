"""Splits: protocols, hold-outs, subsets, and training free of duplicates. Works on manifests; opens no image."""

from fer_utils.datasets.legacy.splits.duplicates import count_duplicates, find_training_leaks, remove_near_leaks, remove_training_leaks
from fer_utils.datasets.legacy.splits.protocols import k_fold, official, paper_protocol
from fer_utils.datasets.legacy.splits.subsets import MIN_PER_CLASS, hold_out_subjects, hold_out_within_subjects, subsample, without

__all__ = [
    "MIN_PER_CLASS",
    "count_duplicates",
    "find_training_leaks",
    "hold_out_subjects",
    "hold_out_within_subjects",
    "k_fold",
    "official",
    "paper_protocol",
    "remove_near_leaks",
    "remove_training_leaks",
    "subsample",
    "without",
]
