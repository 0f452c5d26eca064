"""The paper's losses and baselines as functions, Module twins, and joint losses by name.

`paper` holds Eq. 1 to 9, `baselines` the other authors' losses, `joint` the sum that is trained,
`batch` what all do with a batch.
"""

# ruff: noqa: F401, I001
from fer_utils.losses.baselines import arcface_loss, effective_number_weights, focal_loss
from fer_utils.losses.baselines import island_loss, ldam_loss, logit_adjusted_loss
from fer_utils.losses.baselines import update_centers_island
from fer_utils.losses.batch import local_reduction, sum_by_class, world_size
from fer_utils.losses.joint import LOSS_NAMES, REDUCTIONS, JointLoss, make_loss
from fer_utils.losses.paper import CenterLoss, WeightedClusterLoss, WeightedSoftmaxLoss
from fer_utils.losses.paper import center_loss, center_separation, class_weights, mean_weight
from fer_utils.losses.paper import update_centers, update_centers_wen
from fer_utils.losses.paper import weighted_cluster_loss, weighted_softmax_loss
