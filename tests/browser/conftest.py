"""A JupyterLab of its own on a copy of the notebooks, and a headless Chromium that looks at it."""

import contextlib
import os
import shutil
import sys

import nbformat
import pytest

from tests.browser import servers

ROOT = servers.ROOT
ARTEFACTS = ROOT / ".cache" / "browser"  # screenshots; not committed
TINY = {
    "train_images": 96, "validation_images": 16, "test_images": 16, "image_size": 32, "subjects": 12, "epochs": 2,
    "batch_size": 16, "threads": 1,
}  # fmt: skip
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")


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
    yield from servers.lab(checkout, tmp_path_factory.mktemp("jupyter"))


@pytest.fixture(scope="session")
def app(checkout, trained, tmp_path_factory):
    """URL of Voilà, started by `python -m fer_utils app` as `make app` does."""
    yield from servers.app(checkout, tmp_path_factory.mktemp("voila"))


@pytest.fixture(scope="session")
def portrait(tmp_path_factory):
    """A drawn portrait, in which there is one face."""
    from fer_utils import recognising

    return recognising.draw_examples(tmp_path_factory.mktemp("drawn"))[0]


@pytest.fixture(scope="session")
def browser(portrait, tmp_path_factory):
    """Chromium, whose webcam sees the portrait."""
    from PIL import Image
    from playwright.sync_api import sync_playwright

    seen = tmp_path_factory.mktemp("webcam") / "portrait.mjpeg"
    Image.open(portrait).convert("RGB").resize((320, 320)).save(seen, format="JPEG", quality=95)
    webcam = [
        "--use-fake-device-for-media-stream",
        "--use-fake-ui-for-media-stream",  # consents
        f"--use-file-for-fake-video-capture={seen}",
    ]
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", *webcam])
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
