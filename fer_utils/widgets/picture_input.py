"""Where a reader's pictures come in: dropped, chosen, or taken with the webcam."""

from collections.abc import Callable
from pathlib import Path

import anywidget


class PictureInput(anywidget.AnyWidget):
    """An area to drop pictures or a folder on, a button to choose files, and one for the webcam where there is any.

    ipywidgets' own `FileUpload` takes no drops, knows no webcam, and sends a file as one message, which the server
    refuses above 10 MB.

    Args:
        use: called with what came in, a list of (name, content).

    >>> widget = PictureInput(print)
    >>> widget.receive({"file": 0, "name": "a.png", "start": 0, "last": False}, [b"one, "])
    >>> widget.receive({"file": 0, "name": "a.png", "start": 5, "last": True}, [b"two"])
    [('a.png', b'one, two')]
    """

    _esm = Path(__file__).with_suffix(".js")

    def __init__(self, use: Callable[[list[tuple[str, bytes]]], None]):
        super().__init__()
        self._use, self._pieces = use, []
        self.on_msg(lambda _, content, buffers: self.receive(content, buffers))

    def receive(self, content: dict, buffers: list) -> None:
        """One piece of one file, in order; with the `last` of the last file all are handed on."""
        if content["start"] == 0:
            if content["file"] == 0:  # whatever came before was broken off
                self._pieces = []
            self._pieces.append((content["name"], bytearray()))
        self._pieces[-1][1].extend(buffers[0])
        if content["last"]:
            files, self._pieces = [(name, bytes(pieces)) for name, pieces in self._pieces], []
            self._use(files)
