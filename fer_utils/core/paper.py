"""The published values of Ngo & Yoon, Sensors 2020, 20(9), 2639: here and nowhere else.

Metrics are fractions 0–1, as everywhere in this project: the printed 60.70 is 0.6070. Sizes of
splits follow `EXPRESSIONS`.
"""

import itertools
from collections import namedtuple

# Table 3.
TRAINING_COUNTS = (74_374, 133_915, 24_959, 13_590, 5_878, 3_303, 24_382, 3_250)
VALIDATION_COUNTS = (500,) * 8
TEST_COUNTS = (500,) * 8

# Table 2: stage → output, kernel, repeat, frozen; its pooling and two linear layers come last.
STAGES = {
    "stage 1": ("112×112", "convolution 7×7", 1, True),
    "stage 2": ("56×56", "convolution block", 3, True),
    "stage 3": ("28×28", "convolution block", 4, True),
    "stage 4": ("14×14", "convolution block", 6, False),
    "stage 5": ("7×7", "convolution block", 3, False),
    "embedding": ("1×1, 512", "global average pooling, fully connected 2048×512", 1, False),
    "output": ("8", "fully connected 512×8, softmax", 1, False),
}

# Our name → the name that tables and figures show.
BASES = {"se_resnet50": "SE-ResNet-50", "resnet50": "ResNet-50"}
LOSSES = {
    "softmax": "softmax",
    "center_softmax": "center + softmax",
    "weighted_softmax": "weighted softmax",
    "center_weighted_softmax": "center + weighted softmax",
    "weighted_cluster": "weighted cluster + weighted softmax",
}
# Losses for unequal classes by other authors (see `fer_utils/losses/README.md`).
BASELINES = {
    "island_softmax": "island + softmax",
    "focal": "focal",
    "class_balanced": "class-balanced softmax",
    "balanced_softmax": "balanced softmax",
    "logit_adjusted": "logit-adjusted softmax",
    "ldam_drw": "LDAM-DRW",
    "arcface": "additive angular margin",
}
METRICS = {
    "accuracy": "Accuracy", "f1": "F1", "kappa": "Kappa", "alpha": "Alpha", "auc_pr": "AUC-PR",
    "auc": "AUC",
}  # fmt: skip

# Section 4.3. λ is the factor of the auxiliary loss (Eq. 3, 5), α and γ are those of Eq. 4 and 9.
RECIPE = {
    "optimizer": "sgd",
    "momentum": 0.9,
    "weight_decay": 5e-4,
    "learning_rate": {"pretrained": 1e-3, "scratch": 1e-2},
    "batch_size": {"pretrained": 36, "scratch": 30},
    "learning_rate_factor": 0.5,
    "learning_rate_every": 10,
    "lambda": {"center_softmax": 0.5, "center_weighted_softmax": 0.5, "weighted_cluster": 1.0},
    "alpha": 1.0,
    "gamma": 1.0,
    "image_size": 224,
    "embedding_dim": 512,
    "frozen_stages": 3,
}


# One row of Table 5 or 6: fractions on 4,000 test images (500 a class), one run.
PaperModel = namedtuple("PaperModel", ["number", "base", "pretrained", "loss", *METRICS])

# Tables 5 and 6, in per cent: two bases × (from scratch, pre-trained) × five losses, in that order.
_PUBLISHED = """
50.65 46.87 43.60 42.60 62.87 90.67
46.07 39.24 38.37 36.89 55.96 87.92
56.37 56.41 50.14 50.09 62.27 90.49
56.90 57.06 50.74 50.71 62.24 90.33
56.27 56.42 50.03 49.97 61.57 90.10
52.22 49.51 45.40 44.54 63.27 90.75
47.08 40.02 39.51 38.27 54.91 86.75
59.72 59.72 53.97 53.93 66.47 91.85
59.60 59.50 53.83 53.82 65.35 91.21
60.70 60.49 55.09 55.06 66.55 91.82
49.85 46.67 42.69 41.46 62.80 90.63
46.62 39.96 39.00 37.67 54.08 86.26
57.40 57.33 51.31 51.23 63.05 90.82
57.20 57.08 51.09 51.06 62.61 90.50
57.37 57.40 51.29 51.24 62.79 90.52
51.88 48.89 45.00 44.10 61.60 90.22
48.33 44.00 40.94 39.80 56.96 87.89
58.65 58.59 52.74 52.71 64.58 91.17
58.27 58.07 52.31 52.24 63.59 90.54
59.45 59.42 53.66 53.66 65.26 91.51
""".strip().splitlines()

_CASES = itertools.product(BASES, (False, True), LOSSES)
MODELS = {
    number: PaperModel(number, *case, *(round(float(value) / 100, 4) for value in row.split()))
    for number, (case, row) in enumerate(zip(_CASES, _PUBLISHED, strict=True), start=1)
}

# Model → class → recall: as far as the text gives Figure 6.
RECALLS = {
    6: {"contempt": 0.06, "disgust": 0.36}, 10: {"contempt": 0.59, "disgust": 0.54},
    16: {"contempt": 0.10, "disgust": 0.30}, 20: {"contempt": 0.53, "disgust": 0.47},
}  # fmt: skip

# The same, off the diagonal: model → (true, predicted) → share.
CONFUSIONS = {
    10: {
        ("neutral", "contempt"): 0.16, ("contempt", "neutral"): 0.11,
        ("happy", "contempt"): 0.15, ("contempt", "happy"): 0.12,
        ("surprise", "fear"): 0.18, ("fear", "surprise"): 0.13,
        ("disgust", "anger"): 0.15, ("anger", "disgust"): 0.12,
    }
}  # fmt: skip

# Two annotators of AffectNet, average over the eight classes (section 4.4).
HUMAN_AGREEMENT = 0.6556
