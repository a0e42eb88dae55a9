"""Error: says what was expected and what was found."""

import operator


class Error(ValueError):
    """Of this package and of the library below it."""


def require(condition, *message):
    if not condition:
        raise Error("".join(str(part) for part in message))


def integer(value, of, name):
    """As an int; Error, with `of` before it, if it is none."""
    try:
        return operator.index(value)
    except TypeError:
        raise Error(f"{of}{name}: expected an integer, found {value!r}") from None
