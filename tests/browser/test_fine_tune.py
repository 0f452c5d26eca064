"""03: the live view, and its Stop button, which a busy kernel has to hear."""

import json

SMOKE = {
    "study": "browser",
    "train_images": 160,
    "validation_images": 32,
    "test_images": 32,
    "image_size": 32,
    "subjects": 12,
}


def test_stop_ends_after_the_epoch_and_the_cell_goes_on_from_there(open_notebook, checkout):
    notebook = open_notebook("03_fine_tune", **SMOKE, run="stop", epochs=6)
    page = notebook.page
    notebook.start()
    page.get_by_text("epoch 1 of 6 done").wait_for()
    page.get_by_role("button", name="Stop after this epoch").click()
    page.get_by_role("button", name="Stopping after this epoch").wait_for()
    notebook.wait()
    notebook.screenshot("03_stopped")
    folder = checkout / "runs/browser/stop"
    stopped = json.loads((folder / "stopped.json").read_text())
    print(stopped)
    assert 1 <= stopped["stopped_after"] < 6 and not (folder / "metrics.json").exists()
    assert page.get_by_text(
        f"stopped after epoch {stopped['stopped_after']} of 6; run this cell again to go on"
    ).count()
    notebook.run()
    assert json.loads((folder / "metrics.json").read_text())["accuracy"] >= 0 and not (folder / "stopped.json").exists()
    assert not notebook.complaints()
    notebook.screenshot("03_resumed")
