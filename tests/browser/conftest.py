"""A JupyterLab of its own on a copy of the checkout, and a headless Chromium that looks at it."""

import importlib.util
import os
import shutil
import subprocess

import nbformat
import pytest

from tests.browser import servers
from tests.browser.notebook import Notebook

NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update",
]  # fmt: skip
TINY = {
    "train_images": 96, "validation_images": 16, "test_images": 16, "image_size": 32, "epochs": 2,
    "batch_size": 16, "threads": 1, "data_options": {"subjects": 12},
}  # fmt: skip


def pytest_collection_modifyitems(items):
    """Without Playwright or Chromium these tests are skipped, each saying what is missing."""
    missing = "" if CHROMIUM else "no Chromium (set CHROMIUM, or install it)"
    if not importlib.util.find_spec("playwright"):
        missing = "no Playwright (`make test-browser` installs it)"
    for item in items:
        if missing and item.get_closest_marker("browser"):
            item.add_marker(pytest.mark.skip(reason=missing))


@pytest.fixture(scope="session")
def checkout(tmp_path_factory):
    """A checkout, in a path with a space and an umlaut, so that runs and figures land there."""
    root = tmp_path_factory.mktemp("a studÿ") / "check out"
    for name in ("notebooks", "experiments", "results"):
        ignored = shutil.ignore_patterns(".ipynb_checkpoints")
        shutil.copytree(servers.ROOT / name, root / name, ignore=ignored)
    for name in ("pyproject.toml", ".gitignore"):
        shutil.copy(servers.ROOT / name, root)
    subprocess.run(["git", "init", "--quiet", str(root)], check=True)
    subprocess.run(["git", "-C", str(root), "add", "."], check=True)
    return root


@pytest.fixture(scope="session")
def trained(checkout):
    """The run `browser/trained`, for notebooks that look into one."""
    from fer_utils import training

    values = {**TINY, "study": "browser", "run": "trained", "epochs": 1}
    return training.fit(training.parameters(values), root=checkout)


@pytest.fixture(scope="session")
def lab(checkout, tmp_path_factory):
    """Address of JupyterLab, as `make lab` starts it."""
    options = ["--LabApp.expose_app_in_browser=True"]
    with servers.serve("lab", checkout, tmp_path_factory.mktemp("lab"), *options) as address:
        yield address


@pytest.fixture(scope="session")
def app(checkout, tmp_path_factory):
    """Address of the application, as `make app` starts it."""
    with servers.serve("app", checkout, tmp_path_factory.mktemp("app")) as address:
        yield address


@pytest.fixture(scope="session")
def portrait(tmp_path_factory):
    """A drawn portrait, in which there is one face."""
    from PIL import Image

    from fer_utils.datasets import draw_examples

    face = Image.fromarray(draw_examples(per_class=1, size=240, seed=3)[1, 0])
    picture = Image.new("RGB", (480, 400), "#c8ccd2")
    picture.paste(face, (120, 80))
    path = tmp_path_factory.mktemp("drawn") / "portrait.png"
    picture.save(path)
    return path


@pytest.fixture(scope="session")
def film(portrait):
    """A video of the portrait, 0.8 seconds long: of its eight frames four are looked at."""
    import cv2

    frame = cv2.imread(str(portrait))
    path = portrait.with_name("film.avi")
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, frame.shape[1::-1])
    for _ in range(8):
        writer.write(frame)
    writer.release()
    return path


@pytest.fixture(scope="session")
def browser(portrait, tmp_path_factory):
    """Chromium, whose webcam sees the portrait."""
    from PIL import Image
    from playwright.sync_api import sync_playwright

    seen = tmp_path_factory.mktemp("webcam") / "portrait.mjpeg"
    Image.open(portrait).resize((480, 400)).save(seen, format="JPEG", quality=95)
    webcam = [
        "--use-fake-device-for-media-stream",
        "--use-fake-ui-for-media-stream",  # consents
        f"--use-file-for-fake-video-capture={seen}",
    ]
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=[*FLAGS, *webcam])
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser):
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(600_000)
    yield context.new_page()
    context.close()


@pytest.fixture
def open_notebook(page, lab, checkout):
    """`open_notebook(name, **parameters)`: the notebook with these, opened, its kernel ready."""
    from papermill.iorw import load_notebook_node
    from papermill.parameterize import parameterize_notebook

    opened = []

    def open_with(name: str, **values) -> Notebook:
        path, copy = (root / "notebooks" / f"{name}.ipynb" for root in (servers.ROOT, checkout))
        shutil.copy(path, copy)
        if values:  # papermill adds metadata, which the file does without
            node = parameterize_notebook(load_notebook_node(str(path)), values)
            nbformat.write(node, copy)
        opened.append(Notebook(page, lab, name))
        return opened[-1]

    yield open_with
    for notebook in opened:
        notebook.screenshot(f"{notebook.name}_end")
        notebook.close()
