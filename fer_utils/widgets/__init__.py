"""Widgets for JupyterLab: each shows a plain function's figure again when something changes; none computes anything."""

from fer_utils.widgets.base import explore, live_figure
from fer_utils.widgets.confusion import ConfusionGrid, explore_confusion
from fer_utils.widgets.recognising import FaceRecogniser

__all__ = ["ConfusionGrid", "FaceRecogniser", "explore", "explore_confusion", "live_figure"]
