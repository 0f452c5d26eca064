"""The strong augmentation, against torchvision's own operations."""

import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import functional as F

from fer_utils.augmentation import (
    ERASED,
    ERASED_AREA,
    ERASED_RATIO,
    MOST_JITTER,
    MOST_ROTATION,
    RandomChange,
    change,
    random_changes,
)
from fer_utils.transforms import Normalise

NOTHING = torch.tensor([0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0])  # rotation, contrast, brightness, top, left, height, width


@pytest.fixture
def pixels():
    torch.manual_seed(0)
    return F.gaussian_blur(torch.rand(3, 3, 33, 33), [5, 5])


def changed(pixels, **values):
    """`change` of images with values 0–1, all by the same."""
    row = NOTHING.clone()
    for name, value in values.items():
        row[["rotation", "contrast", "brightness", "top", "left", "height", "width"].index(name)] = value
    normalise = Normalise()
    result = change(normalise(pixels * 255), row.expand(len(pixels), -1))
    return (result - normalise.shift) / (normalise.scale * 255)


def test_nothing_changes_nothing(pixels):
    torch.testing.assert_close(changed(pixels), pixels, atol=1e-5, rtol=0)


@pytest.mark.parametrize("angle", [-15.0, 7.5])
def test_a_rotation_is_torchvision_s_within_the_disc_that_stays_in_the_picture(pixels, angle):
    expected = F.rotate(pixels, angle, interpolation=F.InterpolationMode.BILINEAR)
    place = torch.arange(33) - 16
    disc = (place[:, None] ** 2 + place**2) < 15**2
    torch.testing.assert_close(changed(pixels, rotation=angle)[..., disc], expected[..., disc], atol=1e-5, rtol=0)


def test_contrast_and_brightness_are_torchvision_s(pixels):
    for contrast, brightness in ((0.7, 1.3), (1.3, 0.7)):
        expected = F.adjust_brightness(F.adjust_contrast(pixels, contrast), brightness)
        found = changed(pixels, contrast=contrast, brightness=brightness)
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_erased_is_a_rectangle_of_the_mean_colour(pixels):
    normalised = change(Normalise()(pixels * 255), torch.tensor([[0, 1, 1, 3 / 33, 6 / 33, 10 / 33, 5 / 33]] * 3))
    expected = F.erase(Normalise()(pixels * 255), 3, 6, 10, 5, torch.zeros(3, 1, 1))
    torch.testing.assert_close(normalised, expected, atol=1e-5, rtol=0)


def test_each_image_is_changed_by_its_own_seed_alone(pixels):
    changes = random_changes([5, 6, 7])
    one = change(pixels[1:2], random_changes([6]))
    torch.testing.assert_close(change(pixels, changes)[1:2], one)
    torch.manual_seed(3)
    seed = int(torch.randint(2**62, ()))
    torch.manual_seed(3)
    assert torch.equal(RandomChange()(pixels[0]), change(pixels[:1], random_changes([seed]))[0])


def test_changes_are_spread_as_documented():
    rotation, contrast, brightness, top, left, height, width = random_changes(np.arange(4000)).double().T.numpy()
    for values, low, high in (
        (rotation, -MOST_ROTATION, MOST_ROTATION),
        (contrast, 1 - MOST_JITTER, 1 + MOST_JITTER),
        (brightness, 1 - MOST_JITTER, 1 + MOST_JITTER),
    ):
        assert values.min() >= low and values.max() <= high
        assert abs(values.mean() - (low + high) / 2) < 0.02 * (high - low)
    erased = height > 0
    assert abs(erased.mean() - ERASED) < 0.03
    height, width = height[erased], width[erased]
    area, ratio = height * width, width / height
    assert ERASED_AREA[0] * 0.999 <= area.min() and area.max() <= ERASED_AREA[1] * 1.001
    assert ERASED_RATIO[0] * 0.999 <= ratio.min() and ratio.max() <= ERASED_RATIO[1] * 1.001
    assert (top >= 0).all() and (top[erased] + height <= 1 + 1e-6).all() and (left[erased] + width <= 1 + 1e-6).all()
    assert abs(np.corrcoef(rotation, contrast)[0, 1]) < 0.05
