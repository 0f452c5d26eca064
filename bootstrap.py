"""Build `.venv` with all that the study needs: `make` calls it, or `python3 bootstrap.py [EXTRA]`.

Standard library only. Without extras it does nothing when `.venv` is newer than what defines it.
"""

import fcntl
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
STAMP = VENV / ".installed"
SOURCES = (ROOT / "pyproject.toml", ROOT / "constraints.txt")
PYTHON = VENV / "bin" / "python"
NEEDED_GB = 9  # a CUDA build of torch and its libraries are 6 of them


def fail(message):
    sys.exit(f"set-up stopped: {message}")


def find_uv():
    """Path of a uv that works: the one on PATH, or one installed with pip into `.venv`."""
    for found in filter(None, (shutil.which("uv"), str(VENV / "bin" / "uv"))):
        if (
            shutil.which(found)
            and not subprocess.run([found, "-V"], capture_output=True).returncode
        ):
            return found
    print("installing uv into .venv", flush=True)
    try:
        if not PYTHON.exists():
            subprocess.run([sys.executable, "-m", "venv", str(VENV)], check=True)
        subprocess.run([str(PYTHON), "-m", "pip", "install", "--quiet", "uv"], check=True)
    except subprocess.CalledProcessError:
        shutil.rmtree(VENV, ignore_errors=True)  # a half-made one would be taken for a whole one
        fail("pip could not install uv; check the network, install python3-venv, or install uv")
    return str(VENV / "bin" / "uv")


def install(extras):
    free = shutil.disk_usage(ROOT).free / 1e9
    if not STAMP.exists() and free < NEEDED_GB:
        fail(f"about {NEEDED_GB} GB of free disk are needed for torch, {free:.1f} GB are free")
    uv = find_uv()
    print("installing the study and what it needs into .venv (once; about a minute)", flush=True)
    package = f".[{','.join(['test', *extras])}]"
    options = ["--python", str(PYTHON), "--constraint", "constraints.txt", "--editable", package]
    try:
        if not PYTHON.exists():
            subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, VENV], check=True)
        subprocess.run([uv, "pip", "install", *options], check=True, cwd=ROOT)
    except subprocess.CalledProcessError:
        fail("the packages could not be installed (uv says why above; is there a network?); "
             "the same command goes on where it stopped")  # fmt: skip
    STAMP.touch()


def main():
    if sys.version_info < (3, 11):  # noqa: UP036 (an older Python gets to see this file alone)
        found = ".".join(map(str, sys.version_info[:3]))
        fail(f"Python 3.11 or newer is needed, {sys.executable} is {found}; make PYTHON=python3.12")
    with open(ROOT / "pyproject.toml") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            fail("another set-up is at work in this checkout; wait for it")
        newest = max(source.stat().st_mtime for source in SOURCES)
        if sys.argv[1:] or not STAMP.exists() or STAMP.stat().st_mtime < newest:
            install(sys.argv[1:])


if __name__ == "__main__":
    main()
