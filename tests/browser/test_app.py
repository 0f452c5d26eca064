"""The application as `make app` serves it: token, pictures in, cards, labels that are kept."""

import time

import pandas as pd
import pytest

from tests.browser.notebook import ARTEFACTS, save_screen

pytestmark = pytest.mark.browser


def test_a_stranger_is_asked_for_the_token(page, app):
    answer = page.goto(app.split("?")[0])
    assert "login" in page.url or answer.status == 403
    assert not page.get_by_text("Upload pictures").count()


def test_a_picture_is_recognised_labelled_and_every_saving_is_a_new_file(
    page, app, portrait, checkout
):
    began = time.perf_counter()
    page.goto(app)
    page.get_by_text("9 face(s) in 2 picture(s).").wait_for()
    print(f"app: first faces after {time.perf_counter() - began:.1f} s")
    upload = page.get_by_role("button", name="Upload pictures")
    assert upload.bounding_box()["y"] < 400  # upload first, without scrolling
    group = page.get_by_label("or path")
    group.fill("runs/recognised/pictures/group.png")
    group.press("Enter")
    page.get_by_text("8 face(s) in 1 picture(s).").wait_for()
    page.wait_for_function("document.querySelectorAll('select').length == 8")  # cards follow
    save_screen(page.locator(".widget-vbox:has(input[type=file])").first, "app")
    with page.expect_file_chooser() as chooser:
        upload.click()
    chooser.value.set_files(portrait)
    page.get_by_text("1 face(s) in 1 picture(s).").wait_for()
    page.wait_for_function("document.querySelectorAll('select').length == 1")
    page.get_by_label("Face 1 shows").select_option("sad")
    for number in (1, 2):
        page.get_by_role("button", name="Save the table").click()
        page.get_by_text(f"faces{'-2' * (number - 1)}.csv with 1 label(s)").wait_for()
    page.get_by_label("where it looks").check()
    page.wait_for_timeout(3000)
    page.screenshot(path=ARTEFACTS / "app.png", full_page=True)
    tables = sorted((checkout / "runs/recognised").glob("faces*.csv"))
    assert len(tables) == 2
    assert [pd.read_csv(table)["label"].tolist() for table in tables] == [["sad"], ["sad"]]


def test_the_webcam_is_seen_and_its_picture_recognised(page, app):
    page.goto(app)
    page.get_by_role("button", name="Use the webcam").click()
    page.get_by_role("button", name="Take the photograph").click()
    page.get_by_text("1 face(s) in 1 picture(s).").wait_for()
    page.get_by_role("button", name="Close the webcam").click()


def test_a_video_is_recognised_frame_by_frame(page, app, film):
    page.goto(app)
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Upload pictures").click()
    assert "video/*" in chooser.value.element.get_attribute("accept")
    chooser.value.set_files(film)
    page.get_by_text("4 face(s) in 4 picture(s).").wait_for()
