"""JupyterLab on the checkout, the notebook that is an application, what is saved of notebooks."""

import contextlib
import importlib.util
import json
import os
import re
import socket
import subprocess
import sys
import webbrowser
from pathlib import Path
from typing import NoReturn

from fer_utils.core import InputError, project_root

CONTENTS = "notebooks/README.md"
APPLICATION = "notebooks/07_recognise_faces.ipynb"
SETTINGS = Path(__file__).parent / "jupyter"  # Markdown is shown rendered; no question about news


def lab(options: list[str]) -> NoReturn:
    """Open JupyterLab at the checkout's root, on the table of contents; its token stays on.

    Outputs of notebooks that git tracks are shown, but not saved (`strip_on_save`).

    Args:
        options: handed on to JupyterLab, such as `["--no-browser", "--port=8889"]`.
    """
    root = _enter_checkout(options)
    print("Outputs of the committed notebooks are not saved; those of copies under runs/ are.")
    command = [
        *(sys.executable, "-m", "jupyterlab", str(root)),
        f"--LabApp.default_url=/lab/tree/{CONTENTS}",
        f"--FileContentsManager.pre_save_hook={strip_on_save.__module__}.{strip_on_save.__name__}",
        *_as_root(),
        *options,
    ]
    os.execve(sys.executable, command, dict(os.environ))  # in this process's place: it gets Ctrl-C


def app(options: list[str]) -> None:
    """Serve `07_recognise_faces` as an application: no code, this machine only, with a token.

    Args:
        options: handed on to Voilà.

    Raises:
        InputError: where Voilà is not installed, or the port that was asked for is in use.
    """
    if not importlib.util.find_spec("voila"):
        raise InputError(
            "expected Voilà, found none; `make app` installs it, or pip install '.[app]'"
        )
    root = _enter_checkout(options)
    from voila.app import Voila

    class Application(Voila):
        def launch_browser(self) -> None:
            """Open the address with its token, which Voilà's own way leaves out."""
            with contextlib.suppress(webbrowser.Error):
                webbrowser.get(self.browser or None).open(self.display_url)

    defaults = [
        "--Voila.ip=127.0.0.1",
        "--token",
        "--preheat_kernel=True",  # the notebook has run before its page is asked for
        # A page that closes may end its kernel: it has the token's cookie, but sends no XSRF field.
        "--Voila.tornado_settings={'disable_check_xsrf': True}",
    ]
    Application.launch_instance([str(root / APPLICATION), *defaults, *options])


def _enter_checkout(options: list[str]) -> Path:
    """Change to the checkout's root; kernels of this environment come before any of their name."""
    _check_port(options)
    paths = {
        "JUPYTER_PATH": os.path.join(sys.prefix, "share", "jupyter"),
        "JUPYTER_CONFIG_PATH": str(SETTINGS),
    }
    for name, ours in paths.items():
        os.environ[name] = os.pathsep.join(filter(None, (ours, os.environ.get(name))))
    root = project_root()
    os.chdir(root)
    return root


def _as_root() -> list[str]:
    """JupyterLab refuses the user root, who is the only user of many containers, unless told."""
    return ["--allow-root"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []


def _check_port(options: list[str]) -> None:
    """A port that was asked for must be free; without one the servers look for a free one."""
    for port in re.findall(r"port[= ](\d+)", " ".join(options)):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", int(port))) == 0:
                raise InputError(f"port {port} is in use; name another, or leave it out")


def strip_on_save(model: dict, path: str, contents_manager, **_) -> None:
    """Jupyter's `pre_save_hook`: of a tracked notebook, outputs stay in view and are not saved.

    So `git status` stays clean, and no photograph of a real person gets into the repository.
    """
    file = Path(contents_manager.root_dir, path.strip("/"))
    if model.get("type") == "notebook" and model.get("content") and _is_tracked(file):
        before = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
        strip(model["content"], before)


def strip(notebook: dict, before: dict) -> None:
    """Remove, in place, outputs, counts and what front ends and papermill note in the metadata.

    Args:
        notebook: in nbformat's form.
        before: the notebook as it was saved last, whose metadata are kept.
    """
    notebook["metadata"] = before.get("metadata", notebook["metadata"])
    metadata = {cell.get("id"): cell["metadata"] for cell in before.get("cells", [])}
    for cell in notebook["cells"]:
        tags = cell["metadata"].get("tags")
        kept = {k: v for k, v in metadata.get(cell.get("id"), {}).items() if k != "tags"}
        cell["metadata"] = {**kept, **({"tags": tags} if tags else {})}
        if cell["cell_type"] == "code":
            cell["outputs"], cell["execution_count"] = [], None


def _is_tracked(file: Path) -> bool:
    command = ["git", "-C", str(file.parent), "ls-files", "--error-unmatch", file.name]
    try:
        return subprocess.run(command, capture_output=True).returncode == 0
    except OSError:  # no git, so nothing is tracked
        return False
