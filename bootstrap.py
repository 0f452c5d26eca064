"""Build `.venv` with everything the study needs; called by `make`, or by hand: `python3 bootstrap.py`.

Names of further extras of `pyproject.toml` may follow. Standard library only. Without them it does nothing when `.venv`
is newer than the two files that define it.
"""

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
STAMP = VENV / ".installed"
SOURCES = (ROOT / "pyproject.toml", ROOT / "constraints.txt")
SCRIPTS = VENV / ("Scripts" if sys.platform == "win32" else "bin")
NEEDED_GB = 9  # a CUDA build of torch and its libraries are 6 of them


def fail(message: str) -> None:
    sys.exit(f"set-up stopped: {message}")


def find_uv() -> str:
    """Path of uv: the one on PATH, or one installed with pip into `.venv`."""
    found = shutil.which("uv") or shutil.which("uv", path=str(SCRIPTS))
    if found:
        return found
    print("installing uv into .venv", flush=True)
    try:
        if not SCRIPTS.exists():
            subprocess.run([sys.executable, "-m", "venv", str(VENV)], check=True)
        subprocess.run([str(SCRIPTS / "python"), "-m", "pip", "install", "--quiet", "uv"], check=True)
    except subprocess.CalledProcessError:
        shutil.rmtree(VENV, ignore_errors=True)  # a half-made one would be taken for a whole one
        fail("uv could not be installed with pip; check the network, install python3-venv, or install uv by hand")
    return shutil.which("uv", path=str(SCRIPTS))


def main() -> None:
    if sys.version_info < (3, 11):  # noqa: UP036 (the one file that an older Python gets to see)
        found = ".".join(map(str, sys.version_info[:3]))
        fail(f"Python 3.11 or newer is needed, {sys.executable} is {found}; name another: make PYTHON=python3.12")
    extras = sys.argv[1:]
    if not extras and STAMP.exists() and all(STAMP.stat().st_mtime >= source.stat().st_mtime for source in SOURCES):
        return
    free_gb = shutil.disk_usage(ROOT).free / 1e9
    if not STAMP.exists() and free_gb < NEEDED_GB:
        fail(f"about {NEEDED_GB} GB of free disk are needed for torch and its libraries, {free_gb:.1f} GB are free")
    uv = find_uv()
    print(
        f"installing {', '.join(extras) or 'the study'} and what it needs into .venv (once; about a minute)", flush=True
    )
    python = str(SCRIPTS / "python")
    try:
        if not SCRIPTS.exists():
            subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, str(VENV)], check=True)
        options = ["--python", python, "--constraint", "constraints.txt"]
        subprocess.run(
            [uv, "pip", "install", *options, "--editable", f".[{','.join(['test', *extras])}]"], check=True, cwd=ROOT
        )
    except subprocess.CalledProcessError:
        fail("the packages could not be installed (see above); the same command goes on where it stopped")
    STAMP.touch()


if __name__ == "__main__":
    main()
