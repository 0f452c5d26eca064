"""What a run leaves on disk as it trains: history, best weights, and the point to go on from."""

import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from pytorch_lightning import Callback

from fer_utils.core import Diverged, Run, atomic_write
from fer_utils.models import save_weights
from fer_utils.training.embedding import CollapseWarning, find_collapse

SCORES = ("train_loss", "validation_loss", "validation_accuracy", "validation_f1")


class Abandoned(Exception):
    """The current epoch shall not be finished."""


class RunLogger(Callback):
    """After each epoch: a row of `history.csv`, the weights if they are best, then `last.ckpt`.

    The checkpoint is written last and holds the history: an epoch cut short leaves no trace in it.
    Weights carry their epoch in their name, and those of an earlier best epoch go only after the
    checkpoint has been written, so that whenever the process dies both belong together.
    """

    def __init__(
        self,
        run: Run,
        selection: str,
        on_epoch: Callable[[pd.DataFrame], None] | None = None,
        stop: Callable[[], str] | None = None,
    ):
        self.run, self.selection = run, selection
        self.on_epoch, self.stop = on_epoch, stop or str
        self.history: list[dict] = []
        self._started = time.perf_counter()

    def state_dict(self) -> dict:
        return {"history": self.history}

    def load_state_dict(self, state: dict) -> None:
        self.history = state["history"]

    @property
    def best(self) -> dict:
        """The selected epoch's row: best on validation (the earliest of equals) or last."""
        if self.selection == "last":
            return self.history[-1]
        return max(self.history, key=lambda row: row[f"validation_{self.selection}"])

    def best_file(self, kind: str) -> Path:
        """Path of the selected epoch's "weights" or "centers"."""
        suffix = {"weights": "safetensors", "centers": "npy"}[kind]
        return self.run.path(f".{kind}-{self.best['epoch']:04d}.{suffix}")

    def on_train_epoch_start(self, trainer, module) -> None:
        self._started = time.perf_counter()

    def on_train_batch_start(self, trainer, module, batch, number) -> None:
        self._go_on()

    def on_predict_batch_start(self, trainer, module, batch, number, dataloader_idx=0) -> None:
        self._go_on()

    def _go_on(self) -> None:
        if self.stop() == "now":
            raise Abandoned

    def on_train_epoch_end(self, trainer, module) -> None:
        row = {"epoch": trainer.current_epoch + 1, **module.epoch_record()}
        if not np.isfinite([row["train_loss"], row["validation_loss"]]).all():
            raise Diverged(f"expected finite losses, found {row['train_loss']} in training")
        collapsed = find_collapse([*self.history, row], float(module.first_norm))
        if collapsed and not any(earlier["collapsed"] for earlier in self.history):
            warnings.warn(CollapseWarning(collapsed), stacklevel=1)
        seconds = round(time.perf_counter() - self._started, 3)
        self.history.append({**row, "collapsed": bool(collapsed), "seconds": seconds})
        if not trainer.is_global_zero:
            trainer.save_checkpoint(self.run.path("last.ckpt"))  # meets the one that writes
            return
        self._write_best(module)
        table = self._write_history()
        with atomic_write(self.run.path("last.ckpt")) as temporary:
            trainer.save_checkpoint(temporary)
        self._forget_others()
        if self.on_epoch:
            self.on_epoch(table)
        if self.stop():
            trainer.should_stop = True  # after the checkpoint, which knows nothing of it

    def _write_best(self, module) -> None:
        if self.best is not self.history[-1]:
            return
        score = self.best[f"validation_{'f1' if self.selection == 'last' else self.selection}"]
        about = {"epoch": str(self.best["epoch"]), "score": repr(score)}
        save_weights(module.evaluated, self.best_file("weights"), about)
        # The centres belong to the raw weights: beside averaged ones they would say nothing.
        if module.loss.centers is not None and module.average is None:
            with atomic_write(self.best_file("centers")) as temporary:
                np.save(temporary, module.loss.centers.detach().cpu().numpy())

    def _forget_others(self) -> None:
        kept = {self.best_file("weights"), self.best_file("centers")}
        for pattern in (".weights-*.safetensors", ".centers-*.npy"):
            for path in set(self.run.folder.glob(pattern)) - kept:
                path.unlink()

    def record_divergence(self) -> int:
        """Give the epoch whose numbers were not finite a row of its own; returns which it was."""
        epoch = len(self.history) + 1
        seconds = round(time.perf_counter() - self._started, 3)
        lost = dict.fromkeys(SCORES, np.nan)
        self._write_history({"epoch": epoch, **lost, "collapsed": False, "seconds": seconds})
        return epoch

    def _write_history(self, *more: dict) -> pd.DataFrame:
        table = pd.DataFrame([*self.history, *more])
        with atomic_write(self.run.path("history.csv")) as temporary:
            table.to_csv(temporary, index=False)
        return table
