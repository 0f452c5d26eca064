"""The paper's losses against its equations in double loops, against torch, and against laws."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from fer_utils import losses
from fer_utils.core import Diverged, InputError
from tests.losses import equations as eq
from tests.losses.equations import FERPLUS, REDUCTIONS, TABLE_3, assert_close, make_batch, reduced

NAN = float("nan")


@pytest.mark.parametrize(("n", "soft"), [(12, False), (12, True), (1, False), (1, True)])
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-11), (torch.float32, 2e-5)])
def test_losses_equal_the_equations(dtype, tolerance, reduction, n, soft):
    logits, features, targets, centers, weights = make_batch(n=n, dtype=dtype, soft=soft)
    batch, ones = (features, targets, centers), torch.ones(4)
    found = {
        "softmax": losses.weighted_softmax_loss(logits, targets, None, reduction),
        "Eq. 1": losses.weighted_softmax_loss(logits, targets, weights, reduction),
        "Eq. 2": losses.center_loss(*batch, reduction),
        "per dimension": losses.center_loss(*batch, reduction, per_dimension=True),
        "Eq. 4": losses.weighted_cluster_loss(*batch, weights, 0.7, reduction),
    }

    def log_loss(i, j):
        return eq.log_loss(logits[i], j)

    def distance(i, j):
        return eq.squared_distance(features[i], centers[j])

    def cluster(i, j):
        return 0.5 * distance(i, j) / (eq.separation(centers, j) + 0.7)

    expected = {
        "softmax": (log_loss, ones),
        "Eq. 1": (log_loss, weights),
        "Eq. 2": (lambda i, j: 0.5 * distance(i, j), ones),
        "per dimension": (lambda i, j: distance(i, j) / 6, ones),
        "Eq. 4": (cluster, weights),
    }
    for name, (value, by) in expected.items():
        assert found[name].dtype == dtype
        assert_close(found[name], reduced(value, targets, by, reduction), tolerance, name)


@pytest.mark.parametrize("soft", [False, True])
def test_updates_equal_the_equations(soft):
    _, features, targets, centers, weights = make_batch(soft=soft)
    batch, before = (features, targets % 3 if not soft else targets, centers), centers.clone()
    moved = losses.update_centers(*batch, weights, 0.7, 0.3)
    assert_close(moved, eq.equation_9(*batch, weights, 0.7, 0.3))
    wen = losses.update_centers_wen(*batch, 0.3)
    assert_close(wen, eq.wens_rule(*batch, 0.3))
    assert torch.equal(centers, before)
    if not soft:  # an absent class keeps its centre
        assert torch.equal(moved[3], before[3]) and torch.equal(wen[3], before[3])


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("soft", [False, True])
def test_softmax_equals_torch_in_value_and_gradient(soft, weighted):
    logits, _, targets, _, weights = make_batch(soft=soft)
    logits, weights = logits.requires_grad_(), weights if weighted else None
    reduction = "mean" if soft else "weighted_mean"  # of distributions torch divides by N
    found = losses.weighted_softmax_loss(logits, targets, weights, reduction)
    expected = F.cross_entropy(logits, targets, weights)
    assert_close(found, expected)
    assert_close(*(torch.autograd.grad(value, logits)[0] for value in (found, expected)))


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
    z, x, c = (leaf.requires_grad_() for leaf in (logits, features, centers))
    for function, inputs in (
        (lambda z: losses.weighted_softmax_loss(z, targets, weights, reduction), (z,)),
        (lambda x, c: losses.center_loss(x, targets, c, reduction), (x, c)),
        (lambda x, c: losses.weighted_cluster_loss(x, targets, c, weights, 1, reduction), (x, c)),
    ):
        assert torch.autograd.gradcheck(function, inputs)
        assert torch.autograd.gradgradcheck(function, inputs)


def test_feature_gradient_is_equation_7():
    _, features, targets, centers, weights = make_batch()
    features.requires_grad_()
    losses.weighted_cluster_loss(features, targets, centers, weights, 0.7, "sum").backward()
    for x, y, gradient in zip(features.detach(), targets.tolist(), features.grad, strict=True):
        assert_close(gradient, weights[y] * (x - centers[y]) / (eq.separation(centers, y) + 0.7))


def test_printed_sign_diverges_and_corrected_sign_converges():
    random = torch.Generator().manual_seed(0)
    means, start = torch.randn(2, 3, 2, generator=random, dtype=torch.float64)
    printed, corrected, weights = start, start, torch.ones(3, dtype=torch.float64)
    for _ in range(100):
        targets = torch.randint(3, (6,), generator=random)
        printed = eq.equation_9(means[targets], targets, printed, weights, 1.0, 1.0, sign=-1)
        corrected = losses.update_centers(means[targets], targets, corrected, weights)
    assert (corrected - means).norm(dim=1).max() < 0.1
    assert (printed - means).norm(dim=1).min() > (start - means).norm(dim=1).max()


def test_full_gradient_pushes_centers_apart_but_the_papers_update_does_not():
    centers = torch.tensor([[-1.0], [1.0]], requires_grad=True)
    features, targets = torch.tensor([[-1.5], [1.5], [-0.5], [0.5]]), torch.tensor([0, 1, 0, 1])
    # Every centre is its class's mean, so nothing pulls.
    assert torch.equal(losses.update_centers(features, targets, centers, torch.ones(2)), centers)
    losses.weighted_cluster_loss(features, targets, centers, torch.ones(2)).backward()
    assert centers.grad[0] > 0 > centers.grad[1]  # a step against it moves −1 down and +1 up


def test_extreme_logits():
    logits = torch.tensor([[100.0, -100.0], [100.0, -100.0]], requires_grad=True)
    loss = losses.weighted_softmax_loss(logits, torch.tensor([0, 1]), torch.ones(2), "none")
    assert loss.tolist() == [0, 200]
    assert torch.autograd.grad(loss.sum(), logits)[0].isfinite().all()
    assert losses.weighted_softmax_loss(logits, torch.full((2, 2), 0.5)).item() == 100
    large = torch.full((2, 2), 3e38)  # finite, while its sum is not
    assert losses.weighted_softmax_loss(large, torch.tensor([0, 1])).isfinite()


@pytest.mark.parametrize("targets", [torch.tensor([0, 1]), torch.eye(2)])
def test_nothing_cancels_far_from_the_origin(targets):
    """Distances of 0.5 and a separation of 1, at 10,000."""
    centers = torch.tensor([[1e4, 0.0], [1e4, 1.0]])
    features = centers + torch.tensor([0.5, 0.0])
    assert losses.center_loss(features, targets, centers, "none").tolist() == [0.125, 0.125]
    assert losses.center_separation(centers).tolist() == [1, 1]
    one = features[:1], torch.tensor([1]), centers[:1].expand(3, 2), torch.ones(3)
    assert losses.weighted_cluster_loss(*one, alpha=0.5).item() == 0.25  # identical centres


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), n=st.integers(1, 9), k=st.integers(2, 6), soft=st.booleans())
def test_laws(seed, n, k, soft):
    """Permuted batches, renamed classes, features and centres moved and turned together."""
    logits, features, targets, centers, weights = make_batch(seed, n, 3, k, soft=soft)
    random = torch.Generator().manual_seed(seed)
    rows, old = torch.randperm(n, generator=random), torch.randperm(k, generator=random)
    renamed = targets[:, old] if soft else old.argsort()[targets]
    shift = torch.randn(3, generator=random, dtype=torch.float64)
    turn = torch.linalg.qr(torch.randn(3, 3, generator=random, dtype=torch.float64)).Q

    def values(logits, features, targets, centers, weights):
        softmax = losses.weighted_softmax_loss(logits, targets, weights, "weighted_mean")
        center = losses.center_loss(features, targets, centers)
        cluster = losses.weighted_cluster_loss(features, targets, centers, weights)
        return torch.stack([softmax, center, cluster])

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
    half = losses.class_weights(torch.tensor(TABLE_3).numpy(), power=0.5)
    assert half[1].item() == pytest.approx((3250 / 133915) ** 0.5)
    assert torch.equal(losses.class_weights(TABLE_3, power=0), torch.ones(8))

    mean = losses.mean_weight(TABLE_3, weights)
    assert mean == pytest.approx(8 * 3250 / 283_651)  # k N_min / N
    assert losses.mean_weight(TABLE_3, torch.ones(8)) == 1
    scikit_learns = torch.tensor([283_651 / (8 * n) for n in TABLE_3])  # class_weight="balanced"
    assert_close(weights / mean, scikit_learns, 1e-6)


@pytest.mark.parametrize("reduction", ["weighted_mean", "balanced", "mean", "sum"])
@pytest.mark.parametrize(("counts", "expected"), [(FERPLUS, 0.50), (TABLE_3, 0.74)])
def test_effective_weight_of_a_rare_image(counts, expected, reduction):
    """What contempt weighs against happy in batches of 36, in parts of what Eq. 6 says."""
    random, weights = torch.Generator().manual_seed(0), losses.class_weights(counts)
    batches, expected = 400, pytest.approx(expected, abs=0.05)
    if reduction != "weighted_mean":
        batches, expected = 4, pytest.approx(1)
    if reduction == "balanced":
        reduction = losses.mean_weight(counts, weights)
    effective = dict.fromkeys((7, 1), 0.0)
    for label in effective:
        others = torch.multinomial(torch.tensor(counts) / 1.0, batches * 35, True, generator=random)
        for rest in others.view(batches, 35):
            logits = torch.zeros(36, 8, requires_grad=True)
            targets = torch.cat([torch.tensor([label]), rest])
            loss = losses.weighted_softmax_loss(logits, targets, weights, reduction)
            effective[label] += torch.autograd.grad(loss, logits)[0][0, label].item()
    assert effective[7] / effective[1] / (weights[7] / weights[1]).item() == expected


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("features", torch.zeros(12), ["(12,)"]), ("features", torch.zeros(0, 6), ["(0, 6)"]),
        ("features", torch.zeros(12, 6).long(), ["int64"]),
        ("features", torch.full((12, 6), NAN), ["diverged"]),
        ("targets", torch.zeros(11).long(), ["(12,)", "(11,)"]),
        ("targets", torch.zeros(12), ["int64", "float32"]),
        ("targets", torch.full((12,), 4), ["0…3", "[4]"]), ("targets", -torch.arange(12), ["[-1]"]),
        ("targets", torch.full((12, 3), 1 / 3), ["(12, 4)", "(12, 3)"]),
        ("targets", torch.ones(12, 4).long(), ["(12, 4)", "int64"]),
        ("targets", torch.full((12, 4), 0.5), ["sum 1", "[0.5, 0.5, 0.5, 0.5]"]),
        ("targets", torch.tensor([[0.5, 0.75, -0.25, 0]] * 12), ["≥ 0", "-0.25"]),
        ("targets", torch.full((12, 4), NAN), ["nan"]),
        ("centers", torch.zeros(4), ["(4,)"]), ("centers", torch.zeros(4, 5), ["(C, 6)", "(4, 5)"]),
        ("weights", torch.ones(3), ["(4,)", "(3,)"]), ("weights", torch.zeros(4), ["> 0", "0.0"]),
        ("alpha", 0.0, ["0.0"]), ("alpha", NAN, ["nan"]),
    ],
)  # fmt: skip
def test_bad_input_is_refused_in_one_line(name, value, words):
    names = ("features", "targets", "centers", "weights")
    arguments = dict(zip(names, make_batch()[1:], strict=True)) | {name: value}
    for function in (losses.weighted_cluster_loss, losses.update_centers):
        with pytest.raises(Diverged if words == ["diverged"] else InputError) as error:
            function(**arguments)
        assert "\n" not in str(error.value)
        assert all(word in str(error.value) for word in (name, *words))


def test_other_bad_input_is_refused():
    one, zero = torch.zeros(1, 2), torch.tensor([0])
    for function, arguments, word in (
        (losses.weighted_softmax_loss, (one[0], zero), "logits"),
        (losses.weighted_softmax_loss, (one, zero, torch.ones(3)), "(3,)"),
        (losses.weighted_softmax_loss, (one, zero, None, "weighted-mean"), "'weighted_mean'"),
        (losses.class_weights, ([5, NAN],), "nan"),
        (losses.class_weights, ([[1, 2]],), "(1, 2)"),
        (losses.class_weights, ([3],), "(1,)"),
    ):
        with pytest.raises(InputError) as error:
            function(*arguments)
        assert word in str(error.value)
