"""Faces of one's own: pictures in, faces with their probabilities out, labels corrected by hand, and saved."""

import html
from pathlib import Path

import ipywidgets
import pandas as pd
from matplotlib.figure import Figure

from fer_utils import plots
from fer_utils.errors import InputError
from fer_utils.expressions import EXPRESSIONS
from fer_utils.files import replaced
from fer_utils.runs import project_root
from fer_utils.widgets.base import Picture
from fer_utils.widgets.picture_input import PictureInput

PICTURES = 24  # that are drawn, of many
CARDS = 24  # faces of a picture that are drawn and can be corrected; the CSV holds all


class FaceRecogniser(ipywidgets.VBox):
    """Choose pictures, see every face with its probabilities, correct labels, save.

    Args:
        recogniser: from `recognising.load_recogniser`.
        out: folder for `faces.csv`, `manifest.parquet` and, in `pictures/`, copies of what is uploaded.
        runs: STUDY/RUN of others to choose from.
        root: the checkout, which paths start from; default: the one around the working directory.
        whole_picture: where no face is found, take the whole picture for one.

    Attributes:
        recogniser: the one in use.
        pictures: what is shown, list of `recognising.Picture`, at most `PICTURES`.
        notes: a sentence for each picture that could not be used or shows no face.
    """

    def __init__(self, recogniser, out: Path | str, runs=(), root: Path | str | None = None, whole_picture=False):
        self.recogniser, self.pictures, self.notes = recogniser, [], []
        self._paths, self._tables, self._corrected = [], [], {}
        self._out, self._root = Path(out), Path(root) if root else project_root()
        wide = {"description_width": "initial"}
        self.upload = PictureInput(self.take)
        self.path = ipywidgets.Text(
            placeholder="pictures or a folder", description="or path", style=wide, continuous_update=False,
            tooltip="Files or a folder on the machine that runs this, with a comma between them",
        )  # fmt: skip
        self.whole = ipywidgets.Checkbox(
            value=whole_picture, description="no face found: take the whole picture", indent=False,
            layout={"width": "auto"},
        )  # fmt: skip
        self.run = ipywidgets.Dropdown(
            options=list(dict.fromkeys([recogniser.name, *runs])), description="network", style=wide
        )
        self.save = ipywidgets.Button(
            description="Save CSV and manifest", disabled=True, layout={"width": "auto"}, button_style="primary"
        )
        self.status, self.limits, self.results = ipywidgets.HTML(), ipywidgets.HTML(), ipywidgets.VBox()
        self.path.observe(lambda change: self.show(change["new"]), "value")
        self.whole.observe(lambda _: self._again(), "value")
        self.run.observe(self._on_run, "value")
        self.save.on_click(self._on_save)
        controls = ipywidgets.HBox([self.path, self.run, self.whole, self.save], layout={"flex_flow": "row wrap"})
        super().__init__([self.upload, controls, self.status, self.limits, self.results])

    def show(self, paths) -> None:
        """Recognise the faces in files or folders, and show them in place of what was shown.

        Args:
            paths: as `recognising.list_pictures` takes them.
        """
        from fer_utils import recognising

        paths = recognising.list_pictures(paths, self._root)
        if not paths:
            return
        self._paths = paths
        self.pictures, self.notes, self._tables, self._corrected, cards = [], [], [], {}, []
        for number, path in enumerate(self._paths, 1):
            self._say(f"Looking at picture {number} of {len(self._paths)} …")
            drawn = number <= PICTURES
            picture = recognising.recognise_picture(path, self.recogniser, self.whole.value, explain=drawn)
            self._tables.append(picture.faces)
            self.notes += [picture.note] if picture.note else []
            if drawn:
                self.pictures.append(picture)
                cards.append(self._draw(picture))
                self.results.children = tuple(cards)
        if len(self._paths) > PICTURES:
            more = f"… and {len(self._paths) - PICTURES:,} more pictures, whose faces the CSV holds."
            self.results.children = (*cards, ipywidgets.HTML(f"<p>{more}</p>"))
        faces = sum(map(len, self._tables))
        self.save.disabled = faces == 0
        self._say(f"{_count(faces, 'face')} in {_count(len(self._paths), 'picture')}.")

    def take(self, files) -> None:
        """Keep pictures that came from the browser in `pictures/`, and show their faces.

        Args:
            files: (name, content) of each; of a name only its last part counts.
        """
        paths = []
        for name, content in files:
            path = self._out / "pictures" / Path(name.replace("\\", "/")).name
            while path in paths:
                path = path.with_stem(f"{path.stem} again")
            with replaced(path) as temporary:
                temporary.write_bytes(content)
            paths.append(path)
        self.show(paths)

    def table(self) -> pd.DataFrame:
        """All faces, a row each, with the labels as they stand."""
        from fer_utils import recognising

        faces = recognising.join_faces(self._tables)
        keys = zip(faces["file"], faces["face"], strict=True)
        faces["label"] = [self._corrected.get(key, label) for key, label in zip(keys, faces["label"], strict=True)]
        return faces

    def _draw(self, picture) -> ipywidgets.Widget:
        name, faces = picture.path.name, picture.faces
        note = ipywidgets.HTML(f"<p>{html.escape(picture.note)}</p>" if picture.note else "")
        if not len(faces):
            return note
        boxes = faces[["box_x", "box_y", "box_width", "box_height"]].to_numpy()
        figure = plots.figure_picture(picture.shown, boxes, picture.scale, name)
        whole = _image(figure, f"{name} with {len(faces)} face(s) framed and numbered from left to right")
        cards = [self._card(picture, row) for row in range(min(len(faces), CARDS))]
        if len(faces) > CARDS:
            cards.append(ipywidgets.HTML(f"<p>… and {len(faces) - CARDS} more faces, which the CSV holds as well.</p>"))
        return ipywidgets.VBox([note, whole, ipywidgets.HBox(cards, layout={"flex_flow": "row wrap"})])

    def _card(self, picture, row: int) -> ipywidgets.Widget:
        face = picture.faces.iloc[row]
        key, columns = (face["file"], face["face"]), [f"p_{name}" for name in EXPRESSIONS]
        probabilities = face[columns].to_numpy(float)
        heatmap = None if picture.heatmaps is None else picture.heatmaps[row]
        figure = plots.figure_face(picture.crops[row], probabilities, heatmap, f"{face['face']}: {face['label']}")
        spoken = ", ".join(f"{name} {100 * p:.0f} %" for name, p in zip(EXPRESSIONS, probabilities, strict=True))
        label = ipywidgets.Dropdown(
            options=EXPRESSIONS, value=face["label"], description=f"Face {face['face']} shows",
            style={"description_width": "initial"}, layout={"width": "16em"},
        )  # fmt: skip
        label.observe(lambda change: self._corrected.__setitem__(key, change["new"]), "value")
        return ipywidgets.VBox([_image(figure, f"Face {face['face']}: {spoken}"), label])

    def _again(self) -> None:
        if self._paths:
            self.show(self._paths)

    def _on_run(self, change) -> None:
        from fer_utils import recognising

        self._say(f"Loading {change['new']} …")
        try:
            self.recogniser = recognising.load_recogniser(change["new"], self._root)
        except InputError as error:
            self._say(str(error))
            return
        self._say(f"{change['new']} is in use.")
        self.limits.value = f"<p>{html.escape(self.recogniser.limits().replace('**', ''))}</p>"
        self._again()

    def _on_save(self, _) -> None:
        from fer_utils import recognising

        try:
            paths = recognising.save_faces(self.table(), self.recogniser.margin, self._out)
        except InputError as error:
            self._say(str(error))
            return
        changed = f" with {len(self._corrected)} label(s) set by hand" if self._corrected else ""
        self._say(f"Saved{changed}: {', '.join(path.name for path in paths)} in {self._out}")

    def _say(self, text: str) -> None:
        self.status.value = f"<p role='status'>{html.escape(text)}</p>"


def _count(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def _image(figure: Figure, alt: str) -> Picture:
    picture = Picture()
    picture.show(figure, dpi=130, alt=alt)  # letters of 6 points are read on a screen
    return picture
