"""The paper's input pipelines: random crop and flip for training, resize and centre crop for evaluation.

From uint8 tensors (3, H, W) or (N, 3, H, W) to normalised float32. Cropping and resizing run on uint8, and one fused
step converts and normalises: 104 µs an image at 48 pixels on one thread, against 151 µs for the same in v2's own parts
with the conversion first.

Of a pack, whose images are squares of one size, a whole batch is made at once: `random_crops` or `centre_crops` say how
and `CropBatch` does it, on the CPU or on a GPU.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.transforms import v2

from fer_utils.datasets.randomness import Draws

IMAGENET_MEAN = (0.485, 0.456, 0.406)  # RGB, of values from 0 to 1
IMAGENET_STD = (0.229, 0.224, 0.225)
_ATTEMPTS = 10  # torchvision's: crops drawn before the largest possible one is taken


class Normalise(nn.Module):
    """uint8 0–255 → float32 ``(x / 255 − mean) / std`` per channel, in one multiplication and one addition.

    Args:
        mean: of each channel, for values from 0 to 1.
        std: of each channel, for values from 0 to 1.

    Example:
        >>> Normalise((0.5,) * 3, (0.5,) * 3)(torch.full((3, 1, 1), 255, dtype=torch.uint8)).flatten().tolist()
        [1.0, 1.0, 1.0]
    """

    def __init__(self, mean=IMAGENET_MEAN, std=IMAGENET_STD):
        super().__init__()
        mean, std = (torch.tensor(values, dtype=torch.float64).view(-1, 1, 1) for values in (mean, std))
        self.register_buffer("scale", (1 / (255 * std)).float())
        self.register_buffer("shift", (-mean / std).float())

    def forward(self, images: Tensor) -> Tensor:
        return (images * self.scale).add_(self.shift)


def train_transform(
    image_size: int,
    crop_scale=(0.7, 1.0),
    crop_ratio=(3 / 4, 4 / 3),
    mean=IMAGENET_MEAN,
    std=IMAGENET_STD,
) -> v2.Compose:
    """Training pipeline: a random crop resized to a square, a horizontal flip half of the time, normalisation.

    Args:
        image_size: side length of the result, in pixels (the paper's: 224).
        crop_scale: range of the crop's area, as a fraction of the image's; the paper is silent on it.
        crop_ratio: range of the crop's width / height; the paper is silent on it.
        mean: of each channel, for values from 0 to 1.
        std: of each channel, for values from 0 to 1.

    Returns:
        Callable: uint8 (3, H, W) → float32 (3, image_size, image_size). Draws from torch's generator.

    Example:
        >>> image = torch.zeros(3, 60, 50, dtype=torch.uint8)
        >>> tuple(train_transform(48)(image).shape)
        (3, 48, 48)
    """
    return v2.Compose(
        [
            v2.RandomResizedCrop(image_size, scale=crop_scale, ratio=crop_ratio, antialias=True),
            v2.RandomHorizontalFlip(),
            Normalise(mean, std),
        ]
    )


def evaluation_transform(image_size: int, mean=IMAGENET_MEAN, std=IMAGENET_STD) -> v2.Compose:
    """Evaluation pipeline: the shorter side resized to 256/224 of `image_size`, the centre cropped, normalisation.

    Args:
        image_size: side length of the result, in pixels (the paper's: 224).
        mean: of each channel, for values from 0 to 1.
        std: of each channel, for values from 0 to 1.

    Returns:
        Callable: uint8 (…, 3, H, W) → float32 (…, 3, image_size, image_size).

    Example:
        >>> image = torch.zeros(3, 60, 50, dtype=torch.uint8)
        >>> tuple(evaluation_transform(48)(image).shape)
        (3, 48, 48)
    """
    return v2.Compose(
        [
            v2.Resize(round(image_size * 256 / 224), antialias=True),
            v2.CenterCrop(image_size),
            Normalise(mean, std),
        ]
    )


def denormalise(images: Tensor, mean=IMAGENET_MEAN, std=IMAGENET_STD) -> Tensor:
    """Undo the normalisation, to look at what a network is shown.

    Args:
        images: float tensor (…, 3, H, W), normalised with `mean` and `std`.
        mean: of each channel, for values from 0 to 1.
        std: of each channel, for values from 0 to 1.

    Returns:
        uint8 tensor of the same shape, rounded and clamped to 0–255.

    Example:
        >>> image = torch.full((3, 4, 4), 200, dtype=torch.uint8)
        >>> bool((denormalise(Normalise()(image)) == image).all())
        True
    """
    mean, std = (torch.tensor(values, device=images.device).view(-1, 1, 1) for values in (mean, std))
    return ((images.float() * std + mean) * 255).round().clamp(0, 255).to(torch.uint8)


def random_crops(seeds, side: int, scale=(0.7, 1.0), ratio=(3 / 4, 4 / 3)) -> Tensor:
    """Random crops of square images, and a flip half of the time: what `train_transform` draws, by the batch.

    Each is a function of its own seed alone, and distributed as those of torchvision's `RandomResizedCrop`.

    Args:
        seeds: N ints from 0 to 2⁶³ − 1.
        side: of the images, in pixels.
        scale: range of the crop's area, as a fraction of the image's.
        ratio: range of the crop's width / height.

    Returns:
        int64 tensor (N, 5): top, left, height, width, and 1 where the crop is flipped, else 0.

    Example:
        >>> crops = random_crops([7, 8, 9], 55)
        >>> bool((random_crops([8], 55)[0] == crops[1]).all())
        True
    """
    attempts = np.asarray(seeds, dtype=np.uint64)[:, None] * np.uint64(_ATTEMPTS) + np.arange(
        _ATTEMPTS, dtype=np.uint64
    )
    draws = Draws(0, "crop", attempts)  # (N, A)
    area, aspect = side**2 * draws.uniform("area", *scale), np.exp(draws.uniform("aspect", *np.log(ratio)))
    height, width = np.rint(np.sqrt(area / aspect)), np.rint(np.sqrt(area * aspect))
    fits = (width > 0) & (width <= side) & (height > 0) & (height <= side)
    taken = np.arange(len(fits)), fits.argmax(axis=1)
    drawn = [values[taken] for values in (draws.uniform("top"), draws.uniform("left"), height, width)]
    fallback = np.clip(1.0, *ratio)  # the centre, in the permitted shape nearest to the image's
    last = [0.5, 0.5, np.rint(side / max(fallback, 1.0)), np.rint(side * min(fallback, 1.0))]
    top, left, height, width = np.where(fits.any(axis=1), drawn, np.array(last)[:, None])
    top, left = np.floor(top * (side - height + 1)), np.floor(left * (side - width + 1))
    flip = draws.chance("flip", 0.5)[:, 0]
    return torch.from_numpy(np.stack([top, left, height, width, flip], axis=1).astype(np.int64))


def centre_crops(count: int, side: int, size: int) -> Tensor:
    """The same crop for `count` square images: `size` pixels in the centre of `side`, as `random_crops` writes it.

    Example:
        >>> centre_crops(1, 256, 224).tolist()
        [[16, 16, 224, 224, 0]]
    """
    start = round((side - size) / 2)
    return torch.tensor([[start, start, size, size, 0]]).repeat(count, 1)


class CropBatch(nn.Module):
    """Crop, resize, flip and normalise a batch, each image in its own way.

    On the CPU the result is, bit for bit, that of torchvision's `resized_crop` and `horizontal_flip` and `Normalise`.
    On any other device all images are resampled at once as products with matrices, of the same antialiased bilinear
    weights; there, values are not rounded to 1/255 in between.

    Args:
        size: side length of the result, in pixels.
        mean: of each channel, for values from 0 to 1.
        std: of each channel, for values from 0 to 1.

    Example:
        >>> images = torch.full((2, 1, 55, 55), 9, dtype=torch.uint8)
        >>> tuple(CropBatch(48)(images, random_crops([7, 8], 55)).shape)
        (2, 3, 48, 48)
    """

    def __init__(self, size: int, mean=IMAGENET_MEAN, std=IMAGENET_STD):
        super().__init__()
        self.size, self.normalise = size, Normalise(mean, std)

    def forward(self, images: Tensor, crops: Tensor) -> Tensor:
        """uint8 (N, C, S, S), where C is 3 or, if grey, 1, and crops (N, 5) → float32 (N, 3, size, size)."""
        crop = crop_each if images.device.type == "cpu" else resample
        return self.normalise(crop(images, crops, self.size))


def crop_each(images: Tensor, crops: Tensor, size: int) -> Tensor:
    """Crop uint8 (N, C, S, S) one by one, each resized as uint8: (N, C, size, size).

    At 224 pixels from 256, 0.18 ms an image on one thread; torchvision's `resized_crop` takes 0.33 ms. NumPy makes the
    copies, since torch would start its threads for each.

    Example:
        >>> images = torch.arange(16, dtype=torch.uint8).view(1, 1, 4, 4)
        >>> crop_each(images, torch.tensor([[1, 1, 2, 2, 1]]), 2).tolist()
        [[[[6, 5], [10, 9]]]]
    """
    pixels = images.permute(0, 2, 3, 1).numpy()  # (N, S, S, C), as packs are: a crop's rows lie together
    cropped = np.empty((len(pixels), pixels.shape[3], size, size), dtype=np.uint8)
    for place, (top, left, height, width, flip) in enumerate(crops.tolist()):
        crop = np.ascontiguousarray(pixels[place, top : top + height, left : left + width]).transpose(2, 0, 1)
        if (height, width) != (size, size):
            crop = F.interpolate(torch.from_numpy(crop)[None], (size, size), mode="bilinear", antialias=True)[0].numpy()
        cropped[place] = crop[..., ::-1] if flip else crop
    return torch.from_numpy(cropped)


def resample(images: Tensor, crops: Tensor, size: int) -> Tensor:
    """Crop (N, C, S, S) all at once, as matrix products on the device of `images`: float32 (N, C, size, size).

    Example:
        >>> images = torch.arange(16, dtype=torch.uint8).view(1, 1, 4, 4)
        >>> resample(images, torch.tensor([[1, 1, 2, 2, 1]]), 2).tolist()
        [[[[6.0, 5.0], [10.0, 9.0]]]]
    """
    top, left, height, width, flip = crops.unbind(1)
    rows = _weights(top, height, images.shape[2], size)  # (N, size, S)
    columns = _weights(left, width, images.shape[3], size)
    columns = torch.where(flip[:, None, None] == 1, columns.flip(1), columns)
    return rows[:, None] @ images.float() @ columns.transpose(1, 2)[:, None]


def _weights(starts: Tensor, lengths: Tensor, side: int, size: int) -> Tensor:
    """Antialiased bilinear weights (N, size, S) that resize S pixels' stretches (N,) to `size`; each row sums to 1."""
    starts, lengths = starts[:, None, None], lengths[:, None, None]
    scale = lengths / size
    centres = (torch.arange(size, device=starts.device)[:, None] + 0.5) * scale  # (N, size, 1), within the stretch
    places = torch.arange(side, device=starts.device) + 0.5 - starts  # (N, 1, S), likewise
    weights = (1 - (places - centres).abs() / scale.clamp(min=1)).clamp(min=0)
    weights = weights * ((places > 0) & (places < lengths))
    return weights / weights.sum(dim=2, keepdim=True)
