"""`fit`: one run from parameters to a finished folder; begins, goes on, or returns what is already done."""

import contextlib
import logging
import signal
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytorch_lightning as lightning
import torch
from pytorch_lightning.callbacks import TQDMProgressBar
from pytorch_lightning.callbacks.progress.tqdm_progress import Tqdm
from pytorch_lightning.strategies import DDPStrategy

from fer_utils import datasets, losses, models
from fer_utils.datasets import class_counts, read_manifest, write_manifest
from fer_utils.errors import Diverged, InputError
from fer_utils.expressions import EXPRESSIONS
from fer_utils.files import replaced
from fer_utils.frontend import in_headless_kernel
from fer_utils.runs import Run, RunParameters, located, parameters
from fer_utils.scoring import score
from fer_utils.training import processes
from fer_utils.training.data import ExpressionData
from fer_utils.training.module import ExpressionModule
from fer_utils.training.preparing import pack_if_asked, prepare_manifest
from fer_utils.training.record import Abandoned, Record, image_counts
from fer_utils.training.verifying import verify_strangers
from fer_utils.weights import load_pretrained, load_weights


class Interrupted(KeyboardInterrupt):
    """Training was stopped by the user; shown as one line in a notebook."""

    def _render_traceback_(self) -> list[str]:
        return [str(self)]


def fit(
    params: RunParameters | dict,
    root: str | None = None,
    on_epoch: Callable[[pd.DataFrame], None] | None = None,
    stop: Callable[[], str] | None = None,
) -> Run:
    """Train, select on validation, evaluate once on test, and leave a complete run folder.

    A finished run is returned as it is. One that was interrupted goes on after its last complete epoch and, on the
    CPU with the same number of threads, arrives at the same numbers as if nothing had happened.

    Args:
        params: run parameters, or a dict of them (strict: see `fer_utils.runs.parameters`).
        root: the study's checkout; default: the one around the working directory.
        on_epoch: called after each epoch with the history so far.
        stop: asked at each batch whether to go on, "", or to end, "after_epoch" or "now". After the epoch the run is
            evaluated as it stands, but is not finished (`Run.stopped`): the same call trains the epochs that are left.

    Returns:
        The finished `Run`, or the stopped one.

    Raises:
        InputError: for bad parameters or data, or where the folder holds a run with other parameters.
        Diverged: where numbers ceased to be finite in the first epoch, so that there is nothing to evaluate; the folder
            says so and counts as finished. Later, the best epoch before is evaluated, with a warning.
        Interrupted: after Ctrl-C or `stop() == "now"`; nothing but the current epoch is lost.
    """
    params = parameters(params) if isinstance(params, dict) else params.resolve()
    run = Run(params.study, params.run, root)
    with run.locked():
        run.check_same(params)
        if not run.finished:
            _complete(run, params, Record(run, params.selection, on_epoch, stop))
    if not run.evaluated:
        raise Diverged(
            f"run {run.study}/{run.name} diverged: its numbers ceased to be finite in the first epoch; nothing "
            "can be evaluated; lower the learning rate or the weight of the loss's second term, and name another run"
        )
    return run


def _complete(run: Run, params: RunParameters, record: Record) -> None:
    manifest, module, data = _prepare(run, params)
    trainer = make_trainer(params, record)
    if not run.begun:
        write_manifest(manifest, run.path("manifest.parquet"))
        on_gpu = trainer.strategy.root_device.type == "cuda"
        run.start(params, torch.cuda.get_device_name() if on_gpu else "cpu")
    run.forget_evaluation()
    results = {}
    with _interruptible(run, params.epochs):
        try:
            if processes.is_wanted(params):
                processes.check_shares(params, len(data.validation))
                processes.train(run, params, record)
            else:
                _train(trainer, module, data, run)
        except Diverged as error:
            results["diverged_in"] = record.diverge()
            trainer = make_trainer(params, record)
            if record.history:
                warnings.warn(
                    f"training diverged in epoch {results['diverged_in']}, the best epoch before is evaluated: {error}",
                    stacklevel=2,
                )
    pretrained = {**module.pretrained, "source": Path(params.weights).name}
    run.write_json(
        "architecture.json", {**models.describe(module.network, params.image_size), "pretrained": pretrained}
    )
    if not record.history:
        run.write_json("metrics.json", {**image_counts(manifest), **results})
        return
    load_weights(module.evaluated, run.path("best.safetensors"))
    if params.target == "subject":
        results |= {f"validation_{name}": record.best[f"validation_{name}"] for name in ("accuracy", "f1")}
    if data.test is not None:
        with _interruptible(run, params.epochs):
            batches = trainer.predict(module, datamodule=data)
        probabilities, features = (torch.cat(parts).numpy() for parts in zip(*batches, strict=True))
        if params.target == "subject":
            results |= verify_strangers(data.test.manifest, features, run, seed=params.data_seed)
        else:
            results |= _evaluate(data.test.manifest, probabilities, features, run)
    done = len(record.history)
    early = done < params.epochs and "diverged_in" not in results
    stopped = {"stopped_after": done, "epochs": params.epochs} if early else {}
    run.write_json(
        "stopped.json" if stopped else "metrics.json",
        {
            **stopped,
            "best_epoch": record.best["epoch"],
            "collapsed": any(row.get("collapsed", False) for row in record.history),
            **image_counts(manifest),
            "seconds": round(sum(row["seconds"] for row in record.history), 1),
            **results,
        },
    )


def train_process(run: Run, params: RunParameters) -> None:
    """Train a run that has begun as one process of several (`fer_utils.training.processes`)."""
    _, module, data = _prepare(run, params)
    trainer = make_trainer(params, Record(run, params.selection))
    with quiet():
        _train(trainer, module, data, run)


def _prepare(run: Run, params: RunParameters) -> tuple[pd.DataFrame, ExpressionModule, ExpressionData]:
    """Manifest, network with its loss, and data of a run, new or begun."""
    manifest = _manifest(run, params)
    if params.threads:
        torch.set_num_threads(params.threads)
    module = build(params, manifest, run.root)
    if params.compile:
        module.network.compile()
    return manifest, module, ExpressionData(pack_if_asked(manifest, params, run.root), params)


def _train(trainer: lightning.Trainer, module: ExpressionModule, data: ExpressionData, run: Run) -> None:
    """Train from where the run is."""
    last = run.path("last.ckpt")
    trainer.fit(module, data, ckpt_path=last if last.is_file() else None, weights_only=True)


def _manifest(run: Run, params: RunParameters) -> pd.DataFrame:
    """The manifest that the run began with, or a new one; its folder is where the data are now."""
    if not run.begun:
        return prepare_manifest(params, run.root)
    manifest = read_manifest(run.path("manifest.parquet"))
    if params.data:
        now = datasets.read_dataset(params.dataset, located(params.data, run.root), check_images=False)
        manifest.attrs["root"] = now.attrs["root"]
    return manifest


def build(params: RunParameters, manifest: pd.DataFrame, root: Path) -> ExpressionModule:
    """Network (pre-trained and frozen as asked) and loss, initialised from `params.seed` alone."""
    torch.manual_seed(params.seed)
    backbone = models.build_backbone(params.architecture, params.image_size)
    source = params.weights
    source = source if source in ("none", "imagenet") else located(source, root)
    report = load_pretrained(backbone, source, params.input_convention)
    if report["plausible"].startswith("no: "):
        warnings.warn(f"{Path(source).name}, {report['plausible'].removeprefix('no: ')}", stacklevel=2)
    if params.target == "label":
        counts = class_counts(manifest, "train")
    else:
        counts = manifest.loc[manifest["split"] == "train", params.target].value_counts().sort_index().tolist()
    network = models.FERNet(
        backbone,
        num_classes=len(counts),
        embedding_activation=params.embedding_activation,
        embedding_norm=params.embedding_norm,
        classifier=params.classifier,
        logit_scale=params.logit_scale,
    )
    models.freeze_stages(network, params.frozen_stages)
    if processes.is_one() and params.device != "cpu" and torch.cuda.is_available():
        processes.synchronise_batch_norms(network)
    loss = losses.make_loss(
        params.loss,
        counts,
        network.embedding_dim,
        cluster_weight=params.cluster_weight,
        alpha=params.alpha,
        gamma=params.gamma,
        reduction=params.reduction,
        center_init=params.center_init,
        center_update=params.center_update,
        seed=params.seed,
        focal_gamma=params.focal_gamma,
        beta=params.beta,
        tau=params.tau,
        max_margin=params.max_margin,
        scale=params.logit_scale,
        drw_start=params.drw_start,
        island_weight=params.island_weight,
        angular_margin=params.angular_margin,
    )
    return ExpressionModule(network.to(memory_format=torch.channels_last), loss, params, report)


def make_trainer(params: RunParameters, callback: lightning.Callback) -> lightning.Trainer:
    """Lightning's trainer, of the device, precision and epochs that `params` ask for."""
    if params.device == "cuda" and not torch.cuda.is_available():
        raise InputError("expected a CUDA device (device='cuda'), found none; use device='auto' or 'cpu'")
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    where = {"devices": 1}
    if processes.is_one():
        where = {"devices": processes.devices(params), "num_nodes": params.num_nodes, "use_distributed_sampler": False}
        where["strategy"] = DDPStrategy(broadcast_buffers=False)  # they are the same, or each process's own
    with quiet():
        return lightning.Trainer(
            accelerator={"auto": "auto", "cpu": "cpu", "cuda": "gpu"}[params.device],
            **where,
            precision=params.precision,
            max_epochs=params.epochs,
            accumulate_grad_batches=params.accumulate,
            callbacks=[callback] if in_headless_kernel() else [callback, Progress()],
            logger=False,
            enable_checkpointing=False,
            enable_model_summary=False,
            enable_progress_bar=not in_headless_kernel(),
            num_sanity_val_steps=0,
        )


class Progress(TQDMProgressBar):
    """Lightning's bar, without one more for each validation, which a notebook would keep."""

    def init_validation_tqdm(self) -> Tqdm:
        return Tqdm(disable=True)


@contextlib.contextmanager
def quiet():
    """Without Lightning's advice that does not apply here, and its use of a deprecated piece of torch."""
    with warnings.catch_warnings():
        for advice in ("does not have many workers", "number of training batches", "in eval mode", "treespec"):
            warnings.filterwarnings("ignore", message=f".*{advice}")
        yield


@contextlib.contextmanager
def _interruptible(run: Run, epochs: int):
    """Turn Ctrl-C into `Interrupted`, and leave the process able to take the next one.

    Lightning ends the process on Ctrl-C and ignores any further one; a notebook's kernel has to live on.
    """
    handler = signal.getsignal(signal.SIGINT)
    try:
        with quiet():
            yield
    except (SystemExit, Abandoned) as end:
        if isinstance(end, SystemExit):
            signal.signal(signal.SIGINT, handler)
        done = len(pd.read_csv(run.path("history.csv"))) if run.path("last.ckpt").is_file() else 0
        raise Interrupted(f"stopped after epoch {done} of {epochs}; the same command goes on from there") from None


def _evaluate(test: pd.DataFrame, probabilities: np.ndarray, features: np.ndarray, run: Run) -> dict:
    """Write predictions and features of the test split, made once with the best weights; return metrics.

    With `evaluation="validation"` it is the validation split, and the run has no test split at all.
    """
    table = pd.DataFrame({"image": test["image"].astype(str).to_numpy(), "label": test["label"].to_numpy()})
    table[[f"p_{name}" for name in EXPRESSIONS]] = probabilities
    with replaced(run.path("predictions.parquet")) as temporary:
        table.to_parquet(temporary, index=False)
    with replaced(run.path("features.npy")) as temporary:
        np.save(temporary, features)
    return score(table["label"].to_numpy(), probabilities)
