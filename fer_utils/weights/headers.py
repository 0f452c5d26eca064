"""What a file says about its own weights: layout and input convention, checked before they are believed."""

import json
import math

from fer_utils.errors import InputError
from fer_utils.models import POOLS, STRIDES
from fer_utils.weights.recognising import one_line

OWN_FORMAT = "fer_utils"


def declared_layout(header: dict[str, str], source: str) -> dict[str, str]:
    """The layout, or that part of it that a header names (see `models.set_layout`); empty if it names none."""
    if header.get("format") == OWN_FORMAT:
        layout = _json(header, "layout", source)
        if layout == {}:  # of a network that has but one
            return layout
        if not isinstance(layout, dict) or set(layout) != {"stride", "pool"}:
            raise _wrong("a layout of stride and pool", layout, source)
        if layout["stride"] not in STRIDES or layout["pool"] not in POOLS:
            raise _wrong(f"a stride of {STRIDES} and a pool of {POOLS}", layout, source)
        return layout
    prose = header.get("architecture", "")
    layout = {"stride": "conv1"} if "first 1x1" in prose else {}
    return layout | ({"pool": "padded"} if "max-pool padding 1" in prose else {})


def declared_input(header: dict[str, str], source: str) -> dict | None:
    """The input convention (see `models.set_input_convention`), or None where the header says nothing."""
    if header.get("format") == OWN_FORMAT:
        convention = _json(header, "input_convention", source)
    elif "mean_rgb_0_255" in header:
        mean = _json({"mean_rgb_0_255": f"[{header['mean_rgb_0_255']}]"}, "mean_rgb_0_255", source)
        convention = {"range": 255, "mean": mean, "std": [1.0, 1.0, 1.0]}
    else:
        return None
    try:
        numbers = [convention["range"], *convention["std"], *convention["mean"]]
        right = len(convention["mean"]) == len(convention["std"]) == 3
        right = right and all(math.isfinite(number) for number in numbers) and min(numbers[:4]) > 0
    except (KeyError, OverflowError, TypeError):
        right = False
    if not right:
        raise _wrong("an input convention of range, three means and three deviations", convention, source)
    return convention


def _json(header: dict[str, str], key: str, source: str) -> object:
    try:
        return json.loads(header[key])
    except (KeyError, RecursionError, ValueError) as error:
        raise _wrong(f"{key} as JSON", header.get(key), source) from error


def _wrong(expected: str, found: object, source: str) -> InputError:
    return InputError(f"expected {expected} in the header of {source}; found {one_line(found)}: write the file again")
