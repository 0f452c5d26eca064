"""Networks against an independent, functional re-implementation, analytic counts and the paper's Table 2."""

import json

import pytest
import torch
import torch.nn.functional as F

from fer_utils import architectures, models
from fer_utils.errors import InputError


def randomised(backbone, seed=0):
    """Random weights and batch-norm statistics that keep activations in range."""
    random = torch.Generator().manual_seed(seed)
    state = {}
    for name, tensor in backbone.state_dict().items():
        if name.endswith("running_var"):
            state[name] = torch.rand(tensor.shape, generator=random) + 0.5
        elif tensor.ndim == 4:
            state[name] = torch.randn(tensor.shape, generator=random) / tensor[0].numel() ** 0.5
        elif name.startswith("input.") or not tensor.is_floating_point():
            state[name] = tensor
        else:
            state[name] = torch.randn(tensor.shape, generator=random) * 0.2 + name.endswith("weight")
    backbone.load_state_dict(state)
    return backbone.double().eval(), {name: tensor.double() for name, tensor in state.items()}


def reference(state, images, blocks, squeeze, stride_on_3x3, padded_pool):
    """The network as its papers describe it, with no module of torchvision's."""

    def norm(x, name):
        mean, var = state[f"{name}.running_mean"], state[f"{name}.running_var"]
        scaled = (x - mean[:, None, None]) / (var[:, None, None] + 1e-5).sqrt()
        return scaled * state[f"{name}.weight"][:, None, None] + state[f"{name}.bias"][:, None, None]

    x = F.relu(norm(F.conv2d(images, state["conv1.weight"], stride=2, padding=3), "bn1"))
    if padded_pool:
        x = F.max_pool2d(x, 3, 2, padding=1)
    else:  # windows over the right and lower edge are cut off there
        height, width = (size % 2 == 0 for size in x.shape[2:])
        x = F.max_pool2d(F.pad(x, (0, int(width), 0, int(height)), value=-torch.inf), 3, 2)
    for layer, repeat in enumerate(blocks, start=1):
        for block in range(repeat):
            name = f"layer{layer}.{block}"
            stride = 2 if layer > 1 and block == 0 else 1
            first, second = (1, stride) if stride_on_3x3 else (stride, 1)
            out = F.relu(norm(F.conv2d(x, state[f"{name}.conv1.weight"], stride=first), f"{name}.bn1"))
            out = F.conv2d(out, state[f"{name}.conv2.weight"], stride=second, padding=1)
            out = F.relu(norm(out, f"{name}.bn2"))
            out = norm(F.conv2d(out, state[f"{name}.conv3.weight"]), f"{name}.bn3")
            if squeeze:
                gate = out.mean(dim=(2, 3))
                gate = F.relu(gate @ state[f"{name}.se.fc1.weight"].flatten(1).T + state[f"{name}.se.fc1.bias"])
                gate = gate @ state[f"{name}.se.fc2.weight"].flatten(1).T + state[f"{name}.se.fc2.bias"]
                out = out * torch.sigmoid(gate)[:, :, None, None]
            if block == 0 and x.shape != out.shape:
                x = norm(F.conv2d(x, state[f"{name}.downsample.0.weight"], stride=stride), f"{name}.downsample.1")
            x = F.relu(x + out)
    return x.mean(dim=(2, 3))


@pytest.mark.parametrize(
    ("name", "blocks", "size"),
    [
        ("se_resnet50", (3, 4, 6, 3), (224, 224)),
        ("se_resnet50", (3, 4, 6, 3), (96, 72)),
        ("resnet50", (3, 4, 6, 3), (64, 64)),
        ("se_resnet14", (1, 1, 1, 1), (65, 33)),
        ("resnet14", (1, 1, 1, 1), (32, 47)),
    ],
)
def test_backbones_equal_an_independent_implementation(name, blocks, size):
    backbone, state = randomised(models.build_backbone(name))
    images = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    squeeze = name.startswith("se_")
    with torch.no_grad():
        output = backbone(images)
        expected = reference(state, images, blocks, squeeze, stride_on_3x3=not squeeze, padded_pool=not squeeze)
    assert output.shape == (1, 2048 if name.endswith("50") else 512)
    assert output.std() > 0.01
    torch.testing.assert_close(output, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("stride", "pool"), [("conv1", "padded"), ("conv2", "ceil")])
def test_layout_is_what_the_network_computes(stride, pool):
    backbone, state = randomised(models.se_resnet14())
    assert models.get_layout(models.set_layout(backbone, stride, pool)) == {"stride": stride, "pool": pool}
    images = torch.randn(1, 3, 64, 48, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    with torch.no_grad():
        expected = reference(state, images, (1, 1, 1, 1), True, stride == "conv2", pool == "padded")
        torch.testing.assert_close(backbone(images), expected)


def test_input_convention_undoes_the_transforms_normalisation():
    convention = {"range": 255, "mean": [131.0912, 103.8827, 91.4953], "std": [1, 1, 1]}
    plain, native = models.resnet14().double().eval(), models.resnet14().double().eval()
    native.load_state_dict(plain.state_dict())
    models.set_input_convention(native, convention)
    pixels = torch.rand(1, 3, 32, 32, dtype=torch.float64)
    mean, std = (torch.tensor(models.IMAGENET_INPUT[key])[:, None, None] for key in ("mean", "std"))
    with torch.no_grad():
        expected = plain(255 * pixels - torch.tensor(convention["mean"])[:, None, None])
        torch.testing.assert_close(native((pixels - mean) / std), expected, rtol=1e-4, atol=1e-4)


def bottleneck_parameters(blocks, widths, squeeze):
    """Parameters of the backbone from Table 2 alone: convolutions without bias, two numbers a channel of batch norm."""
    total, channels = 7 * 7 * 3 * 64 + 2 * 64, 64
    for repeat, width in zip(blocks, widths, strict=True):
        for block in range(repeat):
            total += channels * width + 9 * width * width + width * 4 * width + 2 * (width + width + 4 * width)
            if block == 0 and channels != 4 * width:
                total += channels * 4 * width + 2 * 4 * width
            channels = 4 * width
            if squeeze:
                total += 2 * channels * (channels // 16) + channels + channels // 16
    return total


@pytest.mark.parametrize("name", architectures.OWN)
def test_parameter_counts(name):
    blocks = (3, 4, 6, 3) if name.endswith("50") else (1, 1, 1, 1)
    parameters = sum(p.numel() for p in models.build_backbone(name).parameters())
    widths = (64, 128, 256, 512) if name.endswith("50") else (16, 32, 64, 128)
    assert parameters == bottleneck_parameters(blocks, widths, name.startswith("se_"))
    if name == "se_resnet50":
        assert round(parameters / 1e6, 2) == 26.04


@pytest.mark.parametrize("size", [(32, 32), (48, 40)])
def test_network_returns_logits_and_features(size):
    model = models.FERNet("se_resnet14", embedding_dim=20, num_classes=5).eval()
    with torch.no_grad():
        logits, features = model(torch.randn(3, 3, *size))
        torch.testing.assert_close(model.output(features), logits)
    assert logits.shape == (3, 5)
    assert features.shape == (3, 20)


def test_embedding_options():
    images = torch.randn(6, 3, 32, 32)
    relu = models.FERNet("resnet14", embedding_activation="relu").eval()(images)[1]
    assert relu.min() == 0 < relu.max()
    normed = models.FERNet("resnet14", embedding_norm="batch")
    assert [name for name, _ in normed.embedding.named_parameters()] == ["linear.weight", "linear.bias"]
    features = normed(images)[1]
    torch.testing.assert_close(features.mean(0), torch.zeros(512), atol=1e-5, rtol=0)
    assert features.var(0, correction=0).mean().item() == pytest.approx(1, abs=0.05)


def train_step(model, optimiser, images):
    model.train()
    logits, _ = model(images)
    optimiser.zero_grad()
    F.cross_entropy(logits, torch.tensor([0, 1, 2])).backward()
    optimiser.step()


@pytest.mark.parametrize("n", [0, 3, 5])
def test_frozen_stages_stay_bit_identical_and_the_others_move(n):
    torch.manual_seed(0)
    model = models.freeze_stages(models.FERNet("se_resnet14"), n)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    # Weight decay would move a frozen weight that the optimiser holds.
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=0.1)
    for _ in range(2):
        train_step(model, optimiser, torch.randn(3, 3, 32, 32))
    prefixes = [("backbone.conv1", "backbone.bn1"), *((f"backbone.layer{i}",) for i in range(1, 5))]
    frozen = tuple(prefix for stage in prefixes[:n] for prefix in stage)
    for name, tensor in model.state_dict().items():
        constant = name.startswith((*frozen, "backbone.input."))
        assert torch.equal(tensor, before[name]) == constant, name


def test_frozen_stages_record_no_graph():
    model = models.freeze_stages(models.FERNet("se_resnet14"), 3).train()
    recorded = []
    for stage in model.stages():
        stage.blocks[-1].register_forward_hook(lambda module, args, out: recorded.append(out.grad_fn is not None))
    model(torch.randn(2, 3, 32, 32))
    assert recorded == [False, False, False, True, True]


def test_thawing_brings_stages_back():
    model = models.freeze_stages(models.FERNet("resnet14"), 4)
    models.freeze_stages(model, 1)
    layer = model.backbone.layer2[0]
    assert layer.conv1.weight.requires_grad
    assert layer.bn1.training
    assert not model.backbone.bn1.training
    assert not models.freeze_stages(model.eval(), 2).training
    models.freeze_stages(model.train(), 0)
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert all(module.training for module in model.modules())


@pytest.mark.parametrize("n", [-1, 6, 2.5, "3", None])
def test_a_wrong_number_of_stages_is_refused(n):
    with pytest.raises(InputError, match="from 0 to 5, which resnet14 has; found"):
        models.freeze_stages(models.FERNet("resnet14"), n)


def test_description_is_table_2():
    model = models.freeze_stages(models.FERNet("se_resnet50"), 3).train()
    description = models.describe(model, 224)
    assert json.loads(json.dumps(description)) == description
    stages = description.pop("stages")
    assert description == {
        "base": "se_resnet50",
        "architecture": "se_resnet50",
        "image_size": 224,
        "frozen_stages": 3,
        "embedding_dim": 512,
        "num_classes": 8,
    }
    assert [stage["name"] for stage in stages] == [*(f"stage {i}" for i in range(1, 6)), "embedding", "output"]
    assert [stage["output"] for stage in stages] == [
        [64, 112, 112],
        [256, 56, 56],
        [512, 28, 28],
        [1024, 14, 14],
        [2048, 7, 7],
        [512],
        [8],
    ]
    assert [stage["repeat"] for stage in stages] == [1, 3, 4, 6, 3, 1, 1]
    assert [stage["frozen"] for stage in stages] == [True] * 3 + [False] * 4
    parameters = [stage["parameters"] for stage in stages]
    assert sum(parameters[:5]) == bottleneck_parameters((3, 4, 6, 3), (64, 128, 256, 512), squeeze=True)
    assert parameters[0] == 9536
    assert parameters[5:] == [2048 * 512 + 512, 512 * 8 + 8]
    assert model.training
    assert not model.backbone.bn1.training


def test_description_of_small_and_oblong_images():
    description = models.describe(models.FERNet("resnet14"), (32, 48))
    assert description["base"] == "resnet50"
    assert [stage["output"] for stage in description["stages"][:2]] == [[64, 16, 24], [64, 8, 12]]
    assert not any("SE" in stage["modules"] for stage in description["stages"])
    with pytest.raises(InputError, match="at least 32 pixels; found 16"):
        models.describe(models.FERNet("resnet14"), 16)


def test_unknown_choices_are_refused():
    with pytest.raises(InputError, match="did you mean 'se_resnet50'"):
        models.build_backbone("se_resnet_50")
    with pytest.raises(InputError, match="unknown architecture"):
        models.FERNet("vgg")
    with pytest.raises(InputError, match="embedding_activation"):
        models.FERNet("resnet14", embedding_activation="gelu")
    with pytest.raises(InputError, match="embedding_norm"):
        models.FERNet("resnet14", embedding_norm="layer")
    with pytest.raises(InputError, match="num_features"):
        models.FERNet(torch.nn.Flatten())
    with pytest.raises(InputError, match="unknown pool"):
        models.set_layout(models.resnet14(), "conv1", "same")
