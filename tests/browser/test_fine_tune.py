"""03: the live view; its Stop button, which a training kernel has to hear; an interrupt; going on after each."""

import json

import pytest

from tests.browser.conftest import TINY

pytestmark = pytest.mark.browser


def test_stop_ends_after_the_epoch_and_running_again_goes_on_from_there(open_notebook, checkout):
    notebook = open_notebook("03_fine_tune", **{**TINY, "train_images": 1500, "epochs": 6}, study="browser", run="stop")
    page, folder = notebook.page, checkout / "runs/browser/stop"
    notebook.start()
    page.get_by_role("button", name="Stop after this epoch").click()
    page.get_by_role("button", name="Stopping after this epoch").wait_for(timeout=10_000)  # heard while it trains
    notebook.wait()
    stopped = json.loads((folder / "stopped.json").read_text())
    assert stopped["stopped_after"] < 6 and not (folder / "metrics.json").exists()
    said = f"stopped after epoch {stopped['stopped_after']} of 6"
    assert page.get_by_text(f"{said}; run this cell again to go on").is_visible()
    assert [output for output in notebook.outputs() if f"{said})" in str(output.get("text"))]
    notebook.screenshot("03_stopped")
    notebook.start()
    notebook.wait()
    assert not notebook.complaints()
    assert page.get_by_text("all 6 epochs done").is_visible()
    assert (folder / "metrics.json").exists() and not (folder / "stopped.json").exists()
    notebook.screenshot("03_resumed")


def test_an_interrupt_is_one_line_and_the_kernel_lives_on(open_notebook):
    notebook = open_notebook(
        "03_fine_tune", **{**TINY, "train_images": 1500, "epochs": 50}, study="browser", run="interrupted"
    )
    notebook.start()
    notebook.page.get_by_text("of 50 done").wait_for()
    notebook.interrupt()
    notebook.wait()
    (error,) = [output for output in notebook.outputs() if output["output_type"] == "error"]
    assert error["ename"] == "Interrupted" and "the same command goes on from there" in error["evalue"]
    assert len(error["traceback"]) == 1
    assert notebook.compute("sorted(params.__dict__)[:1]") == "['accumulate']"  # its state is still there
