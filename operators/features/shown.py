"""What a log holds of one key, for people and for comparisons: the events, as far as the plan keeps them."""

from itertools import pairwise
from typing import Any

from operators.features.aggregates import UNIT
from operators.features.layout import Column, Layout, Log, decode
from operators.features.logs import Logs


def events_of(logs: Logs, key: Any) -> list[dict[str, Any]]:
    """The key's events in order of time; empty where it is not known.

    `time` in milliseconds, `amount`, and the fields that features are made of, where the event had them. An event that
    no window reaches any more may be gone.
    """
    log = logs.young.get(key) or logs.old.get(key)
    if not log:
        return []
    layout = logs.layout
    fields: dict[str, list[Any]] = {"time": [time + logs.base for time in layout.entries(log, 0)[1:]]}
    for k, column in enumerate(layout.columns, 1):
        values = _values(logs, layout, log, k, column)
        if values is not None:
            fields[column.field] = values
    rows = zip(*fields.values(), strict=True)
    return [{name: value for name, value in zip(fields, row, strict=True) if value is not None} for row in rows]


def _values(logs: Logs, layout: Layout, log: Log, k: int, column: Column) -> list[Any] | None:
    entries = layout.entries(log, k)
    if column.kind == "sum" and column.content == "amount":
        return [(after - before) / UNIT for before, after in pairwise(entries)]
    if column.kind == "own" and column.content == "id":
        return [logs.texts.text(number) for number in entries[1:]]
    if column.kind == "own" and column.content == "value":
        return [decode(number) / UNIT if number else None for number in entries[1:]]
    return None
