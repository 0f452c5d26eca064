"""Backbones, the network, freezing, description, export."""

import json

import numpy as np
import onnxruntime
import pytest
import torch
from torchvision.ops import SqueezeExcitation

from fer_utils import models
from fer_utils.core import OWN_ARCHITECTURES, InputError, Run, parameters
from fer_utils.models.fernet import _FoldedConv2d


def size(module):
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(("name", "count"), [("se_resnet50", 26_039_024), ("resnet50", 23_508_032)])
def test_the_papers_networks_have_their_published_size(name, count):
    assert size(models.build_backbone(name)) == count


@pytest.mark.parametrize("name", ["small_resnet", "small_se_resnet"])
def test_small_networks_are_small_and_see_48_pixels_whole(name):
    network = models.FERNet(name, embedding_dim=128)
    assert size(network) <= 480_000
    about = models.describe(network, 48)
    assert about["stages"][0]["output"] == [32, 24, 24]
    assert about["base"] == name.replace("small_", "").replace("resnet", "resnet50")


def test_the_small_networks_differ_in_squeeze_and_excitation_alone():
    plain = {name: t.shape for name, t in models.small_resnet().state_dict().items()}
    gated = {name: t.shape for name, t in models.small_se_resnet().state_dict().items()}
    assert {name: shape for name, shape in gated.items() if ".se." not in name} == plain


def test_the_small_networks_see_grey():
    """Red, green and blue of one brightness are one picture to them."""
    torch.manual_seed(0)
    network = models.small_resnet().eval()
    mean, std = (torch.tensor(models.IMAGENET_INPUT[k]).view(3, 1, 1) for k in ("mean", "std"))
    pixels = torch.rand(1, 3, 48, 48)
    grey = pixels.mean(1, keepdim=True).expand_as(pixels)
    both = [network((each - mean) / std) for each in (pixels, grey)]
    torch.testing.assert_close(*both)


@pytest.mark.parametrize("name", [*OWN_ARCHITECTURES, "resnet18", "mobilenet_v3_small", "vit_b_16"])
def test_every_network_gives_logits_and_features(name):
    network = models.FERNet(models.build_backbone(name, 64), embedding_dim=16).eval()
    with torch.inference_mode():
        logits, features = network(torch.zeros(2, 3, 64, 64))
    assert logits.shape == (2, 8) and features.shape == (2, 16)
    assert len(models.describe(network, 64)["stages"]) == len(network.stages()) + 2


@pytest.mark.parametrize(("name", "said"), [("resnet5", "resnet50"), ("vgg16", "vgg16")])
def test_an_unknown_network_is_refused(name, said):
    with pytest.raises(InputError, match=said):
        models.build_backbone(name)


def test_an_image_size_that_does_not_fit_is_refused():
    with pytest.raises(InputError, match="224"):
        models.build_backbone("vit_b_16", 50)
    with pytest.raises(InputError, match="31"):
        models.describe(models.FERNet("resnet14"), 31)


@pytest.mark.parametrize("options", [{"classifier": "dense"}, {"embedding_norm": "layer"},
                                     {"embedding_activation": "gelu"}])  # fmt: skip
def test_unknown_options_are_refused(options):
    with pytest.raises(InputError, match=next(iter(options.values()))):
        models.FERNet("resnet14", **options)


def test_a_module_that_is_no_backbone_is_refused():
    with pytest.raises(InputError, match="num_features"):
        models.FERNet(torch.nn.Linear(2, 2))


def test_embedding_and_classifier_choices():
    network = models.FERNet("resnet14", 16, embedding_norm="batch", embedding_activation="relu",
                            classifier="cosine", logit_scale=10.0)  # fmt: skip
    logits, features = network(torch.randn(4, 3, 32, 32))
    assert (features >= 0).all() and logits.abs().max() <= 10.001
    cosines = torch.nn.functional.cosine_similarity(features[:, None], network.output.weight, dim=2)
    torch.testing.assert_close(logits, 10 * cosines)


@pytest.mark.parametrize("name", ["resnet14", "small_se_resnet"])
@pytest.mark.parametrize("frozen", [0, 2, 4])
def test_frozen_stages_stay_and_the_others_learn(name, frozen):
    torch.manual_seed(0)
    network = models.freeze_stages(models.FERNet(name, 16), frozen).train()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in network.parameters() if p.requires_grad], lr=0.1)
    network(torch.randn(4, 3, 48, 48))[0].square().sum().backward()
    optimizer.step()
    stages = network.stages()
    parts = {id(p): n for n, stage in enumerate(stages, 1) for p in stage.parameters()}
    for key, parameter in network.named_parameters():
        moved = not torch.equal(before[key], parameter)
        assert moved == (parts.get(id(parameter), 9) > frozen), key
    norms = network.state_dict()
    moved = not torch.equal(before["backbone.bn1.running_mean"], norms["backbone.bn1.running_mean"])
    assert moved == (frozen == 0)


def test_folded_batch_norms_compute_the_same_and_names_stay():
    torch.manual_seed(0)
    network = models.FERNet("resnet14", 16)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 2)
            module.running_mean.uniform_(-1, 1)
            module.running_var.uniform_(0.5, 2)
    images, names = torch.randn(2, 3, 64, 64), list(network.state_dict())
    want = network.eval()(images)[0]
    models.freeze_stages(network, 3)
    assert sum(isinstance(m, _FoldedConv2d) for m in network.modules()) > 5
    torch.testing.assert_close(network(images)[0], want, atol=1e-4, rtol=1e-4)
    with models.unfolded(network):
        torch.testing.assert_close(network(images)[0], want)
    assert list(network.state_dict()) == names
    models.freeze_stages(network, 0)
    assert not any(isinstance(m, _FoldedConv2d) for m in network.modules())


@pytest.mark.parametrize("n", [-1, 6, 1.5])
def test_a_wrong_number_of_stages_is_refused(n):
    with pytest.raises(InputError, match=str(n)):
        models.freeze_stages(models.FERNet("resnet14"), n)


def test_squeeze_pools_are_global():
    network = models.se_resnet14()
    pools = [m.avgpool for m in network.modules() if isinstance(m, SqueezeExcitation)]
    assert pools and all(pool.output_size == 1 for pool in pools)
    assert network.eval()(torch.zeros(1, 3, 64, 96)).shape == (1, 512)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run without training: random weights."""
    torch.manual_seed(0)
    run = Run("explore", "first", tmp_path_factory.mktemp("checkout"))
    params = parameters({"architecture": "small_se_resnet", "embedding_dim": 16, "image_size": 32})
    run.folder.mkdir(parents=True)
    run.start(params)
    network = models.FERNet("small_se_resnet", 16).eval()
    run.write_json("architecture.json", models.describe(network, 32))
    models.save_weights(network, run.path("best.safetensors"))
    run.write_json("metrics.json", {"accuracy": 0.5, "auc": float("nan")})
    return run


@pytest.mark.parametrize("format", models.EXPORT_FORMATS)
def test_exported_files_compute_the_same(run, tmp_path, format):
    path = models.export(run, format, tmp_path)
    network, images = models.load_network(run), torch.randn(3, 3, 32, 32)
    want = [output.numpy() for output in network(images)]
    if format == "onnx":
        session = onnxruntime.InferenceSession(path)
        found = session.run(["logits", "features"], {"images": images.numpy()})
        about = models.read_metadata(path)
        assert about["classes"][7] == "contempt" and about["metrics"]["auc"] is None
        assert str(tmp_path) not in json.dumps(about)
    else:
        copy = models.FERNet("small_se_resnet", 16).eval().requires_grad_(False)
        models.load_weights(copy, path)
        found = [output.numpy() for output in copy(images)]
    for one, two in zip(found, want, strict=True):
        np.testing.assert_allclose(one, two, atol=1e-4)


def test_what_cannot_be_exported_is_refused(run, tmp_path):
    with pytest.raises(InputError, match="onnx"):
        models.export(run, "onxx")
    with pytest.raises(InputError, match="pt2"):
        models.export(run, "pt2")
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="written"):
        models.export(run, "safetensors", tmp_path / "file")
    with pytest.raises(InputError, match="explore/second"):
        models.export(Run("explore", "second", run.root))


def test_a_file_of_strangers_is_no_export(tmp_path):
    (tmp_path / "x.onnx").write_bytes(b"not onnx")
    with pytest.raises(InputError, match="x.onnx"):
        models.read_metadata(tmp_path / "x.onnx")
