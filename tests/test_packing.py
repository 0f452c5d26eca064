import fcntl
import json
import os
import pickle
import resource
import subprocess
import sys
import threading
import time

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from fer_utils import packing
from fer_utils.datasets import FaceDataset, class_counts, images, load_images, read_manifest, read_synthetic
from fer_utils.datasets.boxes import crop_box
from fer_utils.datasets.packed import PackedImages, open_pack
from fer_utils.datasets.squares import to_square
from fer_utils.datasets.synthetic import draw_manifest
from fer_utils.errors import InputError
from fer_utils.packing import pack, pack_into

RANDOM = np.random.default_rng(0)


def save(folder, names, shapes, **columns):
    """Files of smooth noise, and their manifest."""
    for name, shape in zip(names, shapes, strict=True):
        pixels = RANDOM.integers(0, 256, (*(1 + side // 6 for side in shape[:2]), *shape[2:]), dtype=np.uint8)
        Image.fromarray(pixels).resize((shape[1], shape[0]), Image.Resampling.BICUBIC).save(folder / name)
    manifest = pd.DataFrame({"image": names, "label": np.arange(len(names)) % 8, "split": "train", **columns})
    manifest.attrs = {"dataset": "folder", "root": str(folder)}
    return manifest


@pytest.fixture
def colour(tmp_path):
    names = [f"{number}.png" for number in (5, 3, 9, 1, 7, 0, 4, 8, 2, 6)]
    return save(tmp_path, names, [(40, 30 + number, 3) for number in range(10)])


@pytest.fixture
def count_decoded(monkeypatch):
    decoded = []
    load = images.load_image
    monkeypatch.setattr(images, "load_image", lambda path: decoded.append(path) or load(path))
    return decoded


@pytest.mark.parametrize(
    ("shape", "size"), [((48, 36), 24), ((36, 48), 24), ((40, 8), 16), ((9, 9), 30), ((64, 96), 16)]
)
def test_packed_images_are_resized_and_their_centre(shape, size, tmp_path):
    """Against Pillow's two steps, at sizes where none of them falls between two pixels."""
    manifest = save(tmp_path, ["a.png"], [(*shape, 3)])
    packed = pack(manifest, size, tmp_path / "new" / "pack.npy")
    height, width = (side * size // min(shape) for side in shape)
    top, left = (height - size) // 2, (width - size) // 2
    resized = Image.open(tmp_path / "a.png").resize((width, height), Image.Resampling.BILINEAR)
    expected = np.asarray(resized.crop((left, top, left + size, top + size)))
    file = np.load(tmp_path / "new" / "pack.npy", mmap_mode="r")
    assert file.dtype == np.uint8 and file.shape == (1, size, size, 3)
    assert np.abs(file[0].astype(int) - expected).max() <= 1  # Pillow rounds a fractional crop's weights otherwise
    np.testing.assert_array_equal(load_images(packed), file)


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (2000, 3), (5, 4)])
def test_squares_of_odd_shapes(shape):
    square = to_square(np.full((*shape, 3), 9, dtype=np.uint8), 16)
    assert square.shape == (16, 16, 3) and (square == 9).all()
    pixels = RANDOM.integers(0, 256, (24, 24, 3), dtype=np.uint8)
    np.testing.assert_array_equal(to_square(pixels, 24), pixels)


def test_a_packed_manifest_works_like_any_other(tmp_path, colour):
    packed = pack(colour, 24, tmp_path / "pack.npy")
    assert packed.drop(columns="packed").equals(colour) and "packed" not in colour and "pack" not in colour.attrs
    np.testing.assert_array_equal(load_images(packed), open_pack(tmp_path / "pack.npy")[packed["packed"]])
    rows = packed[packed["label"] > 5]
    np.testing.assert_array_equal(load_images(rows), load_images(packed)[[6, 7]])
    assert load_images(rows, size=9).shape == (2, 9, 9, 3)
    assert class_counts(packed).tolist() == class_counts(colour).tolist()
    image, target = FaceDataset(rows)[1]
    np.testing.assert_array_equal(image.permute(1, 2, 0), load_images(packed)[7])
    assert target == 7
    written = read_manifest(tmp_path / "pack.parquet")  # made of the same images, and of use by itself
    np.testing.assert_array_equal(load_images(written), open_pack(tmp_path / "pack.npy"))
    assert written.attrs["pack"] == packed.attrs["pack"] and packed.attrs["pack"]["size"] == 24


def test_small_packs_are_held_in_memory_and_large_ones_mapped(tmp_path, colour, monkeypatch):
    packed = pack(colour, 24, tmp_path / "pack.npy")
    held = PackedImages(packed)
    monkeypatch.setattr(images, "MEMORY_LIMIT", 10 * 24**2 * 3 - 1)
    mapped = PackedImages(packed)
    assert held.in_memory and not mapped.in_memory and PackedImages(packed[1:]).in_memory
    np.testing.assert_array_equal(held.batch([3, 3, 0]), mapped.batch([3, 3, 0]))
    assert len(pickle.dumps(mapped)) < 1000
    mapped[0][:] = 0  # a copy, not the file
    np.testing.assert_array_equal(held[0], FaceDataset(packed)._images[0])


def test_grey_images_take_one_channel(tmp_path):
    grey = save(tmp_path, ["a.png", "b.png"], [(30, 30), (40, 30)])
    packed = pack(grey, 30, tmp_path / "pack.npy")
    assert open_pack(tmp_path / "pack.npy").shape == (2, 30, 30, 1) and packed.attrs["pack"]["channels"] == 1
    np.testing.assert_array_equal(load_images(packed)[0], load_images(grey[:1])[0])
    np.testing.assert_array_equal(FaceDataset(packed)[0][0], FaceDataset(grey)[0][0])


def test_a_late_image_with_colours_makes_three_channels(tmp_path, monkeypatch):
    monkeypatch.setattr(packing, "_CHUNK", 2)
    names = [f"{number}.png" for number in range(7)]
    mixed = save(tmp_path, names, [(12, 12)] * 6 + [(12, 12, 3)])
    packed = pack(mixed, 12, tmp_path / "pack.npy")
    assert packed.attrs["pack"]["channels"] == 3
    np.testing.assert_array_equal(load_images(packed), load_images(mixed))


def test_drawn_faces_are_drawn_at_that_size(tmp_path):
    drawn = read_synthetic(train=80, validation=8, test=8, subjects=12, image_size=24)
    packed = pack(drawn, 30, tmp_path / "pack.npy")
    np.testing.assert_array_equal(load_images(packed), draw_manifest(drawn, size=30))
    assert FaceDataset(packed)[5][1] == drawn["label"][5]
    other = read_synthetic(train=80, validation=8, test=8, subjects=12, image_size=24, seed=1)
    np.testing.assert_array_equal(load_images(pack(other, 30, tmp_path / "pack.npy")), draw_manifest(other, size=30))


def test_rows_of_fer2013_s_file(tmp_path):
    pixels = RANDOM.integers(0, 256, (2, 48, 48), dtype=np.uint8)
    lines = ["emotion,pixels,Usage", *(f"0,{' '.join(map(str, face.ravel()))},Training" for face in pixels)]
    (tmp_path / "fer2013.csv").write_text("\n".join(lines) + "\n")
    manifest = pd.DataFrame({"image": [1, 0], "label": 0, "split": "train"})
    manifest.attrs = {"dataset": "fer2013", "root": str(tmp_path), "pixels": "fer2013.csv"}
    np.testing.assert_array_equal(load_images(pack(manifest, 48, tmp_path / "a.npy"))[..., 0], pixels[[1, 0]])


def test_faces_are_cut_with_their_margin(tmp_path):
    names = ["a.png", "b.png", "c.png"]
    boxes = {"box_x": [10, -5, 500], "box_y": [5, 3, 0], "box_width": [20, 18, 9], "box_height": [20, 18, 9]}
    manifest = save(tmp_path, names, [(60, 50, 3)] * 3, **boxes)
    packed = pack(manifest, 24, tmp_path / "pack.npy", margin=0.1)
    for row, box in enumerate(zip(*boxes.values(), strict=True)):
        left, top, right, bottom = crop_box(50, 60, box, 0.1)
        pixels = load_images(manifest)[row][top:bottom, left:right]
        np.testing.assert_array_equal(load_images(packed)[row], to_square(pixels, 24))
    about = packed.attrs["pack"]
    assert (about["margin"], about["whole_images"]) == (0.1, 1)
    again = pack(packed, 20, tmp_path / "small.npy")  # from the files, as before
    assert (again.attrs["pack"]["margin"], open_pack(tmp_path / "small.npy").shape) == (0.1, (3, 20, 20, 3))


# Made once, made anew, gone on with


def test_a_pack_that_is_there_is_used(tmp_path, colour, count_decoded, capsys):
    first = pack(colour, 24, tmp_path / "pack.npy")
    count_decoded.clear()
    other = colour.iloc[::-1].assign(label=3, split="test")
    second = pack(other, 24, tmp_path / "pack.npy")
    np.testing.assert_array_equal(load_images(second), load_images(first)[::-1])
    moved = colour.copy()
    (tmp_path / "elsewhere").mkdir()
    for name in colour["image"]:
        os.rename(tmp_path / name, tmp_path / "elsewhere" / name)
    moved.attrs["root"] = str(tmp_path / "elsewhere")
    pack(moved, 24, tmp_path / "pack.npy")
    assert not count_decoded and capsys.readouterr().out == ""


@pytest.mark.parametrize("change", ["size", "file", "rows", "boxes", "damage"])
def test_a_pack_of_other_images_is_made_anew(change, tmp_path, colour, count_decoded, capsys):
    pack(colour, 24, tmp_path / "pack.npy")
    count_decoded.clear()
    size, margin = (20 if change == "size" else 24), (0.1 if change == "boxes" else None)
    if change == "file":
        save(tmp_path, ["3.png"], [(50, 50, 3)])
    elif change == "rows":
        colour = colour[1:]
    elif change == "boxes":
        colour = colour.assign(box_x=1, box_y=2, box_width=9, box_height=9)
    elif change == "damage":
        (tmp_path / "pack.parquet").write_bytes(b"")
    packed = pack(colour, size, tmp_path / "pack.npy", margin)
    assert {os.path.basename(file) for file in count_decoded} == {*colour["image"]}
    assert capsys.readouterr().out.startswith("packing anew: ")
    fresh = pack(colour, size, tmp_path / "fresh.npy", margin)
    np.testing.assert_array_equal(load_images(packed), load_images(fresh))


def test_packs_of_several_sizes_lie_side_by_side(tmp_path, colour, count_decoded):
    first, second = (pack_into(colour, size, tmp_path / "packs") for size in (16, 24))
    count_decoded.clear()
    assert pack_into(colour, 16, tmp_path / "packs").equals(first) and not count_decoded
    assert [load_images(packed).shape[1] for packed in (first, second)] == [16, 24]
    assert first.attrs["pack"]["fingerprint"] in first.attrs["pack"]["path"]


def test_a_killed_packing_goes_on_where_it_was(tmp_path, colour, monkeypatch, count_decoded):
    monkeypatch.setattr(packing, "_CHUNK", 2)
    expected = load_images(pack(colour, 24, tmp_path / "whole.npy"))
    load, path = images.load_image, tmp_path / "pack.npy"

    def killed_at_five(file):
        if file.endswith("/5.png"):
            raise KeyboardInterrupt
        return load(file)

    monkeypatch.setattr(images, "load_image", killed_at_five)
    with pytest.raises(KeyboardInterrupt):
        pack(colour, 24, path)
    assert not path.exists() and not path.with_suffix(".parquet").exists()
    with open(tmp_path / "pack.npy.partial", "ab") as file:
        file.write(b"written, but not noted")
    monkeypatch.setattr(images, "load_image", load)
    count_decoded.clear()
    packed = pack(colour, 24, path)
    assert sorted(os.path.basename(file) for file in count_decoded) == [f"{number}.png" for number in range(4, 10)]
    np.testing.assert_array_equal(load_images(packed), expected)
    assert {file.name for file in tmp_path.glob("pack*")} == {"pack.npy", "pack.parquet", "pack.npy.lock"}


def test_a_kill_before_the_final_name_costs_nothing(tmp_path, colour, monkeypatch, count_decoded):
    replace = os.replace

    def killed(source, target):
        if str(target).endswith(".npy"):
            raise KeyboardInterrupt
        replace(source, target)

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        pack(colour, 24, tmp_path / "pack.npy")
    monkeypatch.setattr(os, "replace", replace)
    count_decoded.clear()
    assert load_images(pack(colour, 24, tmp_path / "pack.npy")).shape == (10, 24, 24, 3) and not count_decoded


def test_the_rest_of_another_pack_is_not_gone_on_with(tmp_path, colour):
    (tmp_path / "pack.npy.partial").write_bytes(b"0" * 10_000)
    (tmp_path / "pack.npy.progress.json").write_text(
        json.dumps({"fingerprint": "another", "channels": 3, "done": 4, "whole_images": 0})
    )
    np.testing.assert_array_equal(
        load_images(pack(colour, 24, tmp_path / "pack.npy")), load_images(pack(colour, 24, tmp_path / "other.npy"))
    )


def test_one_process_packs_at_a_time(tmp_path, colour, capsys, count_decoded):
    path = tmp_path / "pack.npy"
    with open(tmp_path / "pack.npy.lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        thread = threading.Thread(target=pack, args=(colour, 24, path))
        thread.start()
        time.sleep(0.2)
        assert not count_decoded
    thread.join()
    assert path.is_file() and "waiting for another process" in capsys.readouterr().out


# Bad input


def one_line(error):
    assert "\n" not in str(error.value)


def test_a_bad_image_is_named(tmp_path, colour):
    (tmp_path / "4.png").write_bytes(b"no image")
    with pytest.raises(InputError, match="expected a readable image at .*4.png") as error:
        pack(colour, 24, tmp_path / "pack.npy")
    one_line(error)
    (tmp_path / "4.png").unlink()
    with pytest.raises(InputError, match="4.png, found no such file") as error:
        pack(colour, 24, tmp_path / "pack.npy")
    one_line(error)
    assert not (tmp_path / "pack.npy").exists()


def test_a_full_disk_is_one_line_and_what_was_written_counts(tmp_path, colour, monkeypatch, count_decoded):
    monkeypatch.setattr(packing, "_CHUNK", 2)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (9000, hard))  # five images of 1728 bytes, and the header
    try:
        with pytest.raises(InputError, match="expected room for up to .* GiB .*make room and run it again") as error:
            pack(colour, 24, tmp_path / "pack.npy")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    one_line(error)
    assert not (tmp_path / "pack.npy").exists()
    count_decoded.clear()
    assert load_images(pack(colour, 24, tmp_path / "pack.npy")).shape == (10, 24, 24, 3) and len(count_decoded) == 6


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((24, "pack.bin"), "expected a pack's name to end in .npy, found 'pack.bin'"),
        ((0, "pack.npy"), "expected a size of at least 1 pixel, found 0"),
        ((24, "pack.npy", 0.1), "expected a manifest with face boxes"),
    ],
)
def test_bad_arguments(arguments, message, tmp_path, colour):
    size, name, *margin = arguments
    with pytest.raises(InputError, match=message) as error:
        pack(colour, size, tmp_path / name, *margin)
    one_line(error)


def test_a_lost_or_foreign_pack_is_named(tmp_path, colour):
    packed, path = pack(colour, 24, tmp_path / "pack.npy"), tmp_path / "pack.npy"
    np.save(path, np.zeros((3, 24, 24, 3), dtype=np.uint8))
    with pytest.raises(InputError, match="expected at least 10 images in .*, found 3"):
        load_images(packed)
    np.save(path, np.zeros((10, 24)))
    with pytest.raises(InputError, match=r"expected packed images, .* found float64 \(10, 24\)"):
        load_images(packed)
    path.write_bytes(b"text")
    with pytest.raises(InputError, match="found another file; pack the manifest again"):
        load_images(packed)
    path.unlink()
    with pytest.raises(InputError, match="found no such file; pack the manifest again") as error:
        load_images(packed)
    one_line(error)
    colour.attrs = {}
    with pytest.raises(InputError, match="attrs"):
        pack(colour, 24, path)


def test_packing_needs_no_torch():
    code = "import sys, fer_utils.packing; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
