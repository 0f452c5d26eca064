"""Pictures of one's own: their faces found, recognised, and written down a row a face."""

import csv
import io
import itertools
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
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
        note: a sentence where there is something to say, else "".
        image: uint8 (H, W, 3), upright; None for a file that cannot be used.
        faces: (N, 15) of the detector, boxes in whole pixels; (1, 5) with a score of NaN where the
            whole picture was taken for a face.
        crops: N arrays uint8, what the classifier was given.
        probabilities: (N, 8).
        sure: (N,) bool, whether the answer is sure enough to be given.
        labels: face, counted from 1 → the expression set by hand.
    """

    path: Path | str
    note: str = ""
    image: np.ndarray | None = None
    faces: np.ndarray = field(default_factory=lambda: np.zeros((0, 15)))
    crops: list[np.ndarray] = field(default_factory=list)
    probabilities: np.ndarray = field(default_factory=lambda: np.zeros((0, NUM_CLASSES)))
    sure: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))
    labels: dict[int, str] = field(default_factory=dict)

    def answers(self) -> list[str]:
        """The likeliest expression of each face: "happy 87 %" or "fear 41 %, not sure"."""
        likely = [(EXPRESSIONS[p.argmax()], round(100 * p.max())) for p in self.probabilities]
        return [
            f"{name} {percent} %{'' if sure else ', not sure'}"
            for (name, percent), sure in zip(likely, self.sure, strict=True)
        ]

    def rows(self) -> list[tuple]:
        """Its rows of `COLUMNS`; of a picture without a face one, with face 0 and the note."""
        if not len(self.faces):
            return [(str(self.path), 0, *[""] * (len(COLUMNS) - 3), self.note)]
        rows = []
        for place, face in enumerate(self.faces):
            p, number = self.probabilities[place], place + 1
            score = "" if np.isnan(face[-1]) else round(face[-1], 3)
            rows.append(
                (str(self.path), number, *face[:4].astype(int).tolist(), score)
                + tuple(p.round(4).tolist())
                + (EXPRESSIONS[p.argmax()], "yes" if self.sure[place] else "no")
                + (self.labels.get(number, ""), self.note)
            )
        return rows


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
        alone = len(paths) < 256 and (start / Path(paths.strip()).expanduser()).exists()
        paths = [paths] if alone else re.split(r"[,\n]", paths)
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
    path: Path | str = "",
    whole_picture: bool = False,
    find: Callable[[np.ndarray], np.ndarray] = find_faces,
) -> Picture:
    """Find the faces in an image (H, W, 3) and recognise each; see `recognise_picture`."""
    faces, note = find(image), ""
    if not len(faces):
        note = f"no face found in {path}"
        if whole_picture:
            faces = np.array([[0, 0, image.shape[1], image.shape[0], np.nan]])
            note += ": the whole picture was taken for one"
    faces[:, :4] = faces[:, :4].round()
    crops = [crop_face(image, face, classifier.margin, classifier.align) for face in faces]
    probabilities = classifier.classify(crops)
    sure = classifier.sure(probabilities)
    return Picture(path, note, image, faces, crops, probabilities, sure)


def recognise_picture(path: Path | str, classifier: FaceClassifier, **options) -> Picture:
    """Find the faces in a file and recognise each.

    Args:
        path: the file.
        classifier: from `load_classifier`.
        options: `whole_picture`: where no face is found, take the whole picture for one; `find`:
            another detector than `find_faces`.

    Returns:
        `Picture`; a file that cannot be used has no faces and a `note`.
    """
    try:
        if Path(path).is_dir():
            raise InputError(f"expected pictures ({', '.join(ENDINGS)}) in {path}, found none")
        return recognise_image(datasets.open_image(path), classifier, path, **options)
    except InputError as error:
        return Picture(path, str(error))


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

    Any that exists may hold labels made by hand: a new one never takes its place, and one that is
    continued keeps its rows.

    Args:
        folder: of a new file, `faces.csv`, or `faces-2.csv` and so on; it is made.
        continued: a file to go on with, however it ended.

    Attributes:
        path: the file.
        done: pictures that it holds, as text.
    """

    def __init__(self, folder: Path | str = ".", continued: Path | str | None = None):
        self.done: set[str] = set()
        self._held: set[tuple[str, int]] = set()  # faces of a picture whose rows were broken off
        if continued is not None:
            self.path = Path(continued)
            self._read()
            return
        try:
            Path(folder).mkdir(parents=True, exist_ok=True)
            self.path = _new_file(Path(folder))
        except OSError as error:
            raise InputError(
                f"expected a folder that can be written, found {folder} ({error.strerror})"
            ) from None
        self._append([COLUMNS])

    def write(self, picture: Picture) -> None:
        """Append a picture's rows."""
        self._append([row for row in picture.rows() if row[:2] not in self._held])
        self.done.add(str(picture.path))

    def _append(self, rows: list[tuple]) -> None:
        with self.path.open("a", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(rows)

    def _read(self) -> None:
        try:
            text = self.path.read_text(encoding="utf-8")
            header, *rows = csv.reader(io.StringIO(text))
            if tuple(header) != COLUMNS:
                raise ValueError(f"columns {', '.join(header)[:60]}")
        except (OSError, ValueError) as error:
            raise InputError(
                f"expected a table of faces to go on with at {self.path}, found another ({error})"
            ) from None
        if not text.endswith("\n"):  # broken off, or saved by an editor
            if rows and len(rows[-1]) < len(COLUMNS):
                broken, last = rows.pop()[0], rows[-1][0] if rows else ""
                if last.startswith(broken):  # the same picture, as far as its name was written
                    self._held = {(last, int(row[1])) for row in rows if row[0] == last}
                text = text[: text.rindex("\n")]
            with atomic_write(self.path) as temporary:
                temporary.write_text(f"{text}\n", encoding="utf-8")
        self.done = {row[0] for row in rows} - {name for name, _ in self._held}


def _new_file(folder: Path) -> Path:
    numbered = (f"faces-{number}.csv" for number in itertools.count(2))
    path = next(
        folder / name
        for name in itertools.chain(["faces.csv"], numbered)
        if not (folder / name).exists()
    )
    path.open("x").close()
    return path


def draw_pictures(folder: Path | str) -> list[Path]:
    """Write `portrait.png` (one drawn face) and `group.png` (eight, one an expression)."""
    faces = datasets.draw_examples(per_class=1, size=160, seed=2020)[:, 0]  # (8, 160, 160, 3)
    framed = np.pad(faces, ((0, 0), (15, 15), (15, 15), (0, 0)), constant_values=214)
    group = np.concatenate([np.concatenate([*row], axis=1) for row in (framed[:4], framed[4:])])
    paths = [Path(folder) / "portrait.png", Path(folder) / "group.png"]
    for path, picture in zip(paths, (framed[1], group), strict=True):
        with atomic_write(path) as temporary:
            Image.fromarray(picture).save(temporary)
    return paths
