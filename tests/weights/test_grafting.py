"""A grafted SE-ResNet against the ResNet it was made from."""

import pytest
import torch

from fer_utils import models, weights
from fer_utils.__main__ import main
from fer_utils.errors import InputError


@pytest.fixture
def resnet(tmp_path):
    torch.manual_seed(3)
    network = models.FERNet("resnet14").eval()
    models.set_layout(network.backbone, stride="conv1", pool="padded")  # neither is the SE-ResNet's own
    for module in network.modules():  # batch norms that do something
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias)
            torch.nn.init.uniform_(module.running_var, 0.5, 2)
    return network, weights.save_weights(network, tmp_path / "resnet14.safetensors")


def test_the_grafted_network_computes_the_same(resnet, tmp_path):
    network, path = resnet
    target = weights.graft_gates(path, tmp_path / "se.safetensors", "se_resnet14")
    gated = models.FERNet("se_resnet14").eval()
    report = weights.load_pretrained(gated.backbone, target)
    assert report["layout"] == {"stride": "conv1", "pool": "padded"}
    images = torch.randn(2, 3, 40, 36)
    with torch.no_grad():
        torch.testing.assert_close(gated.backbone(images), network.backbone(images), rtol=1e-6, atol=1e-6)


def test_the_gates_of_a_grafted_network_learn(resnet, tmp_path):
    gated = models.FERNet("se_resnet14")
    weights.load_pretrained(gated.backbone, weights.graft_gates(resnet[1], tmp_path / "se.safetensors", "se_resnet14"))
    gated(torch.randn(4, 3, 40, 40))[0].square().sum().backward()
    gates = [p.grad for name, p in gated.named_parameters() if ".se.fc2.weight" in name]
    assert len(gates) == 4 and all(grad.abs().max() > 0 for grad in gates)


def test_what_cannot_be_grafted(resnet, tmp_path):
    with pytest.raises(InputError, match="expected .*se_resnet50|unknown architecture"):
        weights.graft_gates(resnet[1], tmp_path / "x.safetensors", "resnet50")
    with pytest.raises(InputError, match="expected"):
        weights.graft_gates(resnet[1], tmp_path / "x.safetensors", "se_resnet50")  # the file is a resnet14
    assert not (tmp_path / "x.safetensors").exists()


def test_the_command_line_names_what_it_wants(resnet, tmp_path, capsys):
    assert main(["graft", str(resnet[1]), str(tmp_path / "se.pth")]) == 2
    assert "expected a .safetensors file" in capsys.readouterr().err
    assert main(["graft", str(tmp_path / "none"), str(tmp_path / "se.safetensors")]) == 2
    assert "none" in capsys.readouterr().err
