"""The shipped recogniser: its file, its figures and its answers; what cannot be used is refused."""

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from fer_utils import datasets, metrics, studies
from fer_utils.core import EXPRESSIONS, InputError, project_root
from fer_utils.interactive import evaluate, gradcam, pictures
from fer_utils.interactive.classifier import SHIPPED, calibrate, load_classifier

ROOT = project_root(__file__)


@pytest.fixture(scope="module")
def shipped():
    return load_classifier(threads=1)


@pytest.fixture(scope="module")
def results():
    return studies.read_results("recogniser", ROOT)


def test_it_is_one_small_file_whose_sum_is_recorded():
    content = SHIPPED.read_bytes()
    assert len(content) <= 1_000_000
    recorded = (ROOT / "results/recogniser/recogniser.sha256").read_text().strip()
    assert hashlib.sha256(content).hexdigest() == recorded


def test_its_figures_are_those_of_the_committed_predictions(shipped, results):
    rows = results.scored(results.runs["run"][0])
    found = metrics.evaluate(rows["label"].to_numpy(), studies.probabilities(rows))
    for name in ("accuracy", "macro_recall", "auc"):
        assert shipped.about["metrics"][name] == pytest.approx(found[name], abs=1e-6), name


def test_its_temperature_and_threshold_come_from_validation(shipped, results):
    rows = results.predictions[results.predictions["split"] == "validation"]
    log_p = np.log(studies.probabilities(rows))
    found = calibrate(log_p, rows["label"].to_numpy())
    assert shipped.temperature == pytest.approx(found["temperature"], rel=0.01)
    assert shipped.threshold == pytest.approx(found["sure"]["threshold"], abs=0.01)


def test_it_answers_as_its_network_in_torch(shipped):
    faces = list(datasets.draw_examples(per_class=1, size=96)[:, 0])
    network = shipped.network()
    with torch.inference_mode():
        logits = network(torch.from_numpy(shipped.inputs(faces)))[0]
    want = (logits / shipped.temperature).softmax(1).numpy()
    found = shipped.classify(faces)
    np.testing.assert_allclose(found, want, atol=1e-3)
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-6)
    assert shipped.sure(found).tolist() == (found.max(1) >= shipped.threshold).tolist()


def test_it_sees_the_smile_of_a_drawn_face(shipped):
    happy = datasets.draw_examples(per_class=1, size=160, seed=2020)[1, 0]
    assert EXPRESSIONS[shipped.classify([happy])[0].argmax()] == "happy"


def test_maps_lie_within_zero_and_one_and_have_the_faces_size(shipped):
    faces = list(datasets.draw_examples(per_class=1, size=96)[:2, 0])
    maps = np.asarray(gradcam.explain(shipped, faces))
    assert len(maps) == 2 and maps.min() >= 0 and maps.max() <= 1


@pytest.mark.parametrize("content", [b"", b"not onnx"])
def test_a_damaged_file_is_refused_in_one_line(tmp_path, content):
    path = tmp_path / "x.onnx"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"x\.onnx") as refused:
        load_classifier(str(path), tmp_path)
    assert "\n" not in str(refused.value)


def test_a_missing_shipped_file_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setattr("fer_utils.interactive.classifier.SHIPPED", tmp_path / "gone.onnx")
    with pytest.raises(InputError, match="reinstall"):
        load_classifier()


def test_faces_are_found_recognised_and_written(shipped, tmp_path):
    portrait, group = pictures.draw_pictures(tmp_path)
    (tmp_path / "bad.jpg").write_text("no picture")
    (tmp_path / "eps.jpg").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n")
    Image.fromarray(np.zeros((50, 40), np.uint8)).save(tmp_path / "dark.png")
    table = pictures.FacesTable(tmp_path / "out")
    files = pictures.list_pictures([tmp_path])
    found = {p.path.name: p for p in pictures.recognise_pictures(files, shipped, table)}
    assert len(found["portrait.png"].faces) == 1 and len(found["group.png"].faces) >= 6
    for name in ("bad.jpg", "eps.jpg", "dark.png"):
        assert name in found[name].note and "\n" not in found[name].note
    rows = pd.read_csv(table.path)
    assert set(rows["file"].map(lambda name: Path(name).name)) == set(found)
    again = pictures.FacesTable(tmp_path / "out")
    assert again.path.name == "faces-2.csv"  # what may hold labels made by hand stays
    continued = pictures.FacesTable(continued=table.path)
    assert not list(pictures.recognise_pictures(files, shipped, continued))


def test_a_strangers_predictions_are_scored_and_compared(tmp_path):
    names = [f"{number}.png" for number in range(80)]
    labels = np.arange(80) % 8
    right = pd.DataFrame({"image": names, "label": labels, "class": labels})
    wrong = right.assign(**{"class": np.roll(labels, 1)})
    for table, name in ((right, "right"), (wrong, "wrong")):
        table.to_csv(tmp_path / f"{name}.csv", index=False)
    good, bad = (
        evaluate.evaluate(str(tmp_path / f"{n}.csv"), root=tmp_path) for n in ("right", "wrong")
    )
    assert evaluate.score(good.table, resamples=50).loc["all eight", "value"].iloc[0] == 1
    compared = evaluate.compare(bad.table, good.table, resamples=200)
    assert compared["difference"].iloc[0] == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t.assign(**{"class": "joyful"}), "joyful"),
        (lambda t: pd.concat([t, t.iloc[:1]]), "0.png"),
        (lambda t: t.drop(columns="class"), "class|probabilities"),
        (lambda t: t.drop(columns="image"), "image"),
    ],
)
def test_a_bad_predictions_file_is_refused_in_one_sentence(tmp_path, change, said):
    table = pd.DataFrame({"image": ["0.png", "1.png"], "label": [0, 1], "class": [0, 1]})
    change(table).to_csv(tmp_path / "p.csv", index=False)
    with pytest.raises(InputError, match=said) as refused:
        evaluate.evaluate(str(tmp_path / "p.csv"), root=tmp_path)
    assert "\n" not in str(refused.value)
