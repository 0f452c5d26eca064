"""Pre-trained weights: every file of them that users hold read safely and strictly, our own written as safetensors.

Nothing in a file can run: pickles go through a reader of our own (`fer_utils.weights.pickles`), PyTorch files through
``torch.load(weights_only=True)``. Reading is strict: every tensor of the backbone must be in the file, in its shape; a
head is left out on purpose and the report says so. Strides and padding are set to what the weights were trained with,
the network converts its input to what they expect, and a self-test recomputes both from the file's own tensors.
"""

from fer_utils.weights.grafting import graft_gates
from fer_utils.weights.loading import IMAGENET_WEIGHTS, load_pretrained
from fer_utils.weights.own import load_weights, save_weights

__all__ = ["IMAGENET_WEIGHTS", "graft_gates", "load_pretrained", "load_weights", "save_weights"]
