"""Whole batches against torchvision's crops of single images."""

import numpy as np
import pytest
import torch
from scipy.stats import ks_2samp
from torchvision.transforms import RandomResizedCrop, v2

from fer_utils.batch_crops import CropBatch, centre_crops, crop_each, random_crops, resample
from fer_utils.transforms import IMAGENET_MEAN, IMAGENET_STD, Normalise, evaluation_transform

LIBRARY_NORMALISATION = [v2.ToDtype(torch.float32, scale=True), v2.Normalize(IMAGENET_MEAN, IMAGENET_STD)]


def library_crops(count, side, scale, ratio):
    """(count, 4) of torchvision's own draws."""
    torch.manual_seed(0)
    image = torch.zeros(3, side, side)
    return np.array([RandomResizedCrop.get_params(image, [*scale], [*ratio]) for _ in range(count)])


@pytest.mark.parametrize(
    ("side", "scale", "ratio"),
    [
        (256, (0.7, 1.0), (3 / 4, 4 / 3)),
        (55, (0.08, 1.0), (3 / 4, 4 / 3)),
        (55, (0.9, 1.0), (0.5, 2.0)),  # ten attempts do not always do
        (40, (0.2, 0.3), (1.0, 1.0)),
    ],
)
def test_crops_are_distributed_as_the_library_s(side, scale, ratio):
    ours, theirs = random_crops(range(20_000), side, scale, ratio).numpy(), library_crops(4000, side, scale, ratio)
    top, left, height, width, flip = ours.T
    assert (top >= 0).all() and (left >= 0).all() and (top + height <= side).all() and (left + width <= side).all()
    assert (height > 0).all() and (width > 0).all()
    assert abs(flip.mean() - 0.5) < 4 * 0.5 / 20_000**0.5
    for derive in (
        lambda crops: crops[:, 0],
        lambda crops: crops[:, 1],
        lambda crops: crops[:, 2],
        lambda crops: crops[:, 3],
        lambda crops: crops[:, 2] * crops[:, 3],
        lambda crops: crops[:, 2] / crops[:, 3],
        lambda crops: crops[:, 0] + 2 * crops[:, 1] - crops[:, 3],
    ):
        assert ks_2samp(derive(ours), derive(theirs)).pvalue > 1e-3
    assert abs(np.corrcoef(flip, left)[0, 1]) < 4 / 20_000**0.5  # flips do not go by the crop


@pytest.mark.parametrize("ratio", [(2.0, 3.0), (0.3, 0.5), (1.0, 1.0), (0.5, 2.0)])
def test_where_no_crop_fits_it_is_the_library_s_fallback(ratio):
    """Larger than the image, none ever does."""
    ours = random_crops(range(3), 55, (5.0, 6.0), ratio)[:, :4].numpy()
    np.testing.assert_array_equal(ours, library_crops(3, 55, (5.0, 6.0), ratio))


def test_a_crop_depends_on_its_seed_alone():
    seeds = [5, 2**62 - 1, 0, 77, 2**40, 5]
    crops = random_crops(seeds, 55)
    assert crops.dtype == torch.int64 and crops.shape == (6, 5)
    for place, seed in enumerate(seeds):
        assert torch.equal(random_crops([seed], 55)[0], crops[place])
    assert torch.equal(crops[0], crops[5]) and len({tuple(crop) for crop in crops.tolist()}) == 5
    state = torch.get_rng_state()
    random_crops(seeds, 55)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.fixture(
    params=[(55, 48, 3), (55, 48, 1), (100, 32, 3), (40, 64, 3)], ids=lambda sizes: "-".join(map(str, sizes))
)
def batch(request):
    """Images as packs hold them, crops, the size asked for, and what torchvision makes of them, as uint8."""
    side, size, channels = request.param
    random = torch.Generator().manual_seed(side)
    images = torch.randint(0, 256, (40, side, side, channels), dtype=torch.uint8, generator=random).permute(0, 3, 1, 2)
    crops = random_crops(range(40), side, scale=(0.2, 1.0))
    crops[0] = torch.tensor([0, 0, side, side, 1])
    crops[1] = torch.tensor([3, 2, 1, 1, 0])
    expected = [
        v2.functional.resized_crop(image.contiguous(), top, left, height, width, [size, size], antialias=True)
        for image, (top, left, height, width, _) in zip(images, crops.tolist(), strict=True)
    ]
    flipped = [
        v2.functional.horizontal_flip(image) if flip else image
        for image, flip in zip(expected, crops[:, 4].tolist(), strict=True)
    ]
    return images, crops, size, torch.stack(flipped)


def test_on_the_cpu_every_pixel_is_the_library_s(batch):
    images, crops, size, expected = batch
    before = images.clone()
    cropped = torch.stack([*crop_each(images, crops, size)])
    # Without AVX, torchvision resizes floats and rounds them.
    apart = 0 if "AVX" in torch.backends.cpu.get_cpu_capability() else 1
    assert (cropped.int() - expected.int()).abs().max() <= apart
    result = CropBatch(size)(images, crops)
    assert torch.equal(CropBatch(size)(images.contiguous(), crops), result)  # planes, not pixels, side by side
    three = cropped.expand(-1, 3, -1, -1)
    assert torch.equal(result, Normalise()(three)) and result.shape == (40, 3, size, size)
    torch.testing.assert_close(result, v2.Compose(LIBRARY_NORMALISATION)(three))
    assert torch.equal(images, before)


def test_the_matrices_of_other_devices_come_to_the_same(batch):
    images, crops, size, expected = batch
    result = resample(images, crops, size)
    assert result.dtype == torch.float32
    # torchvision rounds to whole values after each of the two directions.
    assert (result - expected).abs().max() <= 1.01


def test_matrices_are_the_library_s_antialiasing_of_floats(batch):
    images, crops, size, _ = batch
    for image, (top, left, height, width, flip), result in zip(
        images, crops.tolist(), resample(images, crops, size), strict=True
    ):
        expected = v2.functional.resized_crop(image.float(), top, left, height, width, [size, size], antialias=True)
        torch.testing.assert_close(result, expected.flip(-1) if flip else expected, atol=2e-3, rtol=0)


def test_other_devices_take_the_matrices(batch):
    images, crops, size, _ = batch
    images = images.to("meta")  # a device that is not the CPU, and computes nothing
    assert CropBatch(size).to("meta")(images, crops.to("meta")).shape == (40, 3, size, size)


def test_memory_is_used_again_but_never_under_a_living_tensor(batch):
    images, crops, size, _ = batch
    crop = CropBatch(size)
    first = crop(images, crops)
    view, kept = first[3:5], first.clone()
    del first
    second = crop(images.flip(0), crops)
    assert torch.equal(view, kept[3:5]) and second.data_ptr() != view[0].data_ptr()
    place = second.data_ptr()
    del second
    assert crop(images, crops).data_ptr() == place


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu_the_batch_is_that_of_the_cpu(batch):
    images, crops, size, _ = batch
    result = CropBatch(size).cuda()(images.cuda(), crops.cuda()).cpu()
    assert (result - CropBatch(size)(images, crops)).abs().max() <= 1.01 / 255 / min(IMAGENET_STD)


@pytest.mark.parametrize("size", [32, 48, 96, 224])
def test_centre_crops_are_the_evaluation_pipeline(size):
    side = round(size * 256 / 224)
    images = torch.randint(0, 256, (2, 3, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(CropBatch(size)(images, centre_crops(2, side, size)), evaluation_transform(size)(images))
