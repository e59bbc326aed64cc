"""What is fuzzed: functions that take any bytes and raise nothing, and examples to begin with.

A target knows the errors that its subject promises, and what must hold of what it gives. Anything else that is raised
is a finding: it is mended, and its input becomes a test.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

Target = Callable[[bytes], None]


class Entry(NamedTuple):
    """A target and its examples."""

    run: Target
    seeds: Sequence[bytes]


TARGETS: dict[str, Entry] = {}


def target(*seeds: bytes | str) -> Callable[[Target], Target]:
    """Registers a target under its function's name."""

    def register(run: Target) -> Target:
        assert run.__name__ not in TARGETS
        TARGETS[run.__name__] = Entry(run, [seed.encode() if isinstance(seed, str) else seed for seed in seeds])
        return run

    return register


def split(data: bytes) -> tuple[bytes, bytes]:
    """Two inputs in one, for instance a key and a value."""
    first, _, second = data.partition(b"\n")
    return first, second
