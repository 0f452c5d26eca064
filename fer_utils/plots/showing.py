"""A figure in a notebook: the picture, and in words what it shows for whoever does not see it."""

import base64
import html

from matplotlib.figure import Figure


class ShownFigure(Figure):
    """A figure whose picture has an alternative text in a notebook; JupyterLab gives a bare PNG none."""

    def _ipython_display_(self) -> None:
        from IPython.core.pylabtools import print_figure
        from IPython.display import display

        png, text = base64.b64encode(print_figure(self, "png")).decode(), describe(self)
        picture = f'<img alt="{html.escape(text)}" src="data:image/png;base64,{png}">'
        display({"image/png": png, "text/html": picture, "text/plain": text}, raw=True)


def describe(figure: Figure) -> str:
    """What a figure shows, in words: its title and, of each panel, title, axes and the names of what is drawn.

    >>> figure = Figure()
    >>> ax = figure.subplots()
    >>> _ = ax.plot([1, 2], [3, 4], label="training")
    >>> _ = ax.set(xlabel="epoch", ylabel="loss", title="One run")
    >>> describe(figure)
    'Figure. One run: loss against epoch (training).'
    """
    title = figure.get_suptitle()
    panels = dict.fromkeys(filter(None, map(_panel, figure.axes)))  # panels that read alike are named once
    parts = [f"Figure{f' “{title}”' if title else ''}", *panels]
    return ". ".join(" ".join(part.split()) for part in parts) + "."


def _panel(ax) -> str:
    title = next(filter(None, (ax.get_title(side) for side in ("left", "center", "right"))), "")
    axes = " against ".join(filter(None, (ax.get_ylabel(), ax.get_xlabel())))
    names = ", ".join(ax.get_legend_handles_labels()[1])
    return ": ".join(filter(None, (title, axes))) + (f" ({names})" if names else "")
