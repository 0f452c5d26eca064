"""Training from a pack: the same batches whatever loads them, and a run like any other."""

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torchvision.transforms import v2

from fer_utils import runs
from fer_utils.batch_crops import random_crops
from fer_utils.datasets import FaceDataset, images, read_manifest
from fer_utils.errors import InputError
from fer_utils.expressions import EXPRESSIONS
from fer_utils.training import fit
from fer_utils.training.data import ExpressionData, SeededSampler
from fer_utils.training.fitting import Interrupted
from fer_utils.training.preparing import pack_if_asked, prepare_manifest
from fer_utils.transforms import Normalise, evaluation_transform

TINY = {
    "train_images": 64, "validation_images": 16, "test_images": 16, "image_size": 32, "subjects": 12, "epochs": 2,
    "halve_every": 1, "batch_size": 16, "threads": 1, "difficulty": 0.0, "device": "cpu", "packed": True,
}  # fmt: skip


def tiny(**changes):
    return runs.parameters({**TINY, **changes})


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    params, root = tiny(), tmp_path_factory.mktemp("packed")
    return pack_if_asked(prepare_manifest(params, root), params, root)


def epoch(loader, number=0):
    loader.sampler.set_epoch(number)
    parts = zip(*loader, strict=True)
    return [torch.cat(part) for part in parts]


def test_training_batches_are_the_library_s_crops_of_the_pack(packed):
    params = tiny(crop_scale_min=0.3)
    data = ExpressionData(packed, params)
    pixels, targets = epoch(data.train_dataloader(), number=3)
    rows = FaceDataset(packed[packed["split"] == "train"].reset_index(drop=True))
    sampler = SeededSampler(64, seed=0)
    sampler.set_epoch(3)
    keys = list(sampler)
    crops = random_crops([seed for _, seed in keys], 37, (0.3, 1.0)).tolist()
    for place, ((index, _), (top, left, height, width, flip)) in enumerate(zip(keys, crops, strict=True)):
        image, target = rows[index]
        image = v2.functional.resized_crop(image, top, left, height, width, [32, 32], antialias=True)
        expected = Normalise()(image.flip(-1) if flip else image)
        torch.testing.assert_close(pixels[place], expected, atol=1.01 / 255 / 0.22, rtol=0)
        assert targets[place] == target


def test_threads_that_prepare_batches_leave_the_training_its_own(packed):
    threads = torch.get_num_threads()
    torch.set_num_threads(3)
    epoch(ExpressionData(packed, tiny()).train_dataloader())
    assert torch.get_num_threads() == 3
    torch.set_num_threads(threads)


def test_evaluation_batches_are_the_centres(packed):
    data = ExpressionData(packed, tiny())
    for split, loader in (("validation", data.val_dataloader()), ("test", data.predict_dataloader())):
        rows = FaceDataset(packed[packed["split"] == split].reset_index(drop=True), evaluation_transform(32))
        pixels, targets = (torch.cat(part) for part in zip(*loader, strict=True))
        assert torch.equal(pixels, torch.stack([rows[index][0] for index in range(16)]))
        assert targets.tolist() == [rows[index][1] for index in range(16)]


def test_batches_do_not_depend_on_size_workers_memory_or_the_rest_of_the_program(packed, monkeypatch):
    pixels, targets = epoch(ExpressionData(packed, tiny()).train_dataloader())
    torch.manual_seed(5)
    for changes in ({"batch_size": 6}, {"workers": 2}):
        monkeypatch.setattr(images, "MEMORY_LIMIT", 2**30 if "batch_size" in changes else 0)
        loader = ExpressionData(packed, tiny(**changes)).train_dataloader()
        assert loader.num_workers == changes.get("workers", 0)
        again = epoch(loader)
        assert torch.equal(again[0], pixels) and torch.equal(again[1], targets)
    monkeypatch.undo()
    assert ExpressionData(packed, tiny(workers=2)).train_dataloader().num_workers == 0  # held in memory
    assert not torch.equal(epoch(ExpressionData(packed, tiny(seed=1)).train_dataloader())[0], pixels)


def test_soft_targets_come_by_the_batch(packed):
    votes = np.eye(8, dtype=int)[packed["label"]] * 10
    voted = packed.assign(**{f"votes_{name}": votes[:, place] for place, name in enumerate(EXPRESSIONS)})
    _, targets = epoch(ExpressionData(voted, tiny(label_mode="probability")).train_dataloader())
    _, labels = epoch(ExpressionData(packed, tiny()).train_dataloader())
    assert targets.dtype == torch.float32 and torch.equal(targets.argmax(1), labels)


def test_a_packed_run_is_the_same_bit_for_bit_after_an_interruption(tmp_path):
    whole = fit(tiny(), root=tmp_path / "whole")

    def stop_after_one(history):
        if len(history) == 1:
            raise KeyboardInterrupt

    with pytest.raises(Interrupted):
        fit(tiny(), root=tmp_path, on_epoch=stop_after_one)
    (pack,) = tmp_path.glob(".cache/packs/*/images.npy")
    pack.unlink()  # a cache may be cleared
    resumed = fit(tiny(), root=tmp_path)
    tensors, again = (load_file(run.path("best.safetensors")) for run in (whole, resumed))
    assert all(torch.equal(tensors[name], again[name]) for name in tensors)
    assert whole.path("features.npy").read_bytes() == resumed.path("features.npy").read_bytes()
    manifest = read_manifest(whole.path("manifest.parquet"))
    assert "packed" not in manifest and "pack" not in manifest.attrs  # the run names its images, not a cache
    assert pd.read_csv(whole.path("history.csv"))["input_wait"].between(0, 1).all()
    with pytest.raises(InputError, match="packed: True → False"):
        fit(tiny(packed=False), root=tmp_path)


def test_a_run_sees_faces_cut_to_their_boxes(tmp_path):
    random = np.random.default_rng(0)
    lines = {"Train": [], "Valid": [], "Test": []}
    for split, rows in lines.items():
        folder = tmp_path / "ferplus" / "data" / f"FER2013{split}"
        folder.mkdir(parents=True)
        for number in range(8):
            Image.fromarray(random.integers(0, 256, (48, 48), dtype=np.uint8)).save(folder / f"fer{number:07d}.png")
            votes = [10 if place == number else 0 for place in range(8)]
            rows.append(f'fer{number:07d}.png,"(4, 4, 40, 40)",{",".join(map(str, votes))},0,0')
        (folder / "label.csv").write_text("\n".join(rows) + "\n")
    every = {"dataset": "ferplus", "data": "ferplus", "train_images": 0, "validation_images": 0, "test_images": 0}
    params = tiny(**every, box_margin=0.0)
    manifest, plain = (prepare_manifest(each, tmp_path) for each in (params, tiny(**every)))
    np.testing.assert_array_equal(images.load_images(manifest), images.load_images(plain)[:, 4:44, 4:44])
    packed = pack_if_asked(manifest, params, tmp_path)
    assert packed.attrs["pack"]["margin"] == 0.0 and packed.attrs["pack"]["channels"] == 1
    with pytest.raises(InputError, match="expected a manifest with face boxes"):
        prepare_manifest(tiny(box_margin=0.1), tmp_path)  # drawn faces have none


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_packed_run_on_the_gpu_finishes(tmp_path):
    assert fit(tiny(device="cuda", precision="bf16-mixed"), root=tmp_path).finished


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"box_margin": -0.1}, "'box_margin' must be at least 0"), ({"packed": 1}, "'packed' must be bool, got 1")],
)
def test_bad_parameters(changes, message):
    with pytest.raises(InputError, match=message) as error:
        tiny(**changes)
    assert "\n" not in str(error.value)
