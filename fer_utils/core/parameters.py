"""The parameters of a run: named, checked, and filled in from the paper's recipe."""

from collections.abc import Iterable
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fer_utils.core import paper
from fer_utils.core.base import InputError, check_choice

# The paper's two networks, a narrow sibling of each, and two made for faces of 48 pixels.
OWN_ARCHITECTURES = (
    "se_resnet50", "resnet50", "se_resnet14", "resnet14", "small_se_resnet", "small_resnet",
)  # fmt: skip
DATASETS = ("synthetic", "affectnet", "fer2013", "ferplus", "rafdb", "folder", "identities")
LOSSES = (*paper.LOSSES, *paper.BASELINES)
LAMBDAS = {**paper.RECIPE["lambda"], "island_softmax": 0.01}  # Sec. 4.3; Cai et al.
HARD_LABEL_LOSSES = ("focal", "ldam_drw", "arcface")  # losses without soft targets
COSINE_LOSSES = ("ldam_drw", "arcface")  # their margins are on cosines

# How a run is computed, not what: free to change between its start and its resumption.
# (Of `weights` the content counts, see `Run.check_same`.)
EXECUTION_FIELDS = (
    "data", "weights", "threads", "workers", "device", "devices", "strategy", "compile",
)  # fmt: skip
NO_FOLDER = 'it names a folder: no slashes or any of :*?"<>|'
# What `data_options` may hold.
DATA_OPTIONS = {
    "subjects": 300,  # drawn faces: how many people
    "difficulty": 0.1,  # drawn faces: strength of pose, light, occlusion, blur and noise
    "label_noise": None,  # drawn faces: share of wrong labels; None: as often as people disagree
    "min_images": 1,  # identities: people with fewer images are left out
    "held_out_people": 0.0,  # identities: share of people kept for verification
    "held_out_per_class": 500,  # protocol "paper": validation images a class, and test images
    "box_margin": None,  # share of the face box added around it; None: images as they are
    "on_bad_image": "raise",  # or "skip", and count it
}


class RunParameters(BaseModel):
    """Everything that decides a run; `None` is filled in by `parameters`."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, validate_default=True, allow_inf_nan=False
    )

    study: str = "explore"
    run: str = "first"
    # data
    dataset: Literal[DATASETS] = "synthetic"
    data: str = ""
    data_options: dict[str, Any] = {}
    target: Literal["label", "subject"] = "label"
    label_rule: Literal["majority", "argmax", "probability"] = "majority"
    label_mode: Literal["majority", "probability"] = "majority"
    protocol: Literal["official", "paper", "k_fold"] = "official"
    folds: int = Field(5, ge=3)
    fold: int = Field(0, ge=0)
    remove_leaks: Literal["none", "exact", "near"] = "exact"
    train_images: int = Field(4000, ge=0)
    validation_images: int = Field(400, ge=0)
    test_images: int = Field(800, ge=0)
    evaluation: Literal["test", "validation"] = "test"
    data_seed: int = Field(0, ge=0)
    # network
    image_size: int = Field(48, ge=32)
    crop_pct: float = Field(0.875, gt=0, le=1)
    architecture: str = "small_se_resnet"
    weights: str = "none"
    input_convention: Literal["native", "paper"] = "native"
    embedding_dim: int | None = Field(None, ge=2)
    embedding_activation: Literal["none", "relu"] = "none"
    embedding_norm: Literal["none", "batch"] = "none"
    classifier: Literal["linear", "cosine"] | None = None
    frozen_stages: int | None = Field(None, ge=0)
    # loss
    loss: Literal[LOSSES] = "weighted_cluster"
    cluster_weight: float | None = Field(None, ge=0)
    alpha: float = Field(1.0, gt=0)
    gamma: float = Field(1.0, ge=0)
    weight_power: float = Field(1.0, ge=0)
    reduction: Literal["sum", "mean", "weighted_mean", "balanced"] = "weighted_mean"
    center_distance: Literal["sum", "mean"] = "sum"
    normalize_embedding: bool = False
    center_init: Literal["zeros", "normal", "class_means"] = "class_means"
    center_update: Literal["paper", "autograd"] = "paper"
    loss_options: dict[str, float] = {}
    # training
    epochs: int = Field(6, ge=1)
    batch_size: int | None = Field(None, ge=2)
    accumulate_grad_batches: int = Field(1, ge=1)
    optimizer: Literal["sgd", "adamw"] = "sgd"
    learning_rate: float | None = Field(None, gt=0)
    momentum: float = Field(0.9, ge=0, lt=1)
    weight_decay: float = Field(5e-4, ge=0)
    schedule: Literal["halve", "cosine"] = "halve"
    halve_every: int = Field(10, ge=1)
    warmup_epochs: float = Field(0.0, ge=0)
    clip_norm: float = Field(0.0, ge=0)
    ema_decay: float = Field(0.0, ge=0, lt=1)
    augmentation: Literal["paper", "strong"] = "paper"
    augmentation_strength: float = Field(1.0, ge=0, le=1)
    crop_scale_min: float = Field(0.7, gt=0, le=1)
    flip_tta: bool = False
    selection: Literal["f1", "accuracy", "last"] = "f1"
    seed: int = Field(0, ge=0)
    # machine
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    devices: int | str = 1
    strategy: str = "auto"
    compile: bool = False
    threads: int = Field(0, ge=0)
    workers: int = Field(0, ge=0)

    def data_option(self, name: str):
        """Value of one of `DATA_OPTIONS`."""
        return self.data_options.get(name, DATA_OPTIONS[name])


def parameters(values: dict) -> RunParameters:
    """Strict run parameters: the first name, type, range or combination that cannot be is refused.

    `None` is resolved, from the paper's recipe (Sec. 4.3): learning rate 0.001 and batch 36 with
    pre-trained weights, 0.01 and 30 without; stages 1–3 frozen only with pre-trained weights; λ = 1
    for the weighted-cluster loss, 0.5 for center loss (0.01 for island loss, its authors').

    >>> parameters({"loss": "softmax", "weights": "none"}).learning_rate
    0.01
    """
    check_names(values)
    try:
        params = RunParameters(**values)
    except ValidationError as error:
        raise InputError(_first_complaint(error)) from None
    pretrained = params.weights != "none"
    recipe, start = paper.RECIPE, "pretrained" if pretrained else "scratch"
    small, own = params.architecture.startswith("small_"), params.architecture in OWN_ARCHITECTURES
    defaults = {
        "classifier": "cosine" if params.loss in COSINE_LOSSES else "linear",
        "embedding_dim": 128 if small else recipe["embedding_dim"],
        "frozen_stages": recipe["frozen_stages"] if pretrained and own else 0,
        "cluster_weight": LAMBDAS.get(params.loss, 0.0),
        "batch_size": recipe["batch_size"][start],
        "learning_rate": recipe["learning_rate"][start],
    }
    missing = {name: value for name, value in defaults.items() if getattr(params, name) is None}
    params = params.model_copy(update=missing)
    _check_together(params)
    return params


def _first_complaint(error: ValidationError) -> str:
    found = error.errors()[0]
    name, value = found["loc"][0], found["input"]
    if found["type"] == "literal_error":
        choices = RunParameters.model_fields[name].annotation.__args__
        try:
            check_choice(str(name), value, [item for item in choices if isinstance(item, str)])
        except InputError as unknown:
            return str(unknown)
    expected = found["msg"].removeprefix("Input should be ")
    return f"parameter {name!r}: expected {expected}, got {value!r}"


def _check_together(params: RunParameters) -> None:
    for name in params.data_options:
        check_choice("data option", name, DATA_OPTIONS)
    soft, of_people = params.label_mode == "probability", params.target == "subject"
    people = params.dataset == "identities" or params.data_option("held_out_people")
    own_splits = of_people or params.dataset in ("synthetic", "identities")
    number = isinstance(params.devices, int) and params.devices >= 1
    last = (params.epochs - 1) / params.epochs  # share of training done before the last epoch
    start = params.loss_options.get("drw_start", 0.8)
    rules = [
        ("study", not _names_folder(params.study), NO_FOLDER),
        ("run", not _names_folder(params.run), NO_FOLDER),
        ("data", params.dataset == "synthetic" and params.data,
         "drawn faces need no folder; leave it out or name its dataset"),
        ("dataset", people and not of_people, "to recognise people set target='subject'"),
        ("target", soft and of_people,
         "people have no distributions of labels; set label_mode='majority'"),
        ("loss", soft and params.loss in HARD_LABEL_LOSSES,
         "it is defined for labels alone; set label_mode='majority'"),
        ("protocol", params.protocol != "official" and own_splits,
         "drawn faces and identities have splits of their own; leave it out"),
        ("fold", params.fold >= params.folds,
         f"it must be below folds ({params.folds}); the first is 0"),
        ("classifier", params.loss in COSINE_LOSSES and params.classifier != "cosine",
         f"loss {params.loss!r} puts margins on cosines: 'cosine' is needed"),
        ("epochs", params.loss == "ldam_drw" and last < start < 1,
         f"with drw_start={start} the weights would never count; set it to {last:.2g}"),
        ("warmup_epochs", params.warmup_epochs >= params.epochs,
         f"it must be fewer than epochs ({params.epochs})"),
        ("frozen_stages", params.architecture in OWN_ARCHITECTURES and params.frozen_stages > 5,
         "the network has 5 stages"),
        ("devices", not number and params.devices != "auto", "expected a number from 1, or 'auto'"),
    ]  # fmt: skip
    for name, wrong, why in rules:
        if wrong:
            raise InputError(f"parameter {name!r}: got {getattr(params, name)!r}; {why}")


def _names_folder(name: str) -> bool:
    return bool(name) and not name.startswith(".") and not set(name) & set('/\\:*?"<>|')


def check_names(names: Iterable[str], known: Iterable[str] = tuple(RunParameters.model_fields)):
    """Raise `InputError` for the first name that is not known, with the nearest right one."""
    for name in names:
        check_choice("parameter", name, known)


def notebook_parameters(namespace: dict) -> dict:
    """Parameters of a notebook from its `globals()`, taken right after its parameters cell.

    Papermill defines whatever it is given, a misspelt name too: so all public plain values count.
    When cells run again in one kernel, what later cells defined since does not.
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
