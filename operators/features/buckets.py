"""A dictionary for many entries that never has to be made anew as a whole.

W. Litwin, Linear hashing: a new tool for file and table addressing, VLDB 1980: when there are more entries, one small
dictionary is divided in two, each in its turn. Growing a Python dictionary of 100,000 entries takes milliseconds, at
once; dividing one of these takes 5 us.
"""

from collections.abc import Callable, Hashable, Iterator
from secrets import randbits
from typing import Final, Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)

FULL: Final = 16
"""Entries of each small dictionary, on average, before the next is divided."""
_SALT: Final = randbits(60)
"""Another one in each process: nobody can choose amounts that fall into one small dictionary. What is found does not
depend on it."""


class Buckets(Generic[Key]):
    """Key -> number."""

    def __init__(self, entries: dict[Key, int] | None = None) -> None:
        """With a few entries, which it takes over."""
        self._buckets: list[dict[Key, int]] = [entries or {}]
        self._half = 1
        self._mask = 1
        self._count = len(self._buckets[0])

    def __len__(self) -> int:
        return self._count

    def get(self, key: Key) -> int:
        """The number of the key; 0 where it has none."""
        place = hash((key, _SALT)) & self._mask
        bucket = self._buckets[place if place < len(self._buckets) else place - self._half]
        return bucket.get(key, 0)

    def put(self, key: Key, number: int) -> int:
        """Give the key a number, which is not 0. Returns the one it had, 0 where it had none."""
        place = hash((key, _SALT)) & self._mask
        bucket = self._buckets[place if place < len(self._buckets) else place - self._half]
        before = bucket.get(key, 0)
        bucket[key] = number
        if not before:
            self._count += 1
            if self._count > FULL * len(self._buckets):
                self._divide()
        return before

    def pop(self, key: Key) -> int:
        """Take the key out. Returns the number it had, 0 where it had none."""
        place = hash((key, _SALT)) & self._mask
        bucket = self._buckets[place if place < len(self._buckets) else place - self._half]
        number = bucket.pop(key, 0)
        if number:
            self._count -= 1
        return number

    def items(self) -> Iterator[tuple[Key, int]]:
        """All that is there. Nothing may be put in meanwhile."""
        for bucket in self._buckets:
            yield from bucket.items()

    @property
    def parts(self) -> int:
        """The number of small dictionaries."""
        return len(self._buckets)

    def sweep(self, part: int, goes: Callable[[int], bool]) -> list[tuple[Key, int]]:
        """Take those out of one small dictionary whose numbers go. Returns them.

        What is divided meanwhile goes to the end: from 0 on until `parts` all are swept.
        """
        bucket = self._buckets[part]
        gone = [(key, number) for key, number in bucket.items() if goes(number)]
        for key, _ in gone:
            del bucket[key]
        self._count -= len(gone)
        return gone

    def shrink(self) -> bool:
        """Free one small dictionary of a table that is used no more. Whether there are others."""
        self._buckets.pop()
        return bool(self._buckets)

    def _divide(self) -> None:
        bucket = self._buckets[len(self._buckets) - self._half]
        new = len(self._buckets)
        moved = [key for key in bucket if hash((key, _SALT)) & self._mask == new]
        self._buckets.append({key: bucket.pop(key) for key in moved})
        if len(self._buckets) == 2 * self._half:
            self._half *= 2
            self._mask = 2 * self._half - 1
