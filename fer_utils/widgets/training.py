"""A run as it trains, and the button that ends it early."""

import io
import threading
from collections.abc import Callable

import ipywidgets
import pandas as pd
from matplotlib.figure import Figure


class LiveTraining(ipywidgets.VBox):
    """A figure that is drawn again after each epoch, how far training is, and a Stop button.

    For `fit(on_epoch=live.show, should_stop=live.stop_asked)`. The kernel is busy while it trains, and yet hears the
    button: JupyterLab (4.4 or newer) and ipykernel (7 or newer) give the messages of widgets a thread of their own. In
    other front ends the button is heard after training; interrupting the kernel there loses the current epoch alone.

    Args:
        draw: history (a row an epoch) → Figure.
        epochs: how many there will be.

    >>> live = LiveTraining(lambda history: Figure(), epochs=6)
    >>> live.show(pd.DataFrame({"epoch": [1, 2], "seconds": [3.0, 4.0]}))
    >>> live.state.value
    'epoch 2 of 6 done; about 16 s to go'
    >>> live.stop.click()
    >>> live.stop_asked(), live.stop.disabled
    (True, True)
    """

    def __init__(self, draw: Callable[[pd.DataFrame], Figure], epochs: int):
        self._draw, self._epochs, self._asked = draw, epochs, threading.Event()
        self.stop = ipywidgets.Button(
            description="Stop after this epoch", icon="stop", layout={"width": "auto"},
            tooltip="Finish the epoch, save, and go on to evaluation; running the cell again trains the rest",
        )  # fmt: skip
        self.stop.on_click(self._ask)
        self.bar = ipywidgets.IntProgress(max=epochs, layout={"width": "12em"})
        self.state = ipywidgets.Label("epoch 1 is on its way")
        self.picture = ipywidgets.Image(format="png", layout={"display": "none", "max_width": "100%"})
        super().__init__([ipywidgets.HBox([self.stop, self.bar, self.state]), self.picture])

    def _ask(self, _) -> None:
        self._asked.set()
        self.stop.disabled, self.stop.description = True, "Stopping after this epoch"

    def stop_asked(self) -> bool:
        """Whether the button was pressed."""
        return self._asked.is_set()

    def show(self, history: pd.DataFrame) -> None:
        """Draw the history so far."""
        png = io.BytesIO()
        self._draw(history).savefig(png, format="png", dpi=100)
        self.picture.value, self.picture.layout.display = png.getvalue(), None
        done = self.bar.value = len(history)
        seconds = (self._epochs - done) * history["seconds"].iloc[-1]
        if done == self._epochs:
            self.state.value = f"all {done} epochs done"
        elif self.stop_asked():
            self.state.value = f"stopped after epoch {done} of {self._epochs}; run this cell again to go on"
        else:
            self.state.value = f"epoch {done} of {self._epochs} done; about {seconds:.0f} s to go"
        if done == self._epochs or self.stop_asked():
            self.stop.disabled = True
