"""What is to be told of a row beside its values: one whole number, so that a batch carries it for next to nothing.

Bit 0: the event came too late for complete windows. Bit 1 + n: the window of the plan's column n was not full yet.
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from operators.transactions.records import Transaction

LATE: Final = 1


class Filling:
    """From when on the windows of a key group are full: `full_from` for each of the columns, in order."""

    def __init__(self, columns: Sequence[str], full_from: Mapping[str, int]) -> None:
        self.times = sorted({full_from[column] for column in columns})
        self.masks = [
            sum(2 << number for number, column in enumerate(columns) if full_from[column] > time)
            for time in (self.times[0] - 1, *self.times)
        ]
        """What is not full before the first of the times, from it on, from the second on, …: 0 from the last on."""

    def marks(self, times: Sequence[int]) -> Sequence[int]:
        """A mark for each event time; empty where all windows were full at all of them."""
        oldest = bisect_right(self.times, min(times))
        if oldest == len(self.times):
            return ()
        if oldest == bisect_right(self.times, max(times)):
            return [self.masks[oldest]] * len(times)
        return [self.masks[bisect_right(self.times, time)] for time in times]


def marks_of(
    transactions: Sequence[Transaction], late: Sequence[int], filling: Filling | None, nullable: str | None
) -> Sequence[int]:
    """The marks of a batch, of which those at the indexes `late` came too late; empty where there is nothing to tell.

    `nullable` is the field of the key where a transaction can lack it: without a key there is no window to fill.
    """
    marks = filling.marks([transaction.event_time for transaction in transactions]) if filling and transactions else ()
    if marks and nullable:
        keys = [getattr(transaction, nullable) for transaction in transactions]
        marks = [0 if key is None else mark for key, mark in zip(keys, marks, strict=True)]
    if late:
        told = list(marks) or [0] * len(transactions)
        for index in late:
            told[index] |= LATE
        return told
    return marks


def joined(marks: Sequence[int], own: Sequence[int], before: int) -> Sequence[int]:
    """The marks of rows to which columns were appended; they had `before` columns."""
    if not own:
        return marks
    shifted = [mark & LATE | mark >> 1 << 1 + before for mark in own]
    return [one | other for one, other in zip(marks, shifted, strict=True)] if marks else shifted


def warming_up(
    mark: int, columns: Sequence[str], made_of: Mapping[str, frozenset[str]] = MappingProxyType({})
) -> frozenset[str]:
    """The columns whose windows were not full yet, and those of derived fields that are made of such."""
    filling = frozenset(column for number, column in enumerate(columns) if mark >> 1 + number & 1)
    return filling | {field for field, features in made_of.items() if not filling.isdisjoint(features)}


def count_late(marks: Iterable[int]) -> int:
    """How many came too late."""
    return sum(mark & LATE for mark in marks)
