"""Every notebook, opened and run as a reader would, and what can be moved or clicked in it."""

import json

import pytest

from tests.browser.conftest import TINY
from tests.browser.notebook import OUTPUT
from tests.browser.servers import ROOT

pytestmark = pytest.mark.browser

NOTEBOOKS = sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb"))
SMOKE = {
    "01_explore_data": {"train_images": 64},
    "02_pretrain_identity": {**TINY, "study": "browser", "validation_images": 0, "test_images": 0},
    "03_fine_tune": {**TINY, "study": "browser", "run": "whole"},
    "04_evaluate_run": {"study": "browser", "run": "trained"},
}
FIRST_PICTURE, REDRAWN = 5, 0.2  # seconds, on two cores that have nothing else to do
LONG = {**TINY, "train_images": 1500, "study": "browser"}


def move(notebook, description: str) -> None:
    """A slider's move by the keyboard draws the picture beside it again, soon."""
    slider = notebook.page.locator(".widget-slider", has_text=description).first
    handle = slider.get_by_role("slider").first
    output = notebook.page.locator(OUTPUT, has=handle).last
    seconds = sorted(
        notebook.redraws(output, lambda: handle.press("ArrowRight")) for _ in range(5)
    )[2]
    print(f"{notebook.name}: {description} redrawn after {1000 * seconds:.0f} ms (median)")
    assert seconds < REDRAWN * notebook.patience


def click_a_cell(notebook) -> None:
    """A cell of the confusion matrix shows its images."""
    cell = notebook.page.locator("button[title*='fear, predicted sad']").first
    notebook.redraws(notebook.page.locator(OUTPUT, has=cell).last, cell.click)


MOVES = {"04_evaluate_run": click_a_cell, "06_loss_playground": lambda n: move(n, "λ")}


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_runs_whole(open_notebook, trained, name):
    notebook = open_notebook(name, **SMOKE.get(name, {}))
    first = notebook.run()
    notebook.screenshot(name)
    print(f"{name}: first picture after {first:.1f} s")
    assert not notebook.complaints()
    assert first < FIRST_PICTURE * notebook.patience
    MOVES.get(name, lambda notebook: None)(notebook)
    assert not notebook.complaints()


def test_bars_move_to_their_end_and_stop_can_go_on(open_notebook, checkout):
    notebook = open_notebook("03_fine_tune", **{**LONG, "epochs": 6, "run": "stop"})
    page, folder = notebook.page, checkout / "runs/browser/stop"
    notebook.start()
    bar = page.get_by_role("progressbar").first
    page.get_by_role("button", name="Stop").click()
    notebook.wait()
    stopped = json.loads((folder / "stopped.json").read_text())["stopped_after"]
    assert stopped < 6 and not (folder / "metrics.json").exists()
    assert float(bar.get_attribute("aria-valuenow")) < 6
    notebook.start()
    notebook.wait()
    assert not notebook.complaints()
    assert float(page.get_by_role("progressbar").first.get_attribute("aria-valuenow")) == 6
    assert (folder / "metrics.json").exists() and not (folder / "stopped.json").exists()


def test_an_interrupt_is_one_line_and_the_kernel_lives_on(open_notebook):
    notebook = open_notebook("03_fine_tune", **{**LONG, "epochs": 50, "run": "interrupted"})
    notebook.start()
    notebook.page.get_by_text("of 50").first.wait_for()
    notebook.interrupt()
    notebook.wait()
    (error,) = [output for output in notebook.outputs() if output["output_type"] == "error"]
    assert error["ename"] == "Interrupted" and len(error["traceback"]) == 1
    assert notebook.compute("params.epochs") == "50"


def test_the_form_chooses_the_loss_of_the_run(open_notebook, checkout):
    notebook = open_notebook("03_fine_tune", **{**TINY, "study": "browser", "run": "form"})
    notebook.run()
    notebook.page.get_by_label("loss").first.select_option("softmax")
    notebook.page.get_by_label("run").first.fill("form-softmax")
    notebook.start()
    notebook.wait()
    assert "loss: softmax" in (checkout / "runs/browser/form-softmax/params.yaml").read_text()
