"""Training: `fit(params)` turns resolved parameters into a finished run folder; Lightning underneath."""

from fer_utils.training.fit import fit
from fer_utils.training.preparing import prepare_manifest

__all__ = ["fit", "prepare_manifest"]
