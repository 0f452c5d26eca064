"""AffectNet's study, rehearsed on made-up trees in its two releases: from raw files to tables, faults and all."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from fer_utils import datasets, models, paper, runs, splits, studies
from fer_utils.errors import InputError
from fer_utils.training import fit, prepare_manifest
from fer_utils.weights import save_weights
from tests.datasets.trees import AFFECTNET_HEADER, affectnet_line

ROOT = Path(__file__).parents[1]
PER_CLASS, ENDINGS = 13, (".jpg", ".JPG", ".png", ".bmp", ".tif")
COPIES = range(0, 6)  # of one picture, all neutral
ABSENT, TRUNCATED = (20, 21), 30
TINY = {"image_size": 32, "epochs": 1, "batch_size": 16, "threads": 1, "device": "cpu"}
PROTOCOL = {"dataset": "affectnet", "protocol": "paper", "held_out_per_class": 2, "on_bad_image": "skip"}
WHOLE = {"train_images": 0, "validation_images": 0, "test_images": 0}


@pytest.fixture(scope="module")
def pictures():
    """104 drawn faces of 64 pixels in a larger grey picture, and each one's label."""
    drawn = datasets.read_synthetic(train=8 * PER_CLASS, validation=8, test=8, image_size=64, proportions="balanced")
    drawn = drawn[drawn["split"] == "train"].sort_values("label", kind="stable")
    canvas = np.full((len(drawn), 90, 100, 3), 127, np.uint8)
    canvas[:, 10:74, 20:84] = datasets.load_images(drawn)
    assert np.bincount(drawn["label"]).tolist() == [PER_CLASS] * 8
    canvas[list(COPIES)] = canvas[0]
    return canvas, drawn["label"].tolist()


@pytest.fixture(scope="module")
def csv_release(pictures, tmp_path_factory):
    """Training list with byte-order mark, header and CRLF; validation list without a header; faults in both."""
    root = tmp_path_factory.mktemp("Affect Nét")
    training, validation = [AFFECTNET_HEADER], []
    for number, (pixels, label) in enumerate(zip(*pictures, strict=True)):
        # Every base name stands in two folders. Copies are lossless, or they would differ.
        name = f"{1 + number % 2}/{number // 2}{'.png' if number in COPIES else ENDINGS[number % 5]}"
        box = {40: "-30,-10,200,64", 41: "500,500,64,64"}.get(number, "20,10,64,64")
        (validation if number % 6 == 5 else training).append(affectnet_line(name, label, box))
        if number in ABSENT:
            continue
        path = root / "Manually_Annotated_Images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
        if number == TRUNCATED:
            path.write_bytes(path.read_bytes()[:300])
    training += [affectnet_line(f"1/none{code}.jpg", code, valence=-2, arousal=-2) for code in (8, 9, 10)]
    (root / "training.csv").write_bytes(("\ufeff" + "\r\n".join(training) + "\r\n").encode())
    (root / "validation.csv").write_text("\n".join(validation) + "\n")
    return root


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    root = tmp_path_factory.mktemp("checkout")
    for name in ("pyproject.toml", "Snakefile"):
        shutil.copy(ROOT / name, root)
    for name in ("notebooks", "experiments"):
        shutil.copytree(ROOT / name, root / name)
    study = yaml.safe_load((root / "experiments/affectnet.yaml").read_text())
    study |= {"models": [10], "seeds": [0], "threads": 1, "architectures": {"se_resnet50": "se_resnet14"}}
    study["parameters"] |= {"image_size": 32, "epochs": 1, "held_out_per_class": 2, "batch_size": 16}
    (root / "experiments/rehearsal.yaml").write_text(yaml.safe_dump(study))
    (root / "weights").mkdir()
    save_weights(models.FERNet("se_resnet14"), root / "weights/se_resnet50.safetensors")
    return root


def call(checkout, *arguments):
    command = [sys.executable, "-m", "fer_utils", *map(str, arguments)]
    return subprocess.run(command, cwd=checkout, capture_output=True, text=True)


def test_from_raw_files_to_tables(checkout, csv_release):
    command = ("study", "rehearsal", "--data", csv_release, "--weights", checkout / "weights")
    answer = call(checkout, *command)
    log = checkout / "runs/rehearsal/snakemake.log"
    assert answer.returncode == 0, answer.stderr + log.read_text()
    assert "Table 5" in answer.stdout
    row = pd.read_csv(checkout / "results/rehearsal/runs.csv").iloc[0]
    assert (row["validation_images"], row["test_images"], row["bad_images"]) == (16, 16, len(ABSENT) + 1)
    assert row["dropped_images"] == 3 and row["weights"] == "se_resnet50" and row["protocol"] == "paper"
    assert row["train_images"] + row["leaks_removed"] + 32 == 8 * PER_CLASS - row["bad_images"]
    run = checkout / "runs/rehearsal/model10-seed0"
    manifest = datasets.read_manifest(run / "manifest.parquet")
    for split in ("validation", "test"):
        assert datasets.class_counts(manifest, split).tolist() == [2] * 8
    assert manifest.attrs["dropped"] == {"none": 1, "uncertain": 1, "no face": 1}
    assert manifest.attrs["protocol"]["name"] == "paper" and manifest.attrs["box_margin"] == 0.1
    # The copies: wherever one is held out, none of them is trained on.
    copies = {f"{1 + number % 2}/{number // 2}.png" for number in COPIES}
    where = manifest[manifest["image"].str.split("/").str[-2:].str.join("/").isin(copies)]["split"]
    assert set(where) == {"train"} or "train" not in set(where)
    assert row["leaks_removed"] == len(copies) - len(where) > 0
    drawn = {path.name.split("_")[0] for path in (checkout / "figures/rehearsal").glob("*.pdf")}
    assert drawn >= {"fig01", "fig03", "fig05"}
    before = {path: path.stat().st_mtime_ns for path in run.iterdir()}
    assert call(checkout, *command).returncode == 0
    assert before == {path: path.stat().st_mtime_ns for path in run.iterdir()}  # nothing is trained again


def test_a_leak_is_removed_whatever_the_seed(csv_release):
    """Over some seeds a copy is held out in most; then all the others leave training, and are counted."""
    removed = []
    for seed in range(4):
        params = runs.parameters({**PROTOCOL, **WHOLE, "data": str(csv_release), "data_seed": seed})
        removed.append(prepare_manifest(params, Path()).attrs["leaks_removed"])
    params = runs.parameters({**PROTOCOL, **WHOLE, "data": str(csv_release), "remove_leaks": False})
    assert max(removed) > 0 and "leaks_removed" not in prepare_manifest(params, Path()).attrs


def test_the_npy_release_trains_too(pictures, tmp_path):
    root = tmp_path / "npy"
    for number, (pixels, label) in enumerate(zip(*pictures, strict=True)):
        folder = root / ("val_set" if number % 6 == 5 else "train_set")
        (folder / "annotations").mkdir(parents=True, exist_ok=True)
        (folder / "images").mkdir(exist_ok=True)
        Image.fromarray(pixels[10:74, 20:84]).save(folder / "images" / f"{number}.jpg")
        for kind, value in (("exp", str(label)), ("val", "0.1"), ("aro", "0.2")):
            np.save(folder / "annotations" / f"{number}_{kind}.npy", np.array(value))
    params = {**PROTOCOL, **WHOLE, **TINY, "data": str(root), "protocol": "k_fold", "folds": 4, "fold": 3}
    finished = fit({**params, "loss": "softmax", "packed": True, "box_margin": 0.1}, root=tmp_path)
    measured = finished.read_json("metrics.json")
    assert measured["bad_images"] == 0 and measured["test_images"] == 26
    manifest = datasets.read_manifest(finished.path("manifest.parquet"))
    assert manifest.attrs["protocol"]["fold"] == 3 and manifest.attrs["release"] == "npy"
    assert "box_margin" not in manifest.attrs  # there is no box: the faces are cut already


def test_the_study_is_the_papers(tmp_path):
    weights = tmp_path / "weights"
    weights.mkdir()
    (weights / "se_resnet50.pkl").touch()
    plan = studies.load("affectnet", ROOT)
    resolved = plan.runs(data="/data", weights=str(weights))
    assert len(resolved) == 60 and sorted(set(plan.models)) == list(paper.MODELS)
    best = resolved["model10-seed0"]
    assert (best.learning_rate, best.batch_size, best.frozen_stages, best.image_size) == (0.001, 36, 3, 224)
    assert (best.loss, best.cluster_weight, best.alpha, best.gamma) == ("weighted_cluster", 1.0, 1.0, 1.0)
    assert (best.protocol, best.held_out_per_class, best.halve_every) == ("paper", 500, 10)
    assert best.weights == str(weights / "se_resnet50.pkl") and resolved["model16-seed0"].weights == "imagenet"
    scratch = resolved["model05-seed2"]
    assert (scratch.learning_rate, scratch.batch_size, scratch.frozen_stages) == (0.01, 30, 0)


def test_a_study_without_its_data_says_what_it_needs(tmp_path):
    for name in runs.RunParameters.__dataclass_fields__.keys() & {"protocol", "on_bad_image"}:
        with pytest.raises(InputError, match=f"unknown {name}"):
            runs.parameters({name: "other"})
    with pytest.raises(InputError, match="'fold' must be below folds"):
        runs.parameters({"dataset": "ferplus", "protocol": "k_fold", "fold": 5})
    answer = call(ROOT, "study", "affectnet")
    assert answer.returncode == 2 and answer.stderr.count("\n") == 1
    assert "make study STUDY=affectnet DATA=/path/to/it WEIGHTS=/folder" in answer.stderr
    (tmp_path / "se_resnet50.pkl").touch()
    answer = call(ROOT, "study", "affectnet", "--weights", tmp_path)
    assert answer.returncode == 2 and answer.stderr.count("\n") == 1
    assert "needs the affectnet folder" in answer.stderr


def test_ferplus_under_another_protocol_starts_with_all_its_images(monkeypatch):
    """Leaks between FER+'s own splits are none between the drawn ones: the reader is told to leave them."""
    asked = {}

    def read(dataset, root, **options):
        asked.update(options)
        table = pd.DataFrame({"image": [f"{n}.png" for n in range(80)], "label": [*range(8)] * 10, "split": "train"})
        table["fingerprint"] = table["image"]
        table.attrs = {"dataset": "ferplus", "root": "/nowhere"}
        return table

    monkeypatch.setattr("fer_utils.training.preparing.datasets.read_dataset", read)
    options = {"dataset": "ferplus", "data": "/nowhere", "protocol": "paper", "held_out_per_class": 2, **WHOLE}
    manifest = prepare_manifest(runs.parameters(options), Path())
    assert asked == {"on_bad_image": "raise", "remove_leaks": False, "label_rule": "majority"}
    assert manifest.attrs["leaks_removed"] == 0
    expected = splits.paper_protocol(read("ferplus", ""), seed=0, per_class=2)
    assert manifest["split"].tolist() == expected["split"].tolist()
    assert json.dumps(manifest.attrs["protocol"])
