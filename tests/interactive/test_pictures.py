"""Pictures and videos of one's own: what is found and written; what is bad is one sentence."""

import csv
import itertools
import subprocess
import sys

import cv2
import numpy as np
import pytest
from PIL import Image

from fer_utils import __main__ as command_line
from fer_utils import datasets
from fer_utils.core import InputError
from fer_utils.interactive import detector, pictures


@pytest.fixture(scope="module")
def portrait(tmp_path_factory):
    path, _ = pictures.draw_pictures(tmp_path_factory.mktemp("drawn"))
    return Image.open(path)


@pytest.fixture(scope="module")
def frames():
    """A smile and a surprise, each for a second at ten frames; uint8 (20, 200, 200, 3)."""
    faces = datasets.draw_examples(per_class=1, size=160, seed=2020)[[1, 3], 0]
    faces = np.pad(faces, ((0, 0), (20, 20), (20, 20), (0, 0)), constant_values=214)
    return np.repeat(faces, 10, axis=0)


def write_video(path, frames):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, frames.shape[2:0:-1])
    for frame in frames:
        writer.write(np.ascontiguousarray(frame[..., ::-1]))
    writer.release()
    return path


def rows(table):
    with table.path.open(newline="") as file:
        return list(csv.DictReader(file))


def recognise(paths, shipped, folder, **options):
    table = pictures.FacesTable(folder)
    return list(pictures.recognise_pictures(paths, shipped, table, **options)), rows(table)


@pytest.mark.parametrize("kind", ["L", "CMYK", "RGBA", "P", "turned", "gif"])
def test_a_face_is_found_in_any_kind_of_picture(portrait, shipped, tmp_path, kind):
    path, options = tmp_path / "a.png", {}
    image = portrait if kind in ("turned", "gif") else portrait.convert(kind)
    if kind == "CMYK":
        path = tmp_path / "a.jpg"
    if kind == "gif":
        path, options = tmp_path / "a.gif", {"save_all": True, "append_images": [image] * 3}
    if kind == "turned":
        exif = Image.Exif()
        exif[0x0112] = 6
        image, options = image.rotate(90), {"exif": exif}
    image.save(path, **options)
    (picture,), (row,) = recognise([path], shipped, tmp_path)
    assert row["expression"] == "happy" and row["frame"] == "" and picture.numbers == [1]
    assert picture.answers()[0].startswith("happy ")
    assert sum(float(row[name]) for name in pictures.PROBABILITIES) == pytest.approx(1, abs=1e-3)


BAD = {
    "text.jpg": b"no picture",
    "eps.jpg": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n",
    "pdf.jpg": b"%PDF-1.7\n1 0 obj\n<<>>\nendobj\n",
    "empty.png": b"",
    "text.avi": b"no video",
    "sound.mp4": b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom",
}


@pytest.mark.parametrize("name", [*BAD, "huge.png", "dark.png", "absent.png", "absent.avi", "."])
def test_what_cannot_be_used_is_one_sentence_and_the_rest_is_kept(
    portrait, shipped, tmp_path, name
):
    portrait.save(tmp_path / "good.bmp")
    if name in BAD:
        (tmp_path / name).write_bytes(BAD[name])
    if name == "huge.png":
        Image.new("1", (10_000, 10_000)).save(tmp_path / name)
    if name == "dark.png":
        Image.new("RGB", (90, 60)).save(tmp_path / name)
    paths = [tmp_path / name, tmp_path / "good.bmp"]
    (bad, good), written = recognise(paths, shipped, tmp_path / "out")
    assert name in bad.note or name == "."
    assert bad.note and "\n" not in bad.note and not bad.rows()[0][3] and bad.answers() == []
    assert good.note == "" and [row["face"] for row in written] == ["0", "1"]
    assert written[0]["note"] == bad.note


def test_a_picture_without_a_face_may_be_taken_whole(shipped, tmp_path):
    Image.new("RGB", (90, 60)).save(tmp_path / "dark.png")
    (picture,), (row,) = recognise([tmp_path / "dark.png"], shipped, tmp_path, whole_picture=True)
    assert row["score"] == "" and (row["box_width"], row["box_height"]) == ("90", "60")
    assert "taken for one" in picture.note and row["face"] == "1"


def test_labels_by_hand_are_written(portrait, shipped, tmp_path):
    picture = pictures.recognise_image(np.asarray(portrait), shipped)
    picture.labels[1] = "sad"
    assert dict(zip(pictures.COLUMNS, picture.rows()[0], strict=True))["label"] == "sad"


def test_files_are_listed_once_and_in_order(tmp_path):
    for name in ("b.PNG", "a.jpg", "notes.txt", "c.avi", "x, y.png"):
        (tmp_path / name).touch()
    names = [path.name for path in pictures.list_pictures([tmp_path, tmp_path / "a.jpg"])]
    assert names == ["a.jpg", "b.PNG", "x, y.png"]
    assert pictures.list_pictures("x, y.png", tmp_path) == [tmp_path / "x, y.png"]
    assert pictures.list_pictures("a.jpg,\nb.PNG", tmp_path)[1].name == "b.PNG"
    assert tmp_path / "c.avi" in pictures.list_pictures([tmp_path], endings=pictures.VIDEOS)


def test_a_table_goes_on_where_it_ended_and_none_is_overwritten(portrait, shipped, tmp_path):
    names = [tmp_path / f"{number}.png" for number in range(4)]
    for name in names:
        portrait.save(name)
    table = pictures.FacesTable(tmp_path / "out")
    list(itertools.islice(pictures.recognise_pictures(names, shipped, table), 2))
    assert pictures.FacesTable(tmp_path / "out").path.name == "faces-2.csv"
    with table.path.open("a") as file:  # the machine went down
        file.write(f"{names[2]},,,1,7")
    table = pictures.FacesTable(continued=table.path)
    again = [picture.path for picture in pictures.recognise_pictures(names, shipped, table)]
    assert again == names[1:]  # the last before the break may have lacked faces
    assert [row["file"] for row in rows(table)] == [str(name) for name in names]
    assert not list(
        pictures.recognise_pictures(names, shipped, pictures.FacesTable(continued=table.path))
    )


@pytest.mark.parametrize("content", [None, "", "a,b\n1,2\n", "\xff"])
def test_another_table_is_not_gone_on_with(tmp_path, content):
    if content is not None:
        (tmp_path / "faces.csv").write_text(content, encoding="latin-1")
    with pytest.raises(InputError, match=r"faces\.csv") as refused:
        pictures.FacesTable(continued=tmp_path / "faces.csv")
    assert "\n" not in str(refused.value)


def test_a_folder_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="file"):
        pictures.FacesTable(tmp_path / "file")


def test_a_video_becomes_rows_and_a_timeline(frames, shipped, tmp_path):
    film = write_video(tmp_path / "film.avi", frames)
    found, written = recognise([film], shipped, tmp_path, rate=5)
    assert [row["frame"] for row in written] == [str(number) for number in range(0, 20, 2)]
    assert [row["time"] for row in written[:3]] == ["0.0", "0.2", "0.4"]
    assert [row["expression"] for row in written] == ["happy"] * 5 + ["surprise"] * 5
    assert {row["face"] for row in written} == {"1"} and not any(p.note for p in found)
    seconds, p = pictures.timeline(tmp_path / "faces.csv", film)
    assert seconds[-1] == 1.8 and p.argmax(1).tolist() == [1] * 5 + [3] * 5


def test_a_face_keeps_its_number_and_absence_is_a_gap(frames, shipped, tmp_path):
    empty = np.full_like(frames[:2], 214)
    both = np.concatenate([frames[:2], frames[10:12]], axis=2)  # a second face, on the right
    alone = np.concatenate([empty, frames[10:12]], axis=2)
    film = np.concatenate([alone, both, alone, np.concatenate([empty, empty], axis=2)])
    _, written = recognise([write_video(tmp_path / "film.avi", film)], shipped, tmp_path, rate=5)
    assert [row["face"] for row in written] == ["1", "2", "1", "1", "0"]
    _, p = pictures.timeline(tmp_path / "faces.csv", tmp_path / "film.avi")
    assert np.isnan(p).any(axis=1).tolist() == [False, False, False, True]


def test_a_video_cut_off_or_of_changing_size_says_so(frames, shipped, tmp_path, monkeypatch):
    film = write_video(tmp_path / "film.avi", frames)
    content = film.read_bytes()
    film.write_bytes(content[: len(content) // 2])
    found, written = recognise([film], shipped, tmp_path)
    assert "cut off" in found[-1].note and len(found) > 2 and written[-1]["face"] == "0"
    table = pictures.FacesTable(continued=tmp_path / "faces.csv")
    assert not list(pictures.recognise_pictures([film], shipped, table))

    def changing(*_):
        yield 0, 0.0, frames[0]
        yield 1, 0.2, frames[1, 10:-10, 10:-10]

    monkeypatch.setattr(pictures, "read_frames", changing)
    first, second = pictures.recognise_video("a.avi", shipped)
    assert first.note == "" and "another size from 0.2 s" in second.note and second.numbers == [1]


def test_an_interrupted_video_goes_on_with_its_next_frame(frames, shipped, tmp_path):
    film = write_video(tmp_path / "film.avi", frames)
    table = pictures.FacesTable(tmp_path)
    list(itertools.islice(pictures.recognise_pictures([film], shipped, table), 3))
    table = pictures.FacesTable(continued=table.path)
    assert len(list(pictures.recognise_pictures([film], shipped, table))) == 7
    assert [row["frame"] for row in rows(table)] == [str(number) for number in range(0, 20, 2)]


def test_a_rate_is_above_zero(frames, shipped, tmp_path):
    film = write_video(tmp_path / "film.avi", frames)
    assert "rate above 0" in next(pictures.recognise_video(film, shipped, 0)).note


def test_the_terminal_prints_faces_and_draws_a_video(frames, portrait, tmp_path, capsys):
    write_video(tmp_path / "film.avi", frames)
    portrait.save(tmp_path / "a.png")
    arguments = ["recognise", str(tmp_path), "--out", str(tmp_path / "out"), "--rate", "2"]
    assert command_line.main(arguments) == 0
    said = capsys.readouterr().out
    assert "a.png face 1: happy" in said and "film.avi at 0.50 s face 1: happy" in said
    assert (tmp_path / "out/faces-film.png").stat().st_size > 10_000
    Image.new("RGB", (90, 60)).save(tmp_path / "dark.png")
    arguments[1] = str(tmp_path / "dark.png")
    assert command_line.main(arguments) == 1 and "no face found" in capsys.readouterr().err


def test_the_first_answer_needs_neither_torch_nor_pandas(portrait, tmp_path):
    portrait.save(tmp_path / "a.png")
    code = (
        "import sys; from fer_utils.__main__ import main; "
        f"assert not main(['recognise', {str(tmp_path)!r}, '--out', {str(tmp_path / 'out')!r}]); "
        "print({'torch', 'pandas', 'matplotlib', 'scipy'} & set(sys.modules))"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert answer.stdout.endswith("set()\n"), answer


def test_thousands_of_pictures_are_seen_one_at_a_time(shipped, tmp_path, monkeypatch):
    looked_at = []
    monkeypatch.setattr(pictures.raster, "open_image", lambda path: looked_at.append(path))
    monkeypatch.setattr(pictures, "recognise_image", lambda _, __, path: pictures.Picture(path))
    table = pictures.FacesTable(tmp_path)
    found = pictures.recognise_pictures((f"{n}.png" for n in range(3000)), shipped, table)
    for number, _ in enumerate(found, start=1):
        assert len(looked_at) == number
    assert len(rows(table)) == 3000


@pytest.mark.parametrize("size", [(24, 24), (48, 48), (400, 400), (1500, 1500)])
def test_a_face_of_any_size_is_found_once(portrait, size):
    image = np.asarray(portrait.resize(size))
    (face,) = detector.find_faces(image)
    middle = (face[:2] + face[2:4] / 2) / size
    assert abs(middle - 0.5).max() < 0.12 and face[14] > detector.THRESHOLD


def test_faces_come_row_by_row(portrait):
    tile = np.asarray(portrait)
    found = detector.find_faces(np.tile(tile, (2, 3, 1)))
    places = (found[:, :2] // tile.shape[0]).astype(int).tolist()
    assert places == [[0, 0], [1, 0], [2, 0], [0, 1], [1, 1], [2, 1]]


def test_an_aligned_crop_turns_the_eyes_level(portrait):
    turned = np.asarray(portrait.rotate(20, fillcolor=(214, 214, 214)))
    (face,) = detector.find_faces(turned)
    (level,) = detector.find_faces(detector.crop_face(turned, face, 0.3, align=True))
    assert abs(level[7] - level[5]) < 0.6 * abs(face[7] - face[5])


def test_what_is_no_picture_or_has_no_detector_is_refused(monkeypatch):
    with pytest.raises(InputError, match=r"uint8.*\(5, 5\)"):
        detector.find_faces(np.zeros((5, 5), np.uint8))
    monkeypatch.setattr(detector, "MODEL", "gone.onnx")
    with pytest.raises(InputError, match="gone.onnx.*pip install"):
        detector._detector.__wrapped__()


def test_a_strip_too_thin_for_a_face_is_looked_at_without_error():
    assert not len(detector.find_faces(np.zeros((2, 900, 3), np.uint8)))
