"""The LightningModule, Algorithm 1 of the paper in `training_step`, and what an epoch leaves."""

import copy
import math
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import torch.distributed as dist
import torch.nn.functional as F
from pytorch_lightning import Callback, LightningModule
from sklearn.metrics import f1_score
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from fer_utils import losses, metrics, models
from fer_utils.core import EXPRESSIONS, Diverged, Run, RunParameters, atomic_write

SCORES = ("train_loss", "validation_loss", "validation_accuracy", "validation_f1")
SUFFIXES = {"weights": "safetensors", "centers": "npy"}
COLLAPSED = 0.1  # what fell below this share of what it was counts as fallen to zero


class ExpressionModule(LightningModule):
    """A `FERNet` and its joint loss, trained by the paper's recipe.

    In evaluation mode the network with averaged weights answers, if there is one.
    """

    def __init__(self, network: nn.Module, loss: nn.Module, params: RunParameters, pretrained=None):
        super().__init__()
        self.network, self.loss, self.params = network, loss, params
        self.pretrained = pretrained  # the report of `load_pretrained`
        self.average = WeightAverage(network, params.ema_decay) if params.ema_decay else None
        # Mean embedding norm of the very first batch: what a collapse is measured against.
        self.register_buffer("first_norm", torch.tensor(math.nan))

    @property
    def evaluated(self) -> nn.Module:
        """The network that is validated, kept and tested."""
        return self.network if self.average is None else self.average.network

    def on_save_checkpoint(self, checkpoint: dict) -> None:
        # Makes it a source of `load_pretrained`, which needs layout and input convention.
        checkpoint["fer_utils"] = models.weights_header(self.network.backbone)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(N, 3, H, W) normalised images → logits (N, C) and features (N, D)."""
        network = self.network if self.training else self.evaluated
        return network(images.contiguous(memory_format=torch.channels_last))

    def configure_optimizers(self):
        params = self.params
        groups = [{"params": [w for w in self.network.parameters() if w.requires_grad]}]
        centers = list(self.loss.center_parameters())
        if centers:
            groups.append({"params": centers, "lr": params.gamma, "weight_decay": 0.0})
        options = {"lr": params.learning_rate, "weight_decay": params.weight_decay, "fused": True}
        if params.optimizer == "adamw":
            optimizer = torch.optim.AdamW(groups, **options)
        else:
            groups[0]["momentum"] = params.momentum  # the centres have none
            optimizer = torch.optim.SGD(groups, **options)
        steps = self.trainer.estimated_stepping_batches // self.trainer.max_epochs
        factors = [lambda step: lr_factor(params, step, steps), lambda _: 1.0]  # γ stays
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factors[: len(groups)])
        return [optimizer], [{"scheduler": schedule, "interval": "step"}]

    def optimizer_step(self, *arguments, **options) -> None:
        super().optimizer_step(*arguments, **options)
        if self.average is not None:
            self.average.update(self.network, self.global_step)

    def on_train_epoch_start(self) -> None:
        self._loss_sum, self._images = torch.zeros((), device=self.device), 0
        self._learning_rate = self.optimizers().param_groups[0]["lr"]
        self._waiting: list[tuple[Tensor, Tensor]] = []
        self._centers = None if self.loss.centers is None else self.loss.centers.detach().clone()
        self.loss.set_progress(self.current_epoch / self.params.epochs)

    def training_step(self, batch: tuple[Tensor, Tensor], number: int) -> Tensor:
        images, targets = batch
        accumulated = self.params.accumulate_grad_batches
        logits, features = self(images)
        loss = self.loss(logits, features, targets)  # L_softmax + λ L_cluster, this step's centres
        if self.global_step == 0 and number == 0:
            self.first_norm = features.detach().float().norm(dim=1).mean()
        self._waiting.append((features.detach(), targets))
        if (number + 1) % accumulated == 0 or self.trainer.is_last_batch:
            # The optimiser's step follows. Eq. 9, sign corrected (Algorithm 1, line 10).
            self.loss.update(*map(torch.cat, zip(*self._waiting, strict=True)))
            self._waiting.clear()
        summed = self.params.reduction == "sum"
        self._loss_sum += loss.detach() if summed else loss.detach() * len(targets)
        self._images += len(targets)
        # Lightning divides by the batches of a step: right for means, while a sum stays a sum.
        return loss * accumulated if summed else loss

    def on_validation_epoch_start(self) -> None:
        self._validation = []

    def validation_step(self, batch: tuple[Tensor, Tensor], _) -> None:
        images, targets = batch
        logits, features = self(images)
        with losses.local_reduction():
            loss = self.loss(logits, features, targets)
        loss = loss if self.params.reduction == "sum" else loss * len(targets)
        predictions = self._probabilities(images, logits).argmax(1)
        self._validation.append((loss[None], predictions, targets, features.float()))

    def predict_step(self, batch: tuple[Tensor, Tensor], _, dataloader_idx=0):
        """Log-probabilities (N, C) and features (N, D); of people the features alone."""
        logits, features = self(batch[0])
        log_p = self._probabilities(batch[0], logits).log()
        log_p = log_p[:, :0] if self.params.target == "subject" else log_p
        return log_p.cpu(), features.float().cpu()

    def _probabilities(self, images: Tensor, logits: Tensor) -> Tensor:
        """(N, C); with `flip_tta` the mean of an image's and its mirror image's."""
        probabilities = logits.float().softmax(1)
        if self.params.flip_tta:
            mirrored = self(images.flip(-1))[0].float().softmax(1)
            probabilities = (probabilities + mirrored) / 2
        return probabilities

    def epoch_record(self) -> dict[str, float]:
        """Losses, validation metrics (0–1) and statistics of the embedding of the last epoch.

        A loss is the run's own under its reduction; a sum over the batch counts as its mean, so
        that batches of different size compare.
        """
        loss, predictions, labels, features = map(torch.cat, zip(*self._validation, strict=True))
        found, targets = predictions.cpu().numpy(), labels.cpu().numpy()
        train_loss = self._loss_sum / self._images
        if losses.world_size() > 1:
            dist.all_reduce(train_loss, dist.ReduceOp.AVG)
        recalls = recall_of_each(targets, found) if self.params.target == "label" else {}
        return {
            "train_loss": float(train_loss),
            "validation_loss": float(sum(loss)) / len(targets),
            "validation_accuracy": float(np.mean(found == targets)),
            "validation_f1": float(f1_score(targets, found, average="macro", zero_division=0)),
            **{f"validation_{name}": value for name, value in recalls.items()},
            "learning_rate": self._learning_rate,
            **embedding_stats(features, labels, self.network.num_classes),
            **center_stats(self.loss.cluster, self._centers, features, labels),
        }


def recall_of_each(targets: np.ndarray, predictions: np.ndarray) -> dict[str, float]:
    """`recall_neutral` … `recall_contempt`; NaN of a class without images."""
    recalls = metrics.recall_per_class(metrics.confusion_matrix(targets, predictions))
    return {f"recall_{name}": float(r) for name, r in zip(EXPRESSIONS, recalls, strict=True)}


def lr_factor(params: RunParameters, step: int, steps: int) -> float:
    """Learning rate of a step, from 0, as a multiple of `learning_rate`; an epoch has `steps`.

    `schedule` is "halve", every `halve_every` epochs as in the paper, or "cosine", down to 0; it
    first rises in equal steps over `warmup_epochs`.
    """
    warmup = params.warmup_epochs * steps
    rise = min(1.0, (step + 1) / warmup) if warmup else 1.0
    if params.schedule == "halve":
        return rise * 0.5 ** (step // steps // params.halve_every)
    done = max(0.0, step - warmup) / (params.epochs * steps - warmup)
    return rise * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


class WeightAverage(nn.Module):
    """A copy of a network whose weights and batch-norm statistics follow the original's.

    After step n each becomes d · itself + (1 − d) · the original, d being the smaller of `decay`
    and (1 + n) / (10 + n), so that the first weights are soon forgotten. (Lightning's callback
    would average the centres, too, and wait for the device at each step.) Frozen weights stay.
    """

    def __init__(self, network: nn.Module, decay: float):
        super().__init__()
        self.decay = decay
        self.network = copy.deepcopy(network).requires_grad_(False)

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """Follow the original, after its optimiser's step (counted from 0)."""
        pairs = [
            (own, other)
            for own, other in zip(self.network.parameters(), network.parameters(), strict=True)
            if other.requires_grad
        ]
        for own, other in zip(self.network.buffers(), network.buffers(), strict=True):
            if other.is_floating_point():
                pairs.append((own, other))
            else:  # the number of batches that a batch norm has seen
                own.copy_(other)
        average = get_ema_multi_avg_fn(min(self.decay, (1 + step) / (10 + step)))
        average(*map(list, zip(*pairs, strict=True)), None)


class CollapseWarning(UserWarning):
    """The embedding shrank to a point, or its classes to one; the run learns nothing now."""


class Abandoned(Exception):
    """The current epoch shall not be finished."""


def embedding_stats(features: Tensor, targets: Tensor, classes: int) -> dict[str, float]:
    """Size and spread of an embedding (N, D) of `targets` (N,), in its own units."""
    means, present = _class_means(features, targets, classes)
    return {
        "embedding_norm": float(features.norm(dim=1).mean()),
        "within_distance": float((features - means[targets]).norm(dim=1).mean()),
        "between_distance": _spread(means[present]),
    }


def center_stats(cluster, before: Tensor, features: Tensor, targets: Tensor) -> dict[str, float]:
    """Where a loss's centres (C, D) are, in the units of the features (N, D) as they see them.

    Of the `LossWithCenters` `cluster`, whose centres were `before` the epoch; None has NaN alone.
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
    counts = losses.sum_by_class(torch.ones_like(features[:, :1]), targets, classes)  # (C, 1)
    return losses.sum_by_class(features, targets, classes) / counts.clamp(min=1), counts[:, 0] > 0


def _spread(points: Tensor) -> float:
    """Root mean square distance between points; NaN of one."""
    pairs = len(points) * (len(points) - 1)
    return math.sqrt(float(losses.center_separation(points).sum()) / pairs) if pairs else math.nan


def find_collapse(history: list[dict], first_norm: float) -> str | None:
    """What to say where the embedding has collapsed in the last row of the history, else None.

    `first_norm` is the mean embedding norm of the very first training batch.
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

    def __init__(self, run: Run, selection: str, on_epoch: Callable | None = None, stop=None):
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
        models.save_weights(module.evaluated, self.best_file("weights"), about)
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
