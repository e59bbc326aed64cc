"""Everything that is wrong with a text of rules, each with its place in the file."""

import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from operators.expressions import ExpressionError, Namespace
from operators.features.fields import FieldError, Fields, FieldSpec, field_of
from operators.features.passes import check_passes
from operators.features.plan import NO_FIELDS, known_in
from operators.files import Unreadable, read_text
from operators.places import Place, Problem, Table, not_toml, tables_of
from operators.rules.rule_set import Rule, RuleError, RuleSet, fields_of, rule_of

KINDS = ("rule", "field")

known_name: Namespace = known_in(NO_FIELDS)
"""What a name is in a flow without derived fields that keeps it. Raises UnknownName where there can be none."""


class Checked(NamedTuple):
    """The rules and the fields that are right, and what is wrong with the others, one problem at a time for each.
    `fields` are those from elsewhere too."""

    rules: list[Rule]
    problems: list[Problem]
    fields: Fields = NO_FIELDS


def check_rules(text: str, elsewhere: Sequence[FieldSpec] = ()) -> Checked:
    """Read, resolve and compile every rule and field by itself against every feature that there is. `elsewhere` are the
    derived fields that the model brings."""
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # what is not TOML, a number of thousands of digits, endless nesting
        return Checked([], [not_toml(text, error)])
    found: dict[str, list[tuple[Mapping[str, Any], Table]]] = {}
    for name in document:
        if name not in KINDS:
            return Checked([], [Problem(_first(text, name), f"unknown table {name!r}: wanted [[rule]] or [[field]]")])
    for kind in KINDS:
        tables = document.get(kind, [])
        if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
            return Checked([], [Problem(_first(text, kind), f"wanted [[{kind}]], one for each {kind}")])
        places = [table for table in tables_of(text) if table.name == kind]
        if len(places) != len(tables):  # written in a way that `tables_of` does not follow, such as rule = [{ … }]
            places = [Table(kind, 1, {}) for _ in tables]
        found[kind] = list(zip(tables, places, strict=True))
    fields, problems = _check_fields(found["field"], elsewhere)
    known = known_in(fields)
    rules: list[Rule] = []
    for number, (table, place) in enumerate(found["rule"], 1):
        try:
            rule = _checked(table, number, known)
        except RuleError as error:
            problems.append(_problem(error, place))
            continue
        if rule.id in {other.id for other in rules}:
            problems.append(Problem(place.of("id"), f"more than one rule has the id {rule.id!r}"))
        else:
            rules.append(rule)
    return Checked(rules, problems, fields)


def load_rules(path: str | Path, elsewhere: Sequence[FieldSpec] = ()) -> RuleSet:
    """The rules and derived fields of a file, each of which compiles by itself against every feature that there is;
    `elsewhere` are the fields that the model brings.

    Raises RuleError, which tells everything that is wrong with its place in the file.
    """
    try:
        text = read_text(path)
    except Unreadable as error:
        raise RuleError(str(error)) from error
    rules, problems, _ = check_rules(text, elsewhere)
    if problems:
        raise RuleError("\n".join(problem.shown(str(path), text) for problem in problems))
    own = fields_of(tomllib.loads(text).get("field", []))
    return RuleSet(rules, own)


def _check_fields(
    tables: Sequence[tuple[Mapping[str, Any], Table]], elsewhere: Sequence[FieldSpec]
) -> tuple[Fields, list[Problem]]:
    """The fields that are right, in the order in which each can be used by those behind it, and the problems."""
    read: list[tuple[FieldSpec, Table]] = []
    problems: list[Problem] = []
    for number, (table, place) in enumerate(tables, 1):
        try:
            spec = field_of(table, number)
        except FieldError as error:
            problems.append(_field_problem(error, place))
            continue
        if spec.name in {other.name for other, _ in read}:
            problems.append(Problem(place.of("name"), f"more than one field has the name {spec.name!r}"))
        else:
            read.append((spec, place))
    places = {spec.name: place for spec, place in read}
    specs = [*elsewhere, *(spec for spec, _ in read)]
    while True:
        try:
            fields = Fields(specs)
            check_passes(fields)
        except FieldError as error:
            if error.name in places:
                problems.append(_field_problem(error, places[error.name]))
            else:
                problems.append(Problem(Place(1, 1), f"{str(error).partition(chr(10))[0]}, in the model's file"))
            specs = [spec for spec in specs if spec.name != error.name]
            continue
        return fields, problems


def _field_problem(error: FieldError, table: Table) -> Problem:
    return _placed(str(error), error.__cause__, table, error.part)


def _checked(table: Mapping[str, Any], number: int, known: Namespace) -> Rule:
    rule = rule_of(table, f"rule {table.get('id', f'number {number}')!r}")
    RuleSet([rule]).compile(known)
    return rule


def _problem(error: RuleError, table: Table) -> Problem:
    return _placed(str(error), error.__cause__, table, error.field)


def _placed(told: str, cause: BaseException | None, table: Table, field: str) -> Problem:
    message = told.partition("\n")[0]
    if isinstance(cause, ExpressionError):
        if field in table.fields:
            message = message.removesuffix(f" (line {cause.line}, column {cause.column})")
            return Problem(table.of_expression(field, cause), message)
        message = told  # with its own caret
    return Problem(table.of(field), message)


def _first(text: str, name: str) -> Place:
    """The line that first has the name of a table or a key at its beginning."""
    pattern = re.compile(rf"\s*\[*\s*{re.escape(name)}\b")
    return Place(next((n for n, line in enumerate(text.splitlines(), 1) if pattern.match(line)), 1), 1)
