"""From a manifest to loaders."""

import functools
from collections import deque
from concurrent.futures import ThreadPoolExecutor

import pandas as pd
import torch
import torch.distributed as dist
from pytorch_lightning import LightningDataModule
from torch.utils.data import DataLoader, Sampler

from fer_utils import augmentation, batch_crops, datasets, transforms
from fer_utils.losses.distributed import processes
from fer_utils.runs import RunParameters


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


class SharedBatches(Sampler):
    """The share of one process in the batches that a single process would make of `sampler`.

    A last batch with less than two images for each process is left out: one image has no variance to normalise by.
    """

    def __init__(self, sampler: Sampler, batch_size: int, process: int, processes: int):
        self.sampler, self.batch_size, self.process, self.processes = sampler, batch_size, process, processes

    def __len__(self) -> int:
        whole, rest = divmod(len(self.sampler), self.batch_size)
        return whole + (rest >= 2 * self.processes)

    def __iter__(self):
        keys = list(self.sampler)
        for number in range(len(self)):
            batch = keys[number * self.batch_size : (number + 1) * self.batch_size]
            yield batch[_share(len(batch), self.process, self.processes)]


def _share(count: int, process: int, processes: int) -> slice:
    return slice(process * count // processes, (process + 1) * count // processes)


class PackedBatches(datasets.FaceDataset):
    """A packed manifest by the batch: uint8 images (N, C, S, S) as packed, their crops (N, 5), and the targets.

    Keys are those of `FaceDataset`: pairs (index, seed) for random crops, indices alone for the centre. With `strong`,
    random crops come with the changes (N, 7) of `augmentation.random_changes` besides.
    """

    def __init__(
        self, manifest: pd.DataFrame, crop_scale: tuple[float, float], target: str, classes=None, strong: bool = False
    ):
        super().__init__(manifest, target=target, classes=classes)
        self.crop_scale, self.strong, self.in_memory = crop_scale, strong, self._images.in_memory
        self._targets = torch.as_tensor(self.targets)

    def __getitems__(self, keys: list) -> tuple[torch.Tensor, ...]:
        side, changes = self.manifest.attrs["pack"]["size"], ()
        if isinstance(keys[0], tuple):
            indices, seeds = map(list, zip(*keys, strict=True))
            crops = batch_crops.random_crops(seeds, side, self.crop_scale)
            changes = (augmentation.random_changes(seeds),) if self.strong else ()
        else:
            indices, crops = list(keys), batch_crops.centre_crops(len(keys), side, round(side * 224 / 256))
        images = torch.from_numpy(self._images.batch(indices)).permute(0, 3, 1, 2)
        return images, crops, self._targets[indices], *changes


class AheadLoader(DataLoader):
    """A `DataLoader` of `PackedBatches` that prepares the next batches in threads, unless it has worker processes."""

    def __iter__(self):
        if self.num_workers:
            yield from super().__iter__()
            return
        ahead, prepared = 2, deque()
        torch.get_num_threads()  # settles the training's own number, which the next line's would otherwise become
        # From here on the number is each thread's own. More than one would only wait for each other: images are small.
        with ThreadPoolExecutor(ahead, initializer=torch.set_num_threads, initargs=(1,)) as threads:
            for keys in self.batch_sampler:
                prepared.append(threads.submit(self._prepare, keys))
                if len(prepared) > ahead:
                    yield prepared.popleft().result()
            while prepared:
                yield prepared.popleft().result()

    def _prepare(self, keys: list) -> tuple[torch.Tensor, ...]:
        batch = self.collate_fn(self.dataset.__getitems__(keys))
        return tuple(part.pin_memory() for part in batch) if self.pin_memory else batch


class ExpressionData(LightningDataModule):
    """Loaders over a manifest's three splits: augmented and shuffled for training, plain and in order otherwise."""

    def __init__(self, manifest: pd.DataFrame, params: RunParameters):
        super().__init__()
        self.params = params
        self._crop = batch_crops.CropBatch(params.image_size)
        crop_scale = (params.crop_scale_min, 1.0)
        # Soft targets are for training alone: selection and every metric are those of the labels.
        target = "votes" if params.label_mode == "probability" else params.target
        training = transforms.train_transform(params.image_size, crop_scale)
        if params.augmentation == "strong":
            training.transforms.append(augmentation.RandomChange())
        self.train = self._dataset(manifest, "train", training, target=target)
        evaluation = transforms.evaluation_transform(params.image_size)
        self.validation = self._dataset(manifest, "validation", evaluation, self.train.classes)
        if params.target == "subject":  # people who are no class of the training's: they are compared with each other
            self.test = self._dataset(manifest, "test", evaluation)
        else:
            self.test = self._dataset(manifest, params.evaluation, evaluation, self.train.classes)

    def _dataset(
        self, manifest: pd.DataFrame, split: str, transform, classes=None, target: str | None = None
    ) -> datasets.FaceDataset | None:
        rows = manifest[manifest["split"] == split].reset_index(drop=True)
        rows.attrs = manifest.attrs
        if not len(rows):
            return None
        target = target or self.params.target
        if "pack" in manifest.attrs:
            strong = self.params.augmentation == "strong"
            return PackedBatches(rows, (self.params.crop_scale_min, 1.0), target, classes, strong)
        return datasets.FaceDataset(rows, transform, target, classes)

    def _loader(self, dataset, **options) -> DataLoader:
        pinned = torch.cuda.is_available() and self.params.device != "cpu"
        if not isinstance(dataset, PackedBatches):
            return DataLoader(dataset, num_workers=self.params.workers, pin_memory=pinned, **options)
        workers = 0 if dataset.in_memory else self.params.workers
        # A GPU gets the batch as it is packed, and crops it itself.
        collate = _as_it_is if pinned else functools.partial(_cropped, self._crop)
        return AheadLoader(dataset, num_workers=workers, pin_memory=pinned, collate_fn=collate, **options)

    def on_after_batch_transfer(self, batch, _):
        return _cropped(self._crop, batch) if len(batch) > 2 else batch

    def train_dataloader(self) -> DataLoader:
        size = self.params.batch_size
        sampler = SeededSampler(len(self.train), self.params.seed)
        if processes() > 1:
            return self._loader(self.train, batch_sampler=SharedBatches(sampler, size, dist.get_rank(), processes()))
        # A last batch of one image has no variance for batch normalisation.
        return self._loader(
            self.train,
            batch_size=size,
            sampler=sampler,
            drop_last=len(self.train) % size == 1,
        )

    def val_dataloader(self) -> DataLoader:
        options = {"batch_size": evaluation_batch(self.params.image_size)}
        if processes() > 1:
            count = len(self.validation)
            options["sampler"] = range(count)[_share(count, dist.get_rank(), processes())]
        return self._loader(self.validation, **options)

    def predict_dataloader(self) -> DataLoader:
        return self._loader(self.test, batch_size=evaluation_batch(self.params.image_size))


def evaluation_batch(image_size: int) -> int:
    """Images that are evaluated at once: 256, or as many as take the memory of 256 at 224 pixels.

    >>> evaluation_batch(96), evaluation_batch(448)
    (256, 64)
    """
    return max(1, min(256, 256 * 224**2 // image_size**2))


def _as_it_is(batch):
    return batch


def _cropped(crop: batch_crops.CropBatch, batch: tuple) -> tuple[torch.Tensor, torch.Tensor]:
    images, crops, targets, *changes = batch
    images = crop.to(images.device)(images, crops)
    return augmentation.change(images, *changes) if changes else images, targets
