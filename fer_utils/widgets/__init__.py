"""Widgets for JupyterLab: each shows a plain function's figure again when something changes; none computes anything."""

from fer_utils.widgets.base import explore
from fer_utils.widgets.training import LiveTraining

__all__ = ["LiveTraining", "explore"]
