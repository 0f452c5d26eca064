"""The paper's losses and baselines: functions and Module twins; `make_loss` gives one by name."""

# ruff: noqa: F401
from fer_utils.losses.baselines import (
    arcface_loss,
    effective_number_weights,
    focal_loss,
    island_loss,
    ldam_loss,
    logit_adjusted_loss,
    update_centers_island,
)
from fer_utils.losses.batch import local_reduction, sum_by_class, world_size
from fer_utils.losses.joint import LOSS_NAMES, REDUCTIONS, JointLoss, make_loss
from fer_utils.losses.paper import (
    CenterLoss,
    WeightedClusterLoss,
    WeightedSoftmaxLoss,
    center_loss,
    center_separation,
    class_weights,
    mean_weight,
    update_centers,
    update_centers_wen,
    weighted_cluster_loss,
    weighted_softmax_loss,
)
