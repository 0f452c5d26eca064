"""From run parameters to a manifest, and from a manifest to loaders."""

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from pytorch_lightning import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from fer_utils import datasets, losses, metrics
from fer_utils.core import InputError, RunParameters, resolve_path
from fer_utils.training.augmentation import evaluation_input, square_side, training_input

IN_MEMORY = 2 << 30  # bytes: larger sets of squares are decoded again in each epoch


def prepare_manifest(params: RunParameters, root: Path) -> pd.DataFrame:
    """The images of a run: read or drawn, split, freed of leaks, cut to the sizes asked for.

    A size of 0 means all.

    With `target="subject"` a tenth of each person's training images becomes the validation split;
    the test split is the people held out. With `evaluation="validation"` there is no test split:
    a search cannot see it, while leaks into it are removed all the same.

    Raises:
        InputError: where the data are not what was asked for.
    """
    of_people = params.target == "subject"
    if params.dataset == "synthetic":
        manifest = _draw(params)
    elif not params.data:
        raise InputError(
            f"dataset {params.dataset!r} needs its folder: give data=… (make study … DATA=/path)"
        )
    elif params.dataset == "identities":
        manifest = datasets.read_identities(
            resolve_path(params.data, root),
            min_images=params.data_option("min_images"),
            on_bad_image=params.data_option("on_bad_image"),
        )
    else:
        manifest = _read(params, root)
    people = params.data_option("held_out_people")
    if people:
        manifest = datasets.hold_out_subjects(manifest, people, seed=params.data_seed)
    if of_people:
        manifest = datasets.hold_out_within_subjects(manifest, fraction=0.1, seed=params.data_seed)
    if params.evaluation == "validation":
        manifest = datasets.without(manifest, "test")
    _check_splits(manifest, params)
    manifest = manifest.drop(columns="fingerprint", errors="ignore")
    margin = params.data_option("box_margin")
    cut_already = manifest.attrs.get("release") == "npy"
    if margin is None or cut_already:
        return manifest
    return datasets.with_margin(manifest, margin)


def _draw(params: RunParameters) -> pd.DataFrame:
    noise = params.data_option("label_noise")
    return datasets.read_synthetic(
        train=params.train_images,
        validation=params.validation_images,
        test=params.test_images,
        subjects=params.data_option("subjects"),
        difficulty=params.data_option("difficulty"),
        image_size=square_side(params),
        proportions="balanced" if params.target == "subject" else "table3",
        seed=params.data_seed,
        **({} if noise is None else {"label_noise": noise}),
    )


def _read(params: RunParameters, root: Path) -> pd.DataFrame:
    # FER+'s reader removes leaks itself: those of images that its label rule drops, too.
    ferplus = params.dataset == "ferplus"
    by_reader = ferplus and params.protocol == "official" and params.remove_leaks == "exact"
    options = {"remove_leaks": by_reader, "label_rule": params.label_rule} if ferplus else {}
    with datasets.remembered_checks(root / ".cache" / "checks"):
        manifest = datasets.read_dataset(
            params.dataset,
            resolve_path(params.data, root),
            on_bad_image=params.data_option("on_bad_image"),
            **options,
        )
    if params.protocol == "paper":
        per_class = params.data_option("held_out_per_class")
        manifest = datasets.paper_protocol(manifest, params.data_seed, per_class)
    elif params.protocol == "k_fold":
        folds = datasets.k_fold(manifest, params.folds, params.data_seed, validation="inner")
        manifest = folds[params.fold]
    else:
        manifest = datasets.official(manifest, params.data_seed)
    if params.remove_leaks != "none" and not by_reader:
        manifest = datasets.remove_training_leaks(manifest, near=params.remove_leaks == "near")
    for split in ("train", "validation", "test"):
        images = getattr(params, f"{split}_images")
        if images:
            manifest = datasets.subsample(manifest, split, images, seed=params.data_seed)
    return manifest


def _check_splits(manifest: pd.DataFrame, params: RunParameters) -> None:
    of_people = params.target == "subject"
    needed = ("train", "validation") if of_people else ("train", "validation", params.evaluation)
    for split in needed:
        if not (manifest["split"] == split).any():
            what = "images of a person (6 give one to validation)" if of_people else "images"
            raise InputError(
                f"expected images in the {split} split, found none; ask for more {what}"
            )
    if of_people:
        held_out = manifest.loc[manifest["split"] == "test", "subject"]
        if len(held_out):
            metrics.make_pairs(held_out, pairs=2)  # fails before the training, not after it


class SeededSampler(Sampler):
    """Training order of an epoch as pairs (index, seed): a pure function of (`seed`, epoch).

    With several processes each takes its share of the batches that a single one would make, so
    that the gradient is the same. A last batch too small for batch normalisation is left out.
    """

    def __init__(self, length: int, batch_size: int, seed: int, rank: int = 0, ranks: int = 1):
        self.length, self.batch_size, self.seed = length, batch_size, seed
        self.rank, self.ranks, self.epoch = rank, ranks, 0
        self.sampler = self  # where Lightning looks for `set_epoch`

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning before each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        whole, rest = divmod(self.length, self.batch_size)
        return whole + (rest >= 2 * self.ranks)

    def __iter__(self):
        generator = torch.Generator().manual_seed((self.seed << 20) + self.epoch)
        order = torch.randperm(self.length, generator=generator)
        seeds = torch.randint(2**62, (self.length,), generator=generator)
        keys = list(zip(order.tolist(), seeds.tolist(), strict=True))
        for number in range(len(self)):
            batch = keys[number * self.batch_size : (number + 1) * self.batch_size]
            share = slice(
                self.rank * len(batch) // self.ranks, (self.rank + 1) * len(batch) // self.ranks
            )
            yield batch[share]


class FaceDataset(Dataset):
    """The images of one split, a batch at a time: network input and targets.

    Args:
        manifest: rows of one split.
        params: of the run.
        targets: "label", "votes" (distributions) or "subject" (places in `classes`).
        classes: of "subject": their names, in order.

    Keys are indices (evaluation), or pairs (index, seed) (training, augmented).
    """

    def __init__(
        self, manifest: pd.DataFrame, params: RunParameters, targets="label", classes=None
    ):
        self.manifest, self.params = manifest, params
        self.side = square_side(params)
        self.targets = _targets(manifest, targets, classes)
        whole = len(manifest) * self.side**2 * 3 <= IN_MEMORY
        self._squares = datasets.load_squares(manifest, self.side) if whole else None

    def __len__(self) -> int:
        return len(self.manifest)

    def __getitems__(self, keys: list) -> tuple[Tensor, ...]:
        """uint8 squares (N, C, S, S), targets, and for training seeds (N,)."""
        augmented = isinstance(keys[0], tuple)
        indices = [key[0] for key in keys] if augmented else list(keys)
        if self._squares is None:
            squares = datasets.load_squares(self.manifest.iloc[indices], self.side)
        else:
            squares = self._squares[indices]
        squares = torch.from_numpy(np.ascontiguousarray(squares.transpose(0, 3, 1, 2)))
        seeds = (torch.tensor([key[1] for key in keys]),) if augmented else ()
        return squares, self.targets[indices], *seeds

    def inputs(self, batch: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """Network input (N, 3, size, size) and targets of a batch, on its device."""
        squares, targets, *seeds = batch
        if seeds:
            return training_input(squares, seeds[0], self.params), targets
        return evaluation_input(squares, self.params.image_size), targets


def _targets(manifest: pd.DataFrame, kind: str, classes) -> Tensor:
    if kind == "votes":
        return torch.from_numpy(datasets.vote_shares(manifest).astype(np.float32))
    if kind == "subject":
        places = {name: place for place, name in enumerate(classes)}
        return torch.tensor([places.get(name, -1) for name in manifest["subject"]])
    return torch.tensor(manifest["label"].to_numpy(), dtype=torch.int64)


class PrefetchLoader(DataLoader):
    """A `DataLoader` that prepares the next batches in a thread, unless it has worker processes."""

    def __iter__(self):
        if self.num_workers:
            yield from super().__iter__()
            return
        torch.get_num_threads()  # settles the training's number; from here on it is a thread's own
        ahead: deque = deque()
        with ThreadPoolExecutor(1, initializer=torch.set_num_threads, initargs=(1,)) as thread:
            for keys in self.batch_sampler:
                ahead.append(thread.submit(self._load, keys))
                if len(ahead) > 2:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()

    def _load(self, keys: list):
        batch = self.collate_fn(self.dataset.__getitems__(keys))
        return tuple(part.pin_memory() for part in batch) if self.pin_memory else batch


def _as_it_is(batch):
    return batch


class ExpressionData(LightningDataModule):
    """Loaders over a manifest's splits: augmented and shuffled for training, else in order."""

    def __init__(self, manifest: pd.DataFrame, params: RunParameters):
        super().__init__()
        self.params = params
        self.on_gpu = params.device != "cpu" and torch.cuda.is_available()
        classes, kind = None, params.target
        if kind == "subject":
            known = manifest.loc[manifest["split"] == "train", "subject"]
            classes = sorted(known.unique())
        # Soft targets are for training alone: selection and metrics are those of the labels.
        votes = params.label_mode == "probability"

        def part(split: str, targets: str) -> FaceDataset | None:
            rows = manifest[manifest["split"] == split].reset_index(drop=True)
            rows.attrs = manifest.attrs
            return FaceDataset(rows, params, targets, classes) if len(rows) else None

        self.train = part("train", "votes" if votes else kind)
        self.validation = part("validation", kind)
        self.test = part("test", kind)

    def _loader(self, dataset: FaceDataset, **options) -> DataLoader:
        # A GPU gets the squares and changes them itself; else the loading thread does.
        collate = _as_it_is if self.on_gpu else dataset.inputs
        workers = self.params.workers if dataset._squares is None else 0
        return PrefetchLoader(
            dataset, num_workers=workers, pin_memory=self.on_gpu, collate_fn=collate, **options
        )

    def on_after_batch_transfer(self, batch, _):
        return self.train.inputs(batch) if batch[0].dtype == torch.uint8 else batch

    def train_dataloader(self) -> DataLoader:
        ranks, rank = losses.world_size(), self.trainer.global_rank if self.trainer else 0
        params = self.params
        sampler = SeededSampler(len(self.train), params.batch_size, params.seed, rank, ranks)
        return self._loader(self.train, batch_sampler=sampler)

    def val_dataloader(self) -> DataLoader:
        return self._loader(self.validation, batch_size=evaluation_batch(self.params.image_size))

    def predict_dataloader(self) -> list[DataLoader]:
        size = evaluation_batch(self.params.image_size)
        parts = [part for part in (self.validation, self.test) if part is not None]
        return [self._loader(part, batch_size=size) for part in parts]


def evaluation_batch(image_size: int) -> int:
    """Images that are evaluated at once: 256, or as many as take the memory of 256 at 224 pixels.

    >>> evaluation_batch(96), evaluation_batch(448)
    (256, 64)
    """
    return max(1, min(256, 256 * 224**2 // image_size**2))
