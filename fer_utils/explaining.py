"""Grad-CAM: where in an image a network finds what speaks for a class."""

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from fer_utils import datasets, transforms
from fer_utils.errors import InputError
from fer_utils.models import FERNet, describe

AT_ONCE = 32  # images whose activations are kept in memory
FEWEST_CELLS = 4  # a side, below which a map says no more than "left" or "below"


def grad_cam(model: FERNet, images: Tensor, classes=None, stage: int | None = None) -> Tensor:
    """Grad-CAM (Selvaraju et al., ICCV 2017) at the end of a convolutional stage, computed by captum.

    $\\mathrm{ReLU}\\big(\\sum_k \\alpha_k A^k\\big)$ with $\\alpha_k$ the mean gradient of a class's logit over channel
    $A^k$; resized to the images (bilinear) and divided by its maximum, so that maps of two images compare in place,
    not in strength.

    Args:
        model: not changed. It is evaluated in evaluation mode; frozen and folded stages make no difference.
        images: (N, 3, H, W) float, normalised as `fer_utils.transforms` does.
        classes: (N,) integers, or one for all: the class whose evidence is sought; default: each image's predicted one.
        stage: 1 to the network's number of stages; default the last, as in the paper. On small images it has few cells:
            2 × 2 of `se_resnet14` at 48 px.

    Returns:
        (N, H, W) float32 on the CPU, 0–1; all 0 where nothing speaks for the class.

    Raises:
        InputError: for other shapes, classes or stages, or a stage whose output is tokens, not channels of maps
            (vision transformers).

    Example:
        >>> grad_cam(FERNet("se_resnet14"), torch.rand(2, 3, 64, 64), classes=[3, 7]).shape
        torch.Size([2, 64, 64])
    """
    # Here, so that what merely imports this module does not wait for it.
    from captum.attr import LayerAttribution, LayerGradCam

    if images.ndim != 4 or not len(images):
        raise InputError(f"expected images (N, 3, H, W), N ≥ 1, found shape {tuple(images.shape)}; stack them")
    stages = model.stages()
    chosen = len(stages) if stage is None else stage
    if chosen not in range(1, len(stages) + 1):
        raise InputError(
            f"expected a stage from 1 to {len(stages)}, which {model.backbone.architecture} has, found {stage}"
        )
    layer = stages[chosen - 1].blocks[-1]
    targets = None if classes is None else _check_classes(classes, len(images), model.num_classes)
    cam = LayerGradCam(lambda batch: model(batch)[0], layer)
    device, training, maps = next(model.parameters()).device, model.training, []
    model.eval()
    try:
        for start in range(0, len(images), AT_ONCE):
            part = slice(start, start + AT_ONCE)
            batch = images[part].to(device)
            with torch.no_grad():
                wanted = model(batch)[0].argmax(1) if targets is None else targets[part].to(device)
            with torch.enable_grad():
                found = cam.attribute(batch, wanted, relu_attributions=True).detach()  # (n, 1, h, w)
            if stages[chosen - 1].channels_last or found.ndim != 4:
                raise InputError(
                    f"expected a stage with channels of maps, found tokens at stage {chosen} of "
                    f"{model.backbone.architecture}; explain a convolutional network"
                )
            maps.append(LayerAttribution.interpolate(found, images.shape[2:], "bilinear")[:, 0].cpu().float())
    finally:
        model.train(training)
    heatmaps = torch.cat(maps)
    highest = heatmaps.amax((1, 2), keepdim=True)
    return heatmaps / torch.where(highest > 0, highest, 1)


def clearest_stage(model: FERNet, image_size: int) -> int | None:
    """The last stage whose maps have 4 × 4 cells or more at this image size; None, the last, where none has.

    Example:
        >>> clearest_stage(FERNet("se_resnet14"), 48)
        3
    """
    outputs = [row["output"] for row in describe(model, image_size)["stages"] if row["name"].startswith("stage")]
    wide = [number for number, output in enumerate(outputs, 1) if min(output[1:]) >= FEWEST_CELLS]
    return wide[-1] if wide else None


def explain(
    model: FERNet, rows: pd.DataFrame, image_size: int, classes=None, stage: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Grad-CAM of images of a manifest, as the network sees them.

    Args:
        model: not changed.
        rows: rows of a manifest, N ≥ 1.
        image_size: the network's, in pixels.
        classes: as in `grad_cam`.
        stage: as in `grad_cam`; default `clearest_stage`.

    Returns:
        uint8 (N, S, S, 3), the crops, and float32 (N, S, S), 0–1.

    Raises:
        InputError: as `grad_cam` and `datasets.load_images`.

    Example:
        >>> manifest = datasets.read_synthetic(train=80, validation=8, test=16, subjects=12)
        >>> pictures, heatmaps = explain(FERNet("se_resnet14"), manifest.iloc[:2], image_size=48)
        >>> pictures.shape, heatmaps.shape
        ((2, 48, 48, 3), (2, 48, 48))
    """
    transform = transforms.evaluation_transform(image_size)
    faces = [torch.from_numpy(image).permute(2, 0, 1) for image in datasets.load_images(rows)]
    images = torch.stack([transform(face) for face in faces])
    stage = clearest_stage(model, image_size) if stage is None else stage
    heatmaps = grad_cam(model, images, classes, stage)
    return transforms.denormalise(images).permute(0, 2, 3, 1).numpy(), heatmaps.numpy()


def _check_classes(classes, images: int, num_classes: int) -> Tensor:
    """(N,) int64, one for each image."""
    targets = torch.as_tensor(classes)
    targets = targets.expand(images) if targets.ndim == 0 else targets
    known = torch.isin(targets, torch.arange(num_classes)).all()
    if targets.is_floating_point() or targets.shape != (images,) or not known:
        raise InputError(
            f"expected {images} classes from 0 to {num_classes - 1}, one an image (or one for all), found {classes!r}"
        )
    return targets.long()
