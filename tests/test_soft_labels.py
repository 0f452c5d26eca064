"""Soft targets against double loops written from their definition, against labels, and in a run on a tree like FER+."""

import shutil

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file

from fer_utils import losses, runs
from fer_utils.datasets import FaceDataset, read_ferplus
from fer_utils.datasets.votes import VOTE_COLUMNS, vote_shares
from fer_utils.errors import InputError
from fer_utils.run_parameters import LABELS_ALONE
from fer_utils.training import fit
from fer_utils.training.data import ExpressionData
from fer_utils.training.fitting import Interrupted
from fer_utils.training.preparing import prepare_manifest

REDUCTIONS = ("none", "sum", "mean", "weighted_mean")
TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5}
COUNTS = [40, 20, 10, 5]
TAKE_SOFT = [name for name in losses.LOSS_NAMES if name not in LABELS_ALONE]


def batch(seed=0, n=10, dim=6, classes=4, dtype=torch.float64):
    random = torch.Generator().manual_seed(seed)
    votes = torch.randint(4, (n, classes), generator=random).to(dtype)  # zeros among them
    votes[:, 1] += 1
    return {
        "logits": torch.randn(n, classes, generator=random, dtype=dtype),
        "features": torch.randn(n, dim, generator=random, dtype=dtype),
        "targets": votes / votes.sum(dim=1, keepdim=True),
        "centers": torch.randn(classes, dim, generator=random, dtype=dtype),
        "weights": torch.rand(classes, generator=random, dtype=dtype) + 0.1,
    }


def make(name, dtype=torch.float64, **options):
    options = {"center_init": "normal", "alpha": 0.7, "seed": 1, **options}
    return losses.make_loss(name, COUNTS, embedding_dim=6, **options).to(dtype)


# The definitions, term by term, in plain Python.


def squared_distance(a, b):
    return sum((float(p) - float(q)) ** 2 for p, q in zip(a, b, strict=True))


def separation(centers, j):
    return sum(squared_distance(centers[other], centers[j]) for other in range(len(centers)) if other != j)


def expectation(targets, value):
    return [sum(float(q) * value(i, c) for c, q in enumerate(row.tolist()) if q > 0) for i, row in enumerate(targets)]


def reduced(values, targets, weights, reduction):
    values = torch.tensor(values, dtype=torch.float64)
    mass = sum(float(q) * float(weights[c]) for row in targets for c, q in enumerate(row.tolist()))
    divisor = {"none": 1, "sum": 1, "mean": len(values), "weighted_mean": mass}[reduction]
    return (values if reduction == "none" else values.sum()) / divisor


@pytest.mark.parametrize("n", [10, 1])
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_losses_equal_their_definitions(dtype, reduction, n):
    logits, features, targets, centers, weights = batch(n=n, dtype=dtype).values()
    ones, probabilities = torch.ones(4), logits.double().exp() / logits.double().exp().sum(1, keepdim=True)
    computed = {
        "softmax": losses.weighted_softmax_loss(logits, targets, None, reduction),
        "weighted": losses.weighted_softmax_loss(logits, targets, weights, reduction),
        "center": losses.center_loss(features, targets, centers, reduction),
        "cluster": losses.weighted_cluster_loss(features, targets, centers, weights, 0.7, reduction),
    }

    def log_loss(i, c):
        return -float(probabilities[i, c].log())

    def half_distance(i, c):
        return 0.5 * squared_distance(features[i], centers[c])

    expected = {
        "softmax": (log_loss, ones),
        "weighted": (lambda i, c: float(weights[c]) * log_loss(i, c), weights),
        "center": (half_distance, ones),
        "cluster": (lambda i, c: float(weights[c]) * half_distance(i, c) / (separation(centers, c) + 0.7), weights),
    }
    for name, (value, divisor) in expected.items():
        assert computed[name].dtype == dtype
        torch.testing.assert_close(
            computed[name].double(),
            reduced(expectation(targets, value), targets, divisor, reduction),
            rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype],
        )  # fmt: skip


@pytest.mark.parametrize("name", TAKE_SOFT)
def test_every_loss_is_the_expectation_of_what_it_is_for_labels(name):
    b, loss = batch(), make(name, reduction="none")
    of_labels = torch.stack([loss(b["logits"], b["features"], torch.full((10,), c)) for c in range(4)], dim=1)  # (N, C)
    torch.testing.assert_close(
        loss(b["logits"], b["features"], b["targets"]), (b["targets"] * of_labels).sum(dim=1), rtol=1e-12, atol=1e-12
    )


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("name", TAKE_SOFT)
def test_all_weight_on_one_class_is_that_label(name, reduction):
    """Value, every gradient, and the centres after an update."""
    labels = torch.tensor([0, 1, 2, 3, 1, 1, 0, 2, 3, 1])
    found = []
    for targets in (labels, F.one_hot(labels).double()):
        b, loss = batch(), make(name, reduction=reduction, center_update="autograd")
        leaves = [b["logits"].requires_grad_(), b["features"].requires_grad_(), *loss.center_parameters()]
        value = loss(*leaves[:2], targets)
        gradients = torch.autograd.grad(value.sum(), leaves, allow_unused=True)
        moved = make(name, reduction=reduction)
        moved.update(b["features"], targets)
        found.append([value, *gradients, moved.centers])
    for of_labels, of_distributions in zip(*found, strict=True):
        if of_labels is None:
            assert of_distributions is None
        else:
            torch.testing.assert_close(of_distributions, of_labels, rtol=1e-13, atol=1e-13)


def test_mean_is_torchs_and_weighted_mean_is_not():
    b = batch()
    args = b["logits"], b["targets"], b["weights"]
    torchs = F.cross_entropy(*args)
    torch.testing.assert_close(losses.weighted_softmax_loss(*args, "mean"), torchs)
    mass = (b["targets"] @ b["weights"]).sum()
    torch.testing.assert_close(losses.weighted_softmax_loss(*args, "weighted_mean"), torchs * 10 / mass)


@pytest.mark.parametrize("reduction", ["none", "weighted_mean"])
def test_gradients_by_differences(reduction):
    b = batch(n=3, dim=3)
    logits, features, centers = (b[name].requires_grad_() for name in ("logits", "features", "centers"))
    targets, weights = b["targets"], b["weights"]
    for function, inputs in (
        (lambda z: losses.weighted_softmax_loss(z, targets, weights, reduction), (logits,)),
        (lambda x, c: losses.center_loss(x, targets, c, reduction), (features, centers)),
        (lambda x, c: losses.weighted_cluster_loss(x, targets, c, weights, 0.7, reduction), (features, centers)),
    ):
        assert torch.autograd.gradcheck(function, inputs)
        assert torch.autograd.gradgradcheck(function, inputs)


@pytest.mark.parametrize("n", [10, 1])
def test_updates_equal_their_definitions(n):
    b = batch(n=n)
    features, targets, centers, weights = b["features"], b["targets"], b["centers"], b["weights"]
    paper, wen = centers.clone(), centers.clone()
    for j in range(4):
        for x, q in zip(features, targets[:, j], strict=True):
            paper[j] += 0.3 * q * weights[j] * (x - centers[j]) / (separation(centers, j) + 0.7)
        wen[j] -= (
            0.3
            * sum(q * (centers[j] - x) for x, q in zip(features, targets[:, j], strict=True))
            / (1 + targets[:, j].sum())
        )
    torch.testing.assert_close(losses.update_centers(features, targets, centers, weights, 0.7, 0.3), paper)
    torch.testing.assert_close(losses.update_centers_wen(features, targets, centers, 0.3), wen)
    torch.testing.assert_close(losses.update_centers_island(features, targets, centers, 0.3, 0.0), wen)


@pytest.mark.parametrize("update", losses.CENTER_UPDATES)
def test_class_means_are_weighted_and_start_with_a_whole_image_of_every_class(update):
    options = {"embedding_dim": 1, "center_init": "class_means", "center_update": update}
    loss = losses.make_loss("weighted_cluster", [4, 2], **options)
    plain = losses.make_loss("weighted_softmax", [4, 2], embedding_dim=1)
    logits = torch.zeros(2, 2)

    first = torch.tensor([[1.0], [5.0]]), torch.tensor([[0.75, 0.25], [0.75, 0.25]], dtype=torch.float64)
    loss.update(*first)
    assert loss.centers.flatten().tolist() == [3, 3] and loss.centers.dtype == torch.float32
    assert loss(logits, *first) == plain(logits, *first)  # class 1 has had half an image
    second = torch.tensor([[9.0], [0.0]]), torch.tensor([[0.25, 0.75], [1.0, 0.0]])
    loss.update(*second)
    torch.testing.assert_close(loss.centers.flatten().detach(), torch.tensor([6.75 / 2.75, 8.25 / 1.25]))
    assert loss(logits, *second) > plain(logits, *second)


def test_nothing_cancels_far_from_the_origin():
    """Distances of 0.5 at 10,000, and distances between centres that are a thousandth of those to them."""
    targets = torch.tensor([[0.3, 0.7], [0.9, 0.1]])
    centers = torch.tensor([[1e4, 0.0], [1e4, 1.0]])
    far = centers + torch.tensor([0.5, 0.0]), targets, centers
    near = torch.tensor([[1.0, 2.0]]), torch.tensor([[0.25, 0.75]]), torch.tensor([[0.0, 0.0], [1e-3, 2e-3]])
    for x, q, c in (far, near):
        expected = expectation(q, lambda i, j, x=x, c=c: 0.5 * squared_distance(x[i], c[j]))
        computed = losses.center_loss(x, q, c, "none")
        torch.testing.assert_close(computed.double(), torch.tensor(expected, dtype=torch.float64), rtol=3e-7, atol=0)
    assert losses.center_loss(centers[:1], torch.tensor([[1.0, 0.0]]), centers) == 0


def test_extreme_logits_and_shares_of_zero():
    logits = torch.tensor([[100.0, -100.0, 0.0]], requires_grad=True)
    loss = losses.weighted_softmax_loss(logits, torch.tensor([[0.5, 0.0, 0.5]]), torch.ones(3))
    loss.backward()
    assert loss.item() == 50 and logits.grad.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", ["weighted_cluster", "island_softmax", "logit_adjusted"])
def test_half_precision_is_computed_in_float32(name, dtype):
    """Also under autocast, and also with targets in half precision, whose rounded shares need not add up to 1."""
    loss, b = make(name, torch.float32), batch(dtype=torch.float32)
    logits, features = b["logits"].to(dtype), b["features"].to(dtype)
    exact, plain = loss(logits.float(), features.float(), b["targets"]), make(name, torch.float32)
    plain.update(features.float(), b["targets"])
    with torch.autocast("cpu", dtype=dtype):
        value = loss(logits.requires_grad_(), features.requires_grad_(), b["targets"])
        rounded = loss(logits, features, b["targets"].to(dtype))
        loss.update(features, b["targets"])
    value.backward()
    assert value.dtype == rounded.dtype == torch.float32 and logits.grad.isfinite().all()
    torch.testing.assert_close(value, exact)
    torch.testing.assert_close(rounded, exact, rtol=2e-2, atol=0)
    if loss.centers is not None:
        torch.testing.assert_close(loss.centers, plain.centers)


def test_losses_of_labels_alone_say_so_and_who_takes_distributions():
    b = batch()
    for name in LABELS_ALONE:
        with pytest.raises(InputError, match="defined for labels alone; distributions are for") as error:
            make(name)(b["logits"], b["features"], b["targets"])
        message = str(error.value).partition("distributions are for")[2]
        assert "\n" not in message and not any(refusing in message for refusing in LABELS_ALONE)
        assert all(taking in message for taking in TAKE_SOFT if taking not in losses.PAPER_LOSSES)


def changed(row, values):
    targets = torch.full((10, 4), 0.25)
    targets[row] = torch.tensor(values)
    return targets


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (torch.full((10, 3), 1 / 3), r"targets of shape \(10, 4\), a distribution over the 4 classes.*found \(10, 3\)"),
        (torch.full((9, 4), 0.25), r"shape \(10, 4\).*found \(9, 4\)"),
        (torch.ones(10, 4, dtype=torch.int64), r"shape \(10,\), int64.*found \(10, 4\) of torch.int64"),
        (torch.ones(10, 4, 1), r"shape \(10,\), int64.*found \(10, 4, 1\)"),
        (changed(3, [0.5, 0.7, -0.2, 0.0]), r"found 1 of 10 rows .*the first row 3 \(smallest -0.2, sum 1\)"),
        (changed(7, [0.25, 0.25, 0.25, 0.2499]), r"the first row 7 \(smallest 0.2499, sum 0.9999\)"),
        (torch.full((10, 4), 2.0), r"found 10 of 10 rows .* sum 8\); divide votes by their sum"),
        (torch.zeros(10, 4), r"found 10 of 10 .* sum 0\)"),
        (changed(0, [float("nan"), 0.5, 0.5, 0.0]), "found 1 of 10 .*nan"),
    ],
)  # fmt: skip
def test_bad_targets_are_refused_in_one_line(targets, message):
    b = batch(dtype=torch.float32)
    for function, args in (
        (losses.weighted_softmax_loss, (b["logits"], targets)),
        (losses.logit_adjusted_loss, (b["logits"], targets, b["weights"])),
        (losses.center_loss, (b["features"], targets, b["centers"])),
        (losses.update_centers, (b["features"], targets, b["centers"], b["weights"])),
    ):
        with pytest.raises(InputError, match=message) as error:
            function(*args)
        assert "\n" not in str(error.value)


# Votes of a manifest, and runs on them.


def voted(rows, labels):
    manifest = pd.DataFrame(rows, columns=VOTE_COLUMNS).assign(label=labels, split="train")
    return manifest.assign(image=[f"{number}.png" for number in range(len(manifest))])


def test_shares_of_votes():
    manifest = voted([[6, 0, 3, 0, 0, 0, 0, 1], [0] * 8, [0, 0, 0, 0, 0, 0, 7, 0]], [0, 5, 6])
    shares = vote_shares(manifest)
    assert shares.dtype == np.float32
    np.testing.assert_allclose(shares[0], [0.6, 0, 0.3, 0, 0, 0, 0, 0.1], rtol=1e-6)
    np.testing.assert_array_equal(shares[1:], np.eye(8)[[5, 6]])  # without a vote: the label


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"votes_sad": [0, -1]}, r"votes ≥ 0 .*found \[0.0, 0.0, -1.0, .* in row 1 \(image 1.png\) and 0 more"),
        ({"votes_fear": [float("nan"), None]}, r"in row 0 \(image 0.png\) and 1 more"),
    ],
)
def test_bad_votes_are_refused_in_one_line(change, message):
    with pytest.raises(InputError, match=message) as error:
        vote_shares(voted([[0] * 8] * 2, [0, 0]).assign(**change))
    assert "\n" not in str(error.value)


FERPLUS_ORDER = (0, 1, 3, 2, 6, 5, 4, 7)  # our labels of FER+'s first eight vote columns
PARAMETERS = {
    "dataset": "ferplus", "data": "ferplus", "label_mode": "probability", "train_images": 0, "validation_images": 0,
    "test_images": 0, "image_size": 32, "architecture": "resnet14", "epochs": 2, "batch_size": 12, "threads": 1,
    "device": "cpu",
}  # fmt: skip


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """FER+'s layout with noise images, whose majority of seven or eight is divided by two or three other votes."""
    root, random, number = tmp_path_factory.mktemp("root"), np.random.default_rng(0), 0
    for name, per_class in (("FER2013Train", 3), ("FER2013Valid", 1), ("FER2013Test", 1)):
        folder = root / "ferplus" / "data" / name
        folder.mkdir(parents=True)
        lines = []
        for column in np.repeat(np.arange(8), per_class):
            votes = np.zeros(10, dtype=int)
            votes[[column, (column + 1) % 8, 8]] = 7, 2, number % 2  # "unknown" last
            Image.fromarray(random.integers(0, 256, (32, 32), dtype=np.uint8)).save(folder / f"fer{number}.png")
            lines.append(f'fer{number}.png,"(0, 0, 32, 32)",{",".join(map(str, votes))}')
            number += 1
        (folder / "label.csv").write_text("\n".join(lines) + "\n")
    return root


def test_distributions_train_and_labels_judge(root):
    params = runs.parameters(PARAMETERS)
    manifest = prepare_manifest(params, root)
    data = ExpressionData(manifest, params)
    images, targets = next(iter(data.train_dataloader()))
    assert targets.shape == (12, 8) and targets.dtype == torch.float32
    values = sorted({round(value, 4) for value in targets.unique().tolist()})
    assert values == [0, 0.2222, 0.7778]  # "unknown" is no expression
    for dataset in (data.validation, data.test):
        assert sorted(dataset.targets) == list(range(8))
    table = manifest[manifest["split"] == "train"]
    for label, row in zip(table["label"], vote_shares(table), strict=True):
        column = FERPLUS_ORDER.index(label)
        assert np.flatnonzero(row).tolist() == sorted([label, FERPLUS_ORDER[(column + 1) % 8]])
    assert all(isinstance(target, int) for target in ExpressionData(manifest, runs.parameters({
        **PARAMETERS, "label_mode": "majority"})).train.targets)  # fmt: skip


def test_a_run_on_votes_goes_on_to_the_same_numbers(root, tmp_path):
    shutil.copytree(root / "ferplus", tmp_path / "ferplus")
    whole = fit(PARAMETERS, root=root)

    def stop(_):
        raise KeyboardInterrupt

    with pytest.raises(Interrupted):
        fit(PARAMETERS, root=tmp_path, on_epoch=stop)
    resumed = fit(PARAMETERS, root=tmp_path)
    tensors, again = (load_file(run.path("best.safetensors")) for run in (whole, resumed))
    assert all(torch.equal(tensors[name], again[name]) for name in tensors)
    assert whole.path("centers.npy").read_bytes() == resumed.path("centers.npy").read_bytes()
    clocks = ["seconds", "input_wait"]
    histories = [pd.read_csv(run.path("history.csv")).drop(columns=clocks) for run in (whole, resumed)]
    pd.testing.assert_frame_equal(*histories, check_exact=True)
    assert np.isfinite(histories[0]["train_loss"]).all() and np.isfinite(histories[0]["center_offset"]).all()
    hard = fit({**PARAMETERS, "run": "hard", "label_mode": "majority", "epochs": 1}, root=root)
    assert pd.read_csv(hard.path("history.csv"))["train_loss"][0] != histories[0]["train_loss"][0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label_mode": "probabilities"}, "unknown label_mode 'probabilities'; did you mean 'probability'"),
        ({"loss": "focal"}, "loss='focal' is defined for labels alone.*label_mode='majority'"),
        ({"target": "subject"}, "target='subject' is defined for labels alone.*label_mode='majority'"),
    ],
)
def test_parameters_that_do_not_go_together(change, message):
    with pytest.raises(InputError, match=message) as error:
        runs.parameters({**PARAMETERS, **change})
    assert "\n" not in str(error.value)


def test_data_without_votes_are_refused_before_the_run_begins(tmp_path):
    with pytest.raises(InputError, match="votes_neutral … votes_contempt.*label_mode='majority'.*FER") as error:
        fit({**PARAMETERS, "dataset": "synthetic", "data": "", "train_images": 64, "validation_images": 8,
             "test_images": 8, "subjects": 12}, root=tmp_path)  # fmt: skip
    assert "\n" not in str(error.value)
    assert not (tmp_path / "runs/explore/first/params.yaml").exists()


def test_a_dataset_of_votes_numbers_the_expressions(root):
    dataset = FaceDataset(read_ferplus(root / "ferplus"), target="votes")
    assert len(dataset.classes) == 8 and dataset.targets.shape == (40, 8)
    np.testing.assert_allclose(dataset[0][1].sum(), 1, rtol=1e-6)
