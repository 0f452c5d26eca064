"""A finished run looked into: its images found again, chosen, laid out and measured."""

import dataclasses
import json
import re

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from PIL import Image
from scipy.spatial.distance import cdist
from sklearn.datasets import make_blobs
from sklearn.neighbors import KNeighborsClassifier

from fer_utils import datasets, evaluating, explaining, metrics, models, runs, transforms
from fer_utils.errors import InputError
from fer_utils.expressions import EXPRESSIONS


def make_run(root, manifest, **values) -> runs.Run:
    """The folder of a finished run whose probabilities are random, without any training."""
    params = runs.parameters({"study": "study", "run": "made", "image_size": 32, **values})
    run = runs.Run(params.study, params.run, root)
    run.folder.mkdir(parents=True)
    datasets.write_manifest(manifest, run.path("manifest.parquet"))
    run.path("params.yaml").write_text(yaml.safe_dump(dataclasses.asdict(params)))
    shown = manifest[manifest["split"] == params.evaluation]
    probabilities = np.random.default_rng(0).dirichlet(np.ones(8), len(shown))
    table = pd.DataFrame(probabilities, columns=[f"p_{name}" for name in EXPRESSIONS])
    table.insert(0, "image", shown["image"].astype(str).to_numpy())
    table.insert(1, "label", shown["label"].to_numpy())
    table.to_parquet(run.path("predictions.parquet"))
    run.path("metrics.json").write_text(json.dumps({"accuracy": 0.1}))
    return run


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    manifest = datasets.read_synthetic(train=64, validation=8, test=40, subjects=12, image_size=37)
    return make_run(tmp_path_factory.mktemp("drawn"), manifest), manifest


@pytest.fixture
def real(tmp_path):
    """A run on a folder of files, each image of one grey value."""
    for number, (split, name) in enumerate((s, n) for s in ("train", "validation", "test") for n in EXPRESSIONS):
        folder = tmp_path / "faces" / split / name
        folder.mkdir(parents=True)
        Image.new("L", (40, 40), 10 * number).save(folder / f"{number}.png")
    manifest = datasets.read_dataset("folder", tmp_path / "faces")
    return make_run(tmp_path, manifest, dataset="folder", data="faces"), tmp_path


# ---- predictions and images


def test_predictions_with_what_was_predicted_and_how_surely(drawn):
    table = evaluating.read_predictions(drawn[0])
    assert len(table) == 40
    for _, row in table.iterrows():
        most = max(EXPRESSIONS, key=lambda name: row[f"p_{name}"])
        assert EXPRESSIONS[row["predicted"]] == most and row["confidence"] == row[f"p_{most}"]


def test_drawn_faces_are_drawn_again_as_the_network_was_given_them(drawn):
    run, manifest = drawn
    rows = evaluating.image_rows(run)
    assert rows["image"].astype(str).tolist() == evaluating.read_predictions(run)["image"].tolist()
    test = manifest[manifest["split"] == "test"].iloc[[3, 1]]
    assert np.array_equal(evaluating.load_faces(run, rows.iloc[[3, 1]]), datasets.load_images(test))


def test_files_are_found_where_they_were_and_where_they_are_now(real):
    run, root = real
    assert len(evaluating.image_rows(run)) == 8
    (root / "faces").rename(root / "moved")
    rows = evaluating.image_rows(run, data="moved")
    faces = evaluating.load_faces(run, rows)
    assert faces.shape == (8, 37, 37, 3) and (faces[:, 0, 0, 0] == 160 + 10 * rows["label"]).all()


def test_files_that_are_gone_are_one_sentence(real):
    run, root = real
    (root / "faces").rename(root / "moved")
    with pytest.raises(
        InputError, match=r"expected the images of study/made .*no such file.*; give data=… to see them"
    ):
        evaluating.image_rows(run)
    with pytest.raises(InputError, match="elsewhere"):
        evaluating.image_rows(run, data="elsewhere")


def test_the_nearest_run_is_named(drawn):
    other = runs.Run("study", "mode", drawn[0].root)
    with pytest.raises(InputError, match="unknown run 'study/mode'; did you mean 'study/made'?"):
        evaluating.read_predictions(other)


@pytest.mark.parametrize(
    ("values", "finished", "message"),
    [
        ({}, False, "expected metrics.json in run study/made, found none: the run has not finished"),
        ({"target": "subject"}, True, "expected a run of expressions, found study/made, which tells people apart"),
    ],
    ids=["unfinished", "identities"],
)
def test_other_runs_are_refused(tmp_path, drawn, values, finished, message):
    run = make_run(tmp_path, drawn[1], **values)
    if not finished:
        run.path("metrics.json").unlink()
    with pytest.raises(InputError, match=message):
        evaluating.read_predictions(run)


# ---- the choice of images


@pytest.mark.parametrize("wrong", [False, True])
@pytest.mark.parametrize("predicted", ["any", "anger"])
@pytest.mark.parametrize("true", ["any", "sad", "contempt"])
def test_a_cell_holds_its_images_the_most_confident_first(drawn, true, predicted, wrong):
    table = evaluating.read_predictions(drawn[0])
    chosen = evaluating.choose(table, true, predicted, (0.3, 0.9), wrong)
    expected = [
        (-row["confidence"], place)
        for place, row in table.iterrows()
        if true in ("any", EXPRESSIONS[row["label"]])
        and predicted in ("any", EXPRESSIONS[row["predicted"]])
        and 0.3 <= row["confidence"] <= 0.9
        and not (wrong and row["label"] == row["predicted"])
    ]
    assert chosen.tolist() == [place for _, place in sorted(expected)]


def test_an_unknown_expression_is_named(drawn):
    with pytest.raises(InputError, match="unknown expression 'angry'; did you mean 'anger'?"):
        evaluating.choose(evaluating.read_predictions(drawn[0]), true="angry")


# ---- the metrics' order


@pytest.mark.parametrize("equal", [True, False], ids=["balanced", "imbalanced"])
def test_macro_figures_come_first_on_an_unequal_test_set(drawn, equal):
    table = evaluating.read_predictions(drawn[0])
    table = table if equal else table[(table["label"] < 7) | (table.index % 3 == 0)].reset_index(drop=True)
    scores = evaluating.score_table(table, resamples=20)
    assert scores.index[0] == ("Accuracy" if equal else "Macro recall") and len(scores) == len(metrics.METRICS)
    labels, predicted = table["label"].to_numpy(), table["predicted"].to_numpy()
    recall = np.mean([(predicted[labels == label] == label).mean() for label in range(8)])
    assert scores.loc["Macro recall", "value"] == pytest.approx(recall)
    assert evaluating.say_inequality(labels).startswith("Unequal: neutral has 5 images") != equal


@pytest.mark.parametrize(
    ("labels", "sentence"),
    [
        (np.repeat(np.arange(8), 40), "The largest class has less than 2 times the images of the smallest."),
        (np.repeat([0, 7], 50), "The largest class has less than 2 .* Of 100 test images none show happy, .* anger."),
        (
            np.repeat([0, 1], [80, 40]),
            "Unequal: neutral has 80 images, happy 40. Macro figures, .* come first. Of 120 .*",
        ),
    ],
    ids=["equal", "absent classes", "unequal"],
)
def test_inequality_in_words(labels, sentence):
    assert re.fullmatch(sentence, evaluating.say_inequality(labels))


# ---- the embedding


def blobs(images=160, **options):
    return make_blobs(images, 20, centers=8, cluster_std=0.5, random_state=0, **options)


def test_distances_within_and_between_classes():
    features, labels = blobs()
    features, labels = features[labels != 5], labels[labels != 5]
    found = evaluating.class_distances(features, labels)
    means = np.stack([features[labels == label].mean(axis=0) for label in (0, 1, 7)])
    three = found.loc[["neutral", "happy", "contempt"], ["neutral", "happy", "contempt"]].to_numpy()
    off = ~np.eye(3, dtype=bool)
    np.testing.assert_allclose(three[off], cdist(means, means)[off])
    np.testing.assert_allclose(three[2, 2], cdist(features[labels == 7], means[[2]]).mean())
    assert found.loc["disgust"].isna().all() and found["disgust"].isna().all()
    nearest = evaluating.nearest_classes(found)
    assert "disgust" not in nearest.index
    assert nearest.loc["happy", "distance"] == min(found.loc["happy"].drop(["happy", "disgust"]))


def test_the_plane_keeps_neighbours_and_lays_centres_among_their_classes():
    features, labels = blobs()
    centers = np.stack([features[labels == label].mean(axis=0) for label in range(8)])
    plane = evaluating.project(features, labels, centers, seed=3)
    assert plane.rows.tolist() == list(range(160))
    neighbours = KNeighborsClassifier(5).fit(plane.points, labels)
    assert neighbours.score(plane.points, labels) == 1
    assert neighbours.predict(plane.centers).tolist() == list(range(8))
    again = evaluating.project(features, labels, centers, seed=3)
    assert np.array_equal(plane.points, again.points)


def test_of_many_images_each_class_keeps_as_many():
    labels = np.repeat(np.arange(8), [500, 300, 60, 60, 60, 60, 10, 3])
    features = np.random.default_rng(0).normal(size=(len(labels), 4))
    plane = evaluating.project(features, labels, most=300)
    counts = np.bincount(labels[plane.rows])
    assert counts.tolist() == [47] * 6 + [10, 3] and (np.diff(plane.rows) > 0).all() and plane.centers is None


def test_a_collapsed_embedding_is_one_point():
    plane = evaluating.project(np.ones((20, 4)), np.arange(20) % 8, np.ones((8, 4)))
    assert not plane.points.any() and not plane.centers.any()


@pytest.mark.parametrize(
    ("features", "labels", "message"),
    [
        (np.ones((5, 2)), [0, 1], r"expected features \(N, D\) and a label each, found \(5, 2\) and 2 labels"),
        (np.full((5, 2), np.nan), [0] * 5, "expected finite features, found NaN or infinity in 5 of 5 rows"),
        (np.ones((3, 2)), [0, 1, 2], "expected at least 4 features to lay out, found 3"),
    ],
    ids=["lengths", "nan", "too few"],
)
def test_bad_features_are_named(features, labels, message):
    with pytest.raises(InputError, match=message):
        evaluating.project(features, labels)


# ---- Grad-CAM of rows


@pytest.mark.parametrize(("image_size", "stage"), [(48, 3), (64, 4), (32, 3), (128, 5)])
def test_rows_are_explained_as_the_network_sees_them(drawn, image_size, stage):
    torch.manual_seed(0)
    model, manifest = models.FERNet("resnet14", embedding_dim=8).eval(), drawn[1]
    pictures, heatmaps = explaining.explain(model, manifest.iloc[:2], image_size, [1, 2])
    faces = torch.from_numpy(datasets.load_images(manifest.iloc[:2])).permute(0, 3, 1, 2)
    images = transforms.evaluation_transform(image_size)(faces)
    assert np.array_equal(pictures, transforms.denormalise(images).permute(0, 2, 3, 1).numpy())
    expected = explaining.grad_cam(model, images, [1, 2], stage)
    np.testing.assert_allclose(heatmaps, expected.numpy(), atol=1e-5)
