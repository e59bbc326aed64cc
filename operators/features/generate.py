"""The loop over a batch, written as Python source for one plan and compiled once.

An interpreter over features costs two to four times as much an event. Every name in the source comes from the tables in
names.py, never from input.

In the source `a` is a log, `o` and `e` the places of the event before and of the event, `last` the time of the former,
`w` what the event puts into a column, `q` and `p` what a column has before and with it, `h` and `l` where a window
begins.
"""

import math
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, Final, Protocol

from operators.features import aggregates, labels
from operators.features.aggregates import UNIT
from operators.features.layout import ID_HASHES, PLACE, SQUARE_BITS, TRIM_AT, Layout, Log
from operators.features.logs import Logs
from operators.features.names import AMOUNTS, TEXTS
from operators.features.values import Values
from operators.transactions.records import Transaction

Row = tuple[Any, ...]
STEPS: Final = 8
"""So many events are looked at one by one, before a bisection: it costs as much as ten."""


class Update(Protocol):
    """Adds a row for each transaction to `rows`, and the indexes of those that came too late or again."""

    def __call__(
        self, logs: Logs, transactions: Sequence[Transaction], rows: list[Row], late: list[int], repeated: list[int]
    ) -> None: ...


NAMES: Final[dict[str, Callable[..., Any]]] = {
    function.__name__: function
    for function in (
        aggregates.units,
        aggregates.code_of,
        aggregates.place,
        labels.rate,
        aggregates.identity,
        aggregates.amount,
        aggregates.mean,
        math.sqrt,
        aggregates.least,
        aggregates.most,
        aggregates.least_at,
        aggregates.most_at,
        aggregates.distinct_ever,
        aggregates.is_new,
        aggregates.is_new_ever,
        aggregates.latest,
        aggregates.speed_kmh,
    )
}


def compile_update(layout: Layout) -> Update:
    """The loop for one plan."""
    return _compiled(source_of(layout), layout.plan.entity)


@cache
def _compiled(source: str, entity: str) -> Update:
    """Compiled once a process: there are hundreds of key groups."""
    namespace: dict[str, Any] = dict(NAMES)
    exec(compile(source, f"<windows of {entity}>", "exec"), namespace)  # noqa: S102 - our own source
    update: Update = namespace["update"]
    return update


def row_of(update: Update, logs: Logs, key: Any, log: Log, place: int) -> Row:
    """The row of an event that is in the log: as it is now, after those that came later but are older."""
    row: Row = update.__globals__["settle"](logs, key, log, place)  # type: ignore[attr-defined]
    return row


def source_of(layout: Layout) -> str:
    """The source of `update`, and of `settle`: the row of an event anywhere in the log."""
    plan, size = layout.plan, layout.size
    nullable = {**TEXTS, **AMOUNTS}[plan.field]
    record = "".join(f"w{k}, " for k in range(1, size))
    quick, late = Values(layout, late=False), Values(layout, late=True)
    quick_row, late_row = quick.row(), late.row()
    before, after = _sums(layout)
    lines = [
        "def update(logs, transactions, rows, late, repeated):",
        "    get, ids, intern, append = logs.young.get, logs.texts.ids.get, logs.texts.intern, rows.append",
        "    text, seen, head = logs.texts.text, logs.seen.get, logs.head",
        "    counter, extreme = logs.counter, logs.extreme",
        "    base, soon, doubt = logs.base, logs.soon, logs.doubt",
        "    for t in transactions:",
        f"        key = t.{plan.field}",
        *(
            [f"        if key is None:\n            append({_nothing(layout)})\n            continue"]
            if nullable
            else []
        ),
        "        now = t.event_time",
        "        at = now - base",
        "        if not doubt < at < soon:",
        "            if at >= soon:",
        "                logs.tick(now)",
        "                get, base, soon, doubt = logs.young.get, logs.base, logs.soon, logs.doubt",
        "                at = now - base",
        "            if logs.is_unsure(key, at):",
        "                late.append(len(rows))",
        "        a = get(key)",
        "        if a is None:",
        "            a = logs.open(key)",
        *(f"        {line}" for line in _entered(layout)),
        "        e = len(a)",
        f"        o = e - {size}",
        "        last = a[o]",
        "        if last <= at:",
        *(f"            {line}" for line in _repeats(layout)),
        "            try:",
        *(f"                {line}" for line in before),
        f"                a.fromlist([at, {after}])",
        "            except OverflowError:",
        f"                a, e = logs.place(key, a, at, ({record}))",
        "                append(settle(logs, key, a, e))",
        "                continue",
        *(f"            {line}" for line in [*_heads(layout), *quick.lines]),
        f"            append({quick_row})",
        f"            if e > a[{TRIM_AT}]:",
        "                logs.trim(key, a)",
        "        else:",
        *(f"            {line}" for line in _repeats(layout)),
        f"            a, e = logs.place(key, a, at, ({record}))",
        "            append(settle(logs, key, a, e))",
        f"            if at < a[-{size}] - {plan.allowed_lateness} and late[-1:] != [len(rows) - 1]:",
        "                late.append(len(rows) - 1)",
        "",
        "def settle(logs, key, a, e):",
        "    text, seen, head = logs.texts.text, logs.seen.get, logs.head",
        f"    at, o = a[e], e - {size}",
        "    now, last = at + logs.base, a[o]",
        *(
            f"    w{k} = a[e + {k}]" if c.kind == "own" else f"    q{k}, p{k} = a[o + {k}], a[e + {k}]"
            for k, c in enumerate(layout.columns, 1)
        ),
        *(
            f"    b{slot} = {_bound(window.kind, window.length)}\n    h{slot} = head(a, b{slot})"
            for window, slot in layout.head_slots.items()
        ),
        *(f"    {line}" for line in late.lines),
        f"    return {late_row}",
    ]
    return "\n".join(lines) + "\n"


def _nothing(layout: Layout) -> str:
    return f"({'None, ' * len(layout.plan.features)})"


def _entered(layout: Layout) -> list[str]:
    """What the event puts into each column."""
    amounts = dict.fromkeys(column.field for column in layout.columns if column.field in AMOUNTS)
    lines = [f"u_{f} = " + (f"units(t.{f})" if AMOUNTS[f] else f"round(t.{f} * {UNIT})") for f in amounts]
    for k, column in enumerate(layout.columns, 1):
        number = f"u_{column.field}"
        if AMOUNTS.get(column.field) and column.kind == "sum":
            number = f"({number} or 0)"
        if column.kind == "carry":
            lines.append(f"w{k} = w{layout.index(column._replace(kind='own'))}")
        elif column.kind == "carry_time":
            lines.append(f"w{k} = 0")
        elif column.content == "id":
            lines += [f"w{k} = ids(t.{column.field})", f"if w{k} is None: w{k} = intern(t.{column.field})"]
        elif column in ID_HASHES:
            if column == ID_HASHES[0]:
                lines.append("id = identity(t.transaction_id, t.amount)")
            lines.append(f"w{k} = id & 0xFFFFFFFF" if column == ID_HASHES[0] else f"w{k} = id >> 32")
        elif column.content == PLACE:
            lines.append(f"w{k} = place(t.latitude, t.longitude)")
        else:
            contents = {
                "amount": number,
                "known": f"0 if u_{column.field} is None else 1",
                "square_low": f"(s_{column.field} := {number} * {number}) & {(1 << SQUARE_BITS) - 1}",
                "square_middle": f"s_{column.field} >> {SQUARE_BITS} & {(1 << SQUARE_BITS) - 1}",
                "square_high": f"s_{column.field} >> {2 * SQUARE_BITS}",
                "value": f"code_of({number})" if AMOUNTS.get(column.field) else f"{number} + 1",
            }
            lines.append(f"w{k} = {contents[column.content]}")
    return lines


def _repeats(layout: Layout) -> list[str]:
    """Recognise an event that came before."""
    if not layout.plan.repeats:
        return []
    low, high = (layout.index(column) for column in ID_HASHES)
    size = layout.size
    return [
        f"if at - last <= {layout.plan.allowed_lateness}:",
        f"    r = max(o - {STEPS * size}, {layout.first})",
        f"    if at - a[r] <= {layout.plan.allowed_lateness} or w{low} in a[r + {size + low}::{size}]:",
        f"        r = logs.repeated(key, a, at, w{low}, w{high})",
        "        if r:",
        "            repeated.append(len(rows))",
        "            append(settle(logs, key, a, r))",
        "            continue",
    ]


def _sums(layout: Layout) -> tuple[list[str], str]:
    """Lines that read what the columns have before the event, and the event's record."""
    lines, record = [], []
    for k, column in enumerate(layout.columns, 1):
        if column.kind == "own":
            record.append(f"w{k}")
            continue
        new = {"sum": f"q{k} + w{k}", "carry": f"w{k} or q{k}", "carry_time": f"at if w{k + 1} else q{k}"}
        lines += [f"q{k} = a[o + {k}]", f"p{k} = {new[column.kind]}"]
        record.append(f"p{k}")
    return lines, ", ".join(record)


def _bound(kind: str, length: int) -> str:
    """The latest time that is too old for the window."""
    return f"at - {length}" if kind == "trailing" else f"at - now % {length} - 1"


def _heads(layout: Layout) -> list[str]:
    """Move where each window begins, for the latest event: past the event before, or a step or two, else a search."""
    size = layout.size
    lines = []
    for window, slot in layout.head_slots.items():
        lines += [
            f"b{slot} = {_bound(window.kind, window.length)}",
            f"if last <= b{slot}:",  # alone in the window, as most often in short ones: the log need not be read
            f"    a[{slot}] = h{slot} = o",
            "else:",
            f"    h{slot} = a[{slot}]",
            f"    if a[h{slot} + {size}] <= b{slot}:",
            f"        stop = h{slot} + {STEPS * size}",
            f"        h{slot} += {size}",
            f"        while a[h{slot} + {size}] <= b{slot}:",
            f"            h{slot} += {size}",
            f"            if h{slot} > stop:",
            f"                h{slot} = head(a, b{slot})",
            "                break",
            f"        a[{slot}] = h{slot}",
        ]
    return lines
