"""The executed notebooks as a static site with an index: `make site`, `.cache/site/index.html`.

They run in a copy of the checkout, on drawn faces and committed results alone.
"""

import shutil
import sys
from pathlib import Path

import nbformat
from nbconvert import HTMLExporter
from traitlets.config import Config

from fer_utils.core import InputError, project_root
from fer_utils.studies import execute_notebook

COPIED = ("notebooks", "experiments", "results", "figures")
LOOK = {"embed_images": True, "exclude_input_prompt": True, "exclude_output_prompt": True}


def build(root: Path) -> Path:
    """Execute every notebook, write each as a page, and the table of contents as the index."""
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
        _write_page(nbformat.read(path, 4), path, site)
    contents = (copy / "notebooks" / "README.md").read_text(encoding="utf-8")
    contents = contents.replace(".ipynb)", ".html)")
    index = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(contents)])
    _write_page(index, copy / "notebooks" / "index.ipynb", site)
    shutil.rmtree(copy)
    return site / "index.html"


def _write_page(notebook: nbformat.NotebookNode, path: Path, site: Path) -> None:
    about = {"metadata": {"name": path.stem, "path": str(path.parent)}}
    page, _ = HTMLExporter(config=Config(HTMLExporter=LOOK)).from_notebook_node(notebook, about)
    (site / f"{path.stem}.html").write_text(page, encoding="utf-8")


if __name__ == "__main__":
    try:
        print(build(project_root()))
    except InputError as error:
        sys.exit(f"stopped: {error}")
