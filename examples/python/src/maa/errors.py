"""Error: says what was expected and what was found."""


class Error(ValueError):
    """Of this package and of the library below it."""


def require(condition, *message):
    if not condition:
        raise Error("".join(str(part) for part in message))
