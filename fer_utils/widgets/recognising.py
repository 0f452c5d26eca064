"""Faces of one's own: pictures in, faces with their probabilities out, labels corrected by hand, and saved."""

import base64
import html
import io
from pathlib import Path

import ipywidgets
import pandas as pd
from matplotlib.figure import Figure

from fer_utils import plots
from fer_utils.errors import InputError
from fer_utils.expressions import EXPRESSIONS
from fer_utils.files import replaced
from fer_utils.runs import project_root

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
        pictures: what is shown, list of `recognising.Picture`.
    """

    def __init__(self, recogniser, out: Path | str, runs=(), root: Path | str | None = None, whole_picture=False):
        self.recogniser, self.pictures, self._corrected = recogniser, [], {}
        self._out, self._root = Path(out), Path(root) if root else project_root()
        wide = {"description_width": "initial"}
        self.upload = ipywidgets.FileUpload(
            accept="image/*", multiple=True, description="Upload pictures", layout={"width": "14em"},
            tooltip="Choose one or many pictures from this computer, or its camera where the browser offers it",
        )  # fmt: skip
        self.path = ipywidgets.Text(
            placeholder="pictures or a folder", description="or path", style=wide, continuous_update=False,
            tooltip="Files or a folder on the machine that runs this, with a comma between them",
        )  # fmt: skip
        self.whole = ipywidgets.Checkbox(
            value=whole_picture, description="no face found: take the whole picture", indent=False,
            layout={"width": "24em"},
        )  # fmt: skip
        self.run = ipywidgets.Dropdown(
            options=list(dict.fromkeys([recogniser.name, *runs])), description="network", style=wide
        )
        self.save = ipywidgets.Button(
            description="Save CSV and manifest", disabled=True, layout={"width": "15em"}, button_style="primary"
        )
        self.status, self.limits, self.results = ipywidgets.HTML(), ipywidgets.HTML(), ipywidgets.VBox()
        self.upload.observe(self._on_upload, "value")
        self.path.observe(lambda change: self.show(change["new"]), "value")
        self.whole.observe(lambda _: self._again(), "value")
        self.run.observe(self._on_run, "value")
        self.save.on_click(self._on_save)
        controls = [self.upload, self.path, self.run, self.whole, self.save]
        super().__init__(
            [ipywidgets.HBox(controls, layout={"flex_flow": "row wrap"}), self.status, self.limits, self.results]
        )

    def show(self, paths) -> None:
        """Recognise the faces in files or folders, and show them in place of what was shown.

        Args:
            paths: as `recognising.list_pictures` takes them.
        """
        from fer_utils import recognising

        paths = recognising.list_pictures(paths, self._root)
        self.pictures, self._corrected, cards = [], {}, []
        for number, path in enumerate(paths, 1):
            self._say(f"Looking at picture {number} of {len(paths)} …")
            self.pictures.append(recognising.recognise_picture(path, self.recogniser, self.whole.value))
            cards.append(self._draw(self.pictures[-1]))
            self.results.children = tuple(cards)
        faces = sum(len(picture.faces) for picture in self.pictures)
        self.save.disabled = faces == 0
        self._say(f"{faces} face{'' if faces == 1 else 's'} in {len(paths)} picture{'' if len(paths) == 1 else 's'}.")

    def table(self) -> pd.DataFrame:
        """All faces shown, a row each, with the labels as they stand."""
        faces = pd.concat([picture.faces for picture in self.pictures if len(picture.faces)], ignore_index=True)
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
        whole = image(figure, f"{name} with {len(faces)} face(s) framed and numbered from left to right")
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
        return ipywidgets.VBox([image(figure, f"Face {face['face']}: {spoken}"), label])

    def _again(self) -> None:
        if self.pictures:
            self.show([picture.path for picture in self.pictures])

    def _on_upload(self, change) -> None:
        if not change["new"]:
            return
        paths = []
        for file in change["new"]:
            paths.append(self._out / "pictures" / Path(file["name"].replace("\\", "/")).name)
            with replaced(paths[-1]) as temporary:
                temporary.write_bytes(file["content"])
        self.show(paths)
        self.upload.value = ()  # the same file can be chosen once more

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


def image(figure: Figure, alt: str) -> ipywidgets.HTML:
    """A figure as an image with a text for those who cannot see it."""
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=130)  # letters of 6 points are read on a screen
    source = base64.b64encode(png.getvalue()).decode()
    return ipywidgets.HTML(
        f'<img src="data:image/png;base64,{source}" alt="{html.escape(alt, quote=True)}" style="max-width: 100%">'
    )
