"""From uint8 squares to network input: the paper's random crop and flip, or stronger changes.

Each image's change is a function of its own seed alone, so an epoch is the same whoever loads it.
Squares are larger than the network sees: by default a seventh, as 256 stands to 224 in the paper.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from fer_utils.core import RunParameters
from fer_utils.datasets import Draws
from fer_utils.models import IMAGENET_INPUT

ATTEMPTS = 10  # torchvision's: crops drawn before the largest possible one is taken
RATIO = (3 / 4, 4 / 3)  # of a crop's width to its height; the paper is silent on it
# Strong augmentation, each drawn evenly within its range, which `augmentation_strength` multiplies.
ROTATION = 30.0  # degrees, either way
SHIFT, ZOOM, SHEAR = 0.1, 0.2, 0.2  # shares of the image's side, of its scale, of its height
JITTER = 0.3  # brightness and contrast are multiplied by 1 ± this
ERASED, ERASED_SIDE = 0.5, (0.1, 0.4)  # share of images that lose a rectangle; its sides


def square_side(params: RunParameters) -> int:
    """Side of the squares that images are stored as, in pixels.

    >>> from fer_utils.core import parameters
    >>> square_side(parameters({"image_size": 224}))
    256
    """
    return round(params.image_size / params.crop_pct)


def normalize(pixels: Tensor) -> Tensor:
    """(N, 1 or 3, H, W), 0–255 → float32 (N, 3, H, W), ImageNet-normalised; grey thrice."""
    std = pixels.new_tensor(IMAGENET_INPUT["std"], dtype=torch.float64).view(3, 1, 1)
    mean = pixels.new_tensor(IMAGENET_INPUT["mean"], dtype=torch.float64).view(3, 1, 1)
    return pixels * (1 / (255 * std)).float() + (-mean / std).float()


def evaluation_input(squares: Tensor, size: int) -> Tensor:
    """The evaluation transform of validation and test: the centre of each square, normalised.

    uint8 squares (N, C, S, S), C = 1 or 3, become float32 (N, 3, size, size).
    """
    start = round((squares.shape[-1] - size) / 2)
    return normalize(squares[..., start : start + size, start : start + size])


def training_input(squares: Tensor, seeds: Tensor, params: RunParameters) -> Tensor:
    """The same of a training batch, randomly changed as `params.augmentation` asks.

    `seeds` are int64 (N,), one an image.
    """
    if params.augmentation == "strong":
        return normalize(change(squares, seeds, params.image_size, params.augmentation_strength))
    return normalize(crop(squares, seeds, params.image_size, (params.crop_scale_min, 1.0)))


def crop(squares: Tensor, seeds: Tensor, size: int, scale=(0.7, 1.0)) -> Tensor:
    """Random crops resized to `size`, half of them flipped (Sec. 4.3): uint8 (N, C, size, size).

    Distributed as torchvision's `RandomResizedCrop` and `RandomHorizontalFlip`.
    """
    boxes = crop_boxes(seeds.cpu().numpy(), squares.shape[-1], scale)
    crops = []
    for image, (top, left, height, width, flip) in zip(squares, boxes.tolist(), strict=True):
        part = image[None, :, top : top + height, left : left + width]
        if (height, width) != (size, size):
            part = _resize(part, size)
        crops.append(part.flip(-1) if flip else part)
    return torch.cat(crops)


def _resize(image: Tensor, size: int) -> Tensor:
    if image.device.type == "cpu":
        # Contiguous by pixel: torch then resizes uint8 in integers, several times as fast.
        image = image.contiguous(memory_format=torch.channels_last)
        return F.interpolate(image, (size, size), mode="bilinear", antialias=True)
    image = F.interpolate(image.float(), (size, size), mode="bilinear", antialias=True)
    return image.round_().clamp_(0, 255).byte()


def crop_boxes(seeds: np.ndarray, side: int, scale: tuple[float, float]) -> np.ndarray:
    """int64 (N, 5): top, left, height, width of crops in squares of `side`, and 1 for a flip."""
    seeds = np.asarray(seeds, dtype=np.uint64)
    tries = np.arange(ATTEMPTS, dtype=np.uint64)
    sizes = Draws(0, "crop size", seeds[:, None] * np.uint64(ATTEMPTS) + tries)  # (N, A)
    area = side**2 * sizes.uniform("area", *scale)
    aspect = np.exp(sizes.uniform("aspect", *np.log(RATIO)))
    height, width = np.rint(np.sqrt(area / aspect)), np.rint(np.sqrt(area * aspect))
    fits = (width > 0) & (width <= side) & (height > 0) & (height <= side)
    taken, found = (np.arange(len(fits)), fits.argmax(axis=1)), fits.any(axis=1)
    height, width = np.where(found, height[taken], side), np.where(found, width[taken], side)
    places = Draws(0, "crop place", seeds)
    top, left = (
        np.where(found, np.floor(places.uniform(name) * (side - length + 1)), (side - length) // 2)
        for name, length in (("top", height), ("left", width))
    )
    flip = places.chance("flip", 0.5)
    return np.stack([top, left, height, width, flip], axis=1).astype(np.int64)


def change(squares: Tensor, seeds: Tensor, size: int, strength: float = 1.0) -> Tensor:
    """Rotate, shift, zoom, shear, flip, brighten and erase: float32 (N, C, size, size).

    Values stay in 0–255; what turns in from outside repeats the border; what is erased is mid-grey.
    """
    draws = Draws(0, "strong augmentation", seeds.cpu().numpy())

    def column(name: str, low: float, high: float) -> Tensor:
        return torch.from_numpy(draws.uniform(name, low, high)).float().to(squares.device)

    images, shape = squares.float(), (-1, 1, 1, 1)
    turned = _affine(column, size / squares.shape[-1], strength)
    grid = F.affine_grid(turned, [len(images), 1, size, size], align_corners=False)
    images = F.grid_sample(images, grid, padding_mode="border", align_corners=False)
    jitter = 1 - strength * JITTER, 1 + strength * JITTER
    contrast, brightness = (column(n, *jitter).view(shape) for n in ("contrast", "brightness"))
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    images = ((images - mean) * contrast + mean * brightness).clamp_(0, 255)
    hit = column("erased", 0, 1) < strength * ERASED
    rows, columns = (_stretch(column, name, size) for name in ("rows", "columns"))
    erased = hit.view(shape) & rows[:, None, :, None] & columns[:, None, None, :]
    return images.masked_fill_(erased, 127.5)


def _affine(column, share: float, strength: float) -> Tensor:
    """(N, 2, 3): where in a square, −1 to 1, the pixels of the result come from."""

    def around(name: str, middle: float, reach: float) -> Tensor:
        return column(name, middle - strength * reach, middle + strength * reach)

    angle, shear = around("rotation", 0, ROTATION).deg2rad(), around("shear", 0, SHEAR)
    zoom = share * around("zoom", 1, ZOOM)
    x, y = 2 * around("x", 0, SHIFT), 2 * around("y", 0, SHIFT)
    mirror = torch.where(column("flip", 0, 1) < 0.5, -1.0, 1.0)
    cos, sin = angle.cos() * zoom, angle.sin() * zoom
    rows = [cos * mirror, shear * cos - sin, x], [sin * mirror, shear * sin + cos, y]
    return torch.stack([torch.stack(row, dim=1) for row in rows], dim=1)


def _stretch(column, name: str, size: int) -> Tensor:
    """bool (N, size): a random stretch of the side for each image."""
    length = column(f"erased {name}", *ERASED_SIDE)
    start = column(f"erased {name} from", 0, 1) * (1 - length)
    middles = (torch.arange(size, device=length.device) + 0.5) / size
    return (middles >= start[:, None]) & (middles < (start + length)[:, None])
