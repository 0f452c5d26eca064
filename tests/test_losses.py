"""Losses against double loops written from the paper's equations, against torch, and against their laws."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from fer_utils import losses
from fer_utils.errors import InputError

TABLE_3 = [74374, 133915, 24959, 13590, 5878, 3303, 24382, 3250]
REDUCTIONS = ("none", "sum", "mean", "weighted_mean")
TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 3e-2, torch.float16: 5e-3}


def batch(seed=0, n=12, dim=6, classes=4, dtype=torch.float64):
    random = torch.Generator().manual_seed(seed)
    return {
        "logits": torch.randn(n, classes, generator=random, dtype=dtype),
        "features": torch.randn(n, dim, generator=random, dtype=dtype),
        "targets": torch.randint(classes, (n,), generator=random),
        "centers": torch.randn(classes, dim, generator=random, dtype=dtype),
        "weights": torch.rand(classes, generator=random, dtype=dtype) + 0.1,
    }


# The equations, term by term, in plain Python.


def squared_distance(a, b):
    return sum((float(p) - float(q)) ** 2 for p, q in zip(a, b, strict=True))


def separation(centers, j):
    return sum(squared_distance(centers[other], centers[j]) for other in range(len(centers)) if other != j)


def equation_1(logits, targets, weights):
    return [
        -float(weights[y]) * float(torch.log(torch.exp(row)[y] / torch.exp(row).sum()))
        for row, y in zip(logits, targets.tolist(), strict=True)
    ]


def equation_2(features, targets, centers):
    return [0.5 * squared_distance(x, centers[y]) for x, y in zip(features, targets.tolist(), strict=True)]


def equation_4(features, targets, centers, weights, alpha):
    return [
        0.5 * float(weights[y]) * squared_distance(x, centers[y]) / (separation(centers, y) + alpha)
        for x, y in zip(features, targets.tolist(), strict=True)
    ]


def equation_9(features, targets, centers, weights, alpha, gamma, sign=1):
    new = centers.clone()
    for j in range(len(centers)):
        for x, y in zip(features, targets.tolist(), strict=True):
            if y == j:
                new[j] += sign * gamma * weights[y] * (x - centers[j]) / (separation(centers, j) + alpha)
    return new


def reduced(values, targets, weights, reduction):
    values = torch.tensor(values, dtype=torch.float64)
    divisor = {"none": 1, "sum": 1, "mean": len(values), "weighted_mean": sum(float(weights[y]) for y in targets)}
    return (values if reduction == "none" else values.sum()) / divisor[reduction]


def test_class_weights_of_table_3():
    weights = losses.class_weights(TABLE_3)
    assert weights.dtype == torch.float32
    assert weights[7] == 1  # contempt is the smallest class, not disgust
    assert weights[1].item() == pytest.approx(3250 / 133915)


@pytest.mark.parametrize("counts", [torch.tensor(TABLE_3), torch.tensor(TABLE_3).numpy(), tuple(TABLE_3)])
def test_class_weights_take_any_vector(counts):
    assert torch.equal(losses.class_weights(counts), losses.class_weights(TABLE_3))


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ([5, 5, 5, 5, 5, 0, 5, 5], r"found 0 for 'disgust' \(class 5\)"),
        ([5, -2, 5], "found -2 for class 1"),
        ([5, float("nan")], "found nan for class 1"),
        ([5, float("inf")], "found inf for class 1"),
        ([[1, 2]], r"found \(1, 2\)"),
        ([3], r"found \(1,\)"),
    ],
)
def test_class_weights_refuse(counts, message):
    with pytest.raises(InputError, match=message):
        losses.class_weights(counts)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_losses_equal_the_equations(reduction, dtype):
    b = batch(dtype=dtype)
    close = {"rtol": TOLERANCE[dtype], "atol": TOLERANCE[dtype], "check_dtype": False}
    logits, features, targets, centers, weights = b.values()
    ones = torch.ones(4)
    for computed, expected in (
        (
            losses.weighted_softmax_loss(logits, targets, weights, reduction),
            reduced(equation_1(logits.double(), targets, weights), targets, weights, reduction),
        ),
        (
            losses.weighted_softmax_loss(logits, targets, reduction=reduction),
            reduced(equation_1(logits.double(), targets, ones), targets, ones, reduction),
        ),
        (
            losses.center_loss(features, targets, centers, reduction),
            reduced(equation_2(features, targets, centers), targets, ones, reduction),
        ),
        (
            losses.weighted_cluster_loss(features, targets, centers, weights, 0.7, reduction),
            reduced(equation_4(features, targets, centers, weights, 0.7), targets, weights, reduction),
        ),
    ):
        assert computed.dtype == dtype
        torch.testing.assert_close(computed, expected, **close)


@pytest.mark.parametrize(("reduction", "weighted"), [("mean", False), ("sum", False), ("weighted_mean", True)])
def test_softmax_equals_torch_in_value_and_gradient(reduction, weighted):
    b = batch()
    weights = b["weights"] if weighted else None
    ours, theirs = b["logits"].clone().requires_grad_(), b["logits"].clone().requires_grad_()
    value = losses.weighted_softmax_loss(ours, b["targets"], weights, reduction)
    expected = F.cross_entropy(theirs, b["targets"], weight=weights, reduction="mean" if weighted else reduction)
    value.backward()
    expected.backward()
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(ours.grad, theirs.grad)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_gradients_by_differences(reduction):
    b = batch(n=5, dim=3)
    logits, features, centers = (b[name].requires_grad_() for name in ("logits", "features", "centers"))
    targets, weights = b["targets"], b["weights"]
    for function, inputs in (
        (lambda z: losses.weighted_softmax_loss(z, targets, weights, reduction), (logits,)),
        (lambda x, c: losses.center_loss(x, targets, c, reduction), (features, centers)),
        (lambda x, c: losses.weighted_cluster_loss(x, targets, c, weights, 0.7, reduction), (features, centers)),
    ):
        assert torch.autograd.gradcheck(function, inputs)
        assert torch.autograd.gradgradcheck(function, inputs)


def test_feature_gradient_is_equation_7():
    b = batch()
    features = b["features"].requires_grad_()
    losses.weighted_cluster_loss(features, b["targets"], b["centers"], b["weights"], 0.7, "sum").backward()
    for x, y, gradient in zip(features.detach(), b["targets"].tolist(), features.grad, strict=True):
        expected = b["weights"][y] * (x - b["centers"][y]) / (separation(b["centers"], y) + 0.7)
        torch.testing.assert_close(gradient, expected)


@pytest.mark.parametrize("gamma", [1.0, 0.3])
def test_updates_equal_the_equations(gamma):
    b = batch()
    features, targets, centers, weights = b["features"], b["targets"], b["centers"], b["weights"]
    before = centers.clone()
    torch.testing.assert_close(
        losses.update_centers(features, targets, centers, weights, 0.7, gamma),
        equation_9(features, targets, centers, weights, 0.7, gamma),
    )
    wen = centers.clone()
    for j in range(len(centers)):
        members = features[targets == j]
        wen[j] -= gamma * sum(centers[j] - x for x in members) / (1 + len(members))
    torch.testing.assert_close(losses.update_centers_wen(features, targets, centers, gamma), wen)
    assert torch.equal(centers, before)


def test_printed_sign_diverges_and_corrected_sign_converges():
    random = torch.Generator().manual_seed(0)
    means = 3 * torch.randn(3, 2, generator=random, dtype=torch.float64)
    weights = torch.ones(3, dtype=torch.float64)
    start = torch.randn(3, 2, generator=random, dtype=torch.float64)
    printed, corrected = start.clone(), start.clone()
    for _ in range(300):
        targets = torch.randint(3, (6,), generator=random)
        features = means[targets] + 0.1 * torch.randn(6, 2, generator=random, dtype=torch.float64)
        printed = equation_9(features, targets, printed, weights, 1.0, 1.0, sign=-1)
        corrected = losses.update_centers(features, targets, corrected, weights)
    assert (corrected - means).norm(dim=1).max() < 0.2
    assert (printed - means).norm(dim=1).min() > 2 * (start - means).norm(dim=1).max()


def test_absent_class_keeps_its_center():
    b = batch()
    targets = torch.full((12,), 2)
    for new in (
        losses.update_centers(b["features"], targets, b["centers"], b["weights"]),
        losses.update_centers_wen(b["features"], targets, b["centers"]),
    ):
        changed = (new != b["centers"]).any(dim=1)
        assert changed.tolist() == [False, False, True, False]


def test_full_gradient_pushes_centers_apart_but_the_papers_update_does_not():
    centers = torch.tensor([[-1.0], [1.0]], requires_grad=True)
    features, targets, weights = torch.tensor([[-1.5], [1.5], [-0.5], [0.5]]), torch.tensor([0, 1, 0, 1]), torch.ones(2)
    # Every centre is its class's mean, so nothing pulls.
    torch.testing.assert_close(losses.update_centers(features, targets, centers, weights), centers.detach())
    losses.weighted_cluster_loss(features, targets, centers, weights).backward()
    assert centers.grad[0] > 0 > centers.grad[1]  # a step against the gradient moves −1 down and +1 up


def test_extreme_values():
    targets = torch.tensor([0, 1])
    logits = torch.tensor([[100.0, -100.0], [100.0, -100.0]], requires_grad=True)
    loss = losses.weighted_softmax_loss(logits, targets, torch.ones(2), "none")
    assert loss.tolist() == [0, 200]
    loss.sum().backward()
    assert logits.grad.isfinite().all()

    # Far from the origin a distance of 0.5 must not cancel, nor a separation of 1.
    centers = torch.tensor([[1e4, 0.0], [1e4, 1.0]])
    features = centers + torch.tensor([0.5, 0.0])
    assert losses.center_loss(features, targets, centers, "none").tolist() == [0.125, 0.125]
    assert losses.center_separation(centers).tolist() == [1, 1]


def test_identical_centers_leave_alpha_alone():
    features, centers = torch.tensor([[2.0, 0.0]]), torch.zeros(3, 2)
    loss = losses.weighted_cluster_loss(features, torch.tensor([1]), centers, torch.ones(3), alpha=0.5)  # batch of one
    assert loss.item() == 4
    assert losses.weighted_cluster_loss(features, torch.tensor([1]), centers, torch.ones(3), 1e-12).isfinite()


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), n=st.integers(1, 9), classes=st.integers(2, 6), dim=st.integers(1, 5))
def test_laws(seed, n, classes, dim):
    """Nothing changes when a batch is permuted, classes renamed, or features and centres moved and turned together."""
    b = batch(seed, n, dim, classes)
    logits, features, targets, centers, weights = b.values()
    random = torch.Generator().manual_seed(seed)
    rows, names = torch.randperm(n, generator=random), torch.randperm(classes, generator=random)
    renamed = torch.empty_like(centers), torch.empty_like(weights), torch.empty_like(logits)
    renamed[0][names], renamed[1][names], renamed[2][:, names] = centers, weights, logits
    shift = torch.randn(dim, generator=random, dtype=torch.float64)
    turn = torch.linalg.qr(torch.randn(dim, dim, generator=random, dtype=torch.float64)).Q

    def values(logits, features, targets, centers, weights):
        return torch.stack(
            [
                losses.weighted_softmax_loss(logits, targets, weights, "weighted_mean"),
                losses.center_loss(features, targets, centers),
                losses.weighted_cluster_loss(features, targets, centers, weights),
            ]
        )

    expected = values(*b.values())
    torch.testing.assert_close(values(logits[rows], features[rows], targets[rows], centers, weights), expected)
    torch.testing.assert_close(values(renamed[2], features, names[targets], renamed[0], renamed[1]), expected)
    moved = [(points + shift) @ turn for points in (features, centers)]
    torch.testing.assert_close(values(logits, moved[0], targets, moved[1], weights), expected)
    torch.testing.assert_close(
        losses.update_centers(moved[0], targets, moved[1], weights),
        (losses.update_centers(features, targets, centers, weights) + shift) @ turn,
    )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", losses.LOSS_NAMES)
def test_half_precision_is_computed_in_float32(name, dtype):
    loss = losses.make_loss(name, [40, 20, 10, 5], embedding_dim=6)
    b = batch(dtype=torch.float32)
    logits, features = b["logits"].to(dtype), b["features"].to(dtype)
    exact = loss(logits.float(), features.float(), b["targets"])
    with torch.autocast("cpu", dtype=dtype):
        value = loss(logits.requires_grad_(), features.requires_grad_(), b["targets"])
        loss.update(features, b["targets"])
    value.backward()
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, exact)
    assert logits.grad.isfinite().all()
    assert loss.centers is None or loss.centers.dtype == torch.float32


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("name", losses.PAPER_LOSSES)
def test_joint_loss_is_the_sum_of_its_equations(name, reduction):
    b = batch()
    counts = [40, 20, 10, 5]
    loss = losses.make_loss(
        name, counts, embedding_dim=6, alpha=0.7, reduction=reduction, center_init="normal", seed=3
    ).double()
    ones = torch.ones(4)
    weights = ones if name in ("softmax", "center_softmax") else losses.class_weights(counts)
    expected = reduced(equation_1(b["logits"], b["targets"], weights), b["targets"], weights, reduction)
    if "center" in name:
        extra = equation_2(b["features"], b["targets"], loss.centers)
        expected = expected + 0.5 * reduced(extra, b["targets"], ones, reduction)
    if "cluster" in name:
        extra = equation_4(b["features"], b["targets"], loss.centers, weights, 0.7)
        expected = expected + reduced(extra, b["targets"], weights, reduction)
    torch.testing.assert_close(loss(b["logits"], b["features"], b["targets"]), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("module", "function"),
    [
        (
            lambda w: losses.WeightedSoftmaxLoss(w, "weighted_mean"),
            lambda b, c: losses.weighted_softmax_loss(b["logits"], b["targets"], b["weights"], "weighted_mean"),
        ),
        (
            lambda w: losses.CenterLoss(4, 6, reduction="sum"),
            lambda b, c: losses.center_loss(b["features"], b["targets"], c, "sum"),
        ),
        (
            lambda w: losses.WeightedClusterLoss(w, 6, alpha=0.7, reduction="weighted_mean"),
            lambda b, c: losses.weighted_cluster_loss(
                b["features"], b["targets"], c, b["weights"], 0.7, "weighted_mean"
            ),
        ),
    ],
)
def test_modules_are_twins_of_the_functions(module, function):
    b = batch(dtype=torch.float32)
    twin = module(b["weights"])
    first = b["logits"] if isinstance(twin, losses.WeightedSoftmaxLoss) else b["features"]
    torch.testing.assert_close(twin(first, b["targets"]), function(b, getattr(twin, "centers", None)))


@pytest.mark.parametrize("name", ["center_softmax", "weighted_cluster"])
def test_update_between_forward_and_backward_changes_no_gradient(name):
    gradients = []
    for update in (False, True):
        loss = losses.make_loss(name, [40, 20, 10, 5], embedding_dim=6)
        b = batch(dtype=torch.float32)
        features = b["features"].requires_grad_()
        value = loss(b["logits"], features, b["targets"])
        if update:
            before = loss.centers
            loss.update(features, b["targets"])
            assert not torch.equal(loss.centers, before)
        value.backward()
        gradients.append(features.grad)
    assert torch.equal(*gradients)


@pytest.mark.parametrize("name", ["center_softmax", "weighted_cluster"])
def test_trained_centers_are_the_optimisers(name):
    b = batch(dtype=torch.float32)
    loss = losses.make_loss(name, [40, 20, 10, 5], embedding_dim=6, center_update="autograd", center_init="zeros")
    (centers,) = loss.center_parameters()
    loss(b["logits"], b["features"], b["targets"]).backward()
    loss.update(b["features"], b["targets"])
    assert torch.equal(loss.centers, torch.zeros(4, 6))
    torch.optim.SGD([centers], lr=0.1).step()
    assert torch.equal(loss.centers, -0.1 * centers.grad)
    assert not torch.equal(loss.centers, torch.zeros(4, 6))


def test_normal_centers_come_from_their_seed_alone():
    before = torch.get_rng_state()
    same, again, other = (
        losses.make_loss("weighted_cluster", TABLE_3, 512, center_init="normal", seed=seed).centers
        for seed in (1, 1, 2)
    )
    assert torch.equal(same, again)
    assert not torch.equal(same, other)
    assert same.std().item() == pytest.approx(1, abs=0.05)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("update", losses.CENTER_UPDATES)
def test_class_means_start_the_term_when_every_class_has_occurred(update):
    options = {"embedding_dim": 1, "center_init": "class_means", "center_update": update}
    loss = losses.make_loss("weighted_cluster", [4, 2, 2], **options)
    plain = losses.make_loss("weighted_softmax", [4, 2, 2], embedding_dim=1)
    logits = torch.zeros(3, 3)

    first = torch.tensor([[1.0], [2.0], [3.0]]), torch.tensor([0, 0, 1])
    assert loss(logits, *first) == plain(logits, *first)  # no centre of class 2 yet
    loss.update(*first)
    restored = losses.make_loss("weighted_cluster", [4, 2, 2], **options)
    restored.load_state_dict(loss.state_dict())  # a checkpoint in the middle of it

    second = torch.tensor([[6.0], [5.0], [9.0]]), torch.tensor([0, 1, 2])
    assert restored(logits, *second) == plain(logits, *second)
    restored.update(*second)
    assert restored.centers.flatten().tolist() == [3, 4, 9]  # means of 1 2 6, of 3 5, of 9
    assert restored(logits, *second) > plain(logits, *second)
    restored.update(*second)
    moved = losses.update_centers(*second, torch.tensor([[3.0], [4.0], [9.0]]), restored.weights)
    expected = moved if update == "paper" else torch.tensor([[3.0], [4.0], [9.0]])
    torch.testing.assert_close(restored.centers.detach(), expected)


@pytest.mark.parametrize("update", losses.CENTER_UPDATES)
@pytest.mark.parametrize("init", losses.CENTER_INITS)
@pytest.mark.parametrize("name", losses.LOSS_NAMES)
def test_state_round_trips_through_a_checkpoint(name, init, update, tmp_path):
    options = {"embedding_dim": 6, "center_init": init, "center_update": update}
    loss = losses.make_loss(name, [40, 20, 10, 5], **options)
    b = batch(dtype=torch.float32)
    loss.update(b["features"], b["targets"])
    torch.save(loss.state_dict(), tmp_path / "loss.pt")
    other = losses.make_loss(name, [9, 9, 9, 9], **options, seed=5)
    other.load_state_dict(torch.load(tmp_path / "loss.pt", weights_only=True))
    args = b["logits"], b["features"], b["targets"]
    for _ in range(2):
        assert torch.equal(other(*args), loss(*args))
        loss.update(*args[1:])
        other.update(*args[1:])


GOOD = batch(dtype=torch.float32)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"features": torch.zeros(12)}, r"expected features of shape \(N, D\).* found \(12,\)"),
        ({"features": torch.zeros(12, 6, dtype=torch.int64)}, "features .*floating point.*torch.int64"),
        ({"features": torch.zeros(12, 5)}, r"same size D; found features \(12, 5\) and centers \(4, 6\)"),
        ({"features": torch.zeros(0, 6), "targets": torch.zeros(0, dtype=torch.int64)}, "not empty"),
        ({"features": torch.full((12, 6), float("nan"))}, "finite features; found NaN or infinity in row 0"),
        ({"targets": torch.zeros(11, dtype=torch.int64)}, r"targets of shape \(12,\).*found \(11,\)"),
        ({"targets": torch.zeros(12)}, "int64.*torch.float32"),
        ({"targets": torch.full((12,), 4)}, r"targets in 0…3 \(4 classes\); found 4"),
        ({"targets": torch.full((12,), -1)}, "found -1"),
        ({"centers": torch.zeros(4)}, r"centers of shape \(C, D\)"),
        ({"weights": torch.ones(3)}, r"weights of shape \(4,\).*found \(3,\)"),
        ({"alpha": 0.0}, "alpha > 0"),
        ({"alpha": float("nan")}, "alpha > 0"),
    ],
)
def test_bad_input_is_refused_in_one_line(change, message):
    good = {name: GOOD[name] for name in ("features", "targets", "centers", "weights")}
    for function in (losses.weighted_cluster_loss, losses.update_centers):
        with pytest.raises(InputError, match=message) as error:
            function(**good | change)
        assert "\n" not in str(error.value)


def test_bad_logits_and_names_are_refused():
    with pytest.raises(InputError, match=r"logits of shape \(N, C\)"):
        losses.weighted_softmax_loss(torch.zeros(3), torch.zeros(3, dtype=torch.int64))
    with pytest.raises(InputError, match=r"targets in 0…1"):
        losses.weighted_softmax_loss(torch.zeros(1, 2), torch.tensor([2]))
    with pytest.raises(InputError, match="did you mean 'weighted_mean'"):
        losses.weighted_softmax_loss(GOOD["logits"], GOOD["targets"], reduction="weighted-mean")
    for options, message in (
        ({"name": "weighted_clutser"}, "did you mean 'weighted_cluster'"),
        ({"reduction": "average"}, "unknown reduction"),
        ({"center_init": "zero"}, "did you mean 'zeros'"),
        ({"center_update": "auto"}, "unknown center_update"),
        ({"cluster_weight": -1}, "cluster_weight"),
        ({"alpha": 0}, "alpha > 0"),
    ):
        with pytest.raises(InputError, match=message):
            losses.make_loss(**{"name": "weighted_cluster", "counts": TABLE_3, "embedding_dim": 4} | options)
