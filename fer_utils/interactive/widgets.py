"""Widgets: each wraps a plain function and stands in its still's place."""

import asyncio
import base64
import contextlib
import html
import io
import itertools
import signal
from collections.abc import Callable
from pathlib import Path

import anywidget
import ipywidgets
import numpy as np
import pandas as pd
import traitlets
from IPython.display import display
from matplotlib import colormaps
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from fer_utils import core, report
from fer_utils.core import EXPRESSIONS, InputError, Run, RunParameters
from fer_utils.interactive.evaluate import ANY
from fer_utils.interactive.networks import explain
from fer_utils.interactive.pictures import FacesTable, Picture, list_pictures, recognise_pictures

SHOWN = 24  # pictures that are drawn, of many; the table holds all
DATASETS = ("synthetic", "affectnet", "fer2013", "ferplus", "rafdb", "folder")
_WIDE = {"description_width": "initial"}


def show(*shown: ipywidgets.Widget) -> None:
    """Display widgets where there is somebody to use them."""
    if not core.in_headless_kernel():
        display(*shown)


def explore(draw: Callable[..., Figure], /, **controls: ipywidgets.Widget):
    """Controls above the figure that `draw` makes of their values; headless, the figure alone.

    What `draw` refuses is said in the figure's place.
    """
    picture = Shown()

    def drawn() -> Figure:
        return draw(**{name: control.value for name, control in controls.items()})

    def update(_=None) -> None:
        try:
            picture.show(drawn())
        except InputError as error:
            picture.say(error)

    if core.in_headless_kernel():
        return drawn()
    for control in controls.values():
        control.observe(update, "value")
    update()
    return ipywidgets.VBox([_row(controls.values()), picture])


def _row(widgets) -> ipywidgets.HBox:
    return ipywidgets.HBox(list(widgets), layout={"flex_flow": "row wrap", "align_items": "center"})


class Shown(ipywidgets.HTML):
    """A place for a figure, or for a sentence, that changes."""

    def show(self, figure: Figure) -> None:
        """Draw a figure; with few dots an inch, since a slider must not wait."""
        png = io.BytesIO()
        figure.savefig(png, format="png", dpi=100, pil_kwargs={"compress_level": 1})
        source = f"data:image/png;base64,{base64.b64encode(png.getvalue()).decode()}"
        self.value = f'<img alt="figure" style="max-width: 100%" src="{source}">'

    def say(self, text) -> None:
        """A sentence, or an error's message."""
        self.value = f"<p role='status'>{html.escape(str(text))}</p>"


class LiveTraining(ipywidgets.VBox):
    """A run as it trains: a Stop button, how far it is, its curves, and in the end its result.

    Args:
        fit: `training.fit`.
        curves: history (a row an epoch), parameters → Figure, drawn after each epoch.
        result: evaluated run → Figure.
    """

    busy = traitlets.Bool(False)

    def __init__(self, fit: Callable[..., Run], curves: Callable, result: Callable | None = None):
        self._fit, self._curves, self._result = fit, curves, result
        self.trained: Run | None = None  # or stopped: the last
        self.stop = ipywidgets.Button(icon="stop", layout={"width": "auto"})
        self.stop.on_click(self._ask)
        self.bar = ipywidgets.IntProgress(layout={"width": "12em"})
        self.state, self.picture, self.outcome = Shown(), Shown(), Shown()
        self._set_busy(False)
        head = _row([self.stop, self.bar, self.state])
        super().__init__([head, self.picture, self.outcome])

    async def run(self, params: RunParameters) -> Run:
        """Train, shown as it goes; headless, curves and result are displayed in the end.

        The button ends it after an epoch, an interrupt of the kernel after a batch. A kernel that
        computes hears no button, one that awaits does: so it is a thread that computes.
        """
        if core.in_headless_kernel():
            # An interrupt would only cancel what is awaited.
            signal.signal(signal.SIGINT, signal.default_int_handler)
            self.trained = self._fit(params)
            display(*self._figures(self.trained))
            return self.trained
        self._set_busy(True)
        self.bar.value, self.bar.max = 0, params.epochs
        self.state.say("epoch 1 is on its way")
        training = asyncio.ensure_future(asyncio.to_thread(self._train, params))
        while not training.done():
            try:
                # ipykernel asks to cancel without waking a loop that sleeps: sleep for short.
                await asyncio.wait([training], timeout=0.3)
            except asyncio.CancelledError:  # the kernel was interrupted
                self._asked = "now"
        self._set_busy(False)
        run, error = training.result()
        if error:
            self.state.say(error)
            raise error
        self.trained = run
        for place, figure in zip((self.picture, self.outcome), self._figures(run), strict=False):
            place.show(figure)
        self.bar.value = self.bar.max if run.finished else run.measured["stopped_after"]
        more = "; start it again to go on" if run.stopped else ""
        self.state.say(f"{run.study}/{run.name}: {run.status}{more}")
        return run

    def _train(self, params: RunParameters) -> tuple[Run | None, BaseException | None]:
        """The run or its error: a `KeyboardInterrupt` through a task ends the kernel's loop."""

        def after_epoch(history: pd.DataFrame) -> None:
            self.picture.show(self._curves(history, params))
            done, of = len(history), params.epochs
            seconds = (of - done) * history["seconds"].iloc[-1]
            self.state.say(f"epoch {done} of {of} done; about {seconds:.0f} s to go")
            self.bar.value = done

        try:
            return self._fit(params, on_epoch=after_epoch, stop=lambda: self._asked), None
        except BaseException as error:
            return None, error

    def _figures(self, run: Run) -> list[Figure]:
        figures = [self._curves(pd.read_csv(run.require("history.csv")), run.params)]
        return figures if self._result is None else [*figures, self._result(run)]

    def _ask(self, _) -> None:
        self._asked, self.stop.disabled = "after_epoch", True
        self.stop.description = "Stopping after this epoch"

    def _set_busy(self, busy: bool) -> None:
        self._asked, self.busy, self.stop.disabled = "", busy, not busy
        self.stop.description = "Stop after this epoch"


class RunForm(ipywidgets.VBox):
    """A run's first choices without editing code, and a button that trains it in `live`.

    The `values` of the notebook's parameters cell hold for what the form does not show. `params`
    is what is chosen: what cannot be is said, and the last choice kept.
    """

    def __init__(self, values: dict, live: LiveTraining):
        self.params, self._values, self._live = core.parameters(values), values, live
        losses = core.paper.LOSSES | core.paper.BASELINES
        self.controls = {
            "dataset": ipywidgets.Dropdown(options=DATASETS),
            "data": ipywidgets.Text(placeholder="its folder; drawn faces: none"),
            "loss": ipywidgets.Dropdown(options=[(words, name) for name, words in losses.items()]),
            "epochs": ipywidgets.BoundedIntText(min=1, max=1000),
            "run": ipywidgets.Text(),
        }
        for name, control in self.controls.items():
            control.value, control.description = getattr(self.params, name), name
            control.style = _WIDE
            control.observe(self._choose, "value")
        self.start = ipywidgets.Button(description="Start", icon="play", button_style="primary")
        self.start.on_click(lambda _: asyncio.ensure_future(self._train()))
        traitlets.dlink((live, "busy"), (self.start, "disabled"))
        self.state = Shown()
        super().__init__([_row([*self.controls.values(), self.start]), self.state])

    def _choose(self, change) -> None:
        chosen = {name: control.value for name, control in self.controls.items()}
        if change["owner"] in (self.controls["dataset"], self.controls["loss"]):
            chosen["run"] = self.controls["run"].value = "{dataset}-{loss}".format(**chosen)
        try:
            self.params = core.parameters(self._values | chosen)
            self.state.say("")
        except InputError as error:
            self.state.say(error)

    async def _train(self) -> None:
        with contextlib.suppress(BaseException):  # it is said beside the bar
            await self._live.run(self.params)


class ConfusionGrid(ipywidgets.VBox):
    """A button for each cell of a confusion matrix (8, 8), rows true, and each row and column.

    `value` is the cell that is chosen: true and predicted expression, "any" for all of them.
    """

    value = traitlets.Tuple((ANY, ANY))

    def __init__(self, confusion):
        names, confusion = (ANY, *EXPRESSIONS), np.asarray(confusion)
        shares = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
        grid = ipywidgets.GridspecLayout(9, 9, width="680px", grid_gap="2px")
        self.cells = {}
        for row, column in itertools.product(range(9), repeat=2):
            cell = names[row], names[column]
            button = ipywidgets.Button(layout={"width": "auto", "padding": "0"})
            button.description, color = cell[row == 0], "transparent"
            if row and column:
                share = shares[row - 1, column - 1]
                button.description = f"{confusion[row - 1, column - 1]:,}"
                color = to_hex(colormaps["Blues"](share))
                button.style.text_color = "white" if share > 0.55 else "black"
            button.style.button_color = color
            button.tooltip = "true: {}, predicted: {}".format(*cell)
            button.on_click(lambda _, cell=cell: self.set_trait("value", cell))
            grid[row, column] = self.cells[cell] = button
        super().__init__([grid])


class PictureInput(anywidget.AnyWidget):
    """An area to drop pictures or a folder on, a button to choose files, and one for the webcam.

    `use` is called with what came in, a list of (name, content). ipywidgets' own `FileUpload` takes
    no drops, knows no webcam, and sends a file as one message, refused above 10 MB.
    """

    _esm = Path(__file__).with_name("picture_input.js")

    def __init__(self, use: Callable[[list[tuple[str, bytes]]], None]):
        super().__init__()
        self._use, self._pieces = use, []
        self.on_msg(lambda _, content, buffers: self.receive(content, buffers))

    def receive(self, content: dict, buffers: list) -> None:
        """One piece of one file, in order; with the `last` of the last file all are handed on."""
        if content["start"] == 0:
            if content["file"] == 0:  # whatever came before was broken off
                self._pieces = []
            self._pieces.append((content["name"], bytearray()))
        self._pieces[-1][1].extend(buffers[0])
        if content["last"]:
            files, self._pieces = [(name, bytes(part)) for name, part in self._pieces], []
            self._use(files)


class FaceRecogniser(ipywidgets.VBox):
    """Pictures in, every face with its probabilities as a card; labels by hand; a table to save.

    Args:
        out: folder of the table, a new file each time, and of what is uploaded (`pictures/`).
        root: the checkout, which paths start from; nothing outside of it or of `out` is opened.
    """

    def __init__(self, classifier, out: Path | str, root: Path | None = None):
        self.classifier, self.pictures = classifier, []  # at most `SHOWN`
        self._root, self._out = Path(root or core.project_root()).resolve(), Path(out).resolve()
        self.upload = PictureInput(self.take)
        self.path = ipywidgets.Text(description="or path", style=_WIDE, continuous_update=False)
        self.path.placeholder = "a picture or folder in the checkout"
        self.path.observe(lambda change: change["new"] and self.show(change["new"]), "value")
        self.explain = ipywidgets.Checkbox(description="where it looks", indent=False)
        self.explain.layout.width = "auto"
        self.explain.observe(lambda _: self._draw(), "value")
        save = ipywidgets.Button(description="Save the table", button_style="primary")
        save.on_click(lambda _: self.write())
        self.status, self.results = Shown(), ipywidgets.VBox()
        controls = _row([self.path, self.explain, save])
        super().__init__([self.upload, controls, self.status, self.results])

    def show(self, paths) -> None:
        """Recognise the faces in files or folders, and show them in place of what was shown."""
        files = [path.resolve() for path in list_pictures(paths, self._root)]
        for path in files:
            if not (path.is_relative_to(self._root) or path.is_relative_to(self._out)):
                self.status.say(f"{path} lies outside the checkout: upload it instead")
                return
        found = recognise_pictures(files, self.classifier)  # of a video each frame is one
        self.pictures = list(itertools.islice(found, SHOWN))
        faces = sum(len(picture.faces) for picture in self.pictures)
        said = f"{faces} face(s) in {len(self.pictures)} picture(s)"
        if next(found, None) is not None:  # a video may be one file with many
            said = f"{faces} face(s) in the first {SHOWN} pictures; for more use the terminal"
        self.status.say(f"{said}.")
        self._draw()

    def take(self, files: list[tuple[str, bytes]]) -> None:
        """Keep pictures that came from the browser in `pictures/`, and show their faces."""
        self.path.value, paths = "", []
        for number, (name, content) in enumerate(files):
            path = self._out / "pictures" / Path(name.replace("\\", "/")).name
            path = path.with_stem(f"{path.stem}-{number}") if path in paths else path
            with core.atomic_write(path) as temporary:
                temporary.write_bytes(content)
            paths.append(path)
        self.show(paths)

    def write(self) -> Path:
        """Save the table to a new file, with the labels set by hand."""
        table = FacesTable(self._out)
        for picture in self.pictures:
            table.write(picture)
        labels = sum(label != "" for each in self.pictures for label in each.labels.values())
        self.status.say(f"Saved {table.path} with {labels} label(s) set by hand.")
        return table.path

    def _draw(self) -> None:
        self.results.children = [self._card(picture) for picture in self.pictures]

    def _card(self, picture: Picture) -> ipywidgets.Widget:
        note = Shown()
        note.say(picture.note)
        if not len(picture.faces):
            return note
        names = picture.numbers
        titles = map("{}: {}".format, names, picture.answers())
        seen = self.classifier.see(picture.crops)
        maps = explain(self.classifier, picture.crops) if self.explain.value else None
        whole, cards = Shown(layout={"max_width": "46%"}), Shown(layout={"max_width": "52%"})
        whole.show(report.draw(report.plot_boxes, picture.image, picture.faces[:, :4], names=names))
        cards.show(report.figure_cards(seen, picture.probabilities, [*titles], maps))
        labels = _row(self._label(picture, number) for number in names)
        return ipywidgets.VBox([note, ipywidgets.HBox([whole, cards]), labels])

    def _label(self, picture: Picture, number: int) -> ipywidgets.Dropdown:
        options = [("as recognised", ""), *((name, name) for name in EXPRESSIONS)]
        label = ipywidgets.Dropdown(options=options, value=picture.labels.get(number, ""))
        label.description, label.style = f"Face {number} shows", _WIDE
        label.layout.width = "16em"
        label.observe(lambda change: picture.labels.update({number: change["new"]}), "value")
        return label
