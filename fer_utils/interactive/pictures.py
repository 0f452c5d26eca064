"""Pictures and videos of one's own: faces found, recognised, and written down a row a face."""

import csv
import io
import itertools
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from tqdm import tqdm

from fer_utils.core import EXPRESSIONS, PROBABILITIES, InputError, atomic_write, raster
from fer_utils.interactive.classifier import FaceClassifier
from fer_utils.interactive.detector import crop_face, find_faces, shared_area

PICTURES = raster.ENDINGS
VIDEOS = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm")
RATE = 5.0  # frames of a video that are looked at in a second
SAME_PERSON = 0.3  # overlap over union from which a face is that of the frame before
COLUMNS = (
    "file", "frame", "time", "face", *raster.BOX_COLUMNS, "score", *PROBABILITIES, "expression",
    "sure", "label", "note",
)  # fmt: skip
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # a damaged video is one line, and ours


@dataclass
class Picture:
    """One picture, or a frame of a video, and what was recognised in it."""

    path: Path | str
    note: str = ""  # a sentence where there is something to say
    frame: int | str = ""  # in a video
    seconds: float | str = ""
    image: np.ndarray | None = None  # uint8 (H, W, 3), upright; None: the file cannot be used
    # (N, 15) of the detector, boxes in whole pixels; (1, 5) with a score of NaN where the whole
    # picture was taken for a face
    faces: np.ndarray = field(default_factory=lambda: np.zeros((0, 15)))
    crops: list[np.ndarray] = ()  # what the classifier was given, and what it answered
    probabilities: np.ndarray = field(default_factory=lambda: np.zeros((0, len(EXPRESSIONS))))
    sure: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))
    numbers: list[int] = ()  # from 1; in a video a face keeps its own while it stays where it was
    labels: dict[int, str] = field(default_factory=dict)  # set by hand, by the face's number

    def answers(self) -> list[str]:
        """The likeliest expression of each face: "happy 87 %" or "fear 41 %, not sure"."""
        return [
            f"{EXPRESSIONS[p.argmax()]} {100 * p.max():.0f} %{'' if sure else ', not sure'}"
            for p, sure in zip(self.probabilities, self.sure, strict=True)
        ]

    def rows(self) -> list[tuple]:
        """Its rows of `COLUMNS`; without a face one, with face 0 and the note."""
        place, rows = (str(self.path), self.frame, self.seconds), []
        found = zip(self.numbers, self.faces, self.probabilities, self.sure, strict=True)
        for number, face, p, sure in found:
            box = face[:4].astype(int).tolist()
            score = "" if np.isnan(face[-1]) else round(face[-1], 3)
            answer = (EXPRESSIONS[p.argmax()], "yes" if sure else "no")
            said = (self.labels.get(number, ""), self.note)
            rows.append((*place, number, *box, score, *p.round(4).tolist(), *answer, *said))
        return rows or [(*place, 0, *[""] * (len(COLUMNS) - 5), self.note)]


def list_pictures(paths, start: Path | str = ".", endings: tuple = PICTURES) -> list[Path]:
    """The files that a user named, each once, in order; relative paths begin at `start`.

    Files and folders come as a list, or as one text with commas or new lines between them (a name
    that holds a comma works if it is the only one). A folder stands for all files in it and below
    with one of the `endings`. What does not exist stays, to be named.

    >>> list_pictures("a.png, b.jpg")
    [PosixPath('a.png'), PosixPath('b.jpg')]
    """
    start = Path(start)
    if isinstance(paths, str):
        alone = len(paths) < 256 and (start / Path(paths.strip()).expanduser()).exists()
        paths = [paths] if alone else re.split(r"[,\n]", paths)
    found: dict[Path, None] = {}
    for name in filter(None, (str(path).strip() for path in paths)):
        path = start / Path(name).expanduser()
        inside = sorted(path.rglob("*")) if path.is_dir() else []
        inside = [each for each in inside if each.suffix.lower() in endings]
        found |= dict.fromkeys(inside or [path])
    return list(found)


def recognise_image(
    image: np.ndarray, classifier: FaceClassifier, path: Path | str = "", whole_picture=False
) -> Picture:
    """Find the faces in an image, uint8 (H, W, 3), and recognise each.

    With `whole_picture`, take it all for a face where none is found.
    """
    faces, note = find_faces(image), ""
    if not len(faces):
        note = f"no face found in {path}"
        if whole_picture:
            faces = np.array([[0, 0, image.shape[1], image.shape[0], np.nan]])
            note += ": the whole picture was taken for one"
    faces[:, :4] = faces[:, :4].round()
    picture = Picture(path, note, image=image, faces=faces, numbers=[*range(1, len(faces) + 1)])
    picture.crops = [crop_face(image, face, classifier.margin, classifier.align) for face in faces]
    picture.probabilities = classifier.classify(picture.crops)
    picture.sure = classifier.sure(picture.probabilities)
    return picture


def recognise_video(
    path: Path | str, classifier: FaceClassifier, rate: float = RATE, after: int = -1
) -> Iterator[Picture]:
    """Find and recognise the faces in a video, `rate` frames a second, behind the frame `after`.

    What is wrong with it is the `note` of a frame (its size changes) or of a last picture without
    image (no video, or one that ends early).
    """
    before, unused = Picture(path), itertools.count(1)
    try:
        for frame, seconds, image in read_frames(path, rate):
            if frame <= after:
                continue
            picture = recognise_image(image, classifier, path)
            picture.frame, picture.seconds, picture.note = frame, seconds, ""
            if before.image is not None and before.image.shape != image.shape:
                picture.note = f"{path}: frames are of another size from {seconds:.1f} s on"
            picture.numbers = _follow(before, picture.faces, unused)
            yield picture
            before = picture
    except InputError as error:
        if after < 0 or before.image is not None:  # else it was said before
            yield Picture(path, str(error), before.frame, before.seconds)


def read_frames(path: Path | str, rate: float) -> Iterator[tuple[int, float, np.ndarray]]:
    """Frames of a video, `rate` a second: number, seconds, uint8 (H, W, 3).

    `InputError` for a file without frames, and behind the last frame of one that is cut short.
    """
    if not rate > 0:
        raise InputError(f"expected a rate above 0 frames a second, found {rate}")
    video = cv2.VideoCapture(str(path))
    per_second = video.get(cv2.CAP_PROP_FPS) or 25.0
    expected, number, due = max(0, int(video.get(cv2.CAP_PROP_FRAME_COUNT))), 0, 0.0
    with tqdm(total=expected or None, unit="frame", disable=None, delay=1, leave=False) as bar:
        while video.grab():
            seconds = number / per_second
            if seconds >= due - 1e-6:
                due += 1 / rate
                readable, frame = video.retrieve()
                if readable:
                    yield number, round(seconds, 3), cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
            number += 1
            bar.update()
    if not number:
        found = "no frames that can be read" if Path(path).is_file() else "no such file"
        raise InputError(f"expected a video at {path}, found {found}")
    if number < 0.95 * expected:
        raise InputError(f"expected {expected:,} frames in {path}, found {number:,}: it is cut off")


def recognise_pictures(
    paths: Iterable[Path],
    classifier: FaceClassifier,
    table: "FacesTable | None" = None,
    rate: float = RATE,
    **options,
) -> Iterator[Picture]:
    """Recognise pictures and videos one by one, in memory for one, with a bar in a terminal.

    A file that cannot be used gives a `Picture` with a note. A `table` is written as it goes; what
    it holds already is passed over. `options` are those of `recognise_image`.
    """
    for path in tqdm(paths, unit="file", disable=None, delay=1, leave=False):
        after = table.done.get(str(path), -1) if table else -1
        found: Iterable[Picture] = []
        if Path(path).suffix.lower() in VIDEOS:
            found = recognise_video(path, classifier, rate, after)
        elif after < 0:
            found = [_recognise_file(path, classifier, options)]
        for picture in found:
            if table:
                table.write(picture)
            yield picture


class FacesTable:
    """A CSV file of `COLUMNS`, written a picture at a time.

    Any that exists may hold labels made by hand, so none is overwritten: a new one in `folder` is
    `faces.csv`, or else `faces-2.csv` and so on; `continued` is one to go on with, however it
    ended. `done` is file → the last of its frames in the table, 0 of a picture.
    """

    def __init__(self, folder: Path | str = ".", continued: Path | str | None = None):
        try:
            self.path = Path(continued) if continued else _new_file(Path(folder))
            text = self.path.read_text(encoding="utf-8")
            header, *rows = csv.reader(io.StringIO(text))
            if tuple(header) != COLUMNS:
                raise ValueError(f"columns {', '.join(header)[:60]}")
            if rows and len(rows[-1]) < len(COLUMNS):  # broken off: do the last picture again
                del rows[-1]
                rows = [row for row in rows if row[:2] != rows[-1][:2]]
            self.done = {file: int(frame or 0) for file, frame, *_ in rows}
        except (OSError, ValueError, csv.Error) as error:
            raise InputError(
                f"expected a table of faces, or a place for one, at {continued or folder}, "
                f"found another ({error})"
            ) from None
        if not text.endswith("\n"):
            with atomic_write(self.path) as temporary:
                _append(temporary, [header, *rows])

    def write(self, picture: Picture) -> None:
        """Append a picture's rows."""
        _append(self.path, picture.rows())
        self.done[str(picture.path)] = picture.frame or 0


def timeline(table: Path | str, film: Path | str) -> tuple[np.ndarray, np.ndarray]:
    """Seconds (T,) and probabilities (T, 8) of the face that is seen longest in a video.

    Out of a `FacesTable`'s file; NaN where that face is not seen.
    """
    import pandas as pd  # here: it takes a second to load, and pictures do without

    rows = pd.read_csv(table)
    rows = rows[(rows["file"] == str(film)) & rows["time"].notna()]
    longest, times = rows["face"][rows["face"] > 0].mode()[:1], rows["time"].unique()
    seen = rows[rows["face"].isin(longest)].set_index("time").reindex(times)
    return times, seen[[*PROBABILITIES]].to_numpy(float)


def draw_pictures(folder: Path | str) -> list[Path]:
    """Write `portrait.png` (one drawn face) and `group.png` (eight, one an expression)."""
    from fer_utils import datasets  # here: its pandas takes a second to load

    faces = datasets.draw_examples(per_class=1, size=160, seed=2020)[:, 0]  # (8, 160, 160, 3)
    framed = np.pad(faces, ((0, 0), (15, 15), (15, 15), (0, 0)), constant_values=214)
    group = np.concatenate([np.concatenate([*row], axis=1) for row in (framed[:4], framed[4:])])
    pictures = {Path(folder) / "portrait.png": framed[1], Path(folder) / "group.png": group}
    for path, picture in pictures.items():
        with atomic_write(path) as temporary:
            Image.fromarray(picture).save(temporary)
    return list(pictures)


def _recognise_file(path: Path | str, classifier: FaceClassifier, options: dict) -> Picture:
    if Path(path).is_dir():
        return Picture(path, f"expected pictures in {path}, found none")
    try:
        return recognise_image(raster.open_image(path), classifier, path, **options)
    except InputError as error:
        return Picture(path, str(error))


def _follow(before: Picture, faces: np.ndarray, unused: Iterator[int]) -> list[int]:
    """A number for each face: that of the face before that it overlaps most, or an unused one."""
    found: list[int] = []
    sizes = before.faces[:, 2:4].prod(axis=1)
    for face in faces:
        shared = shared_area(before.faces, face)
        overlap = shared / (sizes + face[2:4].prod() - shared)
        overlap[[number in found for number in before.numbers]] = 0
        same = overlap.max(initial=0) >= SAME_PERSON
        found.append(before.numbers[overlap.argmax()] if same else next(unused))
    return found


def _append(path: Path, rows: Iterable) -> None:
    with path.open("a", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


def _new_file(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    names = itertools.chain(["faces"], (f"faces-{number}" for number in itertools.count(2)))
    path = next(folder / f"{name}.csv" for name in names if not (folder / f"{name}.csv").exists())
    _append(path, [COLUMNS])
    return path
