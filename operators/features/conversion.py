"""A log of an older plan made into one of the present plan: what is there stays, what follows from it is derived, and
what the old plan did not keep is missing for the events of then."""

from array import array
from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Any

from operators.features.layout import (
    DROPPED,
    FIXED_SLOTS,
    SQUARES,
    Column,
    Layout,
    Log,
    code,
    columns_of,
    decode,
    log_of,
    square_part,
)
from operators.features.logs import Logs
from operators.features.names import AMOUNTS

FORMER_LOW, FORMER_HIGH, FORMER_BITS = "low", "high", 43
"""How squares were kept: in two columns of sums, the lowest bits in the first."""


class Conversion:
    """From the plan that a state's header tells of to that of `logs`."""

    def __init__(self, header: Mapping[str, Any], logs: Logs) -> None:
        self.header = header
        self.logs = logs
        self.layout: Layout = logs.layout
        self.first: int = header["first"]
        self.columns = {name: k for k, name in enumerate(header["columns"], 1)}
        self.size = 1 + len(self.columns)
        self.extremes = {tuple(extreme): slot for slot, extreme in enumerate(header["extremes"], FIXED_SLOTS)}
        squares = [column for column in self.layout.columns if column.content in SQUARES]
        # Totals of all time must be of the same events: where a new one starts now, all start from the log.
        self.totals: bool = header["ever"] and self.layout.ever and all(map(self._is_stored, squares))

    def __call__(self, old: Log) -> "array[int]":
        """The new log. The old one is left as it is."""
        layout = self.layout

        def stored(column: Column) -> list[int] | None:
            k = self.columns.get(str(column))
            return None if k is None else old[self.first + k :: self.size].tolist()

        times = old[self.first :: self.size].tolist()
        columns = [times, *(self._entries(column, times, stored) for column in layout.columns)]
        header = [0] * layout.first  # the next event finds that the log has no room left, and trims it
        header[DROPPED] = old[DROPPED] if self.totals else 0
        for extreme, slot in layout.extreme_slots.items():
            header[slot] = old[self.extremes[extreme]] if extreme in self.extremes else 0
        new = log_of(header, columns)
        self.logs.set_heads(new)
        return new

    def started(self, newest: int, changed: Collection[str] = ()) -> dict[str, int]:
        """Since when the features have events that have not had them from the start; `newest` is the latest event,
        `changed` are the derived fields that mean something else from now on."""
        old: dict[str, int] = self.header["started"]
        since: int = self.header["since"] or newest
        kept = max(since, newest - self.header["kept"])
        started = {}
        for feature in self.layout.plan.features:
            if feature.field in changed:
                begin = newest
            elif feature.name in self.header["features"]:
                begin = old.get(feature.name, since)
            else:
                begin = newest
                labels_kept = self.header["labels_kept"].get(feature.field or "")
                if feature.of_labels and labels_kept is not None:
                    begin = max(since, newest - labels_kept)
                elif not feature.of_labels and all(map(self._is_known, columns_of(feature, self.layout.plan))):
                    begin = kept
            if begin > since:
                started[feature.name] = begin
        return started

    def _is_known(self, column: Column) -> bool:
        """Whether the old logs tell what the column would hold."""
        own = Column("own", "value" if column.kind == "sum" else column.content, column.field)
        amount = column.field == "amount"  # its sums are always there, and all else can be made of them
        return amount or self._is_stored(column) or (column.kind != "own" and str(own) in self.columns)

    def _is_stored(self, column: Column) -> bool:
        """Whether the old logs have what the column holds, up to the first record too."""
        return str(column) in self.columns or (
            column.content in SQUARES and str(Column("sum", FORMER_HIGH, column.field)) in self.columns
        )

    def _entries(self, column: Column, times: Sequence[int], stored: Callable[[Column], list[int] | None]) -> list[int]:
        """The column for every record, the first one too, which is no event."""
        entries = stored(column)
        if entries is not None:
            if column.kind == "sum" and not self.totals:
                return [entry - entries[0] for entry in entries]
            return entries
        low, high = (stored(Column("sum", content, column.field)) for content in (FORMER_LOW, FORMER_HIGH))
        if column.content in SQUARES and low and high:
            squares = [a + (b << FORMER_BITS) for a, b in zip(low, high, strict=True)]
            begin = 0 if self.totals else squares[0]
            return [square_part(column.content, square - begin) for square in squares]
        nothing = [0] * len(times)
        if column.kind == "own":
            values = self._values(column.field, stored) if column.content == "value" else None
            return values or nothing
        if column.kind == "sum":
            values = self._values(column.field, stored) or nothing
            return [0, *accumulate(_part(column.content, value) for value in values[1:])]
        own = stored(column._replace(kind="own")) or self._values(column.field, stored) or nothing
        carried = [0]
        for time, value in zip(times[1:], own[1:], strict=True):
            carried.append((time if column.kind == "carry_time" else value) if value else carried[-1])
        return carried

    def _values(self, field: str, stored: Callable[[Column], list[int] | None]) -> list[int] | None:
        """The own values of a field that can be added up, from whatever column tells them."""
        if field not in AMOUNTS and field not in self.layout.plan.types:
            return None
        values = stored(Column("own", "value", field))
        sums, known = stored(Column("sum", "amount", field)), stored(Column("sum", "known", field))
        if values is not None or sums is None or (self.layout.plan.can_lack(field) and known is None):
            return values
        units = [after - before for before, after in pairwise(sums)]
        is_known = [after - before for before, after in pairwise(known)] if known else [1] * len(units)
        return [0, *(code(unit) if there else 0 for unit, there in zip(units, is_known, strict=True))]


def _part(content: str, value: int) -> int:
    """What an own value adds to a column of sums."""
    if not value:
        return 0
    units = decode(value)
    match content:
        case "known":
            return 1
        case "amount":
            return units
    return square_part(content, units * units)
