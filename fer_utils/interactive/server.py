"""JupyterLab on the checkout, the notebook that is an application, the notebooks as a site."""

import contextlib
import importlib.util
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import webbrowser
from pathlib import Path
from typing import NoReturn

import nbformat

from fer_utils.core import InputError, project_root

CONTENTS = "notebooks/README.md"
APPLICATION = "notebooks/07_recognise_faces.ipynb"
SETTINGS = Path(__file__).parent / "jupyter"  # Markdown is shown rendered; no question about news
COPIED = ("notebooks", "experiments", "results", "figures")  # what notebooks of the site need

POLICY = "data: blob: ws: 'unsafe-inline' 'unsafe-eval'"
APP_SETTINGS = {
    # A page that closes may end its kernel: it has the token's cookie, but sends no XSRF field.
    "disable_check_xsrf": True,
    # Nothing comes from or goes to elsewhere; Voilà's own page would ask a CDN for its icons.
    "headers": {"Content-Security-Policy": f"default-src 'self' {POLICY}"},
}


def lab(options: list[str]) -> NoReturn:
    """Open JupyterLab at the checkout's root, on the table of contents; its token stays on.

    Outputs of notebooks that git tracks are shown, but not saved (`strip_on_save`). `options` are
    handed on to JupyterLab.
    """
    root = _enter_checkout(options)
    print("Outputs of the committed notebooks are not saved; those of copies under runs/ are.")
    command = [
        *(sys.executable, "-m", "jupyterlab", str(root)),
        f"--LabApp.default_url=/lab/tree/{CONTENTS}",
        f"--FileContentsManager.pre_save_hook={__name__}.strip_on_save",
        # It refuses the user root, who is the only user of many containers, unless told.
        *(["--allow-root"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []),
        *options,
    ]
    os.execv(sys.executable, command)  # in this process's place: it gets Ctrl-C


def app(options: list[str]) -> None:
    """Serve `07_recognise_faces` as an application: no code, this machine only, with a token.

    `options` are handed on to Voilà.
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
        f"--Voila.tornado_settings={APP_SETTINGS}",
    ]
    Application.launch_instance([str(root / APPLICATION), *defaults, *options])


def build_site(root: Path) -> Path:
    """The executed notebooks as pages, `.cache/site/*.html`, and the contents as their index.

    They run in a copy of the checkout, on drawn faces and committed results alone.
    """
    from nbconvert import HTMLExporter  # here: JupyterLab and the application start sooner

    from fer_utils.studies import execute_notebook

    site, copy = root / ".cache" / "site", root / ".cache" / "site-checkout"
    for folder in (site, copy):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    for name in COPIED:
        shutil.copytree(root / name, copy / name)
    shutil.copy(root / "pyproject.toml", copy)
    for path in sorted((copy / "notebooks").glob("*.ipynb")):
        print(f"executing {path.name}", flush=True)
        try:
            execute_notebook(path, path, {})
        except InputError as error:
            raise InputError(f"{path.name} failed: {error}") from None
    contents = (copy / CONTENTS).read_text(encoding="utf-8").replace(".ipynb)", ".html)")
    contents = contents.replace("../figures/screens/", "screens/")
    if (copy / "figures" / "screens").is_dir():
        shutil.copytree(copy / "figures" / "screens", site / "screens")
    index = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(contents)])
    nbformat.write(index, copy / "notebooks" / "index.ipynb")
    look = {"embed_images": True, "exclude_input_prompt": True, "exclude_output_prompt": True}
    for path in (copy / "notebooks").glob("*.ipynb"):
        page, _ = HTMLExporter(**look).from_filename(str(path))
        (site / f"{path.stem}.html").write_text(page, encoding="utf-8")
    shutil.rmtree(copy)
    return site / "index.html"


def _enter_checkout(options: list[str]) -> Path:
    """Change to the checkout's root; kernels of this environment come before any of their name.

    A port that was asked for must be free; without one the servers look for a free one.
    """
    for port in re.findall(r"port[= ](\d+)", " ".join(options)):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", int(port))) == 0:
                raise InputError(f"port {port} is in use; name another, or leave it out")
    kernels = Path(sys.prefix, "share", "jupyter")
    for name, ours in (("JUPYTER_PATH", kernels), ("JUPYTER_CONFIG_PATH", SETTINGS)):
        os.environ[name] = os.pathsep.join(filter(None, (str(ours), os.environ.get(name))))
    root = project_root()
    os.chdir(root)
    return root


def strip_on_save(model: dict, path: str, contents_manager, **_) -> None:
    """Jupyter's `pre_save_hook`: of a tracked notebook, outputs stay in view and are not saved.

    So `git status` stays clean, and no photograph of a real person gets into the repository.
    """
    file = Path(contents_manager.root_dir, path.strip("/"))
    if model.get("type") == "notebook" and model.get("content") and _is_tracked(file):
        before = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
        _strip(model["content"], before)


def _strip(notebook: dict, before: dict) -> None:
    """Take out outputs, counts, and metadata but tags that the notebook `before` did not have."""
    notebook["metadata"] = before.get("metadata", notebook["metadata"])
    known = {cell.get("id"): cell["metadata"] for cell in before.get("cells", [])}
    for cell in notebook["cells"]:
        tags = cell["metadata"].get("tags")
        kept = {name: v for name, v in known.get(cell.get("id"), {}).items() if name != "tags"}
        cell["metadata"] = kept | ({"tags": tags} if tags else {})
        if cell["cell_type"] == "code":
            cell["outputs"], cell["execution_count"] = [], None


def _is_tracked(file: Path) -> bool:
    command = ["git", "-C", str(file.parent), "ls-files", "--error-unmatch", file.name]
    try:
        return subprocess.run(command, capture_output=True).returncode == 0
    except OSError:  # no git, so nothing is tracked
        return False
