"""torchvision's networks as backbones: cut where torchvision's own classifier begins, with stages of their own."""

import copy

import pytest
import torch
import torchvision
from torch import nn

from fer_utils import architectures, models
from fer_utils.errors import InputError

# Name → image size, stages, and what torchvision's pooled features are, worked out with torchvision's own forward pass.
SMALL = {
    "resnet18": (64, 5),
    "mobilenet_v3_small": (64, 5),
    "shufflenet_v2_x0_5": (64, 4),
    "densenet121": (64, 5),
    "regnet_x_400mf": (64, 5),
    "convnext_tiny": (64, 4),
    "swin_t": (64, 4),
    "vit_b_32": (64, 13),
    "googlenet": (64, 5),
}


def test_every_network_of_torchvisions_with_pooled_features_is_there():
    without = ("alexnet", "squeezenet", "vgg")  # their classifiers see maps
    names = [n for n in torchvision.models.list_models(module=torchvision.models) if not n.startswith(without)]
    assert sorted({*architectures.TORCHVISION, "resnet50"}) == sorted(names)


@pytest.fixture(params=SMALL, scope="module")
def backbone(request):
    torch.manual_seed(0)
    return models.build_backbone(request.param, SMALL[request.param][0]).eval()


def test_features_are_what_torchvisions_classifier_sees(backbone):
    """The same weights in torchvision's own network: the input of its first linear layer, caught in passing."""
    name = backbone.architecture
    options = {"image_size": 64} if name == "vit_b_32" else {}
    options |= {"aux_logits": False, "init_weights": False} if name == "googlenet" else {}
    whole = torchvision.models.get_model(name, weights=None, **options).eval()
    state = {key.removeprefix("net."): value for key, value in backbone.state_dict().items() if key.startswith("net.")}
    missing, unknown = whole.load_state_dict(state, strict=False)
    assert not unknown
    heads = ("fc.", "classifier.", "heads.", "head.")
    assert missing and all(key.startswith(heads) for key in missing)
    seen = []
    first = next(
        m for n, m in whole.named_modules() if n.startswith(tuple(h[:-1] for h in heads)) and isinstance(m, nn.Linear)
    )
    first.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        whole(images)
        torch.testing.assert_close(backbone(images), seen[0])
    assert backbone.num_features == seen[0].shape[1]


def test_every_parameter_belongs_to_one_stage(backbone):
    inside = [id(parameter) for stage in backbone.stages() for parameter in stage.parameters()]
    assert len(inside) == len(set(inside))
    assert set(inside) == {id(parameter) for parameter in backbone.parameters()}
    assert len(backbone.stages()) == SMALL[backbone.architecture][1]


def test_frozen_stages_stay_bit_identical(backbone):
    model = models.freeze_stages(models.FERNet(backbone), 2).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=0.1)
    model(torch.randn(2, 3, 64, 64))[0].sum().backward()
    optimiser.step()
    frozen = {id(p) for stage in backbone.stages()[:2] for p in stage.parameters()}
    moved = {name: not torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items()}
    named = dict(model.named_parameters())
    assert not any(moved[name] for name, parameter in named.items() if id(parameter) in frozen)
    assert any(moved[name] for name, parameter in named.items() if id(parameter) not in frozen)
    quiet = [module for stage in backbone.stages()[:2] for block in stage.blocks for module in block.modules()]
    assert not any(module.training for module in quiet)
    models.freeze_stages(model, 0)


def test_description_covers_the_live_network(backbone):
    model = models.FERNet(backbone)
    described = models.describe(model, 64)
    assert sum(stage["parameters"] for stage in described["stages"]) == sum(p.numel() for p in model.parameters())
    assert described["base"] == described["architecture"] == backbone.architecture
    *stages, embedding, output = described["stages"]
    assert (embedding["output"], output["output"]) == ([512], [8])
    assert all(stage["repeat"] >= 1 and stage["modules"] for stage in stages)
    if backbone.architecture != "vit_b_32":
        sides = [stage["output"][-1] for stage in stages]
        assert sides == sorted(sides, reverse=True) and len(set(sides)) == len(sides)


def test_input_conversion_stands_in_front(backbone):
    """Weights trained on 0–255 pixels see them: the network equals itself on images converted by hand."""
    backbone = copy.deepcopy(backbone).double().eval()
    images = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    mean, std = (torch.tensor(models.IMAGENET_INPUT[key])[:, None, None] for key in ("mean", "std"))
    with torch.no_grad():
        expected = backbone((images * std + mean - 0.5) / 0.25)
        models.set_input_convention(backbone, {"range": 1, "mean": [0.5] * 3, "std": [0.25] * 3})
        torch.testing.assert_close(backbone(images), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("name", "size"), [("vit_b_32", 50), ("maxvit_t", 100)])
def test_a_size_that_a_network_cannot_take_is_named(name, size):
    with pytest.raises(
        InputError, match=f"expected an image_size that {name} can take; found {size} .*224 fits"
    ) as error:
        models.build_backbone(name, size)
    assert "\n" not in str(error.value)


def test_stages_are_the_networks_own():
    with pytest.raises(InputError, match="from 0 to 4, which convnext_tiny has; found 5"):
        models.freeze_stages(models.FERNet("convnext_tiny"), 5)
