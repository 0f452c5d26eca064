"""Pictures of one's own: found, opened, their faces recognised, and written down a row a face."""

import csv
import io
import itertools
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from fer_utils import datasets
from fer_utils.core import EXPRESSIONS, NUM_CLASSES, PROBABILITIES, InputError, atomic_write
from fer_utils.interactive.classifier import FaceClassifier
from fer_utils.interactive.detector import crop_face, find_faces

ENDINGS = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
COLUMNS = (
    "file", "face", *datasets.BOX_COLUMNS, "score", *PROBABILITIES, "expression", "sure", "label",
    "note",
)  # fmt: skip


@dataclass
class Picture:
    """One picture and what was recognised in it.

    Attributes:
        path: the file; "" of a live picture.
        image: uint8 (H, W, 3), upright; None for a file that cannot be used.
        boxes: (N, 4) x, y, width, height in its pixels, in reading order; whole numbers.
        scores: (N,) the detector's; NaN where the whole picture was taken for a face.
        crops: N arrays uint8, what the classifier was given.
        probabilities: (N, 8).
        sure: (N,) whether the answer is sure enough to be given.
        note: a sentence where there is something to say, else "".
        labels: face number, from 1 → the expression set by hand.
    """

    path: Path | str
    image: np.ndarray | None
    boxes: np.ndarray
    scores: np.ndarray
    crops: list[np.ndarray]
    probabilities: np.ndarray
    sure: np.ndarray
    note: str
    labels: dict[int, str]

    def answers(self) -> list[str]:
        """The likeliest expression of each face, its probability, and whether it is sure.

        Such as "happy 87 %" or "fear 41 %, not sure".
        """
        rows = zip(self.probabilities, self.sure, strict=True)
        return [
            f"{EXPRESSIONS[p.argmax()]} {100 * p.max():.0f} %{'' if sure else ', not sure'}"
            for p, sure in rows
        ]

    def rows(self) -> list[tuple]:
        """The rows of `COLUMNS`; of a picture without a face one, with face 0 and the note."""
        if not len(self.boxes):
            return [(str(self.path), 0, *[""] * (len(COLUMNS) - 3), self.note)]
        return [
            (
                *(
                    str(self.path),
                    face,
                    *box.astype(int),
                    "" if np.isnan(score) else f"{score:.3f}",
                ),
                *(f"{value:.4f}" for value in p),
                *(EXPRESSIONS[p.argmax()], "yes" if sure else "no"),
                *(self.labels.get(face, ""), self.note),
            )
            for face, (box, score, p, sure) in enumerate(
                zip(self.boxes, self.scores, self.probabilities, self.sure, strict=True), start=1
            )
        ]


def list_pictures(paths, start: Path | str = ".") -> list[Path]:
    """The picture files that a user named, each once, in order.

    Args:
        paths: files and folders, as a list, or as one text with commas or new lines between them (a
            name that holds a comma works if it is the only one). A folder stands for all pictures
            in it and below. What does not exist stays, for `recognise_picture` to name.
        start: folder that relative paths start from.

    >>> list_pictures("a.png, b.jpg")
    [PosixPath('a.png'), PosixPath('b.jpg')]
    """
    start = Path(start)
    if isinstance(paths, str):
        alone = "\n" not in paths and len(paths) < 256
        whole = alone and (start / Path(paths.strip()).expanduser()).exists()
        paths = [paths] if whole else re.split(r"[,\n]", paths)
    found: dict[Path, None] = {}
    for name in filter(None, (str(path).strip() for path in paths)):
        path = start / Path(name).expanduser()
        inside = sorted(path.rglob("*")) if path.is_dir() else []
        inside = [each for each in inside if each.suffix.lower() in ENDINGS]
        found |= dict.fromkeys(inside or [path])
    return list(found)


def recognise_image(
    image: np.ndarray,
    classifier: FaceClassifier,
    whole_picture: bool = False,
    find: Callable[[np.ndarray], np.ndarray] = find_faces,
    path: Path | str = "",
) -> Picture:
    """Find the faces in one image (H, W, 3) and recognise each; see `recognise_picture`."""
    faces, note = find(image), ""
    if not len(faces):
        note = f"no face found in {path}"
        if whole_picture:
            height, width = image.shape[:2]
            faces, note = np.array([[0, 0, width, height, np.nan]]), f"{note}: all of it taken"
    faces[:, :4] = faces[:, :4].round()
    landmarks = faces[:, :-1]
    crops = [crop_face(image, face, classifier.margin, classifier.align) for face in landmarks]
    probabilities = classifier.classify(crops)
    sure = classifier.sure(probabilities)
    return Picture(
        path, image, faces[:, :4], faces[:, -1], crops, probabilities, sure, note, labels={}
    )


def recognise_picture(path: Path | str, classifier: FaceClassifier, **options) -> Picture:
    """Find the faces in one file and recognise each.

    Args:
        path: the file.
        classifier: from `load_classifier`.
        options: `whole_picture`: where no face is found, take the whole picture for one; `find`:
            another detector.

    Returns:
        `Picture`; a file that cannot be used has no faces and a `note`.
    """
    try:
        if Path(path).is_dir():
            raise InputError(f"expected pictures ({', '.join(ENDINGS)}) in {path}, found none")
        return recognise_image(datasets.open_image(path), classifier, path=path, **options)
    except InputError as error:
        none = np.zeros((0, NUM_CLASSES))
        return Picture(path, None, none[:, :4], none[:, 0], [], none, none[:, 0], str(error), {})


def recognise_pictures(
    paths: Iterable[Path], classifier: FaceClassifier, table: "FacesTable | None" = None, **options
) -> Iterator[Picture]:
    """Recognise many pictures one by one, in memory for one, with a bar in a terminal.

    Args:
        paths: files, see `list_pictures`.
        classifier, options: as in `recognise_picture`.
        table: written as it goes; pictures that it holds already are passed over.
    """
    for path in tqdm(paths, unit="picture", disable=None, delay=1, leave=False):
        if table is not None and str(path) in table.done:
            continue
        picture = recognise_picture(path, classifier, **options)
        if table is not None:
            table.write(picture)
        yield picture


class FacesTable:
    """A CSV file of `COLUMNS`, written a picture at a time.

    Labels made by hand may stand in any that exists: a new one never takes its place, and one that
    is continued keeps its rows.

    Args:
        folder: of a new file, `faces.csv` or else `faces-2.csv`, …; it is made.
        continued: a file to go on with, however it ended.

    Attributes:
        path: the file.
        done: pictures that it holds, as text.
    """

    def __init__(self, folder: Path | str = ".", continued: Path | str | None = None):
        self.done: set[str] = set()
        self._begun: set[tuple[str, int]] = set()  # faces of a picture that was broken off
        if continued is not None:
            self.path = Path(continued)
            self._read()
            return
        try:
            Path(folder).mkdir(parents=True, exist_ok=True)
            self.path = _new_file(Path(folder))
        except OSError as error:
            raise InputError(
                f"expected a folder that can be written, found {folder} ({error.strerror}); "
                "name another"
            ) from None
        self._append([COLUMNS])

    def write(self, picture: Picture) -> None:
        """Append a picture's rows."""
        self._append([row for row in picture.rows() if row[:2] not in self._begun])
        self.done.add(str(picture.path))

    def _append(self, rows: list[tuple]) -> None:
        with self.path.open("a", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(rows)

    def _read(self) -> None:
        try:
            text = self.path.read_text(encoding="utf-8")
            header, *rows = csv.reader(io.StringIO(text))
        except (OSError, ValueError) as error:
            raise InputError(
                f"expected a table of faces to go on with at {self.path}, found none ({error})"
            ) from None
        if tuple(header) != COLUMNS:
            raise InputError(
                f"expected the columns of a table of faces in {self.path}, found "
                f"{', '.join(header)[:60]} …; begin a new one"
            )
        if not text.endswith("\n"):  # broken off, or saved by an editor
            if len(rows[-1]) < len(COLUMNS):
                rows.pop()
                text = text[: text.rindex("\n")]
                last = rows[-1][0] if rows else ""
                self._begun = {(last, int(row[1])) for row in rows if row[0] == last}
            with atomic_write(self.path) as temporary:
                temporary.write_text(f"{text}\n", encoding="utf-8")
        self.done = {row[0] for row in rows} - {last for last, _ in self._begun}


def _new_file(folder: Path) -> Path:
    for number in itertools.count(1):
        path = folder / (f"faces-{number}.csv" if number > 1 else "faces.csv")
        try:
            path.open("x").close()
            return path
        except FileExistsError:
            continue


def draw_pictures(folder: Path | str) -> list[Path]:
    """Write `portrait.png` (one drawn face) and `group.png` (eight, one an expression)."""
    faces = datasets.draw_examples(per_class=1, size=160, seed=2020)[:, 0]
    pictures = {"portrait.png": _tile(faces[1:2], 1), "group.png": _tile(faces, 4)}
    paths = [Path(folder) / name for name in pictures]
    for path, picture in zip(paths, pictures.values(), strict=True):
        with atomic_write(path) as temporary:
            Image.fromarray(picture).save(temporary)
    return paths


def _tile(faces: np.ndarray, columns: int, gap: int = 30) -> np.ndarray:
    padded = np.pad(
        faces, ((0, 0), (0, gap), (0, gap), (0, 0)), constant_values=214
    )  # (N, S, S, 3)
    side = padded.shape[1]
    rows = padded.reshape(-1, columns, side, side, 3).transpose(0, 2, 1, 3, 4)
    tiled = rows.reshape(-1, columns * side, 3)
    return np.pad(tiled, ((gap, 0), (gap, 0), (0, 0)), constant_values=214)
