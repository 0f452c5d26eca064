"""Stronger augmentation than the paper's crop and flip: rotation, brightness, contrast, random erasing; by the batch.

`random_changes` says how each image is changed, `change` does it, on the CPU or on a GPU. Brightness and contrast are
all the colour that a grey face has; hue and saturation would tell photographs in colour from those in grey.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fer_utils.datasets.randomness import Draws
from fer_utils.transforms import IMAGENET_MEAN, IMAGENET_STD

MOST_ROTATION = 15.0  # degrees, either way
MOST_JITTER = 0.3  # brightness and contrast are multiplied by 1 ± this
ERASED = 0.5  # share of the images that lose a rectangle
ERASED_AREA, ERASED_RATIO = (0.02, 0.25), (0.3, 3.3)  # of the image's area; width / height
_LUMA = (0.2989, 0.587, 0.114)  # grey of red, green and blue


def random_changes(seeds) -> Tensor:
    """Random changes of N images, each a function of its own seed alone.

    Args:
        seeds: N ints from 0 to 2⁶³ − 1.

    Returns:
        float32 (N, 7): rotation in degrees, counter-clockwise; factors of contrast and of brightness; top, left,
        height and width of the erased rectangle as fractions of the image's side, height 0 where nothing is erased.

    Example:
        >>> changes = random_changes([7, 8, 9])
        >>> bool((random_changes([8])[0] == changes[1]).all())
        True
    """
    draws = Draws(0, "strong augmentation", np.asarray(seeds, dtype=np.uint64))
    area, ratio = draws.uniform("area", *ERASED_AREA), np.exp(draws.uniform("ratio", *np.log(ERASED_RATIO)))
    height, width = np.sqrt(area / ratio), np.sqrt(area * ratio)
    columns = [
        draws.uniform("rotation", -MOST_ROTATION, MOST_ROTATION),
        *(draws.uniform(name, 1 - MOST_JITTER, 1 + MOST_JITTER) for name in ("contrast", "brightness")),
        draws.uniform("top") * (1 - height),
        draws.uniform("left") * (1 - width),
        height * draws.chance("erased", ERASED),
        width,
    ]
    return torch.from_numpy(np.stack(columns, axis=1).astype(np.float32))


def change(images: Tensor, changes: Tensor, mean=IMAGENET_MEAN, std=IMAGENET_STD) -> Tensor:
    """Rotate, jitter and erase a batch, each image in its own way.

    Args:
        images: float (N, 3, H, W), normalised with `mean` and `std`.
        changes: (N, 7) as `random_changes` draws them.
        mean: of each channel, for values from 0 to 1.
        std: of each channel, for values from 0 to 1.

    Returns:
        A new tensor of the same shape, normalised. What turns in from outside mirrors the inside; what is erased has
        the mean's colour.

    Example:
        >>> images = torch.rand(2, 3, 32, 32)
        >>> bool((change(images, torch.tensor([[0, 1, 1, 0.0, 0.0, 0.5, 1]] * 2))[:, :, :16] == 0).all())
        True
    """
    angle, contrast, brightness, top, left, height, width = changes.unbind(1)
    cos, sin, nought = angle.deg2rad().cos(), angle.deg2rad().sin(), torch.zeros_like(angle)
    matrices = torch.stack([cos, -sin, nought, sin, cos, nought], dim=1).view(-1, 2, 3)
    grid = F.affine_grid(matrices, images.shape, align_corners=False)
    images = F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)
    mean, std, luma = (images.new_tensor(values).view(3, 1, 1) for values in (mean, std, _LUMA))
    pixels = (images * std + mean).clamp_(0, 1)
    grey = (pixels.mean(dim=(2, 3), keepdim=True) * luma).sum(dim=1, keepdim=True)  # (N, 1, 1, 1)
    pixels = (grey + (pixels - grey) * contrast.view(-1, 1, 1, 1)).clamp_(0, 1)
    pixels = (pixels * brightness.view(-1, 1, 1, 1)).clamp_(0, 1)
    rows, columns = (
        _within(start, length, size)
        for start, length, size in ((top, height, images.shape[2]), (left, width, images.shape[3]))
    )
    erased = rows[:, None, :, None] & columns[:, None, None, :]
    return ((pixels - mean) / std).masked_fill_(erased, 0.0)


def _within(starts: Tensor, lengths: Tensor, size: int) -> Tensor:
    """Which of `size` pixels have their middle in each of N stretches, given as fractions: bool (N, size)."""
    middles = (torch.arange(size, device=starts.device) + 0.5) / size
    return (middles >= starts[:, None]) & (middles < (starts + lengths)[:, None])


class RandomChange(nn.Module):
    """`change` for one image (3, H, W), drawn from torch's generator: the last part of a pipeline."""

    def forward(self, image: Tensor) -> Tensor:
        seed = int(torch.randint(2**62, ()))
        return change(image[None], random_changes([seed]))[0]
