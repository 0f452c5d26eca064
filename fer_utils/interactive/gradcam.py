"""Where in a face a network finds what speaks for a class: Grad-CAM (Selvaraju et al. 2017)."""

import numpy as np
import torch
from captum.attr import LayerAttribution, LayerGradCam
from torch import Tensor

from fer_utils import models
from fer_utils.models import FERNet

FEWEST_CELLS = 6  # a side, below which a map says no more than "left" or "below"
AT_ONCE = 32  # images whose activations are kept in memory


def explain(classifier, faces, classes=None) -> np.ndarray | None:
    """Grad-CAM of faces, as a `FaceClassifier` sees them.

    Args:
        classifier, faces: a `FaceClassifier`, and N arrays uint8 (H, W, 3).
        classes: (N,) whose evidence is sought; default: each face's likeliest.

    Returns:
        float32 (N, S, S), 0–1, of the places in `classifier.see(faces)`; None where there is no
        face, or no network to look into: none that torch knows, or one without maps.
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
        network: evaluated in evaluation mode, and not changed.
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
