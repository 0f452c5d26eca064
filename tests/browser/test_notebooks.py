"""Every notebook, opened and run as a reader would, and what can be moved, clicked or given in it."""

import pytest

from tests.browser.conftest import ROOT, TINY

pytestmark = pytest.mark.browser

NOTEBOOKS = sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb"))
SMOKE = {
    "01_explore_data": {"train_images": 64, "per_class": 1},
    "02_pretrain_identity": {**TINY, "study": "browser", "validation_images": 0, "test_images": 0},
    "03_fine_tune": {**TINY, "study": "browser", "run": "whole"},
    "04_evaluate_run": {"study": "browser", "run": "trained"},
    "06_loss_playground": {"steps": 20},
    "07_recognise_faces": {"run": "browser/trained", "out": "runs/faces"},
}
FIRST_PICTURE = 10  # seconds, on two cores that have nothing else to do
REDRAWN = 0.3


def test_the_table_of_contents_opens_rendered_and_a_stranger_is_asked_for_the_token(page, server):
    page.goto(f"{server['url']}?token={server['token']}")
    row = page.locator(".jp-RenderedMarkdown table tr", has_text="03_fine_tune")
    row.wait_for()
    page.screenshot(path=ROOT / ".cache/browser/contents.png")
    row.get_by_role("link").click()
    page.locator(".jp-Notebook").wait_for()
    stranger = page.context.browser.new_context().new_page()
    stranger.goto(f"{server['url']}lab")
    assert "/login" in stranger.url and stranger.locator("input[name=password]").count()
    stranger.context.close()


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_runs_whole(open_notebook, trained, name):
    notebook = open_notebook(name, **SMOKE.get(name, {}))
    first = notebook.run()
    notebook.screenshot(name)
    print(f"{name}: first picture after {first:.1f} s")
    assert not notebook.complaints()
    assert first < FIRST_PICTURE * notebook.patience
    if name in MOVES:
        MOVES[name](notebook)
        assert not notebook.complaints()


def move(notebook, description: str) -> None:
    """A slider's move by the keyboard draws the picture beside it again, soon."""
    slider = notebook.page.locator(".widget-slider", has_text=description).first.get_by_role("slider").first
    output = notebook.page.locator(".jp-OutputArea-output", has=slider).last
    seconds = notebook.redraws(output, lambda: slider.press("ArrowRight"))
    print(f"{notebook.name}: {description} redrawn after {1000 * seconds:.0f} ms")
    assert seconds < REDRAWN * notebook.patience


def click_a_cell(notebook) -> None:
    """A cell of the confusion matrix shows its images."""
    cell = notebook.page.locator("button[title*='fear, predicted sad']").first
    output = notebook.page.locator(".jp-OutputArea-output", has=cell).last
    seconds = notebook.redraws(output, cell.click)
    print(f"{notebook.name}: images of a cell after {1000 * seconds:.0f} ms")
    assert notebook.page.locator("select").first.input_value() is not None
    notebook.screenshot("04_clicked")


MOVES = {
    "01_explore_data": lambda notebook: move(notebook, "draw"),
    "04_evaluate_run": click_a_cell,
    "06_loss_playground": lambda notebook: move(notebook, "λ"),
}
