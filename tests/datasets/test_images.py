import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader
from torchvision.transforms import v2

from fer_utils.datasets import FaceDataset, images, load_images, read_synthetic
from fer_utils.datasets.images import hash_images, load_image
from fer_utils.datasets.synthetic import draw_manifest
from fer_utils.errors import InputError


def manifest_of(folder, names, **columns):
    manifest = pd.DataFrame({"image": names, "label": np.arange(len(names)) % 8, "split": "train", **columns})
    manifest.attrs = {"dataset": "folder", "root": str(folder)}
    return manifest


@pytest.fixture
def noise():
    return np.random.default_rng(0).integers(0, 256, (20, 7, 5, 3), dtype=np.uint8)


@pytest.fixture
def files(tmp_path, noise):
    names = [f"{number}.png" for number in range(len(noise))]
    for name, pixels in zip(names, noise, strict=True):
        Image.fromarray(pixels).save(tmp_path / name)
    return manifest_of(tmp_path, names)


@pytest.fixture(scope="module")
def drawn():
    return read_synthetic(train=80, validation=8, test=16, subjects=12, image_size=24)


# One decode path: each mode against pixels written down by hand.


def decode(path, image, **options):
    image.save(path, **options)
    pixels = load_image(path)
    assert pixels.dtype == np.uint8 and pixels.shape[2] == 3
    return pixels


def test_colour_and_grey(tmp_path, noise):
    np.testing.assert_array_equal(decode(tmp_path / "a.png", Image.fromarray(noise[0])), noise[0])
    grey = noise[0, :, :, 0]
    np.testing.assert_array_equal(decode(tmp_path / "b.png", Image.fromarray(grey)), np.stack([grey] * 3, axis=-1))


def test_one_bit_and_palette(tmp_path):
    bits = np.array([[True, False]])
    assert decode(tmp_path / "a.png", Image.fromarray(bits)).tolist() == [[[255] * 3, [0] * 3]]
    image = Image.fromarray(np.array([[0, 1]], dtype=np.uint8), mode=None).convert("P")
    image.putpalette([1, 2, 3, 200, 100, 50])
    assert decode(tmp_path / "b.png", image).tolist() == [[[1, 2, 3], [200, 100, 50]]]
    assert decode(tmp_path / "c.png", image, transparency=1).tolist() == [[[1, 2, 3], [0, 0, 0]]]


def test_sixteen_bits_are_scaled_not_clipped(tmp_path):
    values = np.array([[0, 257, 100 * 257, 65535]], dtype=np.uint16)
    assert decode(tmp_path / "a.png", Image.fromarray(values))[0, :, 0].tolist() == [0, 1, 100, 255]


def test_alpha_is_composited_on_black(tmp_path):
    pixels = np.array([[[200, 100, 50, 255], [200, 100, 50, 0], [200, 100, 50, 128]]], dtype=np.uint8)
    decoded = decode(tmp_path / "a.png", Image.fromarray(pixels))[0].tolist()
    assert decoded == [[200, 100, 50], [0, 0, 0], [100, 50, 25]]


def test_exif_orientation_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned by 90° clockwise
    pixels = np.zeros((2, 3, 3), dtype=np.uint8)
    pixels[0, 0] = 255  # upper left, which turning moves to the upper right
    decoded = decode(tmp_path / "a.png", Image.fromarray(pixels), exif=exif)
    assert decoded.shape == (3, 2, 3)
    assert decoded[0, 1].tolist() == [255] * 3 and decoded.sum() == 3 * 255


def test_first_frame_of_an_animation(tmp_path):
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    decoded = decode(tmp_path / "a.gif", frames[0], save_all=True, append_images=frames[1:])
    assert decoded[0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize("content", [b"", b"text", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"\xff\xd8\xff\xe0"])
def test_unreadable_files_are_named_in_one_line(tmp_path, content):
    (tmp_path / "bad.jpg").write_bytes(content)
    with pytest.raises(InputError, match="readable image at .*bad.jpg") as error:
        load_image(tmp_path / "bad.jpg")
    assert "\n" not in str(error.value)


def test_truncated_jpeg_and_floating_point(tmp_path, noise):
    Image.fromarray(noise[0]).resize((64, 64)).save(tmp_path / "a.jpg")
    (tmp_path / "a.jpg").write_bytes((tmp_path / "a.jpg").read_bytes()[:-200])
    with pytest.raises(InputError, match="a.jpg.*truncated"):
        load_image(tmp_path / "a.jpg")
    Image.fromarray(np.zeros((2, 2), dtype=np.float32)).save(tmp_path / "b.tif")
    with pytest.raises(InputError, match="floating-point"):
        load_image(tmp_path / "b.tif")


# load_images and hash_images


def test_load_images(files, noise):
    np.testing.assert_array_equal(load_images(files), noise)
    np.testing.assert_array_equal(load_images(files.iloc[[3, 1]]), noise[[3, 1]])
    assert load_images(files, size=4).shape == (20, 4, 4, 3)


def test_differing_sizes_are_a_list_unless_resized(tmp_path):
    for name, size in (("a.png", (3, 4)), ("b.png", (5, 6))):
        Image.new("RGB", size, (10, 20, 30)).save(tmp_path / name)
    manifest = manifest_of(tmp_path, ["a.png", "b.png"])
    assert [image.shape for image in load_images(manifest)] == [(4, 3, 3), (6, 5, 3)]
    resized = load_images(manifest, size=8)
    assert resized.shape == (2, 8, 8, 3) and np.unique(resized).tolist() == [10, 20, 30]


def test_drawn_faces_are_those_of_the_generator(drawn, monkeypatch):
    monkeypatch.setattr(images, "_CHUNK", 7)
    np.testing.assert_array_equal(load_images(drawn), draw_manifest(drawn))
    rows = drawn.iloc[[90, 3]]
    np.testing.assert_array_equal(load_images(rows, size=32), draw_manifest(rows, size=32))


def test_a_manifest_without_attrs_and_an_absent_image(files):
    with pytest.raises(InputError, match="absent.png, found no such file"):
        load_images(manifest_of(files.attrs["root"], ["absent.png"]))
    files.attrs = {}
    with pytest.raises(InputError, match="attrs"):
        load_images(files)


def test_hashes_are_equal_exactly_where_pixels_are(tmp_path, noise):
    Image.fromarray(noise[0]).save(tmp_path / "a.png")
    Image.fromarray(noise[0]).save(tmp_path / "b.bmp")
    changed = noise[0].copy()
    changed[6, 4, 2] ^= 1
    Image.fromarray(changed).save(tmp_path / "c.png")
    Image.fromarray(noise[0].reshape(5, 7, 3)).save(tmp_path / "d.png")  # the same bytes in another shape
    a, b, c, d = hash_images(manifest_of(tmp_path, ["a.png", "b.bmp", "c.png", "d.png"]))
    assert a == b and len({a, c, d}) == 3


# FaceDataset


@pytest.mark.parametrize("limit", [2**30, 0])
def test_items_are_uint8_channels_first_in_memory_or_not(files, noise, monkeypatch, limit):
    monkeypatch.setattr(images, "MEMORY_LIMIT", limit)
    dataset = FaceDataset(files)
    assert len(dataset) == 20
    image, target = dataset[9]
    assert image.dtype == torch.uint8 and image.is_contiguous()
    np.testing.assert_array_equal(image.numpy(), noise[9].transpose(2, 0, 1))
    assert target == 1 and isinstance(target, int)
    assert sum(1 for _ in dataset) == 20  # indexing past the end raises IndexError, which ends an iteration


def test_small_datasets_are_decoded_once(files, tmp_path):
    dataset = FaceDataset(files)
    for image in tmp_path.glob("*.png"):
        image.unlink()
    assert dataset[5][0].shape == (3, 7, 5)


def test_a_transform_in_place_leaves_the_kept_image_alone(files, noise):
    dataset = FaceDataset(files, transform=lambda image: image.zero_())
    assert dataset[0][0].sum() == 0 and dataset[0][0].sum() == 0
    np.testing.assert_array_equal(FaceDataset(files)[0][0].numpy(), noise[0].transpose(2, 0, 1))
    np.testing.assert_array_equal(dataset._images[0], noise[0])


def test_filtered_manifests_are_served_by_position(drawn):
    test = drawn[drawn["split"] == "test"]
    dataset = FaceDataset(test)
    assert len(dataset) == 16
    np.testing.assert_array_equal(dataset[2][0].permute(1, 2, 0).numpy(), draw_manifest(test.iloc[[2]])[0])
    assert [dataset[i][1] for i in range(16)] == test["label"].tolist()


def random_transform():
    return v2.Compose([v2.RandomResizedCrop(8, antialias=True), v2.RandomHorizontalFlip()])


def test_a_seeded_item_depends_on_its_seed_alone(files):
    dataset = FaceDataset(files, random_transform())
    state = torch.get_rng_state()
    first = dataset[(4, 17)][0]
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(5)
    assert torch.equal(dataset[(4, 17)][0], first)
    assert not torch.equal(dataset[(4, 18)][0], first)

    torch.manual_seed(17)
    assert torch.equal(dataset[4][0], first)  # the seed means what torch.manual_seed makes of it


@pytest.mark.parametrize("workers", [0, 2])
def test_seeded_items_do_not_depend_on_workers(files, workers):
    keys = [(index, 1000 + index) for index in range(20)]
    dataset = FaceDataset(files, random_transform())
    loader = DataLoader(dataset, batch_size=6, sampler=keys, num_workers=workers)
    batches = torch.cat([batch for batch, _ in loader])
    assert torch.equal(batches, torch.stack([dataset[key][0] for key in keys]))


def test_subjects_are_numbered_in_sorted_order(tmp_path, files):
    manifest = files.assign(subject=[30, 10, 20, 10] * 5)
    manifest.attrs = files.attrs
    dataset = FaceDataset(manifest, target="subject")
    assert dataset.classes == [10, 20, 30]
    assert dataset.targets[:4] == [2, 0, 1, 0]
    part = FaceDataset(manifest.iloc[[0, 2]], target="subject", classes=dataset.classes)
    assert part.targets == [2, 1]
    with pytest.raises(InputError, match="one of 2 known ones, found 30 and 4 more rows"):
        FaceDataset(manifest, target="subject", classes=[10, 20])
    named = manifest.assign(subject=["b", "a"] * 10)
    assert FaceDataset(named, target="subject").targets[:2] == [1, 0]


def test_labels_keep_their_numbers_though_classes_are_absent(files):
    dataset = FaceDataset(files.iloc[[7, 6]])
    assert dataset.targets == [7, 6] and dataset.classes[7] == "contempt"


def test_bad_targets_and_labels(files):
    with pytest.raises(InputError, match="expected the target 'subject' among"):
        FaceDataset(files, target="subject")
    with pytest.raises(InputError, match="found nan and 0 more rows"):
        FaceDataset(files.assign(subject=[np.nan] + [1] * 19), target="subject")
    with pytest.raises(InputError, match="expected a label"):
        FaceDataset(files.assign(label=9))


def test_a_damaged_file_stops_the_construction(files, tmp_path):
    (tmp_path / "13.png").write_bytes(b"")
    with pytest.raises(InputError, match="13.png"):
        FaceDataset(files)
