"""The house stays what it is: layers, light imports, one list of dependencies, nothing twice."""

import ast
import fnmatch
import json
import re
import subprocess
import sys
import tomllib
from collections import defaultdict
from itertools import chain
from pathlib import Path

import nbformat
import pytest
import yaml
from importlinter import cli
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

import fer_utils

ROOT = Path(__file__).parents[1]
PACKAGE = sorted((ROOT / "fer_utils").rglob("*.py"))
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = SETTINGS["project"]
EXTRAS = PROJECT["optional-dependencies"]
REQUIREMENTS = [Requirement(line) for line in chain(PROJECT["dependencies"], *EXTRAS.values())]
PINS = {
    canonicalize_name(line.split("==")[0]): line.split("==")[1].split(";")[0].strip()
    for line in (ROOT / "constraints.txt").read_text().splitlines()
    if "==" in line
}


def test_rooms_import_downwards_and_in_no_circle(capsys):
    assert cli.lint_imports(str(ROOT / "pyproject.toml"), no_cache=True) == 0, capsys.readouterr()


def imports(path):
    """Every `from fer_utils… import names` of a file: module and names."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("fer_utils"):
            yield node.module, [alias.name for alias in node.names]


def test_a_room_is_entered_by_its_door():
    """Other rooms import from a room's `__init__`, its own files from one another."""
    wrong = []
    for path in PACKAGE:
        room = path.relative_to(ROOT / "fer_utils").parts[0]
        for module, names in imports(path):
            _, *parts = module.split(".")
            is_file = [(ROOT / "fer_utils" / "/".join(parts) / f"{n}.py").is_file() for n in names]
            inside = parts[:1] == [room]
            aside = parts[:1] == ["interactive"]  # has no list of names, for that would load torch
            through = len(parts) > 1 and not inside and not aside
            roundabout = inside and len(parts) == 1 and not all(is_file)
            if (through or roundabout) and path.name != "__init__.py":
                wrong.append(f"{path.relative_to(ROOT)}: from {module} import {names}")
    assert not wrong


def test_imports_inside_functions_are_few():
    inside = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in PACKAGE
        for function in ast.walk(ast.parse(path.read_text()))
        if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef))
        for node in ast.walk(function)
        if isinstance(node, (ast.Import, ast.ImportFrom))
    ]
    assert len(inside) <= 15, inside


@pytest.mark.parametrize(
    ("imported", "absent"),
    [
        ("import fer_utils", ["torch", "pandas", "numpy"]),
        ("from fer_utils import core", ["torch", "pandas"]),
        ("from fer_utils import datasets, metrics, studies, report", ["torch"]),
    ],
)
def test_loading_is_light(imported, absent):
    code = (
        f"import sys, time; started = time.perf_counter(); {imported}; "
        "seconds = time.perf_counter() - started; "
        f"import json; print(json.dumps([seconds, [n for n in {absent} if n in sys.modules]]))"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    seconds, found = json.loads(answer.stdout)
    assert not found
    assert imported != "import fer_utils" or seconds < 0.1


def test_nothing_is_written_twice():
    """No run of six equal lines, but for imports and tables."""
    places = defaultdict(set)
    for path in PACKAGE:
        lines = [(n, line.strip()) for n, line in enumerate(path.read_text().splitlines(), 1)]
        lines = [(n, line) for n, line in lines if len(line) > 4]
        for start in range(len(lines) - 5):
            run = [line for _, line in lines[start : start + 6]]
            if not any(re.match(r"from |import |[\"'\d(]", line) for line in run):
                places[tuple(run)].add(f"{path.relative_to(ROOT)}:{lines[start][0]}")
    assert not [sorted(found) for found in places.values() if len(found) > 1]


def test_the_version_is_the_same_everywhere():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    newest = re.search(r"^## (\S+?):? ", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)[1]
    assert PROJECT["version"] == fer_utils.__version__ == citation["version"] == newest.rstrip(":")


@pytest.mark.parametrize("requirement", REQUIREMENTS, ids=str)
def test_every_dependency_is_pinned_within_its_range(requirement):
    assert requirement.specifier.contains(PINS[canonicalize_name(requirement.name)])


def test_the_conda_environment_reads_the_same_two_files():
    conda = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    pip = next(item["pip"] for item in conda if isinstance(item, dict))
    assert pip == ["--constraint constraints.txt", "--editable .[test]"]
    names = dict(item.partition("=")[::2] for item in conda if isinstance(item, str))
    assert set(names) == {"python", "make", "pip"}
    assert SpecifierSet(PROJECT["requires-python"]).contains(names["python"])


@pytest.mark.parametrize(
    "name",
    ["pyproject.toml", "constraints.txt", "environment.yml", "Makefile", "bootstrap.py",
     ".pre-commit-config.yaml", ".ci/run", ".ci/lowest", ".github/workflows/ci.yml"],
)  # fmt: skip
def test_no_file_names_a_download_address(name):
    assert not re.search(r"https?://|file://|index-url|find-links", (ROOT / name).read_text())


def test_files_that_are_no_code_are_packaged():
    patterns = SETTINGS["tool"]["setuptools"]["package-data"]["fer_utils"]
    files = [
        str(path.relative_to(ROOT / "fer_utils"))
        for path in (ROOT / "fer_utils").rglob("*")
        if path.is_file() and path.suffix not in (".py", ".pyc", ".md")
    ]
    for file in files:
        assert any(fnmatch.fnmatch(file, pattern) for pattern in patterns), file
    for pattern in patterns:
        assert fnmatch.filter(files, pattern), f"{pattern} matches nothing"


def test_make_prints_its_targets():
    answer = subprocess.run(["make", "-s"], cwd=ROOT, capture_output=True, text=True, check=True)
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[1]
    assert re.findall(r"^make ([\w-]+)", answer.stdout, re.MULTILINE) == phony.split()[1:]


@pytest.mark.parametrize("script", [".ci/run", ".ci/lowest"])
def test_ci_scripts_are_what_the_workflow_runs(script):
    assert (ROOT / script).stat().st_mode & 0o111
    assert not subprocess.run(["bash", "-n", script], cwd=ROOT).returncode
    jobs = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"]
    assert script in jobs["test"]["strategy"]["matrix"]["script"]
    assert {"run": "make site"} in jobs["site"]["steps"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_are_as_jupyter_writes_them(path):
    """So that saving one in JupyterLab, where nothing was changed, changes no byte."""
    assert path.read_text(encoding="utf-8") == nbformat.writes(nbformat.read(path, 4)) + "\n"
