"""The LightningModule: Algorithm 1 of the paper in `training_step`."""

import copy
import math

import numpy as np
import torch
import torch.distributed as dist
from pytorch_lightning import LightningModule
from sklearn.metrics import f1_score
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from fer_utils import losses, metrics, models
from fer_utils.core import EXPRESSIONS, RunParameters
from fer_utils.training.recorder import center_stats, embedding_stats


class ExpressionModule(LightningModule):
    """A `FERNet` and its joint loss, trained by the paper's recipe.

    In evaluation mode the network with averaged weights answers, if there is one.
    `pretrained` is the report of `load_pretrained`.
    """

    def __init__(
        self, network: nn.Module, loss: nn.Module, params: RunParameters, pretrained: dict
    ):
        super().__init__()
        self.network, self.loss, self.params = network, loss, params
        self.pretrained = pretrained
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
        if self.params.target == "subject":
            return logits[:, :0].float().cpu(), features.float().cpu()
        return self._probabilities(batch[0], logits).log().cpu(), features.float().cpu()

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
        f1 = f1_score(targets, found, average="macro", zero_division=0)
        return {
            "train_loss": float(train_loss),
            "validation_loss": float(sum(loss)) / len(targets),
            "validation_accuracy": float(np.mean(found == targets)),
            "validation_f1": float(f1),
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
