"""The source of what an event puts into each column. For the names in it see generate.py."""

from collections.abc import Iterable
from typing import Final

from operators.features.aggregates import UNIT
from operators.features.layout import ID_HASHES, PLACE, SQUARE_BITS, Layout
from operators.features.names import AMOUNTS
from operators.features.plan import EntityPlan

LOW_BITS: Final = (1 << SQUARE_BITS) - 1


def entered(layout: Layout) -> list[str]:
    """Lines for the columns of what is known when the event comes: the transaction's fields, and the given ones."""
    computed = {derived.name for derived in layout.plan.derived}
    columns = {k: column for k, column in enumerate(layout.columns, 1) if column.field not in computed}
    lines = _units(layout.plan, (column.field for column in columns.values()))
    for k in columns:
        lines += _entry(layout, k)
    return lines


def computed(layout: Layout, field: str) -> list[str]:
    """Lines for the columns of a derived field once its value is in `x_<field>`, and their places in the log's last
    record, which holds what the columns had before."""
    places = layout.of_field(field)
    lines = _units(layout.plan, [field] if places else [], f"x_{field}")
    for k in places:
        lines += _entry(layout, k, f"x_{field}")
    for k in places:
        kind = layout.columns[k - 1].kind
        if kind == "own":
            lines.append(f"a[e + {k}] = w{k}")
        else:
            lines += [f"p{k} = {followed(kind, k)}", f"a[e + {k}] = p{k}"]
    return lines


def followed(kind: str, k: int) -> str:
    """What column `k` has with the event."""
    return {"sum": f"q{k} + w{k}", "carry": f"w{k} or q{k}", "carry_time": f"at if w{k + 1} else q{k}"}[kind]


def _units(plan: EntityPlan, fields: Iterable[str], value: str | None = None) -> list[str]:
    """Each field of amounts in units, and each that is true or false."""
    numbers = (field for field in fields if field in AMOUNTS or (field in plan.types and not plan.is_text(field)))
    return [f"u_{field} = {_in_units(plan, field, value)}" for field in dict.fromkeys(numbers)]


def _in_units(plan: EntityPlan, field: str, value: str | None) -> str:
    value = value or _raw(plan, field)
    if field in AMOUNTS:
        return f"units({value})" if AMOUNTS[field] else f"round({value} * {UNIT})"
    if plan.types[field].kind == "number":
        return f"units({value})"
    number = f"{UNIT} if {value} else 0"
    return f"None if {value} is None else {number}" if plan.types[field].nullable else number


def _raw(plan: EntityPlan, field: str) -> str:
    """A field's value when the event comes."""
    return plan.given[field].code if field in plan.types else f"t.{field}"


def _entry(layout: Layout, k: int, value: str | None = None) -> list[str]:
    plan, column = layout.plan, layout.columns[k - 1]
    field = column.field
    missing = AMOUNTS[field] if field in AMOUNTS else field in plan.types and plan.types[field].nullable
    number = f"u_{field}"
    if missing and column.kind == "sum":
        number = f"({number} or 0)"
    if column.kind == "carry":
        return [f"w{k} = w{layout.index(column._replace(kind='own'))}"]
    if column.kind == "carry_time":
        return [f"w{k} = 0"]
    if column.content == "id":
        text = value or _raw(plan, field)
        return [f"w{k} = ids({text})", f"if w{k} is None: w{k} = intern({text})"]
    if column == ID_HASHES[0]:
        # The amount too, so that a payment can't hide behind the id of a small one.
        known_by = 'f"{t.transaction_id}\\0{u_amount}".encode()'
        return [f"w{k}, w{k + 1} = halves(blake2b({known_by}, digest_size=8).digest())"]
    if column == ID_HASHES[1]:
        return []
    if column.content == PLACE:
        return [f"w{k} = place(t.latitude, t.longitude)"]
    contents = {
        "amount": number,
        "known": f"0 if u_{field} is None else 1",
        "square_low": f"(s_{field} := {number} * {number}) & {LOW_BITS}",
        "square_middle": f"s_{field} >> {SQUARE_BITS} & {LOW_BITS}",
        "square_high": f"s_{field} >> {2 * SQUARE_BITS}",
        "value": f"code_of({number})" if missing else f"{number} + 1",
    }
    return [f"w{k} = {contents[column.content]}"]
