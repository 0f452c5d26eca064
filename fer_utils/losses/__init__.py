"""The paper's losses and their rivals, functions and Module twins; `make_loss` gives a joint loss by name.

`README.md` beside this file: which loss, which equation, which parameters.
"""

from fer_utils.losses.centers import center_separation, update_centers, update_centers_wen
from fer_utils.losses.functional import center_loss, class_weights, weighted_cluster_loss, weighted_softmax_loss
from fer_utils.losses.island import island_loss, island_pairs, update_centers_island
from fer_utils.losses.joint import DEFAULT_REDUCTION, LOSS_NAMES, PAPER_LOSSES, RIVALS, JointLoss, make_loss
from fer_utils.losses.modules import CENTER_INITS, CENTER_UPDATES, CenterLoss, WeightedClusterLoss, WeightedSoftmaxLoss
from fer_utils.losses.reduction import REDUCTIONS
from fer_utils.losses.rival_modules import ArcFaceLoss, FocalLoss, IslandLoss, LDAMLoss, LogitAdjustedLoss
from fer_utils.losses.rivals import (
    arcface_loss,
    effective_number_weights,
    focal_loss,
    ldam_loss,
    ldam_margins,
    logit_adjusted_loss,
)

__all__ = [
    "CENTER_INITS",
    "CENTER_UPDATES",
    "DEFAULT_REDUCTION",
    "LOSS_NAMES",
    "PAPER_LOSSES",
    "REDUCTIONS",
    "RIVALS",
    "ArcFaceLoss",
    "CenterLoss",
    "FocalLoss",
    "IslandLoss",
    "JointLoss",
    "LDAMLoss",
    "LogitAdjustedLoss",
    "WeightedClusterLoss",
    "WeightedSoftmaxLoss",
    "arcface_loss",
    "center_loss",
    "center_separation",
    "class_weights",
    "effective_number_weights",
    "focal_loss",
    "island_loss",
    "island_pairs",
    "ldam_loss",
    "ldam_margins",
    "logit_adjusted_loss",
    "make_loss",
    "update_centers",
    "update_centers_island",
    "update_centers_wen",
    "weighted_cluster_loss",
    "weighted_softmax_loss",
]
