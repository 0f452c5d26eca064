"""Widgets: each wraps a plain function and stands in its still's place."""

import asyncio
import base64
import html
import io
import signal
from collections.abc import Callable
from pathlib import Path

import anywidget
import ipywidgets
import numpy as np
import pandas as pd
import traitlets
from matplotlib import colormaps
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from fer_utils import report
from fer_utils.core import (
    EXPRESSIONS,
    InputError,
    Run,
    RunParameters,
    atomic_write,
    in_headless_kernel,
    paper,
    parameters,
    project_root,
)
from fer_utils.interactive.classifier import FaceClassifier
from fer_utils.interactive.evaluate import ANY
from fer_utils.interactive.gradcam import explain
from fer_utils.interactive.pictures import (
    FacesTable,
    Picture,
    list_pictures,
    recognise_pictures,
)

SHOWN = 24  # pictures that are drawn, of many; the table holds all
_WIDE = {"description_width": "initial"}
_WRAP = {"flex_flow": "row wrap"}


class FigureImage(ipywidgets.HTML):
    """A figure's picture, drawn again in place."""

    def show(self, figure: Figure, dpi: int = 100, alt: str = "") -> None:
        """Draw a figure in place of the former; few dots an inch, since a slider must not wait."""
        png = io.BytesIO()
        figure.savefig(png, format="png", dpi=dpi)
        source = f"data:image/png;base64,{base64.b64encode(png.getvalue()).decode()}"
        words = html.escape(alt or "figure")
        self.value = f'<img alt="{words}" style="max-width: 100%" src="{source}">'

    def say(self, text: str) -> None:
        """A sentence in the picture's place."""
        self.value = f"<p role='status'>{html.escape(text)}</p>"


def explore(draw: Callable[..., Figure], /, **controls: ipywidgets.Widget):
    """Controls above the figure that `draw` makes of their values; headless, the figure alone.

    Args:
        draw: keyword arguments named as `controls` → Figure; what it refuses is said in its place.
        controls: ipywidgets with a `value`.
    """

    def values() -> dict:
        return {name: control.value for name, control in controls.items()}

    if in_headless_kernel():
        return draw(**values())
    picture = FigureImage()

    def update(_=None) -> None:
        try:
            picture.show(draw(**values()))
        except InputError as error:
            picture.say(str(error))

    for control in controls.values():
        control.observe(update, "value")
    update()
    return ipywidgets.VBox([ipywidgets.HBox(list(controls.values()), layout=_WRAP), picture])


class RunForm(ipywidgets.VBox):
    """A run's first choices without editing code: dataset, folder, loss, epochs, start.

    Args:
        params: what the notebook's cell says.

    Attributes:
        params: the same with what is chosen here; what cannot be is said, and the last choice kept.
    """

    def __init__(self, params: RunParameters):
        self.params, self._given = params, params
        losses = [(words, name) for name, words in (paper.LOSSES | paper.BASELINES).items()]
        datasets = ["synthetic", "affectnet", "fer2013", "ferplus", "rafdb", "folder"]
        text = {"style": _WIDE, "continuous_update": False}
        self.controls = {
            "run": ipywidgets.Text(description="run", **text),
            "dataset": ipywidgets.Dropdown(options=datasets, description="dataset", style=_WIDE),
            "data": ipywidgets.Text(description="folder", placeholder="drawn faces: none", **text),
            "loss": ipywidgets.Dropdown(options=losses, description="loss", style=_WIDE),
            "epochs": ipywidgets.BoundedIntText(min=1, max=1000, description="epochs", style=_WIDE),
            "weights": ipywidgets.Text(description="start from", **text),
        }
        self.state = ipywidgets.HTML()
        for name, control in self.controls.items():
            control.value = getattr(params, name)
            control.observe(self._choose, "value")
        super().__init__([ipywidgets.HBox(list(self.controls.values()), layout=_WRAP), self.state])

    def _choose(self, _) -> None:
        chosen = {name: control.value for name, control in self.controls.items()}
        unresolved = self._given.model_dump(exclude_unset=True)
        for name in (
            "cluster_weight",
            "classifier",
            "frozen_stages",
            "learning_rate",
            "batch_size",
        ):
            if chosen["loss"] != self._given.loss or chosen["weights"] != self._given.weights:
                unresolved.pop(name, None)
        try:
            self.params = parameters(unresolved | chosen)
            self.state.value = "<p role='status'>Run the cells below to train this.</p>"
        except InputError as error:
            self.state.value = f"<p role='status'>{html.escape(str(error))}</p>"


class LiveTraining(ipywidgets.VBox):
    """A figure that is drawn again after each epoch, how far training is, and a Stop button.

    `await live.run(training.fit, params)`: a kernel that computes hears no button, one that awaits
    does, so it is a thread that computes.

    Args:
        draw: history (a row an epoch) → Figure.
        epochs: how many there will be.
    """

    def __init__(self, draw: Callable[[pd.DataFrame], Figure], epochs: int):
        self._draw, self._epochs, self._asked = draw, epochs, ""
        self.stop = ipywidgets.Button(
            description="Stop after this epoch", icon="stop", layout={"width": "auto"}
        )
        self.stop.on_click(self._ask)
        self.bar = ipywidgets.IntProgress(max=epochs, layout={"width": "12em"})
        self.state = ipywidgets.Label("epoch 1 is on its way")
        self.picture = FigureImage()
        head = ipywidgets.HBox([self.stop, self.bar, self.state])
        super().__init__([head, self.picture])

    def _ask(self, _) -> None:
        self._asked = "after_epoch"
        self.stop.disabled, self.stop.description = True, "Stopping after this epoch"

    def asked(self) -> str:
        """What `fit` asks at each batch: "", "after_epoch" (the button) or "now" (an interrupt)."""
        return self._asked

    def show(self, history: pd.DataFrame) -> None:
        """Draw the history so far."""
        self.picture.show(self._draw(history))
        done = self.bar.value = len(history)
        seconds = (self._epochs - done) * history["seconds"].iloc[-1]
        if done == self._epochs:
            self.state.value = f"all {done} epochs done"
        elif self._asked:
            self.state.value = f"stopped after epoch {done} of {self._epochs}; run again to go on"
        else:
            self.state.value = f"epoch {done} of {self._epochs} done; about {seconds:.0f} s to go"

    async def run(self, fit: Callable[..., Run], params: RunParameters) -> Run:
        """`fit(params)`, shown as it goes; the finished or stopped run.

        The button ends it after an epoch, an interrupt of the kernel after a batch.
        """
        try:
            if in_headless_kernel():
                # Nobody is there to press a button; an interrupt would only cancel what is awaited.
                signal.signal(signal.SIGINT, signal.default_int_handler)
                return fit(params)
            training = asyncio.ensure_future(asyncio.to_thread(self._outcome, fit, params))
            try:
                # ipykernel asks to cancel without waking a loop that sleeps: sleep for short.
                while not training.done():
                    await asyncio.wait([training], timeout=0.3)
            except asyncio.CancelledError:  # the kernel was interrupted
                self._asked = "now"
            run, error = await training
            if error:
                raise error
            if not run.stopped:
                self.bar.value, self.state.value = (
                    self._epochs,
                    f"{run.study}/{run.name} is {run.status}",
                )
            return run
        finally:
            self.stop.disabled, self.stop.description = True, "Stop after this epoch"

    def _outcome(self, fit, params) -> tuple[Run | None, BaseException | None]:
        """The run or its error: a `KeyboardInterrupt` through a task ends the kernel's loop."""
        try:
            return fit(params, on_epoch=self.show, stop=self.asked), None
        except BaseException as error:
            return None, error


class ConfusionGrid(ipywidgets.VBox):
    """A button for each cell of a confusion matrix; "any" in a selector is a whole row or column.

    Args:
        confusion: (8, 8) counts, rows true.
        value: the cell to begin with: true and predicted expression.

    Attributes:
        value: the cell that is chosen.
    """

    value = traitlets.Tuple()

    def __init__(self, confusion, value: tuple[str, str] = (ANY, ANY)):
        options, narrow = [ANY, *EXPRESSIONS], {"width": "210px"}
        self.true, self.predicted = (
            ipywidgets.Dropdown(options=options, description=name, layout=narrow)
            for name in ("true", "predicted")
        )
        self.cells = {}
        grid = ipywidgets.GridspecLayout(8, 9, width="460px", grid_gap="2px")
        shares = np.nan_to_num(confusion / np.maximum(np.sum(confusion, 1, keepdims=True), 1))
        for (row, column), count in np.ndenumerate(np.asarray(confusion)):
            cell = (EXPRESSIONS[row], EXPRESSIONS[column])
            button = ipywidgets.Button(
                description=f"{count:,}",
                tooltip=f"{cell[0]}, predicted {cell[1]}: {count:,} images",
                layout={"width": "auto", "padding": "0"},
            )
            button.style.button_color = to_hex(colormaps["Blues"](shares[row, column]))
            button.style.text_color = "white" if shares[row, column] > 0.55 else "black"
            button.on_click(lambda _, cell=cell: self.choose(*cell))
            grid[row, column + 1] = self.cells[cell] = button
        for row, name in enumerate(EXPRESSIONS):
            grid[row, 0] = ipywidgets.Label(name)
        super().__init__([ipywidgets.HBox([self.true, self.predicted]), grid])
        self.choose(*value)
        for selector in (self.true, self.predicted):
            selector.observe(self._selected, "value")

    def choose(self, true: str, predicted: str) -> None:
        """Choose a cell, a row or a column."""
        with self.hold_trait_notifications():  # one change, not one a selector
            self.true.value, self.predicted.value = true, predicted
            self._selected()

    def _selected(self, _=None) -> None:
        self.value = (self.true.value, self.predicted.value)


class PictureInput(anywidget.AnyWidget):
    """An area to drop pictures or a folder on, a button to choose files, and one for the webcam.

    ipywidgets' own `FileUpload` takes no drops, knows no webcam, and sends a file as one message,
    which the server refuses above 10 MB.

    Args:
        use: called with what came in, a list of (name, content).
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
        classifier: from `load_classifier`.
        out: folder of the table, a new file each time, and of what is uploaded (`pictures/`).
        root: the checkout, which paths start from; nothing outside of it or of `out` is opened.

    Attributes:
        pictures: those shown, at most `SHOWN`.
    """

    def __init__(self, classifier: FaceClassifier, out: Path | str, root: Path | None = None):
        self.classifier, self.pictures = classifier, []
        self._root, self._out = Path(root or project_root()).resolve(), Path(out)
        self.upload = PictureInput(self.take)
        self.path = ipywidgets.Text(
            placeholder="a picture or folder in the checkout",
            description="or path",
            style=_WIDE,
            continuous_update=False,
        )
        self.explain = ipywidgets.Checkbox(description="where it looks", indent=False)
        self.save = ipywidgets.Button(
            description="Save the table", disabled=True, button_style="primary"
        )
        self.status, self.results = ipywidgets.HTML(), ipywidgets.VBox()
        self.path.observe(lambda change: self.show(change["new"]), "value")
        self.explain.observe(lambda _: self._draw(), "value")
        self.save.on_click(lambda _: self.write())
        controls = ipywidgets.HBox([self.path, self.explain, self.save], layout=_WRAP)
        super().__init__([self.upload, controls, self.status, self.results])

    def show(self, paths) -> None:
        """Recognise the faces in files or folders, and show them in place of what was shown."""
        files = list_pictures(paths, self._root)
        allowed = (self._root, self._out.resolve())
        outside = [
            path for path in files if not any(path.resolve().is_relative_to(a) for a in allowed)
        ]
        if outside:
            self._say(f"{outside[0]} lies outside the checkout: upload it instead")
            return
        self.pictures = list(recognise_pictures(files[:SHOWN], self.classifier))
        faces = sum(len(picture.faces) for picture in self.pictures)
        more = f" of {len(files):,}; for more use the terminal" if len(files) > SHOWN else ""
        self._say(f"{faces} face(s) in {len(self.pictures)} picture(s){more}.")
        self.save.disabled = not self.pictures
        self._draw()

    def take(self, files: list[tuple[str, bytes]]) -> None:
        """Keep pictures that came from the browser in `pictures/`, and show their faces."""
        paths = []
        for number, (name, content) in enumerate(files):
            path = self._out / "pictures" / Path(name.replace("\\", "/")).name
            while path in paths:
                path = path.with_stem(f"{path.stem}-{number}")
            with atomic_write(path) as temporary:
                temporary.write_bytes(content)
            paths.append(path.resolve())
        self.show(paths)

    def write(self) -> Path:
        """Save the table to a new file, with the labels set by hand."""
        table = FacesTable(self._out)
        for picture in self.pictures:
            table.write(picture)
        changed = sum(len(picture.labels) for picture in self.pictures)
        self._say(f"Saved {table.path} with {changed} label(s) set by hand.")
        return table.path

    def _draw(self) -> None:
        self.results.children = tuple(self._show(picture) for picture in self.pictures)

    def _show(self, picture: Picture) -> ipywidgets.Widget:
        note = ipywidgets.HTML(f"<p>{html.escape(picture.note)}</p>" if picture.note else "")
        if not len(picture.faces):
            return note
        maps = explain(self.classifier, picture.crops) if self.explain.value else None
        image = FigureImage(layout={"max_width": "46%"})
        boxes = picture.faces[:, :4]
        names = [str(number) for number in range(1, len(boxes) + 1)]
        image.show(report.draw(report.plot_boxes, picture.image, boxes, names=names), 90)
        cards = FigureImage(layout={"max_width": "52%"})
        titles = [f"{n}: {answer}" for n, answer in zip(names, picture.answers(), strict=True)]
        cards.show(
            report.figure_cards(
                self.classifier.see(picture.crops), picture.probabilities, titles, maps
            ),
            100,
        )
        labels = [self._label(picture, number) for number in range(1, len(boxes) + 1)]
        faces = ipywidgets.HBox([image, cards])
        return ipywidgets.VBox([note, faces, ipywidgets.HBox(labels, layout=_WRAP)])

    def _label(self, picture: Picture, number: int) -> ipywidgets.Dropdown:
        label = ipywidgets.Dropdown(
            options=[("as recognised", ""), *((name, name) for name in EXPRESSIONS)],
            value=picture.labels.get(number, ""),
            description=f"Face {number} shows",
            style=_WIDE,
            layout={"width": "16em"},
        )

        def choose(change) -> None:
            picture.labels.pop(number, None)
            if change["new"]:
                picture.labels[number] = change["new"]

        label.observe(choose, "value")
        return label

    def _say(self, text: str) -> None:
        self.status.value = f"<p role='status'>{html.escape(text)}</p>"
