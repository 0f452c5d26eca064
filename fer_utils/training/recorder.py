"""What is recorded of an epoch: what became of the embedding, history, weights, a checkpoint."""

import math
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from pytorch_lightning import Callback
from torch import Tensor

from fer_utils.core import Diverged, Run, atomic_write
from fer_utils.losses import center_separation, sum_by_class
from fer_utils.models import save_weights

SCORES = ("train_loss", "validation_loss", "validation_accuracy", "validation_f1")
SUFFIXES = {"weights": "safetensors", "centers": "npy"}
COLLAPSED = 0.1  # what fell below this share of what it was counts as fallen to zero


class CollapseWarning(UserWarning):
    """The embedding shrank to a point, or its classes to one; the run learns nothing now."""


class Abandoned(Exception):
    """The current epoch shall not be finished."""


def embedding_stats(features: Tensor, targets: Tensor, classes: int) -> dict[str, float]:
    """Size and spread of an embedding (N, D) of `targets` (N,), in its own units.

    Returns:
        `embedding_norm`: mean ‖x‖; `within_distance`: mean distance to the class's mean;
        `between_distance`: root mean square distance between class means (NaN with one class).
    """
    means, present = _class_means(features, targets, classes)
    return {
        "embedding_norm": float(features.norm(dim=1).mean()),
        "within_distance": float((features - means[targets]).norm(dim=1).mean()),
        "between_distance": _spread(means[present]),
    }


def center_stats(cluster, before: Tensor, features: Tensor, targets: Tensor) -> dict[str, float]:
    """Where a loss's centres (C, D) are, in the units of the features (N, D) as they see them.

    Args:
        cluster: a `LossWithCenters`; None has NaN for everything.
        before: its centres before the epoch.

    Returns:
        `center_offset`: mean distance of a centre to its class's mean; `center_distance`: root mean
        square distance between centres; `center_movement`: mean distance moved in the epoch.
    """
    if cluster is None:
        return dict.fromkeys(("center_offset", "center_distance", "center_movement"), math.nan)
    centers = cluster.centers.detach()
    seen = F.normalize(features, dim=1) if cluster.normalize else features
    means, present = _class_means(seen, targets, len(centers))
    return {
        "center_offset": float((centers - means)[present].norm(dim=1).mean()),
        "center_distance": _spread(centers),
        "center_movement": float((centers - before).norm(dim=1).mean()),
    }


def _class_means(features: Tensor, targets: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """(C, D), and whether each class occurs."""
    counts = sum_by_class(torch.ones_like(features[:, :1]), targets, classes)  # (C, 1)
    return sum_by_class(features, targets, classes) / counts.clamp(min=1), counts[:, 0] > 0


def _spread(points: Tensor) -> float:
    pairs = len(points) * (len(points) - 1)
    return math.sqrt(float(center_separation(points).sum()) / pairs) if pairs else math.nan


def find_collapse(history: list[dict], first_norm: float) -> str | None:
    """What to say where the embedding has collapsed in the last epoch, else None.

    Args:
        history: a row an epoch, with `embedding_stats`' values.
        first_norm: mean embedding norm of the very first training batch.
    """
    widest = max(row.get("between_distance", 0.0) for row in history)
    # No wider than the untrained embedding was long: what blew up and came back has not collapsed.
    healthy = {"embedding_norm": first_norm, "between_distance": min(widest, first_norm)}
    for name, was in healthy.items():
        now = history[-1][name]
        if now < COLLAPSED * was:
            return (
                f"the embedding collapsed in epoch {len(history)}: its {name} fell to {now:.2g}, "
                f"{100 * now / was:.2g} % of {was:.2g}. A term with centres pulls all features to "
                "one point: use center_init='class_means', lower cluster_weight (λ) or set "
                "embedding_norm='batch'; without such a term, lower learning_rate"
            )
    return None


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
        return self.run.path(f".{kind}-{self.best['epoch']:04d}.{SUFFIXES[kind]}")

    def on_train_epoch_start(self, *_) -> None:
        self._started = time.perf_counter()

    def on_train_batch_start(self, *_) -> None:
        if self.stop() == "now":
            raise Abandoned

    on_predict_batch_start = on_train_batch_start

    def on_train_epoch_end(self, trainer, module) -> None:
        row = {"epoch": trainer.current_epoch + 1, **module.epoch_record()}
        if not np.isfinite([row["train_loss"], row["validation_loss"]]).all():
            raise Diverged(f"expected finite losses, found {row['train_loss']} in training")
        collapsed = find_collapse([*self.history, row], float(module.first_norm))
        if collapsed and not any(earlier["collapsed"] for earlier in self.history):
            warnings.warn(CollapseWarning(collapsed), stacklevel=1)
        self.history.append({**row, "collapsed": bool(collapsed), "seconds": self._seconds()})
        if not trainer.is_global_zero:
            trainer.save_checkpoint(self.run.path("last.ckpt"))  # meets the one that writes
            return
        if self.best is self.history[-1]:
            self._write_best(module)
        table = self._write_history()
        with atomic_write(self.run.path("last.ckpt")) as temporary:
            trainer.save_checkpoint(temporary)
        self._forget_others()
        if self.on_epoch:
            self.on_epoch(table)
        if self.stop():
            trainer.should_stop = True  # after the checkpoint, which knows nothing of it

    def _seconds(self) -> float:
        return round(time.perf_counter() - self._started, 3)

    def _write_best(self, module) -> None:
        score = self.best[f"validation_{'f1' if self.selection == 'last' else self.selection}"]
        about = {"epoch": str(self.best["epoch"]), "score": repr(score)}
        save_weights(module.evaluated, self.best_file("weights"), about)
        # The centres belong to the raw weights: beside averaged ones they would say nothing.
        if module.loss.centers is not None and module.average is None:
            with atomic_write(self.best_file("centers")) as temporary:
                np.save(temporary, module.loss.centers.detach().cpu().numpy())

    def _forget_others(self) -> None:
        for kind, suffix in SUFFIXES.items():
            for path in self.run.folder.glob(f".{kind}-*.{suffix}"):
                if path != self.best_file(kind):
                    path.unlink()

    def record_divergence(self) -> int:
        """Give the epoch whose numbers were not finite a row of its own; returns which it was."""
        row = {"epoch": len(self.history) + 1, **dict.fromkeys(SCORES, np.nan)}
        self._write_history(row | {"collapsed": False, "seconds": self._seconds()})
        return row["epoch"]

    def _write_history(self, *more: dict) -> pd.DataFrame:
        table = pd.DataFrame([*self.history, *more])
        with atomic_write(self.run.path("history.csv")) as temporary:
            table.to_csv(temporary, index=False)
        return table
