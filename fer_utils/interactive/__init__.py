"""Widgets, faces found and classified, evaluation, Grad-CAM, the playground, lab and app."""
