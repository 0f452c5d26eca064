"""Time of a whole audit of FER+, near-duplicates included, and of its parts.

    python benchmarks/bench_audit.py --data PATH [--csv PATH] [--quick]

A row a part, in the order in which `fer_utils.audit.audit` goes through them: the images, each decoded once, those that
the label rule dropped as well; the search for near-duplicates; and everything at once. Processor time is that of all
threads together, which tells more than the wall's where others use the cores.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from fer_utils import datasets
from fer_utils.audit import audit
from fer_utils.audit.images import measure_images, unlisted_images
from fer_utils.audit.twins import find_near
from fer_utils.files import replaced
from fer_utils.runs import environment

ROOT = Path(__file__).resolve().parents[1]

MOST_SECONDS = 90  # promised of the whole audit, on two cores
LEAKS = {"exact_test_in_train": 288, "exact_validation_in_train": 279, "exact_test_in_validation": 44}


def timed(part: str, images: int, function, *arguments) -> tuple[dict, object]:
    """A row of the table, and what the function returns."""
    wall, processor = time.perf_counter(), time.process_time()
    result = function(*arguments)
    seconds = {"wall_s": time.perf_counter() - wall, "processor_s": time.process_time() - processor}
    return {"part": part, "images": images} | seconds, result


def measure(manifest: pd.DataFrame) -> tuple[pd.DataFrame, object]:
    """The table, with the hardware it was measured on, and the audit."""
    rows = pd.concat([manifest, unlisted_images(manifest)], ignore_index=True)
    rows.attrs = manifest.attrs
    first, (images, thumbnails, _) = timed("images", len(rows), measure_images, rows)
    second, _ = timed("near", len(rows), find_near, images, thumbnails)
    third, found = timed("audit", len(rows), audit, manifest)
    here = environment(ROOT)
    hardware = {"processor": here["processor"], "cores": here["cores"], "numpy": np.__version__}
    return pd.DataFrame([row | hardware for row in (first, second, third)]), found


def make_images(folder: Path, number: int = 16) -> pd.DataFrame:
    """A few pictures of noise, for `--quick`."""
    random = np.random.default_rng(0)
    (folder / "train").mkdir()
    names = [f"train/{place}.png" for place in range(number)]
    for name in names:
        Image.fromarray(random.integers(0, 256, (48, 48), dtype=np.uint8)).save(folder / name)
    manifest = pd.DataFrame({"image": names, "label": 0, "split": "train"})
    manifest.attrs = {"dataset": "folder", "root": str(folder)}
    return manifest


def main(arguments: list[str] | None = None) -> pd.DataFrame | None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder of FER+; without it nothing is measured")
    parser.add_argument(
        "--csv", type=Path, default=Path(__file__).with_suffix(".csv"), help="where the table is written"
    )
    parser.add_argument("--quick", action="store_true", help="a few pictures of noise, to see that it runs")
    options = parser.parse_args(arguments)

    if options.quick:
        with tempfile.TemporaryDirectory() as folder:
            table, found = measure(make_images(Path(folder)))
    elif options.data is None:
        print("nothing measured: give the folder of FER+ with --data")
        return None
    else:
        table, found = measure(datasets.read_ferplus(options.data, remove_leaks=False))
    with replaced(options.csv) as temporary:
        table.to_csv(temporary, index=False)

    first = table.iloc[0]
    print(f"{first.processor}, {first.cores} cores; numpy {first.numpy}")
    print(table[["part", "images", "wall_s", "processor_s"]].to_string(index=False, float_format="{:.1f}".format))
    if not options.quick:
        whole = table[table.part == "audit"].iloc[0]
        print(f"the whole audit took {whole.wall_s:.1f} s (promised: {MOST_SECONDS})")
        for key, expected in LEAKS.items():
            near = found.table.loc[key.replace("exact", "near"), "all_files"]
            print(f"{key}: {found.table.loc[key, 'all_files']} (known: {expected}); near: {near}")
    print(f"written to {os.path.relpath(options.csv)}")
    return table


if __name__ == "__main__":
    main()
