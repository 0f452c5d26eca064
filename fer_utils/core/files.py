"""Where things are, and how they are written: whole or not at all."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from fer_utils.core.errors import InputError

_WATCHED = (
    "JPY_SESSION_NAME",
    "VSCODE_PID",
    "COLAB_RELEASE_TAG",
)  # what front ends set in a kernel


@contextlib.contextmanager
def atomic_write(path: Path | str) -> Iterator[Path]:
    """A temporary path beside `path` (same ending) that replaces it when the block succeeds.

    >>> import tempfile
    >>> target = Path(tempfile.mkdtemp()) / "table.csv"
    >>> with atomic_write(target) as temporary:
    ...     _ = temporary.write_text("a,b")
    >>> target.read_text()
    'a,b'
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def project_root(start: Path | str = ".") -> Path:
    """The checkout: the nearest folder upwards with `experiments/` and `pyproject.toml`."""
    start = Path(start).resolve()
    for folder in (start, *start.parents):
        if (folder / "experiments").is_dir() and (folder / "pyproject.toml").is_file():
            return folder
    raise InputError(
        f"expected a folder inside the study's checkout, found {start}; change into it"
    )


def resolve_path(path: str, root: Path) -> Path:
    """A path that a user gave: `~` expanded, relative ones from the checkout's root."""
    return Path(root) / Path(path).expanduser()


def in_headless_kernel() -> bool:
    """Whether a notebook runs with nobody watching, as under papermill; False outside notebooks."""
    try:
        from IPython import get_ipython
    except ImportError:
        return False
    return hasattr(get_ipython(), "kernel") and not any(name in os.environ for name in _WATCHED)
