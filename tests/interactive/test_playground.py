"""The playground trains what its sliders say, and remembers every step."""

import numpy as np
import pytest
import torch

from fer_utils import report
from fer_utils.core import InputError, paper
from fer_utils.interactive import playground

CLUSTER = ("weighted_cluster",)


def test_another_imbalance_takes_more_or_fewer_of_the_same_images():
    problem, even = playground.toy_problem(), playground.toy_problem(1)
    assert even.targets.bincount().tolist() == [80] * 5
    assert len(even.test_inputs) == len(problem.test_inputs)
    with pytest.raises(InputError, match="imbalance.*0.5"):
        playground.toy_problem(0.5)


def test_weights_lift_the_rarest_class_and_every_step_is_kept():
    traces = playground.train()
    ends = {name: playground.at(trace) for name, trace in traces.items()}
    assert list(traces) == list(paper.LOSSES)
    assert ends["weighted_softmax"]["recall"][-1] > ends["softmax"]["recall"][-1] + 0.2
    assert not len(ends["softmax"]["path"]) and ends["weighted_cluster"]["path"].shape == (26, 5, 2)
    start = playground.at(traces["softmax"], 0)["features"]
    for name, trace in traces.items():
        np.testing.assert_array_equal(playground.at(trace, 0)["features"], start, err_msg=name)
    assert len(playground.at(traces["weighted_cluster"], 7)["path"]) == 8
    figure = report.figure_playground(
        {name: ends[name] for name in ("softmax", "weighted_cluster")}
    )
    assert figure.axes


def test_networks_trained_side_by_side_are_those_trained_alone():
    together = playground.train(steps=5)
    for name, trace in together.items():
        alone = playground.train((name,), steps=5)[name]
        for one, other in zip(trace["layers"][-1], alone["layers"][-1], strict=True):
            torch.testing.assert_close(one, other)


def test_centres_as_printed_run_away_and_corrected_ones_stay_near_their_class():
    offset = {}
    for rule in playground.RULES:
        trace = playground.train(CLUSTER, rule=rule)["weighted_cluster"]
        end = playground.at(trace)
        means = [end["features"][end["targets"] == label].mean(axis=0) for label in range(5)]
        offset[rule] = np.linalg.norm(end["path"][-1] - means, axis=1).mean()
    assert offset["printed"] > 4 * offset["paper"]


def test_sliders_at_their_ends_stay_finite():
    trace = playground.train(strength=5, alpha=0.1, gamma=2, rule="printed")
    assert all(np.isfinite(playground.at(one)["features"]).all() for one in trace.values())


@pytest.mark.parametrize(
    ("values", "named"), [({"rule": "papr"}, "paper"), ({"steps": 0}, "0"), ({"gamma": -1.0}, "-1")]
)
def test_what_cannot_be_is_refused(values, named):
    with pytest.raises(InputError, match=named):
        playground.train(("softmax",), **values)


@pytest.mark.parametrize(
    ("moved", "trained"),
    [
        ({}, []),
        ({"alpha": 2.0}, ["weighted_cluster"]),
        ({"gamma": 0.5}, ["center_softmax", "center_weighted_softmax", "weighted_cluster"]),
        ({"imbalance": 10.0}, list(paper.LOSSES)),
    ],
)
def test_only_what_a_slider_touches_is_trained_again(moved, trained):
    playground.train.cache_clear()
    before = playground.traces(paper.LOSSES, steps=2)
    after = playground.traces(paper.LOSSES, steps=2, **moved)
    assert list(after) == list(paper.LOSSES)
    assert [name for name in after if after[name] is not before[name]] == trained
