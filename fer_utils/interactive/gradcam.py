"""Where in a face a network finds what speaks for a class: Grad-CAM; and the networks it needs."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import torch
from captum.attr import LayerAttribution, LayerGradCam
from torch import Tensor

from fer_utils import models
from fer_utils.models import IMAGENET_INPUT, FERNet, load_network

__all__ = ["IMAGENET_INPUT", "explain", "grad_cam", "load_network", "logits_of"]

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
        has no convolutional network to look into.
    """
    network = classifier.network()
    if network is None or not len(faces):
        return None
    rows = models.describe(network, classifier.size)["stages"]
    cells = [min(row["output"][1:], default=0) for row in rows if row["name"].startswith("stage")]
    if not max(cells):
        return None
    clear = [n for n, size in enumerate(cells, start=1) if size >= FEWEST_CELLS]
    images = torch.from_numpy(classifier.inputs(faces))
    return grad_cam(network, images, classes, max(clear, default=0)).numpy()


def grad_cam(network: FERNet, images: Tensor, classes=None, stage: int = 0) -> Tensor:
    r"""Grad-CAM (Selvaraju et al. 2017) at the end of a convolutional stage, computed by captum.

    $\mathrm{ReLU}(\sum_k \alpha_k A^k)$, $\alpha_k$ the mean gradient of a class's logit over
    channel $A^k$; resized to the images and divided by its maximum, so that two maps compare in
    place, not in strength.

    Args:
        network: in evaluation mode.
        images: (N, 3, H, W) float, normalised.
        classes: (N,) integers; default: each image's predicted class.
        stage: from 1; 0: the last, as in the paper.

    Returns:
        (N, H, W) float32, 0–1; all 0 where nothing speaks for the class.
    """
    layer, maps = network.stages()[stage - 1].blocks[-1], []
    cam = LayerGradCam(lambda batch: network(batch)[0], layer)
    for start in range(0, len(images), AT_ONCE):
        part = slice(start, start + AT_ONCE)
        batch = images[part].clone().requires_grad_()  # all weights may be frozen
        wanted = network(batch)[0].argmax(1) if classes is None else classes[part]
        found = cam.attribute(batch, torch.as_tensor(wanted), relu_attributions=True)
        found = LayerAttribution.interpolate(found.detach(), images.shape[2:], "bilinear")
        maps.append(found[:, 0].float())
    heatmaps = torch.cat(maps)
    highest = heatmaps.amax((1, 2), keepdim=True)
    return heatmaps / torch.where(highest > 0, highest, 1)


def logits_of(network: FERNet) -> Callable[[np.ndarray], np.ndarray]:
    """The function from images (N, 3, S, S) to logits (N, 8), both in NumPy."""

    @torch.no_grad()
    def compute(images: np.ndarray) -> np.ndarray:
        return network(torch.from_numpy(images))[0].numpy()

    return compute


def network_of_file(path: Path, about: dict) -> FERNet | None:
    """The network whose weights an exported ONNX file holds; None where it holds no such names.

    The exporter folds batch norms into the convolutions before them: only a bias is left of each.
    """
    network = FERNet(
        models.build_backbone(about["architecture"], about["image_size"]), **about["network"]
    )
    held = {
        tensor.name: torch.from_numpy(onnx.numpy_helper.to_array(tensor).astype(np.float32))
        for tensor in onnx.load(path).graph.initializer
    }
    state = network.state_dict()
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
