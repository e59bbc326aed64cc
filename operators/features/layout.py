"""How the events of one key lie in one array: a header, the times, then a column for each thing that features ask of.

    [ end, limit, base, dropped, extremes…, heads…, 0 | times | column 1 | column 2 | … ]

One array, not an object an event: at a million keys the cost of an event is its cache misses. Every column has room for
`limit - first` events. `end` and the heads are indexes into the times, so that a bisection runs in C and the value of
column k for the event at `i` is found at `i + shift`, `shift = k * capacity + k - 1`. Times are relative to
`base << BASE_BITS` and amounts whole units of 1/10000, so that most logs fit into 32 bits ("I"); one that does not is "q".

Columns are of three kinds:

- own: a value of each event; 0 where it is missing.
- sum: prefix sums. They have an entry more than there are events: the sum of a window is a difference of two.
- carry: the last known value up to each event, and (carry_time) its time; an entry more, like sums.
"""

from array import array
from typing import Final, Literal, NamedTuple, TypeAlias

from operators.features.names import AMOUNTS, TEXTS, Feature, Window
from operators.features.plan import EntityPlan

END: Final = 0
LIMIT: Final = 1
BASE: Final = 2
DROPPED: Final = 3
FIXED_SLOTS: Final = 4
BASE_BITS: Final = 20
SQUARE_BITS: Final = 43
"""Squares are kept as two columns of sums, the low bits and the rest: 1e9 squared, in units, has 87 bits."""

PLACE: Final = "place"
Kind = Literal["own", "sum", "carry_time", "carry"]
Log: TypeAlias = "array[int]"


class Column(NamedTuple):
    """One column: what it holds (`amount`, `known`, `low`, `high`, `value`, `id`, `place`) of which field."""

    kind: Kind
    content: str
    field: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.content}:{self.field}"


class Layout:
    """Where everything lies, for one plan."""

    def __init__(self, plan: EntityPlan) -> None:
        self.plan = plan
        columns = dict.fromkeys([Column("sum", "amount", "amount")])  # always there: a new rule finds its sums
        windows: dict[Window, None] = {}
        extremes: dict[tuple[str, str], None] = {}
        for feature in plan.features:
            columns.update(dict.fromkeys(_columns(feature)))
            window = feature.window
            if window and window.kind in ("trailing", "tumbling"):
                windows[window] = None
            if window and window.kind == "ever" and feature.aggregate in ("min", "max") and feature.field:
                extremes[feature.aggregate, feature.field] = None
        self.columns: tuple[Column, ...] = tuple(columns)
        self.ever = any(f.window and f.window.kind == "ever" for f in plan.features)
        self.seen = tuple(  # own columns whose values before the log must be remembered
            dict.fromkeys(
                own_column(f.field)
                for f in plan.features
                if f.window and f.window.kind == "ever" and f.aggregate in ("distinct", "is_new") and f.field
            )
        )
        self.extreme_slots = {extreme: FIXED_SLOTS + i for i, extreme in enumerate(extremes)}
        self.head_slots = {window: FIXED_SLOTS + len(extremes) + i for i, window in enumerate(windows)}
        # The 0 before the times lets "at least the latest time" hold for the first event without asking.
        self.first = FIXED_SLOTS + len(extremes) + len(windows) + 1

    def index(self, column: Column) -> int:
        """The number of a column, from 1."""
        return self.columns.index(column) + 1

    def ids(self) -> list[int]:
        """The numbers of the columns that hold ids of texts."""
        return [k for k, column in enumerate(self.columns, 1) if column.content == "id" and column.kind != "carry_time"]


def own_column(field: str) -> Column:
    """The column of the field's own values: ids of texts, codes of amounts."""
    return Column("own", "id" if field in TEXTS else "value", field)


def code(units: int) -> int:
    """An amount as an own value, where 0 means missing. Keeps the order."""
    return units + 1 if units >= 0 else units


def decode(number: int) -> int:
    """The amount that `code` was made of."""
    return number - 1 if number > 0 else number


def _columns(feature: Feature) -> list[Column]:
    field, aggregate = feature.field, feature.aggregate
    if aggregate == "speed_kmh":
        return [
            Column("own", PLACE, PLACE),
            Column("carry_time", PLACE, PLACE),
            Column("carry", PLACE, PLACE),
        ]
    if field is None:
        return []
    if aggregate in ("sum", "mean", "std"):
        columns = [Column("sum", "amount", field)]
        if AMOUNTS[field]:
            columns.append(Column("sum", "known", field))
        if aggregate == "std":
            columns += [Column("sum", "low", field), Column("sum", "high", field)]
        return columns
    own = own_column(field)
    if aggregate == "last":
        return [own, Column("carry_time", own.content, field), Column("carry", own.content, field)]
    return [own]
