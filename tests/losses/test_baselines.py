"""Other authors' losses against their equations in double loops, against torch and laws."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from fer_utils import losses
from fer_utils.core import InputError
from tests.losses import equations as eq
from tests.losses.equations import REDUCTIONS, TABLE_3, assert_close, log_loss, make_batch, reduced

COUNTS = torch.tensor([400.0, 31.0, 7.0, 90.0], dtype=torch.float64)
MARGINS = torch.tensor([0.1, 0.3, 0.5, 0.2], dtype=torch.float64)
NAN = float("nan")


def logit_losses(logits, targets, reduction="mean", weights=None):
    """Every loss of logits, with constants that are none of the defaults."""
    options = {"weights": weights, "reduction": reduction}
    return {
        "focal": losses.focal_loss(logits, targets, 1.5, **options),
        "logit_adjusted": losses.logit_adjusted_loss(logits, targets, COUNTS, 0.7, **options),
        "ldam": losses.ldam_loss(logits, targets, MARGINS, 5.0, **options),
        "arcface": losses.arcface_loss(logits, targets, 0.7, 20.0, **options),
    }


def focal(row, y):
    return (1 - math.exp(-log_loss(row, y))) ** 1.5 * log_loss(row, y)


def logit_adjusted(row, y):
    priors = [float(count) / float(COUNTS.sum()) for count in COUNTS]
    return log_loss([float(z) + 0.7 * math.log(p) for z, p in zip(row, priors, strict=True)], y)


def ldam(row, y):
    return log_loss([float(z) - 5 * float(MARGINS[y]) * (j == y) for j, z in enumerate(row)], y)


def arcface(row, y, margin=0.7, scale=20.0):
    angle = math.acos(float(row[y]) / scale)
    moved = math.cos(angle + margin)
    if angle + margin >= math.pi:
        moved = math.cos(angle) - margin * math.sin(margin)
    return log_loss([scale * moved if j == y else float(z) for j, z in enumerate(row)], y)


def cosine_pairs(centers):
    def cosine(a, b):
        return eq.dot(a, b) / math.sqrt(eq.dot(a, a) * eq.dot(b, b))

    classes = range(len(centers))
    return sum(cosine(centers[k], centers[j]) + 1 for j in classes for k in classes if k != j)


def island_rule(features, targets, centers, gamma, island_weight):
    """Cai et al., Eq. 9 and 10."""
    new = eq.wens_rule(features, targets, centers, gamma)
    for j, center in enumerate(centers):
        norm = math.sqrt(eq.dot(center, center))
        for k, other in enumerate(centers):
            if k != j:
                length = math.sqrt(eq.dot(other, other)) * norm
                turn = other / length - eq.dot(other, center) / (length * norm**2) * center
                new[j] -= gamma * island_weight / (len(centers) - 1) * turn
    return new


@pytest.mark.parametrize("equation", [focal, logit_adjusted, ldam, arcface])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_losses_of_logits_equal_the_equations(reduction, weighted, equation):
    logits, _, targets, _, weights = make_batch()
    found = logit_losses(logits, targets, reduction, weights if weighted else None)
    by = weights if weighted else torch.ones(4)
    expected = reduced(lambda i, j: equation(logits[i], j), targets, by, reduction)
    assert_close(found[equation.__name__], expected)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("soft", [False, True])
def test_island_loss_and_update_equal_the_equations(soft, reduction):
    _, features, targets, centers, _ = make_batch(soft=soft)
    batch = features, targets if soft else targets % 3, centers  # the pairs turn absent classes too
    pairs = 0.7 * cosine_pairs(centers) / 12  # the batch's pairs, a twelfth of them an image

    def island(i, j):
        return 0.5 * eq.squared_distance(features[i], centers[j]) + pairs

    found = losses.island_loss(*batch, 0.7, reduction)
    assert_close(found, reduced(island, batch[1], torch.ones(4), reduction))
    moved = losses.update_centers_island(*batch, 0.3, 0.7)
    assert_close(moved, island_rule(*batch, 0.3, 0.7))


@pytest.mark.parametrize("zeros", [1, 3])
def test_centers_at_the_origin_have_no_direction(zeros):
    """As `center_init="zeros"` starts: nothing becomes infinite or NaN."""
    centers = torch.tensor([[3.0, 4.0], [0.0, 2.0], [1.0, 0.0]])
    centers[:zeros] = 0
    sample = torch.ones(2, 2), torch.tensor([0, 0]), centers.requires_grad_()
    loss = losses.island_loss(*sample, 0.5, "sum")
    assert loss.item() == pytest.approx(2 + 0.5 * 6)  # every cosine with a zero is 0
    assert torch.autograd.grad(loss, centers)[0][0].tolist() == [-2, -2]
    new = losses.update_centers_island(*sample, 0.5, 0.5)
    assert new[0].tolist() == pytest.approx([1 / 3, 1 / 3]) and new.isfinite().all()


@pytest.mark.parametrize("margin", [0.1, 0.5, 1.5])
def test_arcface_loss_at_any_angle(margin):
    """On both sides of θ = π − m, where cos(θ + m) turns up again."""
    angles = torch.linspace(0.01, math.pi - 0.01, 50, dtype=torch.float64)
    logits = 4 * torch.stack([angles.cos(), torch.full_like(angles, 0.3)], dim=1)
    targets = torch.zeros(50, dtype=torch.int64)
    found = losses.arcface_loss(logits, targets, margin, 4.0, reduction="none")
    assert found.tolist() == pytest.approx([arcface(row, 0, margin, 4.0) for row in logits])
    assert (found.diff() > 0).all()  # the farther away, the worse


def test_extreme_logits_and_angles():
    """Cosines of ±1 among them, where the angle's derivative is infinite."""
    logits = torch.tensor([[100.0, -100.0], [100.0, -100.0]], requires_grad=True)
    batch = logits, torch.tensor([0, 1])  # surely right, surely wrong
    for function, constants, more in (
        (losses.focal_loss, (0.3,), 0),
        (losses.logit_adjusted_loss, (COUNTS[:2],), math.log(400 / 31)),
        (losses.ldam_loss, (MARGINS[:2],), 30 * 0.3),
        (losses.arcface_loss, (0.5, 100.0), 50 * math.sin(0.5)),
    ):
        loss = function(*batch, *constants, reduction="none")
        assert loss.tolist() == pytest.approx([0, 200 + more])
        assert torch.autograd.grad(loss.sum(), logits)[0].isfinite().all()


@pytest.mark.parametrize("weighted", [False, True])
def test_degenerate_cases_equal_torch_in_value_and_gradient(weighted):
    logits, _, targets, _, weights = make_batch()
    logits.requires_grad_()
    options = {"weights": weights if weighted else None, "reduction": "weighted_mean"}
    same = torch.full((4,), 7.0, dtype=torch.float64)
    cases = {
        "γ = 0": losses.focal_loss(logits, targets, 0.0, **options),
        "τ = 0": losses.logit_adjusted_loss(logits, targets, COUNTS, 0.0, **options),
        "equal counts": losses.logit_adjusted_loss(logits, targets, same, 1.0, **options),
        "Δ → 0": losses.ldam_loss(logits, targets, same * 1e-18, 30.0, **options),
        "m = 0": losses.arcface_loss(logits, targets, 0.0, 20.0, **options),
    }
    expected = F.cross_entropy(logits, targets, weight=options["weights"])
    (gradient,) = torch.autograd.grad(expected, logits)
    for name, loss in cases.items():
        assert_close(loss, expected, note=name)
        assert_close(torch.autograd.grad(loss, logits)[0], gradient, note=name)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_gradients_by_differences(reduction):
    logits, features, targets, centers, weights = make_batch(n=3, dim=2)

    def all_of_them(z, x, c):
        island = losses.island_loss(x, targets, c, 0.7, reduction)
        return *logit_losses(z, targets, reduction, weights).values(), island

    leaves = [leaf.requires_grad_() for leaf in (logits, features, centers)]
    assert torch.autograd.gradcheck(all_of_them, leaves)


@pytest.mark.parametrize("beta", [0.0, 0.5, 0.9999])
def test_effective_number_weights_equal_the_definition(beta):
    """E_n = 1 + β + … + β^{n−1}, the sum of the geometric series (Cui et al., Prop. 1)."""
    counts = [1, 3, 50, 2000]
    inverse = [1 / math.fsum(beta**power for power in range(n)) for n in counts]
    expected = [4 * value / sum(inverse) for value in inverse]
    assert losses.effective_number_weights(counts, beta).tolist() == pytest.approx(expected)
    weights = losses.effective_number_weights(TABLE_3, beta=1 - 1e-15)  # tends to Eq. 6
    assert_close(weights / weights.max(), losses.class_weights(TABLE_3), 1e-6)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), n=st.integers(1, 9), factor=st.floats(1e-3, 1e3))
def test_laws(seed, n, factor):
    """Permuted batches; pairs that depend on directions alone, also those turned together."""
    logits, _, targets, centers, weights = make_batch(seed, n)
    random = torch.Generator().manual_seed(seed)
    rows = torch.randperm(n, generator=random)
    found = logit_losses(logits[rows], targets[rows], "weighted_mean", weights)
    for name, expected in logit_losses(logits, targets, "weighted_mean", weights).items():
        assert_close(found[name], expected, note=name)
    turn = torch.linalg.qr(torch.randn(6, 6, generator=random, dtype=torch.float64)).Q
    for moved in (factor * weights[:, None] * centers, centers @ turn):
        pairs = losses.island_loss(moved[:1], torch.tensor([0]), moved, 1.0)  # nothing else
        assert pairs.item() == pytest.approx(cosine_pairs(centers))


@pytest.mark.parametrize(
    ("function", "tensors", "word"),
    [
        (losses.logit_adjusted_loss, (torch.ones(3),), "(3,)"),
        (losses.logit_adjusted_loss, (torch.zeros(4),), "counts > 0"),
        (losses.ldam_loss, (torch.ones(4, 1),), "(4, 1)"),
        (losses.ldam_loss, (MARGINS, NAN), "nan"),
        (losses.arcface_loss, (NAN,), "nan"),
        (losses.focal_loss, (float("inf"),), "inf"),
    ],
)
def test_bad_input_is_refused(function, tensors, word):
    logits, _, targets, _, _ = make_batch()
    with pytest.raises(InputError) as error:
        function(logits, targets, *tensors)
    assert word in str(error.value)
