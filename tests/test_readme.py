"""README is true: its places, links, commands and numbers."""

import ast
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fer_utils.interactive import classifier, pictures

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PLACES = re.findall(r"`(fer_utils/\S+?\.py):([\w.]+)`", README)
PAGES = ["README.md", "experiments/README.md", "notebooks/README.md", "fer_utils/losses/README.md"]


def defined(tree, name):
    """Whether a name, dotted or not, is defined at the top of a tree."""
    first, _, rest = name.partition(".")
    for node in tree.body:
        targets = [node.target] if isinstance(node, ast.AnnAssign) else getattr(node, "targets", [])
        names = {getattr(node, "name", None)} | {getattr(t, "id", None) for t in targets}
        if first in names:
            return not rest or defined(node, rest)
    return False


def test_it_says_where_eleven_facts_are():
    assert len(PLACES) >= 11


@pytest.mark.parametrize(("file", "name"), PLACES)
def test_each_fact_is_where_it_says(file, name):
    assert defined(ast.parse((ROOT / file).read_text()), name)


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
        assert ((ROOT / page).parent / link).exists(), link


def test_it_stays_short():
    lines = README.splitlines()
    assert len(lines) <= 110 and max(map(len, lines)) <= 160


def test_its_make_commands_exist():
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for command in re.findall(r"(?:^|`)make ([a-z-]+)", README, re.MULTILINE):
        assert command in targets, command


def test_its_python_commands_exist():
    source = (ROOT / "fer_utils/__main__.py").read_text()
    for command in re.findall(r"-m fer_utils (\w+)", README):
        assert f"def {command}(" in source, command


@pytest.mark.parametrize("study", re.findall(r"STUDY=(\w+)", README))
def test_its_studies_exist(study):
    assert (ROOT / f"experiments/{study}.yaml").is_file()


def shown(value, low, high):
    return f"{100 * value:.1f} [{100 * low:.1f}, {100 * high:.1f}]"


def test_its_table_is_that_of_the_results():
    scores = pd.read_csv(ROOT / "figures/ferplus_best/scores.csv").set_index("name")
    rows = re.findall(
        r"^\| (softmax|weighted cluster \+ weighted softmax) \| (.+) \|$", README, re.M
    )
    assert len(rows) == 2
    names = ("accuracy", "macro_recall", "recall_disgust", "recall_contempt")
    for loss, cells in rows:
        row = scores.loc[loss]
        for cell, name in zip(cells.split(" | "), names, strict=True):
            assert cell == shown(*(row[f"{name}{end}"] for end in ("", "_low", "_high"))), name


def test_its_verdict_is_that_of_the_results():
    row = pd.read_csv(ROOT / "figures/ferplus_best/equal_accuracy.csv").iloc[0]
    numbers = [f"{-100 * row[name]:.1f}" for name in ("difference", "high", "low")]
    assert "{} points more macro recall (95 % interval {} to {})".format(*numbers) in README


def test_its_recogniser_is_that_of_the_results():
    row = pd.read_csv(ROOT / "figures/recogniser/scores.csv").iloc[0]
    text = " ".join(README.split())
    for name, words in (("accuracy", "95 % interval {} to {}"), ("macro_recall", "{} to {}")):
        value, *ends = (f"{100 * row[f'{name}{end}']:.1f}" for end in ("", "_low", "_high"))
        assert f"{value} %" in text and f"({words.format(*ends)})" in text, name


def test_its_caption_counts_the_drawings_that_are_misread(tmp_path):
    _, group = pictures.draw_pictures(tmp_path)  # the eight expressions in order
    (found,) = pictures.recognise_pictures([group], classifier.load_classifier())
    wrong = (found.probabilities.argmax(axis=1) != np.arange(8)).sum()
    number = ["none", "one", "two", "three", "four", "five", "six", "seven", "eight"][wrong]
    assert f"misreads {number} of these eight drawings" in " ".join(README.split())


def test_its_pictures_are_small():
    for path in (ROOT / "figures/screens").glob("*.png"):
        assert path.stat().st_size <= 100_000, path.name
