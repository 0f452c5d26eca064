"""One notebook in JupyterLab, as a page that a test drives; and what is kept of its looks."""

import io
import os
import re
import time
from pathlib import Path
from urllib.parse import urlsplit

from PIL import Image, ImageChops

from tests.browser.servers import ROOT

UNWANTED = re.compile(r"traceback|warning|deprecat|error:", re.IGNORECASE)
ARTEFACTS = ROOT / ".cache" / "browser"  # screenshots; not committed
# Of the README: `SCREENS=figures/screens make test-browser` takes them anew.
SCREENS = ROOT / os.environ.get("SCREENS", ".cache/browser")
MOST_BYTES = 100_000
WIDEST = 1066  # pixels
OUTPUT = ".jp-OutputArea-output"


def save_screen(locator, name: str) -> None:
    """An element's picture as `<name>.png`, in as many colours as 100 KB allow."""
    SCREENS.mkdir(parents=True, exist_ok=True)
    locator.page.wait_for_timeout(500)
    whole = Image.open(io.BytesIO(locator.screenshot())).convert("RGB")
    written = ImageChops.difference(whole, Image.new("RGB", whole.size, "white"))
    right, bottom = (end + 8 for end in written.point(lambda v: 255 * (v > 40)).getbbox()[2:])
    whole = whole.crop((0, 0, min(right, whole.width, WIDEST), min(bottom, whole.height, 900)))
    for colors in (256, 128, 64, 32, 16):
        whole.quantize(colors).save(SCREENS / f"{name}.png", optimize=True)
        if (SCREENS / f"{name}.png").stat().st_size <= MOST_BYTES:
            break


class Notebook:
    """Opens `name` and waits for its kernel.

    Args:
        page: of Playwright.
        address: of JupyterLab, with its token.
        name: of the notebook, without its ending.
    """

    def __init__(self, page, address: str, name: str):
        self.page, self.name = page, name
        # Times are promised for two idle cores; busy ones are given as much more as they are busy.
        self.patience = max(1.0, 2 * os.getloadavg()[0] / os.cpu_count())
        server = urlsplit(address)
        page.goto(f"http://{server.netloc}/lab/tree/notebooks/{name}.ipynb?reset&{server.query}")
        ready = "() => window.jupyterapp?.shell.currentWidget?.context?.isReady"
        page.wait_for_function(ready)
        idle = "sessionContext.session?.kernel?.status === 'idle'"
        page.wait_for_function(f"() => jupyterapp.shell.currentWidget.{idle}")

    def script(self, expression: str):
        """Evaluate JavaScript in which `notebook` is this one."""
        begin = "const notebook = jupyterapp.shell.currentWidget;"
        return self.page.evaluate(f"async () => {{ {begin} return {expression}; }}")

    def start(self) -> None:
        """Run all cells, without waiting for them."""
        run = "jupyterapp.commands.execute('notebook:run-all-cells')"
        self.script(f"void (window.done = false, {run}.then(() => window.done = true))")

    def wait(self, seconds: float = 1200) -> None:
        """Wait until all cells have run."""
        self.page.wait_for_function("() => window.done", timeout=1000 * seconds)

    def run(self) -> float:
        """Run all cells; returns the seconds until the first picture was there."""
        started = time.perf_counter()
        self.start()
        picture = f"{OUTPUT} img, {OUTPUT} svg, {OUTPUT} canvas"  # none comes where a cell fails
        there = "picture => window.done || document.querySelector(picture)"
        self.page.wait_for_function(there, arg=picture)
        first = time.perf_counter() - started
        self.wait()
        return first

    def outputs(self) -> list[dict]:
        """What the cells put out, as in the notebook's file."""
        cells = self.script("notebook.content.model.toJSON().cells")
        return [output for cell in cells for output in cell.get("outputs", [])]

    def complaints(self) -> list[str]:
        """Errors, anything on stderr, text that speaks of warnings, and broken widgets."""
        found = []
        for output in self.outputs():
            text = "".join(output.get("text", output.get("data", {}).get("text/plain", "")))
            bad = output["output_type"] == "error" or output.get("name") == "stderr"
            if bad or UNWANTED.search(text):
                found.append(text or f"{output['ename']}: {output['evalue']}")
        broken = self.page.locator(f"{OUTPUT} .jupyter-widgets-error-widget")
        return found + broken.all_inner_texts()

    def clipped(self) -> list[str]:
        """Labels and buttons whose text is wider than they are."""
        return self.page.locator(
            ".widget-label, .widget-button, .widget-dropdown label"
        ).evaluate_all(
            "nodes => nodes.filter(n => n.scrollWidth > n.clientWidth + 1).map(n => n.textContent)"
        )

    def save(self) -> None:
        """What Ctrl-S does."""
        self.script("notebook.context.save()")

    def compute(self, expression: str) -> str:
        """The repr of a Python expression in the notebook's kernel."""
        return self.page.evaluate(
            """async code => {
                const kernel = jupyterapp.shell.currentWidget.sessionContext.session.kernel;
                const asked = {code: 'None', user_expressions: {it: code}, silent: true};
                const reply = await kernel.requestExecute(asked).done;
                return reply.content.user_expressions.it.data['text/plain'];
            }""",
            expression,
        )

    def redraws(self, output, act) -> float:
        """Seconds from `act()` until the picture in `output` is another."""
        picture = output.locator("img").first
        picture.scroll_into_view_if_needed()
        picture.evaluate("node => { node.seen = true; }")
        started = time.perf_counter()
        act()
        another = "node => { const now = node.querySelector('img'); return now && !now.seen; }"
        self.page.wait_for_function(f"({another})", arg=output.element_handle())
        return time.perf_counter() - started

    def screenshot(self, name: str) -> Path:
        """The whole notebook as `.cache/browser/<name>.png`."""
        ARTEFACTS.mkdir(parents=True, exist_ok=True)
        before, path = self.page.viewport_size, ARTEFACTS / f"{name}.png"
        boxes = [cell.bounding_box() for cell in self.page.locator(".jp-Cell").all()]
        height = int(sum(box["height"] for box in boxes if box))
        self.page.set_viewport_size({"width": 1280, "height": min(height + 600, 16_000)})
        self.page.locator(".jp-WindowedPanel-outer").first.evaluate("node => node.scrollTop = 0")
        self.page.wait_for_timeout(500)
        self.page.screenshot(path=path)
        self.page.set_viewport_size(before)
        return path

    def close(self) -> None:
        """Shut the kernel down, which would keep its memory until the server ends."""
        self.script("notebook.sessionContext.shutdown()")
