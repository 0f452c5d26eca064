"""The one error that a user's mistake ends in: a single line, in a terminal and in a notebook."""

import difflib


class InputError(ValueError):
    """A mistake in what the user gave: says what was expected, what was found and what to do."""

    def _render_traceback_(self) -> list[str]:
        """IPython's hook: show the message alone, without a traceback."""
        return [f"{type(self).__name__}: {self}"]


class Diverged(InputError):
    """Training has made numbers that are no longer finite: what was asked for cannot be trained."""


def check_choice(what: str, value, choices) -> None:
    """Raise `InputError` naming the nearest right choice unless `value` is one of `choices`.

    >>> check_choice("loss", "sofmax", ["softmax", "focal"])
    Traceback (most recent call last):
    fer_utils.core.errors.InputError: unknown loss 'sofmax'; did you mean 'softmax'? Choose \
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
