"""Training: `fit(params)` turns resolved parameters into a finished run folder; Lightning underneath."""

from fer_utils.training.preparing import prepare_manifest

__all__ = ["fit", "prepare_manifest"]


def __getattr__(name: str):
    """`fit` is loaded when it is asked for: Lightning takes seconds, and who prepares a manifest does without."""
    if name != "fit":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from fer_utils.training.fitting import fit

    return fit
