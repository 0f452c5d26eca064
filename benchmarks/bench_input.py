"""Images a second from a pack, against `torchvision.datasets.ImageFolder`; and how long training waits for its input.

    python benchmarks/bench_input.py [--data FOLDER] [--csv PATH] [--quick]

Both pipelines read the same images and crop, flip and normalise them at random in the same way. The library's takes
each of its two transforms (v1 and v2) with each number of `WORKERS`, of which the best counts. The images are JPEGs of
256 pixels a side: drawn faces, or with `--data` those of any folder. All take turns; a row holds the medians, without a
first pass.

The waits are `input_wait` of two short runs on drawn faces, one from a pack and one without, in their last epoch.
"""

import argparse
import contextlib
import io
import itertools
import os
import statistics
import tempfile
import time
from pathlib import Path

import pandas as pd
import torch
from PIL import Image
from torch.utils.data import DataLoader
from torchvision import transforms as v1
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from fer_utils import datasets
from fer_utils.datasets.listing import list_images
from fer_utils.datasets.squares import to_square
from fer_utils.files import replaced
from fer_utils.packing import pack
from fer_utils.runs import environment, parameters
from fer_utils.training import fit
from fer_utils.training.data import ExpressionData
from fer_utils.transforms import IMAGENET_MEAN, IMAGENET_STD

ROOT = Path(__file__).resolve().parents[1]
# Pixels, network, frozen stages and batch of the short run, images in it, and images that are read.
CASES = (
    (224, "resnet50", 3, 36, 144, 768),
    (96, "se_resnet14", 0, 30, 600, 768),
    (48, "se_resnet14", 0, 30, 1500, 768),
)
QUICK_CASES = ((32, "resnet14", 0, 30, 64, 40),)
SIDE, WORKERS, ROUNDS = 256, (0, 2), 3
QUICK_SIDE, QUICK_WORKERS, QUICK_ROUNDS = 40, (0, 1), 1
DISTINCT = 128  # faces that are drawn; files beyond them repeat their pixels
CROP_SCALE = (0.7, 1.0)

# What is promised of them, at every size: speed-up, and share of its time that the training waits.
LEAST_SPEEDUP = 5.0
MOST_WAIT = 0.05


def write_images(folder: Path, side: int, count: int, source: Path | None) -> pd.DataFrame:
    """Square JPEGs as `ImageFolder` and a manifest want them: ``<folder>/<class>/<number>.jpg``."""
    if source is None:
        people = datasets.read_synthetic(train=max(64, min(DISTINCT, count)), validation=0, test=0, image_size=side)
        squares = datasets.load_images(people)
    else:
        files = itertools.islice(list_images(source), count)
        squares = [to_square(datasets.images.load_image(source / name), side) for name in files]
    rows = [(f"{number % 8}/{number:06d}.jpg", number % 8) for number in range(count)]
    for number, (name, _) in enumerate(rows):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(squares[number % len(squares)]).save(folder / name, quality=90)
    manifest = pd.DataFrame(rows, columns=["image", "label"]).assign(split="train")
    manifest.attrs = {"dataset": "folder", "root": str(folder)}
    return manifest


def version_1(size: int) -> v1.Compose:
    """The usual pipeline on PIL images."""
    return v1.Compose(
        [
            v1.RandomResizedCrop(size, scale=CROP_SCALE),
            v1.RandomHorizontalFlip(),
            v1.ToTensor(),
            v1.Normalize(IMAGENET_MEAN, IMAGENET_STD),
        ]
    )


def library_loaders(folder: Path, size: int, batch: int, workers) -> dict[str, DataLoader]:
    """`ImageFolder` with the usual pipelines of both transform versions."""
    version_2 = [
        v2.RandomResizedCrop(size, scale=CROP_SCALE, antialias=True),
        v2.RandomHorizontalFlip(),
        v2.ToImage(),
        v2.ToDtype(torch.float32, scale=True),
        v2.Normalize(IMAGENET_MEAN, IMAGENET_STD),
    ]
    return {
        f"{name}, {count} workers": DataLoader(
            ImageFolder(folder, steps),
            batch_size=batch,
            shuffle=True,
            num_workers=count,
            persistent_workers=count > 0,
        )
        for name, steps in (("v1", version_1(size)), ("v2", v2.Compose(version_2)))
        for count in workers
    }


def packed_manifest(manifest: pd.DataFrame, folder: Path, size: int) -> tuple[pd.DataFrame, float]:
    """The manifest, packed as a run does, and the images a second at which it was."""
    start = time.perf_counter()
    packed = pack(manifest, round(size * 256 / 224), folder / "pack.npy")
    return packed, len(manifest) / (time.perf_counter() - start)


def packed_loader(manifest: pd.DataFrame, folder: Path, size: int, batch: int) -> tuple[DataLoader, float]:
    """The training loader of a run from a pack, and the images a second at which it was packed."""
    packed, rate = packed_manifest(manifest, folder, size)
    params = parameters({"image_size": size, "batch_size": batch, "crop_scale_min": CROP_SCALE[0], "device": "cpu"})
    return ExpressionData(packed, params).train_dataloader(), rate


def images_per_s(loader: DataLoader) -> float:
    """Of one pass."""
    start = time.perf_counter()
    count = sum(len(targets) for _, targets in loader)
    return count / (time.perf_counter() - start)


def compare_input(size: int, batch: int, count: int, source: Path | None, side: int, workers, rounds: int) -> dict:
    """Both pipelines in turns over the same files."""
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        manifest = write_images(folder / "images", side, count, source)
        ours, packing = packed_loader(manifest, folder, size, batch)
        loaders = {"packed": ours, **library_loaders(folder / "images", size, batch, workers)}
        rates = {name: [] for name in loaders}
        for _ in range(1 + rounds):
            for name, loader in loaders.items():
                rates[name].append(images_per_s(loader))
    medians = {name: statistics.median(values[1:]) for name, values in rates.items()}
    packed = medians.pop("packed")
    best = max(medians, key=medians.get)
    return {
        "library": best,
        "library_images_per_s": medians[best],
        "packed_images_per_s": packed,
        "speedup": packed / medians[best],
        "packing_images_per_s": packing,
    }


def wait(size: int, architecture: str, frozen: int, batch: int, images: int, packed: bool) -> float:
    """Share of the second epoch in which a real run waited for its input."""
    run = {"image_size": size, "architecture": architecture, "frozen_stages": frozen, "batch_size": batch, "epochs": 2}
    run |= {"train_images": images, "validation_images": 8, "test_images": 8, "subjects": 20, "loss": "softmax"}
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        finished = fit({**run, "packed": packed, "device": "cpu"}, root=folder)
        return float(pd.read_csv(finished.require("history.csv"))["input_wait"].iloc[-1])


def measure(cases, source: Path | None, side: int, workers, rounds: int) -> pd.DataFrame:
    """A row a case, with the hardware it was measured on."""
    here = environment(ROOT)
    hardware = {"processor": here["processor"], "cores": here["cores"], "threads": torch.get_num_threads()}
    hardware |= {"torch": torch.__version__, "torchvision": here["torchvision"]}
    rows = []
    for size, architecture, frozen, batch, images, count in cases:
        row = {"image_size": size, "batch": batch, "images": count}
        row |= compare_input(size, batch, count, source, side, workers, rounds)
        row |= {"architecture": architecture, "frozen_stages": frozen}
        for name, packed in (("packed_wait", True), ("unpacked_wait", False)):
            row[name] = wait(size, architecture, frozen, batch, images, packed)
        rows.append(row | hardware)
    return pd.DataFrame(rows)


def main(arguments: list[str] | None = None) -> pd.DataFrame:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder of images to read; default: drawn faces")
    parser.add_argument(
        "--csv", type=Path, default=Path(__file__).with_suffix(".csv"), help="where the table is written"
    )
    parser.add_argument("--quick", action="store_true", help="a tiny case, to see that it runs; measures nothing")
    options = parser.parse_args(arguments)

    if options.quick:
        table = measure(QUICK_CASES, options.data, QUICK_SIDE, QUICK_WORKERS, QUICK_ROUNDS)
    else:
        table = measure(CASES, options.data, SIDE, WORKERS, ROUNDS)
    with replaced(options.csv) as temporary:
        table.to_csv(temporary, index=False)

    first = table.iloc[0]
    print(f"{first.processor}, {first.cores} cores, {first.threads} threads; torch {first.torch}")
    shown = ["image_size", "library", "library_images_per_s", "packed_images_per_s", "speedup", "packing_images_per_s"]
    print(table[shown].to_string(index=False, float_format="{:.1f}".format))
    waits = ["image_size", "architecture", "frozen_stages", "packed_wait", "unpacked_wait"]
    print(table[waits].to_string(index=False, float_format="{:.1%}".format))
    if not options.quick:
        print(f"at least {table.speedup.min():.1f} times the images a second (promised: {LEAST_SPEEDUP:g})")
        print(f"from a pack the training waits at most {table.packed_wait.max():.1%} (promised: {MOST_WAIT:.0%})")
    print(f"written to {os.path.relpath(options.csv)}")
    return table


if __name__ == "__main__":
    main()
