"""Texts as numbers: a log holds numbers only."""

from collections.abc import Iterable, Iterator
from typing import Final

from operators.features.buckets import Buckets

SLACK: Final = 4096
FRONT: Final = 10_900
"""Beyond these a dictionary grows once more, which takes 90 us at once."""
ROW: Final = 1024
AT_ONCE: Final = 64
"""Numbers that are looked at for an event while unused texts are looked for: 3 us."""


class Texts:
    """Numbers from 1 for the texts of a group's logs; those that no log holds any more are given to others.

    `ids` has the number of None, which is 0, and those that were asked for of late; `intern` has all. When the table
    has doubled, `sweep` looks through the logs bit by bit, while events go on. It begins by emptying `ids`: a text that
    enters a log from then on comes by `intern`, and is known to be in use without looking.
    """

    def __init__(self) -> None:
        self.ids: dict[str | None, int] = {None: 0}
        self._numbers: Buckets[str] = Buckets()
        self._rows: list[list[str | None]] = [[None] * ROW]
        self._given = 0
        self._free: list[int] = []
        self._many = SLACK
        self._used: bytearray | None = None
        self._steps: Iterator[None] = iter(())

    def __len__(self) -> int:
        return len(self._numbers)

    def text(self, number: int) -> str | None:
        """The text of a number; None for 0."""
        return self._rows[number // ROW][number % ROW]

    def items(self) -> Iterator[tuple[str, int]]:
        """All texts and their numbers."""
        return self._numbers.items()

    def intern(self, text: str) -> int:
        """The number of a text that `ids` does not have."""
        number = self._numbers.get(text)
        if not number:
            if self._free:
                number = self._free.pop()
            else:
                number = self._given = self._given + 1
                if not number % ROW:
                    self._rows.append([None] * ROW)
            self._rows[number // ROW][number % ROW] = text
            self._numbers.put(text, number)
        if self._used is not None:
            self._use((number,))
        if len(self.ids) >= FRONT:
            self.ids = {None: 0}
        self.ids[text] = number
        return number

    def sweep(self, held: Iterable[Iterable[int]], events: int) -> None:
        """Go on looking for texts that no log holds, where there are many; not while an event is under way.

        `held` gives the numbers in all logs, some at a time; so many new `events` pay for it.
        """
        if self._used is None:
            if len(self) < self._many:
                return
            self.ids = {None: 0}
            self._used = bytearray()
            self._steps = self._swept(held)
        for _ in range(events):
            if next(self._steps, self) is self:
                self._used = None
                self._many = 2 * len(self) + SLACK
                break

    def _swept(self, held: Iterable[Iterable[int]]) -> Iterator[None]:
        for numbers in held:
            self._use(numbers)
            yield
        part = 0
        while part < self._numbers.parts:
            for _, number in self._numbers.sweep(part, self._unused):
                self._rows[number // ROW][number % ROW] = None
                self._free.append(number)
            part += 1
            yield

    def _use(self, numbers: Iterable[int]) -> None:
        used = self._used
        assert used is not None
        for number in numbers:
            try:
                used[number] = 1
            except IndexError:
                used.extend(bytes(number + ROW - len(used)))
                used[number] = 1

    def _unused(self, number: int) -> bool:
        assert self._used is not None
        return number >= len(self._used) or not self._used[number]

    def restore(self, numbers: list[int], texts: list[str]) -> None:
        """The table as it was."""
        self._given = most = max(numbers, default=0)
        self._rows = [[None] * ROW for _ in range(most // ROW + 1)]
        for number, text in zip(numbers, texts, strict=True):
            self._rows[number // ROW][number % ROW] = text
            self._numbers.put(text, number)
        self._free = sorted(set(range(1, most + 1)).difference(numbers), reverse=True)
        self._many = 2 * len(self) + SLACK
