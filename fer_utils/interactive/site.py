"""The executed notebooks as a static site with an index: `make site`, `.cache/site/index.html`.

They run in a copy of the checkout, on drawn faces and committed results alone.
"""

import shutil
import sys
from pathlib import Path

import nbformat
import papermill
from nbconvert import HTMLExporter
from papermill.exceptions import PapermillExecutionError
from traitlets.config import Config

from fer_utils.core import InputError, project_root

COPIED = ("notebooks", "experiments", "results", "figures")
CONFIG = Config(
    HTMLExporter={
        "embed_images": True,
        "exclude_input_prompt": True,
        "exclude_output_prompt": True,
    }
)


def build(root: Path) -> Path:
    """Execute every notebook, write each as a page, and the table of contents as the index."""
    site, copy = root / ".cache" / "site", root / ".cache" / "site-checkout"
    for folder in (site, copy):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    for name in COPIED:
        shutil.copytree(root / name, copy / name)
    shutil.copy(root / "pyproject.toml", copy)
    notebooks = copy / "notebooks"
    for path in sorted(notebooks.glob("*.ipynb")):
        print(f"executing {path.name}", flush=True)
        write_page(execute(path), site / f"{path.stem}.html", notebooks)
    contents = (notebooks / "README.md").read_text(encoding="utf-8").replace(".ipynb)", ".html)")
    index = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(contents)])
    write_page(index, site / "index.html", notebooks)
    shutil.rmtree(copy)
    return site / "index.html"


def execute(path: Path) -> nbformat.NotebookNode:
    """The notebook with its outputs, run with its own parameters."""
    try:
        return papermill.execute_notebook(
            str(path), None, cwd=str(path.parent), kernel_name="python3", progress_bar=False
        )
    except PapermillExecutionError as error:
        raise InputError(f"{path.name} failed: {error.ename}: {error.evalue}") from None


def write_page(notebook: nbformat.NotebookNode, path: Path, pictures_from: Path) -> None:
    resources = {"metadata": {"name": path.stem, "path": str(pictures_from)}}
    html, _ = HTMLExporter(config=CONFIG).from_notebook_node(notebook, resources)
    path.write_text(html, encoding="utf-8")


if __name__ == "__main__":
    try:
        print(build(project_root()))
    except InputError as error:
        sys.exit(f"stopped: {error}")
