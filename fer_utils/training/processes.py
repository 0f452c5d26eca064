"""Training in several processes, a device each: started by torchrun, on one machine or on those of a SLURM job.

The calling process, which may be a notebook's, prepares the data, waits, and evaluates. It does not train: a notebook's
kernel can neither be copied once torch has threads or a GPU at work in it, nor be started again as a script. Each
process takes its share of every batch, and the losses, their centres, batch norm on GPUs and the gradients are those of
the whole batch: the numbers do not depend on the number of processes but for rounding. (On the CPU, for which torch has
no such batch norm, every process normalises its own share, unless the stage is frozen.)
"""

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
import time

import pandas as pd
import torch
from torch import nn

from fer_utils.errors import Diverged, InputError
from fer_utils.run_parameters import RunParameters
from fer_utils.runs import Run
from fer_utils.training.record import Abandoned, Record

# Each begins the line in which a process says why it ended.
REASONS = {"diverged: ": Diverged, "stopped: ": InputError}


def devices(params: RunParameters) -> int:
    """Processes on each machine: `devices`, of which "auto" means all GPUs, or one process on a CPU.

    >>> devices(RunParameters(devices="auto", device="cpu")), devices(RunParameters(devices=2))
    (1, 2)
    """
    if params.devices != "auto":
        return params.devices
    return max(1, torch.cuda.device_count()) if params.device != "cpu" else 1


def is_wanted(params: RunParameters) -> bool:
    """Whether the run is trained in processes of its own."""
    return params.strategy == "ddp" or devices(params) * params.num_nodes > 1


def is_one() -> bool:
    """Whether this is one of the processes that torchrun has started."""
    return torch.distributed.is_available() and torch.distributed.is_torchelastic_launched()


def command(params: RunParameters, root: str) -> list[str]:
    """The command line that trains a run in processes.

    >>> command(RunParameters(devices=2), "/checkout")[1:5]
    ['-m', 'torch.distributed.run', '--nproc-per-node=2', '--standalone']
    """
    torchrun, work = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={devices(params)}"], []
    if params.num_nodes == 1:
        torchrun += ["--standalone"]
    elif "SLURM_JOB_ID" in os.environ:
        job, host = os.environ["SLURM_JOB_ID"], os.environ.get("SLURMD_NODENAME", "localhost")
        work = ["srun", f"--nodes={params.num_nodes}", "--ntasks-per-node=1"]
        torchrun += [f"--nnodes={params.num_nodes}", "--rdzv-backend=c10d", f"--rdzv-id={job}"]
        torchrun += [f"--rdzv-endpoint={host}:{20000 + int(job) % 20000}"]
    else:
        raise InputError(f"num_nodes={params.num_nodes} needs a SLURM job, found none; submit the run with sbatch")
    values = json.dumps(dataclasses.asdict(params))
    return [*work, *torchrun, "-m", "fer_utils.training.processes", values, str(root)]


def check_shares(params: RunParameters, validation_images: int) -> None:
    """Raise `InputError` unless every process gets two images of a batch and one of validation."""
    count = devices(params) * params.num_nodes
    for name, images, least in (
        ("batch_size", params.batch_size, 2 * count),
        ("validation images", validation_images, count),
    ):
        if images < least:
            raise InputError(f"expected {name} of at least {least} for {count} processes, found {images}; use fewer")


def train(run: Run, params: RunParameters, record: Record) -> None:
    """Train a run that has begun until it ends or is stopped; `record` then holds its history.

    Raises:
        InputError: what a process could not do; `Diverged` where numbers are no longer finite.
        Abandoned: where the user did not let the epoch end.
    """
    log = run.path("processes.log")
    with log.open("w") as output:
        process = subprocess.Popen(
            command(params, run.root), stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            stopped = _watch(process, run, record)
        except (KeyboardInterrupt, Abandoned):
            raise Abandoned from None
        finally:
            _end(process)
    record.history = _history(run).to_dict("records")
    if process.returncode and not stopped:
        for line in log.read_text().splitlines():
            for mark, error in REASONS.items():
                if mark in line:
                    raise error(line.split(mark, 1)[1])
        raise InputError(f"a training process failed; its output is in {log}")


def _watch(process: subprocess.Popen, run: Run, record: Record) -> bool:
    """Wait for the processes and report every epoch; True where they are to be ended after it, as the user asks."""
    last = run.path("last.ckpt")  # written last of all that an epoch leaves

    def written() -> int:
        return last.stat().st_mtime_ns if last.is_file() else 0

    seen = written()
    while process.poll() is None or written() != seen:
        if written() != seen:
            seen = written()
            if record.on_epoch:
                record.on_epoch(_history(run))
            if record.stop():
                return True
        if record.stop() == "now":
            raise Abandoned
        time.sleep(0.2)
    return False


def _end(process: subprocess.Popen) -> None:
    """torchrun ends its processes when it is asked to end, and after half a minute makes them."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
    process.wait()


def _history(run: Run) -> pd.DataFrame:
    path = run.path("history.csv")
    return pd.read_csv(path) if path.is_file() else pd.DataFrame()


def synchronise_batch_norms(network: nn.Module) -> None:
    """Let the batch norms that are trained use the statistics of all processes' images; in place, GPUs only.

    Those folded into a frozen convolution (`fer_utils.models.folding`) stay as they are.
    """
    for module in list(network.modules()):
        for name, child in module.named_children():
            if type(child) in (nn.BatchNorm1d, nn.BatchNorm2d):
                setattr(module, name, nn.SyncBatchNorm.convert_sync_batchnorm(child))


def main(values: str, root: str) -> int:
    """One process: train the run's own share, from its last epoch on."""
    from fer_utils.training.fitting import train_process

    params = RunParameters(**json.loads(values))
    try:
        train_process(Run(params.study, params.run, root), params)
    except InputError as error:
        mark = next(mark for mark, kind in REASONS.items() if isinstance(error, kind))
        print(f"{mark}{error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
