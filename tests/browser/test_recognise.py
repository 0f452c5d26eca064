"""07 as the application: pictures chosen, dropped, photographed, corrected, saved, refused."""

import base64
import time

import pytest

pytestmark = pytest.mark.browser
DROP = """(area, content) => {
    const bytes = Uint8Array.from(atob(content), letter => letter.charCodeAt(0));
    const dataTransfer = new DataTransfer();
    for (const name of ['one.png', 'two.png'])
        dataTransfer.items.add(new File([bytes], name, {type: 'image/png'}));
    area.dispatchEvent(new DragEvent('drop', {dataTransfer, bubbles: true, cancelable: true}));
}"""


def choose(page, *files) -> None:
    """Give files to the button."""
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Upload pictures").click()
    chooser.value.set_files(files)


def test_the_application_recognises_and_saves_what_was_corrected(
    app, page, portrait, checkout, tmp_path
):
    started = time.perf_counter()
    page.goto(app)
    page.locator("img[alt^='Face 1: ']").first.wait_for()
    print(f"the application's first faces after {time.perf_counter() - started:.1f} s")
    assert not page.get_by_text("import widgets").count()
    (tmp_path / "a text.jpg").write_text("no picture")
    large = tmp_path / "large.png"  # more than one message of the server holds: sent in pieces
    large.write_bytes(portrait.read_bytes() + bytes(12_000_000))
    choose(page, large, tmp_path / "a text.jpg")
    page.get_by_text("1 face in 2 pictures.").wait_for()
    assert page.get_by_text("a text.jpg").first.is_visible()
    page.get_by_label("Face 1 shows").select_option("anger")
    page.get_by_role("button", name="Save").click()
    page.get_by_text(".csv").last.wait_for()
    assert [p for p in checkout.glob("runs/**/*.csv") if "anger" in p.read_text()]

    area = page.get_by_role("button", name="Upload pictures").locator("..")
    area.evaluate(DROP, base64.b64encode(portrait.read_bytes()).decode())
    page.get_by_text("2 faces in 2 pictures.").wait_for()

    page.get_by_role("button", name="Use the webcam").click()
    page.wait_for_function("() => document.querySelector('video')?.videoWidth > 0")
    page.get_by_role("button", name="Take the photograph").click()
    page.get_by_text("1 face in 1 picture.").wait_for()
    page.get_by_role("button", name="Close the webcam").click()
    assert page.locator("video").is_hidden()
