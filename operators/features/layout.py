"""How the events of one key lie in one array: a header, then a record for each event, the oldest first.

    trim at, dropped, extremes…, found…, heads… | time, column 1, column 2, … | time, column 1, column 2, … | …

One array, not an object an event: at a million keys the cost of an event is its cache misses. The first record is no
event: it holds 0, or what the last dropped event left, and sums and carried values go on from there. A head is the
place of the last record that is too old for its window, so that what a window holds is a difference of two records.

Times are relative to the group's base and amounts whole units of 1/10000, so that most logs fit into 32 bits ("I"); one
that does not is "q". Columns are of three kinds:

- own: a value of each event; 0 where it is missing.
- sum: the sum up to each event.
- carry: the last known value up to each event, and (carry_time) its time.
"""

from array import array
from collections.abc import Iterable
from typing import Final, Literal, NamedTuple, TypeAlias

from operators.features.names import AMOUNTS, Feature, Window
from operators.features.pages import Pages
from operators.features.plan import EntityPlan

TRIM_AT: Final = 0
DROPPED: Final = 1
FIXED_SLOTS: Final = 2
SQUARES: Final = ("square_low", "square_middle", "square_high")
SQUARE_BITS: Final = 22
"""Squares are kept as three columns of sums: 22 bits, the next 22, the rest (1e9 squared, in units, has 87 bits). So a
log of usual amounts fits into 32 bits: in two columns it did not, and took 1.7 times the room."""

PLACE: Final = "place"
Kind = Literal["own", "sum", "carry_time", "carry"]
Log: TypeAlias = "array[int] | Pages"


class Column(NamedTuple):
    """One column: what it holds (`amount`, `known`, one of `SQUARES`, `value`, `id`, `place`) of which field."""

    kind: Kind
    content: str
    field: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.content}:{self.field}"


ID_HASHES: Final = (Column("own", "hash_low", "transaction_id"), Column("own", "hash_high", "transaction_id"))
"""What a transaction is known by: the halves of a hash of its id and amount, which lie beside each other. Events from
before they were kept have 0 in both."""


def repeats_window(plan: EntityPlan) -> Window:
    """The events that one may repeat: no further back than the allowed lateness."""
    return Window("trailing", plan.allowed_lateness + 1)


class Found(NamedTuple):
    """Where in the log the extreme of a window was found, so that it is not searched again at every event."""

    aggregate: str
    field: str
    window: Window
    before: bool


class Layout:
    """Where everything lies, for one plan."""

    def __init__(self, plan: EntityPlan) -> None:
        self.plan = plan
        columns = dict.fromkeys([Column("sum", "amount", "amount")])  # always there: a new rule finds its sums
        windows: dict[Window, None] = {}
        extremes: dict[tuple[str, str], None] = {}
        found: dict[Found, None] = {}
        seen: dict[Column, None] = {}
        events = [feature for feature in plan.features if not feature.of_labels]
        for feature in events:
            columns.update(dict.fromkeys(columns_of(feature, plan)))
            window, field = feature.window, feature.field
            if window is None:
                continue
            if window.kind in ("trailing", "tumbling"):
                windows[window] = None
            if field and feature.aggregate in ("min", "max"):
                found[Found(feature.aggregate, field, window, feature.before)] = None
                if window.kind == "ever":
                    extremes[feature.aggregate, field] = None
            if field and window.kind == "ever" and feature.aggregate in ("distinct", "is_new"):
                seen[own_column(field, plan)] = None
        if plan.repeats:
            columns.update(dict.fromkeys(ID_HASHES))
            windows[repeats_window(plan)] = None
        self.columns: tuple[Column, ...] = tuple(columns)
        self.size = 1 + len(columns)
        self.ever = any(f.window and f.window.kind == "ever" for f in events)
        self.seen = tuple(seen)
        """Columns whose values before the log must be remembered."""
        self.extreme_slots = {extreme: slot for slot, extreme in enumerate(extremes, FIXED_SLOTS)}
        self.found_slots = {key: slot for slot, key in enumerate(found, FIXED_SLOTS + len(extremes))}
        self.head_slots = {
            window: slot for slot, window in enumerate(windows, FIXED_SLOTS + len(extremes) + len(self.found_slots))
        }
        self.first = FIXED_SLOTS + len(extremes) + len(found) + len(windows)
        """The place of the first record, which is no event."""

    def index(self, column: Column) -> int:
        """The place of a column in a record."""
        return self.columns.index(column) + 1

    def own(self, field: str) -> Column:
        """The column of the field's own values."""
        return own_column(field, self.plan)

    def of_field(self, field: str) -> list[int]:
        """The places of all columns of a field."""
        return [k for k, column in enumerate(self.columns, 1) if column.field == field]

    def ids(self) -> list[int]:
        """The places of the columns that hold ids of texts."""
        return [k for k, column in enumerate(self.columns, 1) if column.content == "id" and column.kind != "carry_time"]

    def sums(self) -> list[int]:
        """The places of the columns of sums."""
        return [k for k, column in enumerate(self.columns, 1) if column.kind == "sum"]

    def entries(self, log: Log, k: int) -> "array[int]":
        """A column of all records, the first one too; 0 is the times."""
        return log[self.first + k :: self.size]


def log_of(header: Iterable[int], columns: list[list[int]]) -> "array[int]":
    """A log with this header and these columns (times first), narrow where all fits."""
    header = list(header)
    records = [entry for record in zip(*columns, strict=True) for entry in record]
    try:
        return array("I", [*header, *records])
    except OverflowError:
        return array("q", [*header, *records])


def own_column(field: str, plan: EntityPlan) -> Column:
    """The column of the field's own values: ids of texts, codes of amounts."""
    return Column("own", "id" if plan.is_text(field) else "value", field)


def code(units: int) -> int:
    """An amount as an own value, where 0 means missing. Keeps the order."""
    return units + 1 if units >= 0 else units


def decode(number: int) -> int:
    """The amount that `code` was made of."""
    return number - 1 if number > 0 else number


def square_part(content: str, square: int) -> int:
    """What goes into one of the columns `SQUARES`."""
    shifted = square >> SQUARE_BITS * SQUARES.index(content)
    return shifted if content == SQUARES[-1] else shifted & ((1 << SQUARE_BITS) - 1)


def reach(window: Window, now: int) -> int:
    """How far before `now` (milliseconds) the last event lies that is too old for the window."""
    return window.length if window.kind == "trailing" else now % window.length + 1


def columns_of(feature: Feature, plan: EntityPlan) -> list[Column]:
    """The columns that the feature's value is made of."""
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
        if plan.can_lack(field) and (aggregate != "sum" or field in AMOUNTS):
            columns.append(Column("sum", "known", field))
        if aggregate == "std":
            columns += [Column("sum", content, field) for content in SQUARES]
        return columns
    own = own_column(field, plan)
    if aggregate == "last":
        return [own, Column("carry_time", own.content, field), Column("carry", own.content, field)]
    return [own]
