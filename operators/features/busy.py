"""What is kept beside a log for windows of many events, so that a busy key costs no more at each event than a quiet one.

Derived from the log and never part of the state. It follows the window of the latest event, by indexes that `trimmed`
and `inserted` keep right; a step is paid for by the events that enter and leave.
"""

from array import array
from bisect import bisect_left
from typing import Final

from operators.features.layout import Log

BUSY_FROM: Final = 64
"""A slice of this many events costs about as much as the step of a counter (1 us)."""


class Counter:
    """How often each known value of a column is in the window."""

    def __init__(self, column: int) -> None:
        self.column = column
        self.counts: dict[int, int] = {}
        self.lo = self.hi = 0

    def distinct(self, log: Log, shift: int, lo: int, hi: int) -> int:
        """How many different known values are in the window from `lo` to `hi`."""
        self._move(log, shift, lo, hi)
        return len(self.counts)

    def has(self, log: Log, shift: int, lo: int, hi: int, value: int) -> bool:
        """Whether the value is in the window."""
        self._move(log, shift, lo, hi)
        return value in self.counts

    def trimmed(self, events: int, first: int) -> None:
        """So many events left the log, which begins at `first`."""
        self.lo -= events
        self.hi = self.hi - events if self.lo >= first else 0

    def inserted(self, i: int, value: int) -> None:
        """An event was entered at `i`, before the end."""
        if i < self.lo:
            self.lo += 1
            self.hi += 1
        elif i < self.hi:
            self.hi += 1
            if value:
                self.counts[value] = self.counts.get(value, 0) + 1

    def _move(self, log: Log, shift: int, lo: int, hi: int) -> None:
        counts = self.counts
        if not self.hi or lo - self.lo > hi - lo or lo < self.lo or hi < self.hi:
            counts.clear()
            self.lo = self.hi = lo
        for value in log[self.hi + shift : hi + shift]:
            if value:
                counts[value] = counts.get(value, 0) + 1
        for value in log[self.lo + shift : lo + shift]:
            if value:
                if counts[value] == 1:
                    del counts[value]
                else:
                    counts[value] -= 1
        self.lo, self.hi = lo, hi


class Extreme:
    """The events of the window that no later one beats: the first of them holds the extreme.

    D. Lemire, Streaming maximum-minimum filter using no more than three comparisons per element, Nordic Journal of
    Computing 13, 2006; here the beaten ones are found by bisection, so that no single event pays for many.
    """

    def __init__(self, column: int, sign: int) -> None:
        """`sign` is 1 for the minimum, -1 for the maximum."""
        self.column = column
        self.sign = sign
        self.values: list[int] = []
        self.at = array("q")
        self.offset = 0
        self.hi = 0

    def value(self, log: Log, shift: int, lo: int, hi: int) -> int:
        """The extreme own value of the window from `lo` to `hi`; 0 where none is known."""
        values, at = self.values, self.at
        if self.hi < lo or hi < self.hi:
            values.clear()
            del at[:]
            self.hi = lo
        for i, value in enumerate(log[self.hi + shift : hi + shift], self.hi + self.offset):
            if value:
                beaten = bisect_left(values, self.sign * value)
                del values[beaten:], at[beaten:]
                values.append(self.sign * value)
                at.append(i)
        self.hi = hi
        start = bisect_left(at, lo + self.offset)
        result = self.sign * values[start] if start < len(values) else 0
        if start > BUSY_FROM and start > len(values) // 2:
            del values[:start], at[:start]
        return result

    def trimmed(self, events: int, first: int) -> None:
        """So many events left the log, which begins at `first`."""
        self.offset += events
        self.hi -= events

    def inserted(self, i: int, value: int) -> None:
        """An event was entered at `i`, before the end."""
        if i >= self.hi:
            return
        self.hi += 1
        later = bisect_left(self.at, i + self.offset)
        self.at[later:] = array("q", [other + 1 for other in self.at[later:]])
        beats = self.sign * value
        if value and (later == len(self.values) or beats < self.values[later]):
            beaten = bisect_left(self.values, beats, 0, later)
            self.values[beaten:later] = [beats]
            self.at[beaten:later] = array("q", [i + self.offset])
