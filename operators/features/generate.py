"""The loop over a batch, written as Python source for one plan and compiled once.

An interpreter over features costs two to four times as much an event. Every name in the source comes from the tables in
names.py or is the checked name of a derived field; expressions are compiled by operators/expressions.

In the source `t` is the transaction, `f` its row so far, `a` a log, `o` and `e` the places of the event before and of
the event, `last` the time of the former, `u` a field in units, `w` what the event puts into a column, `q` and `p` what
a column has before and with it, `h` and `l` where a window begins, `v` a feature's value and `x` a derived field's.

A derived field is computed once what it needs is: the event is in the log by then, without the field, which is put in.
For an event that does not come last `derive` does so in a list of what the log holds up to it.
"""

import builtins
import math
import struct
from collections.abc import Callable, Sequence
from functools import cache
from hashlib import blake2b
from typing import Any, Final, Protocol

from operators.expressions import GLOBALS
from operators.features import aggregates, labels
from operators.features.entries import entered, followed
from operators.features.layout import ID_HASHES, TRIM_AT, Column, Layout, Log, repeats_window
from operators.features.logs import Logs
from operators.features.names import AMOUNTS, TEXTS
from operators.features.preview import preview
from operators.features.values import Values
from operators.transactions.records import Transaction

Row = tuple[Any, ...]
STEPS: Final = 8
"""So many events are looked at one by one, before a bisection: it costs as much as ten."""

FEW: Final = 32
"""Of so many events all hashes are looked through at once: .4 us for 17 of them, where finding those within the allowed
lateness first costs a microsecond more."""


class Update(Protocol):
    """Adds a row for each transaction to `rows`, and the indexes of those that came too late or again. `given` are the
    rows so far, where the plan has any."""

    def __call__(
        self,
        logs: Logs,
        transactions: Sequence[Transaction],
        given: Sequence[Row],
        rows: list[Row],
        late: list[int],
        repeated: list[int],
    ) -> None: ...


NAMES: Final[dict[str, Callable[..., Any]]] = {
    function.__name__: function
    for function in (
        aggregates.units,
        aggregates.code_of,
        aggregates.place,
        labels.rate,
        aggregates.amount,
        aggregates.flag,
        aggregates.rounded,
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
        blake2b,
        preview,
    )
} | {"halves": struct.Struct("<II").unpack}


def compile_update(layout: Layout) -> Update:
    """The loop for one plan."""
    return _compiled(source_of(layout), layout.plan.entity)


@cache
def _compiled(source: str, entity: str) -> Update:
    """Compiled once a process: there are hundreds of key groups."""
    namespace: dict[str, Any] = {**GLOBALS, **NAMES, "__builtins__": builtins}
    exec(compile(source, f"<windows of {entity}>", "exec"), namespace)  # noqa: S102 - our own source
    update: Update = namespace["update"]
    return update


def row_of(update: Update, logs: Logs, key: Any, log: Log, place: int) -> Row:
    """The row of an event that is in the log: as it is now, after those that came later but are older.

    Of derived fields it has what the log holds.
    """
    functions: dict[str, Any] = update.__globals__  # type: ignore[attr-defined]
    row: Row = functions["look" if "look" in functions else "settle"](logs, key, log, place)
    return row


def source_of(layout: Layout) -> str:
    """The source of `update`, and of `settle`: the row of an event anywhere in the log. Where the plan has derived
    fields, of `derive`: what such an event puts into their columns, and `look`: its row without its transaction."""
    plan, size = layout.plan, layout.size
    nullable = {**TEXTS, **AMOUNTS}[plan.field]
    record = "".join(f"w{k}, " for k in range(1, size))
    quick = Values(layout, late=False)
    quick_row = quick.row()
    before, after = _sums(layout)
    shown = "logs, t, f, key" if plan.derived else "logs, key"
    enter = [
        f"            append({quick_row})",
        f"            if e > a[{TRIM_AT}]:",
        "                logs.trim(key, a)",
    ]
    placed = [*_derived(layout, record), f"a, e = logs.place(key, a, at, ({record}))", f"append(settle({shown}, a, e))"]
    latest = [*_heads(layout), *quick.lines]
    lines = [
        "def update(logs, transactions, given, rows, late, repeated):",
        "    get, ids, intern, append = logs.young.get, logs.texts.ids.get, logs.texts.intern, rows.append",
        "    text, seen, head = logs.texts.text, logs.seen.get, logs.head",
        "    counter, extreme = logs.counter, logs.extreme",
        "    base, soon, doubt = logs.base, logs.soon, logs.doubt",
        *([] if plan.reads or not plan.derived else ["    f = None"]),
        "    for t, f in zip(transactions, given):" if plan.reads else "    for t in transactions:",
        f"        key = t.{plan.field}",
        *(
            [
                "        if key is None:",
                *(f"            {line}" for line in _without_key(layout)),
                "            continue",
            ]
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
        *(f"        {line}" for line in entered(layout)),
        "        e = len(a)",
        f"        o = e - {size}",
        "        last = a[o]",
        "        if last <= at:",
        *(f"            {line}" for line in _repeats(layout, shown, late=False)),
        "            try:",
        *(f"                {line}" for line in before),
        f"                a.fromlist([at, {after}])",
        *(f"                {line}" for line in (latest if plan.derived else ())),
        "            except OverflowError:",
        *(["                del a[e:]"] if plan.derived else []),
        *(f"                {line}" for line in placed),
        "                continue",
        *(f"            {line}" for line in (() if plan.derived else latest)),
        *enter,
        "        else:",
        *(f"            {line}" for line in _repeats(layout, shown, late=True)),
        *(f"            {line}" for line in placed),
        f"            if at < a[-{size}] - {plan.allowed_lateness} and late[-1:] != [len(rows) - 1]:",
        "                late.append(len(rows) - 1)",
        "",
        *_looking_back(layout, f"settle({shown}, a, e)", Values(layout, late=True)),
    ]
    if plan.derived:
        lines += _looking_back(layout, f"derive({shown}, a, e)", Values(layout, late=True, entering=True))
        lines += _looking_back(layout, "look(logs, key, a, e)", Values(layout, late=True, stored=True))
    return "\n".join(lines) + "\n"


def _looking_back(layout: Layout, head: str, late: Values) -> list[str]:
    """A function that looks at an event anywhere in a log."""
    if late.entering:
        late.derive()
        computed = {derived.name for derived in layout.plan.derived}
        result = "".join(f"w{k}, " for k, column in enumerate(layout.columns, 1) if column.field in computed)
        result = f"({result})"
    else:
        result = late.row()

    def read(k: int, column: Column) -> str:
        if column.kind == "own":
            return f"    w{k} = a[e + {k}]"
        return f"    q{k}, p{k} = a[o + {k}], a[e + {k}]"

    return [
        f"def {head}:",
        "    text, seen, head = logs.texts.text, logs.seen.get, logs.head",
        *(["    ids, intern = logs.texts.ids.get, logs.texts.intern"] if late.entering else []),
        f"    at, o = a[e], e - {layout.size}",
        "    now, last = at + logs.base, a[o]",
        *(read(k, column) for k, column in enumerate(layout.columns, 1)),
        *(
            f"    b{slot} = {_bound(window.kind, window.length)}\n    h{slot} = head(a, b{slot})"
            for window, slot in layout.head_slots.items()
        ),
        *(f"    {line}" for line in late.lines),
        f"    return {result}",
    ]


def _derived(layout: Layout, record: str) -> list[str]:
    """Make known what an event that does not come last puts into the columns of derived fields."""
    computed = {derived.name for derived in layout.plan.derived}
    places = [k for k, column in enumerate(layout.columns, 1) if column.field in computed]
    if not places:
        return []
    return [
        f"{' = '.join(f'w{k}' for k in places)} = 0",
        f"a, shown, e = preview(logs, key, a, at, ({record}))",
        f"({''.join(f'w{k}, ' for k in places)}) = derive(logs, t, f, key, shown, e)",
    ]


def _without_key(layout: Layout) -> list[str]:
    """The row of a transaction without the entity: no value but those of derived fields that need none."""
    values = Values(layout, late=True)
    lines, row = values.without_key()
    return [*lines, f"append({row})"]


def _repeats(layout: Layout, shown: str, *, late: bool) -> list[str]:
    """Recognise an event that came before."""
    if not layout.plan.repeats:
        return []
    low, high = (layout.index(column) for column in ID_HASHES)
    found = [
        f"r = logs.repeated(key, a, at, w{low}, w{high})",
        "if r:",
        "    repeated.append(len(rows))",
        f"    append(settle({shown}, a, r))",
        "    continue",
    ]
    if late:
        return found
    size, slot = layout.size, layout.head_slots[repeats_window(layout.plan)]
    return [
        f"if at - last <= {layout.plan.allowed_lateness}:",
        f"    h = a[{slot}]",  # of the event before: what this one may repeat lies behind it
        f"    if e - h > {FEW * size} or w{low} in a[h + {size + low}::{size}]:",
        *(f"        {line}" for line in found),
    ]


def _sums(layout: Layout) -> tuple[list[str], str]:
    """Lines that read what the columns have before the event, and the event's record, still without derived fields."""
    computed = {derived.name for derived in layout.plan.derived}
    lines, record = [], []
    for k, column in enumerate(layout.columns, 1):
        later = column.field in computed
        if column.kind == "own":
            record.append("0" if later else f"w{k}")
            continue
        lines.append(f"q{k} = a[o + {k}]")
        if not later:
            lines.append(f"p{k} = {followed(column.kind, k)}")
        record.append(f"{'q' if later else 'p'}{k}")
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
