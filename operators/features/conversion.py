"""A log of an older plan made into one of the present plan: what is there stays, what follows from it is derived, and
what the old plan did not keep is missing for the events of then."""

from array import array
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Any

from operators.features.layout import (
    BASE,
    DROPPED,
    END,
    LIMIT,
    SQUARE_BITS,
    Column,
    Layout,
    Log,
    code,
    decode,
    own_column,
)
from operators.features.logs import Logs
from operators.features.names import AMOUNTS


class Conversion:
    """From the plan that a state's header tells of to that of `logs`."""

    def __init__(self, header: Mapping[str, Any], logs: Logs) -> None:
        self.logs = logs
        self.layout: Layout = logs.layout
        self.first: int = header["first"]
        self.columns = {name: k for k, name in enumerate(header["columns"], 1)}
        self.extremes = {tuple(extreme): slot for slot, extreme in enumerate(header["extremes"], DROPPED + 1)}
        squares = [str(column) for column in self.layout.columns if column.content == "low"]
        # Totals of all time must be of the same events: where a new one starts now, all start from the log.
        self.totals: bool = header["ever"] and self.layout.ever and all(name in self.columns for name in squares)

    def __call__(self, old: Log) -> Log:
        """The new log. The old one is left as it is."""
        layout, first = self.layout, self.layout.first
        count = old[END] - self.first
        capacity = old[LIMIT] - self.first

        def stored(column: Column) -> list[int] | None:
            k = self.columns.get(str(column))
            if k is None:
                return None
            start = self.first + k * capacity + k - 1
            return old[start : start + count + (column.kind != "own")].tolist()

        times = old[self.first : old[END]].tolist()
        parts = [times]
        for column in layout.columns:
            entries = self._entries(column, times, stored)
            parts.append([*entries, 0] if column.kind == "own" else entries)  # own values have a spare place
        header = [0] * first
        header[BASE] = old[BASE]
        header[DROPPED] = old[DROPPED] if self.totals else 0
        for extreme, slot in layout.extreme_slots.items():
            header[slot] = old[self.extremes[extreme]] if extreme in self.extremes else 0
        for kind in "Iq":
            try:
                new = self.logs.joined(array(kind, header), first, [array(kind, part) for part in parts])
            except OverflowError:
                continue
            self.logs.set_heads(new)
            return new
        raise OverflowError("a stored amount does not fit into a log")

    def _entries(self, column: Column, times: Sequence[int], stored: Callable[[Column], list[int] | None]) -> list[int]:
        entries = stored(column)
        if entries is not None:
            if column.kind == "sum" and not self.totals:
                return [entry - entries[0] for entry in entries]
            return entries
        if column.kind == "own":
            values = self._values(column.field, stored) if column.content == "value" else None
            return values or [0] * len(times)
        if column.kind == "sum":
            values = self._values(column.field, stored) or [0] * len(times)
            return [0, *accumulate(_part(column.content, value) for value in values)]
        own = stored(column._replace(kind="own")) or self._values(column.field, stored) or [0] * len(times)
        carried = [0]
        for time, value in zip(times, own, strict=True):
            carried.append((time if column.kind == "carry_time" else value) if value else carried[-1])
        return carried

    @staticmethod
    def _values(field: str, stored: Callable[[Column], list[int] | None]) -> list[int] | None:
        """The own values of an amount field, from whatever column tells them."""
        if field not in AMOUNTS:
            return None
        values = stored(own_column(field))
        sums, known = stored(Column("sum", "amount", field)), stored(Column("sum", "known", field))
        if values is not None or sums is None or (AMOUNTS[field] and known is None):
            return values
        units = [after - before for before, after in pairwise(sums)]
        is_known = [after - before for before, after in pairwise(known)] if known else [1] * len(units)
        return [code(unit) if there else 0 for unit, there in zip(units, is_known, strict=True)]


def _part(content: str, value: int) -> int:
    """What an own value adds to a column of sums."""
    if not value:
        return 0
    units = decode(value)
    match content:
        case "known":
            return 1
        case "low":
            return units * units & ((1 << SQUARE_BITS) - 1)
        case "high":
            return units * units >> SQUARE_BITS
    return units
