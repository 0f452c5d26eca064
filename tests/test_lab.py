"""The front door: the table of contents, `make help`, and how JupyterLab is started."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fer_utils import lab
from fer_utils.__main__ import main

ROOT = Path(__file__).parents[1]


def test_the_table_of_contents_lists_every_notebook_once_and_in_order():
    rows = re.findall(
        r"^\| \[(\w+)\]\((\w+\.ipynb)\) \|(.*)\|$", (ROOT / "notebooks/README.md").read_text(), re.MULTILINE
    )
    assert [target for _, target, _ in rows] == sorted(path.name for path in (ROOT / "notebooks").glob("*.ipynb"))
    for name, target, cells in rows:
        assert target == f"{name}.ipynb" and len(cells.split("|")) == 4 and all(map(str.strip, cells.split("|")))


def test_make_help_names_every_target():
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)[1].split()) - {"help"}
    assert {"lab", "app", "test-browser"} <= targets
    answer = subprocess.run(["make", "--silent"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert targets == set(re.findall(r"^make ([\w-]+)", answer, re.MULTILINE))


@pytest.fixture
def started(tmp_path, monkeypatch):
    """What would be started, from inside a checkout with a space and an umlaut in its path."""
    root = tmp_path / "a studÿ"
    (root / "experiments").mkdir(parents=True)
    (root / "notebooks").mkdir()
    (root / "pyproject.toml").touch()
    calls = []
    monkeypatch.chdir(root / "experiments")
    monkeypatch.setattr(os, "execve", lambda *call: calls.append(call))
    return root, calls


def test_lab_opens_the_contents_with_this_environments_kernel_and_its_token(started, monkeypatch):
    root, calls = started
    monkeypatch.setenv("JUPYTER_PATH", "/elsewhere")
    main(["lab", "--no-browser", "--port=8889"])
    ((program, arguments, environment),) = calls
    assert program == sys.executable and arguments[1:3] == ["-m", "jupyterlab"]
    assert {str(root / "notebooks"), "--no-browser", "--port=8889"} <= set(arguments)
    assert "--LabApp.default_url=/lab/tree/README.md" in arguments
    assert not [argument for argument in arguments if "token" in argument or "password" in argument]
    assert environment["JUPYTER_PATH"].split(os.pathsep) == [f"{sys.prefix}/share/jupyter", "/elsewhere"]
    (settings,) = Path(environment["JUPYTER_CONFIG_PATH"]).glob("labconfig/*.json")
    assert "Markdown Preview" in settings.read_text() and json.loads(settings.read_text())
    assert Path.cwd() == root / "notebooks"


def test_app_serves_the_notebook_of_faces(started, monkeypatch):
    root, calls = started
    monkeypatch.setattr(lab.importlib.util, "find_spec", lambda name: object())
    main(["app", "--no-browser"])
    ((_, arguments, _),) = calls
    assert arguments[1:] == ["-m", "voila", str(root / "notebooks/07_recognise_faces.ipynb"), "--no-browser"]


def test_app_says_how_to_get_what_it_needs(started, monkeypatch, capsys):
    monkeypatch.setattr(lab.importlib.util, "find_spec", lambda name: None)
    assert main(["app"]) == 2
    error = capsys.readouterr().err
    assert "expected Voilà in this environment, found none; `make app` installs it" in error and error.count("\n") == 1


def test_the_command_line_works_from_a_path_with_spaces_and_umlauts(tmp_path):
    root = tmp_path / "eine Studie ü"
    shutil.copytree(ROOT / "fer_utils", root / "fer_utils", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("experiments", "notebooks", "results"):
        (root / name).mkdir()
    shutil.copy(ROOT / "pyproject.toml", root)
    command = [sys.executable, "-m", "fer_utils", "figures", "demo"]
    answer = subprocess.run(
        command, cwd=root / "notebooks", env={**os.environ, "PYTHONPATH": str(root)}, capture_output=True, text=True
    )
    assert answer.returncode == 2 and "stopped: expected results/demo/" in answer.stderr
