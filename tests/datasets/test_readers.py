"""What every reader owes: wrong folders named, bad images raised or skipped, odd text read."""

import os

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fer_utils import datasets
from fer_utils.core import InputError
from fer_utils.datasets.folders import TITLES
from tests.datasets.trees import LAYOUTS, picture

NAMES = {"affectnet_npy": "affectnet"}  # layout → dataset, where the names differ
FILES = [(layout, file) for layout, (_, _, files) in LAYOUTS.items() for file in files]
OF_FILES = [name for name in LAYOUTS if name != "fer2013"]  # an image is a file


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
every_layout_of_files = pytest.mark.parametrize("tree", OF_FILES, indirect=True)


@every_layout
def test_manifests_are_usable_and_last(tree, tmp_path):
    root, reader = tree
    manifest = datasets.check_manifest(reader(root))
    assert isinstance(manifest.index, pd.RangeIndex) and "row" not in manifest
    assert manifest.attrs["bad_images"] == {"count": 0, "names": []}
    datasets.write_manifest(manifest, tmp_path / "manifest.parquet")
    again = datasets.read_manifest(tmp_path / "manifest.parquet")
    pd.testing.assert_frame_equal(again, manifest)
    assert again.attrs == manifest.attrs
    assert len(datasets.load_images(again)) == len(manifest)
    listed = reader(root, check_images=False)
    assert manifest.pop("fingerprint").tolist() == datasets.hash_images(manifest)
    pd.testing.assert_frame_equal(listed, manifest, check_like=True)
    assert "bad_images" not in listed.attrs
    assert "did you mean 'skip'" in refusal(reader, root, on_bad_image="skp")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_content_tells_the_dataset(layout, tmp_path):
    write, reader, _ = LAYOUTS[layout]
    root, name = tmp_path / "data here", NAMES.get(layout, layout)
    write(root)
    assert datasets.recognise(root) == name
    expected = reader(root, check_images=False)
    for arguments in ((str(root),), ("auto", root), (name, root)):
        manifest = datasets.read_dataset(*arguments, check_images=False)
        assert manifest.equals(expected) and manifest.attrs["dataset"] == name
    for attempt in (reader, datasets.read_dataset):
        assert f"it one level deeper; give {root}" in refusal(attempt, tmp_path)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("other", LAYOUTS)
def test_another_dataset_is_named(layout, other, tmp_path):
    wanted, found = NAMES.get(layout, layout), NAMES.get(other, other)
    if wanted == found:
        return
    LAYOUTS[other][0](tmp_path)
    message = refusal(LAYOUTS[layout][1], tmp_path)
    # A folder of pictures is enough for read_folder to look at, and it says which is no class.
    named = f"what looks like {TITLES[found]}" in message
    assert named or (wanted == "folder" and "folder" in message)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_nothing_there(layout, tmp_path):
    reader = LAYOUTS[layout][1]
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for name in ("absent", "loop"):
        assert "found no such folder" in refusal(reader, tmp_path / name)
    assert "found an empty folder" in refusal(reader, tmp_path / "empty")
    assert "found a file; give the folder" in refusal(reader, tmp_path / "notes.txt")


def last_image(root, reader):
    manifest = reader(root, check_images=False)
    image = manifest["image"].iloc[-1]
    return image, os.path.join(manifest.attrs["root"], image)


@every_layout_of_files
def test_absent_images_are_named_or_skipped(tree):
    root, reader = tree
    image, path = last_image(root, reader)
    os.remove(path)
    if reader is datasets.read_folder:  # where nothing lists it, nothing is absent
        assert image not in reader(root)["image"].tolist()
        return
    message = refusal(reader, root)
    assert f"found 1 absent, the first {path}" in message
    assert (" row " in message) == ("val_set" not in path)  # the npy release has no list
    if "FER2013" not in path:  # which needs an image in each split
        manifest = reader(root, on_bad_image="skip")
        assert manifest.attrs["bad_images"] == {"count": 1, "names": [image]}
        assert image not in manifest["image"].tolist()


@every_layout_of_files
@pytest.mark.parametrize("keep", [0, 0.6])
def test_damaged_images_are_named_with_their_row_or_skipped(tree, keep):
    root, reader = tree
    image, path = last_image(root, reader)
    with open(path, "rb") as file:
        data = file.read()
    with open(path, "wb") as file:
        file.write(data[: int(keep * len(data))])
    message = refusal(reader, root)
    assert f"expected a readable image at {path}" in message
    rows = {"read_rafdb": "label.txt row 5: ", "read_ferplus": "FER2013Test/label.csv row 1: "}
    assert rows.get(reader.__name__, "") in message
    if "FER2013" not in path:
        manifest = reader(root, on_bad_image="skip")
        assert manifest.attrs["bad_images"] == {"count": 1, "names": [image]}


def test_names_of_many_bad_images_are_cut_short(tmp_path):
    (tmp_path / "happy").mkdir()
    for number in range(120):
        (tmp_path / "happy" / f"{number:03}.jpg").touch()
    assert "none of them readable" in refusal(datasets.read_folder, tmp_path, on_bad_image="skip")
    picture(tmp_path / "sad" / "1.jpg")
    bad = datasets.read_folder(tmp_path, on_bad_image="skip").attrs["bad_images"]
    assert bad["count"] == 120 and bad["names"] == [f"happy/{n:03}.jpg" for n in range(100)]


@every_layout
def test_loops_of_links_end(tree):
    root, reader = tree
    expected = reader(root)
    for folder in [path for path in root.rglob("*") if path.is_dir()]:
        (folder / "again").symlink_to(root)
    assert reader(root).equals(expected)


@pytest.mark.parametrize("layout, file", FILES)
def test_marks_line_ends_and_spaces_do_not_matter(layout, file, tmp_path):
    write, reader, _ = LAYOUTS[layout]
    write(tmp_path)
    expected = reader(tmp_path)
    text = (tmp_path / file).read_bytes()
    first, rest = text.split(b"\n", 1)
    for data in (
        b"\xef\xbb\xbf" + text.replace(b"\n", b"\r\n") + b"\r\n",
        text.replace(b"," if layout != "rafdb" else b"\r", b", ").replace(b"\n", b" \n"),
        b"\n" + first + b"\n\n" + rest.removesuffix(b"\n"),
    ):
        (tmp_path / file).write_bytes(data)
        assert reader(tmp_path).equals(expected)
    for data in (b"", b"\n\r\n", b"\xef\xbb\xbf"):
        (tmp_path / file).write_bytes(data)
        message = refusal(reader, tmp_path, check_images=False)
        assert str(tmp_path / file) in message and "found none; restore it" in message


@pytest.mark.parametrize("layout, file", FILES)
@pytest.mark.parametrize("encoding", ["utf-16", "utf-32-be"])
def test_lists_in_another_encoding_are_refused_in_one_line(layout, file, encoding, tmp_path):
    write, reader, _ = LAYOUTS[layout]
    write(tmp_path)
    text = (tmp_path / file).read_text(encoding="utf-8")
    (tmp_path / file).write_bytes(text.encode(encoding))
    assert file in refusal(reader, tmp_path)


def test_names_in_latin_1_are_absent_images(tmp_path):
    write, reader, _ = LAYOUTS["affectnet"]
    write(tmp_path)
    path = tmp_path / "validation.csv"
    path.write_bytes(path.read_text(encoding="utf-8").encode("latin-1"))
    assert "found 1 absent" in refusal(reader, tmp_path) and "row 3" in refusal(reader, tmp_path)


@pytest.fixture(scope="module")
def roots(tmp_path_factory):
    roots = {layout: tmp_path_factory.mktemp(layout) for layout in LAYOUTS}
    for layout, root in roots.items():
        LAYOUTS[layout][0](root)
    return roots


NPY = ("affectnet_npy", "train_set/annotations/0_exp.npy")
ODD = [b",", b"\n", b"\r", b'"', b"\x00", b"\xff", b" ", b"-", b"nan", b"1e400", b"\xe2\x80\xa8"]


@pytest.mark.parametrize("layout, file", [*FILES, ("ferplus", "fer2013new.csv"), NPY])
def test_no_bytes_crash_a_reader(layout, file, roots):
    reader, path = LAYOUTS[layout][1], roots[layout] / file
    content = path.read_bytes()
    options = {"label_file": file} if file == "fer2013new.csv" else {}
    odd = st.one_of(st.sampled_from(ODD), st.binary(max_size=6))
    change = st.tuples(st.integers(0, len(content)), st.integers(0, 30), odd)
    health = list(HealthCheck)

    @settings(max_examples=12, deadline=None, suppress_health_check=health, database=None)
    @given(st.one_of(st.binary(), st.lists(change, min_size=1, max_size=3)))
    def attempt(changes):
        data = changes if isinstance(changes, bytes) else content
        for start, length, new in changes if data is content else ():
            data = data[:start] + new + data[start + length :]
        path.write_bytes(data)
        try:
            datasets.check_manifest(reader(roots[layout], check_images=False, **options))
        except InputError as error:
            assert len(str(error).splitlines()) == 1

    try:
        attempt()
    finally:
        path.write_bytes(content)
