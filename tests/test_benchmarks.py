"""The benchmarks run, compare like with like and record what they measured on."""

import importlib.util
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch

from fer_utils import paper

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


def benchmark(name):
    spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


bench_audit = benchmark("bench_audit")
bench_figures = benchmark("bench_figures")
bench_loss = benchmark("bench_loss")
bench_freeze = benchmark("bench_freeze")
bench_input = sys.modules["bench_input"] = benchmark("bench_input")
bench_manifest = benchmark("bench_manifest")
bench_train = benchmark("bench_train")


class Here:  # a process of its own costs seconds, and measures nothing here
    def __init__(self, processes):
        assert processes == 1

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def apply(self, function, arguments):
        return function(*arguments)


def test_quick_run_writes_its_table(tmp_path, capsys):
    table = bench_loss.main(["--quick", "--csv", str(tmp_path / "new" / "table.csv")])
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "new" / "table.csv"), table)
    assert list(table) == [
        *("loss", "samples", "dim", "classes", "repeats", "ours_loss", "plain_loss", "ours_ms", "plain_ms", "speedup"),
        *("processor", "cores", "threads", "torch"),
    ]
    assert table[["samples", "dim", "classes", "repeats"]].drop_duplicates().values.tolist() == [
        list(size) for size in bench_loss.QUICK_SIZES
    ]
    assert (table[["ours_ms", "plain_ms"]] > 0).all(axis=None)
    assert table.plain_loss.tolist() == pytest.approx(table.ours_loss.tolist(), rel=1e-5)
    printed = capsys.readouterr().out
    assert torch.__version__ in printed and "speedup" in printed


@pytest.mark.parametrize("size", [(6, 4, 3), (36, 32, 8), (5, 3, 40)])
@pytest.mark.parametrize("name", bench_loss.LOSSES)
def test_both_recipes_are_the_same_loss(name, size):
    """Value, and gradient of the features and logits: the plain recipe is an oracle of its own."""
    batch = bench_loss.make_batch(*size)
    counts = batch.pop("counts")
    ours = bench_loss.Ours(name, counts, size[1])
    before = ours.loss.centers
    plain = bench_loss.Plain(name, counts, before)
    results = []
    for step in (ours, plain):
        batch["logits"].grad = batch["features"].grad = None
        value = step(**batch)
        results.append([value, *(batch[leaf].grad for leaf in ("logits", "features"))])
    torch.testing.assert_close(*results)
    assert not torch.equal(ours.loss.centers, before) and not torch.equal(plain.centers, before)  # both have moved


def test_freezing_is_measured_in_turns(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(bench_freeze.multiprocessing, "get_context", lambda kind: type("Context", (), {"Pool": Here}))
    table = bench_freeze.main(["--quick", "--csv", str(tmp_path / "table.csv")])
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "table.csv"), table)
    row = table.iloc[0]
    assert (row.architecture, row.precision, row.batch, row.image_size) == ("resnet14", "float32", 2, 32)
    assert row.speedup == pytest.approx(row.frozen_images_per_s / row.full_images_per_s)
    assert "speedup" in capsys.readouterr().out


def test_input_is_measured_from_the_same_images(tmp_path, capsys):
    table = bench_input.main(["--quick", "--csv", str(tmp_path / "table.csv")])
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "table.csv"), table)
    row = table.iloc[0]
    assert (row.image_size, row.architecture, row.images, row.batch) == (32, "resnet14", 40, 30)
    assert row.speedup == pytest.approx(row.packed_images_per_s / row.library_images_per_s)
    assert 0 < row.packed_wait < 1 and 0 < row.unpacked_wait < 1
    assert "speedup" in capsys.readouterr().out


def test_both_inputs_are_the_same_pictures(tmp_path):
    """Random crops and flips apart: one epoch's mean picture of the one is that of the other."""
    manifest = bench_input.write_images(tmp_path / "images", 40, 400, None)
    ours, _ = bench_input.packed_loader(manifest, tmp_path, 32, 50)
    theirs = bench_input.library_loaders(tmp_path / "images", 32, 50, workers=(0,))
    means = []
    for loader in (ours, *theirs.values()):
        torch.manual_seed(0)
        images, targets = (torch.cat(parts) for parts in zip(*loader, strict=True))
        assert images.shape == (400, 3, 32, 32) and images.dtype == torch.float32
        assert targets.bincount().tolist() == [50] * 8
        means.append(images.mean(dim=0))
    for mean in means[1:]:
        assert (means[0] - mean).abs().mean() < 0.08  # of a standard deviation of 1, by chance 0.05


def test_an_audit_is_measured_in_its_parts(tmp_path, capsys):
    table = bench_audit.main(["--quick", "--csv", str(tmp_path / "table.csv")])
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "table.csv"), table)
    assert table["part"].tolist() == ["images", "near", "audit"] and set(table["images"]) == {16}
    assert (table["wall_s"] > 0).all()
    assert bench_audit.main([]) is None
    assert "give the folder of FER+ with --data" in capsys.readouterr().out


def test_reading_lists_is_measured_beside_pandas(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(bench_manifest.multiprocessing, "get_context", lambda kind: type("Context", (), {"Pool": Here}))
    table = bench_manifest.main(["--quick", "--csv", str(tmp_path / "table.csv")])
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "table.csv"), table)
    assert table["way"].tolist() == ["manifest", "pandas"] and set(table["rows"]) == {440}
    assert (table[["wall_s", "processor_s", "peak_gib"]] > 0).all(axis=None)
    assert "peak_gib" in capsys.readouterr().out


def test_made_up_lists_are_affectnets(tmp_path):
    bench_manifest.write_lists(tmp_path, bench_manifest.QUICK)
    manifest = bench_manifest.datasets.read_affectnet(tmp_path, check_images=False)
    assert manifest["split"].value_counts().to_dict() == {"train": 400, "validation": 40}
    assert set(manifest["label"]) == set(range(8)) and manifest["box_width"].ge(50).all()
    landmarks = pd.read_csv(tmp_path / "validation.csv")["facial_landmarks"].str.split(";")
    assert set(landmarks.map(len)) == {136} and sum(bench_manifest.LISTS.values()) == 291_651


def test_training_is_measured_against_the_plain_recipe_and_its_floors(tmp_path, capsys, monkeypatch):
    # A process of its own costs seconds, and measures nothing here.
    monkeypatch.setattr(bench_train, "together", lambda count, recipe, arguments: [recipe(*arguments)] * count)
    table = bench_train.main(["--quick", "--csv", str(tmp_path / "table.csv")])
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "table.csv"), table, check_dtype=False)
    plain, ours = table.iloc[0], table.iloc[1]
    assert (plain.recipe, ours.recipe, ours.architecture) == ("plain", "ours", "resnet14") and plain.speedup == 1
    assert ours.speedup == pytest.approx(ours.images_per_s / plain.images_per_s)
    assert (table["input_wait"].between(0, 1)).all() and (table["peak_gib"] > 0).all()
    assert 0 < ours.arithmetic_ms < ours.step_ms and 0 < ours.traffic_ms < ours.step_ms
    assert "speedup" in capsys.readouterr().out


def test_traffic_counts_what_each_operation_reads_and_writes():
    values = torch.zeros(100)
    with bench_train.Traffic() as traffic:
        (values.view(10, 10) + 1).relu_()  # the view moves nothing; then 100 read, 100 written, twice
    assert traffic.moved == 4 * 400


def test_the_made_up_study_has_every_run_and_is_read_as_one(tmp_path):
    bench_figures.make_study(tmp_path, models=(6, 20), seeds=(0, 1))
    report = paper.Report(tmp_path, bench_figures.STUDY)
    assert report.bases() == ["se_resnet50", "resnet50"]
    assert len(report.runs) == report.predictions["run"].nunique() == 4
    assert paper.missing_runs(report.runs, report.about["models"], report.about["seeds"]) == []
    right = report.predictions.filter(regex="^p_").to_numpy().argmax(axis=1) == report.predictions["label"]
    accuracy = right.groupby(report.predictions["run"]).mean()
    assert report.runs.set_index("run")["accuracy"].to_dict() == pytest.approx(accuracy.to_dict())
    assert accuracy.nunique() == 4
