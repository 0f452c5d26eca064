"""What every widget needs: a figure that is drawn again in place."""

import io
from collections.abc import Callable

import ipywidgets
import pandas as pd
from IPython.display import display
from matplotlib.figure import Figure


def live_figure(draw: Callable[[pd.DataFrame], Figure]) -> Callable[[pd.DataFrame], None]:
    """A callback for `fit(on_epoch=…)` that shows `draw(history)` and redraws it in place, without flicker.

    Args:
        draw: history (a row an epoch) → Figure.
    """
    handle = display(display_id=True)

    def update(history: pd.DataFrame) -> None:
        handle.update(draw(history))

    return update


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
        picture.value = png.getvalue()

    for control in controls.values():
        control.observe(update, "value")
    update()
    row = ipywidgets.HBox(list(controls.values()), layout={"flex_flow": "row wrap"})
    return ipywidgets.VBox([row, picture])
