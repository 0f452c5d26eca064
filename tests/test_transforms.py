import pytest
import torch
from torchvision.transforms import v2

from fer_utils.transforms import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Normalise,
    denormalise,
    evaluation_transform,
    train_transform,
)

LIBRARY_NORMALISATION = [v2.ToDtype(torch.float32, scale=True), v2.Normalize(IMAGENET_MEAN, IMAGENET_STD)]


@pytest.fixture
def image():
    return torch.randint(0, 256, (3, 60, 50), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_constants_are_those_of_torchvision():
    from torchvision.models import ResNet50_Weights

    preset = ResNet50_Weights.IMAGENET1K_V1.transforms()
    assert (list(IMAGENET_MEAN), list(IMAGENET_STD)) == (preset.mean, preset.std)


def test_normalisation_is_the_library_s(image):
    torch.testing.assert_close(Normalise()(image), v2.Compose(LIBRARY_NORMALISATION)(image))
    batch = torch.stack([image, 255 - image])
    torch.testing.assert_close(Normalise()(batch)[1], Normalise()(255 - image))


def test_normalisation_leaves_its_input_alone(image):
    floats = image.float()
    Normalise()(floats)
    assert torch.equal(floats, image.float())


def test_train_transform_is_the_library_s_pipeline(image):
    crop = v2.RandomResizedCrop(48, scale=(0.7, 1.0), ratio=(3 / 4, 4 / 3), antialias=True)
    reference = v2.Compose([crop, v2.RandomHorizontalFlip(), *LIBRARY_NORMALISATION])
    for seed in range(10):
        torch.manual_seed(seed)
        expected = reference(image)
        torch.manual_seed(seed)
        result = train_transform(48)(image)
        assert result.dtype == torch.float32 and result.shape == (3, 48, 48)
        torch.testing.assert_close(result, expected)


def test_crop_and_flip_are_as_asked():
    # Two ramps tell the crop's place and size: red grows by 2 a column, green by 2 a row.
    ramp = 2 * torch.arange(100, dtype=torch.uint8)
    image = torch.stack([ramp.expand(100, 100), ramp[:, None].expand(100, 100), torch.zeros(100, 100).byte()])
    transform = train_transform(100, crop_scale=(0.25, 0.5), crop_ratio=(1.0, 1.0))
    torch.manual_seed(0)
    flips, areas = [], []
    for _ in range(300):
        seen = denormalise(transform(image)).float()
        width = (seen[0, 50, -1] - seen[0, 50, 0]) / 2 + 1
        height = (seen[1, -1, 50] - seen[1, 0, 50]) / 2 + 1
        flips.append(float(width < 0))
        areas.append(float((width.abs() * height) / 100**2))
    assert 0.4 < sum(flips) / 300 < 0.6  # 3.5 standard errors
    assert min(areas) > 0.22 and max(areas) < 0.53


def test_a_full_crop_of_the_right_size_changes_nothing_but_the_side(image):
    square = image[:, :50]
    transform = train_transform(50, crop_scale=(1.0, 1.0), crop_ratio=(1.0, 1.0))
    torch.manual_seed(0)
    seen = {bool(torch.equal(denormalise(transform(square)), square)) for _ in range(20)}
    assert seen == {True, False}
    assert torch.equal(denormalise(transform(square)).sum(dim=2), square.sum(dim=2).to(torch.int64))


def test_evaluation_transform_resizes_then_crops_the_centre():
    # At 224 pixels: to 256, and 16 off each side. An image of 256 needs no resizing.
    image = torch.randint(0, 256, (3, 256, 256), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    assert torch.equal(denormalise(evaluation_transform(224)(image)), image[:, 16:240, 16:240])
    # At 48: the shorter side to 55 (54.86), so 60 × 50 becomes 66 × 55.
    tall = torch.randint(0, 256, (3, 60, 50), dtype=torch.uint8, generator=torch.Generator().manual_seed(2))
    resized = v2.functional.resize(tall, [66, 55], antialias=True)
    assert torch.equal(denormalise(evaluation_transform(48)(tall)), v2.functional.center_crop(resized, [48, 48]))


def test_evaluation_transform_of_a_batch(image):
    batch = torch.stack([image, 255 - image])
    transform = evaluation_transform(48)
    torch.testing.assert_close(transform(batch), torch.stack([transform(one) for one in batch]))


def test_native_statistics_of_vggface2(image):
    mean = torch.tensor([131.0912, 103.8827, 91.4953])  # RGB, on 0–255, standard deviation 1
    transform = evaluation_transform(48, mean=(mean / 255).tolist(), std=(1 / 255,) * 3)
    pixels = denormalise(evaluation_transform(48)(image)).float()
    torch.testing.assert_close(transform(image), pixels - mean.view(3, 1, 1), atol=1e-3, rtol=0)


def test_denormalise_clamps_and_inverts(image):
    assert torch.equal(denormalise(Normalise()(image)), image)
    assert denormalise(torch.full((3, 1, 1), 100.0)).flatten().tolist() == [255] * 3
    batch = torch.stack([image, image])
    assert torch.equal(denormalise(Normalise((0.5,) * 3, (0.5,) * 3)(batch), (0.5,) * 3, (0.5,) * 3), batch)
