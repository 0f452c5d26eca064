"""Setting `.venv` up: what stands in its way is one line."""

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture
def checkout(tmp_path):
    root = tmp_path / "a studÿ" / "check out"
    root.mkdir(parents=True)
    for name in ("bootstrap.py", "pyproject.toml", "constraints.txt", "Makefile"):
        shutil.copy(ROOT / name, root)
    return root


def bootstrap(checkout, before="", path=""):
    """What `bootstrap.py` answers after some lines of Python, with programs from `path` alone."""
    file = checkout / "bootstrap.py"
    code = f"{before}\n__file__, __name__ = {str(file)!r}, '__main__'\n"
    code += "exec(compile(open(__file__).read(), __file__, 'exec'))"
    environment = {**os.environ, "PATH": str(path) or os.environ["PATH"]}
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment
    )


@pytest.mark.parametrize(
    ("before", "said"),
    [
        ("import sys; sys.version_info = (3, 9, 18)", "is 3.9.18"),
        (
            "import shutil, types; shutil.disk_usage = lambda _: types.SimpleNamespace(free=2e9)",
            "2.0 GB are free",
        ),
    ],
)
def test_an_old_python_and_a_full_disk_are_one_line(checkout, before, said):
    answer = bootstrap(checkout, before)
    assert answer.returncode == 1 and said in answer.stderr
    assert answer.stderr.startswith("set-up stopped: ") and answer.stderr.count("\n") == 1


def test_two_set_ups_at_once_are_refused(checkout):
    with open(checkout / "pyproject.toml") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        answer = bootstrap(checkout)
    assert answer.returncode == 1 and "another set-up" in answer.stderr
    assert answer.stderr.count("\n") == 1


def fake_uv(folder, body):
    folder.mkdir()
    (folder / "uv").write_text(f'#!/bin/sh\n[ "$1" = -V ] && exit 0\n{body}\n')
    (folder / "uv").chmod(0o755)
    return folder


ROOMY = "import shutil, types; shutil.disk_usage = lambda _: types.SimpleNamespace(free=1e12)"


def test_without_a_network_it_says_so_and_can_go_on(checkout, tmp_path):
    broken = fake_uv(tmp_path / "broken", '[ "$1" = venv ] && exit 0; exit 2')
    answer = bootstrap(checkout, ROOMY, broken)
    assert answer.returncode == 1 and "is there a network?" in answer.stderr.splitlines()[-1]
    assert not (checkout / ".venv/.installed").exists()


def test_it_installs_once_and_again_when_the_dependencies_change(checkout, tmp_path):
    log = tmp_path / "log"
    uv = fake_uv(
        tmp_path / "uv",
        f'echo "$@" >> "{log}"\n[ "$1" = venv ] && /bin/mkdir -p "$5" && exit 0\nexit 0',
    )
    for _ in range(2):
        assert bootstrap(checkout, ROOMY, uv).returncode == 0
    made, installed = log.read_text().splitlines()
    assert made.startswith("venv") and "--constraint constraints.txt --editable .[test" in installed
    os.utime(checkout / "pyproject.toml", (4e9, 4e9))
    assert bootstrap(checkout, ROOMY, uv).returncode == 0
    assert len(log.read_text().splitlines()) > 2


@pytest.mark.slow
def test_the_two_commands_work_from_a_path_with_a_space_and_an_umlaut(checkout):
    """`make figures` and `make study`, in a checkout whose `.venv` is there already."""
    for name in ("notebooks", "experiments", "results"):
        shutil.copytree(ROOT / name, checkout / name)
    shutil.copy(ROOT / "Snakefile", checkout)
    (checkout / ".venv").symlink_to(sys.prefix)
    tiny = (
        "title: Tiny\nnote: Nothing to learn from.\nmodels: [6, 1]\n"
        "architectures: {se_resnet50: se_resnet14}\n"
        "parameters: {train_images: 64, validation_images: 16, test_images: 16, image_size: 32,"
        " data_options: {subjects: 12}, epochs: 1, batch_size: 16, threads: 1}\n"
    )
    (checkout / "experiments" / "tiny.yaml").write_text(tiny)
    for command in (["figures"], ["study", "STUDY=tiny"]):
        answer = subprocess.run(
            ["make", "-o", ".venv/.installed", *command], cwd=checkout, capture_output=True,
            text=True,
        )  # fmt: skip
        assert answer.returncode == 0, answer.stderr
    for study in ("demo", "tiny"):
        assert (checkout / "figures" / study / "README.md").is_file()
