"""Time of a training step of the losses with centres, against the plain recipe for them in PyTorch.

    python benchmarks/bench_loss.py [--csv PATH] [--quick]

A step is the loss, its backward pass to the features (and logits), and the movement of the centres. The plain recipe is
how center loss is usually published for PyTorch: squared distances of all samples to all centres, ‖x‖² + ‖c‖² − 2x·c,
of which a mask of the labels keeps one a row, and centres that an SGD of their own trains. For weighted-cluster loss it
needs the distances between all centres too. Both take turns in one process; a row holds the medians of their steps.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fer_utils import losses
from fer_utils.files import replaced
from fer_utils.runs import environment

ROOT = Path(__file__).resolve().parents[1]
LOSSES = ("center", "cluster", "weighted_cluster")  # the terms alone, and the joint loss of `make_loss`

# Samples, embedding's size, classes, and steps to take the median of: the paper's batch, and a large one.
SIZES = ((36, 512, 8, 400), (4096, 512, 1000, 20))
QUICK_SIZES = ((6, 4, 3, 2), (8, 4, 5, 2))
WARM_UP = 3

# What is promised of them: milliseconds of a step at the paper's size, and speed-up at the large one.
MOST_MS = 1.0
LEAST_SPEEDUP = 3.0


def make_batch(samples: int, dim: int, classes: int, seed: int = 0) -> dict[str, Tensor]:
    """Random logits (N, C), features (N, D), both leaves that ask for gradients, targets (N,) and counts (C,)."""
    random = torch.Generator().manual_seed(seed)
    return {
        "logits": torch.randn(samples, classes, generator=random).requires_grad_(),
        "features": torch.randn(samples, dim, generator=random).requires_grad_(),
        "targets": torch.randint(classes, (samples,), generator=random),
        "counts": torch.randint(100, 10_000, (classes,), generator=random),
    }


class Ours:
    """The project's loss under a name of `LOSSES`; a call is a training step and returns the loss before it."""

    def __init__(self, name: str, counts: Tensor, dim: int):
        weights = losses.class_weights(counts)
        options = {"reduction": "weighted_mean", "center_init": "normal"}
        if name == "center":
            self.loss = losses.CenterLoss(len(weights), dim, **options)
        elif name == "cluster":
            self.loss = losses.WeightedClusterLoss(weights, dim, **options)
        else:
            self.loss = losses.make_loss(name, counts, dim, **options)
        self.joint = name == "weighted_cluster"

    def __call__(self, logits: Tensor, features: Tensor, targets: Tensor) -> Tensor:
        loss = self.loss(logits, features, targets) if self.joint else self.loss(features, targets)
        loss.backward()
        self.loss.update(features, targets)
        return loss.detach()


class Plain:
    """The plain recipe of the same loss, from the same centres; a call is a training step."""

    def __init__(self, name: str, counts: Tensor, centers: Tensor, learning_rate: float = 0.5):
        self.name = name
        self.weights = losses.class_weights(counts)
        self.centers = nn.Parameter(centers.clone())
        self.classes = torch.arange(len(centers))
        self.optimizer = torch.optim.SGD([self.centers], lr=learning_rate)

    def __call__(self, logits: Tensor, features: Tensor, targets: Tensor) -> Tensor:
        self.optimizer.zero_grad()
        is_target = targets[:, None] == self.classes  # (N, C)
        distances = squared_distances(features, self.centers) * is_target  # (N, C)
        if self.name == "center":
            loss = 0.5 * distances.sum() / len(targets)
        else:
            separation = squared_distances(self.centers, self.centers).sum(dim=1)  # (C,)
            loss = 0.5 * (distances * self.weights / (separation + 1)).sum() / self.weights[targets].sum()
        if self.name == "weighted_cluster":
            loss = loss + F.cross_entropy(logits, targets, weight=self.weights)
        loss.backward()
        self.optimizer.step()
        return loss.detach()


def squared_distances(left: Tensor, right: Tensor) -> Tensor:
    """(A, D) and (B, D) → (A, B), by expanding the square."""
    norms = left.square().sum(dim=1)[:, None] + right.square().sum(dim=1)
    return torch.addmm(norms, left, right.t(), alpha=-2)


def compare(name: str, samples: int, dim: int, classes: int, repeats: int) -> dict:
    """One row: both recipes' loss at the start, and the median milliseconds of their steps, taken in turns."""
    batch = make_batch(samples, dim, classes)
    counts = batch.pop("counts")
    ours = Ours(name, counts, dim)
    steps = {"ours": ours, "plain": Plain(name, counts, ours.loss.centers)}
    row = {"loss": name, "samples": samples, "dim": dim, "classes": classes, "repeats": repeats}
    row |= {f"{recipe}_loss": step(**batch).item() for recipe, step in steps.items()}
    times = {recipe: [] for recipe in steps}
    for repeat in range(WARM_UP + repeats):
        for recipe, step in steps.items():
            elapsed = milliseconds(step, batch)
            if repeat >= WARM_UP:
                times[recipe].append(elapsed)
    row |= {f"{recipe}_ms": statistics.median(values) for recipe, values in times.items()}
    return row | {"speedup": row["plain_ms"] / row["ours_ms"]}


def milliseconds(step: Callable, batch: dict[str, Tensor]) -> float:
    """Wall time of one step, gradients of the one before cleared."""
    batch["logits"].grad = batch["features"].grad = None
    start = time.perf_counter()
    step(**batch)
    return 1000 * (time.perf_counter() - start)


def measure(sizes=SIZES) -> pd.DataFrame:
    """A row a size and loss, with the hardware it was measured on."""
    here = environment(ROOT)
    hardware = {"processor": here["processor"], "cores": here["cores"], "threads": torch.get_num_threads()}
    hardware |= {"torch": torch.__version__}
    return pd.DataFrame([compare(name, *size) | hardware for size in sizes for name in LOSSES])


def main(arguments: list[str] | None = None) -> pd.DataFrame:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--csv", type=Path, default=Path(__file__).with_suffix(".csv"), help="where the table is written"
    )
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that it runs; measures nothing")
    options = parser.parse_args(arguments)

    table = measure(QUICK_SIZES if options.quick else SIZES)
    with replaced(options.csv) as temporary:
        table.to_csv(temporary, index=False)

    first = table.iloc[0]
    print(f"{first.processor}, {first.cores} cores, {first.threads} threads; torch {first.torch}")
    shown = ["loss", "samples", "dim", "classes", "ours_ms", "plain_ms", "speedup"]
    print(table[shown].to_string(index=False, float_format="{:.3f}".format))
    if not options.quick:
        small, large = (table[table.samples == size[0]] for size in SIZES)
        print(f"at {SIZES[0][0]} samples at most {small.ours_ms.max():.3f} ms a step (promised: {MOST_MS:g})")
        print(f"at {SIZES[1][0]} samples at least {large.speedup.min():.1f} times faster (promised: {LEAST_SPEEDUP:g})")
    print(f"written to {os.path.relpath(options.csv)}")
    return table


if __name__ == "__main__":
    main()
