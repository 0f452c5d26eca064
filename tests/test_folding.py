"""Folded batch norm: the same numbers, the same tensors, and nothing left behind when stages thaw."""

import copy

import pytest
import torch
from torch import nn

from fer_utils import models, weights
from fer_utils.models.folding import FoldedBatchNorm2d, FoldedConv2d


def settled(name, seed=0):
    """A network whose batch norms have moved away from where they start."""
    torch.manual_seed(seed)
    model = models.FERNet(name)
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.normal_(part.running_mean)
            nn.init.uniform_(part.running_var, 0.5, 2)
            nn.init.normal_(part.weight, 1, 0.2)
            nn.init.normal_(part.bias)
    return model.double().eval()


def folded_parts(model):
    return sum(isinstance(part, (FoldedConv2d, FoldedBatchNorm2d)) for part in model.modules())


@pytest.mark.parametrize("name", ["se_resnet14", "resnet14", "resnet18", "shufflenet_v2_x0_5", "mobilenet_v3_small"])
def test_frozen_networks_give_the_same_numbers(name):
    model = settled(name)
    images = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    names = set(model.state_dict())
    with torch.no_grad():
        expected = model(images)
        models.freeze_stages(model, 3)
        assert folded_parts(model) > 0 and set(model.state_dict()) == names
        torch.testing.assert_close(model(images), expected, rtol=1e-9, atol=1e-9)
        models.freeze_stages(model, 0)
    assert folded_parts(model) == 0


def test_every_batch_norm_of_a_frozen_resnet_is_folded_and_no_other():
    model = models.freeze_stages(models.FERNet("se_resnet50"), 3)
    convolutions = {stage: 0 for stage in range(1, 6)}
    for number, stage in enumerate(model.stages(), start=1):
        for block in stage.blocks:
            convolutions[number] += sum(isinstance(part, FoldedConv2d) for part in block.modules())
    assert convolutions == {1: 1, 2: 3 * 3 + 1, 3: 4 * 3 + 1, 4: 0, 5: 0}


def test_new_weights_count_at_once_and_copies_are_their_own():
    model, images = models.freeze_stages(settled("resnet14"), 5), torch.randn(1, 3, 32, 32, dtype=torch.float64)
    other = settled("resnet14", seed=1)
    with torch.no_grad():
        copied, before = copy.deepcopy(model), model(images)
        model.load_state_dict(other.state_dict())
        torch.testing.assert_close(model(images), other(images))
        torch.testing.assert_close(copied(images), before)


def test_while_statistics_are_live_nothing_is_folded():
    model, images = settled("resnet14"), torch.randn(4, 3, 32, 32, dtype=torch.float64)
    plain = copy.deepcopy(model).train()
    models.freeze_stages(model, 2)
    for part in model.modules():
        part.training = True  # against the network's own rule
    torch.testing.assert_close(model(images), plain(images))


def test_weights_can_be_loaded_into_a_frozen_network(tmp_path):
    """The self-test looks between a convolution and its batch norm, whoever does the work."""
    path = weights.save_weights(settled("se_resnet14").float(), tmp_path / "best.safetensors")
    model = models.freeze_stages(models.FERNet("se_resnet14"), 3)
    assert weights.load_pretrained(model.backbone, path)["self_test"]["largest_deviation"] < 1e-4
    assert folded_parts(model) > 0 and all(
        part.folded for part in model.modules() if isinstance(part, FoldedBatchNorm2d)
    )
