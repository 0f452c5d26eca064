"""The one list of dependencies stays one list, and nothing names an address or a machine."""

import re
import subprocess
import sys
import time
import tomllib
from itertools import chain
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
REQUIREMENTS = [Requirement(line) for line in [*PROJECT["dependencies"], *chain.from_iterable(EXTRAS.values())]]
PINS = {
    canonicalize_name(line.split("==")[0]): line.split("==")[1].split(";")[0].strip()
    for line in (ROOT / "constraints.txt").read_text().splitlines()
    if line and not line.startswith("#")
}


@pytest.mark.parametrize("requirement", REQUIREMENTS, ids=str)
def test_every_dependency_is_pinned_within_its_range(requirement):
    assert requirement.specifier.contains(PINS[canonicalize_name(requirement.name)])


def test_the_conda_environment_reads_the_same_two_files():
    conda = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    pip = next(item["pip"] for item in conda if isinstance(item, dict))
    assert pip == ["--constraint constraints.txt", "--editable .[test]"]
    python = next(item.split("=")[1] for item in conda if isinstance(item, str) and item.startswith("python="))
    assert SpecifierSet(PROJECT["requires-python"]).contains(python)
    assert {item for item in conda if isinstance(item, str)} == {f"python={python}", "make", "pip"}


@pytest.mark.parametrize("name", ["pyproject.toml", "constraints.txt", "environment.yml", "Makefile", "bootstrap.py"])
def test_no_file_names_a_download_address(name):
    assert not re.search(r"https?://|file://|index-url|find-links", (ROOT / name).read_text())


def test_bootstrap_names_an_old_python_in_one_line(tmp_path):
    code = (ROOT / "bootstrap.py").read_text()
    script = f"import sys; sys.version_info = (3, 9, 18); __file__ = {str(tmp_path / 'bootstrap.py')!r}\n{code}"
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert answer.returncode != 0
    assert re.fullmatch(r"set-up stopped: Python 3\.11 or newer is needed, .* is 3\.9\.18; .*\n", answer.stderr)


def test_bootstrap_names_a_full_disk_in_one_line(tmp_path):
    code = (ROOT / "bootstrap.py").read_text()
    script = (
        "import collections, shutil; shutil.disk_usage = lambda _: collections.namedtuple('u', 'free')(2e9)\n"
        f"__file__ = {str(tmp_path / 'bootstrap.py')!r}\n{code}"
    )
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert answer.returncode != 0 and answer.stderr.count("\n") == 1 and "2.0 GB are free" in answer.stderr


def test_import_is_light():
    started = time.perf_counter()
    code = "import sys, fer_utils; sys.exit('torch' in sys.modules or 'pandas' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
    assert time.perf_counter() - started < 2  # most of it Python's own start; the import alone is some 10 ms


def test_drawing_figures_never_imports_torch():
    code = "import sys; from fer_utils import datasets, paper, plots, recognising, runs, studies, training; "
    code += "sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
