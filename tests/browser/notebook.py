"""One notebook in JupyterLab, as a page that a test drives."""

import os
import re
import time
from pathlib import Path

from tests.browser.conftest import ARTEFACTS

UNWANTED = re.compile(r"traceback|warning|deprecat|error:", re.IGNORECASE)


class Notebook:
    """Opens `name` and waits for its kernel.

    Args:
        page: of Playwright.
        server: URL and token.
        name: of the notebook, without its ending.
        checkout: where JupyterLab was started.
    """

    def __init__(self, page, server: dict, name: str, checkout: Path):
        self.page, self.name, self.checkout = page, name, checkout
        # Times are promised for two idle cores; busy ones are given as much more as they are busy.
        self.patience = max(1.0, 2 * os.getloadavg()[0] / os.cpu_count())
        page.goto(f"{server['url']}lab/tree/{name}.ipynb?reset&token={server['token']}")
        page.wait_for_function("() => window.jupyterapp?.shell.currentWidget?.context?.isReady")
        page.wait_for_function("() => jupyterapp.shell.currentWidget.sessionContext.session?.kernel?.status === 'idle'")

    def _evaluate(self, expression: str):
        return self.page.evaluate(f"() => {{ const notebook = jupyterapp.shell.currentWidget; return {expression}; }}")

    def start(self) -> None:
        """Run all cells, without waiting for them."""
        self._evaluate("void (window.finished = false, jupyterapp.commands.execute('notebook:run-all-cells')"
                       ".then(() => window.finished = true))")  # fmt: skip

    def wait(self, seconds: float = 300) -> None:
        """Wait until all cells have run."""
        self.page.wait_for_function("() => window.finished", timeout=1000 * seconds)

    def run(self) -> float:
        """Run all cells; returns the seconds until the first picture was there."""
        started = time.perf_counter()
        self.start()
        self.page.locator(".jp-OutputArea-output img, .jp-OutputArea-output svg").first.wait_for()
        first = time.perf_counter() - started
        self.wait()
        return first

    def outputs(self) -> list[dict]:
        """What the cells put out, as in the notebook's file."""
        cells = self._evaluate("notebook.content.model.toJSON().cells")
        return [output for cell in cells for output in cell.get("outputs", [])]

    def complaints(self) -> list[str]:
        """Errors, anything on stderr, and text that speaks of warnings."""
        found = []
        for output in self.outputs():
            text = "".join(output.get("text", "")) or "".join(output.get("data", {}).get("text/plain", ""))
            if output["output_type"] == "error" or output.get("name") == "stderr" or UNWANTED.search(text):
                found.append(text or f"{output['ename']}: {output['evalue']}")
        return found + self.page.locator(".jp-OutputArea-output .jupyter-widgets-error-widget").all_inner_texts()

    def interrupt(self) -> None:
        """What the toolbar's ■ does."""
        self._evaluate("notebook.sessionContext.session.kernel.interrupt()")

    def compute(self, expression: str) -> str:
        """The repr of a Python expression in the notebook's kernel."""
        return self.page.evaluate(
            """async code => {
                const kernel = jupyterapp.shell.currentWidget.sessionContext.session.kernel;
                const request = kernel.requestExecute({code: 'None', user_expressions: {it: code}, silent: true});
                const reply = await request.done;
                return reply.content.user_expressions.it.data['text/plain'];
            }""",
            expression,
        )

    def redraws(self, output, act) -> float:
        """Seconds from `act()` until the picture in `output` is another."""
        picture = output.locator("img").first
        picture.scroll_into_view_if_needed()
        before, started = picture.get_attribute("src"), time.perf_counter()
        act()
        while picture.get_attribute("src") == before:
            assert time.perf_counter() - started < 60, "nothing was drawn"
            self.page.wait_for_timeout(10)
        return time.perf_counter() - started

    def screenshot(self, name: str) -> None:
        """The whole notebook as `.cache/browser/<name>.png`."""
        ARTEFACTS.mkdir(parents=True, exist_ok=True)
        before, cells = self.page.viewport_size, self.page.locator(".jp-Notebook .jp-WindowedPanel-outer")
        height = sum(
            box["height"] for box in map(lambda cell: cell.bounding_box(), self.page.locator(".jp-Cell").all())
        )
        self.page.set_viewport_size({"width": 1280, "height": min(int(height) + 600, 16_000)})
        cells.evaluate("node => { node.scrollTop = 0; }")
        self.page.wait_for_timeout(500)
        self.page.screenshot(path=ARTEFACTS / f"{name}.png")
        self.page.set_viewport_size(before)

    def close(self) -> None:
        """Shut the kernel down, which would keep its memory until the server ends."""
        self._evaluate("notebook.sessionContext.shutdown()")
