"""Joint losses by name: sums of their terms, readings, centres over time, and what is refused."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from fer_utils import losses
from fer_utils.core import InputError, paper
from fer_utils.core.parameters import HARD_LABEL_LOSSES
from tests.losses.equations import (
    TABLE_3,
    assert_close,
    log_loss,
    make_batch,
    reduced,
    separation,
    squared_distance,
)

COUNTS = [40, 20, 10, 5]
LAMBDA = paper.RECIPE["lambda"]
WITH_CENTERS = [name for name in losses.LOSS_NAMES if name in LAMBDA or "island" in name]


def make(name, counts=COUNTS, dim=6, **options):
    return losses.make_loss(name, counts, dim, **{"center_init": "normal", "seed": 3, **options})


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("power", [1.0, 0.5, 0.0])
@pytest.mark.parametrize("reduction", losses.REDUCTIONS)
@pytest.mark.parametrize("name", paper.LOSSES)
def test_joint_loss_is_the_sum_of_its_equations(name, reduction, power, soft):
    """Under "balanced" both terms are divided by one constant, m · W̄."""
    logits, features, targets, _, _ = make_batch(soft=soft)
    loss = make(name, alpha=0.7, reduction=reduction, weight_power=power).double()
    ones, weights = torch.ones(4), torch.tensor([(5 / count) ** power for count in COUNTS])
    if "weighted" not in name:
        weights = ones
    if reduction == "balanced":
        reduction = sum(float(w) * n for w, n in zip(weights, COUNTS, strict=True)) / sum(COUNTS)
    expected = reduced(lambda i, j: log_loss(logits[i], j), targets, weights, reduction)

    def half_distance(i, j):
        return 0.5 * squared_distance(features[i], loss.centers[j])

    def cluster(i, j):
        return half_distance(i, j) / (separation(loss.centers, j) + 0.7)

    if "center" in name:
        expected = expected + 0.5 * reduced(half_distance, targets, ones, reduction)
    if "cluster" in name:
        expected = expected + reduced(cluster, targets, weights, reduction)
    assert_close(loss(logits, features, targets), expected, torch.float32)
    assert_close(loss.weights, weights, torch.float32)


@pytest.mark.parametrize(
    ("reduction", "expected"), [("balanced", 1), ("mean", 1), ("weighted_mean", 26_000 / 283_651)]
)
def test_lambda_is_the_printed_one(reduction, expected):
    """What λ is beside the softmax term, on a batch with the proportions of Table 3."""
    targets = torch.arange(8).repeat_interleave(torch.tensor(TABLE_3) // 50)
    logits = torch.zeros(len(targets), 8, requires_grad=True)
    features = torch.zeros(len(targets), 6, requires_grad=True)
    loss = make("center_weighted_softmax", TABLE_3, reduction=reduction)
    gradients = torch.autograd.grad(loss(logits, features, targets), (logits, features))
    last = -1  # an image of contempt, W = 1
    softmax = gradients[0][last] / (1 / 8 - F.one_hot(targets, 8)[last])
    center = gradients[1][last] / -loss.centers[7]
    assert (center[0] / softmax[0]).item() / 0.5 == pytest.approx(expected, rel=0.02)


def test_balanced_is_the_mean_without_weights():
    logits, features, targets, _, _ = make_batch()
    for name in ("softmax", "center_softmax", "focal", "logit_adjusted", "island_softmax"):
        values = [
            make(name, reduction=reduction)(logits, features, targets)
            for reduction in ("balanced", "mean")
        ]
        assert values[0] == values[1]
    for name in ("weighted_softmax", "class_balanced"):
        balanced, mean = make(name, reduction="balanced"), make(name, reduction="mean")
        ratio = mean(logits, features, targets) / balanced(logits, features, targets)
        assert ratio.item() == pytest.approx(losses.mean_weight(COUNTS, mean.weights))


@pytest.mark.parametrize("update", ["paper", "autograd"])
@pytest.mark.parametrize("name", LAMBDA)
def test_normalised_terms_do_not_depend_on_the_embeddings_scale(name, update):
    logits, features, targets, _, _ = make_batch(dtype=torch.float32)
    options = {"normalize_embedding": True, "center_init": "class_means", "center_update": update}
    one, other = make(name, **options), make(name, **options)
    for _ in range(3):
        value = one(logits, features, targets)
        assert_close(other(logits, 100 * features, targets), value, torch.float32)
        one.update(features, targets)
        other.update(100 * features, targets)
    assert_close(other.centers, one.centers, torch.float32)
    plain = make(name)
    plain.cluster.centers.data = one.centers.detach()
    assert_close(plain(logits, F.normalize(features), targets), value, torch.float32)
    assert one.centers.norm(dim=1).max() <= 1
    start = make(name, normalize_embedding=True)
    assert_close(start.centers.norm(dim=1), torch.ones(4), torch.float32)


def test_center_distance_is_that_of_center_loss():
    logits, features, targets, _, _ = make_batch(dtype=torch.float32)
    for name, factor in (("center_softmax", 2 / 6), ("weighted_cluster", 1)):
        plain, summed, mean = (
            make(name, **options)(logits, features, targets)
            for options in ({"cluster_weight": 0}, {}, {"center_distance": "mean"})
        )
        assert_close(mean - plain, factor * (summed - plain), torch.float32)


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("name", [n for n in losses.LOSS_NAMES if n not in HARD_LABEL_LOSSES])
def test_every_loss_is_the_expectation_of_what_it_is_for_labels(name, soft):
    logits, features, targets, _, _ = make_batch(soft=soft)
    loss = make(name, reduction="none").double()
    of_labels = [loss(logits, features, torch.full((12,), j)) for j in range(4)]
    q = targets if soft else F.one_hot(targets, 4)
    assert_close(loss(logits, features, targets), (q * torch.stack(of_labels, dim=1)).sum(dim=1))
    if not soft:  # a distribution with all its weight on one class is that label
        other = make(name).double()
        other.update(features, q.double())
        again = make(name).double()
        again.update(features, targets)
        assert loss.centers is None or torch.equal(other.centers, again.centers)


@pytest.mark.parametrize("name", losses.LOSS_NAMES)
def test_who_takes_distributions(name):
    loss, targets = make(name), torch.full((12, 4), 0.25)
    assert loss.takes_soft_targets == (name not in HARD_LABEL_LOSSES)
    logits, features, _, _, _ = make_batch()
    if not loss.takes_soft_targets:
        with pytest.raises(InputError, match=r"\(12,\) int64.*\(12, 4\)"):
            loss(logits, features, targets)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", losses.LOSS_NAMES)
def test_half_precision_is_computed_in_float32(name, dtype):
    logits, features, targets, _, _ = make_batch(dtype=torch.float32)
    logits, features = logits.to(dtype), features.to(dtype)
    loss, plain = make(name, normalize_embedding=True), make(name, normalize_embedding=True)
    exact = plain(logits.float(), features.float(), targets)
    plain.update(features.float(), targets)
    with torch.autocast("cpu", dtype=dtype):
        value = loss(logits.requires_grad_(), features.requires_grad_(), targets)
        loss.update(features, targets)
    value.backward()
    assert value.dtype == torch.float32 and logits.grad.isfinite().all()
    assert_close(value, exact, torch.float32)
    if loss.centers is not None:
        assert loss.centers.dtype == torch.float32
        assert_close(loss.centers, plain.centers, torch.float32)


@pytest.mark.parametrize("name", WITH_CENTERS)
def test_update_between_forward_and_backward_changes_no_gradient(name):
    gradients = []
    for update in (False, True):
        loss, (logits, features, targets, _, _) = make(name), make_batch(dtype=torch.float32)
        features.requires_grad_()
        value = loss(logits, features, targets)
        if update:
            before = loss.centers
            loss.update(features, targets)
            assert not torch.equal(loss.centers, before)
        value.backward()
        gradients.append(features.grad)
    assert torch.equal(*gradients)


@pytest.mark.parametrize("name", WITH_CENTERS)
def test_trained_centers_are_the_optimisers(name):
    logits, features, targets, _, _ = make_batch(dtype=torch.float32)
    loss = make(name, center_update="autograd")
    before = loss.centers.detach().clone()
    (centers,) = loss.center_parameters()
    loss(logits, features, targets).backward()
    loss.update(features, targets)
    assert torch.equal(loss.centers, before)
    torch.optim.SGD([centers], lr=0.1).step()
    assert_close(loss.centers, before - 0.1 * centers.grad, torch.float32)
    assert centers.grad.any()
    assert make(name).center_parameters() == make("softmax").center_parameters() == []


def test_normal_centers_come_from_their_seed_alone():
    before = torch.get_rng_state()
    same, again, other = (
        make("weighted_cluster", TABLE_3, 512, seed=seed).centers for seed in (1, 1, 2)
    )
    assert torch.equal(same, again) and not torch.equal(same, other)
    expected = torch.randn(8, 512, generator=torch.Generator().manual_seed(1))
    assert torch.equal(same, expected)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("update", ["paper", "autograd"])
def test_class_means_start_the_term_when_every_class_has_occurred(update):
    options = {"center_init": "class_means", "center_update": update}
    loss, plain = make("weighted_cluster", [4, 2, 2], 1, **options), make("softmax", [1, 1, 1], 1)
    plain.softmax.weights = loss.weights
    logits = torch.zeros(3, 3)

    first = torch.tensor([[1.0], [2.0], [3.0]]), torch.tensor([0, 0, 1])
    assert loss(logits, *first) == plain(logits, *first)  # no centre of class 2 yet
    loss.update(*first)
    restored = make("weighted_cluster", [4, 2, 2], 1, **options)
    restored.load_state_dict(loss.state_dict())  # a checkpoint in the middle of it

    second = torch.tensor([[6.0], [5.0], [9.0]]), torch.tensor([0, 1, 2])
    assert restored(logits, *second) == plain(logits, *second)
    restored.update(*second)
    assert restored.centers.flatten().tolist() == [3, 4, 9]  # means of 1 2 6, of 3 5, of 9
    assert restored(logits, *second) > plain(logits, *second)
    restored.update(*second)
    expected = torch.tensor([[3.0], [4.0], [9.0]])
    if update == "paper":
        expected = losses.update_centers(*second, expected, restored.weights)
    assert torch.equal(restored.centers, expected)


def test_class_means_of_distributions_wait_for_a_whole_image_of_every_class():
    loss = make("weighted_cluster", [4, 2], 1, center_init="class_means")
    first = torch.tensor([[1.0], [5.0]]), torch.tensor([[0.75, 0.25], [0.75, 0.25]])
    loss.update(*first)
    assert loss.centers.flatten().tolist() == [3, 3]
    assert loss.cluster(*first) == 0  # class 1 has had half an image
    second = torch.tensor([[9.0], [0.0]]), torch.tensor([[0.25, 0.75], [1.0, 0.0]])
    loss.update(*second)
    assert_close(loss.centers.flatten(), torch.tensor([6.75 / 2.75, 8.25 / 1.25]), torch.float32)
    assert loss.cluster(*second) > 0


@pytest.mark.parametrize("init", ["zeros", "normal", "class_means"])
@pytest.mark.parametrize("name", losses.LOSS_NAMES)
def test_state_round_trips_through_a_checkpoint(name, init):
    logits, features, targets, _, _ = make_batch(dtype=torch.float32)
    loss, other = make(name, center_init=init), make(name, [9] * 4, center_init=init, seed=5)
    loss.update(features, targets)
    state = loss.state_dict()
    assert set(state) <= {
        "softmax.weights", "softmax.counts", "softmax.margins",
        "cluster.weights", "cluster.centers", "cluster.samples_seen",
    }  # fmt: skip
    other.load_state_dict(state)
    for _ in range(2):
        assert torch.equal(
            other(logits, features, targets.clone()), loss(logits, features, targets)
        )
        loss.update(features, targets)
        other.update(features, targets)


def test_modules_are_twins_of_the_functions():
    logits, features, targets, _, weights = make_batch(dtype=torch.float32)
    twin = losses.WeightedSoftmaxLoss(weights, "weighted_mean")
    expected = losses.weighted_softmax_loss(logits, targets, weights, "weighted_mean")
    assert torch.equal(twin(logits, targets), expected)
    assert losses.WeightedSoftmaxLoss()(logits, targets) == F.cross_entropy(logits, targets)
    twin = losses.CenterLoss(4, 6, per_dimension=True, reduction="sum", gamma=0.5)
    before = twin.centers
    expected = losses.center_loss(features, targets, before, "sum", per_dimension=True)
    assert torch.equal(twin(features, targets), expected)
    twin.update(features, targets)
    moved = losses.update_centers_wen(features, targets, before, 0.5)
    assert torch.equal(twin.centers, moved)
    twin = losses.WeightedClusterLoss(weights, 6, alpha=0.7, reduction=0.3)
    expected = losses.weighted_cluster_loss(features, targets, twin.centers, weights, 0.7, 0.3)
    assert torch.equal(twin(features, targets), expected)


@pytest.mark.parametrize("reduction", ["mean", "weighted_mean", "balanced"])
def test_ldam_changes_its_weights_when_the_time_has_come(reduction):
    logits, features, targets, _, _ = make_batch(dtype=torch.float32)
    loss = make("ldam_drw", reduction=reduction, drw_start=0.5, beta=0.9, max_margin=0.4, scale=20)
    margins = 0.4 * losses.class_weights(COUNTS, power=0.25)
    for progress, weights in (
        (0.4, torch.ones(4)),
        (0.5, losses.effective_number_weights(COUNTS, 0.9)),
        (0.0, torch.ones(4)),
    ):
        loss.set_progress(progress)
        assert torch.equal(loss.weights, weights)
        reading = losses.mean_weight(COUNTS, weights) if reduction == "balanced" else reduction
        options = {"weights": weights, "reduction": reading}
        expected = losses.ldam_loss(logits, targets, margins, 20, **options)
        assert_close(loss(logits, features, targets), expected, torch.float32)


def test_options_reach_their_baselines():
    logits, features, targets, _, _ = make_batch(dtype=torch.float32)
    counts = torch.tensor(COUNTS).float()
    batch = logits, targets
    for name, options, expected in (
        ("focal", {"focal_gamma": 3}, losses.focal_loss(*batch, 3)),
        ("logit_adjusted", {"tau": 0.4}, losses.logit_adjusted_loss(*batch, counts, 0.4)),
        ("balanced_softmax", {}, losses.logit_adjusted_loss(*batch, counts, 1.0)),
        ("arcface", {"angular_margin": 0.2, "scale": 15}, losses.arcface_loss(*batch, 0.2, 15)),
    ):
        assert torch.equal(make(name, **options)(logits, features, targets), expected)
    loss = make("class_balanced", beta=0.9)
    assert torch.equal(loss.weights, losses.effective_number_weights(COUNTS, 0.9))
    loss = make("island_softmax", island_weight=0.3)
    island = losses.island_loss(features, targets, loss.centers, 0.3)
    expected = losses.weighted_softmax_loss(*batch) + 0.01 * island
    assert_close(loss(logits, features, targets), expected, torch.float32)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"name": "weighted_clutser"}, ["'weighted_cluster'"]),
        ({"reduction": "average"}, ["reduction", "'average'"]),
        ({"reduction": 0.5}, ["reduction", "0.5"]),
        ({"center_init": "zero"}, ["center_init", "'zeros'"]),
        ({"center_update": "auto"}, ["center_update", "'auto'"]),
        ({"center_distance": "average"}, ["center_distance", "'average'"]),
        ({"cluster_weight": -1}, ["cluster_weight", "-1"]),
        ({"alpha": 0}, ["alpha", "0"]),
        ({"weight_power": -1}, ["power", "-1"]),
        ({"tau": 1.0}, ["weighted_cluster", "'tau'"]),
        ({"name": "focal", "focal_gama": 1.0}, ["focal", "'focal_gamma'"]),
        ({"name": "focal", "focal_gamma": -1.0}, ["focal_gamma", "-1"]),
        ({"name": "logit_adjusted", "tau": -1.0}, ["tau", "-1"]),
        ({"name": "ldam_drw", "drw_start": 1.5}, ["drw_start", "1.5"]),
        ({"name": "ldam_drw", "max_margin": -0.5}, ["margins", "-0.5"]),
        ({"name": "ldam_drw", "scale": 0}, ["scale", "0"]),
        ({"name": "arcface", "angular_margin": 2}, ["angular_margin", "2"]),
        ({"name": "island_softmax", "island_weight": -1}, ["island_weight", "-1"]),
        ({"name": "class_balanced", "beta": 1}, ["beta", "1"]),
        ({"counts": [5, 0]}, ["counts", "0.0"]),
    ],
)
def test_bad_choices_and_constants_are_refused_at_once(options, words):
    """When the loss is made, and not in the first batch."""
    with pytest.raises(InputError) as error:
        losses.make_loss(
            **{"name": "weighted_cluster", "counts": TABLE_3, "embedding_dim": 4} | options
        )
    assert "\n" not in str(error.value)
    assert all(word in str(error.value) for word in words)


def test_the_table_of_losses_names_them_all():
    table = (Path(losses.__file__).parent / "README.md").read_text(encoding="utf-8")
    for name in losses.LOSS_NAMES:
        assert f"| `{name}` |" in table, name
