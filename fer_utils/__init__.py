"""Facial expression recognition with weighted-cluster loss: the parts behind the notebooks."""

__version__ = "0.2.0"
