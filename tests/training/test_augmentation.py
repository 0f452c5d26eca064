"""From squares to network input."""

import numpy as np
import pytest
import torch
from torchvision.transforms import v2

from fer_utils import training
from fer_utils.core import parameters
from fer_utils.models import IMAGENET_INPUT
from fer_utils.training.augmentation import crop_boxes, normalize

SEEDS = torch.arange(1000, dtype=torch.int64) * 7919


def squares(count=4, side=55, channels=1, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shape = (count, channels, side, side)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


def test_normalised_as_torchvision_does():
    images = squares(channels=3)
    want = v2.functional.normalize(images / 255, IMAGENET_INPUT["mean"], IMAGENET_INPUT["std"])
    torch.testing.assert_close(normalize(images), want, atol=1e-5, rtol=0)


def test_grey_becomes_three_channels():
    images = squares()
    torch.testing.assert_close(normalize(images), normalize(images.expand(-1, 3, -1, -1)))


@pytest.mark.parametrize(("size", "side"), [(224, 256), (48, 55)])
def test_evaluation_takes_the_papers_centre(size, side):
    assert training.square_side(parameters({"image_size": size})) == side
    images = squares(side=side)
    found = training.evaluation_input(images, size)
    torch.testing.assert_close(found, normalize(v2.functional.center_crop(images, [size, size])))


def test_whole_squares_where_nothing_is_cropped():
    assert training.square_side(parameters({"image_size": 48, "crop_pct": 1.0})) == 48


def test_crops_are_torchvisions():
    """Cropping, resizing and flipping are torchvision's, given the same boxes."""
    images = squares(40)
    boxes = crop_boxes(SEEDS[:40].numpy(), 55, (0.7, 1.0))
    for image, found, (top, left, height, width, flip) in zip(
        images, training.crop(images, SEEDS[:40], 48), boxes.tolist(), strict=True
    ):
        want = v2.functional.resized_crop(image, top, left, height, width, [48, 48], antialias=True)
        want = want.flip(-1) if flip else want
        assert (found.int() - want.int()).abs().max() <= 1


def test_crop_boxes_are_distributed_as_torchvisions():
    boxes = crop_boxes(SEEDS.numpy(), 64, (0.5, 1.0))
    area = boxes[:, 2] * boxes[:, 3] / 64**2
    torch.manual_seed(0)
    image = torch.empty(1, 64, 64)
    theirs = [v2.RandomResizedCrop.make_params(v2.RandomResizedCrop(8, (0.5, 1.0)), [image])
              for _ in range(1000)]  # fmt: skip
    wanted = np.array([box["height"] * box["width"] for box in theirs]) / 64**2
    assert area.mean() == pytest.approx(wanted.mean(), abs=0.02)
    assert boxes[:, 4].mean() == pytest.approx(0.5, abs=0.05)
    assert (boxes[:, 0] + boxes[:, 2] <= 64).all() and (boxes[:, 1] + boxes[:, 3] <= 64).all()


@pytest.mark.parametrize("kind", ["paper", "strong"])
def test_an_images_change_is_a_function_of_its_seed_alone(kind):
    params = parameters({"augmentation": kind})
    images = squares(6)
    whole = training.training_input(images, SEEDS[:6], params)
    part = training.training_input(images[2:4], SEEDS[2:4], params)
    torch.testing.assert_close(whole[2:4], part)
    assert whole.shape == (6, 3, 48, 48)
    assert not torch.equal(whole[0], training.training_input(images[:1], SEEDS[7:8], params)[0])


def test_strong_changes_keep_values_in_range_and_erase_half():
    images = torch.full((1000, 1, 24, 24), 200, dtype=torch.uint8)
    found = training.change(images, SEEDS, 24)
    assert found.min() >= 0 and found.max() <= 255
    erased = (found == 127.5).any(dim=(1, 2, 3)).float().mean()
    assert erased == pytest.approx(0.5, abs=0.05)


def test_strong_changes_flip_half_and_turn_no_face_upside_down():
    ramp = torch.arange(24).float().repeat(24, 1) * 10
    images = torch.stack([ramp, ramp.T])[:, None].byte()
    sideways = training.change(images[:1].expand(400, -1, -1, -1), SEEDS[:400], 24)
    tilt = (sideways[..., 12:].mean(dim=(1, 2, 3)) - sideways[..., :12].mean(dim=(1, 2, 3))) > 0
    assert tilt.float().mean() == pytest.approx(0.5, abs=0.08)
    upright = training.change(images[1:].expand(400, -1, -1, -1), SEEDS[:400], 24)
    below = upright[:, :, 12:].mean(dim=(1, 2, 3)) - upright[:, :, :12].mean(dim=(1, 2, 3))
    assert (below > 0).float().mean() > 0.95
