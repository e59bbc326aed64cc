"""Rules as a fraud team writes them, and a set of them compiled into one function."""

import difflib
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

from operators.durations import parse_duration
from operators.expressions import GLOBALS, ExpressionError, Namespace, UnknownName, compile_condition, parse
from operators.transactions.records import Transaction

Severity = Literal["low", "medium", "high", "critical"]
Verdict = Literal["review", "block"]
SEVERITIES: tuple[Severity, ...] = ("low", "medium", "high", "critical")

PLACEHOLDER = re.compile(r"\{(\w+)\}")
ID = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")

Row = tuple[Any, ...]
Evidence = dict[str, Any]


class RuleError(ValueError):
    """A rule that is refused; the text names the rule, what is wrong and where."""


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One rule. `when` is an expression of `operators.expressions`; `message` may name features in braces."""

    id: str
    when: str
    version: int = 1
    severity: Severity = "medium"
    decision: Verdict = "review"
    cooldown: str = "0s"
    message: str = ""
    mode: Literal["active", "shadow"] = "active"

    @property
    def cooldown_ms(self) -> int:
        return parse_duration(self.cooldown)

    @property
    def names(self) -> tuple[str, ...]:
        """The fields and features that the rule uses: its evidence, in their order of appearance."""
        return tuple(dict.fromkeys((*parse(self.when).names, *PLACEHOLDER.findall(self.message))))


class RuleSet:
    """A checked set of rules. `names` are the features to keep for it; `compile` makes it run."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        for rule in rules:
            if not ID.fullmatch(rule.id):
                raise RuleError(f"rule id {rule.id!r}: wanted a letter, then up to 63 letters, digits, _ . or -")
            try:
                parse(rule.when)
                parse_duration(rule.cooldown)
            except ExpressionError as error:
                raise RuleError(_refusal(rule, error)) from error
            except ValueError as error:
                raise RuleError(f"rule {rule.id!r}: cooldown: {error}") from error
        doubled = sorted({rule.id for rule in rules if sum(rule.id == other.id for other in rules) > 1})
        if doubled:
            raise RuleError(f"more than one rule has the id {doubled[0]!r}")
        self.rules = tuple(rules)
        self.names = tuple(dict.fromkeys(name for rule in rules for name in rule.names))

    def compile(self, namespace: Namespace) -> "CompiledRules":
        """Compile against the known features; raises RuleError with the place of what is wrong."""
        return CompiledRules(self, namespace)


class CompiledRules:
    """All rules of a set as one generated function over a batch.

    A rule costs one inlined condition per event. The source is written from checked expressions only.
    """

    def __init__(self, rule_set: RuleSet, namespace: Namespace) -> None:
        self.rules = rule_set.rules
        lines = ["def evaluate(transactions, rows):", "    hits = []", "    hit = hits.append", "    i = 0"]
        lines.append("    for t, f in _zip(transactions, rows):")
        evidence = []
        for index, rule in enumerate(self.rules):
            try:
                lines.append(f"        if {compile_condition(parse(rule.when), namespace)}: hit((i, {index}))")
            except ExpressionError as error:
                raise RuleError(_refusal(rule, error)) from error
            try:
                items = ", ".join(f"{name!r}: {namespace(name).code}" for name in rule.names)
            except UnknownName as error:
                raise RuleError(f"rule {rule.id!r}: message: {error}") from error
            evidence.append(f"lambda t, f: {{{items}}}")
        lines += ["        i += 1", "    return hits", f"evidence = [{', '.join(evidence)}]"]
        scope: dict[str, Any] = {**GLOBALS, "_zip": zip}
        exec("\n".join(lines), scope)
        self.evaluate: Callable[[Sequence[Transaction], Sequence[Row]], list[tuple[int, int]]] = scope["evaluate"]
        """(index of the transaction, index of the rule) for every hit, in order."""
        self._evidence: list[Callable[[Transaction, Row], Evidence]] = scope["evidence"]

    def evidence(self, index: int, transaction: Transaction, row: Row) -> Evidence:
        """The value of each name that rule `index` uses, at this transaction."""
        return self._evidence[index](transaction, row)


def render(message: str, evidence: Mapping[str, Any]) -> str:
    """The rule's message with the evidence filled in."""
    return PLACEHOLDER.sub(lambda match: _shown(evidence.get(match[1])), message)


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.2f}".rstrip("0").rstrip(".").replace(",", " ")
    return "unknown" if value is None else str(value)


def parse_rules(text: str) -> RuleSet:
    """The rules of a TOML text of `[[rule]]` tables; raises RuleError."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RuleError(f"not TOML: {error}") from error
    unknown = sorted(set(document) - {"rule"})
    if unknown:
        raise RuleError(f"unknown table {unknown[0]!r}: wanted [[rule]]")
    tables = document.get("rule", [])
    if not isinstance(tables, list):
        raise RuleError("[rule] is one table: wanted [[rule]], one for each rule")
    return RuleSet([_rule(table, number) for number, table in enumerate(tables, 1)])


def load_rules(path: str | Path) -> RuleSet:
    """The rules of a file; raises RuleError, which names the file."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise RuleError(f"{path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise RuleError(f"{path}: not UTF-8: {error}") from error
    try:
        return parse_rules(text)
    except RuleError as error:
        raise RuleError(f"{path}: {error}") from error


def _rule(table: Mapping[str, Any], number: int) -> Rule:
    name = repr(table.get("id", f"number {number}"))
    unknown = [field for field in table if field not in Rule.__struct_fields__]
    if unknown:
        nearest = difflib.get_close_matches(unknown[0], Rule.__struct_fields__, n=2)
        raise RuleError(
            f"rule {name}: unknown field {unknown[0]!r}; wanted one of {', '.join(nearest or Rule.__struct_fields__)}"
        )
    try:
        return msgspec.convert(table, Rule)
    except msgspec.ValidationError as error:
        raise RuleError(f"rule {name}: {error}") from error


def _refusal(rule: Rule, error: ExpressionError) -> str:
    return f"rule {rule.id!r}: when: {error}\n{error.caret()}"
