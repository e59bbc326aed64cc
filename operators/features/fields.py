"""Derived fields: what an expression says of a transaction at its event, which is then a field like any other.

    [[field]]
    name = "unusual"
    value = "amount > 2.5 * mean_amount_30d_before"

Rules and the model share one namespace of them. The meaning is docs/windows.md's.
"""

import ast
import re
from collections.abc import Iterable, Mapping
from functools import cached_property
from keyword import iskeyword
from typing import Final, NamedTuple

import msgspec

from operators.expressions import Expression, ExpressionError, Kind, Name, UnknownName, compile_source, parse
from operators.expressions.language import FUNCTIONS
from operators.features.meaning import STATELESS, Type, is_nullable, kind_of
from operators.features.names import Feature, parse_feature

NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,39}")
IN_FEATURES: Final = re.compile(r"by|before|ever|tumbling|last\d*|\d+[a-z]+")
"""Parts of a feature's name that a field's name must not have, or `sum_<field>_1h` could be read in two ways."""

MOST_FIELDS: Final = 100


class FieldError(ValueError):
    """A derived field that is refused; `name` is the field's, `part` (`name`, `value`) what is wrong of it."""

    def __init__(self, message: str, name: str = "", part: str = "name") -> None:
        super().__init__(message)
        self.name = name
        self.part = part


class FieldSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One `[[field]]`: a name, and an expression over the transaction, features and other derived fields."""

    name: str
    value: str


class Derived(NamedTuple):
    """A derived field, read and typed."""

    name: str
    expression: Expression
    type: Type


class Fields:
    """The derived fields of rules and model together, each once, in an order in which each follows what it needs.

    A number is kept to 1/10000; one that is not finite or beyond 1e11 is missing. Raises FieldError where a name can't
    be one, has two values, or stands in a circle, or an expression does not fit.
    """

    def __init__(self, specs: Iterable[FieldSpec] = ()) -> None:
        self.specs: dict[str, FieldSpec] = {}
        for spec in specs:
            check_field(spec)
            other = self.specs.setdefault(spec.name, spec)
            if ast.dump(parse(other.value).tree) != ast.dump(parse(spec.value).tree):
                both = f"{other.value!r} and {spec.value!r}"
                raise FieldError(f"field {spec.name!r} has two values, {both}: wanted one", spec.name, "value")
        if len(self.specs) > MOST_FIELDS:
            raise FieldError(
                f"{len(self.specs)} derived fields: at most {MOST_FIELDS} can be kept", next(iter(self.specs))
            )
        self._expressions = {name: parse(spec.value) for name, spec in self.specs.items()}
        self.kinds: dict[str, Kind] = {}
        for name in self.specs:
            self._find_kind(name, ())
        self._types: dict[str, Type] = {}
        for name in self.specs:
            self._find_type(name, ())

    def __contains__(self, name: object) -> bool:
        return name in self.specs

    def __getitem__(self, name: str) -> Derived:
        return Derived(name, self._expressions[name], self._types[name])

    @cached_property
    def types(self) -> Mapping[str, Type]:
        """In an order in which each follows those that its value at an event needs."""
        return dict(self._types)

    def feature(self, name: str) -> Feature:
        """The window feature of this name. Raises UnknownName."""
        return parse_feature(name, self.kinds)

    def meaning(self, name: str) -> Name:
        """What a name is, without its code. Raises UnknownName."""
        if known := STATELESS.get(name):
            return known
        if name in self.specs:
            return Name("None", *self._types[name])
        feature = self.feature(name)
        return Name("None", kind_of(feature, self.kinds), is_nullable(feature, self._types))

    @property
    def all(self) -> tuple[FieldSpec, ...]:
        """The definitions, each once."""
        return tuple(self.specs.values())

    def definition(self, name: str) -> str:
        """What the field's values are made by: its expression, and those of the fields in it."""
        found = {name}
        waiting = [name]
        while waiting:
            for used in self._expressions[waiting.pop()].names:
                field = used if used in self.specs or used in STATELESS else self.feature(used).field
                if field in self.specs and field not in found:
                    found.add(field)
                    waiting.append(field)
        return "; ".join(f"{field} = {ast.unparse(self._expressions[field].tree)}" for field in sorted(found))

    def needed_at_event(self, name: str) -> list[tuple[str, str]]:
        """The derived fields that must be known before this one at the same event, each with the name that asks."""
        needed = []
        for used in self._expressions[name].names:
            if used in self.specs:
                needed.append((used, used))
            elif used not in STATELESS:
                feature = self.feature(used)
                if feature.field in self.specs and feature.has_own_value:
                    needed.append((feature.field, used))
        return needed

    def _find_kind(self, name: str, path: tuple[str, ...]) -> Kind:
        if name in path:
            raise _circle(path, name, f"{name!r} is nothing but itself")
        if name not in self.kinds:
            self.kinds[name] = self._kind_of_node(self._expressions[name].tree, (*path, name))
        return self.kinds[name]

    def _kind_of_node(self, node: ast.expr, path: tuple[str, ...]) -> Kind:
        """By the outermost operation; whether the inner ones fit is seen when it is compiled."""
        match node:
            case ast.Constant(value=str()):
                return "text"
            case ast.BoolOp() | ast.Compare() | ast.UnaryOp(op=ast.Not()) | ast.Constant(value=bool()):
                return "boolean"
            case ast.Call(func=ast.Name(id="missing")):
                return "boolean"
            case ast.Name(id=used) if used in self.specs:
                return self._find_kind(used, path)
            case ast.Name(id=used) if used in STATELESS:
                return STATELESS[used].kind
            case ast.Name(id=used):
                try:
                    feature = parse_feature(used, dict.fromkeys(self.specs, "boolean"))
                except UnknownName:
                    return "number"  # refused when it is compiled
                if feature.aggregate == "last" and feature.field in self.specs:
                    return self._find_kind(feature.field, path)
                return kind_of(feature, {})
        return "number"

    def _find_type(self, name: str, path: tuple[str, ...]) -> None:
        if name in self._types:
            return
        try:
            for field, used in self.needed_at_event(name):
                if field in (*path, name):
                    asked = "itself" if field == used else f"{used!r}, which holds the event's own {field!r}"
                    hint = "" if field == used else f"; {used}_before leaves the event itself out"
                    raise _circle((*path, name), field, f"{name!r} needs {asked}{hint}")
                self._find_type(field, (*path, name))
        except UnknownName:
            pass  # told with its place below
        expression = self._expressions[name]
        try:
            found = compile_source(expression, self.meaning)
        except ExpressionError as error:
            raise FieldError(f"field {name!r}: {error}\n{error.caret()}", name, "value") from error
        self._types[name] = Type(found.kind, found.nullable or found.kind == "number")


def _circle(path: tuple[str, ...], name: str, why: str) -> FieldError:
    circle = " → ".join((*path[path.index(name) :], name))
    return FieldError(f"field {name!r} stands in a circle, {circle}: {why}", name, "value")


def field_of(table: Mapping[str, object], number: int) -> FieldSpec:
    """The field in the table of that number, from 1, of `[[field]]` tables. Raises FieldError."""
    name = table.get("name")
    where = f"field {name!r:.60}" if isinstance(name, str) else f"field number {number}"
    unknown = next((key for key in table if key not in FieldSpec.__struct_fields__), None)
    if unknown is not None:
        raise FieldError(f"{where}: unknown field {unknown!r:.60}; wanted `name` and `value`", str(name), unknown)
    for part in FieldSpec.__struct_fields__:
        if not isinstance(table.get(part), str):
            wanted = 'such as "unusual"' if part == "name" else 'such as "amount > 2.5 * mean_amount_30d_before"'
            raise FieldError(f"{where}: wanted `{part}`, a text {wanted}", str(name), part)
    spec = FieldSpec(str(name), str(table["value"]))
    check_field(spec)
    return spec


def check_field(spec: FieldSpec) -> None:
    """What can be told of a field by itself. Raises FieldError."""
    name = spec.name
    if not NAME.fullmatch(name):
        wanted = "wanted a small letter, then up to 39 small letters, digits and _"
        raise FieldError(f"field name {name!r:.60}: {wanted}", name)
    parts = [part for part in name.split("_") if IN_FEATURES.fullmatch(part)]
    if parts:
        raise FieldError(f"field name {name!r}: {parts[0]!r} is what windows are called by: wanted another word", name)
    if name in STATELESS or name in FUNCTIONS or iskeyword(name) or name == "list" or _is_feature(name):
        raise FieldError(f"field name {name!r}: that is a name of something else already", name)
    try:
        parse(spec.value)
    except ExpressionError as error:
        raise FieldError(f"field {name!r}: {error}\n{error.caret()}", name, "value") from error


def _is_feature(name: str) -> bool:
    try:
        parse_feature(name)
    except UnknownName:
        return False
    return True
