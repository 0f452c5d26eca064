"""Training: `fit(params)` turns resolved parameters into a finished run folder; Lightning underneath."""

from fer_utils.training.fit import fit

__all__ = ["fit"]
