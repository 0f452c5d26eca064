import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, recall_score

from fer_utils import ensembles
from fer_utils.errors import InputError


def predictions(seed, images=40):
    numbers = np.random.default_rng(seed)
    table = pd.DataFrame({"image": [f"{i}.png" for i in range(images)], "label": np.arange(images) % 8})
    return table.assign(**dict(zip(ensembles.COLUMNS, numbers.dirichlet(np.ones(8), images).T, strict=True)))


def test_an_ensemble_is_the_mean_probability_whatever_the_order_of_rows():
    tables = [predictions(seed) for seed in range(3)]
    mean = ensembles.mean_predictions({"a": tables[0], "b": tables[1].sample(frac=1, random_state=0), "c": tables[2]})
    expected = np.mean([table[ensembles.COLUMNS] for table in tables], axis=0)
    np.testing.assert_allclose(mean[ensembles.COLUMNS], expected)
    assert mean["image"].tolist() == tables[0]["image"].tolist()


@pytest.mark.parametrize("case", [{"model": 3}, {"setting": "", "variant": "a"}], ids=["model", "variant"])
def test_the_seeds_of_a_study_are_scored_together(case):
    tables = [predictions(seed).assign(run=f"seed{seed}") for seed in range(3)]
    alone = {name: 4 if name == "model" else "b" for name in case}
    runs = pd.DataFrame([{"run": f"seed{seed}", **case} for seed in range(2)] + [{"run": "seed2", **alone}])
    runs = runs.assign(accuracy=[0.25, 0.5, 1.0], f1=0.5, macro_recall=0.5)
    (row,) = ensembles.over_seeds(runs, pd.concat(tables)).to_dict("records")
    assert row["accuracy_alone"] == 0.375
    guesses = np.mean([table[ensembles.COLUMNS] for table in tables[:2]], axis=0).argmax(1)
    assert {name: row[name] for name in case} == case and row["members"] == 2
    assert row["accuracy"] == pytest.approx(accuracy_score(tables[0]["label"], guesses))
    assert row["macro_recall"] == pytest.approx(recall_score(tables[0]["label"], guesses, average="macro"))


@pytest.mark.parametrize(
    ("other", "found"),
    [
        (predictions(1, images=39), "found 40 and 39, of which 39 are the same"),
        (predictions(1).replace({"image": {"0.png": "z.png"}}), "found 40 and 40, of which 39 are the same"),
        (predictions(1).assign(label=0), "of which 5 are the same"),
    ],
    ids=["fewer", "other-image", "other-labels"],
)
def test_other_test_images_are_refused(other, found):
    with pytest.raises(InputError, match=found):
        ensembles.mean_predictions({"a": predictions(0), "b": other})


def test_one_run_is_no_ensemble():
    with pytest.raises(InputError, match="expected two runs or more for an ensemble, found 1"):
        ensembles.mean_predictions({"a": predictions(0)})
