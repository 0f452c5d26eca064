import math

import numpy as np
import pandas as pd
import pytest
import torch

from fer_utils import runs
from fer_utils.errors import InputError
from fer_utils.training import fit
from fer_utils.training.geometry import CollapseWarning, center_geometry, collapse, embedding_geometry

TINY = {
    "train_images": 64, "validation_images": 16, "test_images": 16, "image_size": 32, "subjects": 12, "epochs": 2,
    "batch_size": 16, "threads": 1, "difficulty": 0.0, "device": "cpu",
}  # fmt: skip


def test_geometry_equals_loops():
    random = np.random.default_rng(0)
    features, centers = random.normal(size=(20, 3)), random.normal(size=(4, 3))
    targets = random.integers(0, 3, 20)  # class 3 does not occur
    means = [features[targets == c].mean(axis=0) for c in range(3)]
    pairs = [np.sum((means[a] - means[b]) ** 2) for a in range(3) for b in range(3) if a != b]
    found = embedding_geometry(torch.tensor(features), torch.tensor(targets), classes=4)
    assert found["embedding_norm"] == pytest.approx(np.mean([np.linalg.norm(x) for x in features]))
    assert found["within_distance"] == pytest.approx(
        np.mean([np.linalg.norm(x - means[y]) for x, y in zip(features, targets, strict=True)])
    )
    assert found["between_distance"] == pytest.approx(math.sqrt(np.mean(pairs)))
    moved = center_geometry(torch.tensor(features), torch.tensor(targets), torch.tensor(centers), torch.zeros(4, 3))
    assert moved["center_offset"] == pytest.approx(np.mean([np.linalg.norm(centers[c] - means[c]) for c in range(3)]))
    assert moved["center_movement"] == pytest.approx(np.mean(np.linalg.norm(centers, axis=1)))


def test_both_ways_to_collapse_are_named_with_what_to_change():
    healthy = {"embedding_norm": 5.0, "between_distance": 1.0}
    assert collapse([healthy], first_norm=4.0) is None
    shrunk = collapse([healthy, {"embedding_norm": 0.1, "between_distance": 0.9}], first_norm=4.0)
    assert "epoch 2" in shrunk and "mean norm fell to 0.1" in shrunk and "center_init='class_means'" in shrunk
    merged = collapse([healthy, {"embedding_norm": 5.0, "between_distance": 0.01}], first_norm=4.0)
    assert "distance between the class means" in merged and "cluster_weight" in merged
    blown_up = {"embedding_norm": 3000.0, "between_distance": 900.0}
    assert collapse([blown_up, healthy], first_norm=4.0) is None  # it came back


def test_a_collapsing_run_warns_and_says_so_in_its_record(tmp_path):
    """Zero centres under ReLU, the reading that the study found to be dead, here with λ = 50 to be dead at once."""
    dead = {"center_init": "zeros", "embedding_activation": "relu", "cluster_weight": 50.0, "gamma": 0.01}
    bad = runs.parameters({**TINY, **dead})
    with pytest.warns(CollapseWarning, match="the embedding collapsed in epoch"):
        run = fit(bad, root=tmp_path)
    assert run.read_json("metrics.json")["collapsed"] is True
    assert pd.read_csv(run.path("history.csv"))["collapsed"].iloc[-1]


def test_history_tells_how_embedding_and_centers_fare(tmp_path):
    history = pd.read_csv(fit(runs.parameters(TINY), root=tmp_path).path("history.csv"))
    columns = ["embedding_norm", "within_distance", "between_distance"]
    centers = ["center_offset", "center_distance", "center_movement"]
    assert (history[columns + centers] > 0).all(axis=None) and not history["collapsed"].any()
    plain = fit(runs.parameters({**TINY, "loss": "softmax", "run": "plain", "epochs": 1}), root=tmp_path)
    history = pd.read_csv(plain.path("history.csv"))
    assert (history[columns] > 0).all(axis=None) and history[centers].isna().all(axis=None)


def test_accumulated_batches_move_the_centers_once(tmp_path):
    """Four batches of 16 make the step of one of 64: the same centres after the only step of the epoch."""
    centers = []
    for name, size, accumulate in (("one", 64, 1), ("four", 16, 4)):
        changes = {"batch_size": size, "accumulate": accumulate, "epochs": 1, "embedding_norm": "none", "run": name}
        # Batch norm sees other batches: with all stages frozen its statistics are fixed, and the features the same.
        run = fit(runs.parameters({**TINY, **changes, "frozen_stages": 5}), root=tmp_path)
        centers.append(np.load(run.path("centers.npy")))
    np.testing.assert_allclose(*centers, rtol=1e-4, atol=1e-5)


def test_a_search_never_sees_the_test_split(tmp_path):
    run = fit(runs.parameters({**TINY, "evaluation": "validation", "epochs": 1}), root=tmp_path)
    manifest = pd.read_parquet(run.path("manifest.parquet"))
    assert set(manifest["split"]) == {"train", "validation"}
    assert len(pd.read_parquet(run.path("predictions.parquet"))) == 16
    assert run.read_json("metrics.json")["test_images"] == 0


def test_deferred_weights_that_would_never_count_are_refused():
    with pytest.raises(InputError, match="with 4 epochs and drw_start=0.8 .* lower drw_start to 0.75"):
        runs.parameters({"loss": "ldam_drw", "epochs": 4})
    assert runs.parameters({"loss": "ldam_drw", "epochs": 4, "drw_start": 0.75}).drw_start == 0.75


@pytest.mark.parametrize("loss", ["island_softmax", "focal", "class_balanced", "logit_adjusted", "ldam_drw"])
def test_rivals_train_in_the_same_program(loss, tmp_path):
    run = fit(runs.parameters({**TINY, "loss": loss, "drw_start": 0.5}), root=tmp_path)
    assert run.finished and np.isfinite(pd.read_csv(run.path("history.csv"))["train_loss"]).all()
    assert run.path("centers.npy").is_file() == (loss == "island_softmax")
    assert run.params["classifier"] == ("cosine" if loss == "ldam_drw" else "linear")
