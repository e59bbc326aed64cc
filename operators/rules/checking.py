"""Everything that is wrong with a text of rules, each with its place in the file."""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from operators.expressions import ExpressionError, Name, with_caret
from operators.features.plan import Plan
from operators.rules.places import Place, Table, rule_tables
from operators.rules.rule_set import Rule, RuleError, RuleSet, rule_of

AT = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)")


def known_name(name: str) -> Name:
    """What a name is in a flow that keeps it. Raises UnknownName where there can be none."""
    return Plan.of((name,), allowed_lateness=0).name(name)


class Problem(NamedTuple):
    """What is wrong, and where."""

    place: Place
    message: str

    def shown(self, name: str, text: str) -> str:
        """As compilers tell it: file, line, column, then the line with a caret."""
        lines = text.splitlines() or [""]
        line = lines[min(self.place.line, len(lines)) - 1]
        number = f"{self.place.line:>5}"
        column = len(line[: self.place.column - 1].expandtabs(4))
        part, caret = with_caret(line.expandtabs(4), column + 1).split("\n")
        where = f"{name}:{self.place.line}:{self.place.column}"
        return f"{where}: {self.message}\n{number} | {part}\n{' ' * len(number)} | {caret}"


class Checked(NamedTuple):
    """The rules that are right, and what is wrong with the others. A rule has one problem at a time."""

    rules: list[Rule]
    problems: list[Problem]


def check_rules(text: str) -> Checked:
    """Read, resolve and compile every rule by itself against every feature that there is."""
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # what is not TOML, a number of thousands of digits, endless nesting
        return Checked([], [_not_toml(text, error)])
    for name in document:
        if name != "rule":
            return Checked([], [Problem(_first(text, name), f"unknown table {name!r}: wanted [[rule]]")])
    tables = document.get("rule", [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        return Checked([], [Problem(_first(text, "rule"), "wanted [[rule]], one for each rule")])
    places = rule_tables(text)
    if len(places) != len(tables):  # written in a way that `rule_tables` does not follow, such as rule = [{ … }]
        places = [Table(1, {}) for _ in tables]
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
        text = Path(path).read_text(encoding="utf-8")
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
            return Problem(table.fields["when"].inside(cause.line, cause.column), message)
        message = str(error)  # with its own caret
    return Problem(table.of(error.field), message)


def _not_toml(text: str, error: Exception) -> Problem:
    at = AT.search(str(error))
    lines = text.splitlines() or [""]
    if at is None:
        return Problem(Place(1, 1), f"not TOML: {error}")
    place = Place(int(at[1]), int(at[2])) if at[1] else Place(len(lines), len(lines[-1]) + 1)
    return Problem(place, f"not TOML: {AT.sub('', str(error))}")


def _first(text: str, name: str) -> Place:
    """The line that first has the name of a table or a key at its beginning."""
    pattern = re.compile(rf"\s*\[*\s*{re.escape(name)}\b")
    return Place(next((n for n, line in enumerate(text.splitlines(), 1) if pattern.match(line)), 1), 1)
