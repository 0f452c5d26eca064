"""From run parameters to manifests and loaders."""

from pathlib import Path

import pandas as pd
import torch
from pytorch_lightning import LightningDataModule
from torch.utils.data import DataLoader, Sampler

from fer_utils import datasets, splits, transforms
from fer_utils.errors import InputError
from fer_utils.runs import RunParameters, located


class SeededSampler(Sampler):
    """Training order of one epoch as pairs (index, seed), a pure function of (`seed`, epoch).

    The dataset draws an image's augmentation from the pair's seed, so an epoch is the same images in the same order
    with the same crops however many workers load it and whether or not the run was interrupted before.
    """

    def __init__(self, length: int, seed: int):
        self.length, self.seed, self.epoch = length, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning before each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.length

    def __iter__(self):
        generator = torch.Generator().manual_seed((self.seed << 20) + self.epoch)
        order = torch.randperm(self.length, generator=generator)
        seeds = torch.randint(2**62, (self.length,), generator=generator)
        yield from zip(order.tolist(), seeds.tolist(), strict=True)


class ExpressionData(LightningDataModule):
    """Loaders over a manifest's three splits: augmented and shuffled for training, plain and in order otherwise."""

    def __init__(self, manifest: pd.DataFrame, params: RunParameters):
        super().__init__()
        self.params = params
        crop_scale = (params.crop_scale_min, 1.0)
        self.train = self._dataset(manifest, "train", transforms.train_transform(params.image_size, crop_scale))
        evaluation = transforms.evaluation_transform(params.image_size)
        self.validation = self._dataset(manifest, "validation", evaluation, self.train.classes)
        # Of an identity run, which has no test split, validation says it all.
        evaluated = "test" if params.target == "subject" else params.evaluation
        self.test = self._dataset(manifest, evaluated, evaluation, self.train.classes)

    def _dataset(self, manifest: pd.DataFrame, split: str, transform, classes=None) -> datasets.FaceDataset | None:
        rows = manifest[manifest["split"] == split].reset_index(drop=True)
        rows.attrs = manifest.attrs
        return datasets.FaceDataset(rows, transform, self.params.target, classes) if len(rows) else None

    def _loader(self, dataset, **options) -> DataLoader:
        pinned = torch.cuda.is_available() and self.params.device != "cpu"
        return DataLoader(dataset, num_workers=self.params.workers, pin_memory=pinned, **options)

    def train_dataloader(self) -> DataLoader:
        size = self.params.batch_size
        # A last batch of one image has no variance for batch normalisation.
        return self._loader(
            self.train,
            batch_size=size,
            sampler=SeededSampler(len(self.train), self.params.seed),
            drop_last=len(self.train) % size == 1,
        )

    def val_dataloader(self) -> DataLoader:
        return self._loader(self.validation, batch_size=256)

    def predict_dataloader(self) -> DataLoader:
        return self._loader(self.test, batch_size=256)


def prepare_manifest(params: RunParameters, root: Path) -> pd.DataFrame:
    """The manifest that `params` ask for: read, freed of leaks and cut to the asked sizes (0 = all).

    With `target="subject"` a tenth of each subject's training images becomes the validation split (identification
    of known people), and there is no test split. With `evaluation="validation"` the test split is left out, after leaks
    into it have been removed from training: a search that must not see it cannot.

    Raises:
        InputError: where the data are not what was asked for.
    """
    sizes = {"train": params.train_images, "validation": params.validation_images, "test": params.test_images}
    if params.dataset == "synthetic":
        manifest = datasets.read_synthetic(
            **sizes,
            subjects=params.subjects,
            difficulty=params.difficulty,
            image_size=_drawn_size(params),
            proportions="balanced" if params.target == "subject" else "table3",
            seed=params.data_seed,
        )
    else:
        if not params.data:
            raise InputError(
                f"dataset {params.dataset!r} needs its folder: give data=… (make study … DATA=/path/to/it)"
            )
        manifest = datasets.read_dataset(params.dataset, located(params.data, root))
        for split, images in sizes.items():
            if images:
                manifest = splits.subsample(manifest, split, images, seed=params.data_seed)
    if params.target == "subject":
        manifest = splits.hold_out_within_subjects(manifest, fraction=0.1, seed=params.data_seed)
    identity = params.target == "subject"
    if params.evaluation == "validation":
        manifest = splits.without(manifest, "test")
    for split in ("train", "validation") if identity else ("train", "validation", params.evaluation):
        if not (manifest["split"] == split).any():
            source = "train" if identity else split
            raise InputError(f"expected images in the {split} split, found none; ask for more {source}_images")
    return manifest


def _drawn_size(params: RunParameters) -> int:
    """Drawn faces are rendered a seventh larger than the network sees, as 256 stands to 224 in the paper's crop."""
    return round(params.image_size * 256 / 224)
