"""Manifests and loaders of a run."""

import numpy as np
import pytest
import torch
from PIL import Image

from fer_utils import datasets, training
from fer_utils.core import EXPRESSIONS, InputError, parameters
from fer_utils.datasets import duplicates
from fer_utils.datasets.duplicates import near_pairs
from fer_utils.training.data import ExpressionData, FaceDataset, SeededSampler


def test_a_drawn_run_has_the_images_asked_for(tiny, tmp_path):
    manifest = training.prepare_manifest(parameters(tiny), tmp_path)
    assert manifest["split"].value_counts().to_dict() == {"train": 72, "validation": 40, "test": 40}


def test_a_search_never_sees_the_test_split(tiny, tmp_path):
    manifest = training.prepare_manifest(parameters(tiny | {"evaluation": "validation"}), tmp_path)
    assert set(manifest["split"]) == {"train", "validation"}


def test_people_are_held_out(tiny, tmp_path):
    own = {"target": "subject", "train_images": 200, "validation_images": 0, "test_images": 0}
    own |= {"data_options": {"subjects": 12, "held_out_people": 0.25}}
    manifest = training.prepare_manifest(parameters(tiny | own), tmp_path)
    people = {name: set(part["subject"]) for name, part in manifest.groupby("split")}
    assert people["validation"] <= people["train"]
    assert not people["test"] & people["train"] and len(people["test"]) == 3


@pytest.mark.parametrize(
    ("values", "said"),
    [({"dataset": "ferplus"}, "ferplus"), ({"validation_images": 0}, "validation")],
)
def test_a_run_without_images_is_refused(tiny, tmp_path, values, said):
    with pytest.raises(InputError, match=said):
        training.prepare_manifest(parameters(tiny | values), tmp_path)


@pytest.mark.parametrize("protocol", ["official", "k_fold"])
def test_twins_among_real_images_are_known_and_searched_for_once(
    tiny, tmp_path, monkeypatch, protocol
):
    faces = np.random.default_rng(0).integers(0, 200, (36, 40, 40), dtype=np.uint8)
    faces[1:3] = faces[0] + 20  # three of one picture: of train, validation and test
    for number, face in enumerate(faces):
        split = ("train", "valid", "test")[number % 3]
        path = tmp_path / "tree" / split / ("happy", "sad")[number // 3 % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(face).save(path)
    searched = []
    monkeypatch.setattr(
        duplicates,
        "near_pairs",
        lambda faces, search=near_pairs: searched.append(1) or search(faces),
    )
    own = {"dataset": "folder", "data": str(tmp_path / "tree"), "protocol": protocol}
    own |= {f"{split}_images": 0 for split in datasets.SPLITS} | {"data_options": {}}
    for fold in (0, 1):
        fold = {"fold": fold} if protocol == "k_fold" else {}
        manifest = training.prepare_manifest(parameters(tiny | own | fold), tmp_path)
        groups = manifest.loc[manifest["split"] != "train", "duplicate_group"]
        assert sorted(groups)[-3:] in ([-1, 0, 0], [-1, -1, -1], [0, 0, 0])
        assert (groups >= 0).any() or protocol == "k_fold"
    assert len(searched) == 1


def test_the_order_of_an_epoch_depends_on_seed_and_epoch_alone():
    def keys(seed, epoch):
        sampler = SeededSampler(50, 8, seed)
        sampler.set_epoch(epoch)
        return [key for batch in sampler for key in batch]

    assert keys(1, 2) == keys(1, 2) != keys(1, 3)
    assert sorted(index for index, _ in keys(1, 2)) == list(range(50))


@pytest.mark.parametrize("ranks", [2, 3])
def test_processes_share_the_batches_of_one(ranks):
    whole = list(SeededSampler(50, 8, seed=0))
    parts = [list(SeededSampler(50, 8, 0, rank, ranks)) for rank in range(ranks)]
    joined = [sum(batches, []) for batches in zip(*parts, strict=True)]
    assert joined == whole[: len(joined)]


def test_a_last_batch_of_one_is_left_out():
    assert [len(batch) for batch in SeededSampler(17, 8, 0)] == [8, 8]
    assert len(SeededSampler(18, 8, 0)) == 3


@pytest.mark.parametrize("in_memory", [True, False])
def test_images_are_the_same_from_memory_and_decoded_anew(tiny, tmp_path, monkeypatch, in_memory):
    params = parameters(tiny)
    manifest = training.prepare_manifest(params, tmp_path)
    if not in_memory:
        monkeypatch.setattr("fer_utils.training.data.IN_MEMORY", 0)
    rows = manifest[manifest["split"] == "test"].reset_index(drop=True)
    rows.attrs = manifest.attrs
    dataset = FaceDataset(rows, params)
    assert (dataset._squares is not None) == in_memory
    images, labels = dataset.inputs(dataset.__getitems__([3, 0]))
    assert images.shape == (2, 3, 32, 32)
    assert labels.tolist() == rows["label"].iloc[[3, 0]].tolist()
    assert float(images.sum()) == pytest.approx(float(images.double().sum()), rel=1e-3)


def test_loaders_give_the_same_with_workers(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr("fer_utils.training.data.IN_MEMORY", 0)
    params = parameters(tiny)
    manifest = training.prepare_manifest(params, tmp_path)
    batches = []
    for workers in (0, 1):
        data = ExpressionData(manifest, params.model_copy(update={"workers": workers}))
        batches.append(list(data.train_dataloader()))
    for one, two in zip(*batches, strict=True):
        assert torch.equal(one[0], two[0]) and torch.equal(one[1], two[1])


def test_soft_targets_train_and_labels_validate(tiny, tmp_path):
    params = parameters(tiny)
    manifest = training.prepare_manifest(params, tmp_path)
    rng = np.random.default_rng(0)
    names = [f"votes_{name}" for name in EXPRESSIONS]
    manifest[names] = rng.integers(1, 5, (len(manifest), 8))
    data = ExpressionData(manifest, params.model_copy(update={"label_mode": "probability"}))
    assert data.train.targets.shape == (72, 8)
    torch.testing.assert_close(data.train.targets.sum(1), torch.ones(72))
    assert data.validation.targets.dtype == torch.int64
