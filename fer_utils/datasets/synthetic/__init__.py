"""Drawn faces: a population of people, each with expressions, that needs no files."""

from fer_utils.datasets.synthetic.draws import Draws
from fer_utils.datasets.synthetic.population import draw_examples, draw_manifest, read_synthetic

__all__ = ["Draws", "draw_examples", "draw_manifest", "read_synthetic"]
