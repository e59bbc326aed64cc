"""Everything that is wrong with a text of rules, each with its place in the file."""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from operators.expressions import ExpressionError, Name
from operators.features.plan import Plan
from operators.files import TooLarge, read_text
from operators.places import Place, Problem, Table, not_toml, tables_of
from operators.rules.rule_set import Rule, RuleError, RuleSet, rule_of


def known_name(name: str) -> Name:
    """What a name is in a flow that keeps it. Raises UnknownName where there can be none."""
    return Plan.of((name,), allowed_lateness=0).name(name)


class Checked(NamedTuple):
    """The rules that are right, and what is wrong with the others. A rule has one problem at a time."""

    rules: list[Rule]
    problems: list[Problem]


def check_rules(text: str) -> Checked:
    """Read, resolve and compile every rule by itself against every feature that there is."""
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # what is not TOML, a number of thousands of digits, endless nesting
        return Checked([], [not_toml(text, error)])
    for name in document:
        if name != "rule":
            return Checked([], [Problem(_first(text, name), f"unknown table {name!r}: wanted [[rule]]")])
    tables = document.get("rule", [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        return Checked([], [Problem(_first(text, "rule"), "wanted [[rule]], one for each rule")])
    places = [table for table in tables_of(text) if table.name == "rule"]
    if len(places) != len(tables):  # written in a way that `tables_of` does not follow, such as rule = [{ … }]
        places = [Table("rule", 1, {}) for _ in tables]
    rules: list[Rule] = []
    problems: list[Problem] = []
    for number, (table, place) in enumerate(zip(tables, places, strict=True), 1):
        try:
            rule = _checked(table, number)
        except RuleError as error:
            problems.append(_problem(error, place))
            continue
        if rule.id in {other.id for other in rules}:
            problems.append(Problem(place.of("id"), f"more than one rule has the id {rule.id!r}"))
        else:
            rules.append(rule)
    return Checked(rules, problems)


def load_rules(path: str | Path) -> RuleSet:
    """The rules of a file, each of which compiles by itself against every feature that there is.

    Raises RuleError, which tells everything that is wrong with its place in the file.
    """
    try:
        text = read_text(path)
    except TooLarge as error:
        raise RuleError(f"{path}: {error}") from error
    except OSError as error:
        raise RuleError(f"{path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise RuleError(f"{path}: not a text file: rules are TOML in UTF-8") from error
    rules, problems = check_rules(text)
    if problems:
        raise RuleError("\n".join(problem.shown(str(path), text) for problem in problems))
    return RuleSet(rules)


def _checked(table: Mapping[str, Any], number: int) -> Rule:
    rule = rule_of(table, f"rule {table.get('id', f'number {number}')!r}")
    RuleSet([rule]).compile(known_name)
    return rule


def _problem(error: RuleError, table: Table) -> Problem:
    cause = error.__cause__
    message = str(error).partition("\n")[0]
    if isinstance(cause, ExpressionError):
        if "when" in table.fields:
            message = message.removesuffix(f" (line {cause.line}, column {cause.column})")
            return Problem(table.of_expression("when", cause), message)
        message = str(error)  # with its own caret
    return Problem(table.of(error.field), message)


def _first(text: str, name: str) -> Place:
    """The line that first has the name of a table or a key at its beginning."""
    pattern = re.compile(rf"\s*\[*\s*{re.escape(name)}\b")
    return Place(next((n for n, line in enumerate(text.splitlines(), 1) if pattern.match(line)), 1), 1)
