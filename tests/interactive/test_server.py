"""How JupyterLab and the application are started, and what is saved of a notebook."""

import copy
import json
import os
import socket
import subprocess
import sys
import types
from pathlib import Path

import nbformat
import pytest
from jupyter_server.services.contents.filemanager import FileContentsManager

from fer_utils.core import InputError
from fer_utils.interactive import server


@pytest.fixture
def started(tmp_path, monkeypatch):
    """A checkout with a space and an umlaut in its path; the programs started in it."""
    root = tmp_path / "a studÿ"
    for name in ("experiments", "notebooks"):
        (root / name).mkdir(parents=True)
    (root / "pyproject.toml").touch()
    calls = []
    monkeypatch.chdir(root / "experiments")
    for name in ("JUPYTER_PATH", "JUPYTER_CONFIG_PATH"):
        monkeypatch.setenv(name, "/elsewhere")
    monkeypatch.setattr(os, "execv", lambda *call: calls.append(call))
    return root, calls


def test_lab_opens_the_contents_at_the_root_with_its_token(started, capsys):
    root, calls = started
    server.lab(["--no-browser", "--port=8889"])
    ((program, arguments),) = calls
    assert program == sys.executable and arguments[1:4] == ["-m", "jupyterlab", str(root)]
    assert "--LabApp.default_url=/lab/tree/notebooks/README.md" in arguments
    assert arguments[-2:] == ["--no-browser", "--port=8889"]
    assert not [word for word in arguments if "token" in word or "password" in word]
    kernels = [f"{sys.prefix}/share/jupyter", "/elsewhere"]
    assert os.environ["JUPYTER_PATH"].split(os.pathsep) == kernels
    (settings,) = Path(os.environ["JUPYTER_CONFIG_PATH"].split(os.pathsep)[0]).rglob("*.json")
    assert "Markdown Preview" in json.dumps(json.loads(settings.read_text()))
    assert Path.cwd() == root and "not saved" in capsys.readouterr().out


def test_app_is_voila_on_this_machine_with_a_token(started, monkeypatch):
    root, _ = started
    seen = []
    fake = types.ModuleType("voila.app")
    fake.Voila = type(
        "Voila", (), {"launch_instance": classmethod(lambda _, words: seen.extend(words))}
    )
    monkeypatch.setitem(sys.modules, "voila.app", fake)
    monkeypatch.setattr(server.importlib.util, "find_spec", lambda name: object())
    server.app(["--no-browser"])
    assert seen[0] == str(root / "notebooks/07_recognise_faces.ipynb")
    assert "--Voila.ip=127.0.0.1" in seen and "--token" in seen and seen[-1] == "--no-browser"


def test_app_says_how_to_get_what_it_needs(started, monkeypatch):
    monkeypatch.setattr(server.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="Voilà.*make app"):
        server.app([])


@pytest.mark.parametrize("option", ["--port={}", "--port {}", "--ServerApp.port={}"])
def test_a_port_in_use_is_one_line(started, option):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=f"port {port} is in use"):
            server.lab([option.format(port)])
    assert not started[1]


@pytest.fixture
def notebook():
    cells = [
        nbformat.v4.new_markdown_cell("# Title", id="title"),
        nbformat.v4.new_code_cell("x = 1", id="parameters", metadata={"tags": ["parameters"]}),
        nbformat.v4.new_code_cell("x", id="shown", metadata={"jupyter": {"source_hidden": True}}),
    ]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    return nbformat.v4.new_notebook(cells=cells, metadata=kernel)


def as_run(notebook):
    """What JupyterLab sends to be saved, after all cells have run."""
    run = copy.deepcopy(notebook)
    run.metadata["language_info"] = {"name": "python", "version": "3.12.1"}
    run.metadata["papermill"] = {"duration": 3}
    for cell in run.cells:
        cell.metadata["trusted"] = True
        if cell.cell_type == "code":
            cell.execution_count = 4
            cell.metadata["execution"] = {"iopub.status.busy": "2026-11-28"}
            cell.metadata["jupyter"] = {"source_hidden": False}
            face = {"image/png": "aGVsbG8="}
            cell.outputs = [nbformat.v4.new_output("display_data", face)]
    return json.loads(nbformat.writes(run))


def save(root, path, content):
    """Through Jupyter's own contents manager, as its server saves."""
    hook = f"{server.__name__}.strip_on_save"
    manager = FileContentsManager(root_dir=str(root), pre_save_hook=hook)
    manager.save({"type": "notebook", "format": "json", "content": content}, path)
    return (root / path).read_text()


def test_saving_a_tracked_notebook_leaves_git_clean_and_any_other_whole(tmp_path, notebook):
    def git(*words):
        command = ["git", "-C", str(tmp_path), *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    (tmp_path / "notebooks").mkdir()
    tracked = tmp_path / "notebooks/03 Übung.ipynb"
    nbformat.write(notebook, tracked)
    git("init", "--quiet")
    git("add", ".")
    before = tracked.read_text()
    assert save(tmp_path, "notebooks/03 Übung.ipynb", as_run(notebook)) == before
    assert "AM " not in git("status", "--porcelain")
    changed = as_run(notebook)
    changed["cells"][1] |= {"source": "x = 2", "metadata": {"tags": ["parameters", "more"]}}
    text = save(tmp_path, "notebooks/03 Übung.ipynb", changed)
    assert "x = 2" in text and "more" in text and "image/png" not in text
    assert "image/png" in save(tmp_path, "notebooks/copy.ipynb", as_run(notebook))


def test_without_git_nothing_is_tracked(tmp_path, notebook, monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert "image/png" in save(tmp_path, "a.ipynb", as_run(notebook))
