"""Where in a face a network finds what speaks for a class: Grad-CAM; and the networks it needs."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import torch
from captum.attr import LayerAttribution, LayerGradCam
from torch import Tensor

from fer_utils import models
from fer_utils.core import Run
from fer_utils.models import IMAGENET_INPUT, FERNet

__all__ = ["IMAGENET_INPUT", "clearest_stage", "explain", "grad_cam", "logits_of"]

FEWEST_CELLS = 6  # a side, below which a map says no more than "left" or "below"
AT_ONCE = 32  # images whose activations are kept in memory


def explain(classifier, faces, classes=None) -> np.ndarray | None:
    """Grad-CAM of faces, as a `FaceClassifier` sees them.

    Args:
        classifier: from `load_classifier`.
        faces: N arrays uint8 (H, W, 3).
        classes: (N,) whose evidence is sought; default: each face's likeliest.

    Returns:
        float32 (N, S, S), 0–1, of the places in `classifier.see(faces)`; None where the classifier
        has no network to look into.
    """
    network = classifier.network()
    if network is None or not len(faces):
        return None
    images = torch.from_numpy(classifier.inputs(faces))
    return grad_cam(network, images, classes, clearest_stage(network, classifier.size)).numpy()


def grad_cam(network: FERNet, images: Tensor, classes=None, stage: int = 0) -> Tensor:
    r"""Grad-CAM (Selvaraju et al. 2017) at the end of a convolutional stage, computed by captum.

    $\mathrm{ReLU}(\sum_k \alpha_k A^k)$, $\alpha_k$ the mean gradient of a class's logit over
    channel $A^k$; resized to the images and divided by its maximum, so that two maps compare in
    place, not in strength.

    Args:
        network: evaluated in evaluation mode, and not changed.
        images: (N, 3, H, W) float, normalised.
        classes: (N,) integers; default: each image's predicted class.
        stage: from 1; 0: the last, as in the paper.

    Returns:
        (N, H, W) float32, 0–1; all 0 where nothing speaks for the class.
    """
    layer = network.stages()[stage - 1].blocks[-1]
    cam = LayerGradCam(lambda batch: network(batch)[0], layer)
    training, maps = network.training, []
    network.eval()
    try:
        with models.unfolded(network), torch.enable_grad():
            for start in range(0, len(images), AT_ONCE):
                part = slice(start, start + AT_ONCE)
                # Where all weights are frozen, only the images can ask for gradients.
                batch = images[part].detach().clone().requires_grad_()
                wanted = network(batch)[0].argmax(1) if classes is None else classes[part]
                found = cam.attribute(batch, torch.as_tensor(wanted), relu_attributions=True)
                found = LayerAttribution.interpolate(found.detach(), images.shape[2:], "bilinear")
                maps.append(found[:, 0].float())
    finally:
        network.train(training)
    heatmaps = torch.cat(maps)
    highest = heatmaps.amax((1, 2), keepdim=True)
    return heatmaps / torch.where(highest > 0, highest, 1)


def clearest_stage(network: FERNet, image_size: int) -> int:
    """The last stage whose maps have 6 × 6 cells or more at this image size; 0: none has."""
    rows = models.describe(network, image_size)["stages"]
    sizes = [row["output"][1:] for row in rows if row["name"].startswith("stage")]
    return max((n for n, size in enumerate(sizes, start=1) if min(size) >= FEWEST_CELLS), default=0)


def logits_of(network: FERNet) -> Callable[[np.ndarray], np.ndarray]:
    """The function from images (N, 3, S, S) to logits (N, 8), both in NumPy."""

    @torch.no_grad()
    def compute(images: np.ndarray) -> np.ndarray:
        return network(torch.from_numpy(images))[0].numpy()

    return compute


def network_of_run(run: Run) -> FERNet:
    """The network of a finished run."""
    return models.load_network(run)


def network_of_file(path: Path, about: dict) -> FERNet | None:
    """The network whose weights an exported ONNX file holds; None where it holds no such names.

    The exporter folds batch norms into the convolutions before them: only a bias is left of each.
    """
    backbone = models.build_backbone(about["architecture"], about["image_size"])
    options = {"embedding_dim": about["embedding_dim"]} | about.get("network", {})
    network = FERNet(backbone, **options)
    state, held = network.state_dict(), {}
    for tensor in onnx.load(path).graph.initializer:
        values = onnx.numpy_helper.to_array(tensor)
        held[tensor.name] = torch.from_numpy(values.astype(np.float32))
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
