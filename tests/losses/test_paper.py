"""The paper's losses against its equations in double loops, against torch, and against laws."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from fer_utils import losses
from fer_utils.core import Diverged, InputError
from tests.losses.equations import (
    FERPLUS,
    REDUCTIONS,
    TABLE_3,
    assert_close,
    equation_9,
    log_loss,
    make_batch,
    reduced,
    separation,
    squared_distance,
    wens_rule,
)


@pytest.mark.parametrize(("n", "soft"), [(12, False), (12, True), (1, False), (1, True)])
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_losses_equal_the_equations(dtype, reduction, n, soft):
    logits, features, targets, centers, weights = make_batch(n=n, dtype=dtype, soft=soft)
    ones = torch.ones(4)

    def distance(i, j):
        return squared_distance(features[i], centers[j])

    cases = {
        "softmax": (
            losses.weighted_softmax_loss(logits, targets, reduction=reduction),
            reduced(lambda i, j: log_loss(logits[i], j), targets, ones, reduction),
        ),
        "Eq. 1": (
            losses.weighted_softmax_loss(logits, targets, weights, reduction),
            reduced(lambda i, j: log_loss(logits[i], j), targets, weights, reduction),
        ),
        "Eq. 2": (
            losses.center_loss(features, targets, centers, reduction),
            reduced(lambda i, j: 0.5 * distance(i, j), targets, ones, reduction),
        ),
        "Eq. 2 per dimension": (
            losses.center_loss(features, targets, centers, reduction, per_dimension=True),
            reduced(lambda i, j: distance(i, j) / 6, targets, ones, reduction),
        ),
        "Eq. 4": (
            losses.weighted_cluster_loss(features, targets, centers, weights, 0.7, reduction),
            reduced(
                lambda i, j: 0.5 * distance(i, j) / (separation(centers, j) + 0.7),
                targets,
                weights,
                reduction,
            ),
        ),
    }
    for name, (found, expected) in cases.items():
        assert found.dtype == dtype
        assert_close(found, expected, dtype, f"{name}: ")


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("gamma", [1.0, 0.3])
def test_updates_equal_the_equations(gamma, soft):
    _, features, targets, centers, weights = make_batch(soft=soft)
    before = centers.clone()
    moved = losses.update_centers(features, targets, centers, weights, 0.7, gamma)
    assert_close(moved, equation_9(features, targets, centers, weights, 0.7, gamma))
    moved = losses.update_centers_wen(features, targets, centers, gamma)
    assert_close(moved, wens_rule(features, targets, centers, gamma))
    assert torch.equal(centers, before)


@pytest.mark.parametrize(
    ("weighted", "reduction", "torchs", "soft"),
    [
        (False, "mean", "mean", False),
        (False, "sum", "sum", False),
        (True, "weighted_mean", "mean", False),
        (True, "mean", "mean", True),  # of distributions torch divides by N
    ],
)
def test_softmax_equals_torch_in_value_and_gradient(weighted, reduction, torchs, soft):
    logits, _, targets, _, weights = make_batch(soft=soft)
    weights = weights if weighted else None
    logits.requires_grad_()
    found = losses.weighted_softmax_loss(logits, targets, weights, reduction)
    expected = F.cross_entropy(logits, targets, weight=weights, reduction=torchs)
    assert_close(found, expected)
    for pair in zip(*(torch.autograd.grad(v, logits) for v in (found, expected)), strict=True):
        assert_close(*pair)


def test_per_dimension_is_the_tensorflow_code():
    """`reduce_mean(tf.square(features - tf.gather(centers, labels)))`."""
    _, features, targets, centers, _ = make_batch(dim=512)
    found = losses.center_loss(features, targets, centers, per_dimension=True)
    assert_close(found, (features - centers[targets]).square().mean())
    assert losses.center_loss(features, targets, centers) / found == pytest.approx(256)


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_gradients_by_differences(reduction, soft):
    logits, features, targets, centers, weights = make_batch(n=3, dim=2, classes=3, soft=soft)
    for leaf in (logits, features, centers):
        leaf.requires_grad_()
    for function, inputs in (
        (lambda z: losses.weighted_softmax_loss(z, targets, weights, reduction), (logits,)),
        (lambda x, c: losses.center_loss(x, targets, c, reduction), (features, centers)),
        (
            lambda x, c: losses.weighted_cluster_loss(x, targets, c, weights, 0.7, reduction),
            (features, centers),
        ),
    ):
        assert torch.autograd.gradcheck(function, inputs)
        assert torch.autograd.gradgradcheck(function, inputs)


def test_feature_gradient_is_equation_7():
    _, features, targets, centers, weights = make_batch()
    features.requires_grad_()
    losses.weighted_cluster_loss(features, targets, centers, weights, 0.7, "sum").backward()
    for x, y, gradient in zip(features.detach(), targets.tolist(), features.grad, strict=True):
        assert_close(gradient, weights[y] * (x - centers[y]) / (separation(centers, y) + 0.7))


def test_printed_sign_diverges_and_corrected_sign_converges():
    random = torch.Generator().manual_seed(0)

    def draw(*shape):
        return torch.randn(*shape, generator=random, dtype=torch.float64)

    means, start, weights = 3 * draw(3, 2), draw(3, 2), torch.ones(3, dtype=torch.float64)
    printed, corrected = start, start
    for _ in range(200):
        targets = torch.randint(3, (6,), generator=random)
        features = means[targets] + 0.1 * draw(6, 2)
        printed = equation_9(features, targets, printed, weights, 1.0, 1.0, sign=-1)
        corrected = losses.update_centers(features, targets, corrected, weights)
    assert (corrected - means).norm(dim=1).max() < 0.2
    assert (printed - means).norm(dim=1).min() > 2 * (start - means).norm(dim=1).max()


def test_an_absent_class_keeps_its_center():
    _, features, _, centers, weights = make_batch()
    targets = torch.full((12,), 2)
    for moved in (
        losses.update_centers(features, targets, centers, weights),
        losses.update_centers_wen(features, targets, centers),
    ):
        assert (moved != centers).any(dim=1).tolist() == [False, False, True, False]


def test_full_gradient_pushes_centers_apart_but_the_papers_update_does_not():
    centers = torch.tensor([[-1.0], [1.0]], requires_grad=True)
    features, targets = torch.tensor([[-1.5], [1.5], [-0.5], [0.5]]), torch.tensor([0, 1, 0, 1])
    # Every centre is its class's mean, so nothing pulls.
    assert torch.equal(losses.update_centers(features, targets, centers, torch.ones(2)), centers)
    losses.weighted_cluster_loss(features, targets, centers, torch.ones(2)).backward()
    assert centers.grad[0] > 0 > centers.grad[1]  # a step against it moves −1 down and +1 up


def test_extreme_values():
    logits = torch.tensor([[100.0, -100.0], [100.0, -100.0]], requires_grad=True)
    loss = losses.weighted_softmax_loss(logits, torch.tensor([0, 1]), torch.ones(2), "none")
    assert loss.tolist() == [0, 200]
    (gradient,) = torch.autograd.grad(loss.sum(), logits)
    assert gradient.isfinite().all()
    half = torch.tensor([[0.5, 0.5]])
    assert losses.weighted_softmax_loss(logits[:1], half).item() == pytest.approx(100)


@pytest.mark.parametrize("targets", [torch.tensor([0, 1]), torch.eye(2)])
def test_nothing_cancels_far_from_the_origin(targets):
    """Distances of 0.5 and a separation of 1, at 10,000."""
    centers = torch.tensor([[1e4, 0.0], [1e4, 1.0]])
    features = centers + torch.tensor([0.5, 0.0])
    assert losses.center_loss(features, targets, centers, "none").tolist() == [0.125, 0.125]
    assert losses.center_separation(centers).tolist() == [1, 1]


def test_identical_centers_leave_alpha_alone():
    one = torch.tensor([[2.0, 0.0]]), torch.tensor([1]), torch.zeros(3, 2), torch.ones(3)
    assert losses.weighted_cluster_loss(*one, alpha=0.5).item() == 4
    assert losses.weighted_cluster_loss(*one, alpha=1e-12).isfinite()


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000), n=st.integers(1, 9), classes=st.integers(2, 6),
    dim=st.integers(1, 5), soft=st.booleans(),
)  # fmt: skip
def test_laws(seed, n, classes, dim, soft):
    """Permuted batches, renamed classes, features and centres moved and turned together."""
    logits, features, targets, centers, weights = make_batch(seed, n, dim, classes, soft=soft)
    random = torch.Generator().manual_seed(seed)
    rows, old = torch.randperm(n, generator=random), torch.randperm(classes, generator=random)
    renamed = targets[:, old] if soft else old.argsort()[targets]
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

    expected = values(logits, features, targets, centers, weights)
    permuted = logits[rows], features[rows], targets[rows], centers, weights
    assert_close(values(*permuted), expected)
    assert_close(values(logits[:, old], features, renamed, centers[old], weights[old]), expected)
    moved = (features + shift) @ turn, targets, (centers + shift) @ turn, weights
    assert_close(values(logits, *moved), expected)
    updated = losses.update_centers(features, targets, centers, weights)
    assert_close(losses.update_centers(*moved), (updated + shift) @ turn)


def test_weights_of_table_3():
    weights = losses.class_weights(TABLE_3)
    assert weights.dtype == torch.float32
    assert weights[7] == 1  # contempt is the smallest class, not disgust
    assert weights[1].item() == pytest.approx(3250 / 133915)
    assert losses.mean_weight(TABLE_3, weights) == pytest.approx(8 * 3250 / 283_651)  # k N_min / N
    half = losses.class_weights(torch.tensor(TABLE_3).numpy(), power=0.5)
    assert half[1].item() == pytest.approx((3250 / 133915) ** 0.5)
    assert torch.equal(losses.class_weights(TABLE_3, power=0), torch.ones(8))
    assert losses.mean_weight(TABLE_3, torch.ones(8)) == 1


def test_balanced_weights_are_scikit_learns():
    weights = losses.class_weights(FERPLUS)
    balanced = weights / losses.mean_weight(FERPLUS, weights)
    assert_close(balanced, torch.tensor([sum(FERPLUS) / (8 * n) for n in FERPLUS]), torch.float32)


@pytest.mark.parametrize(
    ("counts", "reduction", "expected"),
    [
        (FERPLUS, "weighted_mean", pytest.approx(0.50, abs=0.05)),
        (TABLE_3, "weighted_mean", pytest.approx(0.74, abs=0.05)),
        *[
            (n, r, pytest.approx(1))
            for n in (FERPLUS, TABLE_3)
            for r in ("balanced", "mean", "sum")
        ],
    ],
)
def test_effective_weight_of_a_rare_image(counts, reduction, expected):
    """What contempt weighs against happy in batches of 36, in parts of what Eq. 6 says."""
    random = torch.Generator().manual_seed(0)
    frequencies = torch.tensor(counts, dtype=torch.float64)
    weights = losses.class_weights(counts)
    batches = 400 if reduction == "weighted_mean" else 4
    if reduction == "balanced":
        reduction = losses.mean_weight(counts, weights)
    effective = []
    for label in (7, 1):
        others = torch.multinomial(frequencies, batches * 35, replacement=True, generator=random)
        total = 0.0
        for rest in others.view(batches, 35):
            logits = torch.zeros(36, 8, requires_grad=True)
            targets = torch.cat([torch.tensor([label]), rest])
            loss = losses.weighted_softmax_loss(logits, targets, weights, reduction)
            total += torch.autograd.grad(loss, logits)[0][0, label].item()
        effective.append(total)
    assert effective[0] / effective[1] / (weights[7] / weights[1]).item() == expected


GOOD = dict(zip(("logits", "features", "targets", "centers", "weights"), make_batch(), strict=True))
NAN = float("nan")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"features": torch.zeros(12)}, ["features", "(12,)"]),
        ({"features": torch.zeros(12, 6).long()}, ["features", "int64"]),
        ({"features": torch.zeros(12, 5)}, ["centers", "(C, 5)", "(4, 6)"]),
        ({"features": torch.zeros(0, 6), "targets": torch.zeros(0).long()}, ["features", "(0, 6)"]),
        ({"targets": torch.zeros(11).long()}, ["targets", "(12,)", "(11,)"]),
        ({"targets": torch.zeros(12)}, ["targets", "int64", "float32"]),
        ({"targets": torch.full((12,), 4)}, ["targets", "0…3", "[4]"]),
        ({"targets": torch.full((12,), -1)}, ["targets", "[-1]"]),
        ({"targets": torch.full((12, 3), 1 / 3)}, ["targets", "(12, 4)", "(12, 3)"]),
        ({"targets": torch.ones(12, 4).long()}, ["targets", "(12, 4)", "int64"]),
        ({"targets": torch.full((12, 4), 0.5)}, ["targets", "sum 1", "[0.5, 0.5, 0.5, 0.5]"]),
        ({"targets": torch.tensor([[0.5, 0.7, -0.2, 0]] * 12)}, ["targets", "≥ 0", "-0.2"]),
        ({"targets": torch.full((12, 4), NAN)}, ["targets", "nan"]),
        ({"centers": torch.zeros(4)}, ["centers", "(4,)"]),
        ({"weights": torch.ones(3)}, ["weights", "(4,)", "(3,)"]),
        ({"weights": torch.zeros(4)}, ["weights", "> 0", "0.0"]),
        ({"alpha": 0.0}, ["alpha", "0.0"]),
        ({"alpha": NAN}, ["alpha", "nan"]),
    ],
)
def test_bad_input_is_refused_in_one_line(change, words):
    names = ("features", "targets", "centers", "weights")
    arguments = {name: GOOD[name] for name in names} | change
    for function in (losses.weighted_cluster_loss, losses.update_centers):
        with pytest.raises(InputError) as error:
            function(**arguments)
        assert "\n" not in str(error.value)
        assert all(word in str(error.value) for word in words)


def test_bad_logits_weights_and_reductions_are_refused():
    logits, targets = GOOD["logits"], GOOD["targets"]
    for arguments, word in (
        ((torch.zeros(3), torch.zeros(3).long()), "logits"),
        ((logits, targets % 3 + 2), "[4]"),
        ((logits, targets, torch.ones(5)), "(5,)"),
        ((logits, targets, None, "weighted-mean"), "'weighted_mean'"),
    ):
        with pytest.raises(InputError) as error:
            losses.weighted_softmax_loss(*arguments)
        assert word in str(error.value)
    with pytest.raises(Diverged, match="logits"):
        losses.weighted_softmax_loss(logits * NAN, targets)
    large = torch.full((1, 2), 3e38)  # finite, while its sum is not
    assert losses.weighted_softmax_loss(large, torch.tensor([0])).isfinite()


@pytest.mark.parametrize(
    ("counts", "word"),
    [
        ([5, 5, 0, 5], "5.0, 0.0, 5.0"), ([5, -2], "-2.0"), ([5, NAN], "nan"),
        ([5, float("inf")], "inf"), ([[1, 2]], "(1, 2)"), ([3], "(1,)"),
    ],
)  # fmt: skip
def test_bad_counts_are_refused(counts, word):
    for function in (losses.class_weights, losses.effective_number_weights):
        with pytest.raises(InputError, match="counts") as error:
            function(counts)
        assert word in str(error.value)
    with pytest.raises(InputError, match="power.*-1"):
        losses.class_weights([1, 2], power=-1)
