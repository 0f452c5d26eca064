"""Run parameters: strict, and filled in from the paper's recipe."""

import pytest

from fer_utils.core import InputError, RunParameters, notebook_parameters, parameters
from fer_utils.core.parameters import EXECUTION_FIELDS


@pytest.mark.parametrize(
    ("weights", "rate", "batch", "frozen"), [("none", 0.01, 30, 0), ("imagenet", 0.001, 36, 3)]
)
def test_the_papers_recipe(weights, rate, batch, frozen):
    params = parameters({"weights": weights, "architecture": "se_resnet50"})
    assert (params.learning_rate, params.batch_size, params.frozen_stages) == (rate, batch, frozen)
    assert params.embedding_dim == 512


@pytest.mark.parametrize(
    ("loss", "weight"),
    [("softmax", 0), ("center_softmax", 0.5), ("weighted_cluster", 1), ("island_softmax", 0.01)],
)
def test_lambda_is_its_authors(loss, weight):
    assert parameters({"loss": loss}).cluster_weight == weight


def test_what_is_given_stays():
    params = parameters({"weights": "imagenet", "learning_rate": 1, "frozen_stages": 0})
    assert params.learning_rate == 1.0 and params.frozen_stages == 0


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"learning_rat": 1}, "learning_rate"),
        ({"loss": "sofmax"}, "softmax"),
        ({"epochs": 0}, "epochs"),
        ({"epochs": "3"}, "epochs"),
        ({"epochs": 2.5}, "epochs"),
        ({"epochs": True}, "epochs"),
        ({"learning_rate": float("nan")}, "learning_rate"),
        ({"learning_rate": 0.0}, "learning_rate"),
        ({"momentum": 1.0}, "momentum"),
        ({"crop_pct": 1.5}, "crop_pct"),
        ({"data_options": {"subject": 3}}, "subjects"),
        ({"loss_options": {"tau": "x"}}, "loss_options"),
        ({"study": "a/b"}, "a/b"),
        ({"run": ".."}, "'..'"),
        ({"run": ""}, "run"),
        ({"data": "/somewhere"}, "data"),
        ({"dataset": "identities", "data": "x"}, "subject"),
        ({"label_mode": "probability", "loss": "focal"}, "focal"),
        ({"label_mode": "probability", "target": "subject"}, "subject"),
        ({"protocol": "k_fold"}, "k_fold"),
        ({"dataset": "ferplus", "protocol": "k_fold", "fold": 5}, "fold"),
        ({"loss": "arcface", "classifier": "linear"}, "cosine"),
        ({"loss": "ldam_drw", "epochs": 2}, "0.5"),
        ({"warmup_epochs": 6.0}, "warmup_epochs"),
        ({"frozen_stages": 6}, "frozen_stages"),
        ({"devices": 0}, "devices"),
        ({"devices": "all"}, "devices"),
    ],
)
def test_what_cannot_be_is_refused_by_name(values, said):
    with pytest.raises(InputError, match=said) as refused:
        parameters(values)
    assert "\n" not in str(refused.value)


def test_parameters_cannot_be_changed_afterwards():
    with pytest.raises(ValueError, match="frozen"):
        parameters({}).epochs = 3


def test_resolved_parameters_resolve_to_themselves():
    params = parameters({"weights": "imagenet", "loss": "arcface"})
    assert parameters(params.model_dump()) == params


def test_execution_fields_are_fields():
    assert set(EXECUTION_FIELDS) <= set(RunParameters.model_fields)


def test_a_notebooks_misspelt_parameter_is_seen_and_later_cells_are_not():
    namespace = {"epochs": 3, "lossy": "softmax", "np": object(), "_private": 1, "In": []}
    assert notebook_parameters(namespace) == {"epochs": 3, "lossy": "softmax"}
    namespace["later"] = 5  # another cell has run since, and all cells run again
    assert notebook_parameters(namespace) == {"epochs": 3, "lossy": "softmax"}
