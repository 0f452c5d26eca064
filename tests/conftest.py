"""Tests that share the cores (`make test` runs several at once) compute on one thread each."""

import os

if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when torch is first imported, here and in kernels
