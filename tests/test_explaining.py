"""Grad-CAM against a computation of its own: autograd through the head alone, from the stage's output."""

import copy

import pytest
import torch
import torch.nn.functional as F

from fer_utils import explaining, models
from fer_utils.errors import InputError


def network(name, frozen=0):
    torch.manual_seed(0)
    return models.freeze_stages(models.FERNet(name, embedding_dim=16), frozen).eval()


def by_hand(model, images, classes, number):
    """Grad-CAM from its definition, on a copy of which nothing is frozen or folded."""
    model = models.freeze_stages(copy.deepcopy(model), 0).eval()
    kept = []

    def keep(module, inputs, out):
        kept.append(out)
        return out.clone()  # DenseNet's ReLU after it works in place

    model.stages()[number - 1].blocks[-1].register_forward_hook(keep)
    logits, (maps,) = model(images)[0], kept  # (N, 8), (N, K, h, w)
    gradients = torch.stack(
        [torch.autograd.grad(logits[row, c], maps, retain_graph=True)[0][row] for row, c in enumerate(classes)]
    )
    cam = torch.einsum("nk,nkhw->nhw", gradients.mean((2, 3)), maps).clamp(min=0)
    cam = F.interpolate(cam[:, None], images.shape[2:], mode="bilinear", align_corners=False)[:, 0].detach()
    return torch.stack([one / one.max() if one.max() > 0 else one for one in cam])


@pytest.mark.parametrize(
    ("name", "frozen", "stage"),
    [("se_resnet14", 0, None), ("se_resnet14", 3, None), ("se_resnet14", 5, None), ("se_resnet14", 5, 3)]
    + [("resnet14", 4, None), ("resnet14", 0, 2), ("resnet18", 0, None), ("mobilenet_v3_small", 5, None)]
    + [("shufflenet_v2_x0_5", 2, 3), ("densenet121", 0, None)],
)
def test_equals_grad_cam_by_hand(name, frozen, stage):
    model, images, classes = network(name, frozen), torch.randn(3, 3, 64, 64), [0, 7, 3]
    found = explaining.grad_cam(model, images, classes, stage)
    expected = by_hand(model, images, classes, stage or len(model.stages()))
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)
    assert found.shape == (3, 64, 64) and found.min() >= 0 and found.max() == 1


def test_explains_the_predicted_class_and_leaves_the_model_alone(monkeypatch):
    monkeypatch.setattr(explaining, "AT_ONCE", 2)  # several batches
    model, images = network("se_resnet14", 3), torch.randn(5, 3, 32, 40)
    model.train()
    before = copy.deepcopy(model.state_dict())
    with torch.no_grad():
        found = explaining.grad_cam(model, images)
        predicted = model.eval()(images)[0].argmax(1)
    model.train()
    torch.testing.assert_close(found, explaining.grad_cam(model, images, predicted))
    assert model.training and all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters()) and images.requires_grad is False


def test_a_class_that_nothing_speaks_for_has_an_empty_map():
    model = network("resnet14")
    torch.nn.init.zeros_(model.output.weight[2].data)
    assert explaining.grad_cam(model, torch.randn(2, 3, 32, 32), 2).max() == 0


IMAGES = torch.zeros(2, 3, 32, 32)


@pytest.mark.parametrize(
    ("name", "images", "options", "message"),
    [
        ("resnet14", IMAGES[0], {}, r"expected images \(N, 3, H, W\), N ≥ 1, found shape \(3, 32, 32\)"),
        ("resnet14", IMAGES[:0], {}, r"found shape \(0, 3, 32, 32\)"),
        ("resnet14", IMAGES, {"classes": [1]}, r"expected 2 classes from 0 to 7, one an image .*, found \[1\]"),
        ("resnet14", IMAGES, {"classes": [1, 8]}, r"found \[1, 8\]"),
        ("resnet14", IMAGES, {"classes": 0.5}, "found 0.5"),
        ("resnet14", IMAGES, {"stage": 6}, "expected a stage from 1 to 5, which resnet14 has, found 6"),
        ("swin_t", IMAGES, {"stage": 1}, "expected a stage with channels of maps, found tokens at stage 1 of swin_t"),
    ],
    ids=["one image", "none", "too few classes", "class 8", "no class", "stage 6", "tokens"],
)
def test_bad_input_is_named(name, images, options, message):
    with pytest.raises(InputError, match=message):
        explaining.grad_cam(network(name), images, **options)
