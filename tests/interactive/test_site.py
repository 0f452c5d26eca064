"""Executed notebooks as pages, with the table of contents as their index."""

import nbformat
import pytest

from fer_utils.core import InputError
from fer_utils.interactive import server


def checkout(root, source):
    for name in server.COPIED:
        (root / name).mkdir(parents=True)
    (root / "pyproject.toml").touch()
    (root / "notebooks/README.md").write_text("# Contents\n\n[first](01_first.ipynb)\n")
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(source)],
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}},
    )
    nbformat.write(notebook, root / "notebooks/01_first.ipynb")
    return root


def test_every_notebook_is_a_page_and_the_contents_link_to_it(tmp_path):
    root = checkout(
        tmp_path / "a studÿ", "from pathlib import Path\nPath('../made').touch()\n6 * 7"
    )
    index = server.build_site(root)
    assert index == root / ".cache/site/index.html" and 'href="01_first.html"' in index.read_text()
    assert ">42" in (index.parent / "01_first.html").read_text()
    assert not (root / "made").exists()  # notebooks ran in a copy


def test_a_notebook_that_fails_is_named(tmp_path):
    with pytest.raises(InputError, match="01_first.ipynb.*ZeroDivisionError"):
        server.build_site(checkout(tmp_path, "1 / 0"))
