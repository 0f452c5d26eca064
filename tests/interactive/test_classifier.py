"""The shipped recogniser: its file, its figures and its answers; networks and maps behind any."""

import hashlib
import os

import numpy as np
import pandas as pd
import pytest
import torch

from fer_utils import datasets, metrics, models, studies
from fer_utils.core import EXPRESSIONS, LOG_PROBABILITIES, InputError, Run, project_root
from fer_utils.interactive import evaluate, networks
from fer_utils.interactive.classifier import SHIPPED, FaceClassifier, find_run, load_classifier

ROOT = project_root(__file__)


@pytest.fixture(scope="module")
def results():
    return studies.read_results("recogniser", ROOT)


@pytest.fixture(scope="module")
def faces():
    return list(datasets.draw_examples(per_class=1, size=96, seed=2020)[:, 0])


@pytest.fixture(scope="module")
def remade(run, tmp_path_factory):
    """The file that `ship` makes of a run."""
    path = tmp_path_factory.mktemp("shipped") / "small.onnx"
    return path, networks.ship(run, path)


def in_torch(classifier, faces):
    """Probabilities of the network in torch, by its own way."""
    images = torch.from_numpy(classifier.inputs(faces))
    ways = [images, images.flip(-1)] if classifier.about.get("flip_tta") else [images]
    with torch.inference_mode():
        found = torch.stack([classifier.network()(way)[0].softmax(1) for way in ways]).mean(0)
    return (found.log() / classifier.temperature).softmax(1).numpy()


def test_it_is_one_small_file_whose_sum_is_recorded():
    content = SHIPPED.read_bytes()
    assert len(content) <= 1_000_000
    recorded = (ROOT / "results/recogniser/recogniser.sha256").read_text().strip()
    assert hashlib.sha256(content).hexdigest() == recorded


def test_its_figures_are_those_of_the_committed_predictions(shipped, results):
    rows = results.predictions[results.predictions["split"] == "test"]
    rows = rows[rows["run"] == results.runs["run"][0]]
    p = metrics.probabilities(rows[[*LOG_PROBABILITIES]])
    found = metrics.evaluate(rows["label"].to_numpy(), p)
    for name in ("accuracy", "macro_recall", "auc"):
        assert shipped.about["metrics"][name] == pytest.approx(found[name], abs=1e-6), name
    assert f"{found['accuracy']:.1%} of 3,137 test images" in shipped.limits()


@pytest.mark.slow
@pytest.mark.skipif("FERPLUS" not in os.environ, reason="FERPLUS does not name FER+'s folder")
def test_its_figures_are_found_again_on_ferplus(shipped):
    found = evaluate.evaluate("recogniser", data=os.environ["FERPLUS"], root=ROOT)
    scores = evaluate.score(found.table, resamples=1).loc["all eight", "value"]
    for name in ("accuracy", "macro_recall"):
        expected = shipped.about["metrics"][name]
        assert scores[metrics.METRICS[name]] == pytest.approx(expected, abs=0.002), name
    assert scores[metrics.METRICS["ece"]] <= 0.03


def test_its_temperature_and_threshold_come_from_validation(shipped, results):
    rows = results.predictions[results.predictions["split"] == "validation"]
    log_p = np.log(metrics.probabilities(rows[[*LOG_PROBABILITIES]]))
    found = networks.calibrate(log_p, rows["label"].to_numpy())
    assert shipped.temperature == pytest.approx(found["temperature"], rel=0.01)
    assert shipped.threshold == pytest.approx(found["sure"]["threshold"], abs=0.01)


def test_it_answers_as_its_network_in_torch(shipped, faces):
    found = shipped.classify(faces)
    np.testing.assert_allclose(found, in_torch(shipped, faces), atol=1e-3)
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-6)
    assert shipped.sure(found).tolist() == (found.max(1) >= shipped.threshold).tolist()


def test_it_sees_the_smile_of_a_drawn_face(shipped):
    happy = datasets.draw_examples(per_class=1, size=160, seed=2020)[1, 0]
    assert EXPRESSIONS[shipped.classify([happy])[0].argmax()] == "happy"


def test_none_and_many_faces_of_any_size_are_classified(shipped, faces):
    assert shipped.classify([]).shape == (0, 8)
    many = [faces[0][: 50 + number] for number in range(70)]
    np.testing.assert_allclose(
        shipped.classify(many)[69], shipped.classify(many[69:])[0], atol=1e-5
    )


def test_a_run_and_the_file_made_of_it_answer_alike(run, remade, faces):
    path, digest = remade
    assert hashlib.sha256(path.read_bytes()).hexdigest() == digest
    of_file, of_run = load_classifier(str(path)), load_classifier("a/b", run.root)
    found = of_file.classify(faces)
    np.testing.assert_allclose(found, in_torch(of_file, faces), atol=1e-3)
    np.testing.assert_allclose(found, of_run.classify(faces), atol=2e-3)
    assert (of_run.temperature, of_run.threshold) == (of_file.temperature, of_file.threshold)
    assert of_run.network() is of_run.network() and "drawn faces" in of_run.limits()


def test_it_is_shown_what_a_network_in_training_is(run):
    rows = datasets.read_manifest(run.path("manifest.parquet"))
    rows = rows[rows["split"] == "validation"].reset_index(drop=True)
    table = pd.read_parquet(run.path("predictions.parquet"))
    expected = table[table["split"] == "validation"][[*LOG_PROBABILITIES]].to_numpy(float)
    classifier = load_classifier("a/b", run.root)
    found = np.log(classifier.classify(datasets.load_images(rows))) * classifier.temperature
    apart = (found - found[:, :1]) - (expected - expected[:, :1])
    assert np.abs(apart).max() < 0.01


def test_what_is_too_large_or_not_calibrated_is_not_shipped(run, remade, tmp_path, monkeypatch):
    monkeypatch.setattr(networks, "MOST_BYTES", 1000)
    exported = run.path("export") / "a-b.onnx"
    monkeypatch.setattr(models, "export", lambda *_: exported)
    with pytest.raises(InputError, match="at most 1,000 bytes"):
        networks.ship(run, tmp_path / "x.onnx")
    monkeypatch.setattr(networks, "_calibration", lambda run: {})
    with pytest.raises(InputError, match="validation predictions in a/b"):
        networks.ship(run, tmp_path / "x.onnx")
    assert not (tmp_path / "x.onnx").exists()


def test_an_answer_is_sure_where_validation_was_right_often_enough():
    p = np.full((100, 8), 0.01)
    p[:, 0] = np.linspace(0.95, 0.4, 100)
    labels = np.arange(100) % 100 >= 60  # the first 60 are right, the others are not
    found = networks.calibrate(np.log(p), labels.astype(int), accuracy=0.9)
    assert found["sure"]["coverage"] == 0.66 and found["sure"]["accuracy"] == 60 / 66
    never = networks.calibrate(np.log(p), np.full(100, 7))
    assert never["sure"]["coverage"] == 0.5 and never["sure"]["accuracy"] == 0


@pytest.mark.parametrize("content", [b"", b"not onnx", None])
def test_a_damaged_file_is_refused_in_one_line(tmp_path, content):
    path = tmp_path / "x.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"x\.onnx") as refused:
        load_classifier(str(path), tmp_path)
    assert "\n" not in str(refused.value)


def test_a_network_of_other_classes_is_refused(remade, tmp_path):
    path = tmp_path / "x.onnx"
    path.write_bytes(remade[0].read_bytes().replace(b'"fear"', b'"four"'))
    with pytest.raises(InputError, match="eight expressions"):
        load_classifier(str(path))


def test_a_missing_shipped_file_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setattr("fer_utils.interactive.classifier.SHIPPED", tmp_path / "gone.onnx")
    with pytest.raises(InputError, match="reinstall"):
        load_classifier()


def test_runs_are_found_by_name_or_folder(run, monkeypatch):
    assert find_run(str(run.folder), run.root).name == "b"
    with pytest.raises(InputError, match="'a/c'; did you mean 'a/b'"):
        load_classifier("a/c", run.root)
    monkeypatch.setattr(Run, "params", run.params.model_copy(update={"target": "subject"}))
    with pytest.raises(InputError, match="tells people apart"):
        find_run("a/b", run.root)


def test_maps_lie_within_zero_and_one_and_follow_the_class(shipped, faces):
    maps = networks.explain(shipped, faces[:2])
    assert maps.shape == (2, shipped.size, shipped.size)
    assert maps.min() == 0 and maps.max(axis=(1, 2)).tolist() == [1, 1]
    others = networks.explain(shipped, faces[:2], np.array([2, 6]))
    assert np.abs(others - maps).max() > 0.1
    assert networks.explain(shipped, []) is None


def test_a_map_is_grad_cam_by_hand():
    """Mean gradients weigh the channels; for a linear head after the mean they are its weights."""
    torch.manual_seed(0)
    network = models.FERNet("small_resnet", embedding_dim=4).train()
    images = torch.randn(3, 3, 48, 48)
    maps = networks.grad_cam(network, images, [1, 5, 0])
    assert network.training
    network.eval()
    features = {}
    last = network.stages()[-1].blocks[-1]
    hook = last.register_forward_hook(lambda _, __, output: features.update(maps=output))
    with torch.no_grad():
        network(images)
        weights = (network.output.weight @ network.embedding.linear.weight)[[1, 5, 0]]
        want = torch.einsum("nc,nchw->nhw", weights, features["maps"]).relu()[:, None]
        want = torch.nn.functional.interpolate(want, (48, 48), mode="bilinear")[:, 0]
    hook.remove()
    torch.testing.assert_close(
        maps, want / want.amax((1, 2), keepdim=True).clamp(min=1e-9), atol=1e-4, rtol=1e-3
    )


@pytest.mark.parametrize(
    ("name", "size", "stage"),
    [
        ("small_se_resnet", 48, 4),
        ("small_se_resnet", 32, 3),
        ("mobilenet_v3_small", 32, 0),
        ("vit_b_16", 32, None),
    ],
)
def test_maps_come_from_the_last_stage_that_is_fine_enough(name, size, stage):
    network = models.FERNet(models.build_backbone(name, size))
    assert networks.clearest_stage(network, size) == stage
    about = {"image_size": size, "crop_pct": 1.0, "dataset": "a", "input": models.IMAGENET_INPUT}
    classifier = FaceClassifier("a", about, None, lambda: network)
    maps = networks.explain(classifier, [np.zeros((40, 40, 3), np.uint8)])
    assert maps is None if stage is None else maps.shape == (1, size, size)


def test_a_file_without_names_of_weights_has_no_network(shipped, faces, remade, monkeypatch):
    monkeypatch.setattr(networks, "HALF", ".other")
    classifier = load_classifier(str(remade[0]))
    assert classifier.network() is None and networks.explain(classifier, faces) is None
