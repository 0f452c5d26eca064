"""Widgets for JupyterLab: each shows a plain function's figure again when something changes; none computes anything."""

from fer_utils.widgets.base import explore, live_figure
from fer_utils.widgets.browser import in_words, leaf_through

__all__ = ["explore", "in_words", "leaf_through", "live_figure"]
