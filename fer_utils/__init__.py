"""Facial expression recognition with weighted-cluster loss: the parts behind the notebooks."""

import os

__version__ = "0.2.0"

# Before torch is loaded, here and in what is started from here: threads that wait for others sleep.
# Spinning, they would hold up a training manifold while another program keeps a core busy.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
