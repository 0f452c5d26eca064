"""Widgets for JupyterLab: each shows a plain function's figure again when something changes; none computes anything."""

from fer_utils.widgets.base import explore
from fer_utils.widgets.browser import leaf_through
from fer_utils.widgets.confusion import ConfusionGrid, explore_confusion
from fer_utils.widgets.recognising import FaceRecogniser
from fer_utils.widgets.training import LiveTraining

__all__ = [
    "ConfusionGrid",
    "FaceRecogniser",
    "LiveTraining",
    "explore",
    "explore_confusion",
    "leaf_through",
]
