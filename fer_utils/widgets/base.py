"""What every widget needs: a figure that is drawn again in place."""

import base64
import html
import io
from collections.abc import Callable

import ipywidgets
from matplotlib.figure import Figure

from fer_utils.errors import InputError
from fer_utils.plots import describe


class Picture(ipywidgets.HTML):
    """A figure's picture, and in words what it shows, for whoever does not see it.

    ipywidgets' own `Image` takes no such words: with a tooltip it is an error in the browser (8.1).

    >>> picture = Picture()
    >>> picture.show(Figure())
    >>> picture.value[:35]
    '<img alt="Figure." style="max-width'
    """

    def show(self, figure: Figure, dpi: int = 100, alt: str = "") -> None:
        """Draw a figure in place of the former; few dots an inch, since a move of a slider must not wait.

        Args:
            figure: any figure.
            dpi: dots an inch.
            alt: what it shows; default what `plots.describe` says.
        """
        png = io.BytesIO()
        figure.savefig(png, format="png", dpi=dpi)
        source = f"data:image/png;base64,{base64.b64encode(png.getvalue()).decode()}"
        self.value = f'<img alt="{html.escape(alt or describe(figure))}" style="max-width: 100%" src="{source}">'


def explore(draw: Callable[..., Figure], **controls: ipywidgets.Widget) -> ipywidgets.Widget:
    """Controls above the figure that `draw` makes of their values, drawn anew when one changes.

    Args:
        draw: keyword arguments named as `controls` → Figure; why it refuses them stands in the picture's place.
        controls: ipywidgets with a `value`.

    >>> def refuse(page):
    ...     raise InputError("expected an image, found none; choose another")
    >>> explore(refuse, page=ipywidgets.IntText()).children[1].value
    "<p role='status'>expected an image, found none; choose another</p>"
    """
    picture = Picture()

    def update(_=None) -> None:
        try:
            picture.show(draw(**{name: control.value for name, control in controls.items()}))
        except InputError as error:
            picture.value = f"<p role='status'>{html.escape(str(error))}</p>"

    for control in controls.values():
        control.observe(update, "value")
    update()
    row = ipywidgets.HBox(list(controls.values()), layout={"flex_flow": "row wrap"})
    return ipywidgets.VBox([row, picture])
