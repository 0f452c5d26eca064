"""07 in JupyterLab and as Voilà's application: pictures chosen, dropped, photographed, and such as are none."""

import base64
import time

import pytest

from tests.browser.conftest import ARTEFACTS

pytestmark = pytest.mark.browser


def choose(page, *files) -> None:
    """Give files to the button."""
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Upload pictures").click()
    chooser.value.set_files(files)


def test_pictures_in_words_and_labels_out(open_notebook, trained, portrait, tmp_path):
    notebook = open_notebook("07_recognise_faces", run="browser/trained", out="runs/faces")
    page, out = notebook.page, notebook.checkout / "runs/faces"
    notebook.run()
    text = tmp_path / "a text.jpg"
    text.write_text("no picture")
    choose(page, portrait, text)
    page.get_by_text("1 face in 2 pictures.").wait_for()
    assert page.get_by_text("a text.jpg").is_visible()
    assert (out / "pictures/portrait.png").read_bytes() == portrait.read_bytes()
    page.get_by_label("Face 1 shows").select_option("anger")
    page.get_by_role("button", name="Save CSV and manifest").click()
    page.get_by_text("faces.csv").last.wait_for()
    assert "anger" in (out / "faces.csv").read_text()
    notebook.screenshot("07_corrected")

    # More than one message of the server holds: sent in pieces.
    large = tmp_path / "large.png"
    large.write_bytes(portrait.read_bytes() + bytes(12_000_000))
    choose(page, large)
    page.get_by_text("1 face in 1 picture.").wait_for()
    assert (out / "pictures/large.png").stat().st_size == large.stat().st_size

    drop = """(area, content) => {
        const transfer = new DataTransfer();
        const bytes = Uint8Array.from(atob(content), letter => letter.charCodeAt(0));
        for (const name of ['one.png', 'two.png']) transfer.items.add(new File([bytes], name, {type: 'image/png'}));
        area.dispatchEvent(new DragEvent('drop', {dataTransfer: transfer, bubbles: true, cancelable: true}));
    }"""
    area = page.get_by_role("button", name="Upload pictures").locator("..")
    area.evaluate(drop, base64.b64encode(portrait.read_bytes()).decode())
    page.get_by_text("2 faces in 2 pictures.").wait_for()

    page.get_by_role("button", name="Use the webcam").click()
    page.locator("video").wait_for()
    page.wait_for_function("() => document.querySelector('video').videoWidth > 0")
    page.get_by_role("button", name="Take the photograph").click()
    page.get_by_text("1 face in 1 picture.").wait_for()
    notebook.screenshot("07_webcam")
    page.get_by_role("button", name="Close the webcam").click()
    assert page.locator("video").is_hidden() and list(out.glob("pictures/webcam-*.png"))
    assert not notebook.complaints()


def test_the_application_shows_no_code_and_recognises(app, page, portrait):
    started = time.perf_counter()
    page.goto(app)
    page.get_by_role("button", name="Upload pictures").wait_for()
    page.locator("img[alt^='Face 1: ']").first.wait_for()
    print(f"the application's first faces after {time.perf_counter() - started:.1f} s")
    assert not page.get_by_text("import widgets").count()
    choose(page, portrait)
    page.get_by_text("1 face in 1 picture.").wait_for()
    page.screenshot(path=ARTEFACTS / "app.png", full_page=True)
