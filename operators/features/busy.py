"""What is kept beside a log for windows of many events: a busy key costs no more at each event than a quiet one.

Derived from the log and never part of the state. It follows the window of the latest event, by places in the log that
`trimmed` and `inserted` keep right. A window from `low` to `high` holds the records after `low`, up to and with `high`.
However many events leave a window at once, no event pays for them one by one.
"""

from array import array
from bisect import bisect_left
from collections.abc import Sequence
from typing import Final

from operators.features.buckets import Buckets
from operators.features.layout import Log
from operators.features.pages import Pages

BUSY_FROM: Final = 64
"""A slice of this many events costs about as much as the step of a counter (1 us)."""
SWEEP_EVERY: Final = 8
LONG: Final = 8192
"""Entries of an array; more of them are kept in pages."""


class Counter:
    """Which known values of a column are in the window, by the last record that has each.

    Records are numbered as they enter, from 1. A window has as many different values as it has records that are the
    last of their value; those are marked, a byte each, so that the marks of all that leave are counted in one go.
    """

    def __init__(self, size: int, column: int) -> None:
        self.size = size
        self.column = column
        self.low = self.high = 0
        self._unused: list[Buckets[int]] = []
        self.last: Buckets[int] = Buckets()
        self._begin(0, ())

    def _begin(self, low: int, values: Sequence[int]) -> None:
        """Anew, with the values of the first few records."""
        self._unused.append(self.last)
        self.low, self.high = low, low + len(values) * self.size
        last = {value: number for number, value in enumerate(values, 1) if value}
        self.found = len(last)
        self.last = Buckets(last)
        self.marks = bytearray(1 + len(values))
        for number in last.values():
            self.marks[number] = 1
        self.start = low
        """The place of the record of the first mark, and its number."""
        self.number = 0

    def distinct(self, log: Log, low: int, high: int) -> int:
        """How many different known values are in the window."""
        self._move(log, low, high)
        return self.found

    def has(self, log: Log, low: int, high: int, value: int) -> bool:
        """Whether the value is in the window."""
        self._move(log, low, high)
        return self.last.get(value) > self._number(low)

    def trimmed(self, by: int, first: int) -> None:
        """The records moved to the front by this much; the log begins at `first`."""
        self.low -= by
        self.high -= by
        self.start -= by

    def inserted(self, log: Log, place: int) -> None:
        """A record was put in at `place`, before the last."""
        size, last, marks = self.size, self.last, self.marks
        if place > self.high:
            return
        self.high += size
        if place <= self.low:
            self.low += size
            self.start += size
            return
        index = (place - self.start) // size
        marks.insert(index, 0)
        number, low = self.number + index, self._number(self.low)
        for value in set(log[place + size + self.column : self.high + self.column + 1 : size]):
            if value:
                last.put(value, last.get(value) + 1)  # the last one that has it is behind, and moved
        value = log[place + self.column]
        before = last.get(value)
        if not value or before > number:
            return
        if before > low:
            marks[before - self.number] = 0
        else:
            self.found += 1
        marks[index] = 1
        last.put(value, number)

    def _number(self, place: int) -> int:
        return (place - self.start) // self.size + self.number

    def _move(self, log: Log, low: int, high: int) -> None:
        if low < self.low or high < self.high or low > self.high or not self.high:
            few = min(high, low + 2 * BUSY_FROM * self.size)
            self._begin(low, log[low + self.size + self.column : few + self.column + 1 : self.size])
        if self._unused and not self._unused[-1].shrink():  # not all at once: it may be large
            self._unused.pop()
        size, marks, last = self.size, self.marks, self.last
        was_low = self._number(self.low)
        for value in _entering(log, self.high + size, high, self.column, size):
            number = self.number + len(marks)
            marks.append(1 if value else 0)
            if value:
                before = last.put(value, number)
                if before > was_low:
                    marks[before - self.number] = 0
                else:
                    self.found += 1
                if not number % SWEEP_EVERY:
                    last.sweep(number // SWEEP_EVERY % last.parts, was_low.__ge__)
        if low > self.low:
            gone = (low - self.start) // size
            self.found -= marks.count(1, was_low - self.number + 1, gone + 1)
            if gone > len(marks) // 2:
                del marks[:gone]
                self.number += gone
                self.start = low
        self.low, self.high = low, high


def _entering(log: Log, first: int, last: int, column: int, size: int) -> Sequence[int]:
    """The values of a column from one record to another: most often of one alone."""
    return (log[last + column],) if first == last else log[first + column : last + column + 1 : size]


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
        self.values: array[int] | Pages = array("q")
        self.at: array[int] | Pages = array("q")
        self.offset = 0
        self.high = 0

    def place(self, log: Log, low: int, high: int) -> int:
        """The place of the extreme of the window; 0 where none is known."""
        k, size = self.column, self.size
        if self.high < low or high < self.high:
            self.values, self.at = array("q"), array("q")
            self.high = low
        values, at = self.values, self.at
        for i, value in enumerate(_entering(log, self.high + size, high, k, size), 1):
            if value:
                value *= self.sign
                if values and values[-1] >= value:
                    beaten = bisect_left(values, value)
                    del values[beaten:], at[beaten:]
                values.fromlist([value])
                at.fromlist([self.high + self.offset + i * size])
        self.high = high
        begin = low + size + self.offset
        start = bisect_left(at, begin) if at and at[0] < begin else 0
        result = at[start] - self.offset if start < len(values) else 0
        if start > BUSY_FROM and (start > len(values) // 2 or isinstance(values, Pages)):
            del values[:start], at[:start]
        if len(values) > LONG and not isinstance(values, Pages):
            self.values, self.at = Pages(values[:]), Pages(at[:])
        return result

    def trimmed(self, by: int, first: int) -> None:
        """The records moved to the front by this much; the log begins at `first`."""
        self.offset += by
        self.high -= by

    def inserted(self, log: Log, place: int) -> None:
        """A record was put in at `place`, before the last."""
        if place > self.high:
            return
        self.high += self.size
        later = bisect_left(self.at, place + self.offset)
        value = log[place + self.column]
        values, moved = self.values[later:], array("q", [other + self.size for other in self.at[later:]])
        beats = self.sign * value
        kept = later
        if value and (not values or beats < values[0]):
            kept = bisect_left(self.values, beats, 0, later)
            values.insert(0, beats)
            moved.insert(0, place + self.offset)
        del self.values[kept:], self.at[kept:]
        self.values.extend(values)
        self.at.extend(moved)
