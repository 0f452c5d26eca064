"""From any picture to expressions: find the faces, cut them as in training, recognise, correct by hand, write down.

Torch, which takes seconds to load, is needed for a network alone: faces are found without.
"""

from fer_utils.recognising.choosing import finished_runs
from fer_utils.recognising.detection import find_faces
from fer_utils.recognising.examples import draw_examples
from fer_utils.recognising.faces import (
    COLUMNS,
    Picture,
    join_faces,
    locate_faces,
    recognise_picture,
    recognise_pictures,
    save_faces,
    to_manifest,
)
from fer_utils.recognising.pictures import list_pictures, open_picture

__all__ = [
    "COLUMNS",
    "Picture",
    "Recogniser",
    "draw_examples",
    "find_faces",
    "finished_runs",
    "join_faces",
    "list_pictures",
    "load_recogniser",
    "locate_faces",
    "open_picture",
    "recognise_picture",
    "recognise_pictures",
    "save_faces",
    "to_manifest",
]


def __getattr__(name: str):
    """What needs torch is loaded when it is asked for."""
    if name not in ("Recogniser", "load_recogniser"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from fer_utils.recognising import models

    return getattr(models, name)
