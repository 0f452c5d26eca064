"""What freezing pays: training steps with stages 1–3 frozen against full fine-tuning, at the same precision.

    python benchmarks/bench_freeze.py [--csv PATH] [--quick]

A step is forward, backward and SGD on one batch of random images, with the paper's batch (36) and image size (224).
Every measurement runs in a process of its own, so that its peak memory is its own; the two kinds take turns. The
fastest step of each counts: what else runs on a machine only ever makes a step slower.
"""

import argparse
import multiprocessing
import os
import resource
import sys
import time
from pathlib import Path

import pandas as pd
import torch
import torch.nn.functional as F

from fer_utils import models
from fer_utils.files import replaced
from fer_utils.runs import environment

ROOT = Path(__file__).resolve().parents[1]
CASES = [(name, precision) for name in ("resnet50", "se_resnet50") for precision in ("float32", "bfloat16")]
BATCH, SIZE, STEPS, ROUNDS = 36, 224, 2, 2
QUICK = ([("resnet14", "float32")], 2, 32, 1, 1)
FROZEN = 3

LEAST_SPEEDUP = 1.8  # promised, at the same precision


def steps(architecture: str, precision: str, frozen: int, batch: int, size: int, count: int) -> tuple[list, float]:
    """Seconds of each of `count` steps after one to warm up, and what they add to the peak memory in GiB."""
    torch.manual_seed(0)
    model = models.freeze_stages(models.FERNet(architecture), frozen).to(memory_format=torch.channels_last).train()
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimiser = torch.optim.SGD(trained, lr=1e-3, momentum=0.9, weight_decay=5e-4)
    images = torch.randn(batch, 3, size, size).to(memory_format=torch.channels_last)
    targets = torch.randint(8, (batch,))
    before, seconds = peak_memory(), []
    for _ in range(1 + count):
        start = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            loss = F.cross_entropy(model(images)[0], targets)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        seconds.append(time.perf_counter() - start)
    return seconds[1:], peak_memory() - before


def peak_memory() -> float:
    """Most memory that this process has held so far, in GiB."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30


def measure(cases, batch: int, size: int, count: int, rounds: int) -> pd.DataFrame:
    """A row a network and precision, with the hardware it was measured on."""
    here = environment(ROOT)
    hardware = {"processor": here["processor"], "cores": here["cores"], "threads": torch.get_num_threads()}
    hardware |= {"torch": torch.__version__}
    fresh, rows = multiprocessing.get_context("spawn"), []
    for architecture, precision in cases:
        seconds, memory = {0: [], FROZEN: []}, {0: 0.0, FROZEN: 0.0}
        for frozen in [0, FROZEN] * rounds:
            with fresh.Pool(1) as pool:
                took, added = pool.apply(steps, (architecture, precision, frozen, batch, size, count))
            seconds[frozen] += took
            memory[frozen] = max(memory[frozen], added)
        full, part = (batch / min(seconds[frozen]) for frozen in (0, FROZEN))
        row = {"architecture": architecture, "precision": precision, "batch": batch, "image_size": size}
        row |= {"full_images_per_s": full, "frozen_images_per_s": part, "speedup": part / full}
        row |= {"full_gib": memory[0], "frozen_gib": memory[FROZEN], "saved_gib": memory[0] - memory[FROZEN]}
        rows.append(row | hardware)
    return pd.DataFrame(rows)


def main(arguments: list[str] | None = None) -> pd.DataFrame:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--csv", type=Path, default=Path(__file__).with_suffix(".csv"), help="where the table is written"
    )
    parser.add_argument("--quick", action="store_true", help="a tiny case, to see that it runs; measures nothing")
    options = parser.parse_args(arguments)

    table = measure(*QUICK) if options.quick else measure(CASES, BATCH, SIZE, STEPS, ROUNDS)
    with replaced(options.csv) as temporary:
        table.to_csv(temporary, index=False)

    first = table.iloc[0]
    print(f"{first.processor}, {first.cores} cores, {first.threads} threads; torch {first.torch}")
    shown = [
        "architecture",
        "precision",
        "full_images_per_s",
        "frozen_images_per_s",
        "speedup",
        "full_gib",
        "saved_gib",
    ]
    print(table[shown].to_string(index=False, float_format="{:.2f}".format))
    if not options.quick:
        print(f"stages 1–3 frozen: at least {table.speedup.min():.2f} times as fast (promised: {LEAST_SPEEDUP:g})")
    print(f"written to {os.path.relpath(options.csv)}")
    return table


if __name__ == "__main__":
    main()
