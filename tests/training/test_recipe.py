"""Parts of a recipe beyond the paper's: schedule, warm-up, averaged weights, mirror images, scaling with the batch."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from fer_utils import models, runs
from fer_utils.datasets import read_manifest
from fer_utils.errors import InputError
from fer_utils.expressions import EXPRESSIONS
from fer_utils.training import fit, prepare_manifest
from fer_utils.training.averaging import WeightAverage
from fer_utils.training.data import ExpressionData
from fer_utils.training.fitting import Interrupted
from fer_utils.training.preparing import pack_if_asked
from fer_utils.training.schedule import first_rate, rate_factor
from fer_utils.weights import load_weights

TINY = {
    "train_images": 64, "validation_images": 16, "test_images": 16, "image_size": 32, "subjects": 12, "epochs": 2,
    "batch_size": 16, "threads": 1, "difficulty": 0.0, "device": "cpu", "packed": True,
}  # fmt: skip
BEYOND = {
    "schedule": "cosine", "warmup_epochs": 0.5, "weight_average": 0.9, "augmentation": "strong", "flip_test": True,
    "batch_scaling": True,
}  # fmt: skip


def tiny(**changes):
    return runs.parameters({**TINY, **changes})


@pytest.fixture(scope="module")
def beyond(tmp_path_factory):
    return fit(tiny(**BEYOND), root=tmp_path_factory.mktemp("beyond"))


@pytest.mark.parametrize("warmup", [0.0, 1.0, 2.5])
def test_a_cosine_falls_from_one_to_nothing_after_its_warm_up(warmup):
    params, steps = tiny(schedule="cosine", epochs=8, warmup_epochs=warmup), 10
    factors = [rate_factor(params, step, steps) for step in range(80)]
    first = int(warmup * steps)
    np.testing.assert_allclose(factors[:first], np.arange(1, first + 1) / max(first, 1))
    through = np.arange(80 - first) / (80 - first)
    np.testing.assert_allclose(factors[first:], np.cos(through * math.pi / 2) ** 2, atol=1e-12)


def test_halving_is_the_papers_with_and_without_steps():
    params = tiny(epochs=25, halve_every=10)
    assert [rate_factor(params, epoch, 1) for epoch in (0, 9, 10, 19, 20, 24)] == [1, 1, 0.5, 0.5, 0.25, 0.25]
    warm = tiny(epochs=25, halve_every=10, warmup_epochs=1.0)
    assert [rate_factor(warm, step, 4) for step in (0, 1, 3, 4, 39, 40, 80)] == [0.25, 0.5, 1, 1, 1, 0.5, 0.25]


def test_the_rate_is_scaled_with_the_images_of_a_step():
    assert first_rate(tiny(batch_size=90, accumulate=2, learning_rate=0.02)) == 0.02
    assert first_rate(tiny(batch_size=90, accumulate=2, learning_rate=0.02, batch_scaling=True)) == pytest.approx(0.12)
    assert first_rate(tiny(weights="imagenet", batch_size=144, batch_scaling=True)) == pytest.approx(0.004)


def test_averaged_weights_are_those_of_three_steps_by_hand():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    network[0].bias.requires_grad_(False)
    average = WeightAverage(network, decay=0.15)
    by_hand = {name: tensor.double() for name, tensor in network.state_dict().items()}
    optimiser = torch.optim.SGD([weight for weight in network.parameters() if weight.requires_grad], lr=0.1)
    for step, decay in enumerate([1 / 10, 0.15, 0.15]):  # 2/11 and 3/12 are more than 0.15
        optimiser.zero_grad()
        network(torch.randn(8, 3)).square().sum().backward()
        optimiser.step()
        average.update(network, step)
        for name, tensor in network.state_dict().items():
            by_hand[name] = decay * by_hand[name] + (1 - decay) * tensor.double()
    for name, tensor in average.network.state_dict().items():
        if name == "1.num_batches_tracked":
            assert tensor == 3
        else:
            torch.testing.assert_close(tensor.double(), by_hand[name], msg=name)
    assert torch.equal(average.network[0].bias, network[0].bias)
    assert not any(weight.requires_grad for weight in average.network.parameters())


def test_frozen_stages_stay_folded_in_the_average():
    network = models.freeze_stages(models.FERNet("resnet14"), 3).eval()
    average = WeightAverage(network, 0.9).network
    images = torch.randn(2, 3, 32, 32)
    assert all(map(torch.equal, network(images), average(images)))
    average.backbone.bn1.running_mean.add_(1.0)
    assert not torch.equal(network(images)[0], average(images)[0])  # the copy's convolutions look at the copy's norms


def test_what_is_kept_and_tested_is_the_average(beyond):
    checkpoint = torch.load(beyond.path("last.ckpt"), weights_only=True)["state_dict"]
    kept = load_file(beyond.path("best.safetensors"))
    history = pd.read_csv(beyond.path("history.csv"))
    assert beyond.read_json("metrics.json")["best_epoch"] == history["epoch"][history["validation_f1"].idxmax()]
    if beyond.read_json("metrics.json")["best_epoch"] == 2:
        assert all(torch.equal(kept[name], checkpoint[f"average.network.{name}"]) for name in kept)
    trained = [name for name in kept if name.endswith("weight")]
    assert not any(torch.equal(kept[name], checkpoint[f"network.{name}"]) for name in trained)


def test_predictions_are_the_mean_of_an_image_and_its_mirror_image(beyond):
    params = beyond.resolved
    manifest = pack_if_asked(read_manifest(beyond.path("manifest.parquet")), params, beyond.root)
    network = models.FERNet(params.architecture)
    load_weights(network, beyond.path("best.safetensors"))
    with torch.no_grad():
        (batch,) = ExpressionData(manifest, params).predict_dataloader()
        network.eval()
        both = [network(images)[0].softmax(1) for images in (batch[0], batch[0].flip(-1))]
    assert not torch.allclose(*both, atol=1e-4)
    written = pd.read_parquet(beyond.path("predictions.parquet"))[[f"p_{name}" for name in EXPRESSIONS]]
    np.testing.assert_allclose(written, torch.stack(both).mean(0), atol=1e-6)


def test_rates_of_a_run_are_those_of_the_schedule(beyond):
    rates = pd.read_csv(beyond.path("history.csv"))["learning_rate"]
    first = 0.01 * 16 / 30
    expected = [first * 0.5, first * (1 + math.cos(math.pi * 2 / 6)) / 2]  # 4 steps an epoch, 2 of them to warm up
    np.testing.assert_allclose(rates, expected)


def test_an_interrupted_run_goes_on_to_the_same_numbers(beyond, tmp_path):
    def stop(_):
        raise KeyboardInterrupt

    with pytest.raises(Interrupted):
        fit(tiny(**BEYOND), root=tmp_path, on_epoch=stop)
    resumed = fit(tiny(**BEYOND), root=tmp_path)
    first, second = (torch.load(run.path("last.ckpt"), weights_only=True)["state_dict"] for run in (beyond, resumed))
    assert first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)
    pd.testing.assert_frame_equal(*(pd.read_parquet(run.path("predictions.parquet")) for run in (beyond, resumed)))


def test_strong_augmentation_reaches_training_alone(tmp_path):
    params = tiny(augmentation="strong", batch_size=64)
    manifest = pack_if_asked(prepare_manifest(params, tmp_path), params, tmp_path)
    for packed in (True, False):
        manifest = manifest if packed else prepare_manifest(params, tmp_path)
        strong, plain = (ExpressionData(manifest, p) for p in (params, tiny(batch_size=64)))
        ((changed, labels),), ((images, same),) = strong.train_dataloader(), plain.train_dataloader()
        assert torch.equal(labels, same) and changed.shape == images.shape
        assert (changed != images).flatten(1).any(dim=1).all()
        assert 15 < (changed == 0).flatten(1).sum(dim=1).gt(0.01 * 3 * 32 * 32).sum() < 50  # about half are erased
        ((untouched, _),), ((expected, _),) = strong.val_dataloader(), plain.val_dataloader()
        assert torch.equal(untouched, expected)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schedule": "cosin"}, "did you mean 'cosine'"),
        ({"warmup_epochs": 2}, "'warmup_epochs' must be fewer than epochs (2), got 2.0"),
        ({"warmup_epochs": -1}, "'warmup_epochs' must be at least 0, got -1.0"),
        ({"weight_average": 1}, "'weight_average' must lie in [0, 1), got 1.0"),
        ({"augmentation": "stron"}, "did you mean 'strong'"),
        ({"flip_test": 1}, "parameter 'flip_test' must be bool, got 1"),
        ({"batch_scaling": True, "reduction": "sum"}, "grows with the batch by itself; leave batch_scaling out"),
    ],
    ids=lambda value: "" if isinstance(value, str) else "-".join(value),
)
def test_bad_parameters_are_one_clear_line(changes, message):
    with pytest.raises(InputError) as error:
        tiny(**changes)
    assert message in str(error.value) and "\n" not in str(error.value)
