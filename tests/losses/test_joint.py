"""Joint losses by name: sums of their terms, readings, centres over time, and what is refused."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from fer_utils import losses
from fer_utils.core import InputError, paper
from fer_utils.core.parameters import HARD_LABEL_LOSSES
from tests.losses import equations as eq
from tests.losses.equations import TABLE_3, assert_close, make_batch, reduced

COUNTS = [40, 20, 10, 5]
WITH_CENTERS = [*paper.RECIPE["lambda"], "island_softmax"]
SINGLE = 2e-5


def make(name, counts=COUNTS, dim=6, **options):
    return losses.make_loss(name, counts, dim, **{"center_init": "normal", "seed": 3, **options})


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("power", [1.0, 0.5, 0.0])
@pytest.mark.parametrize("reduction", losses.REDUCTIONS)
@pytest.mark.parametrize("name", paper.LOSSES)
def test_joint_loss_is_the_sum_of_its_equations(name, reduction, power, soft):
    """Under "balanced" one constant, m · W̄, divides both terms."""
    logits, features, targets, _, _ = make_batch(soft=soft)
    loss = make(name, alpha=0.7, reduction=reduction, weight_power=power).double()
    ones, weights = torch.ones(4), torch.tensor([(5 / count) ** power for count in COUNTS])
    if "weighted" not in name:
        weights = ones
    if reduction == "balanced":
        reduction = sum(float(w) * n for w, n in zip(weights, COUNTS, strict=True)) / sum(COUNTS)

    def center(i, j):
        return 0.5 * eq.squared_distance(features[i], loss.centers[j])

    def cluster(i, j):
        return center(i, j) / (eq.separation(loss.centers, j) + 0.7)

    expected = reduced(lambda i, j: eq.log_loss(logits[i], j), targets, weights, reduction)
    if "center" in name:
        expected = expected + 0.5 * reduced(center, targets, ones, reduction)
    if "cluster" in name:
        expected = expected + reduced(cluster, targets, weights, reduction)
    assert_close(loss(logits, features, targets), expected, SINGLE)
    assert_close(loss.weights, weights, SINGLE)


@pytest.mark.parametrize(
    ("reduction", "expected"), [("balanced", 1), ("mean", 1), ("weighted_mean", 26_000 / 283_651)]
)
def test_lambda_is_the_printed_one(reduction, expected):
    """What λ is beside the softmax term, of a batch with Table 3's proportions."""
    targets = torch.arange(8).repeat_interleave(torch.tensor(TABLE_3) // 50)
    logits = torch.zeros(len(targets), 8, requires_grad=True)
    features = torch.zeros(len(targets), 6, requires_grad=True)
    loss = make("center_weighted_softmax", TABLE_3, reduction=reduction)
    z, x = torch.autograd.grad(loss(logits, features, targets), (logits, features))
    softmax, center = z[-1, 7] / (1 / 8 - 1), x[-1, 0] / -loss.centers[7, 0]  # contempt, W = 1
    assert (center / softmax).item() / 0.5 == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize("update", ["paper", "autograd"])
@pytest.mark.parametrize("name", paper.RECIPE["lambda"])
def test_normalised_terms_do_not_depend_on_the_embeddings_scale(name, update):
    logits, features, targets, _, _ = make_batch(dtype=torch.float32)
    options = {"normalize_embedding": True, "center_init": "class_means", "center_update": update}
    one, other, plain = make(name, **options), make(name, **options), make(name)
    for _ in range(3):
        value = one(logits, features, targets)
        assert_close(other(logits, 100 * features, targets), value, SINGLE)
        plain.cluster.centers = one.centers.detach().clone()
        one.update(features, targets)
        other.update(100 * features, targets)
    assert_close(plain(logits, F.normalize(features), targets), value, SINGLE)
    assert_close(other.centers, one.centers, SINGLE)
    assert one.centers.norm(dim=1).max() <= 1
    start = make(name, normalize_embedding=True).centers
    assert_close(start.norm(dim=1), torch.ones(4), SINGLE)


@pytest.mark.parametrize("name", losses.LOSS_NAMES)
def test_distributions(name):
    """A loss is its expectation; all weight on one class is that label, in the update too."""
    logits, features, labels, _, _ = make_batch()
    loss, shares = make(name, reduction="none").double(), make_batch(soft=True)[2]
    if name in HARD_LABEL_LOSSES:
        with pytest.raises(InputError, match=r"\(12,\) int64.*\(12, 4\)"):
            loss(logits, features, shares)
        return
    of_labels = [loss(logits, features, torch.full((12,), j)) for j in range(4)]
    expected = (shares * torch.stack(of_labels, dim=1)).sum(dim=1)
    assert_close(loss(logits, features, shares), expected)
    if loss.centers is not None:
        other = make(name).double()
        other.update(features, F.one_hot(labels).double())
        loss.update(features, labels)
        assert torch.equal(other.centers, loss.centers)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", losses.LOSS_NAMES)
def test_half_precision_is_computed_in_float32(name, dtype):
    logits, features, targets, _, _ = make_batch(dtype=torch.float32)
    logits, features = logits.to(dtype).requires_grad_(), features.to(dtype).requires_grad_()
    loss, plain = make(name, normalize_embedding=True), make(name, normalize_embedding=True)
    exact = plain(logits.float(), features.float(), targets)
    with torch.autocast("cpu", dtype=dtype):
        value = loss(logits, features, targets)
        loss.update(features, targets)  # before backward, whose gradients it leaves alone
    assert value.dtype == torch.float32
    assert_close(value, exact, SINGLE)
    assert_close(*(torch.autograd.grad(v, logits, retain_graph=True)[0] for v in (value, exact)))
    if loss.centers is not None:
        assert_close(*(torch.autograd.grad(v, features)[0] for v in (value, exact)))
        plain.update(features.float(), targets)
        assert loss.centers.dtype == torch.float32
        assert_close(loss.centers, plain.centers, SINGLE)


@pytest.mark.parametrize("name", WITH_CENTERS)
def test_trained_centers_are_the_optimisers(name):
    batch = make_batch(dtype=torch.float32)[:3]
    loss = make(name, center_update="autograd")
    (centers,) = loss.center_parameters()
    before = centers.detach().clone()
    loss(*batch).backward()
    loss.update(*batch[1:])
    assert centers is loss.centers and centers.grad.any() and torch.equal(centers, before)
    assert make(name).center_parameters() == make("softmax").center_parameters() == []


def test_normal_centers_come_from_their_seed_alone():
    before = torch.get_rng_state()
    centers = make("weighted_cluster", TABLE_3, 512, seed=1).centers
    assert torch.equal(torch.get_rng_state(), before)
    expected = torch.randn(8, 512, generator=torch.Generator().manual_seed(1))
    assert torch.equal(centers, expected)


@pytest.mark.parametrize("update", ["paper", "autograd"])
def test_class_means_start_the_term_when_every_class_has_occurred(update):
    options = {"center_init": "class_means", "center_update": update}
    loss, restored = (make("weighted_cluster", [4, 2, 2], 1, **options).cluster for _ in "12")
    first = torch.tensor([[1.0], [2.0], [3.0]]), torch.tensor([0, 0, 1])
    assert loss(*first) == 0  # no centre of class 2 yet
    loss.update(*first)
    restored.load_state_dict(loss.state_dict())  # a checkpoint in the middle of it
    second = torch.tensor([[6.0], [5.0], [9.0]]), torch.tensor([0, 1, 2])
    assert restored(*second) == 0
    restored.update(*second)
    assert restored.centers.flatten().tolist() == [3, 4, 9]  # means of 1 2 6, of 3 5, of 9
    assert restored(*second) > 0
    restored.update(*second)
    expected = torch.tensor([[3.0], [4.0], [9.0]])
    if update == "paper":
        expected = losses.update_centers(*second, expected, restored.weights)
    assert torch.equal(restored.centers, expected)


def test_class_means_of_distributions_wait_for_a_whole_image_of_every_class():
    loss = make("weighted_cluster", [4, 2], 1, center_init="class_means").cluster
    first = torch.tensor([[1.0], [5.0]]), torch.tensor([[0.75, 0.25], [0.75, 0.25]])
    loss.update(*first)
    assert loss.centers.flatten().tolist() == [3, 3]
    assert loss(*first) == 0  # class 1 has had half an image
    second = torch.tensor([[9.0], [0.0]]), torch.tensor([[0.25, 0.75], [1.0, 0.0]])
    loss.update(*second)
    assert loss.centers.flatten().tolist() == pytest.approx([6.75 / 2.75, 8.25 / 1.25])
    assert loss(*second) > 0


@pytest.mark.parametrize("init", ["zeros", "normal", "class_means"])
@pytest.mark.parametrize("name", losses.LOSS_NAMES)
def test_state_round_trips_through_a_checkpoint(name, init):
    batch = make_batch(dtype=torch.float32)[:3]
    loss, other = make(name, center_init=init), make(name, [9] * 4, center_init=init, seed=5)
    loss.update(*batch[1:])
    other.load_state_dict(loss.state_dict())
    for _ in range(2):
        assert torch.equal(other(*batch), loss(*batch))
        loss.update(*batch[1:])
        other.update(*batch[1:])
    terms = {"softmax": ("weights", "counts", "margins"), "cluster": ("weights", "centers")}
    names = {f"{term}.{name}" for term in terms for name in terms[term]}
    assert set(loss.state_dict()) <= names | {"cluster.samples_seen"}


@pytest.mark.parametrize("reduction", ["mean", "weighted_mean", "balanced"])
def test_ldam_changes_its_weights_when_the_time_has_come(reduction):
    logits, features, targets, _, _ = make_batch(dtype=torch.float32)
    loss = make("ldam_drw", reduction=reduction, drw_start=0.5, beta=0.9, max_margin=0.4, scale=20)
    margins = 0.4 * losses.class_weights(COUNTS, power=0.25)
    deferred = losses.effective_number_weights(COUNTS, 0.9)
    for progress, weights in ((0.4, torch.ones(4)), (0.5, deferred), (0.0, torch.ones(4))):
        loss.set_progress(progress)
        assert torch.equal(loss.weights, weights)
        reading = losses.mean_weight(COUNTS, weights) if reduction == "balanced" else reduction
        options = {"weights": weights, "reduction": reading}
        expected = losses.ldam_loss(logits, targets, margins, 20, **options)
        assert_close(loss(logits, features, targets), expected, SINGLE)


def test_options_reach_their_baselines():
    logits, features, targets, centers, _ = make_batch(dtype=torch.float32)
    counts, batch = torch.tensor(COUNTS).float(), (logits, targets)
    for name, options, expected in (
        ("focal", {"focal_gamma": 3}, losses.focal_loss(*batch, 3)),
        ("logit_adjusted", {"tau": 0.4}, losses.logit_adjusted_loss(*batch, counts, 0.4)),
        ("balanced_softmax", {}, losses.logit_adjusted_loss(*batch, counts, 1.0)),
        ("arcface", {"angular_margin": 0.2, "scale": 15}, losses.arcface_loss(*batch, 0.2, 15)),
    ):
        assert torch.equal(make(name, **options)(logits, features, targets), expected)
    loss = make("class_balanced", beta=0.9, reduction="balanced")
    assert torch.equal(loss.weights, losses.effective_number_weights(COUNTS, 0.9))
    reading = losses.mean_weight(COUNTS, loss.weights)
    expected = losses.weighted_softmax_loss(*batch, loss.weights, reading)
    assert torch.equal(loss(logits, features, targets), expected)
    loss = make("center_softmax", center_distance="mean", cluster_weight=0.2)
    center = losses.center_loss(features, targets, loss.centers, per_dimension=True)
    expected = losses.weighted_softmax_loss(*batch) + 0.2 * center
    assert_close(loss(logits, features, targets), expected, SINGLE)
    loss = make("island_softmax", island_weight=0.3, gamma=0.5)
    island = losses.island_loss(features, targets, loss.centers, 0.3)
    expected = losses.weighted_softmax_loss(*batch) + 0.01 * island
    assert_close(loss(logits, features, targets), expected, SINGLE)
    moved = losses.update_centers_island(features, targets, loss.centers, 0.5, 0.3)
    loss.update(features, targets)
    assert torch.equal(loss.centers, moved)


@pytest.mark.parametrize(
    ("name", "option", "value", "word"),
    [
        ("weighted_clutser", "gamma", 1.0, "'weighted_cluster'"),
        ("softmax", "reduction", "average", "'average'"), ("softmax", "reduction", 0.5, "0.5"),
        ("center_softmax", "center_init", "zero", "'zeros'"),
        ("center_softmax", "center_update", "auto", "'auto'"),
        ("center_softmax", "center_distance", "average", "'average'"),
        ("center_softmax", "cluster_weight", -1, "-1"), ("weighted_cluster", "alpha", 0, "0"),
        ("weighted_softmax", "weight_power", -1, "-1"), ("softmax", "tau", 1.0, "'softmax'"),
        ("focal", "focal_gama", 1.0, "'focal_gamma'"), ("focal", "focal_gamma", -1.0, "-1"),
        ("logit_adjusted", "tau", -1.0, "-1"), ("ldam_drw", "drw_start", 1.5, "1.5"),
        ("ldam_drw", "max_margin", -0.5, "-0.5"), ("ldam_drw", "scale", 0, "0"),
        ("arcface", "angular_margin", 2, "2"), ("island_softmax", "island_weight", -1, "-1"),
        ("class_balanced", "beta", 1, "1"),
    ],
)  # fmt: skip
def test_bad_choices_and_constants_are_refused_at_once(name, option, value, word):
    """When the loss is made, and not in the first batch."""
    with pytest.raises(InputError) as error:
        losses.make_loss(**{"name": name, "counts": COUNTS, "embedding_dim": 4, option: value})
    assert "\n" not in str(error.value) and word in str(error.value)


def test_the_table_of_losses_names_them_all():
    table = (Path(losses.__file__).parent / "README.md").read_text(encoding="utf-8")
    assert [name for name in losses.LOSS_NAMES if f"| `{name}` |" not in table] == []
