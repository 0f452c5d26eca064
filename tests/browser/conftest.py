"""A JupyterLab of its own on a copy of the notebooks, and a headless Chromium that looks at it."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parents[2]
ARTEFACTS = ROOT / ".cache" / "browser"  # screenshots; not committed
TINY = {
    "train_images": 96, "validation_images": 16, "test_images": 16, "image_size": 32, "subjects": 12, "epochs": 2,
    "batch_size": 16, "threads": 1,
}  # fmt: skip
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
# JupyterLab asks whether it may fetch news, and renders only the cells in view; neither helps here.
SETTINGS = {
    "@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False},
    "@jupyterlab/notebook-extension:tracker": {"windowingMode": "none"},
}


def pytest_collection_modifyitems(items):
    """Without Playwright or Chromium these tests are skipped, each saying what is missing."""
    missing = "no Chromium (set CHROMIUM, or install it)" if CHROMIUM is None else None
    with contextlib.suppress(ImportError):
        import playwright  # noqa: F401
    if "playwright" not in sys.modules:
        missing = "no Playwright (`make test-browser` installs it)"
    for item in items:
        if missing and item.get_closest_marker("browser"):
            item.add_marker(pytest.mark.skip(reason=missing))


@pytest.fixture(scope="session")
def checkout(tmp_path_factory):
    """A checkout in a path with a space and an umlaut, so that runs and figures land there."""
    root = tmp_path_factory.mktemp("a studÿ") / "check out"
    for name in ("notebooks", "experiments", "results"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns(".ipynb_checkpoints"))
    shutil.copy(ROOT / "pyproject.toml", root)
    return root


@pytest.fixture(scope="session")
def trained(checkout):
    """The run `browser/trained`, for notebooks that look into one."""
    from fer_utils import runs, training

    return training.fit(runs.parameters({**TINY, "study": "browser", "run": "trained", "epochs": 1}), root=checkout)


@pytest.fixture(scope="session")
def server(checkout, tmp_path_factory):
    """URL and token of JupyterLab, started by `python -m fer_utils lab` as `make lab` does."""
    home = tmp_path_factory.mktemp("jupyter")
    for name, settings in SETTINGS.items():
        package, plugin = name.split(":")
        path = home / "settings" / package / f"{plugin}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(settings))
    places = {
        "JUPYTER_CONFIG_DIR": "config", "JUPYTER_DATA_DIR": "data", "JUPYTER_RUNTIME_DIR": "runtime",
        "JUPYTERLAB_SETTINGS_DIR": "settings", "JUPYTERLAB_WORKSPACES_DIR": "workspaces", "IPYTHONDIR": "ipython",
    }  # fmt: skip
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        **{name: str(home / place) for name, place in places.items()},
    }
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ["--no-browser", "--ip=127.0.0.1", f"--port={port}", "--LabApp.expose_app_in_browser=True"]
    command = [sys.executable, "-m", "fer_utils", "lab", *options]
    with (home / "log").open("w") as log:
        process = subprocess.Popen(
            command, cwd=checkout, env=environment, stdout=log, stderr=log, start_new_session=True
        )
    try:
        yield _wait_for(home, process)
    finally:
        os.killpg(process.pid, signal.SIGTERM)  # JupyterLab takes its kernels along
        process.wait(30)


def _wait_for(home: Path, process: subprocess.Popen, seconds: float = 120) -> dict:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and process.poll() is None:
        for path in home.glob("runtime/jpserver-*.json"):
            with contextlib.suppress(ValueError):  # half written
                return json.loads(path.read_text())
        time.sleep(0.2)
    raise RuntimeError((home / "log").read_text())


@pytest.fixture(scope="session")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser):
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(180_000)
    yield context.new_page()
    context.close()


@pytest.fixture
def open_notebook(page, server, checkout, request):
    """`open_notebook(name, **parameters)`: the notebook with these parameters, opened, its kernel ready."""
    from tests.browser.notebook import Notebook

    opened = []

    def open_with(name: str, **values) -> Notebook:
        from papermill.iorw import load_notebook_node
        from papermill.parameterize import parameterize_notebook

        path = checkout / "notebooks" / f"{name}.ipynb"
        notebook = load_notebook_node(str(ROOT / "notebooks" / path.name))
        nbformat.write(parameterize_notebook(notebook, values) if values else notebook, path)
        opened.append(Notebook(page, server, name, checkout))
        return opened[-1]

    yield open_with
    for notebook in opened:
        notebook.screenshot(f"{request.node.name}_end")
        notebook.close()
