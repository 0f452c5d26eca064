"""A study's page: verdict first, everything in order, files whole and always the same bytes."""

import re

import numpy as np
import pandas as pd
import pytest

from fer_utils import report
from fer_utils.core import InputError


def draw_line(ax):
    ax.plot([1, 2], [3, 4])
    return ax


@pytest.fixture(scope="module")
def written(tmp_path_factory, folds, fold_cases):
    """The page of the folds, as notebook 08 makes it."""
    page = report.StudyPage(tmp_path_factory.mktemp("figures") / "made", "A made study")
    parts = [*report.add_verdict(page, folds, fold_cases), *report.add_gains(page, fold_cases)]
    page.write()
    return page, parts, (page.folder / "README.md").read_text(encoding="utf-8")


def test_the_verdict_stands_under_the_title_then_its_figure_then_the_small_table(written):
    page, _, text = written
    lines = [line for line in text.splitlines() if line]
    assert lines[0] == "# A made study" and lines[1] == page.verdict
    order = ("(verdict.png)", "| Loss | Accuracy |", "## What the verdict rests on", "## Protocol")
    places = [text.index(part) for part in order]
    assert places == sorted(places)
    assert text.index("<details>") > text.index("## What the verdict rests on")
    assert text.count("<details>") == text.count("</details>") == 2


def test_no_sentence_is_said_twice_and_no_verdict_stands_in_a_cell(written):
    _, _, text = written
    sentences = [s for s in re.split(r"(?<=[.!?])\s+", re.sub(r"\|.*", "", text)) if len(s) > 40]
    assert len(sentences) == len(set(sentences))
    cells = " ".join(line for line in text.splitlines() if line.startswith("|"))
    assert not re.search("significant|higher|lower", cells)


def test_every_file_that_the_page_names_is_there(written):
    page, _, text = written
    names = set(re.findall(r"\(([\w.]+\.(?:png|csv))\)", text))
    assert {"verdict.png", "scores.csv", "equal_accuracy.csv", "gains.png"} <= names
    assert all((page.folder / name).is_file() for name in names)
    assert page.figures and (page.folder / "figures.pdf").read_bytes()[:4] == b"%PDF"
    scores = pd.read_csv(page.folder / "scores.csv")
    assert scores["accuracy"].between(0, 1).all() and len(scores) == 6


def test_a_study_of_several_panels_shows_the_first_table_and_folds_the_others(
    tmp_path, models, model_cases
):
    page = report.StudyPage(tmp_path, "Models")
    parts = list(report.add_verdict(page, models, model_cases))
    assert [part.folded for part in parts[1:3]] == [False, True]
    assert "pre-trained" in parts[1].title and "small_resnet" in parts[2].title
    assert page.learned.startswith("Macro recall, ")


def test_networks_at_chance_are_left_out_by_name(tmp_path, folds, fold_cases):
    scores = report.score_table(fold_cases, resamples=50)
    scores.loc[3, ["accuracy", "macro_recall", "macro_recall_low"]] = 0.13
    assert report.at_chance(scores)["name"].tolist() == [fold_cases[3].name]
    figure = report.figure_tradeoff(scores, report.operating_curves(fold_cases))
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert fold_cases[3].name not in labels and fold_cases[1].name in labels


def test_a_notebook_shows_title_body_and_caption(written, monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", shown.append)
    for part in written[1][:2]:
        part._ipython_display_()
    texts = [item.data for item in shown if type(item).__name__ == "Markdown"]
    assert texts[0].startswith("**Accuracy against recall") and "intervals" in texts[1]
    assert "| softmax |" in texts[2]
    (picture,) = [item for item in shown if type(item).__name__ == "Image"]
    assert picture.data[1:4] == b"PNG"


def test_figures_are_always_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        paths = report.save_figure(report.draw(draw_line), tmp_path / name)
        page = report.StudyPage(tmp_path / name, "Title")
        page.add_figure("one", report.draw(draw_line), "One")
        page.write()
    assert [path.name for path in paths] == ["b.png", "b.pdf"]
    for name in ("{}.png", "{}.pdf", "{}/one.png", "{}/figures.pdf"):
        a, b = ((tmp_path / name.format(own)).read_bytes() for own in "ab")
        assert a == b and b"CreationDate" not in a
    assert b"/Subtype /Type3" not in (tmp_path / "a.pdf").read_bytes()


def test_what_is_there_stays_when_drawing_fails(tmp_path):
    path = tmp_path / "one"
    report.save_figure(report.draw(draw_line), path, ["png"])
    before = path.with_suffix(".png").read_bytes()
    figure = report.draw(draw_line)
    figure.axes[0].set_title("$\\frac$")
    with pytest.raises(ValueError):
        report.save_figure(figure, path)
    assert path.with_suffix(".png").read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["one.png"]


def test_numbers_are_written_beside_what_is_printed(tmp_path):
    page = report.StudyPage(tmp_path, "Title")
    printed, numbers = pd.DataFrame({"A": ["50.0"]}), pd.DataFrame({"a": [0.5]})
    part = page.add_table("table", printed, "A table", "A note.", numbers)
    assert (tmp_path / "table.csv").read_text() == "a\n0.5\n"
    assert part.caption == "A note. Numbers: [table.csv](table.csv)."
    assert "| 50.0 |" in part.table


def test_errors_name_what_was_wrong():
    with pytest.raises(InputError, match="8 × 8 .* \\(3, 3\\)"):
        report.draw(report.plot_confusion, np.eye(3))
    with pytest.raises(InputError, match="did you mean 'softmax'"):
        report.figure_architecture({"stages": [], "image_size": 48}, "sofmax")
    with pytest.raises(InputError, match="expected 8 probabilities, found shape \\(7,\\)"):
        report.draw(report.plot_probabilities, np.ones(7))
    with pytest.raises(InputError, match="float64 .* 2 texts"):
        report.figure_gallery(np.zeros((1, 4, 4)), ["a", "b"])
    with pytest.raises(InputError, match="from 0 to 1, .* 2"):
        report.overlay(np.zeros((4, 4), np.uint8), np.full((4, 4), 2.0))
    with pytest.raises(InputError, match="1 to 6 traces, .* 0"):
        report.figure_playground({})
    with pytest.raises(InputError, match="did you mean 'train'"):
        report.figure_class_counts(pd.DataFrame({"split": ["train"]}), "trian")
