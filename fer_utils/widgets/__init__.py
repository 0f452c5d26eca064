"""Widgets for JupyterLab: each shows a plain function's figure again when something changes; none computes anything."""

from fer_utils.widgets.base import explore, live_figure

__all__ = ["explore", "live_figure"]
