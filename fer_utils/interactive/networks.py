"""The networks behind classifiers, in torch: of a run, of a file; Grad-CAM; the file that ships."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pandas as pd
import torch
from captum.attr import LayerAttribution, LayerGradCam
from torch import Tensor

from fer_utils import metrics, models
from fer_utils.core import LOG_PROBABILITIES, InputError, Run, atomic_write
from fer_utils.models import IMAGENET_INPUT, FERNet

MOST_BYTES = 1_000_000
WANTED_ACCURACY = 0.95  # of the answers that are called sure
# How the detector's box is cut: best on FER+'s validation images (benchmarks/alignment.py).
CUT = {"crop_margin": -0.02, "align": True}
HALF = ".half"  # follows the name of a weight in float16
FEWEST_CELLS = 6  # a side, below which a map says no more than "left" or "below"
AT_ONCE = 32  # images whose activations are kept in memory


def calibrate(log_probabilities, labels, accuracy: float = WANTED_ACCURACY) -> dict:
    """The temperature, and the confidence above which answers are right as often as wanted.

    Of validation images (N, 8) and (N,). Where no answers reach the accuracy, the surest half is
    called sure; `coverage` is their share.
    """
    temperature = float(metrics.fit_temperature(log_probabilities, labels))
    found = metrics.apply_temperature(log_probabilities, temperature)
    order = np.argsort(-found.max(axis=1), kind="stable")  # the surest first
    right = (found.argmax(axis=1) == labels)[order].cumsum() / np.arange(1, len(order) + 1)
    enough = np.flatnonzero(right >= accuracy)
    last = enough[-1] if len(enough) else (len(order) - 1) // 2
    threshold = float(np.exp(found.max(axis=1)[order[last]]))
    sure = {"coverage": float((last + 1) / len(order)), "accuracy": float(right[last])}
    return {"temperature": temperature, "sure": {"threshold": threshold} | sure}


def of_run(run: Run) -> tuple[dict, Callable[[np.ndarray], np.ndarray], FERNet]:
    """What a `FaceClassifier` takes: what is known of a run, images → logits, and its network."""
    network, params = models.load_network(run), run.params
    about = {
        "image_size": params.image_size,
        "crop_pct": params.crop_pct,
        "input": IMAGENET_INPUT,
        "dataset": params.dataset,
        "flip_tta": params.flip_tta,
        "box_margin": params.data_option("box_margin"),
        "measured_on": params.evaluation,
        "metrics": run.measured,
    }

    @torch.no_grad()
    def compute(images: np.ndarray) -> np.ndarray:
        return network(torch.from_numpy(images))[0].numpy()

    return about | _calibration(run), compute, network


def of_file(path: Path, about: dict) -> FERNet | None:
    """The network whose weights an exported ONNX file holds; None where it holds no such names.

    The exporter folds batch norms into the convolutions before them: only a bias is left of each.
    """
    backbone = models.build_backbone(about["architecture"], about["image_size"])
    options = {"embedding_dim": about["embedding_dim"]} | about.get("network", {})
    network = FERNet(backbone, **options)
    state, held = network.state_dict(), {}
    for tensor in onnx.load(path).graph.initializer:
        values = onnx.numpy_helper.to_array(tensor)
        held[tensor.name.removesuffix(HALF)] = torch.from_numpy(values.astype(np.float32))
    for name in state:
        convolution = name.replace("bn", "conv").replace("downsample.1", "downsample.0")
        bias = f"{convolution.rpartition('.')[0]}.weight_bias"
        if name in held:
            state[name] = held[name]
        elif bias in held:
            plain = torch.zeros_like if name.endswith("running_mean") else torch.ones_like
            state[name] = held[bias] if name.endswith(".bias") else plain(state[name])
        elif not name.endswith("num_batches_tracked"):
            return None
    network.load_state_dict(state)
    return network.eval()


def explain(classifier, faces, classes=None) -> np.ndarray | None:
    """Grad-CAM of faces, N arrays uint8 (H, W, 3), as a `FaceClassifier` sees them.

    Of the evidence for `classes` (N,), by default each face's likeliest: float32 (N, S, S), 0–1, of
    the places in `classifier.see(faces)`; None where there is no face, or no network to look into.
    """
    network = classifier.network() if len(faces) else None
    stage = clearest_stage(network, classifier.size) if network else None
    if stage is None:
        return None
    return grad_cam(network, torch.from_numpy(classifier.inputs(faces)), classes, stage).numpy()


def grad_cam(network: FERNet, images: Tensor, classes=None, stage: int = 0) -> Tensor:
    r"""Grad-CAM at the end of a convolutional stage, computed by captum.

    $\mathrm{ReLU}(\sum_k \alpha_k A^k)$, $\alpha_k$ the mean gradient of a class's logit over
    channel $A^k$; resized to the images and divided by its maximum, so that two maps compare in
    place, not in strength.

    Args:
        images: (N, 3, H, W) float, normalised.
        classes: (N,) integers; default: each image's predicted class.
        stage: from 1; 0: the last, as in the paper.

    Returns:
        (N, H, W) float32, 0–1; all 0 where nothing speaks for the class.
    """
    cam = LayerGradCam(lambda batch: network(batch)[0], network.stages()[stage - 1].blocks[-1])
    training, maps = network.training, []
    network.eval()
    try:
        for start in range(0, len(images), AT_ONCE):
            part = slice(start, start + AT_ONCE)
            # Where all weights are frozen, only the images can ask for gradients.
            batch = images[part].detach().clone().requires_grad_()
            wanted = network(batch)[0].argmax(1) if classes is None else classes[part]
            found = cam.attribute(batch, torch.as_tensor(wanted), relu_attributions=True).detach()
            maps.append(LayerAttribution.interpolate(found, images.shape[2:], "bilinear")[:, 0])
    finally:
        network.train(training)
    heatmaps = torch.cat(maps).float()
    highest = heatmaps.amax((1, 2), keepdim=True)
    return heatmaps / torch.where(highest > 0, highest, 1)


def clearest_stage(network: FERNet, image_size: int) -> int | None:
    """The last stage whose maps have 6 × 6 cells or more; 0, the last, where none has.

    None where no stage gives maps, as in a vision transformer.
    """
    rows = models.describe(network, image_size)["stages"]
    sizes = [min(row["output"][1:], default=0) for row in rows if row["name"].startswith("stage")]
    enough = [number for number, size in enumerate(sizes, start=1) if size >= FEWEST_CELLS]
    if not any(sizes):
        return None
    return enough[-1] if enough else 0


def ship(run: Run, path: Path) -> str:
    """Write a run's network as the shipped recogniser: ONNX, weights in float16; its SHA-256.

    `InputError` for a run without validation predictions, or a file above 1 MB.
    """
    calibration = _calibration(run)
    if not calibration:
        raise InputError(f"expected validation predictions in {run.study}/{run.name}, found none")
    model = onnx.load(models.export(run, "onnx"))
    _halve(model)
    (entry,) = model.metadata_props
    entry.value = json.dumps(json.loads(entry.value) | calibration | CUT)
    content = model.SerializeToString(deterministic=True)
    if len(content) > MOST_BYTES:
        raise InputError(f"expected at most {MOST_BYTES:,} bytes, found {len(content):,}")
    with atomic_write(path) as temporary:
        temporary.write_bytes(content)
    return hashlib.sha256(content).hexdigest()


def replace_output(source: Path, path: Path, layer: torch.nn.Linear, about: dict) -> None:
    """Copy an exported file with another output layer, and with what is now known of it."""
    model = onnx.load(source)
    for tensor in model.graph.initializer:
        name = tensor.name.removesuffix(HALF)
        if name.startswith("output."):
            values = layer.state_dict()[name.removeprefix("output.")].numpy()
            values = values.astype(onnx.numpy_helper.to_array(tensor).dtype)
            tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
    (entry,) = model.metadata_props
    entry.value = json.dumps(json.loads(entry.value) | about)
    with atomic_write(path) as temporary:
        onnx.save(model, temporary)


def _calibration(run: Run) -> dict:
    table = pd.read_parquet(run.require("predictions.parquet"))
    table = table[table["split"] == "validation"]
    if table.empty:
        return {}
    return calibrate(table[[*LOG_PROBABILITIES]].to_numpy(float), table["label"].to_numpy())


def _halve(model: onnx.ModelProto) -> None:
    """Keep weights in float16, and cast them to float32 under their names before they are used."""
    casts = []
    for tensor in model.graph.initializer:
        values, half = onnx.numpy_helper.to_array(tensor), f"{tensor.name}{HALF}"
        if values.dtype == np.float32 and values.ndim:
            to = {"to": onnx.TensorProto.FLOAT}
            casts.append(onnx.helper.make_node("Cast", [half], [tensor.name], **to))
            tensor.CopyFrom(onnx.numpy_helper.from_array(values.astype(np.float16), half))
    nodes = [*casts, *model.graph.node]
    model.graph.ClearField("node")
    model.graph.node.extend(nodes)
