"""Who looks at a notebook."""

import os

WATCHED = ("JPY_SESSION_NAME", "VSCODE_PID", "COLAB_RELEASE_TAG")  # what front ends leave in a kernel's environment


def in_headless_kernel() -> bool:
    """Whether a notebook runs without anyone watching (papermill, nbconvert), where a bar would fill the output.

    >>> in_headless_kernel()  # no notebook at all
    False
    """
    try:
        from IPython import get_ipython
    except ImportError:
        return False
    return hasattr(get_ipython(), "kernel") and not any(name in os.environ for name in WATCHED)
