"""Identity runs: people in folders, people held out, and what is measured on them."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from sklearn.metrics import roc_auc_score

from fer_utils import datasets, models, runs, transforms
from fer_utils.errors import InputError
from fer_utils.training import fit
from fer_utils.training.preparing import prepare_manifest
from fer_utils.weights import load_weights

TINY = {
    "target": "subject", "loss": "softmax", "train_images": 96, "validation_images": 0, "test_images": 0,
    "subjects": 12, "image_size": 32, "epochs": 1, "batch_size": 16, "threads": 1, "difficulty": 0.0, "device": "cpu",
}  # fmt: skip


def tiny(**changes):
    return runs.parameters({**TINY, **changes})


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    root = tmp_path_factory.mktemp("root")
    return fit(tiny(loss="arcface", held_out_people=0.25, selection="accuracy"), root=root)


def test_an_identity_run_verifies_people_that_it_has_not_seen(finished):
    manifest = datasets.read_manifest(finished.path("manifest.parquet"))
    by_split = {split: set(rows) for split, rows in manifest.groupby("split")["subject"]}
    assert by_split["validation"] <= by_split["train"] and not by_split["test"] & by_split["train"]
    assert len(by_split["test"]) == 3 and finished.read_json("architecture.json")["num_classes"] == 9
    table = pd.read_parquet(finished.path("verification.parquet"))
    assert list(table) == ["image_1", "image_2", "same", "similarity", "pixel_similarity"]
    person = manifest.set_index(manifest["image"].astype(str))["subject"]
    assert (person[table["image_1"]].to_numpy() == person[table["image_2"]].to_numpy()).tolist() == table[
        "same"
    ].tolist()
    assert set(person[table["image_1"]]) == by_split["test"]
    written = finished.read_json("metrics.json")
    assert written["verification_pairs"] == len(table) == 2 * table["same"].sum()
    assert written["verification_people"] == 3 and 0 <= written["validation_accuracy"] <= 1
    for name, column in (("auc", "similarity"), ("pixel_auc", "pixel_similarity")):
        assert written[f"verification_{name}"] == pytest.approx(roc_auc_score(table["same"], table[column]))
    json.dumps(written, allow_nan=False)


def test_similarities_are_those_of_the_best_weights(finished):
    """By another way: the written weights in a network of one's own, an image at a time."""
    network = models.FERNet("se_resnet14", num_classes=9, classifier="cosine").eval()
    load_weights(network, finished.path("best.safetensors"))
    manifest = datasets.read_manifest(finished.path("manifest.parquet"))
    transform = transforms.evaluation_transform(32)
    for pair in pd.read_parquet(finished.path("verification.parquet")).iloc[::40].itertuples():
        rows = manifest.set_index(manifest["image"].astype(str)).loc[[pair.image_1, pair.image_2]]
        rows.attrs = manifest.attrs
        images = torch.from_numpy(datasets.load_images(rows)).permute(0, 3, 1, 2)
        with torch.inference_mode():
            first, second = (network(transform(image)[None])[1][0] for image in images)
        assert torch.cosine_similarity(first, second, dim=0).item() == pytest.approx(pair.similarity, abs=1e-4)
        first, second = (image.astype(float).mean(axis=2).ravel() for image in datasets.load_images(rows, size=32))
        assert np.corrcoef(first, second)[0, 1] == pytest.approx(pair.pixel_similarity, abs=1e-4)


def grow(root, people):
    for number, (person, images) in enumerate(people.items()):
        for image in range(images):
            path = root / person / f"{image}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = np.random.default_rng([number, image]).integers(0, 256, (40, 36, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(path)


def test_a_folder_of_people_with_test_people_of_its_own(tmp_path):
    folder = tmp_path / "faces"
    grow(folder / "train", {"Ada": 8, "Bo": 8, "Cy": 7, "Di": 2})
    grow(folder / "test", {"Eve": 3, "Flo": 3, "Gus": 1})
    values = {"dataset": "identities", "data": "faces", "min_images": 3, "run": "folder", "epochs": 2}

    def stop(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(tiny(**values), root=tmp_path, on_epoch=stop)
    moved = folder.rename(tmp_path / "elsewhere")
    run = fit(tiny(**values | {"data": str(moved)}), root=tmp_path)
    manifest = datasets.read_manifest(run.path("manifest.parquet"))
    assert manifest.groupby("split")["subject"].nunique().to_dict() == {"train": 3, "validation": 3, "test": 2}
    written = run.read_json("metrics.json")
    assert written["verification_pairs"] == 12 and (written["train_images"], written["test_images"]) == (20, 6)
    held_out = prepare_manifest(
        tiny(**values | {"data": str(moved), "held_out_people": 0.1, "min_images": 1}), tmp_path
    )
    assert set(held_out["subject"]) == {"Ada", "Bo", "Cy", "Di"} and (held_out["split"] == "test").any()


def test_without_people_held_out_the_run_is_what_it_was_before(tmp_path):
    before = prepare_manifest(tiny(), tmp_path)
    assert set(before["split"]) == {"train", "validation"} and len(before) == 96
    own = prepare_manifest(tiny(test_images=48), tmp_path).groupby("split")["subject"].agg(["size", set])
    assert own["size"].sum() == 144 and not own["set"]["test"] & own["set"]["train"]
    unseen = prepare_manifest(tiny(held_out_people=0.25, evaluation="validation"), tmp_path)
    assert set(unseen["split"]) == {"train", "validation"} and unseen["subject"].nunique() == 9


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"target": "label", "held_out_people": 0.1}, "held_out_people=0.1 is for recognising people; set"),
        ({"target": "label", "dataset": "identities", "data": "x"}, "dataset='identities' is for recognising people"),
        ({"held_out_people": 1.0}, r"'held_out_people' must lie in [0, 1), got 1.0"),
        ({"held_out_people": -0.1}, "got -0.1"),
        ({"held_out_people": 0.9}, "to train on two others"),
        ({"min_images": 0}, "'min_images' must be at least 1, got 0"),
        ({"angular_margin": 2.0}, "'angular_margin' must be at most π/2 (radians), got 2.0"),
        ({"angular_margin": -0.5}, "'angular_margin' must be at least 0, got -0.5"),
        ({"loss": "arcface", "classifier": "linear"}, "needs classifier='cosine', got 'linear'"),
        ({"dataset": "identities"}, "dataset 'identities' needs its folder"),
        ({"dataset": "identities", "data": "nowhere"}, "nowhere, found no such folder"),
        ({"subjects": 20}, "validation split, found none; ask for more images of a person (6 give"),
        ({"test_images": 1}, "two people or more with two images or more to verify, found 0 among 1"),
    ],
)  # fmt: skip
def test_bad_input_is_one_clear_line_before_anything_is_trained(changes, message, tmp_path):
    with pytest.raises(InputError) as error:
        fit(tiny(**changes), root=tmp_path)
    assert message in str(error.value) and "\n" not in str(error.value)
    assert not any(tmp_path.rglob("params.yaml"))


def test_an_angular_margin_brings_its_classifier():
    assert tiny(loss="arcface").classifier == "cosine" and tiny(loss="softmax").classifier == "linear"
