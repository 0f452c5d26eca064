"""What every reader owes: wrong folders named, bad images raised or skipped, odd text files read, no crash by fuzz."""

import json
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from fer_utils.datasets import (
    FaceDataset,
    load_images,
    read_dataset,
    read_folder,
    read_manifest,
    recognise,
    write_manifest,
)
from fer_utils.datasets.images import hash_images
from fer_utils.datasets.manifest import check_manifest
from fer_utils.datasets.recognition import TITLES
from fer_utils.errors import InputError
from tests.datasets.trees import LAYOUTS, picture

DATASETS = {"affectnet_npy": "affectnet"}  # layout → dataset, where the names differ
FILES = [(layout, file) for layout, (_, _, files) in LAYOUTS.items() for file in files]
WITH_FILES = [name for name in LAYOUTS if name != "fer2013"]  # an image is a file


def refusal(reader, *arguments, **options):
    with pytest.raises(InputError) as error:
        reader(*arguments, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.fixture
def tree(tmp_path, request):
    """A layout below a path with a space and an accent, and its reader."""
    write, reader, _ = LAYOUTS[request.param]
    root = tmp_path / "Fotos für mich"
    write(root)
    return root, reader


every_layout = pytest.mark.parametrize("tree", LAYOUTS, indirect=True)
every_layout_of_files = pytest.mark.parametrize("tree", WITH_FILES, indirect=True)


@every_layout
def test_manifests_are_usable_and_last(tree, tmp_path):
    root, reader = tree
    manifest = check_manifest(reader(root))
    assert isinstance(manifest.index, pd.RangeIndex) and "row" not in manifest and "expression" not in manifest
    assert manifest.attrs["bad_images"] == {"count": 0, "names": []}
    write_manifest(manifest, tmp_path / "manifest.parquet")
    again = read_manifest(tmp_path / "manifest.parquet")
    pd.testing.assert_frame_equal(again, manifest)
    assert again.attrs == manifest.attrs == json.loads(json.dumps(manifest.attrs))
    images = load_images(again)
    image, target = FaceDataset(again)[len(again) - 1]
    np.testing.assert_array_equal(image.permute(1, 2, 0).numpy(), images[-1])
    assert target == manifest["label"].iloc[-1]


@every_layout
def test_the_list_alone_gives_the_same_rows(tree):
    root, reader = tree
    manifest = reader(root, check_images=False)
    opened = reader(root)
    assert opened.pop("fingerprint").tolist() == hash_images(opened)
    pd.testing.assert_frame_equal(manifest, opened, check_like=True)
    assert "bad_images" not in manifest.attrs


@pytest.mark.parametrize("layout", LAYOUTS)
def test_content_tells_the_dataset(layout, tmp_path):
    write, reader, _ = LAYOUTS[layout]
    write(tmp_path / "data here")
    dataset = DATASETS.get(layout, layout)
    assert recognise(tmp_path / "data here") == dataset
    for root in (tmp_path / "data here", str(tmp_path / "data here")):
        manifest = read_dataset(root, check_images=False)
        assert manifest.attrs["dataset"] == dataset
        assert manifest.equals(reader(root, check_images=False))
        assert manifest.equals(read_dataset(dataset, root, check_images=False))
    assert f"it one level deeper; give {tmp_path / 'data here'}" in refusal(reader, tmp_path)
    assert f"it one level deeper; give {tmp_path / 'data here'}" in refusal(read_dataset, tmp_path)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("other", LAYOUTS)
def test_another_dataset_is_named(layout, other, tmp_path):
    LAYOUTS[other][0](tmp_path)
    wanted, found = DATASETS.get(layout, layout), DATASETS.get(other, other)
    if wanted == found:
        return
    message = refusal(LAYOUTS[layout][1], tmp_path)
    # A folder of pictures is enough for read_folder to look at, and it says which is no class.
    assert f"what looks like {TITLES[found]}" in message or (wanted == "folder" and "folder" in message)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_nothing_there(layout, tmp_path):
    reader = LAYOUTS[layout][1]
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert "found no such folder; check the path" in refusal(reader, tmp_path / "absent")
    assert "found no such folder; check the path" in refusal(reader, tmp_path / "loop")
    assert "found an empty folder; put" in refusal(reader, tmp_path / "empty")
    assert "found a file; give the folder" in refusal(reader, tmp_path / "notes.txt")
    assert "did you mean 'skip'" in refusal(reader, tmp_path, on_bad_image="skp")


@pytest.mark.parametrize(
    "argument, message",
    [
        ("affectnett", "unknown dataset 'affectnett'; did you mean 'affectnet'"),
        ("./nowhere", "found no such folder"),
        ("ferplus", "expected the folder of the dataset 'ferplus'"),
    ],
)
def test_a_name_is_told_from_a_folder(argument, message):
    assert message in refusal(read_dataset, argument)


def test_a_folder_of_something_else_is_described(tmp_path):
    for name in ("a", "b", "c", "d"):
        (tmp_path / name).touch()
    assert "found a, b, c, …; check the path" in refusal(recognise, tmp_path)


# Images


def first_image(root, reader):
    manifest = reader(root, check_images=False)
    image = manifest["image"].iloc[-1]
    return image, os.path.join(manifest.attrs["root"], image)


@every_layout_of_files
def test_absent_images_are_named_or_skipped(tree):
    root, reader = tree
    image, path = first_image(root, reader)
    os.remove(path)
    if reader is read_folder:  # where nothing lists it, nothing is absent
        assert image not in reader(root)["image"].tolist()
        return
    message = refusal(reader, root)
    assert f"found 1 absent, the first {path}" in message
    assert (" row " in message) == ("set" not in path.split(os.sep)[-3])  # the npy release has no list
    if "FER2013" not in path:  # which needs an image in each split
        manifest = reader(root, on_bad_image="skip")
        assert manifest.attrs["bad_images"] == {"count": 1, "names": [image]}
        assert image not in manifest["image"].tolist() and len(manifest) == len(reader(root, check_images=False)) - 1


@every_layout_of_files
@pytest.mark.parametrize("damage", [lambda data: data[: len(data) * 2 // 3], lambda data: b"", lambda data: b"<html>"])
def test_damaged_images_are_named_or_skipped(tree, damage):
    root, reader = tree
    image, path = first_image(root, reader)
    with open(path, "rb") as file:
        data = damage(file.read())
    with open(path, "wb") as file:
        file.write(data)
    message = refusal(reader, root)
    assert f"expected a readable image at {path}" in message
    if "FER2013" not in path:
        assert reader(root, on_bad_image="skip").attrs["bad_images"] == {"count": 1, "names": [image]}


@pytest.mark.parametrize("tree", ["affectnet", "ferplus", "rafdb"], indirect=True)
def test_a_bad_image_is_named_with_its_row(tree):
    root, reader = tree
    _, path = first_image(root, reader)
    open(path, "wb").close()
    lists = {"affectnet": "validation.csv row 3", "ferplus": "FER2013Test/label.csv row 1", "rafdb": "label.txt row 5"}
    dataset = reader(root, check_images=False).attrs["dataset"]
    assert f"{lists[dataset]}: expected a readable image" in refusal(reader, root).replace(os.sep, "/")


@every_layout_of_files
def test_no_readable_image_at_all(tree):
    root, reader = tree
    for path in [*root.rglob("*.*")]:
        if path.suffix.lower() in (".jpg", ".png", ".bmp", ".tif"):
            path.write_bytes(b"")
    assert "none of them readable" in refusal(reader, root, on_bad_image="skip")


def test_names_of_many_bad_images_are_cut_short(tmp_path):
    (tmp_path / "happy").mkdir()
    for number in range(120):
        (tmp_path / "happy" / f"{number:03}.jpg").touch()
    picture(tmp_path / "sad" / "1.jpg")
    bad = read_folder(tmp_path, on_bad_image="skip").attrs["bad_images"]
    assert bad["count"] == 120 and bad["names"] == [f"happy/{number:03}.jpg" for number in range(100)]


def test_odd_but_readable_images(tmp_path):
    folder = tmp_path / "happy"
    picture(folder / "plain.jpg")
    Image.new("L", (1, 1), 9).save(folder / "one.png")
    Image.new("L", (20_000, 3), 9).save(folder / "wide.png")
    Image.fromarray(np.full((4, 4), 9 * 257, dtype=np.uint16)).save(folder / "sixteen.png")
    Image.new("L", (4, 4), 9).convert("P").save(folder / "palette.png")
    frames = [Image.new("L", (4, 4), grey) for grey in (9, 200)]
    frames[0].save(folder / "moving.gif", save_all=True, append_images=frames[1:])
    manifest = read_folder(tmp_path)
    assert len(manifest) == 6 and manifest.attrs["bad_images"]["count"] == 0
    for name, pixels in zip(manifest["image"], load_images(manifest), strict=True):
        assert name == "happy/plain.jpg" or (pixels == 9).all(), name


def test_huge_images_are_read_or_bad_without_a_warning(tmp_path):
    """Pillow warns of pictures above its limit and refuses those above twice the limit, here 100 pixels."""
    for number, size in enumerate([(5, 5), (10, 15), (10, 30)]):
        picture(tmp_path / "happy" / "0.jpg")
        Image.new("L", size).save(tmp_path / "happy" / f"{number}.png")
    code = (
        "import sys; from PIL import Image; from fer_utils.datasets import read_folder; Image.MAX_IMAGE_PIXELS = 100\n"
    )
    code += (
        "print(read_folder(sys.argv[1], on_bad_image='skip').attrs['bad_images']['names'])\nread_folder(sys.argv[1])"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True)
    assert done.stdout.strip() == "['happy/2.png']"
    assert "Warning" not in done.stderr
    assert "2.png, found one that cannot be decoded (Image size (300 pixels) exceeds" in done.stderr.splitlines()[-1]


@every_layout
def test_loops_of_links_end(tree):
    root, reader = tree
    expected = reader(root)
    for folder in [root, *(path for path in root.rglob("*") if path.is_dir())]:
        (folder / ".loop").symlink_to(root)
        if folder != root:  # where a folder called so would be taken for one of class folders
            (folder / "again").symlink_to(root)
    assert reader(root).equals(expected)


# Text files


@pytest.mark.parametrize("layout, file", FILES)
def test_marks_line_ends_and_spaces_do_not_matter(layout, file, tmp_path):
    write, reader, _ = LAYOUTS[layout]
    write(tmp_path)
    expected = reader(tmp_path)
    text = (tmp_path / file).read_bytes()
    (tmp_path / file).write_bytes(b"\xef\xbb\xbf" + text.replace(b"\n", b"\r\n") + b"\r\n")
    assert reader(tmp_path).equals(expected)
    spaced = text.replace(b"\n", b" \n") if layout == "rafdb" else text.replace(b",", b", ").replace(b"\n", b" \n")
    (tmp_path / file).write_bytes(spaced)
    assert reader(tmp_path).equals(expected)
    first, rest = text.split(b"\n", 1)
    (tmp_path / file).write_bytes(b"\n" + first + b"\n\n" + rest.removesuffix(b"\n"))
    assert reader(tmp_path).equals(expected)


@pytest.mark.parametrize("layout, file", FILES)
@pytest.mark.parametrize("content", [b"", b"\n\r\n", b"\xef\xbb\xbf"])
def test_no_rows(layout, file, content, tmp_path):
    write, reader, _ = LAYOUTS[layout]
    write(tmp_path)
    (tmp_path / file).write_bytes(content)
    message = refusal(reader, tmp_path, check_images=False)
    assert str(tmp_path / file) in message and "found none; restore it" in message


@pytest.fixture(scope="module")
def trees(tmp_path_factory):
    roots = {}
    for layout, (write, _, _) in LAYOUTS.items():
        roots[layout] = tmp_path_factory.mktemp(layout)
        write(roots[layout])
    return roots


FUZZED = [*FILES, ("ferplus", "fer2013new.csv"), ("affectnet_npy", "train_set/annotations/0_exp.npy")]
COUNT = {"fer2013": 15}  # examples, where 48 × 48 numbers a row are slow to change


@pytest.mark.parametrize("layout, file", FUZZED)
def test_no_bytes_crash_a_reader(layout, file, trees):
    _, reader, _ = LAYOUTS[layout]
    path = trees[layout] / file
    content = path.read_bytes()
    options = {"label_file": "fer2013new.csv"} if file == "fer2013new.csv" else {}
    odd = st.sampled_from(
        [b",", b"\n", b"\r", b'"', b"\x00", b"\xff", b" ", b"-", b"nan", b"1e400", b"\xe2\x80\xa8", b"9" * 30]
    )
    change = st.tuples(st.integers(0, len(content)), st.integers(0, 30), st.one_of(odd, st.binary(max_size=6)))

    @settings(max_examples=COUNT.get(layout, 40), deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(st.one_of(st.binary(), st.text().map(str.encode), st.lists(change, min_size=1, max_size=3)), st.booleans())
    def attempt(changes, check_images):
        data = changes if isinstance(changes, bytes) else content
        for start, length, new in changes if data is content else ():
            data = data[:start] + new + data[start + length :]
        path.write_bytes(data)
        try:
            check_manifest(reader(trees[layout], check_images=check_images, **options))
        except InputError as error:
            assert len(str(error).splitlines()) == 1

    try:
        attempt()
    finally:
        path.write_bytes(content)
