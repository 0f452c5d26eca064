"""Time and memory of reading lists as long as AffectNet's to a manifest, beside plain `pandas.read_csv`.

    python benchmarks/bench_manifest.py [--csv PATH] [--quick]

The lists are made up in a temporary folder (0.3 GB): as many rows as AffectNet has images of the eight expressions, all
columns, 68 landmarks a row among them, no images. Each way runs in processes of its own, so that its peak memory is its
own, what the packages take included; the two take turns, and the fastest of each counts. `pandas` reads all columns and
checks nothing; `manifest` reads those it needs, checks every value, and maps them to labels, splits and boxes.
"""

import argparse
import multiprocessing
import os
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from fer_utils import datasets
from fer_utils.files import replaced
from fer_utils.runs import environment

ROOT = Path(__file__).resolve().parents[1]
LISTS = {"training.csv": 287_651, "validation.csv": 4_000}
QUICK = {"training.csv": 400, "validation.csv": 40}
ROUNDS = 2
HEADER = "subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,expression,valence,arousal"

MOST_SECONDS, MOST_GIB = 10, 1  # promised


def write_lists(folder: Path, lists: dict[str, int]) -> None:
    """Lists in AffectNet's form, of images that are nowhere."""
    random = np.random.default_rng(0)
    points = random.uniform(0, 1000, (500, 136))
    landmarks = [";".join(f"{value:.2f}" for value in row) for row in points]
    for name, rows in lists.items():
        values = random.integers(0, 400, (rows, 4)).tolist()
        affect = random.uniform(-1, 1, (rows, 2)).tolist()
        with open(folder / name, "w") as file:
            file.write(HEADER + "\n")
            for row, ((x, y, width, height), (valence, arousal)) in enumerate(zip(values, affect, strict=True)):
                image = f"{row % 1000}/{Path(name).stem}_{row:056x}.jpg"
                box, felt = f"{x},{y},{width + 50},{height + 50}", f"{valence:.6f},{arousal:.6f}"
                file.write(f"{image},{box},{landmarks[row % len(landmarks)]},{row % 8},{felt}\n")


def read_manifest(folder: Path) -> int:
    return len(datasets.read_affectnet(folder, check_images=False))


def read_plainly(folder: Path) -> int:
    return sum(len(table) for table in [pd.read_csv(folder / name) for name in LISTS])


WAYS = {"manifest": read_manifest, "pandas": read_plainly}


def timed(way: str, folder: Path) -> tuple[int, float, float, float]:
    """Rows read, seconds on the wall and on the processor, and the process's peak memory in GiB."""
    wall, processor = time.perf_counter(), time.process_time()
    rows = WAYS[way](folder)
    seconds = time.perf_counter() - wall, time.process_time() - processor
    unit = 1 if sys.platform == "darwin" else 1024
    return rows, *seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30


def measure(folder: Path, rounds: int) -> pd.DataFrame:
    """A row a way, with the hardware it was measured on."""
    here = environment(ROOT)
    hardware = {"processor": here["processor"], "cores": here["cores"], "pandas": pd.__version__}
    fresh, found = multiprocessing.get_context("spawn"), {way: [] for way in WAYS}
    for way in [*WAYS] * rounds:
        with fresh.Pool(1) as pool:
            found[way].append(pool.apply(timed, (way, folder)))
    rows = []
    for way, results in found.items():
        read, walls, processors, peaks = zip(*results, strict=True)
        row = {"way": way, "rows": read[0], "wall_s": min(walls), "processor_s": min(processors)}
        rows.append(row | {"peak_gib": max(peaks)} | hardware)
    return pd.DataFrame(rows)


def main(arguments: list[str] | None = None) -> pd.DataFrame:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--csv", type=Path, default=Path(__file__).with_suffix(".csv"), help="where the table is written"
    )
    parser.add_argument("--quick", action="store_true", help="short lists, to see that it runs; measures nothing")
    options = parser.parse_args(arguments)

    with tempfile.TemporaryDirectory() as folder:
        write_lists(Path(folder), QUICK if options.quick else LISTS)
        table = measure(Path(folder), 1 if options.quick else ROUNDS)
    with replaced(options.csv) as temporary:
        table.to_csv(temporary, index=False)

    first = table.iloc[0]
    print(f"{first.processor}, {first.cores} cores; pandas {first.pandas}")
    shown = ["way", "rows", "wall_s", "processor_s", "peak_gib"]
    print(table[shown].to_string(index=False, float_format="{:.2f}".format))
    if not options.quick:
        print(
            f"the manifest took {first.wall_s:.1f} s and {first.peak_gib:.2f} GiB "
            f"(promised: {MOST_SECONDS} s, {MOST_GIB} GiB)"
        )
    print(f"written to {os.path.relpath(options.csv)}")
    return table


if __name__ == "__main__":
    main()
