"""Rules as a fraud team writes them, and a set of them compiled into one function."""

import re
import tomllib
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from functools import lru_cache
from types import CodeType
from typing import Annotated, Any, Literal

import msgspec

from operators.durations import parse_duration
from operators.expressions import GLOBALS, ExpressionError, Namespace, UnknownName, compile_condition, parse
from operators.features.fields import FieldError, FieldSpec, field_of
from operators.showing import shown
from operators.transactions.records import Transaction
from operators.wording import refusal

Severity = Literal["low", "medium", "high", "critical"]
Verdict = Literal["review", "block"]
SEVERITIES: tuple[Severity, ...] = ("low", "medium", "high", "critical")

PLACEHOLDER = re.compile(r"\{(\w+)\}")
ID = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")
LONGEST_MESSAGE = 1_000
LARGEST_VERSION = 2**53 - 1
"""The largest whole number that every reader of JSON has exactly."""

Row = tuple[Any, ...]
Evidence = dict[str, Any]
Lists = MutableMapping[str, dict[str, int]]
"""Named lists: each entry with the event time (ms) until which it counts, itself not included."""


class RuleError(ValueError):
    """A rule that is refused; the text names the rule, what is wrong and where. `field` is the field that is wrong."""

    def __init__(self, message: str, field: str = "") -> None:
        super().__init__(message)
        self.field = field


class Example(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Whether a rule must fire at a transaction, given as its raw message. Of several in order: at the last.

    `lists` are entries that hold for the example alone.
    """

    fires: bool
    transaction: dict[str, Any] | None = None
    transactions: tuple[dict[str, Any], ...] = ()
    lists: dict[str, tuple[str, ...]] = {}

    @property
    def messages(self) -> tuple[dict[str, Any], ...]:
        return self.transactions if self.transaction is None else (self.transaction,)


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One rule. `when` is an expression of `operators.expressions`; `message` may name features in braces.

    `examples` are for people and for `fraudflow rules check`; the flow does not run them.
    """

    id: str
    when: str
    version: Annotated[int, msgspec.Meta(ge=1, le=LARGEST_VERSION)] = 1
    severity: Severity = "medium"
    decision: Verdict = "review"
    cooldown: str = "0s"
    message: str = ""
    mode: Literal["active", "shadow"] = "active"
    examples: tuple[Example, ...] = ()

    @property
    def cooldown_ms(self) -> int:
        return parse_duration(self.cooldown)

    @property
    def names(self) -> tuple[str, ...]:
        """The fields and features that the rule uses: its evidence, in their order of appearance."""
        return tuple(dict.fromkeys((*parse(self.when).names, *PLACEHOLDER.findall(self.message))))


class RuleSet:
    """A checked set of rules. `names` are the features to keep for it; `compile` makes it run.

    `fields` are the derived fields that stand with the rules; what is in them is seen where they meet the model's.
    """

    def __init__(self, rules: Sequence[Rule], fields: Sequence[FieldSpec] = ()) -> None:
        for rule in rules:
            check_rule(rule)
        doubled = sorted({rule.id for rule in rules if sum(rule.id == other.id for other in rules) > 1})
        if doubled:
            raise RuleError(f"more than one rule has the id {doubled[0]!r}")
        self.rules = tuple(rules)
        self.fields = tuple(fields)
        self.names = tuple(dict.fromkeys(name for rule in rules for name in rule.names))

    def compile(self, namespace: Namespace, lists: Lists | None = None) -> "CompiledRules":
        """Compile against the known features; raises RuleError with the place of what is wrong.

        `lists` are looked at when rules are evaluated: what changes in them is in force from the next batch on.
        """
        return CompiledRules(self, namespace, lists)


def check_rule(rule: Rule) -> None:
    """What can be told of a rule by itself. Raises RuleError."""
    if not ID.fullmatch(rule.id):
        raise RuleError(f"rule id {shown(rule.id)}: wanted a letter, then up to 63 letters, digits, _ . or -", "id")
    try:
        parse(rule.when)
        parse_duration(rule.cooldown)
    except ExpressionError as error:
        raise RuleError(_refusal(rule, error), "when") from error
    except ValueError as error:
        raise RuleError(f"rule {rule.id!r}: cooldown: {error}", "cooldown") from error
    if len(rule.message) > LONGEST_MESSAGE:
        raise RuleError(f"rule {rule.id!r}: message: longer than {LONGEST_MESSAGE:,} characters", "message")
    for number, example in enumerate(rule.examples, 1):
        if (example.transaction is None) == (not example.transactions):
            raise RuleError(
                f"rule {rule.id!r}: example {number}: wanted either `transaction` or `transactions`", "examples"
            )


class CompiledRules:
    """All rules of a set as one generated function over a batch.

    A rule costs one inlined condition per event. The source is written from checked expressions only.
    """

    def __init__(self, rule_set: RuleSet, namespace: Namespace, lists: Lists | None = None) -> None:
        self.rules = rule_set.rules
        lists = {} if lists is None else lists
        lines, evidence = [], []
        asked: list[str] = []
        for index, rule in enumerate(self.rules):
            try:
                expression = parse(rule.when)
                lines.append(f"        if {compile_condition(expression, namespace, lists=asked)}: hit((i, {index}))")
            except ExpressionError as error:
                raise RuleError(_refusal(rule, error), "when") from error
            try:
                items = ", ".join(f"{name!r}: {namespace(name).code}" for name in rule.names)
            except UnknownName as error:
                raise RuleError(f"rule {rule.id!r}: message: {error}", "message") from error
            for name in expression.lists:
                lists.setdefault(name, {})
            evidence.append(f"lambda t, f: {{{items}}}")
        lines = [
            "def evaluate(transactions, rows):",
            "    hits = []",
            "    hit = hits.append",
            "    i = 0",
            *(f"    _list{number} = _lists[{name!r}].get" for number, name in enumerate(asked)),
            "    for t, f in _zip(transactions, rows):",
            *lines,
            "        i += 1",
            "    return hits",
            f"evidence = [{', '.join(evidence)}]",
        ]
        scope: dict[str, Any] = {**GLOBALS, "_zip": zip, "_lists": lists}
        exec(_code("\n".join(lines)), scope)  # noqa: S102  written from checked expressions only
        self.evaluate: Callable[[Sequence[Transaction], Sequence[Row]], list[tuple[int, int]]] = scope["evaluate"]
        """(index of the transaction, index of the rule) for every hit, in order."""
        self._evidence: list[Callable[[Transaction, Row], Evidence]] = scope["evidence"]

    def evidence(self, index: int, transaction: Transaction, row: Row) -> Evidence:
        """The value of each name that rule `index` uses, at this transaction."""
        return self._evidence[index](transaction, row)


@lru_cache(maxsize=4)
def _code(source: str) -> CodeType:
    """Compiled once for all shards of a process, which come to the same source one after the other."""
    return compile(source, "rules", "exec")


def render(message: str, evidence: Mapping[str, Any]) -> str:
    """The rule's message with the evidence filled in."""
    return PLACEHOLDER.sub(lambda match: _shown(evidence.get(match[1])), message)


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.2f}".rstrip("0").rstrip(".").replace(",", " ")
    return "unknown" if value is None else str(value)


def parse_rules(text: str) -> RuleSet:
    """The rules of a TOML text of `[[rule]]` and `[[field]]` tables; raises RuleError."""
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # what is not TOML, a number of thousands of digits, endless nesting
        raise RuleError(f"not TOML: {error}") from error
    unknown = sorted(set(document) - {"rule", "field"})
    if unknown:
        raise RuleError(f"unknown table {unknown[0]!r}: wanted [[rule]] or [[field]]")
    tables, fields = document.get("rule", []), document.get("field", [])
    for name, found in (("rule", tables), ("field", fields)):
        if not isinstance(found, list) or not all(isinstance(table, dict) for table in found):
            raise RuleError(f"`{name}` is no list of tables: wanted [[{name}]], one for each {name}")
    return RuleSet([_rule(table, number) for number, table in enumerate(tables, 1)], fields_of(fields))


def fields_of(tables: Sequence[Mapping[str, Any]]) -> list[FieldSpec]:
    """The derived fields of `[[field]]` tables, each of another name. Raises RuleError."""
    fields: list[FieldSpec] = []
    for number, table in enumerate(tables, 1):
        try:
            field = field_of(table, number)
        except FieldError as error:
            raise RuleError(str(error), error.part) from error
        if field.name in {other.name for other in fields}:
            raise RuleError(f"more than one field has the name {field.name!r}", "name")
        fields.append(field)
    return fields


def _rule(table: Mapping[str, Any], number: int) -> Rule:
    name = shown(table["id"]) if "id" in table else f"'number {number}'"
    return rule_of(table, f"rule {name}")


def rule_of(table: Mapping[str, Any], name: str) -> Rule:
    """The rule in a table of TOML or an object of JSON. Raises RuleError, which begins with `name`."""
    try:
        return msgspec.convert(table, Rule)
    except msgspec.ValidationError as error:
        wrong = refusal(table, Rule)
        field = wrong.path[0] if wrong and wrong.path else ""
        raise RuleError(f"{name}: {wrong or error}", str(field)) from error


def _refusal(rule: Rule, error: ExpressionError) -> str:
    return f"rule {rule.id!r}: when: {error}\n{error.caret()}"
