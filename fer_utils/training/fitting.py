"""`fit`: one run from parameters to a finished folder; begins, goes on, or returns what is done."""

import contextlib
import logging
import shutil
import signal
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytorch_lightning as lightning
import torch
from pytorch_lightning.callbacks import TQDMProgressBar
from pytorch_lightning.callbacks.progress.tqdm_progress import Tqdm

from fer_utils import core, datasets, losses, metrics, models
from fer_utils.core import LOG_PROBABILITIES, Diverged, InputError, Run, RunParameters
from fer_utils.training.data import ExpressionData, prepare_manifest
from fer_utils.training.module import Abandoned, ExpressionModule, RunLogger, recall_of_each

# Run parameters that a network's head, a loss and a Trainer take by the same names.
HEAD = {"embedding_dim", "embedding_activation", "embedding_norm", "classifier"}
LOSS = {
    *("cluster_weight", "alpha", "gamma", "weight_power", "reduction", "center_distance", "seed"),
    *("normalize_embedding", "center_init", "center_update"),
}
TRAINER = {"devices", "strategy", "precision", "accumulate_grad_batches"}
PIXELS = 32  # side length at which people are compared without a network


class Interrupted(KeyboardInterrupt):
    """Training was stopped by the user; shown as one line in a notebook."""

    def _render_traceback_(self) -> list[str]:
        return [str(self)]


def fit(
    params: RunParameters | dict, root: Path | str | None = None, on_epoch=None, stop=None
) -> Run:
    """Train, select on validation, evaluate once, and leave a complete run folder.

    A finished run is returned as it is, or goes on if it is asked for more epochs and its schedule
    allows. An interrupted one goes on after its last complete epoch and, on the CPU with the same
    number of threads, arrives at the same numbers.

    Args:
        root: the checkout; default: the one around the working directory.
        on_epoch: called after each epoch with the history so far, a DataFrame.
        stop: asked at each batch whether to go on, "", or to end, "after_epoch" or "now". After the
            epoch the run is evaluated as it stands, but not finished (`Run.stopped`).

    Raises:
        InputError: for bad parameters or data, or where the folder holds another run.
        Diverged: where numbers ceased to be finite in the first epoch; the folder says so and
            counts as finished. Later, the best epoch before is evaluated, with a warning.
        Interrupted: after Ctrl-C or `stop() == "now"`; only the current epoch is lost.
    """
    params = core.parameters(params if isinstance(params, dict) else params.model_dump())
    run = Run(params.study, params.run, root)
    with run.locked():
        run.check_same(params, longer=True)
        if not run.finished or run.params.epochs < params.epochs:
            _complete(run, params, RunLogger(run, params.selection, on_epoch, stop))
    if not run.evaluated:
        raise Diverged(
            f"run {run.study}/{run.name} diverged: its numbers ceased to be finite in the first "
            "epoch; lower the learning rate or the weight of the second term, and name another run"
        )
    return run


def _complete(run: Run, params: RunParameters, logger: RunLogger) -> None:
    manifest = _manifest(run, params)
    if params.threads:
        torch.set_num_threads(params.threads)
    module = build(params, manifest, run.root)
    if params.compile:
        module.network.compile()
    data, trainer = ExpressionData(manifest, params), _trainer(params, logger)
    if not run.begun:
        datasets.write_manifest(manifest, run.path("manifest.parquet"))
    if not run.begun or run.params.epochs != params.epochs:
        device = trainer.strategy.root_device
        on_cuda = device.type == "cuda"
        run.start(params, torch.cuda.get_device_name(device) if on_cuda else device.type)
    run.forget_evaluation()
    found, last = {}, run.path("last.ckpt")
    with _interruptible(run, params.epochs):
        try:
            trainer.fit(module, data, ckpt_path=last if last.is_file() else None, weights_only=True)
        except Diverged as error:
            found["diverged_in"] = logger.record_divergence()
            trainer = _trainer(params, logger)
            if logger.history:
                warnings.warn(
                    f"training diverged in epoch {found['diverged_in']}, "
                    f"the best epoch before is evaluated: {error}",
                    stacklevel=2,
                )
        if not trainer.is_global_zero:
            return
        about = models.describe(module.network, params.image_size)
        about["pretrained"] = {**module.pretrained, "source": Path(params.weights).name}
        run.write_json("architecture.json", about)
        if logger.history:
            _take_best(run, module, logger)
            found |= _evaluate(run, params, module, data, trainer)
    done, stopped = len(logger.history), {}
    if done < params.epochs and "diverged_in" not in found:
        stopped = {"stopped_after": done, "epochs": params.epochs}
    measured = stopped | _summary(params, manifest, logger) | found
    run.write_json("stopped.json" if stopped else "metrics.json", measured)


def _summary(params: RunParameters, manifest: pd.DataFrame, logger: RunLogger) -> dict:
    """Of a run but its scores: epochs, images by split and protocol, how many were left out."""
    about = {}
    if rows := logger.history:
        about |= {"best_epoch": logger.best["epoch"]}
        about |= {"collapsed": any(row["collapsed"] for row in rows)}
    sizes, source = manifest["split"].value_counts(), manifest.attrs
    about |= {f"{split}_images": int(sizes.get(split, 0)) for split in datasets.SPLITS}
    if "protocol" in source:
        about["protocol_name"] = source["protocol"]["name"]
    leaks = ("leaks_removed", "near_leaks_removed")
    about |= {name: int(source[name]) for name in leaks if source.get(name)}
    about["bad_images"] = int(source.get("bad_images", {}).get("count", 0))
    if "dropped" in source:
        about["dropped_images"] = sum(source["dropped"].values())
    if rows:
        about["seconds"] = round(sum(row["seconds"] for row in rows), 1)
    if rows and params.target == "subject":
        about |= {name: logger.best[name] for name in ("validation_accuracy", "validation_f1")}
    return about


def _manifest(run: Run, params: RunParameters) -> pd.DataFrame:
    """The manifest that the run began with, or a new one; its folder is where the data are now."""
    if not run.begun:
        return prepare_manifest(params, run.root)
    manifest = datasets.read_manifest(run.path("manifest.parquet"))
    if params.data:
        folder = core.resolve_path(params.data, run.root)
        now = datasets.read_dataset(params.dataset, folder, check_images=False)
        manifest.attrs["root"] = now.attrs["root"]
    return manifest


def build(params: RunParameters, manifest: pd.DataFrame, root: Path) -> ExpressionModule:
    """Network, pre-trained and frozen as asked, and loss, initialised from `params.seed` alone."""
    torch.manual_seed(params.seed)
    backbone = models.build_backbone(params.architecture, params.image_size)
    given = params.weights not in ("none", "imagenet")
    source = core.resolve_path(params.weights, root) if given else params.weights
    report = models.load_pretrained(backbone, source, params.input_convention)
    if params.target == "label":
        counts = datasets.class_counts(manifest, "train")
    else:
        people = manifest.loc[manifest["split"] == "train", "subject"]
        counts = people.value_counts().sort_index().tolist()
    network = models.FERNet(
        backbone,
        num_classes=len(counts),
        logit_scale=params.loss_options.get("scale", 30.0),
        **params.model_dump(include=HEAD),
    )
    if params.device != "cpu" and torch.cuda.is_available() and params.devices != 1:
        network = torch.nn.SyncBatchNorm.convert_sync_batchnorm(network)
    models.freeze_stages(network, params.frozen_stages)
    options = params.model_dump(include=LOSS) | params.loss_options
    loss = losses.make_loss(params.loss, counts, params.embedding_dim, **options)
    network = network.to(memory_format=torch.channels_last)
    return ExpressionModule(network, loss, params, report)


def _trainer(params: RunParameters, logger: RunLogger) -> lightning.Trainer:
    there = {"cuda": torch.cuda.is_available, "mps": torch.backends.mps.is_available}
    if params.device in there and not there[params.device]():
        raise InputError(f"expected a device {params.device!r}, found none; use 'auto' or 'cpu'")
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    watched = not core.in_headless_kernel()
    with _quiet():
        return lightning.Trainer(
            accelerator="gpu" if params.device == "cuda" else params.device,
            max_epochs=params.epochs,
            gradient_clip_val=params.clip_norm or None,
            callbacks=[logger, EpochBar()] if watched else [logger],
            enable_progress_bar=watched,
            use_distributed_sampler=False,  # `SeededSampler` shares its batches out itself
            benchmark=True,
            logger=False,
            enable_checkpointing=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            **params.model_dump(include=TRAINER),
        )


class EpochBar(TQDMProgressBar):
    """One bar, "epoch 3 of 8", without one more for each validation."""

    def on_train_epoch_start(self, trainer, *arguments) -> None:
        super().on_train_epoch_start(trainer, *arguments)
        name = f"epoch {trainer.current_epoch + 1} of {trainer.max_epochs}"
        self.train_progress_bar.set_description(name)

    def init_validation_tqdm(self) -> Tqdm:
        return Tqdm(disable=True)

    init_predict_tqdm = init_validation_tqdm


@contextlib.contextmanager
def _quiet():
    """Without Lightning's advice that does not apply here."""
    advice = ("does not have many workers", "number of training batches", "in eval mode")
    with warnings.catch_warnings():
        for words in (*advice, "treespec", "ckpt_path"):
            warnings.filterwarnings("ignore", message=f".*{words}")
        yield


@contextlib.contextmanager
def _interruptible(run: Run, epochs: int):
    """Turn Ctrl-C into `Interrupted`, and leave the process able to take the next one.

    Lightning ends the process on Ctrl-C and ignores any further one; a kernel has to live on.
    """
    handler = signal.getsignal(signal.SIGINT)
    try:
        with _quiet():
            yield
    except (SystemExit, Abandoned) as end:
        if isinstance(end, SystemExit):
            signal.signal(signal.SIGINT, handler)
        done = len(pd.read_csv(run.path("history.csv"))) if run.path("last.ckpt").is_file() else 0
        raise Interrupted(
            f"stopped after epoch {done} of {epochs}; the same command goes on from there"
        ) from None


def _take_best(run: Run, module: ExpressionModule, logger: RunLogger) -> None:
    """Make the selected epoch's weights `best.safetensors`, and load them."""
    models.load_weights(module.evaluated, logger.best_file("weights"))
    for kind, name in (("weights", "best.safetensors"), ("centers", "centers.npy")):
        if logger.best_file(kind).is_file():
            with core.atomic_write(run.path(name)) as temporary:
                shutil.copyfile(logger.best_file(kind), temporary)


def _evaluate(run, params, module, data: ExpressionData, trainer) -> dict:
    """Write predictions of validation and test; metrics of the split that `params` names."""
    splits = {"validation": data.validation, "test": data.test}
    splits = {name: part.manifest for name, part in splits.items() if part is not None}
    parts = trainer.predict(module, datamodule=data)
    parts = [parts] if len(splits) == 1 else parts
    results = {
        name: [torch.cat(found).numpy() for found in zip(*batches, strict=True)]
        for name, batches in zip(splits, parts, strict=True)
    }
    if params.target == "subject":
        if "test" not in splits:
            return {}
        return _verify(run, splits["test"], results["test"][1], params.data_seed)
    tables = {}
    for name, (log_p, _) in results.items():
        images, labels = splits[name]["image"].astype(str), splits[name]["label"].astype(np.int64)
        about = pd.DataFrame({"split": name, "image": images, "label": labels})
        table = pd.DataFrame(log_p.astype(np.float16), columns=LOG_PROBABILITIES)
        tables[name] = pd.concat([about.reset_index(drop=True), table], axis=1)
    with core.atomic_write(run.path("predictions.parquet")) as temporary:
        pd.concat(tables.values()).to_parquet(temporary, index=False)
    with core.atomic_write(run.path("features.npy")) as temporary:
        np.save(temporary, results[params.evaluation][1])
    return _score(tables[params.evaluation])


def _score(predictions: pd.DataFrame) -> dict:
    """Metrics, recall of each class and the confusion matrix."""
    labels = predictions["label"].to_numpy()
    probabilities = metrics.probabilities(predictions[list(LOG_PROBABILITIES)])
    chosen = probabilities.argmax(axis=1)
    found = metrics.evaluate(labels, probabilities) | recall_of_each(labels, chosen)
    return found | {"confusion": metrics.confusion_matrix(labels, chosen).tolist()}


def _verify(run: Run, people: pd.DataFrame, features: np.ndarray, seed: int) -> dict:
    """Write `verification.parquet`, a row a pair of images of people held out; its measures."""
    pairs, same = metrics.make_pairs(people["subject"], seed=seed)
    used, places = np.unique(pairs, return_inverse=True)
    pixels = metrics.pixel_embeddings(datasets.load_images(people.iloc[used], size=PIXELS))
    images = people["image"].astype(str).to_numpy()
    of_network = metrics.cosine_similarities(features, pairs)
    of_pixels = metrics.cosine_similarities(pixels, places.reshape(pairs.shape))
    columns = {"image_1": images[pairs[:, 0]], "image_2": images[pairs[:, 1]], "same": same}
    columns |= {"similarity": of_network, "pixel_similarity": of_pixels}
    with core.atomic_write(run.path("verification.parquet")) as temporary:
        pd.DataFrame(columns).to_parquet(temporary, index=False)
    by_pixels = metrics.verify(of_pixels, same)
    return {
        **{f"verification_{name}": v for name, v in metrics.verify(of_network, same).items()},
        **{f"verification_pixel_{name}": by_pixels[name] for name in ("accuracy", "auc")},
        "verification_people": int(people["subject"].nunique()),
    }
