"""Widgets do what their buttons say."""

import asyncio
import time
from types import SimpleNamespace

import ipywidgets
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from fer_utils.core import InputError, parameters, project_root
from fer_utils.interactive import pictures, widgets
from fer_utils.interactive.classifier import load_classifier


@pytest.fixture
def headless(monkeypatch):
    monkeypatch.setattr(widgets.core, "in_headless_kernel", lambda: True)


@pytest.fixture
def displayed(monkeypatch):
    seen = []
    monkeypatch.setattr(widgets, "display", lambda *shown: seen.extend(shown))
    return seen


def draw(number=1):
    if number > 8:
        raise InputError(f"expected at most 8, found {number} <b>")
    return Figure(figsize=(1, number / 2))


def test_a_control_draws_again_and_what_is_refused_is_said_as_text():
    number = ipywidgets.IntSlider(value=1)
    picture = widgets.explore(draw, number=number).children[1]
    before = picture.value
    number.value = 2
    assert picture.value.startswith("<img") and picture.value != before
    number.value = 9
    assert "found 9 &lt;b&gt;" in picture.value


def test_headless_the_still_stands_in_the_widgets_place(headless, displayed):
    assert isinstance(widgets.explore(draw, number=ipywidgets.IntSlider(value=2)), Figure)
    widgets.show(ipywidgets.Button())
    assert not displayed


def test_where_somebody_watches_widgets_are_displayed(displayed):
    button = ipywidgets.Button()
    widgets.show(button)
    assert displayed == [button]


class Fit:
    """Stands for `training.fit`: a row of history an epoch, stopped when it is asked to."""

    def __init__(self, folder, error=None):
        self.folder, self.error, self.asked = folder, error, []

    def __call__(self, params, on_epoch=lambda history: None, stop=lambda: ""):
        if self.error:
            raise self.error
        history = pd.DataFrame({"epoch": [1], "seconds": [2.0]})
        for epoch in range(1, params.epochs + 1):
            history = pd.DataFrame({"epoch": range(1, epoch + 1), "seconds": 2.0})
            history.to_csv(self.folder / "history.csv")
            on_epoch(history)
            time.sleep(0.05)
            self.asked.append(stop())
            if self.asked[-1]:
                break
        stopped = len(history) < params.epochs
        return SimpleNamespace(
            study=params.study,
            name=params.run,
            params=params,
            stopped=stopped,
            finished=not stopped,
            status=f"stopped after epoch {len(history)}" if stopped else "finished",
            measured={"stopped_after": len(history)},
            require=lambda name: self.folder / name,
        )


def live_training(fit):
    heights = []

    def curves(history, params):
        heights.append(len(history))
        return draw(len(history))

    return widgets.LiveTraining(fit, curves, lambda run: draw()), heights


def test_training_is_shown_epoch_by_epoch_and_its_result_in_the_end(tmp_path):
    live, heights = live_training(Fit(tmp_path))
    run = asyncio.run(live.run(parameters({"epochs": 3})))
    assert run is live.trained and heights == [1, 2, 3, 3]
    assert (live.bar.value, live.bar.max) == (3, 3) and "finished" in live.state.value
    assert "<img" in live.outcome.value and live.stop.disabled and not live.busy


def run_and_meanwhile(live, act):
    """Train for eight epochs; after the first `act` on what trains."""

    async def both():
        training = asyncio.ensure_future(live.run(parameters({"epochs": 8})))
        while not live.bar.value:
            await asyncio.sleep(0.01)
        act(training)
        return await training

    return asyncio.run(both())


def test_stop_ends_it_after_the_epoch_and_another_start_goes_on(tmp_path):
    fit = Fit(tmp_path)
    live, _ = live_training(fit)

    def press_stop(_):
        assert live.busy and "of 8 done; about" in live.state.value
        live.stop.click()
        assert live.stop.disabled and "Stopping" in live.stop.description

    run = run_and_meanwhile(live, press_stop)
    assert run.stopped and live.bar.value < 8 and "start it again" in live.state.value
    assert live.stop.description == "Stop after this epoch"
    asyncio.run(live.run(parameters({"epochs": 2})))
    assert fit.asked[-2:] == ["", ""] and live.bar.value == 2


def test_an_interrupt_asks_for_the_end_now(tmp_path):
    fit = Fit(tmp_path)
    live, _ = live_training(fit)
    run = run_and_meanwhile(live, lambda training: training.cancel())
    assert run.stopped and fit.asked[-1] == "now"


def test_an_error_is_said_beside_the_bar_and_raised(tmp_path):
    live, _ = live_training(Fit(tmp_path, InputError("expected data, found none")))
    with pytest.raises(InputError, match="expected data"):
        asyncio.run(live.run(parameters({})))
    assert "expected data, found none" in live.state.value and not live.busy


def test_headless_training_displays_its_stills(tmp_path, headless, displayed):
    live, _ = live_training(Fit(tmp_path))
    run = asyncio.run(live.run(parameters({"epochs": 2})))
    assert run is live.trained and [type(each) for each in displayed] == [Figure, Figure]


def test_the_form_resolves_what_is_chosen_and_says_what_cannot_be(tmp_path):
    live, _ = live_training(Fit(tmp_path))
    form = widgets.RunForm({"epochs": 2, "alpha": 0.5}, live)
    form.controls["loss"].value = "softmax"
    assert (form.params.loss, form.params.cluster_weight) == ("softmax", 0.0)
    assert (form.params.run, form.params.alpha) == ("synthetic-softmax", 0.5)
    form.controls["run"].value = "a/b"
    assert "a/b" in form.state.value and form.params.run == "synthetic-softmax"


@pytest.mark.parametrize("error", [None, InputError("no"), KeyboardInterrupt("stopped")])
def test_the_forms_button_trains_what_is_chosen(tmp_path, error):
    live, _ = live_training(Fit(tmp_path, error))
    form = widgets.RunForm({"epochs": 2}, live)
    form.controls["loss"].value = "softmax"

    async def press_start():
        form.start.click()
        await asyncio.sleep(0)
        assert form.start.disabled
        while live.busy:
            await asyncio.sleep(0.02)
        await asyncio.sleep(0.02)

    asyncio.run(press_start())
    assert not form.start.disabled
    assert live.trained is None if error else live.trained.params.loss == "softmax"


def test_a_cell_row_or_column_is_chosen_by_a_click():
    grid = widgets.ConfusionGrid(np.diag([2000, 0, 1, 1, 1, 1, 1, 1]))
    changes = []
    grid.observe(lambda change: changes.append(change["new"]), "value")
    for cell in (("sad", "fear"), ("sad", "any"), ("any", "fear")):
        grid.cells[cell].click()
    assert changes == [("sad", "fear"), ("sad", "any"), ("any", "fear")]
    assert grid.cells["neutral", "neutral"].description == "2,000"
    assert grid.cells["any", "fear"].description == "fear"


def test_files_come_in_pieces_and_a_broken_off_upload_is_forgotten():
    came = []
    area = widgets.PictureInput(came.append)
    pieces = [
        ("lost.png", 0, 0, False, b"x"),
        ("a.png", 0, 0, False, b"12"),
        ("a.png", 0, 2, False, b"34"),
        ("b.png", 1, 0, True, b"5"),
    ]
    for name, file, start, last, content in pieces:
        area.receive({"name": name, "file": file, "start": start, "last": last}, [content])
    assert came == [[("a.png", b"1234"), ("b.png", b"5")]]


@pytest.fixture
def app(tmp_path):
    return widgets.FaceRecogniser(load_classifier(threads=1), tmp_path, project_root(__file__))


def test_faces_of_an_upload_are_shown_labelled_and_saved_to_a_new_file(app, tmp_path):
    portrait, group = pictures.draw_pictures(tmp_path / "drawn")
    upload = [("C:\\b\\a.png", portrait.read_bytes()), ("a.png", b"no picture")]
    app.take(upload)
    assert "1 face(s) in 2 picture(s)" in app.status.value
    shown, refused = app.results.children
    assert "a-1.png" in refused.value
    before = shown.children[1].children[1].value
    app.explain.value = True
    labelled = app.results.children[0]
    assert labelled.children[1].children[1].value != before
    labelled.children[2].children[0].value = "sad"
    first, second = app.write(), app.write()
    assert first != second and "1 label(s) set by hand" in app.status.value
    assert pd.read_csv(first)["label"].fillna("").tolist() == ["sad", ""]


def test_many_pictures_are_shown_in_part_and_said_so(app, tmp_path, monkeypatch):
    portrait, _ = pictures.draw_pictures(tmp_path)
    monkeypatch.setattr(widgets, "SHOWN", 1)
    app.path.value = str(tmp_path)
    assert "the first 1 pictures" in app.status.value and app.pictures[0].path.parent == tmp_path


def test_nothing_outside_the_checkout_is_opened(app):
    app.path.value = "/etc/hostname"
    assert "outside" in app.status.value and not app.pictures
