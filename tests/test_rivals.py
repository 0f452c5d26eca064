"""Rival losses against double loops written from the cited equations, against torch, and against their laws."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from fer_utils import losses
from fer_utils.errors import InputError
from fer_utils.losses.centers import update_centers_wen
from fer_utils.losses.functional import center_loss, class_weights, weighted_softmax_loss

TABLE_3 = [74374, 133915, 24959, 13590, 5878, 3303, 24382, 3250]
REDUCTIONS = ("none", "sum", "mean", "weighted_mean")
TOLERANCE = {torch.float64: 1e-11, torch.float32: 1e-5}
FOCAL_GAMMAS = (0.0, 0.3, 1.0, 2.0, 5.0)


def batch(seed=0, n=12, dim=6, classes=4, dtype=torch.float64):
    random = torch.Generator().manual_seed(seed)
    return {
        "logits": 3 * torch.randn(n, classes, generator=random, dtype=dtype),
        "features": torch.randn(n, dim, generator=random, dtype=dtype),
        "targets": torch.randint(classes, (n,), generator=random),
        "centers": torch.randn(classes, dim, generator=random, dtype=dtype),
        "weights": torch.rand(classes, generator=random, dtype=dtype) + 0.1,
        "counts": torch.randint(1, 1000, (classes,), generator=random).to(dtype),
        "margins": torch.rand(classes, generator=random, dtype=dtype) / 2,
    }


def softmax_losses(b, weights=None, reduction="mean"):
    """Every loss of logits, with parameters that are none of the defaults."""
    logits, targets = b["logits"], b["targets"]
    return {
        "focal": losses.focal_loss(logits, targets, 1.5, weights, reduction),
        "logit_adjusted": losses.logit_adjusted_loss(logits, targets, b["counts"], 0.7, reduction),
        "ldam": losses.ldam_loss(logits, targets, b["margins"], 5.0, weights, reduction),
        "arcface": losses.arcface_loss(logits, targets, 0.7, 20.0, reduction),
    }


# The equations, term by term, in plain Python.


def dot(a, b):
    return sum(float(p) * float(q) for p, q in zip(a, b, strict=True))


def softmax(row):
    powers = [math.exp(float(z)) for z in row]
    return [power / sum(powers) for power in powers]


def focal_equation(logits, targets, gamma, weights):
    losses = []
    for row, y in zip(logits, targets.tolist(), strict=True):
        p = softmax(row)[y]
        losses.append(-float(weights[y]) * (1 - p) ** gamma * math.log(p))
    return losses


def logit_adjusted_equation(logits, targets, counts, tau):
    priors = [float(n) / float(counts.sum()) for n in counts]
    return [
        -math.log(softmax([float(z) + tau * math.log(prior) for z, prior in zip(row, priors, strict=True)])[y])
        for row, y in zip(logits, targets.tolist(), strict=True)
    ]


def ldam_equation(logits, targets, margins, scale, weights):
    losses = []
    for row, y in zip(logits, targets.tolist(), strict=True):
        own = math.exp(float(row[y]) - scale * float(margins[y]))
        others = sum(math.exp(float(row[j])) for j in range(len(row)) if j != y)
        losses.append(-float(weights[y]) * math.log(own / (own + others)))
    return losses


def arcface_equation(logits, targets, margin, scale):
    losses = []
    for row, y in zip(logits, targets.tolist(), strict=True):
        angle = math.acos(float(row[y]) / scale)
        moved = math.cos(angle + margin) if angle + margin < math.pi else math.cos(angle) - margin * math.sin(margin)
        own = math.exp(scale * moved)
        others = sum(math.exp(float(row[j])) for j in range(len(row)) if j != y)
        losses.append(-math.log(own / (own + others)))
    return losses


def cosine(a, b):
    return dot(a, b) / math.sqrt(dot(a, a) * dot(b, b))


def pairs_equation(centers):
    classes = range(len(centers))
    return sum(cosine(centers[k], centers[j]) + 1 for j in classes for k in classes if k != j)


def island_equation(features, targets, centers, island_weight):
    """The center loss of every sample, and the pairs that belong to the batch."""
    offsets = [x - centers[y] for x, y in zip(features, targets.tolist(), strict=True)]
    return [0.5 * dot(offset, offset) for offset in offsets], island_weight * pairs_equation(centers)


def island_update_equation(features, targets, centers, gamma, island_weight):
    new = centers.clone()
    for j, center in enumerate(centers):
        members = [x for x, y in zip(features, targets.tolist(), strict=True) if y == j]
        change = sum((center - x for x in members), torch.zeros_like(center)) / (1 + len(members))
        norm = math.sqrt(dot(center, center))
        for k, other in enumerate(centers):
            if k != j:
                other_norm = math.sqrt(dot(other, other))
                turn = other / (other_norm * norm) - dot(other, center) / (other_norm * norm**3) * center
                change = change + island_weight / (len(centers) - 1) * turn
        new[j] = center - gamma * change
    return new


def reduced(values, targets, weights, reduction):
    values = torch.tensor(values, dtype=torch.float64)
    divisor = {"none": 1, "sum": 1, "mean": len(values), "weighted_mean": sum(float(weights[y]) for y in targets)}
    return (values if reduction == "none" else values.sum()) / divisor[reduction]


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_softmax_losses_equal_the_equations(dtype, weighted, reduction):
    b = batch(dtype=dtype)
    logits, targets, ones = b["logits"], b["targets"], torch.ones(4)
    weights = b["weights"] if weighted else ones
    expected = {
        "focal": (focal_equation(logits, targets, 1.5, weights), weights),
        "logit_adjusted": (logit_adjusted_equation(logits, targets, b["counts"], 0.7), ones),
        "ldam": (ldam_equation(logits, targets, b["margins"], 5.0, weights), weights),
        "arcface": (arcface_equation(logits, targets, 0.7, 20.0), ones),
    }
    for name, computed in softmax_losses(b, weights if weighted else None, reduction).items():
        values, divisor = expected[name]
        assert computed.dtype == dtype
        torch.testing.assert_close(
            computed,
            reduced(values, targets, divisor, reduction),
            rtol=TOLERANCE[dtype],
            atol=TOLERANCE[dtype],
            check_dtype=False,
            msg=lambda text, name=name: f"{name}: {text}",
        )


@pytest.mark.parametrize("gamma", FOCAL_GAMMAS)
def test_focal_loss_equals_the_equation_for_any_gamma(gamma):
    b = batch()
    computed = losses.focal_loss(b["logits"], b["targets"], gamma, reduction="none")
    expected = focal_equation(b["logits"], b["targets"], gamma, torch.ones(4))
    torch.testing.assert_close(computed, torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize("margin", [0.1, 0.5, 1.5])
def test_arcface_loss_equals_the_equation_at_any_angle(margin):
    """On both sides of θ = π − m, where cos(θ + m) turns up again, for the true class alone."""
    angles = torch.linspace(0.01, math.pi - 0.01, 50, dtype=torch.float64)
    logits = 4 * torch.stack([angles.cos(), torch.full_like(angles, 0.3)], dim=1)
    targets = torch.zeros(50, dtype=torch.int64)
    computed = losses.arcface_loss(logits, targets, margin, 4.0, reduction="none")
    torch.testing.assert_close(computed, torch.tensor(arcface_equation(logits, targets, margin, 4.0)).double())
    assert (computed.diff() > 0).all()  # the farther away, the worse


def test_arcface_loss_is_that_of_angles_between_features_and_class_vectors():
    """Turning every feature by m away from its class vector, in their plane, and no margin: the same loss."""
    random = torch.Generator().manual_seed(0)
    features, vectors = (torch.randn(n, 2, generator=random, dtype=torch.float64) for n in (6, 1))
    features, vector = F.normalize(features), F.normalize(vectors)[0]
    angles = (features @ vector).acos()
    others = torch.rand(6, 2, generator=random, dtype=torch.float64)

    def logits(angles):
        return 5 * torch.cat([angles.cos()[:, None], others], dim=1)

    targets, near = torch.zeros(6, dtype=torch.int64), angles < math.pi - 0.5
    assert near.any()
    margined = losses.arcface_loss(logits(angles), targets, 0.5, 5.0, "none")
    plain = F.cross_entropy(logits(angles + 0.5), targets, reduction="none")
    torch.testing.assert_close(margined[near], plain[near])


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("cosine", [1.0, -1.0, 1 + 1e-6, -1 - 1e-6, 1 - 1e-7])
def test_arcface_gradient_is_finite_where_the_angle_has_none(cosine, dtype):
    """At θ = 0 and π, exactly and to rounding, the derivative of sin θ in cos θ is infinite."""
    features = torch.tensor([[cosine, 0.0]], dtype=dtype, requires_grad=True)
    logits = 30 * features @ torch.eye(2, dtype=dtype)
    loss = losses.arcface_loss(logits, torch.tensor([0]), 0.5, 30.0)
    (gradient,) = torch.autograd.grad(loss, features)
    assert loss.isfinite() and gradient.isfinite().all()
    exact = arcface_equation(torch.tensor([[30 * max(-1.0, min(1.0, cosine)), 0.0]]), torch.tensor([0]), 0.5, 30.0)
    assert loss.item() == pytest.approx(exact[0], abs=1e-2)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_island_loss_equals_the_equation(dtype, reduction):
    b = batch(dtype=dtype)
    computed = losses.island_loss(b["features"], b["targets"], b["centers"], 0.7, reduction)
    samples, pairs = island_equation(b["features"], b["targets"], b["centers"], 0.7)
    samples = torch.tensor(samples, dtype=torch.float64)
    expected = {
        "none": samples + pairs / 12,
        "sum": samples.sum() + pairs,
        "mean": (samples.sum() + pairs) / 12,
        "weighted_mean": (samples.sum() + pairs) / 12,
    }[reduction]
    assert computed.dtype == dtype
    close = {"rtol": TOLERANCE[dtype], "atol": TOLERANCE[dtype], "check_dtype": False}
    torch.testing.assert_close(computed, expected, **close)
    torch.testing.assert_close(
        losses.island_pairs(b["centers"]), torch.tensor(pairs / 0.7, dtype=torch.float64), **close
    )


@pytest.mark.parametrize("gamma", [1.0, 0.3])
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_island_update_equals_the_equation(dtype, gamma):
    b = batch(dtype=dtype)
    features, targets, centers = b["features"], b["targets"] % 3, b["centers"]  # class 3 is absent
    before = centers.clone()
    new = losses.update_centers_island(features, targets, centers, gamma, 0.7)
    expected = island_update_equation(features.double(), targets, centers.double(), gamma, 0.7)
    assert new.dtype == dtype
    torch.testing.assert_close(new, expected, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype], check_dtype=False)
    assert torch.equal(centers, before)
    assert not torch.equal(new[3], centers[3])  # the pairs turn absent classes too


def test_island_update_descends_the_loss_that_it_belongs_to():
    """Its second part is λ₁/(2(C−1)) of the gradient of the pairs: every pair occurs twice in them."""
    b = batch()
    centers = b["centers"].requires_grad_()
    (gradient,) = torch.autograd.grad(losses.island_pairs(centers), centers)
    new = losses.update_centers_island(b["features"], b["targets"], centers, 0.3, 0.7)
    pulled = update_centers_wen(b["features"], b["targets"], centers, 0.3)
    torch.testing.assert_close(new - pulled, -0.3 * 0.7 / (2 * 3) * gradient)
    assert not new.requires_grad


def test_repeated_island_updates_spread_the_directions():
    """Three centres in the plane end 120° apart, the least that the pairs can sum to: 6 · (1 − ½)."""
    centers = torch.tensor([[1.0, 0.1], [1.0, 0.0], [0.9, -0.2]], dtype=torch.float64)
    for _ in range(500):
        # Every centre's own position as its only sample: nothing pulls.
        centers = losses.update_centers_island(centers, torch.arange(3), centers, 0.1, 1.0)
    assert losses.island_pairs(centers).item() == pytest.approx(3, abs=1e-6)


def value_and_gradient(loss, logits):
    (gradient,) = torch.autograd.grad(loss, logits)
    return loss.detach(), gradient


@pytest.mark.parametrize("weighted", [False, True])
def test_degenerate_cases_equal_torch_in_value_and_gradient(weighted):
    b = batch()
    logits, targets = b["logits"].requires_grad_(), b["targets"]
    weights = b["weights"] if weighted else None
    reduction = "weighted_mean"  # what torch means by "mean"
    zeros = torch.zeros(4)
    expected = value_and_gradient(F.cross_entropy(logits, targets, weight=weights), logits)
    computed = {
        "focal γ = 0": losses.focal_loss(logits, targets, 0.0, weights, reduction),
        "ldam Δ = 0": losses.ldam_loss(logits, targets, zeros, 30.0, weights, reduction),
        "ldam Δ_max = 0": losses.ldam_loss(
            logits, targets, losses.ldam_margins([9, 5, 2, 1], 0.0), 30.0, weights, reduction
        ),
    }
    if not weighted:
        computed["arcface m = 0"] = losses.arcface_loss(logits, targets, 0.0, 20.0)
        flat = losses.effective_number_weights([9, 5, 2, 1], beta=0.0).double()
        computed |= {
            "τ = 0": losses.logit_adjusted_loss(logits, targets, b["counts"], 0.0),
            "equal counts": losses.logit_adjusted_loss(logits, targets, torch.full((4,), 7.0), 1.0),
            "β = 0": weighted_softmax_loss(logits, targets, flat, reduction),
        }
    for name, loss in computed.items():
        value, gradient = value_and_gradient(loss, logits)
        torch.testing.assert_close(value, expected[0], msg=name)
        torch.testing.assert_close(gradient, expected[1], msg=name)


def test_island_without_pairs_is_center_loss():
    b = batch()
    features, centers = b["features"].requires_grad_(), b["centers"].requires_grad_()
    ours = losses.island_loss(features, b["targets"], centers, 0.0)
    theirs = center_loss(features, b["targets"], centers)
    torch.testing.assert_close(ours, theirs)
    for mine, other in zip(
        torch.autograd.grad(ours, (features, centers)), torch.autograd.grad(theirs, (features, centers)), strict=True
    ):
        torch.testing.assert_close(mine, other)
    torch.testing.assert_close(
        losses.update_centers_island(features, b["targets"], centers, 0.3, 0.0),
        update_centers_wen(features, b["targets"], centers, 0.3),
    )


def test_balanced_softmax_is_the_softmax_of_a_balanced_test():
    """Ren et al., Eq. 4: n_j e^{z_j} / Σ n_l e^{z_l}, in products instead of sums of logarithms."""
    b = batch()
    powers = b["counts"] * b["logits"].exp()
    expected = -(powers / powers.sum(dim=1, keepdim=True))[torch.arange(12), b["targets"]].log().mean()
    torch.testing.assert_close(losses.logit_adjusted_loss(b["logits"], b["targets"], b["counts"]), expected)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_gradients_by_differences(reduction):
    b = batch(n=5, dim=3)
    logits, features, centers = (b[name].requires_grad_() for name in ("logits", "features", "centers"))
    targets, weights = b["targets"], b["weights"]
    for function, inputs in (
        (lambda z: losses.focal_loss(z, targets, 2.0, weights, reduction), (logits,)),
        (lambda z: losses.focal_loss(z, targets, 0.3, None, reduction), (logits,)),
        (lambda z: losses.logit_adjusted_loss(z, targets, b["counts"], 0.7, reduction), (logits,)),
        (lambda z: losses.ldam_loss(z, targets, b["margins"], 5.0, weights, reduction), (logits,)),
        (lambda z: losses.arcface_loss(z, targets, 0.7, 20.0, reduction), (logits,)),
        (lambda x, c: losses.island_loss(x, targets, c, 0.7, reduction), (features, centers)),
    ):
        assert torch.autograd.gradcheck(function, inputs)
        assert torch.autograd.gradgradcheck(function, inputs)


@pytest.mark.parametrize("beta", [0.0, 0.5, 0.9, 0.999, 0.9999])
def test_effective_number_weights_equal_the_definition(beta):
    """E_n = 1 + β + … + β^{n−1}, the sum of the geometric series (Cui et al., Eq. 1 to Prop. 1)."""
    counts = [1, 3, 50, 2000]
    inverse = [1 / math.fsum(beta**power for power in range(n)) for n in counts]
    weights = losses.effective_number_weights(counts, beta)
    assert weights.dtype == torch.float32
    torch.testing.assert_close(weights.double(), torch.tensor([4 * w / sum(inverse) for w in inverse]).double())


def test_effective_number_weights_have_the_papers_limits():
    """Cui et al.: E_n = n for β → 1 (with n ≪ 1/(1 − β)), and E_n → N = 1/(1 − β) for n → ∞."""
    ratio = losses.effective_number_weights([1, 10**9], beta=0.9999)
    assert (ratio[0] / ratio[1]).item() == pytest.approx(10_000)
    inverse = losses.effective_number_weights(TABLE_3, beta=1 - 1e-15)
    torch.testing.assert_close(inverse / inverse.max(), class_weights(TABLE_3))
    assert torch.equal(losses.effective_number_weights(TABLE_3, beta=0.0), torch.ones(8))


@pytest.mark.parametrize("beta", [0.0, 0.9, 0.9999, 1 - 1e-12])
def test_effective_number_weights_of_table_3(beta):
    weights = losses.effective_number_weights(TABLE_3, beta)
    assert weights.sum().item() == pytest.approx(8)
    order = torch.tensor(TABLE_3).argsort()
    assert (weights[order].diff() <= 0).all()  # the rarer, the heavier


@pytest.mark.parametrize("counts", [torch.tensor(TABLE_3), torch.tensor(TABLE_3).numpy(), tuple(TABLE_3)])
def test_any_vector_of_counts_is_taken(counts):
    assert torch.equal(losses.effective_number_weights(counts), losses.effective_number_weights(TABLE_3))
    assert torch.equal(losses.ldam_margins(counts), losses.ldam_margins(TABLE_3))


def test_margins_of_table_3():
    margins = losses.ldam_margins(TABLE_3, max_margin=0.4)
    assert margins.dtype == torch.float32
    assert margins[7].item() == pytest.approx(0.4)
    constant = [margin * n**0.25 for margin, n in zip(margins.tolist(), TABLE_3, strict=True)]
    assert constant == pytest.approx([constant[0]] * 8)  # Δ_j n_j^{1/4} = C


@pytest.mark.parametrize("gamma", FOCAL_GAMMAS)
def test_focal_loss_at_extreme_logits(gamma):
    targets = torch.tensor([0, 1])
    logits = torch.tensor([[100.0, -100.0], [100.0, -100.0]], requires_grad=True)
    loss = losses.focal_loss(logits, targets, gamma, reduction="none")
    assert loss.tolist() == [0, 200]  # surely right, surely wrong
    (gradient,) = torch.autograd.grad(loss.sum(), logits, create_graph=True)
    torch.testing.assert_close(gradient, torch.tensor([[0.0, 0.0], [1.0, -1.0]]))
    (curvature,) = torch.autograd.grad(gradient.square().sum(), logits)
    assert curvature.isfinite().all()


def test_focal_gradient_of_a_sample_that_is_certain_to_rounding():
    """p = 1 − 1e−22, which rounds to 1: 0^(γ−1) is where a power of 1 − p has its infinite derivative."""
    logits = torch.tensor([[50.66, 0.0]], dtype=torch.float64, requires_grad=True)
    loss = losses.focal_loss(logits, torch.tensor([0]), 0.1)
    (gradient,) = torch.autograd.grad(loss, logits)
    assert gradient.isfinite().all()
    assert gradient.abs().max() < 1e-20
    assert 0 <= loss.item() < 1e-20


def test_other_losses_at_extreme_logits():
    targets, counts = torch.tensor([0, 1]), torch.tensor([1.0, 1e6])
    logits = torch.tensor([[100.0, -100.0], [100.0, -100.0]], requires_grad=True)
    adjusted = losses.logit_adjusted_loss(logits, targets, counts, reduction="none")
    margined = losses.ldam_loss(logits, targets, torch.tensor([0.5, 0.1]), 30.0, reduction="none")
    angular = losses.arcface_loss(logits, targets, 0.5, 100.0, reduction="none")
    assert adjusted.tolist() == pytest.approx([0, 200 - math.log(1e6)])
    assert margined.tolist() == pytest.approx([0, 203])
    assert angular.tolist() == pytest.approx([0, 200 + 100 * 0.5 * math.sin(0.5)])
    for loss in (adjusted, margined, angular):
        assert torch.autograd.grad(loss.sum(), logits)[0].isfinite().all()


def test_one_class_and_one_sample():
    """C = 1 has nothing to confuse and no pairs; N = 1 has a mean that is the sum."""
    b = batch(n=3, classes=1)
    logits, centers = b["logits"].requires_grad_(), b["centers"].requires_grad_()
    for gamma in FOCAL_GAMMAS:
        value, gradient = value_and_gradient(losses.focal_loss(logits, b["targets"], gamma), logits)
        assert value == 0 and torch.equal(gradient, torch.zeros(3, 1))
    assert losses.logit_adjusted_loss(logits, b["targets"], b["counts"]) == 0
    assert losses.ldam_loss(logits, b["targets"], b["margins"]) == 0
    assert losses.arcface_loss(logits, b["targets"]) == 0
    assert losses.island_pairs(centers).item() == pytest.approx(0, abs=1e-12)
    torch.testing.assert_close(
        losses.update_centers_island(b["features"], b["targets"], centers),
        update_centers_wen(b["features"], b["targets"], centers, 0.5),
    )

    b = batch(n=1)
    for name, mean in softmax_losses(b).items():
        torch.testing.assert_close(mean, softmax_losses(b, reduction="sum")[name])
    island = [losses.island_loss(b["features"], b["targets"], b["centers"], reduction=how) for how in ("mean", "sum")]
    torch.testing.assert_close(*island)


def test_large_features_do_not_cancel():
    targets = torch.tensor([0, 1])
    centers = torch.tensor([[1e4, 0.0], [1e4, 1.0]])
    features = centers + torch.tensor([0.5, 0.0])
    assert losses.island_loss(features, targets, centers, 0.0, "none").tolist() == [0.125, 0.125]
    assert losses.island_pairs(centers).item() == pytest.approx(4)
    new = losses.update_centers_island(features, targets, centers)
    torch.testing.assert_close(new, island_update_equation(features, targets, centers, 0.5, 10.0))
    assert losses.island_pairs(1e4 * torch.ones(3, 512)).item() == pytest.approx(12)


def test_identical_centers_are_a_stationary_maximum():
    centers = torch.ones(3, 2, dtype=torch.float64, requires_grad=True)
    pairs = losses.island_pairs(centers)
    assert pairs.item() == pytest.approx(12)
    assert torch.autograd.grad(pairs, centers)[0].abs().max() < 1e-12


@pytest.mark.parametrize("zeros", [1, 3])
def test_centers_at_the_origin_have_no_direction(zeros):
    """As `center_init="zeros"` starts: no infinity and no NaN, in values, gradients and updates."""
    centers = torch.tensor([[3.0, 4.0], [0.0, 2.0], [1.0, 0.0]])
    centers[:zeros] = 0
    centers.requires_grad_()
    loss = losses.island_loss(torch.ones(2, 2), torch.tensor([0, 0]), centers, 0.5, "sum")
    expected = 2 + 0.5 * 6  # the other cosines are 0
    assert loss.item() == pytest.approx(expected)
    (gradient,) = torch.autograd.grad(loss, centers, create_graph=True)
    torch.testing.assert_close(gradient[0], torch.tensor([-2.0, -2.0]))
    assert torch.autograd.grad(gradient.square().sum(), centers)[0].isfinite().all()
    new = losses.update_centers_island(torch.ones(2, 2), torch.tensor([0, 0]), centers, 0.5, 0.5)
    torch.testing.assert_close(new[0], torch.full((2,), 0.5 * 2 / 3))
    assert new.isfinite().all()


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), n=st.integers(1, 9), classes=st.integers(2, 6), dim=st.integers(1, 5))
def test_laws(seed, n, classes, dim):
    """Nothing changes when a batch is permuted, classes renamed, or features and centres turned together."""
    b = batch(seed, n, dim, classes)
    random = torch.Generator().manual_seed(seed)
    rows, names = torch.randperm(n, generator=random), torch.randperm(classes, generator=random)
    turn = torch.linalg.qr(torch.randn(dim, dim, generator=random, dtype=torch.float64)).Q

    permuted = b | {name: b[name][rows] for name in ("logits", "features", "targets")}
    renamed = b | {"targets": names[b["targets"]], "logits": torch.empty_like(b["logits"])}
    renamed["logits"][:, names] = b["logits"]
    for name in ("centers", "weights", "counts", "margins"):
        renamed[name] = torch.empty_like(b[name])
        renamed[name][names] = b[name]
    turned = b | {name: b[name] @ turn for name in ("features", "centers")}

    def values(b):
        island = losses.island_loss(b["features"], b["targets"], b["centers"], 0.7)
        return torch.stack([*softmax_losses(b, b["weights"], "weighted_mean").values(), island])

    def update(b):
        return losses.update_centers_island(b["features"], b["targets"], b["centers"], 0.3, 0.7)

    # In one dimension cosines are ±1 and their derivative is 0, over norms that may be small.
    close = {"rtol": 1e-7, "atol": 1e-9}
    for changed in (permuted, renamed, turned):
        torch.testing.assert_close(values(changed), values(b), **close)
    torch.testing.assert_close(update(permuted), update(b), **close)
    torch.testing.assert_close(update(renamed)[names], update(b), **close)
    torch.testing.assert_close(update(turned), update(b) @ turn, **close)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), factor=st.floats(1e-3, 1e3))
def test_pairs_depend_on_directions_alone(seed, factor):
    b = batch(seed)
    scales = factor * (b["weights"][:, None] + 0.1)
    torch.testing.assert_close(losses.island_pairs(scales * b["centers"]), losses.island_pairs(b["centers"]))


def test_island_loss_depends_on_the_origin():
    b = batch()
    shift = torch.tensor([5.0, 0, 0, 0, 0, 0], dtype=torch.float64)
    features, centers = b["features"] + shift, b["centers"] + shift
    torch.testing.assert_close(
        losses.island_loss(features, b["targets"], centers, 0.0),
        losses.island_loss(b["features"], b["targets"], b["centers"], 0.0),
    )
    assert losses.island_pairs(centers) > losses.island_pairs(b["centers"]) + 1


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_float32(dtype):
    b = batch(dtype=torch.float32)
    half = b | {name: b[name].to(dtype) for name in ("logits", "features")}
    exact = half | {name: half[name].float() for name in ("logits", "features")}

    def values(b):
        island = losses.island_loss(b["features"], b["targets"], b["centers"])
        return softmax_losses(b, b["weights"]) | {"island": island}

    for name in ("logits", "features"):
        half[name].requires_grad_()
    with torch.autocast("cpu", dtype=dtype):
        computed = values(half)
        moved = losses.update_centers_island(half["features"], b["targets"], b["centers"])
    for name, expected in values(exact).items():
        assert computed[name].dtype == torch.float32
        torch.testing.assert_close(computed[name], expected)
    sum(computed.values()).backward()
    assert half["logits"].grad.isfinite().all() and half["features"].grad.isfinite().all()
    assert moved.dtype == torch.float32
    torch.testing.assert_close(moved, losses.update_centers_island(exact["features"], b["targets"], b["centers"]))

    half_centers = b["centers"].to(dtype)
    assert losses.island_pairs(half_centers).dtype == torch.float32
    assert losses.update_centers_island(half["features"], b["targets"], half_centers).dtype == dtype
    # 300² is beyond float16, whose largest number is 65504.
    assert losses.island_pairs(torch.full((2, 512), 300.0).to(dtype)).item() == pytest.approx(4)


GOOD = batch(dtype=torch.float32)
NAN, INFINITY = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("function", "names", "change", "message"),
    [
        ("focal_loss", "logits targets", {"focal_gamma": -0.5}, r"focal_gamma \(γ\) ≥ 0; found -0.5"),
        ("focal_loss", "logits targets", {"focal_gamma": NAN}, "found nan"),
        ("focal_loss", "logits targets", {"focal_gamma": INFINITY}, "found inf"),
        ("focal_loss", "logits targets", {"weights": torch.ones(3)}, r"weights of shape \(4,\).*found \(3,\)"),
        ("focal_loss", "logits targets", {"logits": torch.zeros(12)}, r"logits of shape \(N, C\)"),
        ("focal_loss", "logits targets", {"targets": torch.full((12,), 4)}, r"targets in 0…3 .*found 4"),
        ("focal_loss", "logits targets", {"reduction": "average"}, "unknown reduction"),
        ("logit_adjusted_loss", "logits targets counts", {"tau": -1}, r"tau \(τ\) ≥ 0; found -1"),
        ("logit_adjusted_loss", "logits targets counts", {"counts": torch.ones(3)}, r"counts of shape \(4,\).*\(3,\)"),
        ("logit_adjusted_loss", "logits targets counts", {"counts": torch.ones(4).long()}, "counts .*torch.int64"),
        ("logit_adjusted_loss", "logits targets counts", {"counts": torch.zeros(4)}, "counts > 0"),
        ("logit_adjusted_loss", "logits targets counts", {"logits": torch.zeros(12)}, r"logits of shape \(N, C\)"),
        ("logit_adjusted_loss", "logits targets counts", {"reduction": "avg"}, "unknown reduction"),
        ("ldam_loss", "logits targets margins", {"scale": 0}, "scale > 0.*found 0"),
        ("ldam_loss", "logits targets margins", {"scale": NAN}, "scale > 0.*found nan"),
        ("ldam_loss", "logits targets margins", {"margins": torch.ones(4, 1)}, r"margins of shape .*found \(4, 1\)"),
        ("ldam_loss", "logits targets margins", {"margins": -torch.ones(4)}, "margins ≥ 0"),
        ("ldam_loss", "logits targets margins", {"weights": torch.zeros(4)}, "weights > 0"),
        ("ldam_loss", "logits targets margins", {"targets": torch.zeros(12)}, "int64.*torch.float32"),
        ("ldam_loss", "logits targets margins", {"reduction": "avg"}, "unknown reduction"),
        ("arcface_loss", "logits targets", {"angular_margin": -0.1}, r"angular_margin \(m\) in 0 ≤ m ≤ π/2.*-0.1"),
        ("arcface_loss", "logits targets", {"angular_margin": 1.58}, "found 1.58"),
        ("arcface_loss", "logits targets", {"angular_margin": NAN}, "found nan"),
        ("arcface_loss", "logits targets", {"scale": 0}, "scale > 0.*found 0"),
        ("arcface_loss", "logits targets", {"targets": torch.full((12,), 4)}, r"targets in 0…3 .*found 4"),
        ("arcface_loss", "logits targets", {"reduction": "avg"}, "unknown reduction"),
        ("island_loss", "features targets centers", {"island_weight": -1}, r"island_weight \(λ₁\) ≥ 0; found -1"),
        ("island_loss", "features targets centers", {"centers": torch.ones(4, 5)}, "same size D"),
        ("island_loss", "features targets centers", {"features": torch.full((12, 6), NAN)}, "finite features"),
        ("island_loss", "features targets centers", {"reduction": "avg"}, "unknown reduction"),
        ("update_centers_island", "features targets centers", {"island_weight": NAN}, "island_weight"),
        ("update_centers_island", "features targets centers", {"targets": torch.full((12,), -1)}, "found -1"),
    ],
)
def test_bad_input_is_refused_in_one_line(function, names, change, message):
    arguments = {name: GOOD[name] for name in names.split()}
    getattr(losses, function)(**arguments)
    with pytest.raises(InputError, match=message) as error:
        getattr(losses, function)(**arguments | change)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("function", [losses.effective_number_weights, losses.ldam_margins])
@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ([5, 5, 5, 5, 5, 0, 5, 5], r"found 0 for 'disgust' \(class 5\)"),
        ([5, -2, 5], "found -2 for class 1"),
        ([5, NAN], "found nan for class 1"),
        ([[1, 2]], r"found \(1, 2\)"),
        ([3], r"found \(1,\)"),
    ],
)
def test_bad_counts_are_refused(function, counts, message):
    with pytest.raises(InputError, match=message):
        function(counts)


def test_bad_parameters_of_weights_and_margins_are_refused():
    for beta in (1, 1.5, -0.1, NAN):
        with pytest.raises(InputError, match="0 ≤ β < 1"):
            losses.effective_number_weights(TABLE_3, beta)
    for max_margin in (-0.1, NAN, INFINITY):
        with pytest.raises(InputError, match="max_margin ≥ 0"):
            losses.ldam_margins(TABLE_3, max_margin)
