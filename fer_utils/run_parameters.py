"""The parameters of a run: every one named, checked, and resolved by the paper's recipe."""

import dataclasses
import math
import typing
from dataclasses import dataclass

from fer_utils import architectures, paper
from fer_utils.errors import InputError, check_choice

CHOICES = {
    "dataset": ("synthetic", "affectnet", "fer2013", "ferplus", "rafdb", "folder", "identities"),
    "target": ("label", "subject"),
    "label_rule": ("majority", "argmax", "probability"),
    "label_mode": ("majority", "probability"),
    "architecture": architectures.ARCHITECTURES,
    "input_convention": architectures.INPUT_CONVENTIONS,
    "embedding_activation": ("none", "relu"),
    "embedding_norm": ("none", "batch"),
    "loss": (*paper.LOSSES, *paper.RIVALS),
    "reduction": ("sum", "mean", "weighted_mean"),
    "center_init": ("zeros", "normal", "class_means"),
    "center_update": ("paper", "autograd"),
    "selection": ("f1", "accuracy"),
    "protocol": ("official", "paper", "k_fold"),
    "on_bad_image": ("raise", "skip"),
    "evaluation": ("test", "validation"),
    "schedule": ("halve", "cosine"),
    "augmentation": ("paper", "strong"),
    "precision": ("32-true", "bf16-mixed", "16-mixed"),
    "device": ("auto", "cpu", "cuda"),
    "strategy": ("auto", "ddp"),
}
# Where and how a run is computed, not what: free to change between a start and its resumption. (Of `weights` the
# content counts, see `Run.check_same`.)
PLACE = ("data", "weights", "threads", "workers", "device", "devices", "num_nodes", "strategy", "compile")

LABELS_ALONE = ("focal", "ldam_drw", "arcface")  # losses without soft targets


@dataclass
class RunParameters:
    """Everything that decides a run; `None` is resolved by the paper's recipe (see `resolve`)."""

    study: str = "explore"
    run: str = "first"
    dataset: str = "synthetic"
    data: str = ""
    target: str = "label"
    label_rule: str = "majority"
    label_mode: str = "majority"
    protocol: str = "official"
    held_out_per_class: int = 500
    folds: int = 5
    fold: int = 0
    remove_leaks: bool = True
    on_bad_image: str = "raise"
    train_images: int = 4000
    validation_images: int = 400
    test_images: int = 800
    subjects: int = 300
    difficulty: float = 0.1
    min_images: int = 1
    held_out_people: float = 0.0
    image_size: int = 48
    architecture: str = "se_resnet14"
    weights: str = "none"
    input_convention: str = "native"
    embedding_activation: str = "none"
    embedding_norm: str = "none"
    classifier: str | None = None
    frozen_stages: int | None = None
    loss: str = "weighted_cluster"
    cluster_weight: float | None = None
    alpha: float = 1.0
    gamma: float = 1.0
    reduction: str = "weighted_mean"
    center_init: str = "class_means"
    center_update: str = "paper"
    island_weight: float = 10.0
    focal_gamma: float = 2.0
    beta: float = 0.9999
    tau: float = 1.0
    max_margin: float = 0.5
    angular_margin: float = 0.5
    logit_scale: float = 30.0
    drw_start: float = 0.8
    epochs: int = 6
    batch_size: int | None = None
    accumulate: int = 1
    learning_rate: float | None = None
    momentum: float = 0.9
    weight_decay: float = 5e-4
    batch_scaling: bool = False
    schedule: str = "halve"
    halve_every: int = 10
    warmup_epochs: float = 0.0
    weight_average: float = 0.0
    augmentation: str = "paper"
    crop_scale_min: float = 0.7
    packed: bool = False
    box_margin: float | None = None
    selection: str = "f1"
    evaluation: str = "test"
    flip_test: bool = False
    seed: int = 0
    data_seed: int = 0
    precision: str = "32-true"
    device: str = "auto"
    devices: int | str = 1
    num_nodes: int = 1
    strategy: str = "auto"
    compile: bool = False
    threads: int = 0
    workers: int = 0

    def resolve(self) -> "RunParameters":
        """Check every value and fill what is `None` from the paper's recipe (Sec. 4.3).

        Learning rate 0.001 and batch 36 with pre-trained weights, 0.01 and 30 without; stages 1–3 frozen only with
        pre-trained weights; λ = 1 for the weighted-cluster loss, 0.5 for centre loss (0.01 for island loss, its
        authors').

        Raises:
            InputError: for a value outside its choices, type or range.
        """
        for field in dataclasses.fields(self):
            self._check_type(field)
        for name, choices in CHOICES.items():
            check_choice(name, getattr(self, name), choices)
        if self.dataset == "synthetic" and self.data:
            raise InputError(f"drawn faces need no folder, found data={self.data!r}; leave it out or name its dataset")
        if self.target == "label" and (self.dataset == "identities" or self.held_out_people):
            name = "held_out_people" if self.held_out_people else "dataset"
            raise InputError(f"{name}={getattr(self, name)!r} is for recognising people; set target='subject'")
        if self.label_mode == "probability" and (self.target != "label" or self.loss in LABELS_ALONE):
            name = "target" if self.target != "label" else "loss"
            raise InputError(
                f"{name}={getattr(self, name)!r} is defined for labels alone, not for distributions; set "
                f"label_mode='majority' or another {name}"
            )
        if self.protocol != "official" and (self.target == "subject" or self.dataset in ("synthetic", "identities")):
            raise InputError(
                f"protocol={self.protocol!r} divides a dataset of real expressions, found dataset={self.dataset!r} and "
                f"target={self.target!r}, which have splits of their own; leave protocol out"
            )
        pretrained = self.weights != "none"
        recipe = {
            "classifier": "cosine" if self.loss in ("ldam_drw", "arcface") else "linear",
            "frozen_stages": 3 if pretrained else 0,
            "cluster_weight": {**paper.RECIPE["lambda"], "island_softmax": 0.01}.get(self.loss, 0.0),
            "batch_size": recipe_batch(self),
            "learning_rate": 0.001 if pretrained else 0.01,
        }
        resolved = dataclasses.replace(
            self, **{name: value for name, value in recipe.items() if getattr(self, name) is None}
        )
        resolved._check_ranges()
        check_choice("classifier", resolved.classifier, ("linear", "cosine"))
        if resolved.loss in ("ldam_drw", "arcface") and resolved.classifier != "cosine":
            raise InputError(f"loss {self.loss!r} puts margins on cosines and needs classifier='cosine', got 'linear'")
        last = (resolved.epochs - 1) / resolved.epochs  # share of the training that is done before the last epoch
        if resolved.loss == "ldam_drw" and last < resolved.drw_start < 1:
            raise InputError(
                f"with {resolved.epochs} epochs and drw_start={resolved.drw_start} the deferred weights of 'ldam_drw' "
                f"would never count; lower drw_start to {last:.2g} (or set 1 for plain LDAM)"
            )
        return resolved

    def _check_type(self, field: dataclasses.Field) -> None:
        value = getattr(self, field.name)
        allowed = typing.get_args(field.type) or (field.type,)
        if float in allowed and isinstance(value, int) and not isinstance(value, bool):
            setattr(self, field.name, float(value))
        elif type(value) not in allowed:
            wanted = " or ".join("nothing" if kind is type(None) else kind.__name__ for kind in allowed)
            raise InputError(f"parameter {field.name!r} must be {wanted}, got {value!r}")

    def _check_ranges(self) -> None:
        at_least = {
            "train_images": 0, "validation_images": 0, "test_images": 0, "image_size": 32, "subjects": 3,
            "difficulty": 0, "frozen_stages": 0, "cluster_weight": 0, "gamma": 0, "epochs": 1, "batch_size": 2,
            "momentum": 0, "weight_decay": 0, "halve_every": 1, "island_weight": 0, "focal_gamma": 0, "tau": 0,
            "max_margin": 0, "accumulate": 1, "seed": 0, "data_seed": 0, "threads": 0, "workers": 0, "min_images": 1,
            "angular_margin": 0, "held_out_per_class": 1, "folds": 3, "fold": 0, "warmup_epochs": 0,
            "num_nodes": 1,
        }  # fmt: skip
        for name, lowest in at_least.items():
            if not getattr(self, name) >= lowest:
                raise InputError(f"parameter {name!r} must be at least {lowest}, got {getattr(self, name)}")
        for name in ("alpha", "learning_rate", "logit_scale"):
            if not getattr(self, name) > 0:
                raise InputError(f"parameter {name!r} must be greater than 0, got {getattr(self, name)}")
        if not self.angular_margin <= math.pi / 2:
            raise InputError(f"parameter 'angular_margin' must be at most π/2 (radians), got {self.angular_margin}")
        if not 0 <= self.held_out_people < 1:
            raise InputError(f"parameter 'held_out_people' must lie in [0, 1), got {self.held_out_people}")
        if self.box_margin is not None and not self.box_margin >= 0:
            raise InputError(f"parameter 'box_margin' must be at least 0 (or nothing), got {self.box_margin}")
        for name in ("beta", "weight_average"):
            if not 0 <= getattr(self, name) < 1:
                raise InputError(f"parameter {name!r} must lie in [0, 1), got {getattr(self, name)}")
        if not self.warmup_epochs < self.epochs:
            raise InputError(f"'warmup_epochs' must be fewer than epochs ({self.epochs}), got {self.warmup_epochs}")
        if self.devices != "auto" and not (isinstance(self.devices, int) and self.devices >= 1):
            raise InputError(f"parameter 'devices' must be a number from 1 or 'auto', got {self.devices!r}")
        if self.batch_scaling and self.reduction == "sum":
            raise InputError("reduction='sum' grows with the batch by itself; leave batch_scaling out")
        if not 0 <= self.drw_start <= 1:
            raise InputError(f"parameter 'drw_start' must lie in [0, 1], got {self.drw_start}")
        if not 0 < self.crop_scale_min <= 1:
            raise InputError(f"parameter 'crop_scale_min' must lie in (0, 1], got {self.crop_scale_min}")
        if self.architecture in architectures.OWN and self.frozen_stages > 5:
            raise InputError(f"parameter 'frozen_stages' must be 0 to 5 (the network has 5), got {self.frozen_stages}")
        if self.fold >= self.folds:
            raise InputError(f"parameter 'fold' must be below folds ({self.folds}), got {self.fold}; the first is 0")
        for name in ("study", "run"):
            value = getattr(self, name)
            if not value or value.startswith(".") or set(value) & set('/\\:*?"<>|'):
                raise InputError(f'parameter {name!r} names a folder: no slashes or any of :*?"<>|, got {value!r}')


def recipe_batch(params: RunParameters) -> int:
    """The paper's batch size (Sec. 4.3): 36 with pre-trained weights, 30 without."""
    return 30 if params.weights == "none" else 36


def check_names(names, known=None) -> None:
    """Raise `InputError` for the first name that is no parameter (of a run, or of `known`), with the nearest right one.

    >>> check_names(["learning_rat"])
    Traceback (most recent call last):
    fer_utils.errors.InputError: unknown parameter 'learning_rat'; did you mean 'learning_rate'? Choose from: ...
    """
    known = known or [field.name for field in dataclasses.fields(RunParameters)]
    for name in names:
        check_choice("parameter", name, known)


def parameters(values: dict) -> RunParameters:
    """Strict run parameters from a dict: unknown names, types and ranges are refused, defaults filled in.

    >>> parameters({"loss": "softmax", "weights": "none"}).learning_rate
    0.01
    """
    check_names(values)
    return RunParameters(**values).resolve()


def notebook_parameters(namespace: dict) -> dict:
    """The parameters of a notebook, out of its `globals()` as they stand right after its parameters cell.

    Papermill defines whatever it is given, a misspelt name too, and only warns. A notebook that calls this before
    it defines anything else itself knows every such name: all public plain values are parameters. When all cells run
    again in the same kernel, what later cells have defined since is none.

    Args:
        namespace: `globals()` of the notebook.

    Returns:
        dict name → value, for `parameters` (or `check_names`) to judge.
    """
    plain = (type(None), bool, int, float, str, list, tuple, dict)
    ipython = {"In", "Out", "exit", "quit", "get_ipython"}
    found = {
        name: value
        for name, value in namespace.items()
        if not name.startswith("_") and name not in ipython and type(value) in plain
    }
    first = namespace.setdefault("_parameters_at_first", frozenset(found))
    declared = first.union(namespace.get("__annotations__", ()))
    return {name: value for name, value in found.items() if name in declared}
