"""Which GPU a run gets, where several runs are computed at a time."""

import fcntl
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

_CLAIMED = []  # open lock files: a claim ends with the process, however it ends


def visible() -> list[str]:
    """The GPUs that this process may use, as `CUDA_VISIBLE_DEVICES` names them; asks the driver, not torch.

    >>> from unittest import mock
    >>> with mock.patch.dict(os.environ, {"CUDA_VISIBLE_DEVICES": "0,3"}):
    ...     visible()
    ['0', '3']
    """
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [name.strip() for name in named.split(",") if name.strip()]
    if not shutil.which("nvidia-smi"):
        return []
    listed = subprocess.run(["nvidia-smi", "--list-gpus"], capture_output=True, text=True).stdout
    return [str(number) for number in range(listed.count("GPU "))]


def claim(gpus: list[str], runs_per_gpu: int = 1, folder: Path | None = None) -> str | None:
    """Let this process, and those that it starts, see one GPU alone: the first one of those with the fewest runs.

    Args:
        gpus: as `visible` names them.
        runs_per_gpu: runs that may share one.
        folder: of the lock files, one a run and GPU; default: this machine's own for temporary files.

    Returns:
        The GPU's name, or None, nothing being changed, where there is no choice or every place is taken.
    """
    if len(gpus) < 2:
        return None
    folder = folder or Path(tempfile.gettempdir()) / f"fer_utils-gpus-{os.getuid()}"
    folder.mkdir(exist_ok=True)
    for place in range(runs_per_gpu):
        for gpu in gpus:
            file = (folder / f"{gpu.replace('/', '_')}-{place}").open("w")
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                file.close()
                continue
            _CLAIMED.append(file)
            os.environ["CUDA_VISIBLE_DEVICES"] = gpu
            return gpu
    return None
