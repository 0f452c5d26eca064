"""A run as it trains, and the button that ends it early."""

import asyncio
import signal
from collections.abc import Callable

import ipywidgets
import pandas as pd
from matplotlib.figure import Figure

from fer_utils.frontend import in_headless_kernel
from fer_utils.runs import Run, RunParameters
from fer_utils.widgets.base import Picture


class LiveTraining(ipywidgets.VBox):
    """A figure that is drawn again after each epoch, how far training is, and a Stop button.

    `await live.run(training.fit, params)` in a notebook: a kernel that computes hears no button, one that awaits does
    (ipykernel 7 or newer), so it is a thread that computes.

    Args:
        draw: history (a row an epoch) → Figure.
        epochs: how many there will be.

    >>> live = LiveTraining(lambda history: Figure(), epochs=6)
    >>> live.show(pd.DataFrame({"epoch": [1, 2], "seconds": [3.0, 4.0]}))
    >>> live.state.value
    'epoch 2 of 6 done; about 16 s to go'
    >>> live.stop.click()
    >>> live.asked(), live.stop.disabled
    ('after_epoch', True)
    """

    def __init__(self, draw: Callable[[pd.DataFrame], Figure], epochs: int):
        self._draw, self._epochs, self._asked = draw, epochs, ""
        self.stop = ipywidgets.Button(
            description="Stop after this epoch", icon="stop", layout={"width": "auto"},
            tooltip="Finish the epoch, save, and go on to evaluation; running the cell again trains the rest",
        )  # fmt: skip
        self.stop.on_click(self._ask)
        self.bar = ipywidgets.IntProgress(max=epochs, layout={"width": "12em"})
        self.state = ipywidgets.Label("epoch 1 is on its way")
        self.picture = Picture()
        super().__init__([ipywidgets.HBox([self.stop, self.bar, self.state]), self.picture])

    def _ask(self, _) -> None:
        self._asked = "after_epoch"
        self.stop.disabled, self.stop.description = True, "Stopping after this epoch"

    def asked(self) -> str:
        """What `fit` asks at each batch: "", "after_epoch" (the button) or "now" (the kernel was interrupted)."""
        return self._asked

    def show(self, history: pd.DataFrame) -> None:
        """Draw the history so far."""
        self.picture.show(self._draw(history), dpi=100)
        done = self.bar.value = len(history)
        seconds = (self._epochs - done) * history["seconds"].iloc[-1]
        if done == self._epochs:
            self.state.value = f"all {done} epochs done"
        elif self._asked:
            self.state.value = f"stopped after epoch {done} of {self._epochs}; run this cell again to go on"
        else:
            self.state.value = f"epoch {done} of {self._epochs} done; about {seconds:.0f} s to go"

    async def run(self, fit: Callable[..., Run], params: RunParameters) -> Run:
        """`fit(params)`, shown as it goes; the button ends it after an epoch, an interrupt of the kernel after a batch.

        Args:
            fit: `fer_utils.training.fit`.
            params: of the run.

        Returns:
            The run, finished or stopped.
        """
        try:
            if in_headless_kernel():
                # Nobody is there to press a button. While a cell awaits, an interrupt only cancels what it awaits.
                signal.signal(signal.SIGINT, signal.default_int_handler)
                return fit(params, on_epoch=self.show)
            training = asyncio.ensure_future(asyncio.to_thread(self._outcome, fit, params))
            try:
                # ipykernel (7.4) asks to cancel without waking a loop that sleeps, so this one must not sleep for long.
                while not training.done():
                    await asyncio.wait([training], timeout=0.3)
            except asyncio.CancelledError:  # the kernel was interrupted
                self._asked = "now"
            run, error = await training
            if error:
                raise error
            return run
        finally:
            self.stop.disabled = True

    def _outcome(self, fit: Callable[..., Run], params: RunParameters) -> tuple[Run | None, BaseException | None]:
        """The run or what it raised: a `KeyboardInterrupt` that passes through a task ends the kernel's loop."""
        try:
            return fit(params, on_epoch=self.show, stop=self.asked), None
        except BaseException as error:
            return None, error
