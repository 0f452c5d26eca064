"""From run parameters to a manifest, and from a manifest to loaders."""

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from pytorch_lightning import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler, default_convert

from fer_utils import datasets, losses, metrics
from fer_utils.core import InputError, RunParameters, resolve_path
from fer_utils.training.augmentation import evaluation_input, square_side, training_input

IN_MEMORY = 2 << 30  # bytes: larger sets of squares are decoded again in each epoch


def prepare_manifest(params: RunParameters, root: Path) -> pd.DataFrame:
    """The images of a run: read or drawn, split, freed of leaks, cut to the sizes asked for.

    With `target="subject"` a tenth of each person's training images becomes the validation split;
    the test split is the people held out. With `evaluation="validation"` there is no test split:
    a search cannot see it, while leaks into it are removed all the same.

    Raises:
        InputError: where the data are not what was asked for.
    """
    if params.dataset == "synthetic":
        manifest = _draw(params)
    elif params.data:
        with datasets.remembered_checks(root / ".cache" / "checks"):
            manifest = _read(params, root)
    else:
        raise InputError(
            f"dataset {params.dataset!r} needs its folder: give data=… (make study … DATA=/path)"
        )
    if people := params.data_option("held_out_people"):
        manifest = datasets.hold_out_subjects(manifest, people, seed=params.data_seed)
    if params.target == "subject":
        manifest = datasets.hold_out_within_subjects(manifest, fraction=0.1, seed=params.data_seed)
    if params.evaluation == "validation":
        manifest = datasets.without(manifest, "test")
    _check_splits(manifest, params)
    margin = params.data_option("box_margin")
    if margin is None or manifest.attrs.get("release") == "npy":  # cut already
        return manifest
    return datasets.with_margin(manifest, margin)


def _draw(params: RunParameters) -> pd.DataFrame:
    options = {name: params.data_option(name) for name in ("subjects", "difficulty", "label_noise")}
    return datasets.read_synthetic(
        **{split: getattr(params, f"{split}_images") for split in datasets.SPLITS},
        **{name: value for name, value in options.items() if value is not None},
        image_size=square_side(params),
        proportions="balanced" if params.target == "subject" else "table3",
        seed=params.data_seed,
    )


def _read(params: RunParameters, root: Path) -> pd.DataFrame:
    options = {"on_bad_image": params.data_option("on_bad_image")}
    # FER+'s reader removes leaks itself: those of images that its label rule drops, too.
    ferplus, leaks = params.dataset == "ferplus", params.remove_leaks
    by_reader = ferplus and params.protocol == "official" and leaks == "exact"
    if ferplus:
        options |= {"remove_leaks": by_reader, "label_rule": params.label_rule}
    if params.dataset == "identities":
        options["min_images"] = params.data_option("min_images")
    manifest = datasets.read_dataset(params.dataset, resolve_path(params.data, root), **options)
    if params.dataset == "identities":
        return manifest
    if params.protocol == "paper":
        per_class = params.data_option("held_out_per_class")
        manifest = datasets.paper_protocol(manifest, params.data_seed, per_class)
    elif params.protocol == "k_fold":
        folds = datasets.k_fold(manifest, params.folds, params.data_seed, validation="inner")
        manifest = folds[params.fold]
    else:
        manifest = datasets.official(manifest, params.data_seed)
    if leaks != "none" and not by_reader:
        manifest = datasets.remove_training_leaks(manifest, near=leaks == "near")
    for split in datasets.SPLITS:
        if images := getattr(params, f"{split}_images"):  # 0: all
            manifest = datasets.subsample(manifest, split, images, seed=params.data_seed)
    return datasets.group_held_out(manifest)


def _check_splits(manifest: pd.DataFrame, params: RunParameters) -> None:
    of_people = params.target == "subject"
    for split in ("train", "validation", "validation" if of_people else params.evaluation):
        if not (manifest["split"] == split).any():
            what = "images of a person (6 give one to validation)" if of_people else "images"
            raise InputError(
                f"expected images in the {split} split, found none; ask for more {what}"
            )
    held_out = manifest[manifest["split"] == "test"]
    if of_people and len(held_out):
        metrics.make_pairs(held_out["subject"], pairs=2)  # fails before the training, not after it


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
        for start in range(0, len(self) * self.batch_size, self.batch_size):
            batch = keys[start : start + self.batch_size]
            first, end = (rank * len(batch) // self.ranks for rank in (self.rank, self.rank + 1))
            yield batch[first:end]


class FaceDataset(Dataset):
    """The images of one split, a batch at a time: network input and targets.

    Keys are indices (evaluation), or pairs (index, seed) (training, augmented). `targets` are
    "label", "votes" (distributions) or "subject" (places in `classes`).
    """

    def __init__(self, manifest: pd.DataFrame, params: RunParameters, targets="label", classes=()):
        self.manifest, self.params = manifest, params
        self.side = square_side(params)
        if targets == "votes":
            found = datasets.vote_shares(manifest).astype(np.float32)
        elif targets == "subject":
            found = pd.Index(classes).get_indexer(manifest["subject"])
        else:
            found = manifest["label"].to_numpy(np.int64)
        self.targets = torch.tensor(found)
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
        seeds = [torch.tensor([key[1] for key in keys])] if augmented else []
        return squares, self.targets[indices], *seeds

    def inputs(self, batch: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """Network input (N, 3, size, size) and targets of a batch, on its device."""
        squares, targets, *seeds = batch
        if seeds:
            return training_input(squares, seeds[0], self.params), targets
        return evaluation_input(squares, self.params.image_size), targets


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


class ExpressionData(LightningDataModule):
    """Loaders over a manifest's splits: augmented and shuffled for training, else in order."""

    def __init__(self, manifest: pd.DataFrame, params: RunParameters):
        super().__init__()
        self.params = params
        self.on_gpu = params.device != "cpu" and torch.cuda.is_available()
        # Soft targets are for training alone: selection and metrics are those of the labels.
        kind, votes = params.target, params.label_mode == "probability"
        training = manifest["split"] == "train"
        classes = sorted(manifest.loc[training, "subject"].unique()) if kind == "subject" else ()

        def part(split: str, targets: str = kind) -> FaceDataset | None:
            rows = manifest[manifest["split"] == split].reset_index(drop=True)
            return FaceDataset(rows, params, targets, classes) if len(rows) else None

        self.train = part("train", "votes" if votes else kind)
        self.validation, self.test = part("validation"), part("test")

    def _loader(self, dataset: FaceDataset, **options) -> DataLoader:
        # A GPU gets the squares and changes them itself; else the loading thread does.
        collate = default_convert if self.on_gpu else dataset.inputs
        workers = self.params.workers if dataset._squares is None else 0
        options = options or {"batch_size": evaluation_batch(self.params.image_size)}
        return PrefetchLoader(
            dataset, num_workers=workers, pin_memory=self.on_gpu, collate_fn=collate, **options
        )

    def on_after_batch_transfer(self, batch, _):
        return self.train.inputs(batch) if batch[0].dtype == torch.uint8 else batch

    def train_dataloader(self) -> DataLoader:
        ranks, rank = losses.world_size(), self.trainer.global_rank if self.trainer else 0
        own = self.params.batch_size, self.params.seed, rank, ranks
        return self._loader(self.train, batch_sampler=SeededSampler(len(self.train), *own))

    def val_dataloader(self) -> DataLoader:
        return self._loader(self.validation)

    def predict_dataloader(self) -> list[DataLoader]:
        parts = (self.validation, self.test)
        return [self._loader(part) for part in parts if part is not None]


def evaluation_batch(image_size: int) -> int:
    """Images that are evaluated at once: 256, or as many as take the memory of 256 at 224 pixels.

    >>> evaluation_batch(96), evaluation_batch(448)
    (256, 64)
    """
    return max(1, min(256, 256 * 224**2 // image_size**2))
