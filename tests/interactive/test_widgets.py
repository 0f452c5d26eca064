"""Widgets do what their buttons say."""

import numpy as np
import pandas as pd
import pytest

from fer_utils.core import parameters, project_root
from fer_utils.interactive import pictures, widgets
from fer_utils.interactive.classifier import load_classifier


@pytest.fixture
def app(tmp_path):
    return widgets.FaceRecogniser(load_classifier(threads=1), tmp_path, project_root(__file__))


def test_faces_of_an_upload_are_shown_labelled_and_saved_to_a_new_file(app, tmp_path):
    portrait, _ = pictures.draw_pictures(tmp_path)
    app.take([("a.png", portrait.read_bytes())])
    assert "1 face(s)" in app.status.value
    label = app.results.children[0].children[2].children[0]
    label.value = "sad"
    first, second = app.write(), app.write()
    assert first != second
    assert pd.read_csv(first)["label"].tolist() == ["sad"]


def test_nothing_outside_the_checkout_is_opened(app):
    app.show("/etc/hostname")
    assert "outside" in app.status.value and not app.pictures


def test_the_form_resolves_what_is_chosen_and_says_what_cannot_be():
    form = widgets.RunForm(parameters({}))
    form.controls["loss"].value = "softmax"
    assert (form.params.loss, form.params.cluster_weight) == ("softmax", 0.0)
    form.controls["run"].value = "a/b"
    assert "a/b" in form.state.value and form.params.run == "first"


def test_a_cell_is_chosen_by_a_click():
    grid = widgets.ConfusionGrid(np.eye(8, dtype=int))
    grid.cells["sad", "fear"].click()
    assert grid.value == ("sad", "fear")
