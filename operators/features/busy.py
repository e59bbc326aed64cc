"""What is kept beside a log for windows of many events: a busy key costs no more at each event than a quiet one.

Derived from the log and never part of the state. It follows the window of the latest event, by places in the log that
`trimmed` and `inserted` keep right; a step is paid for by the events that enter and leave. A window from `low` to
`high` holds the records after `low`, up to and with `high`.
"""

from array import array
from bisect import bisect_left
from typing import Final

from operators.features.layout import Log

BUSY_FROM: Final = 64
"""A slice of this many events costs about as much as the step of a counter (1 us)."""


class Counter:
    """How often each known value of a column is in the window."""

    def __init__(self, size: int, column: int) -> None:
        self.size = size
        self.column = column
        self.counts: dict[int, int] = {}
        self.low = self.high = 0

    def distinct(self, log: Log, low: int, high: int) -> int:
        """How many different known values are in the window."""
        self._move(log, low, high)
        return len(self.counts)

    def has(self, log: Log, low: int, high: int, value: int) -> bool:
        """Whether the value is in the window."""
        self._move(log, low, high)
        return value in self.counts

    def trimmed(self, by: int, first: int) -> None:
        """The records moved to the front by this much; the log begins at `first`."""
        self.low -= by
        self.high = self.high - by if self.low >= first else 0

    def inserted(self, place: int, value: int) -> None:
        """A record was put in at `place`, before the last."""
        if place <= self.low:
            self.low += self.size
            self.high += self.size
        elif place <= self.high:
            self.high += self.size
            if value:
                self.counts[value] = self.counts.get(value, 0) + 1

    def _move(self, log: Log, low: int, high: int) -> None:
        counts, k, size = self.counts, self.column, self.size
        if not self.high or low - self.low > high - low or low < self.low or high < self.high:
            counts.clear()
            self.low = self.high = low
        for value in log[self.high + size + k : high + k + 1 : size]:
            if value:
                counts[value] = counts.get(value, 0) + 1
        for value in log[self.low + size + k : low + k + 1 : size]:
            if value:
                if counts[value] == 1:
                    del counts[value]
                else:
                    counts[value] -= 1
        self.low, self.high = low, high


class Extreme:
    """The events of the window that no later one beats: the first of them holds the extreme.

    D. Lemire, Streaming maximum-minimum filter using no more than three comparisons per element, Nordic Journal of
    Computing 13, 2006; here the beaten ones are found by bisection, so that no single event pays for many.
    """

    def __init__(self, size: int, column: int, sign: int) -> None:
        """`sign` is 1 for the minimum, -1 for the maximum."""
        self.size = size
        self.column = column
        self.sign = sign
        self.values: list[int] = []
        self.at = array("q")
        self.offset = 0
        self.high = 0

    def place(self, log: Log, low: int, high: int) -> int:
        """The place of the extreme of the window; 0 where none is known."""
        values, at, k, size = self.values, self.at, self.column, self.size
        if self.high < low or high < self.high:
            values.clear()
            del at[:]
            self.high = low
        new = log[self.high + size + k : high + k + 1 : size]
        for i, value in enumerate(new, 1):
            if value:
                beaten = bisect_left(values, self.sign * value)
                del values[beaten:], at[beaten:]
                values.append(self.sign * value)
                at.append(self.high + self.offset + i * size)
        self.high = high
        start = bisect_left(at, low + size + self.offset)
        result = at[start] - self.offset if start < len(values) else 0
        if start > BUSY_FROM and start > len(values) // 2:
            del values[:start], at[:start]
        return result

    def trimmed(self, by: int, first: int) -> None:
        """The records moved to the front by this much; the log begins at `first`."""
        self.offset += by
        self.high -= by

    def inserted(self, place: int, value: int) -> None:
        """A record was put in at `place`, before the last."""
        if place > self.high:
            return
        self.high += self.size
        later = bisect_left(self.at, place + self.offset)
        self.at[later:] = array("q", [other + self.size for other in self.at[later:]])
        beats = self.sign * value
        if value and (later == len(self.values) or beats < self.values[later]):
            beaten = bisect_left(self.values, beats, 0, later)
            self.values[beaten:later] = [beats]
            self.at[beaten:later] = array("q", [place + self.offset])
