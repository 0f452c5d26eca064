"""The widget as a hand would use it, and the figures it shows."""

import numpy as np
import pandas as pd
import pytest

from fer_utils import datasets, plots, recognising
from fer_utils.errors import InputError
from fer_utils.expressions import EXPRESSIONS
from fer_utils.widgets import FaceRecogniser
from fer_utils.widgets.picture_input import PictureInput


@pytest.fixture
def app(run, recogniser, tmp_path):
    return FaceRecogniser(recogniser, tmp_path, ["explore/first", "explore/gone"], run.root)


def labels(app):
    """The dropdowns of all faces shown, in order."""
    found, waiting = [], list(app.results.children)
    while waiting:
        widget = waiting.pop(0)
        if str(getattr(widget, "description", "")).startswith("Face "):
            found.append(widget)
        waiting = [*getattr(widget, "children", ()), *waiting]
    return found


def test_upload_correct_save(app, drawn, tmp_path):
    assert app.save.disabled
    app.take([(path.name, path.read_bytes()) for path in drawn])
    assert "9 faces in 2 pictures" in app.status.value and len(labels(app)) == 9
    assert (tmp_path / "pictures" / "group.png").read_bytes() == drawn[1].read_bytes()
    third = labels(app)[2]
    other = next(name for name in EXPRESSIONS if name != third.value)
    third.value = other
    app.save.click()
    assert "1 label(s) set by hand" in app.status.value
    assert pd.read_csv(tmp_path / "faces.csv")["label"][2] == other
    assert datasets.read_manifest(tmp_path / "manifest.parquet")["label"][2] == EXPRESSIONS.index(other)


def test_an_uploaded_name_is_no_path(app, tmp_path):
    app.take([("../../up.png", b"x"), ("C:\\up.png", b"y")])
    assert "found a file that is none" in texts(app)
    kept = {path.name: path.read_bytes() for path in (tmp_path / "pictures").iterdir()}
    assert kept == {"up.png": b"x", "up again.png": b"y"}


def test_pieces_of_a_batch_that_broke_off_do_not_get_into_the_next():
    batches = []
    upload = PictureInput(batches.append)
    upload.receive({"file": 0, "name": "lost", "start": 0, "last": False}, [b"lost"])
    for file, start, piece in ((0, 0, b"1"), (0, 1, b"2"), (1, 0, b"")):
        upload.receive({"file": file, "name": f"{file}", "start": start, "last": file == 1}, [memoryview(piece)])
    assert batches == [[("0", b"12"), ("1", b"")]]


def test_the_whole_picture_on_request(app, tmp_path):
    from PIL import Image

    Image.new("RGB", (60, 40), "green").save(tmp_path / "green.png")
    app.path.value = str(tmp_path / "green.png")
    assert "no face found" in texts(app) and not labels(app) and app.save.disabled
    app.whole.value = True
    assert len(labels(app)) == 1 and not app.save.disabled


def test_a_network_that_is_not_there_is_a_sentence(app, drawn):
    app.show([drawn[0]])
    app.run.value = "explore/gone"
    assert "explore/gone" in app.status.value and len(labels(app)) == 1


def test_pictures_have_a_text(app, drawn):
    app.show([drawn[0]])
    assert "portrait.png with 1 face(s)" in texts(app) and 'alt="Face 1: neutral ' in texts(app)


def texts(app):
    found, waiting = [], list(app.results.children)
    while waiting:
        widget = waiting.pop(0)
        found.append(str(getattr(widget, "value", "")))
        waiting = [*getattr(widget, "children", ()), *waiting]
    return " ".join(found)


def test_the_figure_names_how_many_faces_it_leaves_out(recogniser, drawn):
    pictures = [recognising.recognise_picture(path, recogniser, explain=False) for path in drawn]
    figure = plots.figure_recognised(pictures, most=3)
    assert len(figure.axes) == 12 and "the first 3 of 9 faces" in figure.get_suptitle()
    bars = figure.axes[3].patches
    expected = 100 * pictures[0].faces[[f"p_{name}" for name in EXPRESSIONS]].to_numpy(float)[0]
    np.testing.assert_allclose([bar.get_width() for bar in bars], expected)
    with pytest.raises(InputError, match="expected at least one face to draw"):
        plots.figure_recognised([])
    with pytest.raises(InputError, match="expected 8 probabilities"):
        plots.plot_probabilities(plots.new_figure().subplots(), [1.0])
