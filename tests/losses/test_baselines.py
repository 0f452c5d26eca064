"""Other authors' losses against their equations in double loops, against torch and laws."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from fer_utils import losses
from fer_utils.core import InputError
from tests.losses.equations import (
    REDUCTIONS,
    TABLE_3,
    assert_close,
    dot,
    log_loss,
    make_batch,
    reduced,
    squared_distance,
    wens_rule,
)

COUNTS = torch.tensor([400.0, 31.0, 7.0, 90.0], dtype=torch.float64)
MARGINS = torch.tensor([0.1, 0.3, 0.5, 0.2], dtype=torch.float64)
NAN, INFINITY = float("nan"), float("inf")


def logit_losses(logits, targets, reduction="mean", weights=None):
    """Every loss of logits, with constants that are none of the defaults."""
    options = {"weights": weights, "reduction": reduction}
    return {
        "focal": losses.focal_loss(logits, targets, 1.5, **options),
        "logit_adjusted": losses.logit_adjusted_loss(logits, targets, COUNTS, 0.7, **options),
        "ldam": losses.ldam_loss(logits, targets, MARGINS, 5.0, **options),
        "arcface": losses.arcface_loss(logits, targets, 0.7, 20.0, **options),
    }


def focal_equation(row, y, gamma=1.5):
    return (1 - math.exp(-log_loss(row, y))) ** gamma * log_loss(row, y)


def adjusted_equation(row, y, tau=0.7):
    priors = [float(count) / float(COUNTS.sum()) for count in COUNTS]
    return log_loss([float(z) + tau * math.log(p) for z, p in zip(row, priors, strict=True)], y)


def ldam_equation(row, y, scale=5.0):
    return log_loss([float(z) - scale * float(MARGINS[y]) * (j == y) for j, z in enumerate(row)], y)


def arcface_equation(row, y, margin=0.7, scale=20.0):
    angle = math.acos(float(row[y]) / scale)
    moved = math.cos(angle + margin)
    if angle + margin >= math.pi:
        moved = math.cos(angle) - margin * math.sin(margin)
    return log_loss([scale * moved if j == y else float(z) for j, z in enumerate(row)], y)


def pairs_equation(centers):
    def cosine(a, b):
        return dot(a, b) / math.sqrt(dot(a, a) * dot(b, b))

    classes = range(len(centers))
    return sum(cosine(centers[k], centers[j]) + 1 for j in classes for k in classes if k != j)


def island_rule(features, targets, centers, gamma, island_weight):
    """Cai et al., Eq. 9 and 10."""
    new = wens_rule(features, targets, centers, gamma)
    for j, center in enumerate(centers):
        norm = math.sqrt(dot(center, center))
        for k, other in enumerate(centers):
            if k != j:
                length = math.sqrt(dot(other, other)) * norm
                turn = other / length - dot(other, center) / (length * norm**2) * center
                new[j] -= gamma * island_weight / (len(centers) - 1) * turn
    return new


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_losses_of_logits_equal_the_equations(dtype, reduction, weighted):
    logits, _, targets, _, weights = make_batch(dtype=dtype)
    equations = {
        "focal": focal_equation,
        "logit_adjusted": adjusted_equation,
        "ldam": ldam_equation,
        "arcface": arcface_equation,
    }
    found = logit_losses(logits, targets, reduction, weights if weighted else None)
    for name, equation in equations.items():
        expected = reduced(
            lambda i, j, equation=equation: equation(logits[i], j),
            targets, weights if weighted else torch.ones(4), reduction,
        )  # fmt: skip
        assert_close(found[name], expected, dtype, f"{name}: ")


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("soft", [False, True])
def test_island_loss_equals_the_equation(soft, reduction):
    _, features, targets, centers, _ = make_batch(soft=soft)
    found = losses.island_loss(features, targets, centers, 0.7, reduction)
    share = 0.7 * pairs_equation(centers) / 12  # the batch's pairs, a twelfth of them an image
    expected = reduced(
        lambda i, j: 0.5 * squared_distance(features[i], centers[j]) + share,
        targets, torch.ones(4), reduction,
    )  # fmt: skip
    assert_close(found, expected)


@pytest.mark.parametrize("soft", [False, True])
def test_island_update_equals_the_equation(soft):
    _, features, targets, centers, _ = make_batch(soft=soft)
    if not soft:
        targets = targets % 3  # class 3 is absent; the pairs turn it too
    found = losses.update_centers_island(features, targets, centers, 0.3, 0.7)
    assert_close(found, island_rule(features, targets, centers, 0.3, 0.7))
    assert not found.requires_grad and not torch.equal(found[3], centers[3])


def test_repeated_island_updates_spread_the_directions():
    """Three centres in the plane end 120° apart, where the pairs sum to 6 · (1 − ½)."""
    centers = torch.tensor([[1.0, 0.1], [1.0, 0.0], [0.9, -0.2]], dtype=torch.float64)
    for _ in range(300):  # with every centre's own position as its only image, nothing pulls
        centers = losses.update_centers_island(centers, torch.arange(3), centers, 0.1, 1.0)
    assert pairs_equation(centers) == pytest.approx(3, abs=1e-6)


@pytest.mark.parametrize("zeros", [1, 3])
def test_centers_at_the_origin_have_no_direction(zeros):
    """As `center_init="zeros"` starts: nothing becomes infinite or NaN."""
    centers = torch.tensor([[3.0, 4.0], [0.0, 2.0], [1.0, 0.0]])
    centers[:zeros] = 0
    centers.requires_grad_()
    sample = torch.ones(2, 2), torch.tensor([0, 0]), centers
    loss = losses.island_loss(*sample, 0.5, "sum")
    assert loss.item() == pytest.approx(2 + 0.5 * 6)  # every cosine with a zero is 0
    (gradient,) = torch.autograd.grad(loss, centers)
    assert_close(gradient[0], torch.tensor([-2.0, -2.0]), torch.float32)
    new = losses.update_centers_island(*sample, 0.5, 0.5)
    assert_close(new[0], torch.full((2,), 0.5 * 2 / 3), torch.float32)
    assert new.isfinite().all() and gradient.isfinite().all()


@pytest.mark.parametrize("gamma", [0.3, 1.0, 2.0, 5.0])
def test_focal_loss_for_any_gamma(gamma):
    logits, _, targets, _, _ = make_batch()
    found = losses.focal_loss(logits, targets, gamma, reduction="none")
    expected = reduced(
        lambda i, j: focal_equation(logits[i], j, gamma), targets, torch.ones(4), "none"
    )
    assert_close(found, expected)

    logits = torch.tensor([[100.0, -100.0], [100.0, -100.0]], requires_grad=True)
    loss = losses.focal_loss(logits, torch.tensor([0, 1]), gamma, reduction="none")
    assert loss.tolist() == [0, 200]  # surely right, surely wrong
    (gradient,) = torch.autograd.grad(loss.sum(), logits)
    assert gradient.isfinite().all()


@pytest.mark.parametrize("margin", [0.1, 0.5, 1.5])
def test_arcface_loss_at_any_angle(margin):
    """On both sides of θ = π − m, where cos(θ + m) turns up again."""
    angles = torch.linspace(0.01, math.pi - 0.01, 50, dtype=torch.float64)
    logits = 4 * torch.stack([angles.cos(), torch.full_like(angles, 0.3)], dim=1)
    targets = torch.zeros(50, dtype=torch.int64)
    found = losses.arcface_loss(logits, targets, margin, 4.0, reduction="none")
    expected = [arcface_equation(row, 0, margin, 4.0) for row in logits]
    assert_close(found, torch.tensor(expected, dtype=torch.float64))
    assert (found.diff() > 0).all()  # the farther away, the worse


@pytest.mark.parametrize("cosine", [1.0, -1.0, 1 + 1e-6, -1 - 1e-6])
def test_arcface_gradient_where_the_angle_has_none(cosine):
    logits = torch.tensor([[30 * cosine, 0.0]], requires_grad=True)
    loss = losses.arcface_loss(logits, torch.tensor([0]), 0.5, 30.0)
    (gradient,) = torch.autograd.grad(loss, logits)
    assert loss.isfinite() and gradient.isfinite().all()


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
        assert_close(loss, expected, note=f"{name}: ")
        assert_close(torch.autograd.grad(loss, logits)[0], gradient, note=f"{name}: ")


def test_island_loss_without_pairs_is_center_loss():
    _, features, targets, centers, _ = make_batch()
    centers.requires_grad_()
    found = losses.island_loss(features, targets, centers, 0.0)
    expected = losses.center_loss(features, targets, centers)
    assert_close(found, expected)
    assert_close(*(torch.autograd.grad(loss, centers)[0] for loss in (found, expected)))
    moved = losses.update_centers_island(features, targets, centers, 0.3, 0.0)
    assert_close(moved, losses.update_centers_wen(features, targets, centers, 0.3))


def test_balanced_softmax_is_the_softmax_of_a_balanced_test():
    """Ren et al., Eq. 4: n_j e^{z_j} / Σ n_l e^{z_l}, in products instead of sums of logarithms."""
    logits, _, targets, _, _ = make_batch()
    powers = COUNTS * logits.exp()
    expected = -(powers / powers.sum(dim=1, keepdim=True))[torch.arange(12), targets].log().mean()
    assert_close(losses.logit_adjusted_loss(logits, targets, COUNTS), expected)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_gradients_by_differences(reduction):
    logits, features, targets, centers, weights = make_batch(n=3, dim=2)
    for leaf in (logits, features, centers):
        leaf.requires_grad_()
    for name in logit_losses(logits, targets):
        assert torch.autograd.gradcheck(
            lambda z, name=name: logit_losses(z, targets, reduction, weights)[name], logits
        )
    assert torch.autograd.gradcheck(
        lambda x, c: losses.island_loss(x, targets, c, 0.7, reduction), (features, centers)
    )


@pytest.mark.parametrize("beta", [0.0, 0.5, 0.9, 0.9999])
def test_effective_number_weights_equal_the_definition(beta):
    """E_n = 1 + β + … + β^{n−1}, the sum of the geometric series (Cui et al., Prop. 1)."""
    counts = [1, 3, 50, 2000]
    inverse = [1 / math.fsum(beta**power for power in range(n)) for n in counts]
    expected = torch.tensor([4 * value / sum(inverse) for value in inverse])
    assert_close(losses.effective_number_weights(counts, beta), expected, torch.float32)


def test_effective_number_weights_tend_to_equation_6():
    weights = losses.effective_number_weights(TABLE_3, beta=1 - 1e-15)
    assert_close(weights / weights.max(), losses.class_weights(TABLE_3), torch.float32)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), n=st.integers(1, 9), factor=st.floats(1e-3, 1e3))
def test_laws(seed, n, factor):
    """Permuted batches; pairs that depend on directions alone, also those turned together."""
    logits, features, targets, centers, weights = make_batch(seed, n)
    rows = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    found = logit_losses(logits[rows], targets[rows], "weighted_mean", weights)
    for name, expected in logit_losses(logits, targets, "weighted_mean", weights).items():
        assert_close(found[name], expected, note=f"{name}: ")

    turn = torch.linalg.qr(torch.randn(6, 6, dtype=torch.float64)).Q
    pairs = [
        losses.island_loss(c[:1], torch.tensor([0]), c, 1.0, "sum")  # a feature on its centre
        for c in (centers, factor * weights[:, None] * centers, centers @ turn)
    ]
    assert_close(pairs[1], pairs[0])
    assert_close(pairs[2], pairs[0])


@pytest.mark.parametrize(
    ("function", "change", "words"),
    [
        ("focal_loss", {"focal_gamma": -0.5}, ["focal_gamma", "-0.5"]),
        ("focal_loss", {"focal_gamma": INFINITY}, ["focal_gamma", "inf"]),
        ("logit_adjusted_loss", {"tau": -1}, ["tau", "-1"]),
        ("logit_adjusted_loss", {"counts": torch.ones(3)}, ["counts", "(3,)"]),
        ("logit_adjusted_loss", {"counts": torch.zeros(4)}, ["counts", "> 0"]),
        ("ldam_loss", {"scale": 0}, ["scale", "0"]),
        ("ldam_loss", {"margins": torch.ones(4, 1)}, ["margins", "(4, 1)"]),
        ("ldam_loss", {"weights": torch.zeros(4)}, ["weights", "> 0"]),
        ("arcface_loss", {"angular_margin": 1.58}, ["angular_margin", "1.58"]),
        ("arcface_loss", {"angular_margin": NAN}, ["angular_margin", "nan"]),
        ("arcface_loss", {"scale": NAN}, ["scale", "nan"]),
        ("island_loss", {"island_weight": -1}, ["island_weight", "-1"]),
        *[
            (name, {"targets": torch.full((12, 4), 0.25)}, ["targets", "(12,) int64", "(12, 4)"])
            for name in ("focal_loss", "ldam_loss", "arcface_loss")
        ],
    ],
)
def test_bad_input_is_refused_in_one_line(function, change, words):
    logits, features, targets, centers, _ = make_batch()
    needed = {"logits": logits, "targets": targets}
    extra = {"logit_adjusted_loss": {"counts": COUNTS}, "ldam_loss": {"margins": MARGINS}}
    if function == "island_loss":
        needed = {"features": features, "targets": targets, "centers": centers}
    with pytest.raises(InputError) as error:
        getattr(losses, function)(**needed | extra.get(function, {}) | change)
    assert "\n" not in str(error.value)
    assert all(word in str(error.value) for word in words)


@pytest.mark.parametrize("beta", [1, -0.1, NAN])
def test_bad_beta_is_refused(beta):
    with pytest.raises(InputError, match=f"beta.*{beta}"):
        losses.effective_number_weights(TABLE_3, beta)
