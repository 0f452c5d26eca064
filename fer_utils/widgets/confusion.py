"""A confusion matrix to click on: a cell shows its images."""

from collections.abc import Callable

import ipywidgets
import numpy as np
import traitlets
from matplotlib import colormaps
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from fer_utils.evaluating import ANY
from fer_utils.expressions import EXPRESSIONS
from fer_utils.metrics import confusion_rows
from fer_utils.widgets.base import explore

_UPWARDS = "writing-mode:vertical-rl;transform:rotate(180deg);height:72px;line-height:40px"
_CELL = {"width": "40px", "height": "30px", "margin": "1px", "padding": "0"}
_CHOSEN, _PLAIN = "2px solid #D55E00", "1px solid #C0C0C0"


class ConfusionGrid(ipywidgets.VBox):
    """Two selectors of expressions over a button for each cell of a confusion matrix; Tab and Enter reach all.

    Args:
        confusion: (8, 8) counts, rows true.
        value: the cell to begin with: true and predicted expression, each may be "any".

    Attributes:
        value: the cell that is chosen.

    >>> grid = ConfusionGrid(np.eye(8, dtype=int), ("any", "fear"))
    >>> grid.cells["sad", "fear"].click()
    >>> grid.value
    ('sad', 'fear')
    """

    value = traitlets.Tuple()

    def __init__(self, confusion, value: tuple[str, str] = (ANY, ANY)):
        options = [ANY, *EXPRESSIONS]
        self.true = ipywidgets.Dropdown(options=options, description="true", layout={"width": "210px"})
        self.predicted = ipywidgets.Dropdown(options=options, description="predicted", layout={"width": "210px"})
        self.cells = _buttons(np.asarray(confusion))
        names = [_name(name) for name in EXPRESSIONS]
        headings = [_name(f"<div style='{_UPWARDS}'>{name}</div>", "40px", "76px") for name in EXPRESSIONS]
        rows = [ipywidgets.HBox([_name("true ↓&nbsp; predicted →", height="76px"), *headings])]
        for name, heading in zip(EXPRESSIONS, names, strict=True):
            rows.append(ipywidgets.HBox([heading, *(self.cells[name, other] for other in EXPRESSIONS)]))
        super().__init__([ipywidgets.HBox([self.true, self.predicted]), *rows])
        for cell, button in self.cells.items():
            button.on_click(lambda _, cell=cell: self._choose(*cell))
        self._choose(*value)
        for selector in (self.true, self.predicted):
            selector.observe(self._selected, "value")

    def _choose(self, true: str, predicted: str) -> None:
        with self.hold_trait_notifications():  # one change, not one a selector
            self.true.value, self.predicted.value = true, predicted
            self._selected()

    def _selected(self, _=None) -> None:
        self.value = (self.true.value, self.predicted.value)
        for (true, predicted), button in self.cells.items():
            chosen = self.true.value in (ANY, true) and self.predicted.value in (ANY, predicted)
            button.layout.border = _CHOSEN if chosen and self.value != (ANY, ANY) else _PLAIN


def explore_confusion(
    confusion, draw: Callable[..., Figure], cell: tuple[str, str] = (ANY, ANY), confidence=(0.0, 1.0)
) -> ipywidgets.Widget:
    """The images of a confusion cell, by a click; a slider keeps those of a confidence.

    Args:
        confusion: (8, 8) counts, rows true.
        draw: `draw(cell=(true, predicted), confidence=(low, high))` → Figure.
        cell, confidence: what is shown first.
    """
    grid = ConfusionGrid(confusion, cell)
    slider = ipywidgets.FloatRangeSlider(
        value=confidence, min=0, max=1, step=0.01, description="confidence", layout={"width": "420px"}
    )
    row, picture = explore(draw, cell=grid, confidence=slider).children
    picture.layout.align_self = "flex-start"
    return ipywidgets.HBox([ipywidgets.VBox(row.children), picture], layout={"flex_flow": "row wrap"})


def _buttons(confusion: np.ndarray) -> dict[tuple[str, str], ipywidgets.Button]:
    buttons, shares = {}, np.nan_to_num(confusion_rows(confusion))
    for row, column in np.ndindex(confusion.shape):
        true, predicted, share = EXPRESSIONS[row], EXPRESSIONS[column], shares[row, column]
        button = ipywidgets.Button(
            description=f"{confusion[row, column]:,}",
            tooltip=f"{true}, predicted {predicted}: {confusion[row, column]:,} images, {share:.0%} of {true}",
            layout=_CELL,
        )
        button.style.button_color = to_hex(colormaps["Blues"](share))
        button.style.text_color = "white" if share > 0.55 else "black"
        button.style.font_weight = "bold" if row == column else "normal"
        buttons[true, predicted] = button
    return buttons


def _name(html: str, width: str = "88px", height: str = "30px") -> ipywidgets.HTML:
    return ipywidgets.HTML(html, layout={"width": width, "height": height, "margin": "1px"})
