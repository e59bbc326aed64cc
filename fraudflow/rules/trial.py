"""Rule sets put through a history: what fires where, what is decided, what is sent after cooldowns."""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from fraudflow.evaluation.history import Labelled
from operators.decisions.cooldown import Cooldown
from operators.decisions.decide import VERDICTS, Decision, Hit, Verdict
from operators.features.chain import Chain
from operators.features.fields import FieldError, Fields, FieldSpec
from operators.features.plan import Plan
from operators.rules import SEVERITIES, RuleSet
from operators.rules.changes import ListChange
from operators.transactions.decoding import label_of
from operators.transactions.records import Transaction

BATCH = 5_000
"""Rows between two looks at the progress; nothing else depends on it."""

ALLOW = VERDICTS.index("allow")
Array = Any


class History(NamedTuple):
    """A history as columns, in event-time order. `fraud` is 1, 0, or -1 where it is not known."""

    ids: list[str]
    times: Array
    amounts: Array
    fraud: Array

    @property
    def days(self) -> float:
        """How long it is; at least an hour."""
        return max(float(self.times[-1] - self.times[0]), 3_600_000.0) / 86_400_000


class Trial(NamedTuple):
    """What one rule set did. `rows[rule]` are the rows at which it fires, shadow rules too; `verdicts` is what the
    active rules decide on each row (an index of VERDICTS), `alerts` are the rows at which an alert is sent, `full_from`
    the event times from which on all windows of each rule are full: those of the history begin empty."""

    rules: RuleSet
    rows: list[Array]
    verdicts: Array
    alerts: Array
    full_from: list[int]


def columns(history: Sequence[Labelled]) -> History:
    """The columns of a history."""
    return History(
        [row.transaction.transaction_id for row in history],
        np.array([row.transaction.event_time for row in history], dtype=np.int64),
        np.array([row.transaction.amount for row in history], dtype=np.float64),
        np.array([-1 if row.is_fraud is None else int(row.is_fraud) for row in history], dtype=np.int8),
    )


def run(
    history: Sequence[Labelled],
    rule_sets: Sequence[RuleSet],
    lists: Sequence[ListChange],
    allowed_lateness: int,
    progress: Callable[[int], None] = lambda _: None,
    *,
    label_delay: int = 0,
    elsewhere: Sequence[FieldSpec] = (),
) -> list[Trial]:
    """Every rule set over the same windows, in one pass; `progress` is told the rows done. Raises ValueError.

    The windows are those of the flow, so a rule fires exactly where it would have; the model has no say, but for the
    derived fields that it brings (`elsewhere`). Labels arrive `label_delay` after their transaction.
    """
    entries: dict[str, dict[str, int]] = {}
    for change in lists:
        if change.until is not None:
            entries.setdefault(change.list, {})[change.value] = change.until
    chains: list[Chain] = []
    collectors: list[_Collector] = []
    for sets, fields in _alike(rule_sets, elsewhere):
        names = (name for rules in sets for name in rules.names)
        chain = Chain(Plan.of(names, allowed_lateness=allowed_lateness, fields=fields))
        chains.append(chain)
        collectors += [_Collector(rules, chain, entries, len(history)) for rules in sets]
    takes_labels = any(chain.takes_labels for chain in chains)
    for start, batch in _batches(history, label_delay if takes_labels else None):
        transactions = [row.transaction for row in batch]
        rows = {id(chain): chain.update(transactions) for chain in chains}
        for collector in collectors:
            collector.add(start, transactions, rows[id(collector.chain)])
        if takes_labels:
            known = [row for row in batch if row.is_fraud is not None]
            labels = [label_of(row.transaction, bool(row.is_fraud), label_delay) for row in known]
            for chain in chains:
                chain.labels(labels)
        progress(start + len(transactions))
    return [collector.trial(collector.chain.full_from()) for collector in collectors]


def _alike(rule_sets: Sequence[RuleSet], elsewhere: Sequence[FieldSpec]) -> list[tuple[Sequence[RuleSet], Fields]]:
    """Rule sets that can share windows: all, but where two mean different things by the name of a field."""
    try:
        shared = Fields([*elsewhere, *(field for rules in rule_sets for field in rules.fields)])
    except FieldError:
        if len(rule_sets) == 1:
            raise
        return [alike for rules in rule_sets for alike in _alike([rules], elsewhere)]
    return [(rule_sets, shared)]


def _batches(history: Sequence[Labelled], label_delay: int | None) -> Iterator[tuple[int, Sequence[Labelled]]]:
    """The history in pieces, and where each begins; no longer than a label takes, where there are any to wait for."""
    start = 0
    while start < len(history):
        end = min(start + BATCH, len(history))
        if label_delay is not None:
            last = history[start].transaction.event_time + label_delay
            end = bisect_right(history, last, start, end, key=lambda row: row.transaction.event_time)
        yield start, history[start:end]
        start = end


class _Collector:
    """What one rule set does, batch by batch."""

    def __init__(self, rules: RuleSet, chain: Chain, lists: dict[str, dict[str, int]], size: int) -> None:
        self.rules = rules
        self.chain = chain
        self.compiled = rules.compile(chain.plan.name, lists)
        self.rows: list[list[int]] = [[] for _ in rules.rules]
        self.verdicts = np.zeros(size, dtype=np.int8)
        self.alerts: list[int] = []
        self.cooldown = Cooldown()
        # Without its evidence: nobody reads these.
        self.hits = [Hit(r.id, r.version, r.severity, r.decision, "", {}, r.cooldown_ms) for r in rules.rules]
        self.cooled = any(rule.cooldown_ms for rule in rules.rules)

    def add(self, start: int, transactions: Sequence[Transaction], rows: Sequence[tuple[Any, ...]]) -> None:
        active: dict[int, list[int]] = {}
        for index, number in self.compiled.evaluate(transactions, rows):
            self.rows[number].append(start + index)
            if self.rules.rules[number].mode == "active":
                active.setdefault(index, []).append(number)
        for index, numbers in active.items():
            hits = [self.hits[number] for number in numbers]
            verdict = max((hit.decision for hit in hits), key=VERDICTS.index)
            self.verdicts[start + index] = VERDICTS.index(verdict)
            if not self.cooled or self.cooldown.apply([_decision(transactions[index], verdict, hits)]):
                self.alerts.append(start + index)

    def trial(self, full_from: Mapping[str, int]) -> Trial:
        rows = [np.array(found, dtype=np.int64) for found in self.rows]
        full = [max((full_from.get(name, 0) for name in rule.names), default=0) for rule in self.rules.rules]
        return Trial(self.rules, rows, self.verdicts, np.array(self.alerts, dtype=np.int64), full)


def _decision(transaction: Transaction, verdict: Verdict, hits: list[Hit]) -> Decision:
    severity = max((hit.severity for hit in hits), key=SEVERITIES.index)
    return Decision(transaction, verdict, severity, None, "allow", None, hits, [], 0)
