"""What the commands' options hold, and what is told where one is wrong."""

import re
from collections.abc import Callable


def option(name: str, parse: Callable[[str], int], text: str, default: int) -> int:
    """An option's value; what is wrong with it is told with its name. Raises ValueError."""
    try:
        return parse(text) if text else default
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error


def in_words(error: ValueError | OSError) -> str:
    """What went wrong, without the number that the system has for it."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return re.sub(r"\[Errno -?\d+\] (.*?)(: '.*')?$", r"\1", str(error))
