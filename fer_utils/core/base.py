"""What all else stands on: the eight expressions, and the error that a user's mistake ends in.

The only place that knows class names, order and colours. Labels everywhere else are integers 0–7,
an index into `EXPRESSIONS`.
"""

import difflib

EXPRESSIONS = ("neutral", "happy", "sad", "surprise", "fear", "disgust", "anger", "contempt")
NUM_CLASSES = len(EXPRESSIONS)
LABELS = {name: label for label, name in enumerate(EXPRESSIONS)}
RARE = ("disgust", "contempt")  # the smallest classes of AffectNet and of FER+
PROBABILITIES = tuple(f"p_{name}" for name in EXPRESSIONS)  # columns of tables of predictions
LOG_PROBABILITIES = tuple(f"log_p_{name}" for name in EXPRESSIONS)

# Okabe & Ito's colour-blind-safe palette, its yellow (unreadable on white) replaced by grey.
COLORS = {
    "neutral": "#999999", "happy": "#E69F00", "sad": "#0072B2", "surprise": "#56B4E9",
    "fear": "#CC79A7", "disgust": "#009E73", "anger": "#D55E00", "contempt": "#000000",
}  # fmt: skip

# A dataset's own code or column name → our name. Codes that are absent here (AffectNet's 8 "none",
# 9 "uncertain", 10 "no face"; FER+'s "unknown" and "NF") are no expression and are dropped.
CODINGS: dict[str, dict[int | str, str]] = {
    "affectnet": dict(enumerate(EXPRESSIONS)),
    "ferplus": {
        "neutral": "neutral", "happiness": "happy", "surprise": "surprise", "sadness": "sad",
        "anger": "anger", "disgust": "disgust", "fear": "fear", "contempt": "contempt",
    },
    "fer2013": {
        0: "anger", 1: "disgust", 2: "fear", 3: "happy", 4: "sad", 5: "surprise", 6: "neutral",
    },
    "rafdb": {
        1: "surprise", 2: "fear", 3: "disgust", 4: "happy", 5: "sad", 6: "anger", 7: "neutral",
    },
}  # fmt: skip

# How people name class folders. Case, separators and numbers do not count.
SPELLINGS = {
    "neutral": ("neutral", "neutrality"), "happy": ("happy", "happiness", "joy"),
    "sad": ("sad", "sadness"), "surprise": ("surprise", "surprised"),
    "fear": ("fear", "fearful", "afraid"), "disgust": ("disgust", "disgusted"),
    "anger": ("anger", "angry"), "contempt": ("contempt", "contemptuous"),
}  # fmt: skip
_NAMED = {spelling: LABELS[name] for name, spellings in SPELLINGS.items() for spelling in spellings}


def find_label(name: str) -> int | None:
    """Label of a class by any of its `SPELLINGS`; None for anything else, numbers alone among it.

    >>> find_label("0_Neutral"), find_label("HAPPINESS"), find_label("3")
    (0, 1, None)
    """
    return _NAMED.get("".join(letter for letter in name.casefold() if letter.isalpha()))


def to_labels(codes, dataset: str) -> list[int]:
    """Labels 0–7 of codes of a dataset in `CODINGS`; -1 where one stands for no expression.

    >>> to_labels([3, 6, 0], "fer2013"), to_labels([7, 8], "affectnet")
    ([1, 0, 6], [7, -1])
    """
    coding = CODINGS[dataset]
    return [LABELS[coding[code]] if code in coding else -1 for code in codes]


class InputError(ValueError):
    """A mistake in what the user gave: says what was expected, what was found and what to do."""

    def _render_traceback_(self) -> list[str]:
        """IPython's hook: show the message alone, without a traceback."""
        return [f"{type(self).__name__}: {self}"]


class Diverged(InputError):
    """Training has made numbers that are no longer finite: what was asked for cannot be trained."""


def require(right, expected: str, found) -> None:
    """Raise `InputError` unless it is `right`; of an array or a tensor it says shape and type."""
    if not right:
        if getattr(found, "ndim", 0):
            found = f"{tuple(found.shape)} of {found.dtype}"
        raise InputError(f"expected {expected}, found {found}")


def check_choice(what: str, value, choices) -> None:
    """Raise `InputError` naming the nearest right choice unless `value` is one of `choices`.

    >>> check_choice("loss", "sofmax", ["softmax", "focal"])
    Traceback (most recent call last):
    fer_utils.core.base.InputError: unknown loss 'sofmax'; did you mean 'softmax'? Choose \
from: softmax, focal
    """
    choices = list(choices)
    if value in choices:
        return
    near = difflib.get_close_matches(str(value), [str(choice) for choice in choices], n=1)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    raise InputError(f"unknown {what} {value!r}{hint} Choose from: {', '.join(map(str, choices))}")


def one_line(text: object, longest: int = 160) -> str:
    """Somebody else's text, fit to be quoted in an error."""
    line = " ".join(str(text).split()) or type(text).__name__
    return line if len(line) <= longest else f"{line[:longest]}…"
