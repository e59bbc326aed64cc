"""The loop over a batch, written as Python source for one plan and compiled once.

An interpreter over features costs two to four times as much an event. Every name in the source comes from the tables in
names.py, never from input.
"""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from operators.features import aggregates
from operators.features.aggregates import UNIT
from operators.features.busy import BUSY_FROM
from operators.features.layout import (
    BASE,
    BASE_BITS,
    DROPPED,
    END,
    LIMIT,
    PLACE,
    SQUARE_BITS,
    Column,
    Layout,
    own_column,
)
from operators.features.logs import Logs
from operators.features.names import AMOUNTS, TEXTS, Feature, Window
from operators.transactions.records import Transaction

Row = tuple[Any, ...]


class Update(Protocol):
    """Adds a row for each transaction to `rows`, and the index of each that was too late to `late`."""

    def __call__(self, logs: Logs, transactions: Sequence[Transaction], rows: list[Row], late: list[int]) -> None: ...


NAMES: Final[dict[str, Callable[..., Any]]] = {
    function.__name__: function
    for function in (
        aggregates.units,
        aggregates.code_of,
        aggregates.place,
        aggregates.amount,
        aggregates.mean,
        aggregates.std,
        aggregates.least,
        aggregates.most,
        aggregates.distinct_ever,
        aggregates.is_new,
        aggregates.is_new_ever,
        aggregates.latest,
        aggregates.speed_kmh,
    )
}


def compile_update(layout: Layout) -> Update:
    """The loop for one plan."""
    namespace: dict[str, Any] = {**NAMES, "bisect_right": bisect_right}
    exec(compile(source_of(layout), f"<windows of {layout.plan.entity}>", "exec"), namespace)  # noqa: S102 - our own source
    update: Update = namespace["update"]
    return update


def source_of(layout: Layout) -> str:
    """The loop's source. `a` is a log, `e` the index of the event in it and `hi` the one after."""
    return _Writer(layout).source()


class _Writer:
    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.plan = layout.plan
        self.first = layout.first

    def source(self) -> str:
        plan, layout = self.plan, self.layout
        nullable = {**TEXTS, **AMOUNTS}[plan.field]
        record = "".join(f"w{k}, " for k in range(1, len(layout.columns) + 1))
        lines = [
            "def update(logs, transactions, rows, late):",
            "    get, ids, intern, append = logs.young.get, logs.ids.get, logs.intern, rows.append",
            "    texts, seen, place_event = logs.texts, logs.seen.get, logs.place",
            "    counter, extreme = logs.counter, logs.extreme",
            "    rotate_at = logs.rotate_at",
            "    for t in transactions:",
            f"        key = t.{plan.field}",
            *(
                [f"        if key is None:\n            append({self.nothing()})\n            continue"]
                if nullable
                else []
            ),
            "        now = t.event_time",
            "        if rotate_at is None or now >= rotate_at:",
            "            logs.rotate(now)",
            "            get, rotate_at = logs.young.get, logs.rotate_at",
            "        a = get(key)",
            "        if a is None:",
            "            a = logs.open(key, now)",
            *(f"        {line}" for line in self.values()),
            f"        e = a[{END}]",
            f"        at = now - (a[{BASE}] << {BASE_BITS})",
            f"        hi = a[{LIMIT}]",
            *(f"        {line}" for line in self.shifts("hi")),
            "        if a[e - 1] <= at and e < hi:",
            "            try:",
            *(f"                {line}" for line in self.append()),
            "            except OverflowError:",
            "                hi = 0",
            "        else:",
            "            hi = 0",
            "        if not hi:",
            f"            a, hi = place_event(key, a, now, ({record}))",
            f"            at = now - (a[{BASE}] << {BASE_BITS})",
            *(f"            {line}" for line in self.shifts(f"a[{LIMIT}]")),
            *(["        o = hi - 1"] if any(feature.before for feature in plan.features) else []),
            f"        newest = a[{END}]",
            "        if hi == newest:",
            *(f"            {line}" for line in [*self.heads(), *self.last_events(), *self.busy_values(), "pass"]),
            "        else:",
            *(f"            {line}" for line in [*self.bisections(), *self.last_events(), *self.plain_values()]),
            f"            if at < a[newest - 1] - {plan.allowed_lateness}:",
            "                late.append(len(rows))",
            f"        append(({''.join(f'{self.in_row(n)}, ' for n in range(len(plan.features)))}))",
        ]
        return "\n".join(lines) + "\n"

    def nothing(self) -> str:
        return f"({'None, ' * len(self.plan.features)})"

    def values(self) -> list[str]:
        """What the event puts into each column."""
        lines = []
        for field in dict.fromkeys(c.field for c in self.layout.columns if c.field in AMOUNTS):
            if AMOUNTS[field]:
                lines.append(f"u_{field} = units(t.{field})")
            else:
                lines.append(f"u_{field} = round(t.{field} * {UNIT})")
        for k, column in enumerate(self.layout.columns, 1):
            number = f"u_{column.field}"
            if AMOUNTS.get(column.field) and column.kind == "sum":
                number = f"({number} or 0)"
            if column.kind == "carry":
                lines.append(f"w{k} = w{self.layout.index(column._replace(kind='own'))}")
            elif column.kind == "carry_time":
                lines.append(f"w{k} = 0")
            elif column.content == "id":
                lines += [f"w{k} = ids(t.{column.field})", f"if w{k} is None: w{k} = intern(t.{column.field})"]
            elif column.content == PLACE:
                lines.append(f"w{k} = place(t.latitude, t.longitude)")
            else:
                contents = {
                    "amount": number,
                    "known": f"0 if u_{column.field} is None else 1",
                    "low": f"{number} * {number} & {(1 << SQUARE_BITS) - 1}",
                    "high": f"{number} * {number} >> {SQUARE_BITS}",
                    "value": f"code_of({number})" if AMOUNTS[column.field] else f"{number} + 1",
                }
                lines.append(f"w{k} = {contents[column.content]}")
        return lines

    def shifts(self, limit: str) -> list[str]:
        """From an index into the times to one into each column."""
        return [f"s1 = {limit} - {self.first}"] + [
            f"s{k} = s{k - 1} + s1 + 1" for k in range(2, len(self.layout.columns) + 1)
        ]

    def append(self) -> list[str]:
        """Enter the event at the end; it counts from the moment that the end moves."""
        lines = ["hi = e + 1", "a[e] = at"]
        for k, column in enumerate(self.layout.columns, 1):
            if column.kind == "sum":
                lines.append(f"a[hi + s{k}] = a[e + s{k}] + w{k}")
            elif column.kind == "own":
                lines.append(f"a[e + s{k}] = w{k}")
            elif column.kind == "carry_time":
                lines.append(f"a[hi + s{k}] = at if w{k + 1} else a[e + s{k}]")
            else:
                lines.append(f"a[hi + s{k}] = w{k} or a[e + s{k}]")
        return [*lines, f"a[{END}] = hi"]

    def limit(self, window: Window) -> str:
        """The latest time that is too old for the window."""
        return f"at - {window.length}" if window.kind == "trailing" else f"at - now % {window.length} - 1"

    def heads(self) -> list[str]:
        """Move where each window begins, for the latest event: a step or two, else a search."""
        lines = []
        for slot in self.layout.head_slots.values():
            window = next(window for window, s in self.layout.head_slots.items() if s == slot)
            lines += [
                f"h{slot} = a[{slot}]",
                f"b{slot} = {self.limit(window)}",
                f"if a[h{slot}] <= b{slot}:",
                f"    h{slot} += 1",
                f"    if a[h{slot}] <= b{slot}: h{slot} = bisect_right(a, b{slot}, h{slot} + 1, hi)",
                f"    a[{slot}] = h{slot}",
            ]
        return lines

    def bisections(self) -> list[str]:
        """The same for an event that came after a later one: the stored heads are not its own."""
        lines = []
        for window, slot in self.layout.head_slots.items():
            lines += [f"b{slot} = {self.limit(window)}", f"h{slot} = bisect_right(a, b{slot}, {self.first}, hi)"]
        return lines

    def last_events(self) -> list[str]:
        lasts = {(f.window.length, f.before) for f in self.plan.features if f.window and f.window.kind == "last"}
        return [
            f"{_last(length, before)} = max({'o' if before else 'hi'} - {length}, {self.first})"
            for length, before in sorted(lasts)
        ]

    def in_row(self, number: int) -> str:
        feature = self.plan.features[number]
        return f"v{number}" if _grows(feature) else self.value(feature)

    def plain_values(self) -> list[str]:
        """Values that cost a look at each event of the window, for an event that is not the latest."""
        return [f"v{n} = {self.value(feature)}" for n, feature in enumerate(self.plan.features) if _grows(feature)]

    def busy_values(self) -> list[str]:
        """The same for the latest event, with what is kept beside the log where its window is long."""
        lines = []
        for number, feature in enumerate(self.plan.features):
            if not _grows(feature):
                continue
            assert feature.window is not None
            assert feature.field is not None
            lo, hi = self.low(feature), "o" if feature.before else "hi"
            own = self.layout.index(own_column(feature.field))
            window = f"a, s{own}, {lo}, {hi}"
            if feature.aggregate in ("min", "max"):
                sign = 1 if feature.aggregate == "min" else -1
                busy = f"amount(extreme(key, {number}, {own}, {sign}).value({window}))"
            elif feature.aggregate == "distinct":
                busy = f"counter(key, {number}, {own}).distinct({window})"
            else:
                busy = f"not counter(key, {number}, {own}).has({window}, w{own}) if w{own} else None"
            lines += [
                f"if {hi} - {lo} > {BUSY_FROM}:",
                f"    v{number} = {busy}",
                "else:",
                f"    v{number} = {self.value(feature)}",
            ]
        return lines

    def low(self, feature: Feature) -> str:
        """Where the feature's window begins."""
        window = feature.window
        assert window is not None
        if window.kind == "last":
            return _last(window.length, feature.before)
        return str(self.first) if window.kind == "ever" else f"h{self.layout.head_slots[window]}"

    def value(self, feature: Feature) -> str:
        """The expression of a feature's value."""
        layout, field, window = self.layout, feature.field, feature.window
        hi = "o" if feature.before else "hi"
        if feature.aggregate == "seconds_since_last":
            return f"((at - a[o - 1]) / 1000 if o > {self.first} else None)"
        if feature.aggregate == "speed_kmh":
            own, times, places = (layout.index(Column(k, PLACE, PLACE)) for k in ("own", "carry_time", "carry"))
            return f"speed_kmh(w{own}, a[o + s{places}], at - a[o + s{times}])"
        assert window is not None
        ever = window.kind == "ever"
        lo = self.low(feature)
        events = f"(a[{DROPPED}] + {hi} - {self.first})" if ever else f"({hi} - {lo})"

        def difference(content: str) -> str:
            shift = f"s{layout.index(Column('sum', content, field or ''))}"
            return f"a[{hi} + {shift}]" if ever else f"(a[{hi} + {shift}] - a[{lo} + {shift}])"

        if feature.aggregate == "count":
            return events
        assert field is not None
        nullable = {**TEXTS, **AMOUNTS}[field]
        if feature.aggregate == "sum":
            return f"{difference('amount')} / {UNIT}"
        if feature.aggregate in ("mean", "std"):
            known = difference("known") if nullable else events
            if feature.aggregate == "std":
                return f"std({known}, {difference('amount')}, {difference('low')}, {difference('high')})"
            if nullable or feature.before:
                return f"mean({difference('amount')}, {known})"
            return f"{difference('amount')} / ({UNIT} * {known})"
        own = layout.index(own_column(field))
        values = f"a[{lo} + s{own}:{hi} + s{own}]"
        if feature.aggregate in ("min", "max"):
            if ever:
                slot = layout.extreme_slots[feature.aggregate, field]
                return f"{'least' if feature.aggregate == 'min' else 'most'}((a[{slot}], *{values}))"
            if nullable or feature.before:
                return f"{'least' if feature.aggregate == 'min' else 'most'}({values})"
            return f"({feature.aggregate}({values}) - 1) / {UNIT}"
        if feature.aggregate == "last":
            return self.last_value(feature, values, hi)
        if ever:
            number = layout.seen.index(own_column(field))
            if feature.aggregate == "distinct":
                return f"distinct_ever({values}, seen(key), {number})"
            return f"is_new_ever(w{own}, {values}, seen(key), {number})"
        if feature.aggregate == "distinct":
            return f"(len(d := set({values})) - (0 in d))" if nullable else f"len(set({values}))"
        return f"is_new(w{own}, {values})"

    def last_value(self, feature: Feature, values: str, hi: str) -> str:
        assert feature.field is not None
        assert feature.window is not None
        own = own_column(feature.field)
        if feature.window.kind == "last":
            value = f"latest({values})"
        else:
            times, value_of = (self.layout.index(own._replace(kind=kind)) for kind in ("carry_time", "carry"))
            value = f"a[{hi} + s{value_of}]"
            if feature.window.kind != "ever":
                value = f"({value} if a[{hi} + s{times}] > b{self.layout.head_slots[feature.window]} else 0)"
        return f"texts.get({value})" if feature.field in TEXTS else f"amount({value})"


def _grows(feature: Feature) -> bool:
    """Whether the plain way to the value looks at every event of the window."""
    if feature.window is None or feature.window.kind == "ever":
        return False
    return feature.aggregate in ("min", "max", "distinct", "is_new")


def _last(length: int, before: bool) -> str:
    return f"l{length}{'b' if before else ''}"
