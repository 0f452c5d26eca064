"""What a run leaves on disk as it trains: history, best weights, and the point to go on from."""

import time
import warnings
from collections.abc import Callable

import numpy as np
import pandas as pd
from pytorch_lightning import Callback

from fer_utils.datasets.manifest import SPLITS
from fer_utils.errors import Diverged
from fer_utils.files import replaced
from fer_utils.runs import Run
from fer_utils.training.geometry import CollapseWarning, collapse
from fer_utils.weights import save_weights

SCORES = ("train_loss", "validation_loss", "validation_accuracy", "validation_f1")


class Abandoned(Exception):
    """The current epoch shall not be finished."""


class Record(Callback):
    """After each epoch: a row in `history.csv`; the best weights and centres if validation improved; then `last.ckpt`.

    The history is part of the checkpoint, so that an epoch cut short leaves no trace in it. Its `input_wait` is the
    share of the training's time between a batch's end and the next one's start, when the loop waits for the loader.
    """

    def __init__(
        self,
        run: Run,
        selection: str,
        on_epoch: Callable[[pd.DataFrame], None] | None = None,
        stop: Callable[[], str] | None = None,
    ):
        self.run, self.selection, self.on_epoch, self.stop = run, selection, on_epoch, stop or str
        self.history: list[dict] = []
        self._started = time.perf_counter()

    def state_dict(self) -> dict:
        return {"history": self.history}

    def load_state_dict(self, state: dict) -> None:
        self.history = state["history"]

    @property
    def best(self) -> dict:
        """The history's row of the best epoch on validation; the earliest of equals."""
        return max(self.history, key=lambda row: row[f"validation_{self.selection}"])

    def on_train_epoch_start(self, trainer, module) -> None:
        self._started = self._mark = time.perf_counter()
        self._waited = self._worked = 0.0

    def on_train_batch_start(self, trainer, module, batch, number) -> None:
        self._waited += self._lap()
        self._go_on()

    def on_predict_batch_start(self, trainer, module, batch, number, dataloader_idx=0) -> None:
        self._go_on()

    def _go_on(self) -> None:
        if self.stop() == "now":
            raise Abandoned

    def on_train_batch_end(self, trainer, module, outputs, batch, number) -> None:
        self._worked += self._lap()

    def _lap(self) -> float:
        """Seconds since the last call."""
        before, self._mark = self._mark, time.perf_counter()
        return self._mark - before

    def on_train_epoch_end(self, trainer, module) -> None:
        if trainer.global_rank:  # one process of several writes, the others meet it there
            trainer.save_checkpoint(self.run.path("last.ckpt"))
            return
        row = {"epoch": trainer.current_epoch + 1, **module.epoch_record()}
        if not np.isfinite([row["train_loss"], row["validation_loss"]]).all():  # found here on a GPU
            raise Diverged(f"expected finite losses, found {row['train_loss']} in training; lower the learning rate")
        found = collapse([*self.history, row], float(module.first_norm))
        if found and not any(earlier.get("collapsed", False) for earlier in self.history):
            warnings.warn(CollapseWarning(found), stacklevel=1)
        seconds = round(time.perf_counter() - self._started, 3)
        wait = round(self._waited / (self._waited + self._worked), 4)
        self.history.append({**row, "collapsed": bool(found), "seconds": seconds, "input_wait": wait})
        if self.best is self.history[-1]:
            save_weights(module.evaluated, self.run.path("best.safetensors"))
            if module.loss.centers is not None:
                with replaced(self.run.path("centers.npy")) as temporary:
                    np.save(temporary, module.loss.centers.detach().cpu().numpy())
        table = self._write()
        with replaced(self.run.path("last.ckpt")) as temporary:
            trainer.save_checkpoint(temporary)
        if self.on_epoch:
            self.on_epoch(table)
        if self.stop():
            trainer.should_stop = True  # after the checkpoint, which must go on as if nothing had been asked

    def diverge(self) -> int:
        """Give the epoch whose numbers were no longer finite a row in `history.csv`; returns which it was."""
        epoch, seconds = len(self.history) + 1, round(time.perf_counter() - self._started, 3)
        self._write({"epoch": epoch, **dict.fromkeys(SCORES, np.nan), "collapsed": False, "seconds": seconds})
        return epoch

    def _write(self, *more: dict) -> pd.DataFrame:
        table = pd.DataFrame([*self.history, *more])
        with replaced(self.run.path("history.csv")) as temporary:
            table.to_csv(temporary, index=False)
        return table


def image_counts(manifest: pd.DataFrame) -> dict:
    """What `metrics.json` says of a run's images: how many, by which protocol, and how many were left out and why.

    Returns:
        dict: `train_images`, `validation_images`, `test_images`, `leaks_removed`, `bad_images`; and where the manifest
        knows of them `protocol` (its name), `near_leaks_removed` and `dropped_images`.

    Example:
        >>> manifest = pd.DataFrame({"split": ["train", "train", "test"]})
        >>> manifest.attrs = {"protocol": {"name": "paper"}, "leaks_removed": 5}
        >>> image_counts(manifest)
        {'train_images': 2, 'validation_images': 0, 'test_images': 1, 'protocol': 'paper', 'leaks_removed': 5, \
'bad_images': 0}
    """
    sizes, about = manifest["split"].value_counts(), manifest.attrs
    counts = {f"{split}_images": int(sizes.get(split, 0)) for split in SPLITS}
    if "protocol" in about:
        counts["protocol"] = about["protocol"]["name"]
    counts["leaks_removed"] = int(about.get("leaks_removed") or 0)
    if about.get("near_leaks_removed"):
        counts["near_leaks_removed"] = about["near_leaks_removed"]
    counts["bad_images"] = int(about.get("bad_images", {}).get("count", 0))
    if "dropped" in about:
        counts["dropped_images"] = sum(about["dropped"].values())
    return counts
