"""Random crops by the batch, for the images of a pack: squares of one size.

`random_crops` or `centre_crops` say how each image is cropped, and `CropBatch` does it, on the CPU or on a GPU. On one
thread an image of 256 pixels takes 0.28 ms to become one of 224, and one of 55 pixels 0.05 ms to become one of 48.
"""

import weakref
from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fer_utils.datasets.randomness import Draws
from fer_utils.transforms import IMAGENET_MEAN, IMAGENET_STD, Normalise

_ATTEMPTS = 10  # torchvision's: crops drawn before the largest possible one is taken


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
    seeds = np.asarray(seeds, dtype=np.uint64)
    sizes = Draws(
        0, "crop size", seeds[:, None] * np.uint64(_ATTEMPTS) + np.arange(_ATTEMPTS, dtype=np.uint64)
    )  # (N, A)
    area, aspect = side**2 * sizes.uniform("area", *scale), np.exp(sizes.uniform("aspect", *np.log(ratio)))
    height, width = np.rint(np.sqrt(area / aspect)), np.rint(np.sqrt(area * aspect))
    fits = (width > 0) & (width <= side) & (height > 0) & (height <= side)
    taken, found = (np.arange(len(fits)), fits.argmax(axis=1)), fits.any(axis=1)
    nearest = np.clip(1.0, *ratio)  # of the largest crop in the centre, which is taken where none was found
    height = np.where(found, height[taken], np.rint(side / max(nearest, 1.0)))
    width = np.where(found, width[taken], np.rint(side * min(nearest, 1.0)))
    places = Draws(0, "crop place", seeds)  # (N,)
    top, left = (
        np.where(found, np.floor(places.uniform(name) * (side - length + 1)), (side - length) // 2)
        for name, length in (("top", height), ("left", width))
    )
    flip = places.chance("flip", 0.5)
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

    On the CPU the result is, bit for bit, that of torchvision's `resized_crop`, `horizontal_flip` and then `Normalise`
    (within 1/255 on processors without AVX, where torchvision resizes floats). On any other device all images are
    resampled at once, as products with matrices of the same antialiased bilinear weights, and not rounded in between.

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
        self._unused: dict[int, list[np.ndarray]] = {}  # number of images → arrays that no tensor lives in any more

    def forward(self, images: Tensor, crops: Tensor) -> Tensor:
        """uint8 (N, C, S, S), where C is 3 or, if grey, 1, and crops (N, 5) → float32 (N, 3, size, size)."""
        if images.device.type != "cpu":
            return self.normalise(resample(images, crops, self.size))
        batch = self._memory(len(images))
        for result, crop in zip(batch, crop_each(images, crops, self.size), strict=True):
            # One at a time, while it is in the processor's cache; grey is repeated on the way.
            result.copy_(crop).mul_(self.normalise.scale).add_(self.normalise.shift)
        return batch

    def _memory(self, count: int) -> Tensor:
        """An uninitialised batch, in place of one that is gone: fresh memory takes up to a third of all the time."""
        unused = self._unused.setdefault(count, [])
        try:
            array = unused.pop()
        except IndexError:
            array = np.empty((count, 3, self.size, self.size), dtype=np.float32)
        lent = array.view()
        weakref.finalize(lent, unused.append, array)  # when the last tensor that shares the memory is gone
        return torch.from_numpy(lent)


def crop_each(images: Tensor, crops: Tensor, size: int) -> Iterator[Tensor]:
    """Crop each of uint8 (N, C, S, S), resize and flip it as uint8: N tensors (C, size, size).

    Example:
        >>> images = torch.arange(16, dtype=torch.uint8).view(1, 1, 4, 4)
        >>> [crop.tolist() for crop in crop_each(images, torch.tensor([[1, 1, 2, 2, 1]]), 2)]
        [[[[6, 5], [10, 9]]]]
    """
    pixels = images.permute(0, 2, 3, 1).numpy()  # (N, S, S, C), as packs are: a crop's rows lie together
    for image, (top, left, height, width, flip) in zip(pixels, crops.tolist(), strict=True):
        crop = torch.from_numpy(np.ascontiguousarray(image[top : top + height, left : left + width])).permute(2, 0, 1)
        if (height, width) != (size, size):
            crop = F.interpolate(crop[None], (size, size), mode="bilinear", antialias=True)[0]
        yield crop.flip(-1) if flip else crop


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
