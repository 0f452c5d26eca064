"""The LightningModule: Algorithm 1 of the paper in `training_step`."""

import numpy as np
import torch
from pytorch_lightning import LightningModule
from sklearn.metrics import f1_score
from torch import Tensor, nn

from fer_utils import metrics
from fer_utils.expressions import EXPRESSIONS
from fer_utils.losses.distributed import alone, gather, mean_over_processes, processes
from fer_utils.models import get_layout
from fer_utils.runs import RunParameters
from fer_utils.training.averaging import WeightAverage
from fer_utils.training.geometry import center_geometry, embedding_geometry
from fer_utils.training.schedule import first_rate, rate_factor


class ExpressionModule(LightningModule):
    """A network and its joint loss, trained by the paper's recipe (SGD with momentum, rate halved every 10 epochs).

    In evaluation mode it is the network with averaged weights that answers, if there is one.

    Args:
        network: a `FERNet`.
        loss: from `make_loss`.
        params: resolved.
        pretrained: report of `load_pretrained`.
    """

    def __init__(self, network: nn.Module, loss: nn.Module, params: RunParameters, pretrained: dict):
        super().__init__()
        self.network, self.loss, self.params, self.pretrained = network, loss, params, pretrained
        self.average = WeightAverage(network, params.weight_average) if params.weight_average else None
        self.register_buffer("first_norm", torch.tensor(float("nan")))  # mean embedding norm of the very first batch

    def on_save_checkpoint(self, checkpoint: dict) -> None:
        backbone = self.network.backbone
        checkpoint["fer_utils"] = {  # makes it a source of `load_pretrained`
            "architecture": backbone.architecture,
            "layout": get_layout(backbone),
            "input_convention": backbone.input_convention,
        }

    def on_load_checkpoint(self, checkpoint: dict) -> None:
        checkpoint["state_dict"].setdefault("first_norm", self.first_norm)  # a checkpoint older than this buffer

    @property
    def evaluated(self) -> nn.Module:
        """The network that is validated, kept and tested."""
        return self.network if self.average is None else self.average.network

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(N, 3, H, W) normalised images → logits (N, C) and features (N, D)."""
        network = self.network if self.training else self.evaluated
        return network(images.contiguous(memory_format=torch.channels_last))

    def configure_optimizers(self):
        params = self.params
        groups = [{"params": [weight for weight in self.network.parameters() if weight.requires_grad]}]
        centers = list(self.loss.center_parameters())
        if centers:
            groups.append({"params": centers, "lr": params.gamma, "momentum": 0.0, "weight_decay": 0.0})
        optimizer = torch.optim.SGD(  # fused: the same numbers, bit for bit, in less than half the time
            groups, lr=first_rate(params), momentum=params.momentum, weight_decay=params.weight_decay, fused=True
        )
        by_epoch = params.schedule == "halve" and not params.warmup_epochs
        steps = 1 if by_epoch else self.trainer.estimated_stepping_batches // params.epochs
        factors = [lambda step: rate_factor(params, step, steps), lambda _: 1.0]  # γ stays
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factors[: len(groups)])
        return [optimizer], [{"scheduler": schedule, "interval": "epoch" if by_epoch else "step"}]

    def optimizer_step(self, *arguments, **options) -> None:
        super().optimizer_step(*arguments, **options)
        if self.average is not None:
            self.average.update(self.network, self.global_step)

    def training_step(self, batch: tuple[Tensor, Tensor], number: int) -> Tensor:
        images, targets = batch
        logits, features = self(images)
        loss = self.loss(logits, features, targets)  # L = L_softmax + λ L_cluster, with this step's centres (line 4)
        if self.global_step == 0 and number == 0:
            self.first_norm = mean_over_processes(features.detach().float().norm(dim=1).mean())
        self._waiting.append((features.detach(), targets))
        if (number + 1) % self.params.accumulate == 0 or self.trainer.is_last_batch:  # the optimiser's step follows
            self.loss.update(*map(torch.cat, zip(*self._waiting, strict=True)))  # Eq. 9, sign corrected (line 10)
            self._waiting.clear()
        images = self._images(number, targets)
        self._train_sum += self._over_images(loss.detach(), images)
        self._train_count += images
        # Lightning divides by the batches of a step: right for means, while a sum stays a sum.
        return loss * self.params.accumulate if self.params.reduction == "sum" else loss

    def _over_images(self, loss: Tensor, images: int) -> Tensor:
        return loss if self.params.reduction == "sum" else loss * images

    def _images(self, number: int, targets: Tensor) -> int:
        """How many images a training batch has in all processes."""
        if processes() == 1:
            return len(targets)
        size = self.params.batch_size
        return min(size, len(self.trainer.datamodule.train) - number * size)

    def on_train_epoch_start(self) -> None:
        self._train_sum, self._train_count = torch.zeros((), device=self.device), 0
        self._learning_rate = self.optimizers().param_groups[0]["lr"]
        self._waiting: list[tuple[Tensor, Tensor]] = []
        self._centers = None if self.loss.centers is None else self.loss.centers.detach().clone()
        self.loss.set_progress(self.current_epoch / self.params.epochs)

    def on_validation_epoch_start(self) -> None:
        self._validation = []

    def validation_step(self, batch: tuple[Tensor, Tensor], _) -> None:
        images, targets = batch
        logits, features = self(images)
        with alone():
            loss = self._over_images(self.loss(logits, features, targets), len(targets))
        predictions = self._probabilities(images, logits).argmax(1) if self.params.flip_test else logits.argmax(1)
        self._validation.append((loss, predictions, targets, features.float()))

    def on_validation_epoch_end(self) -> None:
        if processes() == 1:
            return
        losses, predictions, targets, features = zip(*self._validation, strict=True)
        predictions, targets, features = map(torch.cat, (predictions, targets, features))
        predictions, _ = gather(predictions, targets)  # in order: each process holds the images after its predecessor's
        features, targets = gather(features, targets)
        self._validation = [(mean_over_processes(sum(losses)) * processes(), predictions, targets, features)]
        self._train_sum = mean_over_processes(self._train_sum)

    def predict_step(self, batch: tuple[Tensor, Tensor], _) -> tuple[Tensor, Tensor]:
        logits, features = self(batch[0])
        if self.params.target == "subject":  # people who are none of the classes, of which there are thousands
            return logits[:, :0].float().cpu(), features.float().cpu()
        return self._probabilities(batch[0], logits).cpu(), features.float().cpu()

    def _probabilities(self, images: Tensor, logits: Tensor) -> Tensor:
        """Of the images, or with `flip_test` the mean of an image's and its mirror image's: float32 (N, C)."""
        probabilities = logits.float().softmax(1)
        if self.params.flip_test:
            probabilities = (probabilities + self(images.flip(-1))[0].float().softmax(1)) / 2
        return probabilities

    def _recalls(self, targets: np.ndarray, predictions: np.ndarray) -> dict[str, float]:
        """Validation recall of each expression, NaN where it has no image; of people, who are too many, nothing."""
        if self.params.target != "label":
            return {}
        recalls = metrics.recall_per_class(metrics.count_confusion(targets, predictions))
        return {f"validation_recall_{name}": float(value) for name, value in zip(EXPRESSIONS, recalls, strict=True)}

    def epoch_record(self) -> dict[str, float]:
        """Losses, validation metrics (0–1) and the geometry of the embedding, of the epoch that just ended.

        A loss is the run's own under its reduction, averaged over batches by their images; a sum over the batch counts
        as its mean, so that batches of different size compare.
        """
        losses, predictions, targets, features = zip(*self._validation, strict=True)
        features, labels = torch.cat(features), torch.cat(targets)
        predictions, targets = torch.cat(predictions).cpu().numpy(), torch.cat(targets).cpu().numpy()
        return {
            "train_loss": float(self._train_sum) / self._train_count,
            "validation_loss": float(sum(losses)) / len(targets),
            "validation_accuracy": float(np.mean(predictions == targets)),
            "validation_f1": float(f1_score(targets, predictions, average="macro", zero_division=0)),
            **self._recalls(targets, predictions),
            "learning_rate": self._learning_rate,
            **embedding_geometry(features, labels, self.network.num_classes),
            **center_geometry(features, labels, self.loss.centers, self._centers),
        }
