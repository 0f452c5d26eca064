"""The pictures of `notebooks/README.md` and the README: drawn faces, committed results.

Made anew by `make test-browser OPTIONS="-k pictures"`; they stand in `figures/notebooks/`.
"""

import io

import pytest
from PIL import Image

from tests.browser.notebook import OUTPUT
from tests.browser.servers import ROOT
from tests.browser.test_notebooks import NOTEBOOKS

pytestmark = pytest.mark.browser
FOLDER = ROOT / "figures" / "notebooks"
LARGEST = 100_000  # bytes


def keep(picture: bytes, name: str) -> None:
    """Write a screenshot in few enough colours."""
    FOLDER.mkdir(exist_ok=True)
    image = Image.open(io.BytesIO(picture)).convert("RGB")
    for colors in (256, 128, 64, 32):
        image.quantize(colors).save(FOLDER / f"{name}.png", optimize=True)
        if (FOLDER / f"{name}.png").stat().st_size <= LARGEST:
            return
    raise AssertionError(f"{name}.png is too large")


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_pictures_of_notebooks(open_notebook, name):
    notebook = open_notebook(name)
    notebook.run()
    assert not notebook.complaints()
    first = notebook.page.locator(f"{OUTPUT} img, {OUTPUT} canvas").first
    first.scroll_into_view_if_needed()
    keep(notebook.page.locator(".jp-NotebookPanel").first.screenshot(), name)


def test_pictures_of_the_application(app, page):
    page.goto(app)
    page.locator("img[alt^='Face 1: ']").first.wait_for()
    keep(page.screenshot(), "app")
