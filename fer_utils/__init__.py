"""Facial expression recognition with weighted-cluster loss and deep transfer: the parts behind the notebooks.

Submodules load when first used, so that `import fer_utils` stays fast and drawing a figure never imports torch.
"""

import importlib

__version__ = "0.1.0"

_SUBMODULES = (
    "architectures",
    "audit",
    "datasets",
    "errors",
    "evaluating",
    "explaining",
    "export",
    "expressions",
    "files",
    "losses",
    "metrics",
    "model_card",
    "models",
    "packing",
    "paper",
    "plots",
    "recognising",
    "run_parameters",
    "runs",
    "splits",
    "studies",
    "training",
    "transforms",
    "verification",
    "weights",
    "widgets",
)


def __getattr__(name: str):
    if name in _SUBMODULES:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_SUBMODULES])
