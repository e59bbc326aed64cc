"""What a log would hold up to an event that does not come last: derived fields are computed before it enters."""

from collections.abc import Iterable, Sequence
from typing import overload

from operators.features.labels import Key
from operators.features.layout import TRIM_AT, Log
from operators.features.logs import Logs


class Preview(Sequence[int]):
    """A log up to some place, and one more record, which takes numbers of any size."""

    def __init__(self, log: Log, place: int, record: Iterable[int]) -> None:
        self._log = log
        self._place = place
        self._record = list(record)

    def __len__(self) -> int:
        return self._place + len(self._record)

    @overload
    def __getitem__(self, index: int) -> int: ...
    @overload
    def __getitem__(self, index: slice) -> list[int]: ...
    def __getitem__(self, index: int | slice) -> int | list[int]:
        place = self._place
        if isinstance(index, int):
            return self._log[index] if index < place else self._record[index - place]
        start, stop, step = index.indices(len(self))
        found = self._log[start : min(stop, place) : step].tolist()
        return found + [self._record[at - place] for at in range(start, stop, step)[len(found) :]]

    def __setitem__(self, index: int, value: int) -> None:
        """Only in the record."""
        self._record[index - self._place] = value


def preview(logs: Logs, key: Key, log: Log, at: int, record: Sequence[int]) -> tuple[Log, Preview, int]:
    """The key's log, trimmed where that is due, what it would hold up to the event, and the event's place. `record` is
    that of `Logs.place`."""
    layout, size = logs.layout, logs.layout.size
    if len(log) > log[TRIM_AT]:
        log = logs.trim(key, log)
    place = logs.head(log, at) + size
    before = log[place - size : place]
    entered = [at]
    known = False
    for k, (column, value) in enumerate(zip(layout.columns, record, strict=True), 1):
        if column.kind == "carry_time":  # its carry follows, and has the value of both; see Logs.place
            known = record[k] != 0 and not (before[k + 1] and before[k] > at)
            entered.append(at if known else before[k])
        elif column.kind == "carry":
            entered.append(value if known else before[k])
        else:
            entered.append(before[k] + value if column.kind == "sum" else value)
    return log, Preview(log, place, entered), place
