"""JupyterLab on the notebooks, and the one of them that is an application, both with this environment's kernel."""

import importlib.util
import os
import sys
from pathlib import Path
from typing import NoReturn

from fer_utils.errors import InputError
from fer_utils.runs import project_root

CONTENTS = "README.md"  # of notebooks/
SETTINGS = Path(__file__).parent / "jupyter"  # JupyterLab's defaults here: Markdown rendered, no question about news
APPLICATION = "07_recognise_faces.ipynb"


def lab(options: list[str]) -> NoReturn:
    """Open JupyterLab on `notebooks/`; token security stays as JupyterLab has it, on.

    Args:
        options: handed on to JupyterLab, such as `["--no-browser", "--port=8889"]`.
    """
    notebooks = project_root() / "notebooks"
    _serve(
        "jupyterlab", [str(notebooks), f"--LabApp.default_url=/lab/tree/{CONTENTS}", *_as_root(), *options], notebooks
    )


def app(options: list[str]) -> NoReturn:
    """Serve `07_recognise_faces` as an application, without its code.

    Args:
        options: handed on to Voilà.

    Raises:
        InputError: where Voilà is not installed.
    """
    if not importlib.util.find_spec("voila"):
        raise InputError(
            "expected Voilà in this environment, found none; `make app` installs it, or pip install '.[app]'"
        )
    notebooks = project_root() / "notebooks"
    _serve("voila", [str(notebooks / APPLICATION), *options], notebooks)


def _as_root() -> list[str]:
    """JupyterLab refuses the user root, who is the only user of many containers, unless told."""
    return ["--allow-root"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []


def _serve(module: str, arguments: list[str], folder: Path) -> NoReturn:
    # Kernels of this environment come before any of the same name that the user has elsewhere.
    first = {"JUPYTER_PATH": os.path.join(sys.prefix, "share", "jupyter"), "JUPYTER_CONFIG_PATH": str(SETTINGS)}
    paths = {name: os.pathsep.join(filter(None, (own, os.environ.get(name)))) for name, own in first.items()}
    os.chdir(folder)
    # In this process's place: Ctrl-C is then the server's alone.
    os.execve(sys.executable, [sys.executable, "-m", module, *arguments], {**os.environ, **paths})
