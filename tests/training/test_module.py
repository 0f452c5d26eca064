"""The training step, the schedule, averaged weights and statistics of the embedding."""

import math

import pytest
import torch
from torch import nn

from fer_utils.core import parameters
from fer_utils.losses import CenterLoss
from fer_utils.training.module import (
    WeightAverage,
    center_stats,
    embedding_stats,
    find_collapse,
    lr_factor,
)


def test_the_papers_schedule_halves_every_ten_epochs():
    params = parameters({"epochs": 30})
    found = [lr_factor(params, epoch * 5, 5) for epoch in (0, 9, 10, 19, 20)]
    assert found == [1, 1, 0.5, 0.5, 0.25]


def test_a_cosine_falls_to_zero_after_its_warm_up():
    params = parameters({"schedule": "cosine", "epochs": 10, "warmup_epochs": 1.0})
    factors = [lr_factor(params, step, 10) for step in range(100)]
    assert factors[:3] == pytest.approx([0.1, 0.2, 0.3])
    assert max(factors) == 1 and factors[-1] < 1e-3
    assert factors[55] == pytest.approx(0.5 * (1 + math.cos(math.pi * 45 / 90)))


def test_averaged_weights_follow_by_the_formula_and_frozen_ones_stay():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    network[0].bias.requires_grad_(False)
    average = WeightAverage(network, decay=0.5)
    want = network[0].weight.detach().clone()
    frozen = average.network[0].bias.clone()
    for step in range(20):
        with torch.no_grad():
            network[0].weight.add_(1.0)
            network[0].bias.add_(1.0)
        network(torch.randn(4, 2))
        decay = min(0.5, (1 + step) / (10 + step))
        want = decay * want + (1 - decay) * network[0].weight.detach()
        average.update(network, step)
    torch.testing.assert_close(average.network[0].weight, want)
    assert torch.equal(average.network[0].bias, frozen)
    assert average.network[1].num_batches_tracked == network[1].num_batches_tracked
    assert not any(weight.requires_grad for weight in average.network.parameters())


def test_distances_in_the_embedding():
    features = torch.tensor([[0.0, 3.0], [0.0, 5.0], [3.0, 4.0]])
    found = embedding_stats(features, torch.tensor([0, 0, 2]), classes=3)
    assert found["embedding_norm"] == pytest.approx((3 + 5 + 5) / 3)
    assert found["within_distance"] == pytest.approx(2 / 3)
    assert found["between_distance"] == pytest.approx(3.0)


@pytest.mark.parametrize(
    ("normalize", "offset"), [(False, (1 + 0) / 2), (True, (0 + 3) / 2)], ids=["raw", "normalised"]
)
def test_distances_of_centres_are_in_the_units_that_they_see(normalize, offset):
    """Centres 1 and 4 of classes whose features are 2 and 4, or normalised both 1."""
    cluster = CenterLoss(2, 1, center_init="zeros", normalize=normalize)
    cluster.centers = torch.tensor([[1.0], [4.0]])
    features, targets = torch.tensor([[2.0], [4.0]]), torch.tensor([0, 1])
    found = center_stats(cluster, torch.zeros(2, 1), features, targets)
    assert found == {"center_offset": offset, "center_distance": 3.0, "center_movement": 2.5}
    without = center_stats(None, torch.zeros(2, 1), features, targets)
    assert all(math.isnan(value) for value in without.values())


@pytest.mark.parametrize(
    ("norm", "between", "said"),
    [(0.1, 0.01, "embedding_norm"), (3.0, 0.01, "between_distance"), (3.0, 2.0, None)],
)
def test_a_collapse_is_named(norm, between, said):
    history = [
        {"embedding_norm": 4.0, "between_distance": 3.0},
        {"embedding_norm": norm, "between_distance": between},
    ]
    found = find_collapse(history, first_norm=4.0)
    assert found is None if said is None else said in found
