"""JupyterLab as `make lab` opens it, and what it saves."""

import subprocess

import pytest

pytestmark = pytest.mark.browser


def test_the_contents_open_rendered_and_a_stranger_is_asked_for_the_token(page, lab):
    page.goto(lab)
    row = page.locator(".jp-RenderedMarkdown table tr", has_text="03_fine_tune")
    row.get_by_role("link").first.click()
    page.locator(".jp-Notebook").wait_for()
    stranger = page.context.browser.new_context().new_page()
    stranger.goto(lab.split("?")[0])
    assert "/login" in stranger.url and stranger.locator("input[name=password]").count()
    stranger.context.close()


def test_saving_keeps_what_is_shown_and_leaves_git_clean(open_notebook, checkout):
    notebook = open_notebook("01_explore_data")
    subprocess.run(["git", "-C", str(checkout), "add", "."], check=True)
    notebook.run()
    notebook.save()
    assert [output for output in notebook.outputs() if "image/png" in output.get("data", {})]
    changed = ["git", "-C", str(checkout), "diff", "--stat"]
    assert not subprocess.run(changed, capture_output=True, text=True, check=True).stdout
