"""The paper's losses: functions (`functional`, `centers`), Module twins (`modules`), joint losses by name (`joint`)."""

from fer_utils.losses.centers import center_separation, update_centers, update_centers_wen
from fer_utils.losses.functional import (
    REDUCTIONS,
    center_loss,
    class_weights,
    weighted_cluster_loss,
    weighted_softmax_loss,
)
from fer_utils.losses.joint import DEFAULT_REDUCTION, LOSS_NAMES, JointLoss, make_loss
from fer_utils.losses.modules import (
    CENTER_INITS,
    CENTER_UPDATES,
    CenterLoss,
    WeightedClusterLoss,
    WeightedSoftmaxLoss,
)

__all__ = [
    "CENTER_INITS",
    "CENTER_UPDATES",
    "DEFAULT_REDUCTION",
    "LOSS_NAMES",
    "REDUCTIONS",
    "CenterLoss",
    "JointLoss",
    "WeightedClusterLoss",
    "WeightedSoftmaxLoss",
    "center_loss",
    "center_separation",
    "class_weights",
    "make_loss",
    "update_centers",
    "update_centers_wen",
    "weighted_cluster_loss",
    "weighted_softmax_loss",
]
