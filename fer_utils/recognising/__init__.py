"""From any picture to expressions: find the faces, cut them as in training, recognise, correct by hand, write down.

Torch is needed here: nothing that only draws figures or reads data imports this package.
"""

from fer_utils.recognising.detection import find_faces
from fer_utils.recognising.examples import draw_examples
from fer_utils.recognising.faces import (
    COLUMNS,
    Picture,
    recognise_picture,
    recognise_pictures,
    save_faces,
    to_manifest,
)
from fer_utils.recognising.models import Recogniser, finished_runs, load_recogniser
from fer_utils.recognising.pictures import list_pictures, open_picture

__all__ = [
    "COLUMNS",
    "Picture",
    "Recogniser",
    "draw_examples",
    "find_faces",
    "finished_runs",
    "list_pictures",
    "load_recogniser",
    "open_picture",
    "recognise_picture",
    "recognise_pictures",
    "save_faces",
    "to_manifest",
]
