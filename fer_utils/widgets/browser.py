"""Page by page through whatever a plain function draws."""

from collections.abc import Callable

import ipywidgets
import traitlets
from matplotlib.figure import Figure

from fer_utils.widgets.base import explore


def leaf_through(
    draw: Callable[..., Figure], count: Callable[..., int], **controls: ipywidgets.Widget
) -> ipywidgets.Widget:
    """Controls, and buttons to the previous and next page, above the page that `draw` makes of their values.

    A change of a control leads back to the first page. Every move draws once.

    Args:
        draw: keyword arguments named as `controls`, and `page` (from 1) → Figure.
        count: the same without `page` → number of pages, at least 1.
        controls: ipywidgets with a `value`.
    """
    leaf = _Leaf(count, controls)
    return explore(lambda leaf: draw(**leaf), leaf=leaf)


class _Leaf(ipywidgets.VBox):
    """The controls as one, whose `value` holds all of theirs and the page and changes once a move."""

    value = traitlets.Dict()

    def __init__(self, count: Callable[..., int], controls: dict[str, ipywidgets.Widget]):
        self._count, self._controls = count, controls
        self.page = ipywidgets.BoundedIntText(value=1, min=1, description="page", layout={"width": "160px"})
        self.previous, self.following = (ipywidgets.Button(description=text) for text in ("Previous", "Next"))
        row = ipywidgets.HBox(list(controls.values()), layout={"flex_flow": "row wrap"})
        super().__init__([row, ipywidgets.HBox([self.previous, self.page, self.following])])
        for control in controls.values():
            control.observe(self._choose, "value")
        self.page.observe(self._turn, "value")
        self.previous.on_click(lambda _: self._step(-1))
        self.following.on_click(lambda _: self._step(1))
        self._choose()

    def _choose(self, _=None) -> None:
        choice = {name: control.value for name, control in self._controls.items()}
        self.value = {**choice, "page": 1}
        self.page.value = 1  # which `value` knows already, so that nothing is drawn again
        self.page.max = self._count(**choice)
        self._turn()

    def _turn(self, _=None) -> None:
        self.value = {**self.value, "page": self.page.value}
        self.previous.disabled = self.page.value == 1
        self.following.disabled = self.page.value == self.page.max

    def _step(self, pages: int) -> None:
        self.page.value += pages  # which the widget keeps within its range
