"""What every widget needs: a figure that is drawn again in place."""

import io
from collections.abc import Callable

import ipywidgets
from matplotlib.figure import Figure

from fer_utils.plots import describe


def explore(draw: Callable[..., Figure], **controls: ipywidgets.Widget) -> ipywidgets.Widget:
    """Controls above the figure that `draw` makes of their values, drawn anew when one changes.

    Args:
        draw: keyword arguments named as `controls` → Figure.
        controls: ipywidgets with a `value`.
    """
    picture = ipywidgets.Image(format="png", layout={"max_width": "100%"})

    def update(_=None) -> None:
        figure, png = draw(**{name: control.value for name, control in controls.items()}), io.BytesIO()
        figure.savefig(png, format="png", dpi=80)  # a move of a slider must not wait
        picture.value, picture.tooltip = png.getvalue(), describe(figure)  # read aloud in the picture's place

    for control in controls.values():
        control.observe(update, "value")
    update()
    row = ipywidgets.HBox(list(controls.values()), layout={"flex_flow": "row wrap"})
    return ipywidgets.VBox([row, picture])
