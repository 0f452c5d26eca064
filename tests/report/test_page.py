"""A study's page: verdict first, everything in order, files whole and always the same bytes."""

import re

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from fer_utils import report
from fer_utils.core import InputError


def line():
    return report.draw(lambda ax: ax.plot([1, 2], [3, 4]) and ax)


@pytest.fixture(scope="module")
def written(tmp_path_factory, folds, fold_cases):
    """The page of the folds, as notebook 08 makes it, and its text."""
    page = report.StudyPage(tmp_path_factory.mktemp("figures") / "made", "A made study")
    assert [*report.add_verdict(page, folds, fold_cases), *report.add_gains(page, fold_cases)]
    page.write()
    return page, (page.folder / "README.md").read_text(encoding="utf-8")


def test_the_verdict_stands_under_the_title_then_its_figure_then_the_small_table(written):
    page, text = written
    assert text.startswith(f"# A made study\n\n{page.verdict}\n")
    assert report.read_verdict(page.folder) == page.verdict
    order = ("(verdict.png)", "| Loss | Accuracy |", "## What the verdict", "<det", "## Protocol")
    places = [text.index(part) for part in order]
    assert places == sorted(places)
    assert text.count("<details>") == text.count("</details>") == 3


def test_no_sentence_is_said_twice_and_no_verdict_stands_in_a_cell(written):
    text = written[1]
    sentences = [s for s in re.split(r"(?<=[.!?])\s+", re.sub(r"\|.*", "", text)) if len(s) > 40]
    assert len(sentences) == len(set(sentences))
    assert not re.search(r"^\|.*(significant|higher|lower)", text, re.MULTILINE)


def test_every_file_that_the_page_names_is_there(written):
    page, text = written
    names = set(re.findall(r"\(([\w.]+\.(?:png|csv))\)", text))
    assert {"verdict.png", "scores.csv", "equal_accuracy.csv", "gains.png"} <= names
    assert all((page.folder / name).is_file() for name in names)
    assert (page.folder / "figures.pdf").read_bytes()[:4] == b"%PDF"
    assert pd.read_csv(page.folder / "scores.csv")["accuracy"].between(0, 1).all()


def test_figures_are_always_the_same_bytes_on_white_paper(tmp_path):
    for name in ("a", "b"):
        report.save_figure(line(), tmp_path / f"{name}.png")
        page = report.StudyPage(tmp_path / name, "Title")
        page.add_figure("one", line(), "One")
        page.write()
    for name in ("{}.png", "{}/one.png", "{}/figures.pdf"):
        a, b = ((tmp_path / name.format(own)).read_bytes() for own in "ab")
        assert a == b and b"CreationDate" not in a
    assert Image.open(tmp_path / "a.png").convert("RGB").getpixel((0, 0)) == (255, 255, 255)
    assert b"/Subtype /Type3" not in (tmp_path / "a/figures.pdf").read_bytes()


REFUSED = [
    (lambda: report.draw(report.plot_confusion, np.eye(3)), "8 × 8 .* \\(3, 3\\)"),
    (lambda: report.draw(report.plot_probabilities, np.ones(7)), "8 probabilities.*\\(7,\\)"),
    (lambda: report.figure_gallery(np.zeros((1, 4, 4)), "ab"), "float64 .* 2 texts"),
    (lambda: report.overlay(np.zeros((4, 4), np.uint8), np.full((4, 4), 2.0)), "0 to 1, .* 2"),
    (lambda: report.figure_playground({}), "1 to 6 traces, .* 0"),
]


@pytest.mark.parametrize(("call", "message"), REFUSED)
def test_errors_name_what_was_wrong(call, message):
    with pytest.raises(InputError, match=message):
        call()
