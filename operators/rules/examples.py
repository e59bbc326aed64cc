"""The examples of rules, run through the flow's own decoding and windows."""

from collections.abc import Mapping
from datetime import date, time
from typing import Any, NamedTuple

from operators.expressions import parse
from operators.features.chain import Chain
from operators.features.fields import Fields
from operators.features.plan import NO_FIELDS, Plan
from operators.rules.changes import FOREVER
from operators.rules.rule_set import Evidence, Example, Rule, RuleSet
from operators.times import parse_time
from operators.transactions.formats import Limits, Rejected, read_transaction
from operators.transactions.records import Transaction

BEGIN = parse_time("2026-01-01T12:00:00Z")
SECOND = 1_000


class Failure(NamedTuple):
    """An example that is not as it says; `number` counts from 1."""

    rule: str
    number: int
    message: str


def run_examples(rule: Rule, allowed_lateness: int, limits: Limits, fields: Fields = NO_FIELDS) -> list[Failure]:
    """What the rule does otherwise than its examples say. The rule must compile with these derived fields.

    A message without a time comes a second after the one before it, the first at 2026-01-01T12:00:00Z.
    """
    plan = Plan.of(rule.names, allowed_lateness=allowed_lateness, fields=fields)
    failures = []
    for number, example in enumerate(rule.examples, 1):
        told = _failure(rule, example, plan, limits)
        if told:
            failures.append(Failure(rule.id, number, told))
    return failures


def _failure(rule: Rule, example: Example, plan: Plan, limits: Limits) -> str:
    unasked = sorted(set(example.lists) - set(parse(rule.when).lists))
    if unasked:
        return f"it names the list {unasked[0]!r}, which the rule does not ask"
    try:
        transactions = _transactions(example, limits)
    except Rejected as error:
        return f"a transaction that the flow would not take: {error}"
    lists = {name: dict.fromkeys(values, FOREVER) for name, values in example.lists.items()}
    rules = RuleSet([rule]).compile(plan.name, lists)
    rows = Chain(plan).update(transactions)
    fired = bool(rules.evaluate(transactions[-1:], rows[-1:]))
    if fired == example.fires:
        return ""
    evidence = _told(rules.evidence(0, transactions[-1], rows[-1]))
    return f"it {'fires' if fired else 'does not fire'}, with {evidence}"


def _told(evidence: Evidence) -> str:
    return ", ".join(f"{name} {'missing' if value is None else repr(value)}" for name, value in evidence.items())


def _transactions(example: Example, limits: Limits) -> list[Transaction]:
    read = []
    for number, message in enumerate(example.messages):
        plain = {field: _plain(value) for field, value in message.items()}
        arrived_at = None if "timestamp" in plain else BEGIN + number * SECOND
        if "nameOrig" in plain:
            arrived_at = None
        read.append(read_transaction(plain, f"example-{number + 1}", arrived_at, limits)[0])
    return read


def _plain(value: Any) -> Any:
    """As JSON would hold it: TOML has dates."""
    if isinstance(value, date | time):
        return value.isoformat()
    return {k: _plain(v) for k, v in value.items()} if isinstance(value, Mapping) else value
