"""What a training loses while another program keeps a core busy: threads that wait sleep or spin.

    python benchmarks/threads.py

`fer_utils` sets OMP_WAIT_POLICY=PASSIVE before torch is loaded; an empty value, which OpenMP
ignores, stands for what torch does by itself.
"""

import os
import subprocess
import sys
import tempfile

THREADS = len(os.sched_getaffinity(0))
BUSY = "while True: pass"
TRAIN = """
import sys, pandas as pd
from pathlib import Path
from fer_utils import training
values = {
    "train_images": 500, "validation_images": 80, "test_images": 80, "image_size": 48,
    "epochs": 4, "batch_size": 50, "device": "cpu", "threads": int(sys.argv[2]),
}
(Path(sys.argv[1]) / "experiments").mkdir()
run = training.fit(values, sys.argv[1])
print(pd.read_csv(run.path("history.csv"))["seconds"][1:].median())
"""


def seconds(policy: str, threads: int, busy: int) -> float:
    """Of an epoch, while `busy` other processes compute; the median of three."""
    others = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(busy)]
    environment = {**os.environ, "OMP_WAIT_POLICY": policy}
    environment.pop("OMP_NUM_THREADS", None)
    try:
        with tempfile.TemporaryDirectory() as root:
            answer = subprocess.run(
                [sys.executable, "-c", TRAIN, root, str(threads)],
                capture_output=True,
                text=True,
                check=True,
                env=environment,
            )
    finally:
        for process in others:
            process.kill()
    return float(answer.stdout.split()[-1])


if __name__ == "__main__":
    print("| waiting threads | threads | cores free | a core busy | times |")
    print("|---|---:|---:|---:|---:|")
    for policy, name in {"": "spin (torch's default)", "PASSIVE": "sleep (as set here)"}.items():
        for threads in sorted({1, THREADS}):
            free, busy = (seconds(policy, threads, others) for others in (0, 1))
            print(f"| {name} | {threads} | {free:.1f} s | {busy:.1f} s | {busy / free:.1f} |")
