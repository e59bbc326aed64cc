"""What the windows of all entities together should say, with derived fields and completed labels, in the plainest way.

Like `oracle.py`, on which it stands: every value is searched anew, expressions are walked node by node.
"""

import ast
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from operators.features.fields import Fields
from operators.features.labels import Labelled
from operators.features.meaning import STATELESS
from operators.features.names import ALIASES, LABELLED
from operators.transactions.records import Label, Transaction
from tests.oracle import in_units, label_value, value_in, value_of


class Known(NamedTuple):
    """A label that the windows have, and of what transaction where that is known."""

    label: Label
    event: Transaction | None


class FieldOracle:
    """All events of all entities, in the order in which they came, each with its derived fields as they were then."""

    def __init__(self, fields: Fields) -> None:
        self.fields = fields
        self.events: list[Transaction] = []
        self.derived: dict[int, dict[str, Any]] = {}
        self.told: list[Label] = []
        self.waiting: list[Label] = []
        self.completed: list[Known] = []

    def add(self, event: Transaction) -> None:
        """An event comes. Its derived fields are settled now, once and for all."""
        self.events.append(event)
        self.derived[id(event)] = {}
        for name in self.fields.specs:
            self.value(name, event)

    def label(self, labels: list[Label]) -> None:
        """Labels come: those whose event has come are complete, with those that waited for theirs."""
        self.told += labels
        self.waiting += labels
        for label in [*self.waiting]:
            same = (label.user_id, label.transaction_id)
            event = next((e for e in self.events if (e.user_id, e.transaction_id) == same), None)
            if event is not None:
                self.completed.append(Known(label, event))
                self.waiting.remove(label)

    def value(self, name: str, event: Transaction) -> Any:
        """The value of any name at one of the events."""
        if name in self.fields:
            settled = self.derived[id(event)]
            if name not in settled:
                settled[name] = self.evaluate(self.fields[name].expression.tree, event)
                if self.fields[name].type.kind == "number":
                    settled[name] = kept(settled[name])
            return settled[name]
        if name in STATELESS:
            return eval(STATELESS[name].code, {"t": event})
        feature = self.fields.feature(name)
        key = getattr(event, feature.key_field)
        if key is None:
            return None
        if feature.of_labels:
            return label_value(feature, event.event_time, self.labels_of(feature.entity, feature.field, key))
        same = [e for e in self.events if getattr(e, feature.key_field) == key]
        by_time = sorted(same, key=lambda e: e.event_time)
        past = by_time[: next(i for i, e in enumerate(by_time, 1) if e is event)]
        return value_of(feature, event, past, self.value_in)

    def value_in(self, event: Transaction, field: str) -> Any:
        """As windows store it."""
        if field not in self.fields:
            return value_in(event, field)
        value = self.value(field, event)
        return in_units(value) if self.fields[field].type.kind == "number" and value is not None else value

    def labels_of(self, entity: str, field: str | None, key: Any) -> list[Labelled]:
        """The labels that a feature is made of."""
        key_field = ALIASES.get(entity, entity)
        if field is None and entity in LABELLED:
            known = [Known(label, None) for label in self.told if getattr(label, key_field) == key]
        else:
            known = [one for one in self.completed if getattr(one.event, key_field) == key]
        if field is not None:
            known = [one for one in known if one.event is not None and self.value(field, one.event)]
        return [Labelled(key, one.label.is_fraud, one.label.arrives_at) for one in known]

    def evaluate(self, node: ast.expr, event: Transaction) -> Any:
        """The language of docs/rules.md, by its words on missing values."""
        match node:
            case ast.Name(id=name):
                return self.value(name, event)
            case ast.Constant(value=value):
                return value
            case ast.BoolOp(op=ast.And(), values=values):
                return all(self.evaluate(value, event) for value in values)
            case ast.BoolOp(values=values):
                return any(self.evaluate(value, event) for value in values)
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return not self.evaluate(operand, event)
            case ast.UnaryOp(op=op, operand=operand):
                value = self.evaluate(operand, event)
                return value if value is None or isinstance(op, ast.UAdd) else -value
            case ast.Call(func=ast.Name(id="missing"), args=[argument]):
                return self.evaluate(argument, event) is None
            case ast.Call(func=ast.Name(id=function), args=arguments):
                values = [self.evaluate(argument, event) for argument in arguments]
                return None if None in values else FUNCTIONS[function](*values)
            case ast.BinOp(left=left, op=op, right=right):
                a, b = self.evaluate(left, event), self.evaluate(right, event)
                return None if a is None or b is None else OPERATIONS[type(op)](a, b)
            case ast.Compare(left=left, ops=ops, comparators=comparators):
                values = [self.evaluate(left, event), *(self.evaluate(other, event) for other in comparators)]
                pairs = zip(values, ops, values[1:], strict=False)
                return all(a is not None and b is not None and COMPARISONS[type(op)](a, b) for a, op, b in pairs)
            case ast.Tuple(elts=elements):
                return tuple(self.evaluate(element, event) for element in elements)
        raise AssertionError(ast.dump(node))


def kept(value: float | None) -> float | None:
    """A derived number, as it is kept."""
    if value is None or not math.isfinite(value) or abs(value) >= 1e11:
        return None
    return float(in_units(value))


OPERATIONS: Mapping[type[ast.operator], Any] = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.Div: lambda a, b: a / b if b else None,
    ast.Mod: lambda a, b: a % b if b else None,
}
COMPARISONS: Mapping[type[ast.cmpop], Any] = {
    ast.Eq: lambda a, b: a == b,
    ast.NotEq: lambda a, b: a != b,
    ast.Lt: lambda a, b: a < b,
    ast.LtE: lambda a, b: a <= b,
    ast.Gt: lambda a, b: a > b,
    ast.GtE: lambda a, b: a >= b,
    ast.In: lambda a, b: a in b,
    ast.NotIn: lambda a, b: a not in b,
}
FUNCTIONS: Mapping[str, Any] = {
    "abs": abs,
    "min": min,
    "max": max,
    "round": round,
    "log": lambda a: math.log(a) if a > 0 else None,
    "sqrt": lambda a: math.sqrt(a) if a >= 0 else None,
}
