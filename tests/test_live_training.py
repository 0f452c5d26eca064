"""The live view of a training, without a browser: what its button and an interrupt of the kernel do."""

import asyncio
import textwrap
import threading
import time
from pathlib import Path

import pandas as pd
import pytest
from matplotlib.figure import Figure

from fer_utils.widgets import LiveTraining


class Fit:
    """Stands for `training.fit`: waits in the thread that calls it until it is told to stop."""

    def __init__(self):
        self.asked, self.thread, self.begun = "", None, threading.Event()

    def __call__(self, params, on_epoch, stop):
        self.thread = threading.current_thread()
        self.begun.set()
        while not (answer := stop()):
            self.begun.wait(0.001)
        self.asked = answer
        on_epoch(pd.DataFrame({"epoch": [1], "seconds": [1.0]}))
        return params


@pytest.fixture
def live():
    return LiveTraining(lambda history: Figure(), epochs=3)


def test_the_button_reaches_a_training_in_a_thread_of_its_own(live):
    fit = Fit()

    async def cell():
        run = asyncio.ensure_future(live.run(fit, "params"))
        while not fit.begun.is_set():
            await asyncio.sleep(0.001)
        live.stop.click()
        return await run

    assert asyncio.run(cell()) == "params" and fit.asked == "after_epoch"
    assert fit.thread is not threading.main_thread()
    assert live.state.value == "stopped after epoch 1 of 3; run this cell again to go on"
    assert live.stop.disabled and "<img alt=" in live.picture.value


def test_an_interrupt_ends_the_training_before_the_cell(live):
    fit = Fit()

    async def cell():
        run = asyncio.ensure_future(live.run(fit, "params"))
        while not fit.begun.is_set():
            await asyncio.sleep(0.001)
        run.cancel()  # what ipykernel does with an interrupt
        return await run

    assert asyncio.run(cell()) == "params" and fit.asked == "now" and live.stop.disabled


def test_without_anyone_watching_the_main_thread_trains_and_takes_interrupts(live, monkeypatch):
    monkeypatch.setattr("fer_utils.widgets.training.in_headless_kernel", lambda: True)

    def fit(params, on_epoch):
        assert threading.current_thread() is threading.main_thread()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(live.run(fit, "params"))


def test_an_interrupt_of_a_real_kernel_is_heard_while_a_thread_trains(monkeypatch):
    """A kernel whose loop sleeps hears nothing; one through whose tasks a KeyboardInterrupt passes never answers."""
    from jupyter_client.manager import start_new_kernel

    monkeypatch.setenv("JPY_SESSION_NAME", "watched")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
    code = """
        import time
        from matplotlib.figure import Figure
        from fer_utils.widgets import LiveTraining

        def fit(params, on_epoch, stop):
            print("training")
            for _ in range(600):
                if stop() == "now":
                    raise KeyboardInterrupt("stopped")
                time.sleep(0.1)

        await LiveTraining(lambda history: Figure(), epochs=3).run(fit, None)
    """
    manager, client = start_new_kernel()
    try:
        asked = client.execute(textwrap.dedent(code))
        while client.get_iopub_msg(timeout=60)["content"].get("text") != "training\n":
            pass
        began = time.monotonic()
        manager.interrupt_kernel()
        while (reply := client.get_shell_msg(timeout=60))["parent_header"]["msg_id"] != asked:
            pass
        assert (reply["content"]["ename"], reply["content"]["evalue"]) == ("KeyboardInterrupt", "stopped")
        assert time.monotonic() - began < 20  # of the minute that it would have gone on
        assert client.execute_interactive("1", timeout=60)["content"]["status"] == "ok"
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
