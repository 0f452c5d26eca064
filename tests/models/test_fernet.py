"""FERNet, freezing, and the description that Table 2 and Fig. 1 show."""

import json

import pytest
import torch
import torch.nn.functional as F

from fer_utils import models
from tests.models.networks import count


def test_embedding_and_classifier_options():
    images = torch.randn(6, 3, 32, 40)
    model = models.FERNet("resnet14", 20, num_classes=5, embedding_activation="relu").eval()
    logits, features = model(images)
    assert logits.shape == (6, 5) and features.shape == (6, 20) and features.min() == 0
    torch.testing.assert_close(model.output(features), logits)
    normed = models.FERNet("resnet14", embedding_norm="batch", classifier="cosine", logit_scale=7)
    assert sum(1 for _ in normed.embedding.parameters()) == 2  # no scale, no shift
    logits, features = normed(images)
    torch.testing.assert_close(features.mean(0), torch.zeros(512), atol=1e-5, rtol=0)
    cosines = F.cosine_similarity(features[:, None], normed.output.weight, dim=2)
    torch.testing.assert_close(logits, 7 * cosines)


@pytest.mark.parametrize("option", ["classifier", "embedding_activation", "embedding_norm"])
def test_unknown_choices_are_refused(option, refused):
    refused([option, "'gelu'"], models.FERNet, "resnet14", **{option: "gelu"})


# freezing


@pytest.mark.parametrize(
    ("name", "stages"),
    [
        ("se_resnet14", ["conv1 bn1", "layer1", "layer2", "layer3", "layer4"]),
        ("small_se_resnet", ["conv1 bn1", "layer1", "layer2", "layer3"]),
        ("shufflenet_v2_x0_5", ["net"]),
    ],
)
def test_frozen_stages_stay_bit_identical_and_the_others_move(name, stages):
    for n in range(len(stages) + 1):
        torch.manual_seed(0)
        model = models.freeze_stages(models.FERNet(name), n).train()
        before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
        # Weight decay would move a frozen weight that the optimiser holds.
        optimiser = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=0.1)
        for _ in range(2):
            logits, _ = model(torch.randn(3, 3, 64, 64))
            optimiser.zero_grad()
            F.cross_entropy(logits, torch.tensor([0, 1, 2])).backward()
            optimiser.step()
        parts = [part for stage in stages[:n] for part in stage.split()]
        frozen = tuple(f"backbone.{part}." for part in (*parts, "input"))
        for key, tensor in model.state_dict().items():
            assert torch.equal(tensor, before[key]) == key.startswith(frozen), key


def test_frozen_stages_record_no_graph():
    model = models.freeze_stages(models.FERNet("se_resnet14"), 3).train()
    recorded = []
    for stage in model.stages():
        stage.blocks[-1].register_forward_hook(
            lambda module, args, out: recorded.append(out.grad_fn is not None)
        )
    model(torch.randn(2, 3, 32, 32))
    assert recorded == [False, False, False, True, True]


def test_thawing_brings_stages_back():
    model = models.freeze_stages(models.FERNet("resnet14"), 4)
    models.freeze_stages(model, 1)
    layer = model.backbone.layer2[0]
    assert layer.conv1.weight.requires_grad and layer.bn1.training
    assert not model.backbone.bn1.training
    assert not models.freeze_stages(model.eval(), 2).training
    models.freeze_stages(model.train(), 0)
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert all(module.training for module in model.modules())


@pytest.mark.parametrize("n", [-1, 6, 2.5, "3", None])
def test_a_wrong_number_of_stages_is_refused(n, refused):
    refused(["0 to 5", repr(n)], models.freeze_stages, models.FERNet("resnet14"), n)


# description


def test_description_is_table_2():
    model = models.freeze_stages(models.FERNet("se_resnet50"), 3).train()
    found = models.describe(model, 224)
    assert json.loads(json.dumps(found)) == found
    stages = found.pop("stages")
    assert found.pop("base") == found.pop("architecture") == "se_resnet50"
    sizes = {"image_size": 224, "frozen_stages": 3, "embedding_dim": 512, "num_classes": 8}
    assert found == sizes
    table = {stage["name"]: (stage["output"], stage["repeat"], stage["frozen"]) for stage in stages}
    assert table == {
        "stage 1": ([64, 112, 112], 1, True),
        "stage 2": ([256, 56, 56], 3, True),
        "stage 3": ([512, 28, 28], 4, True),
        "stage 4": ([1024, 14, 14], 6, False),
        "stage 5": ([2048, 7, 7], 3, False),
        "embedding": ([512], 1, False),
        "output": ([8], 1, False),
    }
    parameters = [stage["parameters"] for stage in stages]
    assert sum(parameters[:5]) == count(model.backbone) and parameters[0] == 9536
    assert parameters[5:] == [2048 * 512 + 512, 512 * 8 + 8]
    assert stages[1]["modules"] == "max-pool, SE bottleneck"
    assert model.training and not model.backbone.bn1.training
    assert not any(part._forward_hooks for part in model.modules())


SMALL = [[32, 24, 24], [32, 24, 24], [64, 12, 12], [128, 6, 6]]
NARROW = [[64, 24, 24], [64, 12, 12], [128, 6, 6], [256, 3, 3], [512, 2, 2]]


@pytest.mark.parametrize(
    ("name", "base", "outputs"),
    [
        ("resnet14", "resnet50", NARROW),
        ("small_resnet", "resnet50", SMALL),
        ("small_se_resnet", "se_resnet50", SMALL),
        ("resnet18", "resnet18", [[512, 2, 2]]),
    ],
)
def test_description_of_other_networks(name, base, outputs, refused):
    found = models.describe(models.FERNet(name), 48)
    *stages, _, _ = found["stages"]
    assert found["base"] == base and [stage["output"] for stage in stages] == outputs
    assert ("SE" in stages[-1]["modules"]) == ("se_" in name)
    assert sum(stage["parameters"] for stage in found["stages"]) == count(models.FERNet(name))
    refused("31", models.describe, models.FERNet(name), 31)
