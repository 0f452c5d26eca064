"""The published values of Ngo & Yoon, "Facial Expression Recognition Based on Weighted-Cluster Loss and Deep Transfer
Learning Using a Highly Imbalanced Dataset", Sensors 2020, 20(9), 2639: written here once and nowhere else.

Metrics are fractions 0–1, as everywhere in this project: the printed 60.70 is 0.6070, and `f"{100 * value:.2f}"` gives
the printed digits back. The split sizes follow `expressions.EXPRESSIONS`.
"""

from dataclasses import dataclass

# Table 3.
TRAINING_COUNTS = (74_374, 133_915, 24_959, 13_590, 5_878, 3_303, 24_382, 3_250)
VALIDATION_COUNTS = (500,) * 8
TEST_COUNTS = (500,) * 8

# Table 1: (kind, method) → human resource, computing resource, computational complexity, accuracy, as the paper judges.
APPROACHES = {
    ("conventional", "Gabor wavelet coefficients"): ("high", "low", "low", "medium"),
    ("conventional", "Haar features"): ("high", "low", "low", "medium"),
    ("conventional", "local binary patterns"): ("high", "low", "low", "medium"),
    ("conventional", "local binary patterns on three orthogonal planes"): ("high", "low", "low", "medium"),
    ("conventional", "scale-invariant feature transform"): ("high", "low", "low", "medium"),
    ("conventional", "histogram of gradients"): ("high", "low", "low", "medium"),
    ("deep learning", "convolutional network"): ("low", "high", "high", "high"),
    ("deep learning", "convolutional network, transferred (the paper's)"): ("low", "medium", "medium", "high"),
}

# Table 2: stage → output, kernel, repeat, frozen. Its pooling and its two fully connected layers are our last two rows.
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
PRETRAINING = {"se_resnet50": "VGGFace2", "resnet50": "ImageNet"}
LOSSES = {
    "softmax": "softmax",
    "center_softmax": "center + softmax",
    "weighted_softmax": "weighted softmax",
    "center_weighted_softmax": "center + weighted softmax",
    "weighted_cluster": "weighted cluster + weighted softmax",
}
# Not the paper's: losses for unequal classes that it is compared with here (see `fer_utils/losses/README.md`).
RIVALS = {
    "island_softmax": "island + softmax",
    "focal": "focal",
    "class_balanced": "class-balanced softmax",
    "balanced_softmax": "balanced softmax",
    "logit_adjusted": "logit-adjusted softmax",
    "ldam_drw": "LDAM-DRW",
    "arcface": "additive angular margin",
}
METRICS = {
    "accuracy": "Accuracy",
    "f1": "F1",
    "kappa": "Kappa",
    "alpha": "Alpha",
    "auc_pr": "AUC-PR",
    "auc": "AUC",
}

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


@dataclass(frozen=True)
class PaperModel:
    """One row of Table 5 or 6.

    Attributes:
        number: 1–20, the paper's model number.
        base: key of `BASES`.
        pretrained: on VGGFace2 (SE-ResNet-50) or ImageNet (ResNet-50); otherwise trained from scratch.
        loss: key of `LOSSES`.
        accuracy, f1, kappa, alpha, auc_pr, auc: fractions 0–1 on AffectNet's 4,000 test images (500 a class), one run.
    """

    number: int
    base: str
    pretrained: bool
    loss: str
    accuracy: float
    f1: float
    kappa: float
    alpha: float
    auc_pr: float
    auc: float


MODELS: dict[int, PaperModel] = {
    model.number: model
    for model in (
        # Table 5
        PaperModel(1, "se_resnet50", False, "softmax", 0.5065, 0.4687, 0.4360, 0.4260, 0.6287, 0.9067),
        PaperModel(2, "se_resnet50", False, "center_softmax", 0.4607, 0.3924, 0.3837, 0.3689, 0.5596, 0.8792),
        PaperModel(3, "se_resnet50", False, "weighted_softmax", 0.5637, 0.5641, 0.5014, 0.5009, 0.6227, 0.9049),
        PaperModel(4, "se_resnet50", False, "center_weighted_softmax", 0.5690, 0.5706, 0.5074, 0.5071, 0.6224, 0.9033),
        PaperModel(5, "se_resnet50", False, "weighted_cluster", 0.5627, 0.5642, 0.5003, 0.4997, 0.6157, 0.9010),
        PaperModel(6, "se_resnet50", True, "softmax", 0.5222, 0.4951, 0.4540, 0.4454, 0.6327, 0.9075),
        PaperModel(7, "se_resnet50", True, "center_softmax", 0.4708, 0.4002, 0.3951, 0.3827, 0.5491, 0.8675),
        PaperModel(8, "se_resnet50", True, "weighted_softmax", 0.5972, 0.5972, 0.5397, 0.5393, 0.6647, 0.9185),
        PaperModel(9, "se_resnet50", True, "center_weighted_softmax", 0.5960, 0.5950, 0.5383, 0.5382, 0.6535, 0.9121),
        PaperModel(10, "se_resnet50", True, "weighted_cluster", 0.6070, 0.6049, 0.5509, 0.5506, 0.6655, 0.9182),
        # Table 6
        PaperModel(11, "resnet50", False, "softmax", 0.4985, 0.4667, 0.4269, 0.4146, 0.6280, 0.9063),
        PaperModel(12, "resnet50", False, "center_softmax", 0.4662, 0.3996, 0.3900, 0.3767, 0.5408, 0.8626),
        PaperModel(13, "resnet50", False, "weighted_softmax", 0.5740, 0.5733, 0.5131, 0.5123, 0.6305, 0.9082),
        PaperModel(14, "resnet50", False, "center_weighted_softmax", 0.5720, 0.5708, 0.5109, 0.5106, 0.6261, 0.9050),
        PaperModel(15, "resnet50", False, "weighted_cluster", 0.5737, 0.5740, 0.5129, 0.5124, 0.6279, 0.9052),
        PaperModel(16, "resnet50", True, "softmax", 0.5188, 0.4889, 0.4500, 0.4410, 0.6160, 0.9022),
        PaperModel(17, "resnet50", True, "center_softmax", 0.4833, 0.4400, 0.4094, 0.3980, 0.5696, 0.8789),
        PaperModel(18, "resnet50", True, "weighted_softmax", 0.5865, 0.5859, 0.5274, 0.5271, 0.6458, 0.9117),
        PaperModel(19, "resnet50", True, "center_weighted_softmax", 0.5827, 0.5807, 0.5231, 0.5224, 0.6359, 0.9054),
        PaperModel(20, "resnet50", True, "weighted_cluster", 0.5945, 0.5942, 0.5366, 0.5366, 0.6526, 0.9151),
    )
}

# Model → class → recall: as far as the text gives Figure 6.
RECALLS = {
    6: {"contempt": 0.06, "disgust": 0.36},
    10: {"contempt": 0.59, "disgust": 0.54},
    16: {"contempt": 0.10, "disgust": 0.30},
    20: {"contempt": 0.53, "disgust": 0.47},
}

# The same, off the diagonal: model → (true, predicted) → share. What the text rounds to "up to" is not here.
CONFUSIONS = {
    10: {
        ("neutral", "contempt"): 0.16,
        ("happy", "contempt"): 0.15,
        ("contempt", "neutral"): 0.11,
        ("contempt", "happy"): 0.12,
        ("surprise", "fear"): 0.18,
        ("fear", "surprise"): 0.13,
        ("disgust", "anger"): 0.15,
        ("anger", "disgust"): 0.12,
    }
}

# Two annotators of AffectNet, average over the eight classes (section 4.4, from the data set's own paper).
HUMAN_AGREEMENT = 0.6556
