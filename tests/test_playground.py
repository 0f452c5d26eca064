"""The playground: reproducible traces, the printed sign, the centres' expected steps, the numbers in its figures."""

import dataclasses

import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex, to_rgb

from fer_utils import losses, paper, playground, plots
from fer_utils.errors import InputError
from fer_utils.expressions import COLORS, EXPRESSIONS


@pytest.fixture(scope="module")
def toy():
    return playground.toy_problem()


@pytest.fixture(scope="module")
def trace(toy):
    return playground.train(toy, steps=30)


# ---- problems


def test_toy_problem_is_unequal_in_training_and_balanced_in_the_test(toy):
    counts = np.bincount(toy.targets)
    assert counts.max() / counts.min() == pytest.approx(40, rel=0.05) and (np.diff(counts) < 0).all()
    assert np.bincount(toy.test_targets).tolist() == [60] * 5
    assert toy.inputs.dtype == np.float32 and toy.inputs.std() == pytest.approx(1, abs=1e-5)
    assert np.abs(np.diff(np.bincount(playground.toy_problem(imbalance=1).targets))).max() == 0


def test_drawn_faces_have_table_3s_order_and_are_drawn_once():
    faces = playground.drawn_faces_problem(images=80, size=24)
    assert faces is playground.drawn_faces_problem(images=80, size=24)
    assert faces.names == EXPRESSIONS and faces.inputs.shape == (80, 40) and np.isfinite(faces.test_inputs).all()
    assert np.bincount(faces.targets).argmax() == 1 and np.bincount(faces.test_targets).tolist() == [60] * 8
    assert playground.train(faces, steps=2).path.shape == (3, 8, 2)


# ---- training


def test_a_seed_decides_everything_and_nothing_outside(toy, trace):
    before = torch.get_rng_state(), torch.get_num_threads()
    again, other = playground.train(toy, steps=30), playground.train(toy, steps=30, seed=1)
    for field in dataclasses.fields(trace):
        np.testing.assert_array_equal(getattr(again, field.name), getattr(trace, field.name))
    assert not np.array_equal(other.path, trace.path)
    assert torch.equal(torch.get_rng_state(), before[0]) and torch.get_num_threads() == before[1]


@pytest.mark.parametrize("loss", losses.LOSS_NAMES)
@pytest.mark.parametrize("center_init", losses.CENTER_INITS)
def test_shapes(toy, loss, center_init):
    trace = playground.train(toy, loss, center_init=center_init, steps=4)
    without_centers = losses.make_loss(loss, [2, 1], embedding_dim=2).centers is None
    assert trace.path.shape == ((0, 5, 2) if without_centers else (5, 5, 2))
    assert trace.features.shape == (len(toy.targets), 2) and trace.means.shape == (5, 5, 2)
    assert trace.output_weight.shape == (5, 2) and trace.output_bias.shape == (5,) and trace.losses.shape == (4,)
    assert (trace.start == 0) == (center_init != "class_means")


def test_trace_agrees_with_itself(toy, trace):
    logits = trace.test_features @ trace.output_weight.T + trace.output_bias
    right = logits.argmax(axis=1) == trace.test_targets
    assert trace.recall.tolist() == [right[toy.test_targets == label].mean() for label in range(5)]
    means = [trace.features[trace.targets == label].mean(axis=0) for label in range(5)]
    np.testing.assert_allclose(trace.means[-1], means, atol=1e-5)
    assert trace.losses[-5:].mean() < trace.losses[:5].mean() and trace.recall.mean() > 0.5


def test_start_is_when_the_last_class_has_come(toy):
    trace = playground.train(toy, gamma=0, steps=30, batch_size=10)
    assert trace.start > 1  # six images of the rarest class in 399
    np.testing.assert_array_equal(trace.path[trace.start :], trace.path[[trace.start]].repeat(31 - trace.start, axis=0))
    assert not np.array_equal(trace.path[trace.start - 1], trace.path[trace.start])


@pytest.mark.parametrize("center_init", losses.CENTER_INITS)
def test_printed_sign_diverges_and_corrected_sign_converges(toy, center_init):
    distance = {}
    for rule in ("printed", "paper"):
        trace = playground.train(toy, rule=rule, center_init=center_init, steps=300)
        assert np.isfinite(trace.path).all() and np.isfinite(trace.features).all()
        distance[rule] = np.linalg.norm(trace.path - trace.means, axis=-1)  # (T + 1, C)
    assert (distance["printed"][-1] > distance["printed"][150]).all()
    assert distance["printed"][-1].min() > 5 and distance["paper"][-50:].mean() < 0.5
    assert distance["paper"][-50:].mean() < distance["paper"][50:100].mean()


def test_training_stops_where_a_centre_has_left(toy):
    trace = playground.train(toy, rule="printed", gamma=1e9, center_init="normal")
    assert len(trace.losses) < 40 and len(trace.path) == len(trace.losses) + 1
    assert np.abs(trace.path[-1]).max() > playground.FARTHEST_CENTER and np.isfinite(trace.features).all()


@pytest.mark.parametrize("rule", playground.RULES)
@pytest.mark.parametrize("cluster_weight", [0.01, 100])
def test_sliders_at_their_ends_stay_finite(rule, cluster_weight):
    for center_init in losses.CENTER_INITS:
        for imbalance in (1, 100):
            problem = playground.toy_problem(imbalance)
            trace = playground.train(
                problem,
                cluster_weight=cluster_weight,
                alpha=0.01,
                gamma=2,
                rule=rule,
                center_init=center_init,
                steps=15,
            )
            assert np.isfinite(trace.features).all() and np.isfinite(trace.path).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda toy: playground.train(toy, "weighted_clustr"), "did you mean 'weighted_cluster'?"),
        (lambda toy: playground.train(toy, rule="print"), "unknown rule 'print'; did you mean 'printed'?"),
        (lambda toy: playground.train(toy, center_init="zero"), "unknown center_init 'zero'; did you mean 'zeros'?"),
        (
            lambda toy: playground.train(toy, "softmax", rule="printed"),
            "expected the loss 'weighted_cluster'.*'softmax'",
        ),
        (lambda toy: playground.train(toy, alpha=0.0), r"expected alpha > 0.*found 0\.0"),
        (lambda toy: playground.train(toy, cluster_weight=-1), r"expected cluster_weight \(λ\) ≥ 0; found -1"),
        (lambda toy: playground.train(toy, gamma=-1), r"expected gamma \(γ\) ≥ 0; found -1"),
        (lambda toy: playground.train(toy, steps=0), "expected steps ≥ 1; found 0"),
        (lambda toy: playground.toy_problem(imbalance=0.5), r"expected imbalance ≥ 1; found 0\.5"),
        (lambda toy: playground.toy_problem(images=40), "expected images ≥ 50; found 40"),
        (lambda toy: playground.center_steps([3, 0]), "at least one training image in every class; found 0"),
        (lambda toy: playground.center_steps([3, 1], alpha=0), "expected alpha > 0"),
        (lambda toy: playground.center_steps([3, 1], separation=-1), r"expected separation ≥ 0; found .*-1\.0"),
        (lambda toy: plots.figure_playground({}), "expected 1 to 4 traces, a column each; found 0"),
    ],
)
def test_mistakes(toy, call, message):
    with pytest.raises(InputError, match=message):
        call(toy)


# ---- expected steps


def test_center_steps_against_the_update_itself():
    """The mean step over every possible batch of one image, times m, is the expected step: term by term."""
    counts, m, alpha = [12, 4, 2], 5, 0.5
    centers = torch.tensor([[0.0, 0.0], [2.0, 1.0], [-1.0, 3.0]], dtype=torch.float64)
    separation = losses.center_separation(centers)
    targets = torch.repeat_interleave(torch.arange(3), torch.tensor(counts))
    features = torch.full((len(targets), 2), 7.0, dtype=torch.float64)  # all at their class's mean
    for column, weights in (
        ("weighted", losses.class_weights(counts).double()),
        ("unweighted", torch.ones(3).double()),
    ):
        expected = torch.zeros(3, dtype=torch.float64)
        for x, y in zip(features, targets, strict=True):
            moved = losses.update_centers(x[None], y[None], centers, weights, alpha) - centers
            expected += m / len(targets) * moved[:, 0] / (7 - centers[:, 0])
        for label in range(3):
            table = playground.center_steps(counts, m, float(separation[label]), alpha)
            assert table[column][label] == pytest.approx(float(expected[label]), rel=1e-6)


def test_center_steps_of_the_paper():
    table = playground.center_steps(paper.TRAINING_COUNTS, batch_size=36)
    np.testing.assert_allclose(table["weighted"], 36 * 3250 / 283651, rtol=1e-6)
    assert round(table["weighted"][0], 2) == 0.41 and round(table["unweighted"].max(), 1) == 17.0
    balanced = playground.center_steps([1] * 8, batch_size=36)
    np.testing.assert_allclose(balanced[["weighted", "unweighted"]], 4.5)
    assert len(playground.center_steps([3, 1], separation=[0, 1, 2])) == 6


# ---- figures


def axes():
    return plots.new_figure().subplots()


def test_embedding_shows_the_traces_numbers(trace):
    ax = plots.plot_embedding(trace, axes())
    points = ax.collections[0].get_offsets()
    np.testing.assert_allclose(np.sort(points[:, 0]), np.sort(trace.features[:, 0]))
    paths, centers = ax.lines[::2], ax.lines[1::2]
    for label in range(5):
        np.testing.assert_array_equal(paths[label].get_xydata(), trace.path[trace.start :, label])
        np.testing.assert_array_equal(centers[label].get_xydata(), trace.path[-1:, label])
    (regions,) = ax.images
    left, right, bottom, top = regions.get_extent()
    x, y = np.linspace(left, right, plots.playground.REGION_PIXELS)[5], np.linspace(bottom, top, 160)[100]
    winner = (np.array([x, y]) @ trace.output_weight.T + trace.output_bias).argmax()
    pale = plots.playground.PALENESS
    color = np.array(to_rgb(ax.lines[2 * winner].get_color()))
    np.testing.assert_allclose(regions.get_array()[100, 5], pale + (1 - pale) * color)


def test_recall_bars_and_the_two_layouts(trace):
    ax = plots.plot_recall(trace, axes())
    assert [bar.get_width() for bar in ax.patches] == pytest.approx(100 * trace.recall)
    assert ax.get_title() == f"mean recall {100 * trace.recall.mean():.0f} %"
    beside = plots.figure_playground({"one": trace}).axes
    assert beside[1].get_position().x0 > beside[0].get_position().x1
    columns = plots.figure_playground(dict.fromkeys("abc", trace)).axes
    assert len(columns) == 6 and columns[1].get_position().y1 < columns[0].get_position().y0


def test_expressions_keep_their_colours():
    faces = playground.train(playground.drawn_faces_problem(images=80, size=24), "softmax", steps=1)
    ax = plots.plot_recall(faces, axes())
    assert [to_hex(bar.get_facecolor()).upper() for bar in ax.patches] == list(COLORS.values())
    assert not plots.plot_embedding(faces, axes()).lines  # no centres


def test_printed_sign_and_steps_figures(toy, trace):
    figure = plots.figure_printed_sign(playground.train(toy, rule="printed", steps=20), trace)
    expected = np.linalg.norm(trace.path - trace.means, axis=-1)[trace.start :, 3]
    np.testing.assert_array_equal(figure.axes[1].lines[3].get_ydata(), expected)
    assert {ax.get_yscale() for ax in figure.axes} == {"log"}
    with pytest.raises(InputError, match="expected traces of a loss with centres"):
        plots.figure_printed_sign(trace, playground.train(toy, "softmax", steps=1))
    table = playground.center_steps(paper.TRAINING_COUNTS, separation=[0.1, 1, 10])
    unweighted, weighted = plots.figure_center_steps(table).axes
    for label, color in enumerate(COLORS.values()):
        rows = table[table["label"] == label]
        assert unweighted.lines[label].get_ydata().tolist() == rows["unweighted"].tolist()
        assert weighted.lines[label].get_ydata().tolist() == rows["weighted"].tolist()
        assert weighted.lines[label].get_color() == color
